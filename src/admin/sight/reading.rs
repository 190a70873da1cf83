//! All counters at one moment: relaxed loads, nothing that a worker waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rejection::Code;
use crate::state::streams::{Counts, Kind};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::histogram::{Bounds, Counted, HANDSHAKE};
use crate::telemetry::metrics::meters::{OwnerMeters, UpstreamMeters};
use crate::telemetry::metrics::roster::OwnerKey;

#[derive(Debug, Default)]
pub(in crate::admin) struct Reading {
    pub owners: Vec<OwnerReading>,
    pub upstreams: Vec<UpstreamReading>,
}

/// What only goes up, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::admin) struct Totals {
    /// How long things took.
    pub bounds: &'static Bounds,
    /// One more than bounds, or none where nothing happened.
    pub times: Vec<u64>,
    pub errors: u64,
    pub rejections: u64,
}

#[derive(Debug)]
pub(in crate::admin) struct OwnerReading {
    pub key: OwnerKey,
    pub totals: Totals,
    /// Those that happened.
    pub rejections: Vec<(Code, u64)>,
    pub open: Counts,
    pub handshakes: Option<Handshakes>,
}

#[derive(Debug)]
pub(in crate::admin) struct UpstreamReading {
    pub name: Arc<str>,
    pub totals: Totals,
}

/// How long chats took to be ready for their users, since the start.
#[derive(Debug)]
pub(in crate::admin) struct Handshakes {
    pub times: Totals,
    /// Those of at most a second, from 0 to 1.
    pub within_objective: f64,
}

/// The objective of the handshake, in microseconds: a bound of its histogram.
const OBJECTIVE: u64 = 1_000_000;

impl Reading {
    pub(in crate::admin) fn of(metrics: &Metrics) -> Self {
        Self {
            owners: metrics.owners().iter().map(|owner| OwnerReading::of(owner)).collect(),
            upstreams: metrics.upstreams().iter().map(|it| UpstreamReading::of(it)).collect(),
        }
    }

    /// Of all owners together.
    pub(in crate::admin) fn all(&self) -> Totals {
        let mut all = Totals::default();
        self.owners.iter().for_each(|owner| all.add(&owner.totals));
        all
    }

    /// Rejections of all owners together.
    pub(in crate::admin) fn by_code(&self) -> BTreeMap<Code, Totals> {
        let mut codes: BTreeMap<Code, Totals> = BTreeMap::new();
        for (code, count) in self.owners.iter().flat_map(|owner| &owner.rejections) {
            codes.entry(*code).or_default().rejections += count;
        }
        codes
    }
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.count(other.bounds, &other.times);
        self.errors += other.errors;
        self.rejections += other.rejections;
    }

    fn count(&mut self, bounds: &'static Bounds, times: &[u64]) {
        if self.times.is_empty() {
            self.bounds = bounds;
            self.times = times.to_vec();
        } else if self.bounds == bounds {
            self.times.iter_mut().zip(times).for_each(|(sum, count)| *sum += count);
        }
    }

    fn times(&mut self, counted: &Counted) {
        self.count(counted.bounds, &counted.counts);
    }

    /// How many things took some time.
    pub(in crate::admin) fn requests(&self) -> u64 {
        self.times.iter().sum()
    }
}

impl OwnerReading {
    fn of(owner: &OwnerMeters) -> Self {
        let mut totals = Totals::default();
        for (_, class, _, counted) in owner.requests() {
            totals.times(&counted);
            if class == "5xx" {
                totals.errors += counted.count();
            }
        }
        let rejections: Vec<_> = owner.rejections().collect();
        totals.rejections = rejections.iter().map(|(_, count)| count).sum();
        // What ends while it is read may be counted down before it is counted up.
        let open = |kind| usize::try_from(owner.open(kind)).unwrap_or(0);
        Self {
            key: owner.key.clone(),
            totals,
            rejections,
            open: Counts {
                requests: open(Kind::Request),
                events: open(Kind::Events),
                websockets: open(Kind::WebSocket),
            },
            handshakes: owner.handshakes().map(|counted| Handshakes::of(&counted)),
        }
    }
}

impl Handshakes {
    fn of(counted: &Counted) -> Self {
        let mut times = Totals::default();
        times.times(counted);
        let within = HANDSHAKE.partition_point(|bound| *bound <= OBJECTIVE);
        let within: u64 = counted.counts.iter().take(within).sum();
        Self { times, within_objective: within as f64 / counted.count().max(1) as f64 }
    }
}

impl UpstreamReading {
    fn of(upstream: &UpstreamMeters) -> Self {
        let mut totals = Totals::default();
        for (class, counted) in upstream.answers() {
            totals.times(&counted);
            // An answer that says that the app has failed is one of its failures too.
            if matches!(class, "error" | "5xx") {
                totals.errors += counted.count();
            }
        }
        Self { name: Arc::clone(&upstream.name), totals }
    }
}
