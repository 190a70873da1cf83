//! What launches left for the apps: variables and injected texts, for the life of their sessions.
//!
//! The app asks for it by the session's hash, which is what it knows of a session, and with it by
//! persona: a hash that is shown at another persona finds nothing.
//!
//! Must not: give one session's to another, evict what lives, or print any of it. It lives outside
//! the snapshot. A full store says so, and the launch is refused: an app that is told nothing would
//! take its customer's instructions for none.

mod handover;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast;

use super::Fill;
use crate::policy::identity::SessionHash;
use crate::policy::injection::Injection;
use crate::policy::session::UnixSeconds;
use crate::policy::variables::Variables;
pub use handover::ParkedLaunch;

/// What one launch brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    pub variables: Variables,
    pub injection: Injection,
}

impl Launched {
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.injection.is_empty()
    }

    /// What it is charged, the place that it takes included.
    pub fn bytes(&self) -> usize {
        const PLACE: usize = 256;
        PLACE + self.variables.bytes() + self.injection.bytes()
    }
}

/// How much one tenant may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions.
    pub sessions: usize,
    /// Bytes of all of them, as [`Launched::bytes`] counts.
    pub bytes: usize,
}

impl Default for Capacity {
    /// Two hundred launches a minute with a few short variables, for half a day; or two hundred
    /// sessions with everything that can be injected in Chinese.
    fn default() -> Self {
        Self { sessions: 1 << 17, bytes: 64 << 20 }
    }
}

/// There is no room, or no such tenant: nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

type Tenants = HashMap<Arc<str>, Arc<Mutex<Tenant>>, fast::RandomState>;

/// One of it is made at the start and outlives every snapshot.
#[derive(Debug, Default)]
pub struct Parked {
    tenants: ArcSwap<Tenants>,
    capacity: Capacity,
}

impl Parked {
    pub fn new(capacity: Capacity) -> Self {
        Self { tenants: ArcSwap::default(), capacity }
    }

    /// Follows a configuration at the start and after each reload: forgets tenants that are gone.
    pub fn follow<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = tenants.into_iter().collect();
        self.tenants.rcu(|old| {
            let kept = names.iter().map(|&name| match old.get_key_value(name) {
                Some((name, tenant)) => (Arc::clone(name), Arc::clone(tenant)),
                None => (Arc::from(name), Arc::default()),
            });
            kept.collect::<Tenants>()
        });
    }

    /// Keeps what a launch brought in the place of what the session was launched with before.
    /// `until` is when the last token of the session ends; see [`Parked::extend`].
    pub fn park(
        &self,
        tenant: &str,
        (persona, session): (&Arc<str>, SessionHash),
        launched: Launched,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<(), Full> {
        let tenant = self.tenant(tenant).ok_or(Full)?;
        let bytes = launched.bytes();
        let (persona, launched) = (Arc::clone(persona), Arc::new(launched));
        let kept = Kept { persona, launched, bytes, until };
        lock(&tenant).park(session, kept, now, self.capacity)
    }

    /// What the session was launched with; nothing where that was nothing.
    pub fn get(
        &self,
        tenant: &str,
        persona: &str,
        session: &SessionHash,
        now: UnixSeconds,
    ) -> Option<Arc<Launched>> {
        let tenant = self.tenant(tenant)?;
        let tenant = lock(&tenant);
        let kept = tenant.sessions.get(session)?;
        (kept.until > now && *kept.persona == *persona).then(|| Arc::clone(&kept.launched))
    }

    /// The session has a newer token.
    pub fn extend(&self, tenant: &str, session: &SessionHash, until: UnixSeconds) {
        let Some(tenant) = self.tenant(tenant) else { return };
        if let Some(kept) = lock(&tenant).sessions.get_mut(session) {
            kept.until = kept.until.max(until);
        }
    }

    /// The bridge has said who is asking: what the awaiting session was launched with goes to the
    /// one that takes its place. It needs no room.
    pub fn hand_over(&self, tenant: &str, from: &SessionHash, to: SessionHash, until: UnixSeconds) {
        let Some(tenant) = self.tenant(tenant) else { return };
        let mut tenant = lock(&tenant);
        let Some(kept) = tenant.sessions.remove(from) else { return };
        tenant.remove(&to);
        tenant.earliest = tenant.earliest.min(until);
        tenant.sessions.insert(to, Kept { until, ..kept });
    }

    /// The session was revoked, or is launched anew with nothing.
    pub fn forget(&self, tenant: &str, session: &SessionHash) {
        if let Some(tenant) = self.tenant(tenant) {
            lock(&tenant).remove(session);
        }
    }

    /// Drops what has ended and gives memory back. For a timer; nothing depends on it.
    pub fn tidy(&self, now: UnixSeconds) {
        for tenant in self.tenants.load().values() {
            let mut tenant = lock(tenant);
            tenant.forget_ended(now);
            tenant.sessions.shrink_to_fit();
        }
    }

    /// Sessions that have something here, and its bytes, by tenant.
    pub fn fill(&self) -> (Fill, Fill) {
        let (tenants, Capacity { sessions, bytes }) = (self.tenants.load(), self.capacity);
        (
            Fill::of(sessions, &tenants, |tenant| lock(tenant).sessions.len()),
            Fill::of(bytes, &tenants, |tenant| lock(tenant).bytes),
        )
    }

    /// Sessions that have something here, of all tenants.
    pub fn sessions(&self) -> usize {
        self.tenants.load().values().map(|tenant| lock(tenant).sessions.len()).sum()
    }

    /// None for a tenant that the configuration does not name: it has no business here any more.
    fn tenant(&self, name: &str) -> Option<Arc<Mutex<Tenant>>> {
        self.tenants.load().get(name).map(Arc::clone)
    }
}

fn lock(tenant: &Mutex<Tenant>) -> MutexGuard<'_, Tenant> {
    // Nothing panics under the lock half way through a change.
    tenant.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Tenant {
    sessions: HashMap<SessionHash, Kept, fast::RandomState>,
    /// Of all of them.
    bytes: usize,
    /// Nothing ends before this: a full store is not searched in vain for every launch.
    earliest: UnixSeconds,
}

#[derive(Debug)]
struct Kept {
    persona: Arc<str>,
    launched: Arc<Launched>,
    bytes: usize,
    until: UnixSeconds,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { sessions: HashMap::default(), bytes: 0, earliest: UnixSeconds(u64::MAX) }
    }
}

impl Tenant {
    fn park(
        &mut self,
        session: SessionHash,
        kept: Kept,
        now: UnixSeconds,
        capacity: Capacity,
    ) -> Result<(), Full> {
        if kept.until <= now {
            return Ok(());
        }
        if !self.has_room(&session, kept.bytes, capacity) {
            self.forget_ended(now);
        }
        if !self.has_room(&session, kept.bytes, capacity) {
            return Err(Full);
        }
        self.remove(&session);
        self.bytes += kept.bytes;
        self.earliest = self.earliest.min(kept.until);
        self.sessions.insert(session, kept);
        Ok(())
    }

    /// Once what the session has now is gone.
    fn has_room(&self, session: &SessionHash, bytes: usize, capacity: Capacity) -> bool {
        let (one, replaced) = self.sessions.get(session).map_or((1, 0), |kept| (0, kept.bytes));
        self.sessions.len() + one <= capacity.sessions
            && self.bytes - replaced + bytes <= capacity.bytes
    }

    fn remove(&mut self, session: &SessionHash) {
        if let Some(kept) = self.sessions.remove(session) {
            self.bytes -= kept.bytes;
        }
    }

    fn forget_ended(&mut self, now: UnixSeconds) {
        if now < self.earliest {
            return;
        }
        self.sessions.retain(|_, kept| kept.until > now);
        self.bytes = self.sessions.values().map(|kept| kept.bytes).sum();
        let ends = self.sessions.values().map(|kept| kept.until);
        self.earliest = ends.min().unwrap_or(UnixSeconds(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
