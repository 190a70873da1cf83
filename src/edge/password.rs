//! Verifies a name and password that a request shows for the first time, before the request is
//! decided about.
//!
//! Other threads do the work, [`AT_ONCE`] for each worker; whoever waits for them looks first
//! whether the same pair was verified meanwhile, so that a page with sixty assets costs one. An
//! attempt is charged to its address like a launch, and given back if it was right.

use std::time::SystemTime;

use super::worker::Worker;
use crate::http1::fields::Known;
use crate::http1::head::RequestHead;
use crate::pipeline::{self, ConnectionFacts, Shown};
use crate::policy::limits::{self, Charge};
use crate::policy::session::UnixSeconds;
use crate::rejection::{Code, Rejection};

/// Hashes that one worker has computed at once.
pub const AT_ONCE: usize = 2;

/// Whether the request shows what has to be verified first. Most show nothing.
pub fn is_shown(head: &RequestHead) -> bool {
    head.fields.get(Known::Authorization).is_some()
}

/// Verifies it, so that the decision finds it verified. The refusal is the address's limit.
pub async fn verify(
    worker: &Worker,
    connection: &ConnectionFacts,
    head: &RequestHead,
) -> Result<(), Rejection> {
    let shown = pipeline::shown(&worker.snapshot.load(), connection, head);
    let Some(Shown { attempt, client, tenant, rules }) = shown else { return Ok(()) };
    let now = || UnixSeconds::from(SystemTime::now());
    if worker.passwords.is_verified(&attempt, now()) {
        return Ok(());
    }
    let internal = |why| Rejection::new(Code::Internal, why);
    let _turn = worker.hashing.acquire().await.map_err(|_| internal("no turn to verify in"))?;
    if worker.passwords.is_verified(&attempt, now()) {
        return Ok(());
    }
    let key = (&*tenant, client);
    let charged = limits::address(&worker.limiter, &rules, key, Charge::One, worker.moment())
        .map_err(Rejection::limited)?;
    let shown = attempt.clone();
    let verified = tokio::task::spawn_blocking(move || {
        bcrypt::verify(&shown.password, &shown.hash).unwrap_or(false)
    });
    if verified.await.unwrap_or(false) && attempt.is_known {
        worker.passwords.verified(&attempt, now());
        let _ = limits::continuation(charged, &rules, worker.moment());
    }
    Ok(())
}
