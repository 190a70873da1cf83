//! The whole server as a value: start it, ask it where it listens, reload it, stop it.
//!
//! The binary, the demo and the tests all start the server through [`App`]. It must not install
//! signal handlers or print: that is the command line's business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::snapshot::Snapshot;

/// A running server. Dropping it stops the workers without draining.
#[derive(Debug)]
pub struct App {
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
}

/// Why the server could not start.
#[derive(Debug)]
pub struct StartError(pub String);

impl App {
    /// Binds every listener of `snapshot` and starts the workers; returns when they accept.
    /// Port 0 is allowed: see [`App::https`].
    pub fn start(_snapshot: Snapshot, _options: Options) -> Result<App, StartError> {
        Err(StartError("not built yet".into()))
    }

    /// The bound addresses of the TLS listeners, ports resolved.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// The bound addresses of the plain listeners, ports resolved.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The live snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        unimplemented!()
    }

    /// Swaps in a new snapshot; requests under way keep the one they loaded.
    pub fn replace(&self, _snapshot: Snapshot) {}

    /// Stops accepting, lets requests end for at most `drain_timeout`, then cuts; blocks.
    pub fn drain(self) {}
}

/// What is not in the configuration file.
#[derive(Debug, Default)]
pub struct Options {
    /// Where access log lines go instead of what the snapshot says; for tests and the demo.
    pub access_log: Option<PathBuf>,
}
