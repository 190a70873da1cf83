//! What others know, as JSON. The names are stable: scripts read them.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::config::snapshot::{HeldBack, Serves};
use crate::config::{Problem, Severity};
use crate::reload::ReloadOutcome;
use crate::state::streams::{Counts, Held, Listed, Role};
use crate::upstream::group::ServerStatus;
use crate::upstream::registry::UpstreamStatus;

pub(super) fn counts(counts: Counts) -> Value {
    let Counts { requests, events, websockets } = counts;
    json!({ "requests": requests, "events": events, "websockets": websockets })
}

pub(super) fn held(held: &Held) -> Value {
    let Counts { requests, events, websockets } = held.counts;
    json!({
        "tenant": &*held.tenant,
        role(held.role): &*held.name,
        "requests": requests,
        "events": events,
        "websockets": websockets,
        "oldest_s": seconds(held.oldest),
    })
}

pub(super) fn listed(listed: &Listed) -> Value {
    json!({
        "tenant": &*listed.tenant,
        role(listed.role): &*listed.name,
        "kind": listed.kind.as_str(),
        "age_s": seconds(listed.age),
        "ending": listed.is_ending,
    })
}

/// By name, each with its servers in the order of the configuration.
pub(super) fn upstreams(upstreams: &[UpstreamStatus]) -> Value {
    let servers = |of: &UpstreamStatus| of.servers.iter().map(server).collect::<Vec<_>>();
    let named = |of: &UpstreamStatus| (of.name.to_string(), servers(of).into());
    Value::Object(upstreams.iter().map(named).collect())
}

pub(super) fn server(server: &ServerStatus) -> Value {
    json!({
        "address": server.address,
        "state": server.state.as_str(),
        "weight": server.weight,
        "active": server.active,
    })
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Persona => "persona",
        Role::Site => "site",
    }
}

/// To the millisecond.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// RFC 3339, to the millisecond.
pub(super) fn moment(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Seconds since 1970; None where no clock goes so far.
pub(super) fn instant(seconds: u64) -> Option<SystemTime> {
    /// The end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(LAST)))
}

/// The document, and whether the new configuration serves.
pub(super) fn outcome(outcome: &ReloadOutcome) -> (Value, bool) {
    let text = outcome.to_string();
    match outcome {
        ReloadOutcome::Unchanged => (json!({ "outcome": "unchanged", "text": text }), true),
        ReloadOutcome::Applied { warnings, personas, took, .. } => {
            let applied = json!({
                "outcome": "applied",
                "text": text,
                "personas": personas,
                "took_ms": took.as_millis() as u64,
                "problems": warnings.iter().map(problem).collect::<Vec<_>>(),
            });
            (applied, true)
        }
        ReloadOutcome::Refused { problems, .. } => {
            let problems: Vec<_> = problems.iter().map(problem).collect();
            (json!({ "outcome": "refused", "text": text, "problems": problems }), false)
        }
    }
}

/// Tenants whose own file does not serve.
pub(super) fn held_back(tenants: &[HeldBack]) -> Value {
    let tenant = |one: &HeldBack| {
        json!({
            "tenant": &*one.tenant,
            "serves": match one.serves {
                Serves::LastGood => "last_good",
                Serves::Nothing => "nothing",
            },
            "since": humantime::format_rfc3339_seconds(one.since).to_string(),
            "problems": one.problems.iter().map(problem).collect::<Vec<_>>(),
        })
    };
    tenants.iter().map(tenant).collect()
}

pub(super) fn problem(problem: &Problem) -> Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({ "severity": severity, "key": &*problem.key, "text": problem.to_string() })
}
