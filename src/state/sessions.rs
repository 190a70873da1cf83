//! What the process remembers about sessions: which ended early, and which have streams open.
//!
//! A token says that a session began; only this says that it is over. It lives outside the
//! snapshot and is shared by all workers. Each tenant has its own list and its own lock: nobody's
//! launches fill, delay or end another's.
//!
//! # No stream is missed
//!
//! A stream is registered first and checked afterwards; a session is put on the list first and its
//! streams are ended afterwards. Registering and ending take the same lock. Whichever of the two
//! takes it first: either the ending finds the stream, or the stream's check, which the lock puts
//! after the entry in the list, finds the session. The same holds for
//! [`Sessions::end_launched_before`], which leaves its moment under that lock for whoever comes
//! later.
//!
//! So the caller opens the guard where the request is admitted, before anything is awaited, and
//! keeps it as long as the stream. A guard of a session that has ended is ready at once.
//!
//! # Bounds
//!
//! Lists have a capacity; an open stream is an open request or tunnel, and those are bounded by
//! connections. A tenant that the configuration no longer names is forgotten once no stream of it
//! is open and nothing is on its list.

mod handover;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use foldhash::fast;
use futures_util::task::AtomicWaker;

use super::Fill;
use crate::policy::session::revocation::{Full, RevocationList};
use crate::policy::session::{SessionId, UnixSeconds};
use handover::Elsewhere;
pub use handover::{EndedSession, Item as NewsItem, News};

/// Why a stream is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// Its session was revoked, or launched before the moment from which sessions count.
    Revoked = 1,
    /// The server, the tenant or the persona is being drained; the client may come back.
    Drained = 2,
    /// A reload has taken the persona away.
    Removed = 3,
}

impl Ended {
    /// The status code of the WebSocket's Close frame (RFC 6455, section 7.4; 1012 is in IANA's
    /// registry).
    pub const fn code(self) -> u16 {
        match self {
            Ended::Revoked => 1008,
            Ended::Drained | Ended::Removed => 1012,
        }
    }

    /// What the Close frame says, and the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Ended::Revoked => "session ended",
            Ended::Drained => "service restart",
            Ended::Removed => "no longer served",
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Ended::Revoked),
            2 => Some(Ended::Drained),
            3 => Some(Ended::Removed),
            _ => None,
        }
    }
}

type Tenants = HashMap<Arc<str>, Arc<Tenant>, fast::RandomState>;

/// One of it is made at the start and outlives every snapshot.
#[derive(Debug)]
pub struct Sessions {
    tenants: ArcSwap<Tenants>,
    /// Of each tenant's list.
    capacity: usize,
    /// Who else is to end the streams of sessions that end here.
    elsewhere: OnceLock<Elsewhere>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(RevocationList::DEFAULT_CAPACITY)
    }
}

impl Sessions {
    pub fn new(capacity: usize) -> Self {
        Self { tenants: ArcSwap::default(), capacity, elsewhere: OnceLock::new() }
    }

    /// Follows a configuration at the start and after each reload, when its snapshot is in place.
    /// Moments of [`Sessions::end_launched_before`] are forgotten: the caller gives the
    /// snapshot's, if it has any, right afterwards.
    pub fn follow<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = tenants.into_iter().collect();
        for tenant in self.tenants.load().values() {
            tenant.streams().launched_before.clear();
        }
        self.tenants.rcu(|old| {
            let living = old.iter().filter(|(_, tenant)| tenant.lives());
            let mut kept: Tenants =
                living.map(|(name, tenant)| (Arc::clone(name), Arc::clone(tenant))).collect();
            for &name in &names {
                if !kept.contains_key(name) {
                    let (name, tenant) = match old.get_key_value(name) {
                        Some((name, tenant)) => (Arc::clone(name), Arc::clone(tenant)),
                        None => (Arc::from(name), Tenant::new(self.capacity)),
                    };
                    kept.insert(name, tenant);
                }
            }
            kept
        });
    }

    /// Whether a session was revoked. For every request: one relaxed load where the tenant's list
    /// is empty, else a look-up under its lock.
    pub fn is_revoked(&self, tenant: &str, id: SessionId) -> bool {
        self.tenants.load().get(tenant).is_some_and(|tenant| tenant.is_revoked(id))
    }

    /// Revokes a session and ends its streams. `until` is its `remembered_until`. Where the list
    /// is full nothing has happened.
    pub fn revoke(
        &self,
        name: &str,
        id: SessionId,
        until: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<(), Full> {
        let tenant = self.tenant(name);
        {
            let mut list = tenant.list();
            list.revoke(id, until, now)?;
            tenant.has_revoked.store(!list.is_empty(), Ordering::Relaxed);
        }
        let streams = tenant.streams();
        let of_session = streams.open.range((id.0, 0)..=(id.0, u64::MAX));
        let found: Vec<_> = of_session.map(|(_, stream)| Arc::clone(stream)).collect();
        // A waker may run code of its own: not under the lock.
        drop(streams);
        end_all(&found, Ended::Revoked);
        if let Some(elsewhere) = self.elsewhere.get() {
            elsewhere.tell(name, EndedSession { id, until });
        }
        Ok(())
    }

    /// Ends the streams of a persona's sessions that were launched before a moment: those that are
    /// open, and those that were admitted with an older snapshot and register later.
    pub fn end_launched_before(&self, tenant: &str, persona: &str, moment: UnixSeconds) {
        let tenant = self.tenant(tenant);
        let mut streams = tenant.streams();
        streams.launched_before.insert(persona.into(), moment);
        let found =
            streams.select(|stream| &*stream.persona == persona && stream.launched_at < moment);
        drop(streams);
        end_all(&found, Ended::Revoked);
    }

    /// Registers a stream of an admitted session for as long as the guard lives.
    pub fn open(
        &self,
        tenant: &str,
        persona: &Arc<str>,
        id: SessionId,
        launched_at: UnixSeconds,
    ) -> StreamGuard {
        let tenant = self.tenant(tenant);
        let mut streams = tenant.streams();
        streams.opened += 1;
        let stream = Arc::new(Stream {
            key: (id.0, streams.opened),
            persona: Arc::clone(persona),
            launched_at,
            ended: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            tenant: Arc::clone(&tenant),
        });
        streams.open.insert(stream.key, Arc::clone(&stream));
        let is_old = streams.launched_before.get(&**persona).is_some_and(|&m| launched_at < m);
        drop(streams);
        if is_old || tenant.is_revoked(id) {
            stream.end(Ended::Revoked);
        }
        StreamGuard(stream)
    }

    /// Streams that are open, of all tenants.
    pub fn open_streams(&self) -> usize {
        self.tenants.load().values().map(|tenant| tenant.streams().open.len()).sum()
    }

    /// Sessions that were ended before their time, by tenant.
    pub fn fill(&self) -> Fill {
        Fill::of(self.capacity, &self.tenants.load(), |tenant| tenant.list().len())
    }

    /// Sessions on the lists of all tenants.
    pub fn revoked(&self) -> usize {
        self.tenants.load().values().map(|tenant| tenant.list().len()).sum()
    }

    /// Drops what no living token can name. For a timer; nothing depends on it but the speed of
    /// look-ups.
    pub fn tidy(&self, now: UnixSeconds) {
        for tenant in self.tenants.load().values() {
            let mut list = tenant.list();
            list.forget_expired(now);
            tenant.has_revoked.store(!list.is_empty(), Ordering::Relaxed);
        }
    }

    /// Made here only for a tenant that [`Sessions::follow`] has not named, such as one that a
    /// reload has just removed under a request.
    fn tenant(&self, name: &str) -> Arc<Tenant> {
        if let Some(tenant) = self.tenants.load().get(name) {
            return Arc::clone(tenant);
        }
        let made = Tenant::new(self.capacity);
        self.tenants.rcu(|old| {
            let mut tenants = Tenants::clone(old);
            tenants.entry(Arc::from(name)).or_insert_with(|| Arc::clone(&made));
            tenants
        });
        self.tenants.load().get(name).map_or(made, Arc::clone)
    }
}

fn end_all(streams: &[Arc<Stream>], why: Ended) {
    for stream in streams {
        stream.end(why);
    }
}

#[derive(Debug)]
struct Tenant {
    /// Whether the list has entries; written under its lock.
    has_revoked: AtomicBool,
    list: Mutex<RevocationList>,
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    /// By session and number: those of one session stand together, and a tree gives memory back.
    open: BTreeMap<([u8; 16], u64), Arc<Stream>>,
    /// How many were ever opened; numbers them.
    opened: u64,
    /// By persona.
    launched_before: HashMap<Box<str>, UnixSeconds, fast::RandomState>,
}

impl Streams {
    fn select(&self, is_meant: impl Fn(&Stream) -> bool) -> Vec<Arc<Stream>> {
        self.open.values().filter(|stream| is_meant(stream)).map(Arc::clone).collect()
    }
}

impl Tenant {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            has_revoked: AtomicBool::new(false),
            list: Mutex::new(RevocationList::new(capacity)),
            streams: Mutex::default(),
        })
    }

    fn is_revoked(&self, id: SessionId) -> bool {
        self.has_revoked.load(Ordering::Relaxed) && self.list().contains(id)
    }

    fn lives(&self) -> bool {
        !self.streams().open.is_empty() || !self.list().is_empty()
    }

    // Nothing panics under these locks half way through a change.

    fn list(&self) -> MutexGuard<'_, RevocationList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Stream {
    key: ([u8; 16], u64),
    persona: Arc<str>,
    launched_at: UnixSeconds,
    /// Zero, or an [`Ended`]. The first one stays.
    ended: AtomicU8,
    waker: AtomicWaker,
    tenant: Arc<Tenant>,
}

impl Stream {
    fn end(&self, why: Ended) {
        let first =
            self.ended.compare_exchange(0, why as u8, Ordering::Release, Ordering::Relaxed).is_ok();
        if first {
            self.waker.wake();
        }
    }

    fn ended(&self) -> Option<Ended> {
        Ended::from_code(self.ended.load(Ordering::Acquire))
    }
}

/// An open stream: a WebSocket, or an answer that is still arriving. Its size is a pointer's.
#[derive(Debug)]
pub struct StreamGuard(Arc<Stream>);

impl StreamGuard {
    /// Ready once the session has ended, and from then on. Only the last task that asked is woken.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Some(why) = self.0.ended() {
            return Poll::Ready(why);
        }
        self.0.waker.register(cx.waker());
        // It may have ended before the waker was in its place.
        self.0.ended().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.tenant.streams().open.remove(&self.0.key);
    }
}

#[cfg(test)]
mod tests;
