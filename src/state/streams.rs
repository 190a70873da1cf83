//! Everything that is open: each request under way, each event stream, each WebSocket, and whose.
//!
//! It belongs to a persona or a site, can be counted and listed, and can be told to end: one
//! tenant's, one persona's, all of them, or those whose persona a reload has taken away. Sessions
//! end their streams by [`super::sessions`], which knows nothing of this.
//!
//! # No contention
//!
//! Each worker has a [`Shard`]: its lock is taken by that worker's thread, which finds it free, and
//! by whoever lists or ends streams, once in a while. A place in it is used again, so that a plain
//! request allocates nothing. What is counted is counted when somebody asks.
//!
//! # No stream is missed
//!
//! A stream is registered first and judged afterwards; a reload puts its snapshot in place first and
//! judges what is registered afterwards. Both take the shard's lock. Whichever takes it first: either
//! the reload finds the stream, or the stream, which asks for the live snapshot once it is
//! registered, finds that it was admitted with another one ([`Shard::open`], [`fate()`]).
//!
//! # How it ends
//!
//! Streams that reconnect by themselves (WebSockets, event streams) end one after the other, spread
//! over a time, so that they do not come back all at once; where they are few they are not kept
//! waiting ([`FEW`]). Every other request may go on until that time is over: it is about to end by
//! itself.

mod fate;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::snapshot::{Persona, Site, Snapshot};
use crate::policy::limits::Moment;
use crate::state::clock::Clock;
pub use crate::state::sessions::Ended;
pub use fate::{Fate, fate};
pub use shard::{OpenStream, Shard};

/// What is open. It only ever goes down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Will end by itself.
    Request = 0,
    /// `text/event-stream`: its client comes back by itself, wherever it is ended.
    Events = 1,
    WebSocket = 2,
}

impl Kind {
    /// As it is listed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Events => "events",
            Kind::WebSocket => "websocket",
        }
    }
}

/// Whose stream it is.
#[derive(Debug, Clone)]
pub enum Holder {
    Persona(Arc<Persona>),
    Site(Arc<Site>),
}

impl Holder {
    pub fn tenant(&self) -> &Arc<str> {
        match self {
            Holder::Persona(persona) => &persona.tenant,
            Holder::Site(site) => &site.tenant,
        }
    }

    /// The persona's or the site's name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Holder::Persona(persona) => &persona.name,
            Holder::Site(site) => &site.name,
        }
    }

    pub fn role(&self) -> Role {
        match self {
            Holder::Persona(_) => Role::Persona,
            Holder::Site(_) => Role::Site,
        }
    }

    /// The same for the same compiled persona or site, and for no other that lives.
    fn address(&self) -> usize {
        match self {
            Holder::Persona(persona) => Arc::as_ptr(persona).addr(),
            Holder::Site(site) => Arc::as_ptr(site).addr(),
        }
    }
}

/// A persona and a site of one tenant may have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Persona,
    Site,
}

/// Which streams are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    Everybody,
    Tenant(&'a str),
    Persona(&'a str, &'a str),
    Site(&'a str, &'a str),
}

impl Whose<'_> {
    fn includes(&self, holder: &Holder) -> bool {
        self.names(holder.tenant(), holder.name(), holder.role())
    }

    /// Whether that one is among those who are meant.
    pub fn names(&self, tenant: &str, name: &str, role: Role) -> bool {
        match *self {
            Whose::Everybody => true,
            Whose::Tenant(meant) => meant == tenant,
            Whose::Persona(meant, persona) => {
                (meant, persona, Role::Persona) == (tenant, name, role)
            }
            Whose::Site(meant, site) => (meant, site, Role::Site) == (tenant, name, role),
        }
    }

    /// Whether the configuration has such a one.
    pub fn exists(&self, snapshot: &Snapshot) -> bool {
        let tenant = |name: &str| snapshot.tenants.get(name);
        match *self {
            Whose::Everybody => true,
            Whose::Tenant(name) => tenant(name).is_some(),
            Whose::Persona(owner, name) => {
                tenant(owner).is_some_and(|it| it.personas.iter().any(|one| *one.name == *name))
            }
            Whose::Site(owner, name) => {
                tenant(owner).is_some_and(|it| it.sites.iter().any(|one| *one.name == *name))
            }
        }
    }
}

/// How soon streams end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    AtOnce,
    /// Spread over this time at most; whatever does not come back by itself ends at its end.
    Spread(Duration),
}

/// Between two streams that end, where they are too few to need the whole time.
pub const FEW: Duration = Duration::from_millis(10);

/// How many are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: usize,
    pub events: usize,
    pub websockets: usize,
}

impl Counts {
    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Request => self.requests += 1,
            Kind::Events => self.events += 1,
            Kind::WebSocket => self.websockets += 1,
        }
    }

    pub fn all(self) -> usize {
        self.requests + self.events + self.websockets
    }
}

/// What one persona or site has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub tenant: Arc<str>,
    pub name: Arc<str>,
    pub role: Role,
    pub counts: Counts,
    /// Of those that are not mere requests; of all, where there is nothing else.
    pub oldest: Duration,
}

/// One that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub tenant: Arc<str>,
    pub name: Arc<str>,
    pub role: Role,
    pub kind: Kind,
    pub age: Duration,
    /// It has been told to end.
    pub is_ending: bool,
}

/// One of it is made at the start and outlives every snapshot.
#[derive(Debug, Default)]
pub struct Streams {
    clock: Arc<Clock>,
    /// One a worker.
    shards: Mutex<Vec<Arc<Shard>>>,
}

impl Streams {
    pub fn new(clock: Arc<Clock>) -> Self {
        Self { clock, ..Self::default() }
    }

    /// For a worker that starts.
    pub fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::new(Arc::clone(&self.clock)));
        // Nothing panics under this lock.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shard));
        shard
    }

    fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends streams. Those that begin later are not concerned. How many were told now.
    pub fn end(&self, whose: Whose<'_>, why: Ended, pace: Pace, now: Moment) -> Counts {
        let mut told = Counts::default();
        for shard in self.shards() {
            let counts = shard.order(now, |holder| match whose.includes(holder) {
                true => Fate::Ends(why, pace),
                false => Fate::Stays,
            });
            told.requests += counts.requests;
            told.events += counts.events;
            told.websockets += counts.websockets;
        }
        told
    }

    /// Follows a reload, when its snapshot is in place: what belongs to a persona that is gone ends
    /// within `close_within`; what belongs to one that is not goes on, as the new one's.
    pub fn follow(&self, snapshot: &Snapshot, now: Moment) {
        let shards = self.shards();
        let holders: Vec<_> = shards.iter().flat_map(|shard| shard.holders()).collect();
        let fates = fate::of_all(&holders, snapshot);
        // What has come since is judged by itself.
        let fate = |holder: &Holder| fates.get(&holder.address()).cloned().unwrap_or(Fate::Stays);
        for shard in shards {
            shard.order(now, fate);
        }
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in self.shards() {
            shard.each(|_, kind, _, _| counts.add(kind));
        }
        counts
    }

    /// By tenant and name.
    pub fn held(&self, now: Moment) -> Vec<Held> {
        let mut held: BTreeMap<_, (Counts, [Duration; 2])> = BTreeMap::new();
        for shard in self.shards() {
            shard.each(|holder, kind, since, _| {
                let key = (Arc::clone(holder.tenant()), Arc::clone(holder.name()), holder.role());
                let (counts, oldest) = held.entry(key).or_default();
                counts.add(kind);
                let oldest = &mut oldest[usize::from(kind != Kind::Request)];
                *oldest = now.duration_since(since).max(*oldest);
            });
        }
        let held = held.into_iter().map(|((tenant, name, role), (counts, [requests, streams]))| {
            let has_streams = counts.events + counts.websockets > 0;
            let oldest = if has_streams { streams } else { requests };
            Held { tenant, name, role, counts, oldest }
        });
        held.collect()
    }

    /// The oldest first, at most so many.
    pub fn list(&self, whose: Whose<'_>, most: usize, now: Moment) -> Vec<Listed> {
        let mut list = Vec::new();
        for shard in self.shards() {
            shard.each(|holder, kind, since, is_ending| {
                if whose.includes(holder) {
                    list.push(Listed {
                        tenant: Arc::clone(holder.tenant()),
                        name: Arc::clone(holder.name()),
                        role: holder.role(),
                        kind,
                        age: now.duration_since(since),
                        is_ending,
                    });
                }
            });
        }
        list.sort_by_key(|one| std::cmp::Reverse(one.age));
        list.truncate(most);
        list
    }

    /// Gives memory back that a crowd has left. For a timer.
    pub fn tidy(&self) {
        for shard in self.shards() {
            shard.tidy();
        }
    }
}
