//! The listener for operators: is it well, what is open, reload, drain.
//!
//! It decides who may ask ([`guard`]) and puts into JSON what others know ([`answer`]). It must not
//! have an effect that a signal or the configuration does not have too. It is HTTP/1 on a thread of
//! its own: an operator cannot slow a worker, and it goes on answering while the server drains.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /healthz` | 200 as long as the process lives; no token |
//! | `GET /readyz` | 200, and 503 from the moment on which it drains; no token |
//! | `GET /status` | what this is, since when, how much of what is open, how the upstreams' servers are |
//! | `GET /metrics` | numbers for Prometheus ([`crate::telemetry::metrics`]) |
//! | `GET /connections` | what is open, by persona; of one tenant, persona or site; each stream with `each=true` |
//! | `POST /reload` | waits for the reload and tells what came of it: 200, or 422 where it was refused |
//! | `POST /drain` | ends the streams of `{"tenant", "persona" or "site", "within"}`, spread over that time |

mod answer;
mod guard;
mod report;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::edge::worker::Shared;
use crate::net::intake::Door;
use crate::net::service::{self, Service};
use crate::reload::ReloadOutcome;
use crate::telemetry::request_id::Generator;

/// From accept to the last byte of the answer: a reload may wait for others, and read many files.
const PATIENCE: Duration = Duration::from_secs(300);

/// Reloads, and waits for what comes of it; nothing where the server has stopped following its
/// files.
pub type Reload = Box<dyn Fn() -> Option<ReloadOutcome> + Send + Sync>;

/// What operators may do.
pub struct Operations {
    shared: Arc<Shared>,
    started: Instant,
    names: Generator,
    reload: OnceLock<Reload>,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}

impl Operations {
    pub fn new(shared: Arc<Shared>) -> io::Result<Arc<Self>> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let (started, names) = (Instant::now(), Generator::seeded(seed));
        Ok(Arc::new(Self { shared, started, names, reload: OnceLock::new() }))
    }

    /// How to reload; until this is said a reload is refused.
    pub fn reload_with(&self, reload: Reload) {
        // The first one stays: a server follows one file.
        let _ = self.reload.set(reload);
    }
}

/// Serves whoever comes to `door` until what is returned is dropped.
pub fn serve(door: Door, operations: Arc<Operations>) -> io::Result<Service> {
    service::serve("admin", door, PATIENCE, move |request| {
        answer::answer(Arc::clone(&operations), request)
    })
}
