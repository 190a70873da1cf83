//! Who has numbers of its own, and who shares them.
//!
//! Labels are bounded by `[telemetry] persona_metrics`, and which they are is decided by the
//! configuration alone, never by who is asked for: a visitor can neither make a series nor take
//! another's place. The number is divided among tenants as water fills cups: a small tenant gets
//! all it needs, what it leaves goes to the larger ones. Of a tenant that has more personas and sites
//! than its part, the first by name have numbers of their own, personas before sites, and the others
//! share those of `persona="_other"`. Where there are more tenants than the number, those past it share
//! `tenant="_other"`. Upstreams past the number share `upstream="_other"`.
//!
//! # When they go
//!
//! What a reload takes away is dropped [`LINGERS`] after it, so that its last numbers are still
//! read, and not before its last request and stream have ended. What comes back in that time goes on
//! counting.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast;

use crate::config::snapshot::{Snapshot, Tenant};
use crate::state::streams::Role;

/// The label of those that share.
pub const OTHER: &str = "_other";

/// How long numbers are told after what they are about has gone.
pub const LINGERS: Duration = Duration::from_secs(300);

/// Whose numbers they are, by the labels that they have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerKey {
    /// Empty for requests that are nobody's.
    pub tenant: Arc<str>,
    /// None for what is nobody's, or several ones'.
    pub role: Option<Role>,
    pub name: Arc<str>,
}

impl OwnerKey {
    /// Of what cannot be said whose it is.
    pub fn nobody() -> Self {
        Self { tenant: "".into(), role: None, name: "".into() }
    }

    fn others_of(tenant: &Arc<str>) -> Self {
        Self { tenant: Arc::clone(tenant), role: None, name: OTHER.into() }
    }

    pub fn others() -> Self {
        Self::others_of(&OTHER.into())
    }
}

/// Who has labels of its own.
#[derive(Debug, Default)]
pub struct Plan {
    owners: HashSet<OwnerKey, fast::RandomState>,
    tenants: HashSet<Arc<str>, fast::RandomState>,
    upstreams: HashSet<Arc<str>, fast::RandomState>,
    /// Personas and sites that share.
    pub folded: usize,
    most: usize,
}

impl Plan {
    pub fn of(snapshot: &Snapshot) -> Self {
        let most = snapshot.telemetry.persona_metrics;
        let mut plan = Self { most, ..Self::default() };
        let mut tenants: Vec<&Arc<Tenant>> = snapshot.tenants.values().collect();
        tenants.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let alone = tenants.len().min(most);
        plan.folded = tenants[alone..].iter().map(|tenant| count(tenant)).sum();
        if alone < tenants.len() {
            plan.owners.insert(OwnerKey::others());
        }
        let counts: Vec<usize> = tenants[..alone].iter().map(|tenant| count(tenant)).collect();
        for (tenant, part) in tenants.iter().zip(parts(&counts, most)) {
            plan.tenants.insert(Arc::clone(&tenant.id));
            plan.owners.extend(keys(tenant).take(part));
            if part < count(tenant) {
                plan.folded += count(tenant) - part;
                plan.owners.insert(OwnerKey::others_of(&tenant.id));
            }
        }
        let mut upstreams: Vec<&Arc<str>> = snapshot.upstreams.keys().collect();
        upstreams.sort_unstable();
        plan.upstreams.extend(upstreams.into_iter().take(most).map(Arc::clone));
        if plan.upstreams.len() < snapshot.upstreams.len() {
            plan.upstreams.insert(OTHER.into());
        }
        plan
    }

    /// The key under which it is counted.
    pub fn owner(&self, key: OwnerKey) -> OwnerKey {
        if self.owners.contains(&key) && &*key.name != OTHER {
            key
        } else if self.tenants.contains(&key.tenant) {
            OwnerKey::others_of(&key.tenant)
        } else {
            OwnerKey::others()
        }
    }

    /// The label of a tenant's own numbers.
    pub fn tenant(&self, name: &Arc<str>) -> Arc<str> {
        self.tenants.get(name).map_or_else(|| OTHER.into(), Arc::clone)
    }

    pub fn upstream(&self, name: &Arc<str>) -> Arc<str> {
        self.upstreams.get(name).map_or_else(|| OTHER.into(), Arc::clone)
    }

    /// How many may be remembered: those that have labels, those that share, and as many again that
    /// have just gone.
    pub fn room(&self) -> usize {
        3 * self.most + 2
    }

    pub fn has_owner(&self, key: &OwnerKey) -> bool {
        self.owners.contains(key)
    }

    /// Everybody who has labels, those that share among them.
    pub fn owners(&self) -> impl Iterator<Item = &OwnerKey> {
        self.owners.iter()
    }

    pub fn owner_count(&self) -> usize {
        self.owners.len()
    }

    pub fn has_upstream(&self, name: &Arc<str>) -> bool {
        self.upstreams.contains(name)
    }
}

fn count(tenant: &Tenant) -> usize {
    tenant.personas.len() + tenant.sites.len()
}

/// By name, as the configuration has them; personas first.
fn keys(tenant: &Tenant) -> impl Iterator<Item = OwnerKey> {
    let key = |role, name: &Arc<str>| OwnerKey {
        tenant: Arc::clone(&tenant.id),
        role: Some(role),
        name: Arc::clone(name),
    };
    let personas = tenant.personas.iter().map(move |persona| key(Role::Persona, &persona.name));
    let sites = tenant.sites.iter().map(move |site| key(Role::Site, &site.name));
    personas.chain(sites)
}

/// Divides `most` among those who need so many: nobody gets more than it needs, nor less than a
/// fair part of what smaller ones have left.
fn parts(needs: &[usize], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&at| needs[at]);
    let mut parts = vec![0; needs.len()];
    let mut left = most;
    for (done, at) in order.into_iter().enumerate() {
        parts[at] = needs[at].min(left / (needs.len() - done));
        left -= parts[at];
    }
    parts
}

/// Everything of one sort that is counted, by its labels.
#[derive(Debug)]
pub struct Roster<K, M> {
    entries: HashMap<K, Entry<M>, fast::RandomState>,
}

#[derive(Debug)]
struct Entry<M> {
    meters: Arc<M>,
    /// Since when the configuration does not name it.
    gone: Option<Instant>,
}

impl<K, M> Default for Roster<K, M> {
    fn default() -> Self {
        Self { entries: HashMap::default() }
    }
}

impl<K: Hash + Eq + Clone, M> Roster<K, M> {
    /// The same for the same key, as long as anybody has it. Where there is no room for another one,
    /// that of `others`.
    pub fn get(
        &mut self,
        key: K,
        room: usize,
        others: impl FnOnce() -> K,
        make: impl FnOnce(K) -> M,
    ) -> Arc<M> {
        let has_room = self.entries.len() < room || self.entries.contains_key(&key);
        let key = if has_room { key } else { others() };
        let entry = self
            .entries
            .entry(key)
            .or_insert_with_key(|key| Entry { meters: Arc::new(make(key.clone())), gone: None });
        Arc::clone(&entry.meters)
    }

    /// A configuration has come that names these.
    pub fn follow(&mut self, is_named: impl Fn(&K) -> bool, now: Instant) {
        for (key, entry) in &mut self.entries {
            entry.gone = if is_named(key) { None } else { entry.gone.or(Some(now)) };
        }
    }

    /// Drops what went long ago and is in nobody's hands.
    pub fn tidy(&mut self, now: Instant) {
        self.entries.retain(|_, entry| {
            let is_old = entry.gone.is_some_and(|gone| now.duration_since(gone) >= LINGERS);
            !is_old || Arc::strong_count(&entry.meters) > 1
        });
    }

    pub fn all(&self) -> Vec<Arc<M>> {
        self.entries.values().map(|entry| Arc::clone(&entry.meters)).collect()
    }
}

#[cfg(test)]
mod tests;
