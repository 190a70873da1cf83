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

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::config::snapshot::Snapshot;
use crate::net::intake::Door;
use crate::net::service::{self, Service};
use crate::policy::assertion::jwks;
use answer::{Apps, Responder};
pub use launch::launch;

/// From accept to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running listener; dropping it closes it and what is open.
pub type InternalServer = Service;

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
    service::serve("internal", door, patience, move |request| {
        std::future::ready(responder.answer(&request))
    })
}
