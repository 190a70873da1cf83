//! The server as a whole: its connections, its configuration, its process.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::super::family::{Family, Kind, Label, Labels, Unit};
use super::super::meters;
use super::super::process::Process;
use super::super::roster::Plan;
use super::{Sources, TENANT, VERSION};
use crate::config::snapshot::{Serves, Snapshot};

pub(super) fn server(sources: &Sources<'_>) -> [Family; 6] {
    let connection = Unit::Of("{connection}");
    let meters = &sources.metrics.server;
    let gauge = |name, unit, help, level: f64| {
        let mut family = Family::new(Kind::Gauge, name, unit, help);
        family.level(Labels::new(), level);
        family
    };
    let mut accepted = Family::new(
        Kind::Counter,
        "vestibule.connections.accepted",
        connection,
        "Connections of clients that got as far as to speak HTTP.",
    );
    for ((scheme, version), count) in meters::SPOKEN.into_iter().zip(meters.connections()) {
        accepted.count(vec![("scheme", scheme.into()), (VERSION, version.into())], count);
    }
    let mut handshakes = Family::new(
        Kind::Counter,
        "vestibule.tls.handshakes",
        Unit::Of("{handshake}"),
        "TLS handshakes with clients, by what came of them.",
    );
    for (result, count) in meters::TLS.into_iter().zip(meters.handshakes()) {
        handshakes.count(vec![("result", result.into())], count);
    }
    let mut handshake = Family::new(
        Kind::Histogram,
        "vestibule.tls.duration",
        Unit::Seconds,
        "Duration of TLS handshakes that were finished.",
    );
    handshake.times(Labels::new(), meters.tls_time.read());
    let mut dropped = Family::new(
        Kind::Counter,
        "vestibule.log.dropped",
        Unit::Of("{line}"),
        "Access log lines that could not be written in time.",
    );
    dropped.count(Labels::new(), sources.dropped);
    let (open, allowed) = sources.connections;
    let help = "Connections of clients that are open, tunnels among them.";
    let open = gauge("vestibule.connections.open", connection, help, open as f64);
    let help = "How many connections of clients may be open.";
    let allowed = gauge("vestibule.connections.limit", connection, help, allowed as f64);
    [accepted, open, allowed, handshakes, handshake, dropped]
}

pub(super) fn configuration(sources: &Sources<'_>, plan: &Plan) -> Vec<Family> {
    let (meters, snapshot) = (&sources.metrics.server, sources.snapshot);
    let gauge = |name, unit, help| Family::new(Kind::Gauge, name, unit, help);
    let mut reloads = Family::new(
        Kind::Counter,
        "vestibule.reloads",
        Unit::Of("{reload}"),
        "Reloads of the configuration, by what came of them.",
    );
    for (outcome, count) in meters::RELOADS.into_iter().zip(meters.reloads()) {
        reloads.count(vec![("outcome", outcome.into())], count);
    }
    let mut took = Family::new(
        Kind::Histogram,
        "vestibule.reload.duration",
        Unit::Seconds,
        "From noticing a change to serving it.",
    );
    took.times(Labels::new(), meters.reload_time.read());
    let mut refused = gauge(
        "vestibule.reload.refused",
        Unit::Of("{file}"),
        "1 where the configuration files as they are now cannot serve, and older ones do.",
    );
    refused.level(Labels::new(), f64::from(u8::from(meters.is_refused())));
    let mut applied = gauge(
        "vestibule.reload.applied.timestamp",
        Unit::Seconds,
        "When the configuration that serves began to serve, since 1970.",
    );
    applied.level(Labels::new(), meters.applied());
    let mut configured =
        gauge("vestibule.configured", Unit::Of("{item}"), "What the configuration has.");
    let tenants = || snapshot.tenants.values();
    for (what, count) in [
        ("tenants", snapshot.tenants.len()),
        ("personas", tenants().map(|tenant| tenant.personas.len()).sum()),
        ("sites", tenants().map(|tenant| tenant.sites.len()).sum()),
        ("upstreams", snapshot.upstreams.len()),
    ] {
        configured.level(vec![("what", what.into())], count as f64);
    }
    let mut folded = gauge(
        "vestibule.metrics.folded",
        Unit::Of("{item}"),
        "Personas and sites that share their numbers with others; see persona_metrics.",
    );
    folded.level(Labels::new(), plan.folded as f64);
    let held_back = held_back(snapshot);
    vec![reloads, took, refused, applied, held_back, configured, folded, certificates(snapshot)]
}

/// As many as may have series: those without a good version are not among the tenants that have.
fn held_back(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(
        Kind::Gauge,
        "vestibule.tenants.held_back",
        Unit::Of("{tenant}"),
        "1 for a tenant whose own file cannot serve.",
    );
    for held_back in snapshot.held_back.iter().take(snapshot.telemetry.persona_metrics) {
        let serves = match held_back.serves {
            Serves::LastGood => "last_good",
            Serves::Nothing => "nothing",
        };
        let labels = vec![(TENANT, Label::from(&held_back.tenant)), ("serves", serves.into())];
        family.level(labels, 1.0);
    }
    family
}

/// Those that end first, by their first name; as many as have series of their own.
fn certificates(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(
        Kind::Gauge,
        "vestibule.certificate.expiry.timestamp",
        Unit::Seconds,
        "When a certificate ends, since 1970; by its first name.",
    );
    let mut first: BTreeMap<&str, i64> = BTreeMap::new();
    for certificate in snapshot.certificates.all() {
        let Some(name) = certificate.names.first() else { continue };
        let ends = first.entry(name).or_insert(i64::MAX);
        *ends = certificate.not_after.min(*ends);
    }
    let mut soonest: Vec<_> = first.into_iter().collect();
    soonest.sort_by_key(|(_, ends)| *ends);
    for (name, ends) in soonest.into_iter().take(snapshot.telemetry.persona_metrics) {
        family.level(vec![("name", Label::Name(name.into()))], ends as f64);
    }
    family
}

pub(super) fn process(sources: &Sources<'_>) -> Vec<Family> {
    let now = Process::now();
    let uptime = sources.metrics.server.started;
    let uptime = SystemTime::now().duration_since(uptime).unwrap_or_default().as_secs_f64();
    let one = |kind, name, unit, help, level: Option<f64>| {
        let mut family = Family::new(kind, name, unit, help);
        if let Some(level) = level {
            family.level(Labels::new(), level);
        }
        family
    };
    let mut build =
        Family::new(Kind::Gauge, "vestibule.build_info", Unit::Of("{build}"), "What this is.");
    build.level(vec![("version", env!("CARGO_PKG_VERSION").into())], 1.0);
    let draining = f64::from(u8::from(sources.is_draining));
    let help = "1 from the moment on which the server is to stop.";
    vec![
        build,
        one(Kind::Gauge, "vestibule.draining", Unit::Of("{server}"), help, Some(draining)),
        one(
            Kind::Counter,
            "process.cpu.time",
            Unit::Seconds,
            "CPU seconds of all threads.",
            now.cpu,
        ),
        one(Kind::Gauge, "process.memory.usage", Unit::Bytes, "Resident memory.", now.memory),
        one(
            Kind::Gauge,
            "process.open_fds",
            Unit::Of("{file_descriptor}"),
            "Open file descriptors.",
            now.descriptors,
        ),
        one(
            Kind::Gauge,
            "process.uptime",
            Unit::Seconds,
            "Since the process started.",
            Some(uptime),
        ),
    ]
}
