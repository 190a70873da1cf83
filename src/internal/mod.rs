//! The listener for the apps behind us: what they need to believe our word, and nothing that the
//! world outside may ask.
//!
//! `GET /tenants/NAME/jwks.json` answers the public keys that sign `X-Vestibule-Assertion` for one
//! tenant, `GET /.well-known/jwks.json` those of all. A tenant that brings its own key can sign
//! whatever it likes with it: who believes the keys of all believes every tenant. It is plain HTTP
//! on a private address, on a thread of its own, so that no app can slow a worker.
//!
//! `GET /v1/launch` answers what the session was launched with whose assertion is the Bearer token.
//!
//! Its callers are servers. A web page must never reach it through somebody's browser: whatever
//! has an `Origin` is refused, and so is a host that the page's owner could have pointed here (DNS
//! rebinding).
//!
//! Everything is bounded: the connections, and how long one may take with all that it does. A
//! connection carries one request; what is asked here is asked once in a while. No body is read.

mod answer;
mod launch;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::snapshot::Snapshot;
use crate::net::intake::Door;
use crate::policy::assertion::jwks;
use answer::{Apps, Responder};
pub use launch::launch;

/// Open at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// From accept to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// After a failed accept (no descriptors, mostly) trying at once would only burn the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running listener; dropping it closes it and what is open.
pub struct InternalServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves whoever comes to `door` from a thread of its own. `key_set` is [`key_set`] of the live
/// configuration, and `launch`, which is given an assertion, [`launch()`]; they are asked for each
/// request, so that a reload needs nothing here.
pub fn start(
    door: Door,
    key_set: impl Fn(Option<&str>) -> Option<String> + Send + Sync + 'static,
    launch: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> io::Result<InternalServer> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let apps = Apps { key_set: Box::new(key_set), launch: Box::new(launch) };
    start_with(door, Responder::new(apps, seed), PATIENCE)
}

/// The listener: no port is shared here.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The JWKS document of one tenant, or of all; nothing for a tenant that is not there.
pub fn key_set(snapshot: &Snapshot, tenant: Option<&str>) -> Option<String> {
    match tenant {
        None => Some(jwks(snapshot.assertion_keys())),
        Some(id) => {
            let tenant = snapshot.tenants.get(id)?;
            Some(jwks(tenant.assertion_keys.iter().map(|key| &**key)))
        }
    }
}

fn start_with(door: Door, responder: Responder, patience: Duration) -> io::Result<InternalServer> {
    let address = door.address()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("internal".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = accept_all(door, Arc::new(responder), patience) => {}
                // Also when the sender is gone: what nobody holds is not wanted.
                _ = stopped => {}
            }
        });
    })?;
    Ok(InternalServer { address, stop: Some(stop), thread: Some(thread) })
}

impl InternalServer {
    /// Where it listens, the port resolved.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for InternalServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for InternalServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InternalServer").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn accept_all(mut door: Door, responder: Arc<Responder>, patience: Duration) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = loop {
            let permit = Arc::clone(&room).acquire_owned();
            match tokio::time::timeout(ACCEPT_PAUSE, permit).await {
                Ok(Ok(permit)) => break permit,
                Ok(Err(_)) => return,
                // Without room it does not accept; a successor waits to be told so.
                Err(_) => _ = door.obey().await,
            }
        };
        match door.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&responder), patience, permit));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(
    stream: TcpStream,
    responder: Arc<Responder>,
    patience: Duration,
    permit: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request| {
        let response = responder.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // An app that goes away, or never says what it wants, is its own business.
    let _ = tokio::time::timeout(patience, connection).await;
    drop(permit);
}
