//! Ended sessions, for a successor process, and news of them for the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::{Sessions, Tenant};
use crate::policy::session::revocation::Full;
use crate::policy::session::{SessionId, UnixSeconds};

/// An entry of a tenant's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSession {
    pub id: SessionId,
    /// When its last token expires.
    pub until: UnixSeconds,
}

/// News that wait for somebody to pass them on. What finds no room is made up for with everything.
const WAITING: usize = 4096;

/// Where ended sessions are told, once there is somebody.
#[derive(Debug)]
pub(super) struct Elsewhere {
    sender: SyncSender<(Box<str>, EndedSession)>,
    missed: Arc<AtomicBool>,
}

impl Elsewhere {
    pub(super) fn tell(&self, tenant: &str, ended: EndedSession) {
        // Who has gone need not know.
        if self.sender.try_send((tenant.into(), ended)).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

/// Sessions that have ended here, for the process that still has streams of theirs.
#[derive(Debug)]
pub struct News {
    receiver: Receiver<(Box<str>, EndedSession)>,
    missed: Arc<AtomicBool>,
}

/// What there is to tell.
#[derive(Debug)]
pub enum Item {
    Ended(Box<str>, EndedSession),
    /// Some were not kept: every session that has ended is to be told again.
    All,
    Nothing,
    /// There will be no more.
    Over,
}

impl News {
    pub fn next(&self, patience: Duration) -> Item {
        if self.missed.swap(false, Ordering::AcqRel) {
            return Item::All;
        }
        match self.receiver.recv_timeout(patience) {
            Ok((tenant, ended)) => Item::Ended(tenant, ended),
            Err(RecvTimeoutError::Timeout) => Item::Nothing,
            Err(RecvTimeoutError::Disconnected) => Item::Over,
        }
    }
}

impl Sessions {
    /// From now on every session that ends is told too. Nothing the second time: a process has one
    /// predecessor.
    pub fn news(&self) -> Option<News> {
        let (sender, receiver) = sync_channel(WAITING);
        let missed = Arc::new(AtomicBool::new(false));
        let elsewhere = Elsewhere { sender, missed: Arc::clone(&missed) };
        self.elsewhere.set(elsewhere).ok().map(|()| News { receiver, missed })
    }

    /// Tenants that something is remembered about.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        self.tenants.load().keys().map(Arc::clone).collect()
    }

    pub fn export(&self, tenant: &str) -> Vec<EndedSession> {
        let tenant = self.tenants.load().get(tenant).map(Arc::clone);
        let export = |tenant: Arc<Tenant>| {
            tenant.list().iter().map(|(id, until)| EndedSession { id, until }).collect()
        };
        tenant.map(export).unwrap_or_default()
    }

    pub fn import(
        &self,
        tenant: &str,
        ended: &[EndedSession],
        now: UnixSeconds,
    ) -> Result<(), Full> {
        ended.iter().try_for_each(|ended| self.revoke(tenant, ended.id, ended.until, now))
    }
}
