//! Numbers about what the server does, for Prometheus and OTLP.
//!
//! Decides what is counted, by which labels, and for how long. It must never make a request wait, take
//! a label from a request, or tell one tenant's secret: labels are names that the configuration has,
//! or words of ours.
//!
//! # What is measured
//!
//! | name | labels | what |
//! | --- | --- | --- |
//! | `http.server.request.duration` | owner, method, status class, version | from head to the end of the answer; of a stream to its first byte |
//! | `http.server.active_requests` | owner | with their apps now, streams excluded |
//! | `vestibule.streams.active`, `.duration` | owner, kind | event streams and WebSockets that are open; how long those lived that have ended |
//! | `vestibule.rejections` | owner, code | by the `code` of the problem document |
//! | `vestibule.rate_limited` | owner, bucket | which limit refused |
//! | `vestibule.handshake.duration` | owner | from the frame's "ready" to the chat's acknowledgement, as host pages report it |
//! | `vestibule.limit.used` | tenant | how full the tenant's bucket is |
//! | `vestibule.store.entries`, `.capacity` | store, tenant | what is remembered for tenants: used signatures (`replay`), address buckets (`limits`), what launches left (`parked`), cookies (`jars`), ended sessions (`ended`) |
//! | `vestibule.store.size`, `.size.limit` | store, tenant | the same in bytes, where bytes are bounded |
//! | `vestibule.upstream.duration` | upstream, status class or `error` | from our request to the first byte of the answer, connecting included |
//! | `vestibule.upstream.servers` | upstream, state | how many are healthy, unhealthy, ejected, in slow start |
//! | `vestibule.upstream.active` | upstream | requests and streams that its servers have |
//! | `vestibule.connections.*`, `vestibule.tls.*` | scheme, version; result | of clients |
//! | `vestibule.reloads`, `vestibule.reload.*` | outcome | of the configuration |
//! | `vestibule.tenants.held_back` | tenant, serves | those whose own file cannot serve |
//! | `vestibule.configured` | what | tenants, personas, sites, upstreams |
//! | `vestibule.certificate.expiry.timestamp` | name | when each certificate ends, by its first name |
//! | `vestibule.log.dropped` | | access log lines that nobody could write in time |
//! | `vestibule.metrics.folded` | | personas and sites that share a series with others |
//! | `process.*` | | CPU, memory, uptime as OpenTelemetry has them; descriptors as Prometheus's clients |
//!
//! An owner is a `tenant` with a `persona` or a `site`; none for requests whose owner cannot be said.
//! What cannot be parsed is no request: it is a rejection alone.
//!
//! # Bounds
//!
//! [`roster`] says who has labels of its own when there are a hundred thousand personas, and when
//! series of what is gone are dropped. A series exists from the first request that needs it, so that
//! idle personas have none.
//!
//! # On the way of a request
//!
//! A persona finds its [`meters`] in a slot of its own ([`Slot`]), filled when it is first asked for:
//! one load. A request costs a handful of relaxed additions, no lock and no allocation. All else is
//! read when somebody asks ([`gather`]), from what other modules know anyway.

pub mod family;
pub mod gather;
pub mod histogram;
pub mod meters;
pub mod otlp;
mod process;
pub mod roster;
pub mod text;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::config::snapshot::{Snapshot, Upstream};
use crate::pipeline::Owner;
use crate::state::streams::Role;
use meters::{OwnerMeters, ServerMeters, UpstreamMeters};
use roster::{OwnerKey, Plan, Roster};

/// Where a persona, site or upstream keeps its handle. It is the same for whoever is first, and for
/// every snapshot that names it.
#[derive(Debug)]
pub struct Slot<M>(OnceLock<Arc<M>>);

impl<M> Default for Slot<M> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

/// One of it is made at the start and outlives every snapshot.
#[derive(Debug)]
pub struct Metrics {
    nobody: Arc<OwnerMeters>,
    pub server: ServerMeters,
    plan: ArcSwap<Plan>,
    owners: Mutex<Roster<OwnerKey, OwnerMeters>>,
    upstreams: Mutex<Roster<Arc<str>, UpstreamMeters>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            nobody: Arc::new(OwnerMeters::new(OwnerKey::nobody())),
            server: ServerMeters::default(),
            plan: ArcSwap::default(),
            owners: Mutex::default(),
            upstreams: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Follows a configuration at the start and after each reload.
    pub fn follow(&self, snapshot: &Snapshot, now: Instant) {
        let plan = Arc::new(Plan::of(snapshot));
        self.plan.store(Arc::clone(&plan));
        lock(&self.owners).follow(|key| plan.has_owner(key), now);
        lock(&self.upstreams).follow(|name| plan.has_upstream(name), now);
    }

    /// Drops the numbers of what has gone. For a timer.
    pub fn tidy(&self, now: Instant) {
        lock(&self.owners).tidy(now);
        lock(&self.upstreams).tidy(now);
    }

    /// Where a request of that owner is counted.
    pub fn of<'m>(&'m self, owner: Option<&'m Owner>) -> &'m Arc<OwnerMeters> {
        let (slot, role, tenant, name) = match owner {
            None => return &self.nobody,
            Some(
                Owner::Persona(persona) | Owner::Device(persona, _) | Owner::Shell(persona, _),
            ) => (&persona.meters, Role::Persona, &persona.tenant, &persona.name),
            Some(Owner::Site(site)) => (&site.meters, Role::Site, &site.tenant, &site.name),
        };
        slot.0.get_or_init(|| {
            let (tenant, name) = (Arc::clone(tenant), Arc::clone(name));
            self.enter(OwnerKey { tenant, role: Some(role), name })
        })
    }

    /// Where the requests of an upstream are counted.
    pub fn upstream<'m>(&'m self, upstream: &'m Upstream) -> &'m Arc<UpstreamMeters> {
        upstream.meters.0.get_or_init(|| {
            let plan = self.plan.load();
            let name = plan.upstream(&upstream.name);
            let make = |name| UpstreamMeters::new(&name);
            lock(&self.upstreams).get(name, plan.room(), || roster::OTHER.into(), make)
        })
    }

    /// Who has numbers of its own.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    fn enter(&self, key: OwnerKey) -> Arc<OwnerMeters> {
        let plan = self.plan.load();
        lock(&self.owners).get(plan.owner(key), plan.room(), OwnerKey::others, OwnerMeters::new)
    }

    /// Of all owners that were ever asked for and are not forgotten, in the order of their labels.
    pub fn owners(&self) -> Vec<Arc<OwnerMeters>> {
        let mut all = lock(&self.owners).all();
        all.push(Arc::clone(&self.nobody));
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        all
    }

    /// Of all upstreams, likewise.
    pub fn upstreams(&self) -> Vec<Arc<UpstreamMeters>> {
        let mut all = lock(&self.upstreams).all();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// Nothing panics under these locks half way through a change.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
