//! How long things take, counted into buckets.
//!
//! Recording is two relaxed additions and a walk along a few bounds: no lock, no allocation. The
//! sum is kept in microseconds, so that ten thousand streams can be open for years.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of buckets, in microseconds, ascending; a last bucket without a bound follows.
pub type Bounds = [u64];

/// More bounds than any list here has.
const MOST: usize = 16;

/// OpenTelemetry's advice for `http.server.request.duration`.
pub const REQUEST: &Bounds = &[
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// What happens next door: an answer of an upstream, a TLS handshake.
pub const NEAR: &Bounds = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// What a person waits for. One second is the objective.
pub const HANDSHAKE: &Bounds = &[
    50_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// The life of a stream: a second to half a day.
pub const STREAM: &Bounds = &[
    1_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    14_400_000_000,
    43_200_000_000,
];

/// The reading of some files, or of thousands.
pub const RELOAD: &Bounds = &[
    10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    /// The one past the last bound counts what is longer than all of them.
    counts: [AtomicU64; MOST],
    micros: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    pub bounds: &'static Bounds,
    /// One more than bounds; not cumulative.
    pub counts: Vec<u64>,
    /// Of all of them.
    pub seconds: f64,
}

impl Histogram {
    pub const fn new(bounds: &'static Bounds) -> Self {
        assert!(bounds.len() < MOST, "a histogram has room for its bounds");
        Self { bounds, counts: [const { AtomicU64::new(0) }; MOST], micros: AtomicU64::new(0) }
    }

    pub fn record(&self, took: Duration) {
        // Rounded, so that many short ones do not add up to nothing.
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos.saturating_add(500) / 1000;
        let fits = self.bounds.iter().position(|bound| micros <= *bound);
        self.counts[fits.unwrap_or(self.bounds.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What is recorded meanwhile may be in the sum already and not in its bucket; never the other
    /// way round for long.
    pub fn read(&self) -> Counted {
        let counts = self.counts[..=self.bounds.len()].iter();
        Counted {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

impl Counted {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::new(HANDSHAKE);
        for took in [millis(0), millis(50), millis(51), millis(1000), millis(1001)] {
            histogram.record(took);
        }
        histogram.record(Duration::from_secs(3600));
        let read = histogram.read();
        assert_eq!(read.counts, [2, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1]);
        assert_eq!(read.count(), 6);
        assert!((read.seconds - 3602.102).abs() < 1e-9);
    }

    #[test]
    fn short_ones_add_up() {
        let histogram = Histogram::new(NEAR);
        for _ in 0..1000 {
            histogram.record(Duration::from_nanos(600));
        }
        assert!((histogram.read().seconds - 0.001).abs() < 1e-12);
    }

    #[test]
    fn a_bound_follows_the_other_and_leaves_room_for_the_last() {
        for bounds in [REQUEST, NEAR, HANDSHAKE, STREAM, RELOAD] {
            assert!(bounds.is_sorted() && bounds.len() < MOST);
        }
        assert!(HANDSHAKE.contains(&1_000_000), "the objective is a bound");
    }
}
