//! What was counted for personas and sites.

use std::sync::Arc;

use super::super::family::{Family, Kind, Label, Labels, Unit};
use super::super::meters::OwnerMeters;
use super::super::roster::OwnerKey;
use super::{CLASS, TENANT, VERSION};
use crate::state::streams::{Kind as Stream, Role};

fn whose(key: &OwnerKey) -> Labels {
    let mut labels = Labels::with_capacity(6);
    if !key.tenant.is_empty() {
        let role = if key.role == Some(Role::Site) { "site" } else { "persona" };
        labels.push((TENANT, Label::from(&key.tenant)));
        labels.push((role, Label::from(&key.name)));
    }
    labels
}

fn with(mut labels: Labels, more: &[(&'static str, &'static str)]) -> Labels {
    labels.extend(more.iter().map(|(name, value)| (*name, Label::Fixed(value))));
    labels
}

pub(super) fn owners(owners: &[Arc<OwnerMeters>]) -> [Family; 8] {
    use Kind::{Counter, Gauge, Histogram};
    let request = Unit::Of("{request}");
    let stream = Unit::Of("{stream}");
    let mut durations = Family::new(
        Histogram,
        "http.server.request.duration",
        Unit::Seconds,
        "Duration of HTTP server requests; of streams until their first byte.",
    );
    let mut active = Family::new(
        Gauge,
        "http.server.active_requests",
        request,
        "Requests that their apps have now; streams are not among them.",
    );
    let mut rejections =
        Family::new(Counter, "vestibule.rejections", request, "Refused requests, by code.");
    let mut limited = Family::new(
        Counter,
        "vestibule.rate_limited",
        request,
        "Requests that a limit refused, by its bucket.",
    );
    let mut streams =
        Family::new(Gauge, "vestibule.streams.active", stream, "Streams that are open.");
    let mut lives = Family::new(
        Histogram,
        "vestibule.streams.duration",
        Unit::Seconds,
        "How long streams lived that have ended.",
    );
    let mut handshakes = Family::new(
        Histogram,
        "vestibule.handshake.duration",
        Unit::Seconds,
        "From a frame's ready to the chat's acknowledgement, as host pages report it.",
    );
    let mut ended = Family::new(
        Counter,
        "vestibule.handshakes",
        Unit::Of("{handshake}"),
        "Handshakes that host pages told of, by how they ended.",
    );
    for owner in owners {
        let labels = || whose(&owner.key);
        for (method, class, version, times) in owner.requests() {
            let more =
                [("http.request.method", method), (CLASS, class), (VERSION, version.as_str())];
            durations.times(with(labels(), &more), times);
        }
        for (code, count) in owner.rejections() {
            rejections.count(with(labels(), &[("code", code.as_str())]), count);
        }
        for (bucket, count) in owner.limited() {
            limited.count(with(labels(), &[("bucket", bucket.as_str())]), count);
        }
        if owner.key.tenant.is_empty() {
            continue;
        }
        active.level(labels(), owner.open(Stream::Request) as f64);
        for kind in [Stream::Events, Stream::WebSocket] {
            let more = [("kind", kind.as_str())];
            streams.level(with(labels(), &more), owner.open(kind) as f64);
            if let Some(times) = owner.lives(kind) {
                lives.times(with(labels(), &more), times);
            }
        }
        if let Some(times) = owner.handshakes() {
            handshakes.times(labels(), times);
        }
        // All of them or none: a rate of what failed needs the others.
        if owner.handshakes_ended().any(|(_, count)| count > 0) {
            for (outcome, count) in owner.handshakes_ended() {
                ended.count(with(labels(), &[("outcome", outcome)]), count);
            }
        }
    }
    [durations, active, rejections, limited, streams, lives, handshakes, ended]
}
