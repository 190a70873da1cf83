//! Differences of totals: of the last interval, and of the last minute in parts of ten seconds.

use std::collections::VecDeque;
use std::time::Duration;

use super::reading::Totals;
use crate::telemetry::metrics::histogram::Bounds;

/// The last minute.
pub(in crate::admin) const WINDOW: Duration = Duration::from_secs(60);
/// A part of it.
const PART: Duration = Duration::from_secs(10);
/// Of the minute; the one that is under way comes on top.
const PARTS: u64 = WINDOW.as_secs() / PART.as_secs();

/// One thing whose totals are looked at again and again.
#[derive(Debug, Default)]
pub(super) struct Track {
    last: Totals,
    /// Of the last interval.
    change: Change,
    /// By number of the part; only parts in which something happened.
    minute: VecDeque<(u64, Change)>,
    pub is_there: bool,
}

/// How much totals have grown.
#[derive(Debug, Clone, Default)]
struct Change {
    bounds: &'static Bounds,
    times: Vec<u64>,
    errors: u64,
    rejections: u64,
}

/// A second's, on average over the last interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::admin) struct Rates {
    pub requests: f64,
    pub errors: f64,
    pub rejections: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::admin) struct Quantiles {
    pub p50: Duration,
    pub p95: Duration,
}

impl Track {
    /// Totals at that time after the first look.
    pub(super) fn follow(&mut self, totals: &Totals, at: Duration, is_first: bool) {
        let last = std::mem::replace(&mut self.last, totals.clone());
        self.change = if is_first { Change::default() } else { Change::between(&last, totals) };
        let part = at.as_secs() / PART.as_secs();
        while self.minute.front().is_some_and(|(old, _)| old + PARTS < part) {
            self.minute.pop_front();
        }
        if self.change.is_nothing() {
            return;
        }
        match self.minute.back_mut() {
            Some((last, change)) if *last == part => change.add(&self.change),
            _ => self.minute.push_back((part, self.change.clone())),
        }
    }

    pub(super) fn rates(&self, interval: Duration) -> Rates {
        let rate = |count: u64| count as f64 / interval.as_secs_f64();
        Rates {
            requests: rate(self.change.times.iter().sum()),
            errors: rate(self.change.errors),
            rejections: rate(self.change.rejections),
        }
    }

    pub(super) fn minute(&self) -> (u64, u64) {
        let parts = self.minute.iter().map(|(_, change)| change);
        let requests = parts.clone().flat_map(|change| &change.times).sum();
        (requests, parts.map(|change| change.rejections).sum())
    }

    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let mut sum = Change::default();
        self.minute.iter().for_each(|(_, change)| sum.add(change));
        Quantiles::of(sum.bounds, &sum.times)
    }
}

impl Change {
    fn between(old: &Totals, new: &Totals) -> Self {
        // Counters that were forgotten begin again.
        let grown = |old: u64, new: u64| new.checked_sub(old).unwrap_or(new);
        let old_times = old.times.iter().copied().chain(std::iter::repeat(0));
        let times = new.times.iter().zip(old_times).map(|(new, old)| grown(old, *new)).collect();
        Self {
            bounds: new.bounds,
            times,
            errors: grown(old.errors, new.errors),
            rejections: grown(old.rejections, new.rejections),
        }
    }

    fn is_nothing(&self) -> bool {
        self.rejections == 0 && self.errors == 0 && self.times.iter().all(|count| *count == 0)
    }

    fn add(&mut self, other: &Change) {
        if self.times.is_empty() {
            self.bounds = other.bounds;
            self.times.clone_from(&other.times);
        } else {
            self.times.iter_mut().zip(&other.times).for_each(|(sum, count)| *sum += count);
        }
        self.errors += other.errors;
        self.rejections += other.rejections;
    }
}

impl Quantiles {
    /// None of nothing.
    pub(in crate::admin) fn of(bounds: &Bounds, counts: &[u64]) -> Option<Self> {
        Some(Self { p50: quantile(bounds, counts, 0.5)?, p95: quantile(bounds, counts, 0.95)? })
    }
}

/// As Prometheus's `histogram_quantile` has it: as if what is in a bucket were spread evenly; what is
/// longer than the last bound is taken to be as long.
fn quantile(bounds: &Bounds, counts: &[u64], part: f64) -> Option<Duration> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = part * all as f64;
    let mut below = 0.0;
    let mut low = 0;
    for (&high, &count) in bounds.iter().zip(counts) {
        let count = count as f64;
        if below + count >= rank && count > 0.0 {
            let share = (rank - below) / count;
            let micros = low as f64 + (high - low) as f64 * share;
            return Some(Duration::from_micros(micros as u64));
        }
        below += count;
        low = high;
    }
    Some(Duration::from_micros(low))
}
