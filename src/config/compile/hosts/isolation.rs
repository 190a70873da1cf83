//! What tenants on one host have of each other, and what keeps them apart.
//!
//! That nobody is at the root of a host that others are on is decided in `claims`.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::super::super::error::{Problems, Wrong};
use super::super::super::raw::Root;
use super::super::Part;
use crate::embed::template::Isolation;

/// What keeps a template from other tenants' pages on its host.
pub fn of(shared: &HashSet<Box<str>>, host: &str) -> Isolation {
    match shared.contains(host) {
        true => Isolation::Sandbox,
        false => Isolation::None,
    }
}

/// Warns of what a host of one's own would add.
pub fn warn<'p>(root: &Root, parts: impl Iterator<Item = &'p Part>, problems: &mut Problems) {
    let shared = root.server.iter().filter_map(|at| at.value.shared_hosts.as_ref());
    let shared: Vec<_> = shared.flat_map(|list| &list.value).collect();
    let mut tenants: HashMap<&str, BTreeSet<&str>> =
        shared.iter().map(|at| (&*at.value.0, BTreeSet::new())).collect();
    if tenants.is_empty() {
        return;
    }
    for part in parts {
        for (host, _) in part.placed.iter().flat_map(|placed| placed.hosts()) {
            if let Some(tenants) = tenants.get_mut(host) {
                tenants.insert(&part.tenant.id);
            }
        }
    }
    for at in shared {
        let host = &*at.value.0;
        let there = tenants.get(host).map_or(0, BTreeSet::len);
        if there < 2 {
            continue;
        }
        let what = format!(
            "the scripts of {there} tenants' apps on `{host}` are of one origin: they can read each \
             other's pages and storage; cookies alone are kept apart, and templates run in a sandbox",
        );
        let wrong =
            Wrong::new(what, "give tenants that do not trust each other hosts of their own");
        problems.warning(at.spot, "server.shared_hosts", wrong);
    }
}
