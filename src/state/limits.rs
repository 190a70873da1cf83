//! The buckets of every tenant, in memory, bounded.
//!
//! Each tenant has its own map under its own lock and its own number of keys, which depends on the
//! configuration alone: a flood at one tenant can neither evict, delay nor crowd out another's
//! buckets. Within a tenant nothing that still limits somebody is ever evicted.
//!
//! At the cap, buckets that have refilled go first. Where none has, a new key shares one of
//! [`SHARED`] buckets with other strangers: it can never send more than its rule allows, it may be
//! refused for what another sent. That is closed enough for an attacker with many addresses, who
//! gets the same few buckets for all of them, and open enough for a visitor who arrives in the
//! middle of it. Known addresses notice nothing.

mod handover;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::{fast, quality};

use super::{Fill, names};
use crate::policy::limits::{Bucket, Client, Moment, Rate};
pub use handover::TenantLimits;

/// Buckets that strangers share at the cap, for each of the four scopes of a tenant.
pub const SHARED: usize = 512;

/// No tenant gets fewer keys, however many tenants there are.
const FEWEST_KEYS: usize = 224;

/// A full map is searched for refilled buckets at most this often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How many keys are remembered; about 40 bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// By the process, divided equally among its tenants.
    pub overall: usize,
    /// By one tenant.
    pub per_tenant: usize,
}

impl Default for Capacity {
    /// Seven eighths of a power of two are what a hash table holds before it doubles.
    fn default() -> Self {
        Self { overall: (1 << 21) / 8 * 7, per_tenant: (1 << 17) / 8 * 7 }
    }
}

impl Capacity {
    fn of_each(self, tenants: usize) -> usize {
        (self.overall / tenants.max(1)).max(FEWEST_KEYS).min(self.per_tenant)
    }
}

type Tenants = HashMap<Arc<str>, Arc<TenantBuckets>, fast::RandomState>;

/// Every bucket of the process. One of it is made at the start and outlives every snapshot.
#[derive(Debug)]
pub struct Limiter {
    tenants: ArcSwap<Tenants>,
    capacity: Capacity,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(Capacity::default())
    }
}

impl Limiter {
    pub fn new(capacity: Capacity) -> Self {
        Self { tenants: ArcSwap::default(), capacity }
    }

    /// Follows a configuration at the start and after each reload: forgets tenants that are gone,
    /// keeps what the others have used, and divides the keys anew. A tenant that now has more keys
    /// than its part keeps them until they have refilled.
    pub fn follow<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = tenants.into_iter().collect();
        let part = self.capacity.of_each(names.len());
        self.tenants.rcu(|old| {
            let kept = names.iter().map(|&name| match old.get_key_value(name) {
                Some((name, buckets)) => {
                    buckets.most.store(part, Ordering::Relaxed);
                    (Arc::clone(name), Arc::clone(buckets))
                }
                None => (Arc::from(name), Arc::new(TenantBuckets::new(part))),
            });
            kept.collect::<Tenants>()
        });
    }

    /// Drops refilled buckets and gives memory back. For a timer; nothing depends on it.
    pub fn tidy(&self, now: Moment) {
        for buckets in self.tenants.load().values() {
            buckets.lock().tidy(now);
        }
    }

    /// Keys remembered now, by tenant.
    pub fn fill(&self) -> Fill {
        let tenants = self.tenants.load();
        let most = self.capacity.of_each(tenants.len());
        Fill::of(most, &tenants, |buckets| buckets.lock().keys.len())
    }

    /// Bytes of forms that are being read now, by tenant.
    pub fn forms(&self) -> Fill {
        Fill::of(FORMS, &self.tenants.load(), |buckets| buckets.forms.load(Ordering::Relaxed))
    }

    /// How much of the tenant's own bucket is used: one is all of it.
    pub fn used(&self, tenant: &str, rate: Rate, now: Moment) -> f64 {
        let tenants = self.tenants.load();
        tenants.get(tenant).map_or(0.0, |buckets| buckets.lock().tenant.used(rate, now))
    }

    /// Keys remembered now.
    pub fn keys(&self) -> usize {
        self.tenants.load().values().map(|buckets| buckets.lock().keys.len()).sum()
    }

    /// The tenant's buckets; made here only for a tenant that [`Limiter::follow`] has not named,
    /// such as one that a reload has just removed under a request.
    pub(crate) fn tenant(&self, name: &str) -> Arc<TenantBuckets> {
        if let Some(buckets) = self.tenants.load().get(name) {
            return Arc::clone(buckets);
        }
        let made = Arc::new(TenantBuckets::new(FEWEST_KEYS.min(self.capacity.per_tenant)));
        self.tenants.rcu(|old| {
            let mut tenants = Tenants::clone(old);
            tenants.entry(Arc::from(name)).or_insert_with(|| Arc::clone(&made));
            tenants
        });
        self.tenants.load().get(name).map_or(made, Arc::clone)
    }
}

/// Whose bucket of a client it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    Ip,
    Share,
    /// At this persona.
    Launcher(&'a str),
    /// What it tells of its chats.
    Beacon,
}

/// A client's bucket within a tenant, in sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    client: u64,
    /// Two bits of scope, one of family, 61 of the number of the persona's name: of a thousand
    /// personas, two are taken for one with a chance of one in 10^12.
    scope: u64,
}

impl Key {
    /// The row of shared buckets: rules differ from scope to scope.
    fn row(self) -> usize {
        usize::from(self.scope as u8 & 3)
    }
}

/// One tenant's buckets.
#[derive(Debug)]
pub(crate) struct TenantBuckets {
    held: Mutex<Held>,
    /// Keys that it may have.
    most: AtomicUsize,
    /// Bytes of forms that are being read.
    forms: AtomicUsize,
}

impl TenantBuckets {
    fn new(most: usize) -> Self {
        Self { held: Mutex::default(), most: AtomicUsize::new(most), forms: AtomicUsize::new(0) }
    }

    pub(crate) fn key(&self, client: Client, scope: Scope<'_>) -> Key {
        let (client, family) = match client {
            Client::V4(address) => (u64::from(address), 0),
            Client::V6(prefix) => (prefix, 1 << 2),
        };
        let scope = match scope {
            Scope::Ip => 0,
            Scope::Share => 1,
            Scope::Launcher(persona) => names::number(persona) << 3 | 2,
            Scope::Beacon => 3,
        };
        Key { client, scope: scope | family }
    }

    /// All of a tenant's buckets at once: what is read stays true until it is written.
    pub(crate) fn lock(&self) -> Buckets<'_> {
        // Buckets are plain numbers: a panic elsewhere leaves none half written.
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Buckets { held, most: self.most.load(Ordering::Relaxed) }
    }
}

/// Bytes of forms that one tenant's launches may hold while they are being read.
const FORMS: usize = 64 << 20;

/// What one form holds of its tenant's memory; given back when it is dropped.
#[derive(Debug)]
pub struct FormMemory {
    tenant: Arc<TenantBuckets>,
    held: usize,
}

impl FormMemory {
    pub(crate) fn of(tenant: &Arc<TenantBuckets>) -> Self {
        Self { tenant: Arc::clone(tenant), held: 0 }
    }

    /// Takes more; false where the tenant's launches hold all that they may.
    pub fn take(&mut self, bytes: usize) -> bool {
        self.held += bytes;
        self.tenant.forms.fetch_add(bytes, Ordering::Relaxed) + bytes <= FORMS
    }
}

impl Drop for FormMemory {
    fn drop(&mut self) {
        self.tenant.forms.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// A tenant's buckets, held by one decision.
#[derive(Debug)]
pub(crate) struct Buckets<'a> {
    held: MutexGuard<'a, Held>,
    most: usize,
}

impl std::ops::Deref for Buckets<'_> {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

impl std::ops::DerefMut for Buckets<'_> {
    fn deref_mut(&mut self) -> &mut Held {
        &mut self.held
    }
}

impl Buckets<'_> {
    /// Remembers a bucket: at its own place, or at the cap in place of the shared one.
    pub(crate) fn write(&mut self, key: Key, bucket: Bucket, rate: Rate, now: Moment) {
        let most = self.most;
        let held = &mut *self.held;
        held.longest_step = held.longest_step.max(rate.step());
        if let Some(place) = held.keys.get_mut(&key) {
            *place = bucket;
        } else if held.has_room(most, now) {
            held.keys.insert(key, bucket);
        } else {
            *held.shared_mut(key) = bucket;
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The bucket of the tenant as a whole.
    pub(crate) tenant: Bucket,
    keys: HashMap<Key, Bucket, fast::RandomState>,
    /// Four rows of [`SHARED`]; empty until the cap was met.
    shared: Vec<Bucket>,
    columns: quality::RandomState,
    /// The longest step of any rule that wrote here.
    longest_step: u64,
    swept: Moment,
}

impl Held {
    /// A key without a place of its own has what its shared bucket has: who was a stranger during
    /// a flood does not start afresh after it.
    pub(crate) fn read(&self, key: Key) -> Bucket {
        match self.keys.get(&key) {
            Some(bucket) => *bucket,
            None if self.shared.is_empty() => Bucket::default(),
            None => self.shared[self.place(key)],
        }
    }

    fn shared_mut(&mut self, key: Key) -> &mut Bucket {
        if self.shared.is_empty() {
            self.shared = vec![Bucket::default(); 4 * SHARED];
        }
        let place = self.place(key);
        &mut self.shared[place]
    }

    fn place(&self, key: Key) -> usize {
        // Not the map's hasher: neighbouring addresses must not crowd into a few columns.
        let column = self.columns.hash_one(key) as usize % SHARED;
        key.row() * SHARED + column
    }

    /// May a key be added? A table that is full is swept before it grows.
    fn has_room(&mut self, most: usize, now: Moment) -> bool {
        let full = self.keys.len() >= most.min(self.keys.capacity());
        if full && self.swept.plus(SWEEP_INTERVAL) <= now {
            self.sweep(now);
        }
        self.keys.len() < most
    }

    fn sweep(&mut self, now: Moment) {
        let longest_step = self.longest_step;
        self.keys.retain(|_, bucket| !bucket.is_idle(longest_step, now));
        self.swept = now;
    }

    fn tidy(&mut self, now: Moment) {
        self.sweep(now);
        let longest_step = self.longest_step;
        if self.shared.iter().all(|bucket| bucket.is_idle(longest_step, now)) {
            self.shared = Vec::new();
        }
        if self.keys.len() < self.keys.capacity() / 4 {
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests;
