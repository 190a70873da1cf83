//! All upstreams, by name. It outlives snapshots, and what is known of servers with it.
//!
//! A request finds its upstream without a lock. One whose snapshot names an upstream that has just
//! gone, or is just coming, finds it all the same: an upstream that nobody has told of yet is made
//! on the spot, and one that is gone is kept until no snapshot names it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::circuit::Load;
use super::group::{Group, ServerStatus};
use crate::config::snapshot::Upstream;

#[derive(Debug, Default)]
pub struct Registry {
    groups: ArcSwap<Groups>,
    changing: Mutex<()>,
    made: AtomicUsize,
}

#[derive(Debug, Default, Clone)]
struct Groups {
    by_name: HashMap<Arc<str>, Named, foldhash::fast::RandomState>,
}

#[derive(Debug, Clone)]
struct Named {
    group: Arc<Group>,
    /// The live snapshot has it.
    is_live: bool,
}

/// One upstream, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamStatus {
    pub name: Arc<str>,
    pub servers: Vec<ServerStatus>,
    /// What it bears now.
    pub load: Load,
    /// Too few servers are usable to be choosy.
    pub panics: bool,
}

impl UpstreamStatus {
    /// All of its servers are usable.
    pub fn is_well(&self) -> bool {
        !self.panics && self.servers.iter().all(|server| server.weight > 0)
    }
}

impl Registry {
    /// Does something with the servers of an upstream, without keeping them.
    pub fn with<T>(&self, upstream: &Arc<Upstream>, with: impl FnOnce(&Arc<Group>) -> T) -> T {
        let groups = self.groups.load();
        match groups.by_name.get(&upstream.name) {
            Some(named) => with(&named.group),
            None => with(&self.add(upstream)),
        }
    }

    fn add(&self, upstream: &Arc<Upstream>) -> Arc<Group> {
        self.change(|groups| {
            let name = Arc::clone(&upstream.name);
            let named = groups.by_name.entry(name).or_insert_with(|| Named {
                group: self.make(upstream, Instant::now()),
                is_live: false,
            });
            Arc::clone(&named.group)
        })
    }

    fn make(&self, upstream: &Arc<Upstream>, now: Instant) -> Arc<Group> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        Arc::new(Group::new(number, upstream, now))
    }

    /// The live snapshot has these.
    pub fn follow<'u>(&self, upstreams: impl Iterator<Item = &'u Arc<Upstream>>, now: Instant) {
        self.change(|groups| {
            groups.by_name.values_mut().for_each(|named| named.is_live = false);
            for upstream in upstreams {
                let name = Arc::clone(&upstream.name);
                let made = || Named { group: self.make(upstream, now), is_live: true };
                let named = groups.by_name.entry(name).or_insert_with(made);
                named.is_live = true;
                if !Arc::ptr_eq(&named.group.upstream(), upstream) {
                    named.group.follow(upstream, now);
                }
            }
        });
    }

    /// Those that the live snapshot has: whose servers are to be watched.
    pub fn live(&self) -> Vec<Arc<Group>> {
        let groups = self.groups.load();
        let live = groups.by_name.values().filter(|named| named.is_live);
        live.map(|named| Arc::clone(&named.group)).collect()
    }

    /// Forgets what is no longer asked for: affinities, and upstreams that no snapshot names.
    pub fn tidy(&self, now: Instant) {
        for named in self.groups.load().by_name.values() {
            named.group.tidy(now);
        }
        // The group and the handle that asks: no snapshot, no request.
        let is_dead =
            |named: &Named| !named.is_live && Arc::strong_count(&named.group.upstream()) <= 2;
        if self.groups.load().by_name.values().any(is_dead) {
            self.change(|groups| groups.by_name.retain(|_, named| !is_dead(named)));
        }
    }

    /// What is known of all servers, by name.
    pub fn status(&self, now: Instant) -> Vec<UpstreamStatus> {
        let groups = self.groups.load();
        let live = groups.by_name.iter().filter(|(_, named)| named.is_live);
        let status = |(name, named): (&Arc<str>, &Named)| UpstreamStatus {
            name: Arc::clone(name),
            servers: named.group.status(now),
            load: named.group.bears(),
            panics: named.group.panics(),
        };
        let mut all: Vec<_> = live.map(status).collect();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn change<T>(&self, change: impl FnOnce(&mut Groups) -> T) -> T {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups = Groups::clone(&self.groups.load());
        let result = change(&mut groups);
        self.groups.store(Arc::new(groups));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::group::tests::{upstream, used};
    use crate::upstream::policy::HealthPolicy;

    fn group(registry: &Registry, upstream: &Arc<Upstream>) -> Arc<Group> {
        registry.with(upstream, Arc::clone)
    }

    #[test]
    fn what_is_known_of_a_server_survives_a_reload() {
        let now = Instant::now();
        let registry = Registry::default();
        let health = HealthPolicy::default();
        let change = |upstream: &mut Upstream| upstream.policy.health = Some(health.clone());
        registry.follow([upstream("app", &[1, 2], change)].iter(), now);
        let live = registry.live();
        let ill = live[0].members()[0].clone();
        live[0].checked(&ill, false, &health, now);
        assert_eq!(used(&live[0]), [2]);

        let reloaded = upstream("app", &[3, 2, 1], change);
        registry.follow([&reloaded].into_iter(), now);
        assert_eq!(used(&group(&registry, &reloaded)), [3, 2]);
        let unchecked = upstream("app", &[3, 2, 1], |_| {});
        registry.follow([&unchecked].into_iter(), now);
        assert_eq!(used(&group(&registry, &unchecked)), [3, 2, 1]);
    }

    #[test]
    fn an_upstream_that_has_gone_serves_as_long_as_a_snapshot_names_it() {
        let now = Instant::now();
        let registry = Registry::default();
        let old = upstream("old", &[1], |_| {});
        registry.follow([&old].into_iter(), now);
        registry.follow([&upstream("new", &[2], |_| {})].into_iter(), now);
        registry.tidy(now);
        let kept = group(&registry, &old);
        assert_eq!(used(&kept), [1]);
        assert_eq!(registry.live().len(), 1);
        assert_eq!(registry.status(now).len(), 1);
        drop((old, kept));
        registry.tidy(now);
        assert_eq!(registry.groups.load().by_name.len(), 1);
    }

    #[test]
    fn an_upstream_that_nobody_has_told_of_is_made() {
        let registry = Registry::default();
        let early = upstream("early", &[1], |_| {});
        let first = group(&registry, &early);
        assert!(Arc::ptr_eq(&first, &group(&registry, &early)));
        registry.follow([&early].into_iter(), Instant::now());
        assert!(Arc::ptr_eq(&first, &registry.live()[0]));
    }
}
