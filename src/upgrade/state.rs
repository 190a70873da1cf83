//! The state of a server, as messages, and back.
//!
//! Everything but limits is sent while nothing changes it. Limits go first, while requests still
//! run: what is charged meanwhile is forgotten, a few launches of an address at the most.

use std::sync::Arc;
use std::time::SystemTime;

use super::link::LinkError;
use super::wire::{Batch, Items, Message, batches};
use crate::edge::worker::Shared;
use crate::policy::limits::Moment;
use crate::policy::session::UnixSeconds;

type Send<'s> = &'s mut dyn FnMut(&Message) -> Result<(), LinkError>;

/// Limits, and the clock that they are measured with.
pub fn send_limits(shared: &Shared, send: Send<'_>) -> Result<(), LinkError> {
    send(&Message::Clock(shared.moment().nanos()))?;
    each(shared.limiter.tenants(), |name| Items::Limits(shared.limiter.export(name)), send)
}

/// What must be exact. The caller sees to it that nothing changes.
pub fn send_rest(shared: &Shared, send: Send<'_>) -> Result<(), LinkError> {
    each(shared.sessions.tenants(), |name| Items::Ended(shared.sessions.export(name)), send)?;
    each(shared.replays.tenants(), |name| Items::Used(shared.replays.export(name)), send)?;
    each(shared.parked.tenants(), |name| Items::Parked(shared.parked.export(name)), send)?;
    each(shared.jars.tenants(), |name| Items::Jars(shared.jars.export(name)), send)
}

/// One tenant after the other: at no time is more than one's part in memory twice.
fn each(
    tenants: Vec<Arc<str>>,
    export: impl Fn(&str) -> Items,
    send: Send<'_>,
) -> Result<(), LinkError> {
    tenants.iter().try_for_each(|name| {
        let parts = batches(name, export(name));
        parts.into_iter().try_for_each(|batch| send(&Message::State(batch)))
    })
}

/// Remembers what the process before remembers. Where something finds no room the upgrade must
/// fail: what was used could be used again.
pub fn import(shared: &Shared, Batch { tenant, items }: Batch) -> Result<(), String> {
    let now = UnixSeconds::from(SystemTime::now());
    let imported = match items {
        Items::Ended(all) => shared.sessions.import(&tenant, &all, now).is_ok(),
        Items::Used(all) => shared.replays.import(&tenant, &all, now).is_ok(),
        Items::Parked(all) => shared.parked.import(&tenant, all, now).is_ok(),
        Items::Jars(all) => shared.jars.import(&tenant, all, now).is_ok(),
        Items::Limits(limits) => {
            shared.limiter.import(&tenant, &limits);
            true
        }
    };
    match imported {
        true => Ok(()),
        false => Err(format!("what is remembered about the tenant {tenant} does not fit here")),
    }
}

/// See [`Shared::inherit_clock`].
pub fn import_clock(shared: &Shared, nanos: u64) {
    shared.inherit_clock(Moment::START.plus(std::time::Duration::from_nanos(nanos)));
}

#[cfg(test)]
mod tests;
