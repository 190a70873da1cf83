//! `GET /overview`, and each event of `GET /events`: the whole server at one moment, as JSON.
//!
//! The names are stable: scripts and the page read them. What is not known is absent, never null.
//! However large the configuration is, the document is not: of personas, refusals and certificates
//! it has those that matter most, and the paths of their own have the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::report;
use super::sight::{OwnerReading, Quantiles, Rates, Reading, Seen, Sight};
use crate::config::snapshot::Snapshot;
use crate::edge::worker::Shared;
use crate::rejection::Code;
use crate::state::streams::{Counts, Role};
use crate::telemetry::metrics::roster::OwnerKey;
use crate::telemetry::recent::{Refusal, Reload};
use crate::upstream::registry::UpstreamStatus;

/// Personas and sites, those with most traffic first.
const OWNERS: usize = 100;
/// Of those that were refused for one reason, the ones with most of them.
const TOP: usize = 3;
const REFUSALS: usize = 50;
const UPSTREAMS: usize = 100;
/// Those that end first.
const CERTIFICATES: usize = 50;

/// What is told, and when.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub shared: &'a Shared,
    pub snapshot: &'a Snapshot,
    pub sight: &'a Sight,
    pub reading: &'a Reading,
    pub uptime: Duration,
    pub time: SystemTime,
    /// What goes out.
    pub telemetry: &'a Value,
}

pub(super) fn overview(scene: &Scene<'_>) -> Value {
    let Scene { shared, snapshot, sight, reading, .. } = *scene;
    let tenants = || snapshot.tenants.values();
    let mut streams = Counts::default();
    for Counts { requests, events, websockets } in reading.owners.iter().map(|owner| owner.open) {
        streams.requests += requests;
        streams.events += events;
        streams.websockets += websockets;
    }
    let mut document = json!({
        "time": report::moment(scene.time),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "state": if shared.is_draining() { "draining" } else { "ready" },
        "uptime_s": report::seconds(scene.uptime),
        "interval_s": report::seconds(sight.interval()),
        "window_s": report::seconds(sight.seen()),
        "workers": snapshot.server.workers,
        "tenants": snapshot.tenants.len(),
        "persona_count": tenants().map(|tenant| tenant.personas.len()).sum::<usize>(),
        "site_count": tenants().map(|tenant| tenant.sites.len()).sum::<usize>(),
        "connections": { "open": shared.connections(), "allowed": shared.allowed_connections() },
        "streams": report::counts(streams),
        "personas": owners(scene),
        "rejections": rejections(scene),
        "recent_rejections": recent(shared),
        "upstreams": upstreams(scene, UPSTREAMS),
        "upstream_count": snapshot.upstreams.len(),
        "certificates": certificates(snapshot, scene.time, CERTIFICATES),
        "reloads": shared.recent.reloads().iter().map(reload).collect::<Vec<_>>(),
        "held_back": report::held_back(&snapshot.held_back),
        "telemetry": scene.telemetry,
    });
    let all = sight.all();
    let mut totals = Map::new();
    put_rates(&mut totals, all.rates());
    put_quantiles(&mut totals, all.quantiles());
    let counted = reading.all();
    totals.insert("requests_total".into(), counted.requests().into());
    totals.insert("rejections_total".into(), counted.rejections.into());
    document["totals"] = totals.into();
    document
}

fn put_rates(into: &mut Map<String, Value>, rates: Option<Rates>) {
    let Some(Rates { requests, errors, rejections }) = rates else { return };
    into.insert("requests_per_s".into(), rounded(requests).into());
    into.insert("errors_per_s".into(), rounded(errors).into());
    into.insert("rejections_per_s".into(), rounded(rejections).into());
}

fn put_quantiles(into: &mut Map<String, Value>, quantiles: Option<Quantiles>) {
    let Some(Quantiles { p50, p95 }) = quantiles else { return };
    into.insert("p50_ms".into(), millis(p50).into());
    into.insert("p95_ms".into(), millis(p95).into());
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// To a tenth: a histogram does not know it better.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Those with most requests in the last minute, then since the start. Those that were never asked
/// for stand there only where there is room for all.
fn owners(scene: &Scene<'_>) -> Vec<Value> {
    let plan = scene.shared.metrics.plan();
    // What a reload has taken away is still counted for a while.
    let is_there = |owner: &&OwnerReading| plan.has_owner(&owner.key);
    let mut known: Vec<_> = scene.reading.owners.iter().filter(is_there).collect();
    let rank = |owner: &OwnerReading| {
        let (requests, rejections) = scene.sight.owner(&owner.key).minute();
        (requests.max(rejections), owner.totals.requests())
    };
    known.sort_by_cached_key(|owner| (std::cmp::Reverse(rank(owner)), owner.key.clone()));
    known.truncate(OWNERS);
    let mut told: Vec<_> = known.iter().map(|owner| numbers(scene.sight, owner)).collect();
    if plan.owner_count() <= OWNERS {
        let mut idle: Vec<_> = plan.owners().collect();
        idle.retain(|key| !known.iter().any(|owner| owner.key == **key));
        idle.sort_unstable();
        told.extend(idle.into_iter().map(|key| of_nothing(scene.sight, key)));
    }
    told
}

/// One that was asked for.
pub(super) fn numbers(sight: &Sight, owner: &OwnerReading) -> Value {
    let mut into = whose(&owner.key);
    let seen = sight.owner(&owner.key);
    put_rates(&mut into, seen.rates());
    put_quantiles(&mut into, seen.quantiles());
    into.insert("requests_total".into(), owner.totals.requests().into());
    into.insert("rejections_total".into(), owner.totals.rejections.into());
    into.insert("open".into(), report::counts(owner.open));
    if let Some(handshakes) = &owner.handshakes {
        let mut told = Map::new();
        told.insert("count".into(), handshakes.times.requests().into());
        put_quantiles(&mut told, Quantiles::of(handshakes.times.bounds, &handshakes.times.times));
        told.insert("within_objective".into(), rounded(handshakes.within_objective).into());
        into.insert("handshake".into(), told.into());
    }
    into.into()
}

/// One that was never asked for.
pub(super) fn of_nothing(sight: &Sight, key: &OwnerKey) -> Value {
    let mut into = whose(key);
    put_rates(&mut into, sight.owner(key).rates());
    into.insert("requests_total".into(), 0.into());
    into.insert("rejections_total".into(), 0.into());
    into.insert("open".into(), report::counts(Counts::default()));
    into.into()
}

/// One that has no numbers of its own: with whom it shares them.
pub(super) fn sharing(key: &OwnerKey, counted_as: &OwnerKey) -> Value {
    let mut into = whose(key);
    into.insert("counted_as".into(), whose(counted_as).into());
    into.into()
}

/// As metrics have it: those that share are `_other`.
fn whose(key: &OwnerKey) -> Map<String, Value> {
    let mut into = Map::new();
    if !key.tenant.is_empty() {
        let role = report::role(key.role.unwrap_or(Role::Persona));
        into.insert("tenant".into(), (*key.tenant).into());
        into.insert(role.into(), (*key.name).into());
    }
    into
}

/// By reason, those with most in the last minute first.
fn rejections(scene: &Scene<'_>) -> Vec<Value> {
    let mut by_code: HashMap<Code, Vec<(u64, &OwnerKey)>> = HashMap::new();
    for owner in &scene.reading.owners {
        for (code, count) in &owner.rejections {
            by_code.entry(*code).or_default().push((*count, &owner.key));
        }
    }
    let mut all: Vec<_> = by_code
        .into_iter()
        .map(|(code, mut owners)| {
            owners.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.cmp(b)));
            let count: u64 = owners.iter().map(|(count, _)| count).sum();
            let (_, minute) = scene.sight.code(code).minute();
            ((minute, count, code), owners)
        })
        .collect();
    all.sort_by(|((one, a, x), _), ((other, b, y), _)| (other, b, x).cmp(&(one, a, y)));
    let told = all.into_iter().map(|((minute, count, code), owners)| {
        let named = owners.into_iter().filter(|(_, key)| !key.tenant.is_empty());
        let top = named.take(TOP).map(|(count, key)| {
            let mut into = whose(key);
            into.insert("count".into(), count.into());
            Value::from(into)
        });
        json!({
            "code": code.as_str(),
            "status": code.status_u16(),
            "title": code.title(),
            "count": count,
            "per_minute": minute,
            "personas": top.collect::<Vec<_>>(),
        })
    });
    told.collect()
}

fn recent(shared: &Shared) -> Vec<Value> {
    let told = |refusal: &Refusal| {
        let mut into = Map::new();
        into.insert("time".into(), report::moment(refusal.time).into());
        if let Some((tenant, role, name)) = &refusal.owner {
            into.insert("tenant".into(), (**tenant).into());
            into.insert(report::role(*role).into(), (**name).into());
        }
        into.insert("code".into(), refusal.code.as_str().into());
        into.insert("reason".into(), refusal.reason.into());
        into.insert("request_id".into(), refusal.request_id.as_str().into());
        if let Some(trace) = &refusal.trace_id {
            into.insert("trace_id".into(), trace.to_string().into());
        }
        Value::from(into)
    };
    shared.recent.refusals(REFUSALS).iter().map(told).collect()
}

/// Those that are not well first, then those with most requests.
pub(super) fn upstreams(scene: &Scene<'_>, most: usize) -> Vec<Value> {
    let plan = scene.shared.metrics.plan();
    let mut all = scene.shared.upstreams.status(Instant::now());
    let minute =
        |status: &UpstreamStatus| scene.sight.upstream(&plan.upstream(&status.name)).minute();
    all.sort_by_cached_key(|it| {
        (it.is_well(), std::cmp::Reverse(minute(it)), Arc::clone(&it.name))
    });
    all.truncate(most);
    all.iter().map(|status| upstream(scene, status, &plan.upstream(&status.name))).collect()
}

fn upstream(scene: &Scene<'_>, status: &UpstreamStatus, counted_as: &Arc<str>) -> Value {
    let mut into = Map::new();
    into.insert("name".into(), (*status.name).into());
    into.insert("servers".into(), status.servers.iter().map(report::server).collect());
    if let Some(policy) = scene.snapshot.upstreams.get(&status.name).map(|it| &it.policy) {
        let load = status.load;
        let mut circuit = Map::new();
        circuit.insert("active".into(), load.active.into());
        circuit.insert("pending".into(), load.pending.into());
        circuit.insert("retrying".into(), load.retrying.into());
        circuit.insert("panics".into(), status.panics.into());
        let limits = policy.limits;
        let limits =
            [("max_connections", limits.max_connections), ("max_pending", limits.max_pending)];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                circuit.insert(name.into(), limit.into());
            }
        }
        into.insert("circuit".into(), circuit.into());
    }
    // Those that share their numbers have none of their own.
    if *counted_as == status.name {
        put_upstream(&mut into, scene.sight.upstream(counted_as));
    }
    into.into()
}

fn put_upstream(into: &mut Map<String, Value>, seen: Seen<'_>) {
    if let Some(rates) = seen.rates() {
        into.insert("requests_per_s".into(), rounded(rates.requests).into());
        into.insert("failures_per_s".into(), rounded(rates.errors).into());
    }
    put_quantiles(into, seen.quantiles());
}

/// Those that end first.
pub(super) fn certificates(snapshot: &Snapshot, now: SystemTime, most: usize) -> Vec<Value> {
    let mut all = snapshot.certificates.answering();
    all.sort_by_key(|(_, certificate)| certificate.not_after);
    let told = all.into_iter().take(most).map(|(names, certificate)| {
        let ends = certificate.not_after;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut into = Map::new();
        into.insert("names".into(), names.iter().map(|name| &**name).collect());
        if let Some(time) = u64::try_from(ends).ok().and_then(report::instant) {
            into.insert("expires".into(), report::moment(time).into());
        }
        into.insert("expires_in_s".into(), ends.saturating_sub_unsigned(now).into());
        if let Some(issuer) = certificate.issuer() {
            into.insert("issuer".into(), issuer.into());
        }
        Value::from(into)
    });
    told.collect()
}

fn reload(reload: &Reload) -> Value {
    let mut into = Map::new();
    into.insert("time".into(), report::moment(reload.time).into());
    into.insert("outcome".into(), reload.outcome.into());
    if let Some(took) = reload.took {
        into.insert("took_ms".into(), (took.as_millis() as u64).into());
    }
    into.insert("text".into(), (&*reload.text).into());
    into.insert("problems".into(), reload.problems.iter().map(report::problem).collect());
    into.insert("problem_count".into(), reload.problem_count.into());
    into.into()
}
