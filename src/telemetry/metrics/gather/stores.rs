//! How full the stores of tenants are, and how upstreams are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::family::{Family, Kind, Label, Unit};
use super::super::roster::Plan;
use super::{CLASS, Sources, TENANT};
use crate::state::Fill;
use crate::upstream::condition::State;

const UPSTREAM: &str = "upstream";

/// One number a tenant; of those that share a label, the highest: it is the one that hurts.
fn by_tenant(
    plan: &Plan,
    numbers: impl Iterator<Item = (Arc<str>, f64)>,
) -> BTreeMap<Arc<str>, f64> {
    let mut highest = BTreeMap::new();
    for (tenant, number) in numbers {
        let place = highest.entry(plan.tenant(&tenant)).or_insert(0.0_f64);
        *place = place.max(number);
    }
    highest
}

pub(super) fn stores(sources: &Sources<'_>, plan: &Plan) -> [Family; 5] {
    let entry = Unit::Of("{entry}");
    let gauge = |name, unit, help| Family::new(Kind::Gauge, name, unit, help);
    let mut used = gauge(
        "vestibule.limit.used",
        Unit::Ratio,
        "How much of a tenant's limit of launches is used now.",
    );
    let mut entries =
        gauge("vestibule.store.entries", entry, "What is remembered for a tenant, by store.");
    let mut capacity =
        gauge("vestibule.store.capacity", entry, "How much a store may remember for one tenant.");
    let mut size = gauge("vestibule.store.size", Unit::Bytes, "Bytes of a tenant in a store.");
    let mut limit =
        gauge("vestibule.store.size.limit", Unit::Bytes, "Bytes of one tenant that a store takes.");

    let limits = sources.snapshot.tenants.values().filter_map(|tenant| {
        let rate = tenant.personas.first()?.rules.tenant();
        Some((Arc::clone(&tenant.id), sources.limiter.used(&tenant.id, rate, sources.moment)))
    });
    for (tenant, part) in by_tenant(plan, limits) {
        used.level(vec![(TENANT, Label::Name(tenant))], part);
    }
    let (sessions, bytes) = sources.parked.fill();
    for (store, fill) in [
        ("replay", sources.replays.fill()),
        ("limits", sources.limiter.fill()),
        ("parked", sessions),
        ("jars", sources.jars.fill()),
        ("ended", sources.sessions.fill()),
    ] {
        filled(plan, store, fill, &mut entries, &mut capacity);
    }
    for (store, fill) in [("parked", bytes), ("forms", sources.limiter.forms())] {
        filled(plan, store, fill, &mut size, &mut limit);
    }
    [used, entries, capacity, size, limit]
}

fn filled(plan: &Plan, store: &'static str, fill: Fill, used: &mut Family, most: &mut Family) {
    most.level(vec![("store", store.into())], fill.most as f64);
    let tenants = fill.tenants.into_iter().map(|(tenant, used)| (tenant, used as f64));
    for (tenant, number) in by_tenant(plan, tenants) {
        used.level(vec![("store", store.into()), (TENANT, Label::Name(tenant))], number);
    }
}

const STATES: [State; 4] = [State::Healthy, State::Unhealthy, State::Ejected, State::SlowStart];

pub(super) fn upstreams(sources: &Sources<'_>, plan: &Plan) -> [Family; 3] {
    let server = Unit::Of("{server}");
    let mut durations = Family::new(
        Kind::Histogram,
        "vestibule.upstream.duration",
        Unit::Seconds,
        "From a request to the first byte of the upstream's answer, or to its failure.",
    );
    let mut servers = Family::new(
        Kind::Gauge,
        "vestibule.upstream.servers",
        server,
        "Servers of an upstream, by what is known of them.",
    );
    let mut active = Family::new(
        Kind::Gauge,
        "vestibule.upstream.active",
        Unit::Of("{request}"),
        "Requests and streams that an upstream has.",
    );
    for upstream in sources.metrics.upstreams() {
        for (class, times) in upstream.answers() {
            let labels = vec![(UPSTREAM, Label::from(&upstream.name)), (CLASS, class.into())];
            durations.times(labels, times);
        }
    }
    let mut sums: BTreeMap<Arc<str>, ([u32; STATES.len()], u64)> = BTreeMap::new();
    for status in sources.upstreams.status(Instant::now()) {
        let (states, busy) = sums.entry(plan.upstream(&status.name)).or_default();
        for server in &status.servers {
            for (state, count) in STATES.iter().zip(&mut *states) {
                *count += u32::from(*state == server.state);
            }
            *busy += u64::from(server.active);
        }
    }
    for (name, (states, busy)) in sums {
        for (state, count) in STATES.iter().zip(states) {
            let labels = vec![(UPSTREAM, Label::from(&name)), ("state", state.as_str().into())];
            servers.level(labels, f64::from(count));
        }
        active.level(vec![(UPSTREAM, Label::Name(name))], busy as f64);
    }
    [durations, servers, active]
}
