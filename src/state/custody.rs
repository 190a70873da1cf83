//! Whose the state is: this process's, or its successor's.
//!
//! While it is copied, and from the moment on that the copy serves, nothing here may change it:
//! what a signature or a session has come to is decided in one place at a time. Requests that would
//! change it wait for what comes of the hand-over. Everybody else goes on.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// One of it is made for each server.
#[derive(Debug, Default)]
pub struct Custody {
    whose: AtomicU8,
    settled: Notify,
}

/// What came of a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// It failed: this process decides.
    Ours,
    Successors,
}

const OURS: u8 = 0;
const COPIED: u8 = 1;
const SUCCESSORS: u8 = 2;

impl Custody {
    /// Whether a request may change the state. For every request: one load.
    pub fn is_ours(&self) -> bool {
        self.whose.load(Ordering::Acquire) == OURS
    }

    /// Whether another process serves in the place of this one.
    pub fn is_given(&self) -> bool {
        self.whose.load(Ordering::Acquire) == SUCCESSORS
    }

    /// From now on nothing changes. Who looked before may still be at it: see the caller.
    pub fn begin(&self) {
        self.whose.store(COPIED, Ordering::Release);
    }

    /// The copy was given up.
    pub fn keep(&self) {
        self.whose.store(OURS, Ordering::Release);
        self.settled.notify_waiters();
    }

    /// The copy serves; this one never will again.
    pub fn give(&self) {
        self.whose.store(SUCCESSORS, Ordering::Release);
        self.settled.notify_waiters();
    }

    /// Waits while the state is being copied.
    pub async fn settled(&self) -> Whose {
        loop {
            let settled = self.settled.notified();
            match self.whose.load(Ordering::Acquire) {
                COPIED => settled.await,
                SUCCESSORS => return Whose::Successors,
                _ => return Whose::Ours,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn who_waits_learns_what_came_of_it() {
        let custody = Custody::default();
        assert!(custody.is_ours());
        assert_eq!(custody.settled().now_or_never(), Some(Whose::Ours));
        custody.begin();
        assert!(!custody.is_ours() && !custody.is_given());
        let mut waiting = Box::pin(custody.settled());
        assert_eq!((&mut waiting).now_or_never(), None);
        custody.keep();
        assert_eq!(waiting.now_or_never(), Some(Whose::Ours));
        custody.begin();
        let waiting = Box::pin(custody.settled());
        custody.give();
        assert_eq!(waiting.now_or_never(), Some(Whose::Successors));
        assert!(!custody.is_ours() && custody.is_given());
    }
}
