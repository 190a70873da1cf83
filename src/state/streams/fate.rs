//! What a reload means for a stream: a comparison of the persona that admitted it with the one of
//! that name in the new snapshot. Pure.
//!
//! A persona that has moved to another host, path or upstream is still there. One whose identity
//! policy has changed applies it to whoever comes next, and to those who are here only where it says
//! `revoke = true`.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast;

use super::{Ended, Holder, Pace};
use crate::config::snapshot::{Persona, Site, Snapshot};

/// What becomes of a stream.
#[derive(Debug, Clone)]
pub enum Fate {
    Stays,
    /// It goes on as this one's, so that it does not keep the old one's memory.
    Moves(Holder),
    Ends(Ended, Pace),
}

/// What the snapshot means for streams of `holder`.
pub fn fate(holder: &Holder, snapshot: &Snapshot) -> Fate {
    let Some(tenant) = snapshot.tenants.get(holder.tenant()) else { return removed(snapshot) };
    let name = holder.name();
    match holder {
        Holder::Persona(old) => {
            persona(old, tenant.personas.iter().find(|one| one.name == *name), snapshot)
        }
        Holder::Site(old) => site(old, tenant.sites.iter().find(|one| one.name == *name), snapshot),
    }
}

/// [`fate`] of many, by [`Holder::address`]. A tenant's personas are gone through once, however
/// many of them there are.
pub(super) fn of_all(
    holders: &[Holder],
    snapshot: &Snapshot,
) -> HashMap<usize, Fate, fast::RandomState> {
    let mut tenants: HashMap<&str, HashMap<&str, &Arc<Persona>, fast::RandomState>> =
        HashMap::new();
    let mut fates = HashMap::default();
    for holder in holders {
        let found = match (holder, snapshot.tenants.get(holder.tenant())) {
            (Holder::Persona(old), Some(tenant)) => {
                let personas = tenants.entry(&tenant.id).or_insert_with(|| {
                    tenant.personas.iter().map(|persona| (&*persona.name, persona)).collect()
                });
                persona(old, personas.get(&*old.name).copied(), snapshot)
            }
            _ => fate(holder, snapshot),
        };
        fates.insert(holder.address(), found);
    }
    fates
}

fn persona(old: &Arc<Persona>, new: Option<&Arc<Persona>>, snapshot: &Snapshot) -> Fate {
    match new {
        None => removed(snapshot),
        Some(new) if Arc::ptr_eq(old, new) => Fate::Stays,
        Some(new) if new.revoke && !new.identifies_like(old) => {
            Fate::Ends(Ended::Revoked, Pace::AtOnce)
        }
        Some(new) => Fate::Moves(Holder::Persona(Arc::clone(new))),
    }
}

fn site(old: &Arc<Site>, new: Option<&Arc<Site>>, snapshot: &Snapshot) -> Fate {
    match new {
        None => removed(snapshot),
        Some(new) if Arc::ptr_eq(old, new) => Fate::Stays,
        Some(new) => Fate::Moves(Holder::Site(Arc::clone(new))),
    }
}

fn removed(snapshot: &Snapshot) -> Fate {
    Fate::Ends(Ended::Removed, Pace::Spread(snapshot.server.close_within))
}
