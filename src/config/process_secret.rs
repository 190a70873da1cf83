//! The secret that signs sessions where none is configured: random, and the same as long as the
//! process lives and as its successors do. A reload does not end sessions, nor does an upgrade.
//!
//! It is given to nobody but a successor, through the private socket.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::policy::secret::Secret;

/// In bytes.
const LENGTH: usize = 32;

static SECRET: Mutex<Option<Secret>> = Mutex::new(None);

/// The secret, drawn when it is first asked for.
pub fn get() -> Secret {
    let draw = || {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes to every process");
        Secret::new(bytes).expect("32 bytes are not none")
    };
    lock().get_or_insert_with(draw).clone()
}

/// The secret, if somebody has asked for it: there may be sessions that it has signed.
pub fn known() -> Option<Secret> {
    lock().clone()
}

/// Goes on with the predecessor's. True where another one was asked for before: what was made with
/// that is to be made anew.
pub fn adopt(secret: Secret) -> bool {
    let mut held = lock();
    let is_other = held.as_ref().is_some_and(|held| *held != secret);
    *held = Some(secret);
    is_other
}

fn lock() -> MutexGuard<'static, Option<Secret>> {
    // It is there or not; there is no half of it.
    SECRET.lock().unwrap_or_else(PoisonError::into_inner)
}
