//! Which signatures were used, by whom, as long as they are fresh.
//!
//! Decides whether a signed launch may go on that somebody, perhaps another, has made before. A
//! signed URL passes through pages, histories and chats; whoever finds it must not become its user.
//!
//! | `replay` | the first | who holds the session that it began | anybody else |
//! | --- | --- | --- | --- |
//! | `bind` | passes | passes | refused; except that the same address may begin again within 30 seconds, as long as the session has not come back |
//! | `once` | passes | only the redirects of that launch | refused |
//! | `off` | passes | passes | passes; nothing is remembered |
//!
//! The exception is for a first answer that got lost, and for browsers that ask twice. A session
//! that carries the signature's proof holds it, whatever is remembered here, so that a restart
//! refuses nobody; and a holder who comes back after one is remembered anew.
//!
//! Every tenant has a map of its own under a lock of its own. A full one refuses that tenant's
//! next signed launch and evicts nothing that is fresh. Only what verified gets here: a stranger
//! without a secret cannot fill it. Clocks are arguments.

mod handover;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast;

use super::{Fill, names};
use crate::policy::limits::Client;
use crate::policy::session::{LaunchProof, Session, SessionId, UnixSeconds};
use crate::policy::signature::Replay;
use crate::rejection::{Code, Rejection};
pub use handover::UsedSignature;

/// For how long the address that came first may begin again, in seconds.
const BEGINS_AGAIN: u64 = 30;

/// How long a signature is remembered beyond its freshness, in seconds: a clock may be put back.
const BEYOND: u64 = 60;

/// Signatures of one tenant. In five minutes and their margins that is 136 launches a second; about
/// six megabytes. Seven eighths of a power of two are what a hash table holds before it doubles.
pub const DEFAULT_CAPACITY: usize = (1 << 16) / 8 * 7;

/// A launch with a signature that has verified.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub persona: &'a str,
    pub proof: LaunchProof,
    /// The session that the browser showed, alive.
    pub held: Option<&'a Session>,
    /// The session that the launch leads to: the one held, where it goes on, or a new one.
    pub session: SessionId,
    pub client: Client,
    pub now: UnixSeconds,
    /// After this the signature is of no use to anybody else.
    pub fresh_until: UnixSeconds,
    pub replay: Replay,
}

impl Attempt<'_> {
    /// The browser holds a session that this signature began, or that it went on with.
    fn holds(&self) -> bool {
        self.held.is_some_and(|held| held.proofs().any(|proof| proof == self.proof))
    }
}

/// Why a launch may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// Nobody used the signature before.
    First,
    /// Whoever used it asks again.
    Same,
    /// The first answer seems to be lost: another session begins.
    Again,
}

/// Why it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Replayed,
    /// The tenant has no room to remember it.
    Full,
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Replayed => {
                Self::new(Code::SignatureReplayed, "somebody else has used this signature")
            }
            Refused::Full => {
                Self::new(Code::ReplayMemoryFull, "the tenant's replay memory is full")
            }
        }
    }
}

type Tenants = HashMap<Arc<str>, Arc<Mutex<Tenant>>, fast::RandomState>;

/// One of it is made at the start and outlives every snapshot.
#[derive(Debug)]
pub struct Replays {
    tenants: ArcSwap<Tenants>,
    /// Of each tenant.
    capacity: usize,
}

impl Default for Replays {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl Replays {
    pub fn new(capacity: usize) -> Self {
        Self { tenants: ArcSwap::default(), capacity }
    }

    /// Follows a configuration at the start and after each reload. A tenant that is gone is
    /// forgotten once nothing of it is fresh: it may come back with the next reload.
    pub fn follow<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = tenants.into_iter().collect();
        self.tenants.rcu(|old| {
            let used = old.iter().filter(|(_, tenant)| !lock(tenant).used.is_empty());
            let mut kept: Tenants =
                used.map(|(name, tenant)| (Arc::clone(name), Arc::clone(tenant))).collect();
            for &name in &names {
                if !kept.contains_key(name) {
                    let (name, tenant) = match old.get_key_value(name) {
                        Some((name, tenant)) => (Arc::clone(name), Arc::clone(tenant)),
                        None => (Arc::from(name), Arc::default()),
                    };
                    kept.insert(name, tenant);
                }
            }
            kept
        });
    }

    /// Decides about a launch, and remembers it. What follows may still refuse the launch:
    /// [`Replays::give_back`].
    pub fn take(&self, tenant: &str, attempt: &Attempt<'_>) -> Result<Replayed, Refused> {
        let now = attempt.now;
        match attempt.replay {
            Replay::Off => return Ok(Replayed::First),
            Replay::Once
                if attempt.held.is_some_and(|held| {
                    held.proof == Some(attempt.proof) && held.is_launching(now)
                }) =>
            {
                return Ok(Replayed::Same);
            }
            Replay::Once | Replay::Bind => {}
        }
        let key = Key::of(attempt.persona, attempt.proof);
        let tenant = self.tenant(tenant);
        let mut tenant = lock(&tenant);
        let entry = Used {
            session: attempt.session,
            client: attempt.client,
            first: now,
            until: UnixSeconds(attempt.fresh_until.0.saturating_add(BEYOND)),
            came_back: attempt.held.is_some_and(|held| held.id == attempt.session),
        };
        if attempt.replay == Replay::Bind && attempt.holds() {
            match tenant.used.get_mut(&key) {
                Some(used) => used.came_back = true,
                // It holds it; whether there is room to tell others is no matter.
                None if entry.until >= now => _ = tenant.remember(key, entry, now, self.capacity),
                None => {}
            }
            return Ok(Replayed::Same);
        }
        let Some(used) = tenant.used.get_mut(&key).filter(|used| used.until >= now) else {
            tenant.remember(key, entry, now, self.capacity)?;
            return Ok(Replayed::First);
        };
        match attempt.replay {
            Replay::Bind if attempt.held.is_some_and(|held| held.id == used.session) => {
                used.came_back = true;
                Ok(Replayed::Same)
            }
            Replay::Bind if used.may_begin_again(attempt.client, now) => {
                used.session = attempt.session;
                Ok(Replayed::Again)
            }
            _ => Err(Refused::Replayed),
        }
    }

    /// The launch was refused after all: a first use is none.
    pub fn give_back(&self, tenant: &str, attempt: &Attempt<'_>, replayed: Replayed) {
        if replayed != Replayed::First {
            return;
        }
        let key = Key::of(attempt.persona, attempt.proof);
        let tenant = self.tenant(tenant);
        let mut tenant = lock(&tenant);
        if tenant.used.get(&key).is_some_and(|used| used.session == attempt.session) {
            tenant.used.remove(&key);
        }
    }

    /// A session has come back with its cookie or token: its signature begins no other. For every
    /// request that shows a session; it costs a look-up in the first half minute of a signed one.
    pub fn confirm(&self, tenant: &str, persona: &str, session: &Session, now: UnixSeconds) {
        let Some(proof) = session.proof else { return };
        if now.0.saturating_sub(session.launched_at.0) > BEGINS_AGAIN {
            return;
        }
        let key = Key::of(persona, proof);
        let Some(tenant) = self.tenants.load().get(tenant).map(Arc::clone) else { return };
        if let Some(used) = lock(&tenant).used.get_mut(&key) {
            used.came_back = true;
        }
    }

    /// Drops what is fresh no more. For a timer; nothing depends on it but memory.
    pub fn tidy(&self, now: UnixSeconds) {
        for tenant in self.tenants.load().values() {
            let mut tenant = lock(tenant);
            tenant.forget_stale(now);
            if tenant.used.len() < tenant.used.capacity() / 4 {
                let wanted = tenant.used.len() * 2;
                tenant.used.shrink_to(wanted);
            }
        }
    }

    /// Signatures remembered now, by tenant.
    pub fn fill(&self) -> Fill {
        Fill::of(self.capacity, &self.tenants.load(), |tenant| lock(tenant).used.len())
    }

    /// Signatures remembered now, of all tenants.
    pub fn len(&self) -> usize {
        self.tenants.load().values().map(|tenant| lock(tenant).used.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Made here only for a tenant that [`Replays::follow`] has not named, such as one that a
    /// reload has just removed under a request.
    fn tenant(&self, name: &str) -> Arc<Mutex<Tenant>> {
        if let Some(tenant) = self.tenants.load().get(name) {
            return Arc::clone(tenant);
        }
        let made = Arc::<Mutex<Tenant>>::default();
        self.tenants.rcu(|old| {
            let mut tenants = Tenants::clone(old);
            tenants.entry(Arc::from(name)).or_insert_with(|| Arc::clone(&made));
            tenants
        });
        self.tenants.load().get(name).map_or(made, Arc::clone)
    }
}

/// The persona by its name's number: of a thousand personas, two are taken for one with a chance of
/// one in 10^13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    persona: u64,
    proof: [u8; 16],
}

impl Key {
    fn of(persona: &str, proof: LaunchProof) -> Self {
        Self { persona: names::number(persona), proof: proof.0 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Used {
    session: SessionId,
    client: Client,
    first: UnixSeconds,
    until: UnixSeconds,
    /// The browser has shown a session of it.
    came_back: bool,
}

impl Used {
    fn may_begin_again(&self, client: Client, now: UnixSeconds) -> bool {
        let age = now.0.saturating_sub(self.first.0);
        !self.came_back && self.client == client && age < BEGINS_AGAIN
    }
}

#[derive(Debug)]
struct Tenant {
    used: HashMap<Key, Used, fast::RandomState>,
    /// Nothing is to be forgotten before this: a full map is not searched in vain at every launch.
    earliest: UnixSeconds,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { used: HashMap::default(), earliest: UnixSeconds(u64::MAX) }
    }
}

impl Tenant {
    fn remember(
        &mut self,
        key: Key,
        used: Used,
        now: UnixSeconds,
        capacity: usize,
    ) -> Result<(), Refused> {
        if self.used.len() >= capacity {
            self.forget_stale(now);
        }
        if self.used.len() >= capacity && !self.used.contains_key(&key) {
            return Err(Refused::Full);
        }
        self.earliest = self.earliest.min(used.until);
        self.used.insert(key, used);
        Ok(())
    }

    fn forget_stale(&mut self, now: UnixSeconds) {
        if now <= self.earliest {
            return;
        }
        self.used.retain(|_, used| used.until >= now);
        let earliest = self.used.values().map(|used| used.until).min();
        self.earliest = earliest.unwrap_or(UnixSeconds(u64::MAX));
    }
}

/// Nothing panics under this lock half way through a change.
fn lock(tenant: &Mutex<Tenant>) -> MutexGuard<'_, Tenant> {
    tenant.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
