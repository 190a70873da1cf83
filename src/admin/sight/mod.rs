//! What is going on: rates of the last interval, and how long things took in the last minute.
//!
//! Everything here is a difference between two looks at counters that are there anyway
//! ([`Reading`]); whoever serves a request knows nothing of it. Between looks that are further
//! apart than [`WINDOW`] there is no difference worth telling: then it begins anew.
//!
//! What is remembered is bounded by who has numbers of its own (`[telemetry] persona_metrics`), and
//! of those that are idle it is next to nothing.

mod reading;
mod track;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast;

use crate::rejection::Code;
use crate::telemetry::metrics::roster::OwnerKey;
pub(super) use reading::{OwnerReading, Reading};
use track::Track;
pub(super) use track::{Quantiles, Rates, WINDOW};

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// The last look.
    last: Option<Instant>,
    /// The first one of those that are connected.
    first: Option<Instant>,
    /// Between the last two.
    interval: Duration,
    owners: Tracks<OwnerKey>,
    upstreams: Tracks<Arc<str>>,
    codes: Tracks<Code>,
    all: Track,
}

type Tracks<K> = HashMap<K, Track, fast::RandomState>;

impl Sight {
    /// How long ago the last look was; None where it is too long ago to begin from.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.last?);
        (age <= WINDOW).then_some(age)
    }

    /// Takes a look.
    pub(super) fn observe(&mut self, reading: &Reading, now: Instant) {
        match self.age(now) {
            Some(interval) => self.interval = interval,
            None => *self = Self { first: Some(now), ..Self::default() },
        }
        self.last = Some(now);
        let first = self.first.unwrap_or(now);
        let at = now.saturating_duration_since(first);
        // What comes into being after the first look began at nothing.
        let is_first = first == now;
        let owners = reading.owners.iter().map(|owner| (owner.key.clone(), &owner.totals));
        follow(&mut self.owners, owners, at, is_first);
        let upstreams = reading.upstreams.iter().map(|it| (Arc::clone(&it.name), &it.totals));
        follow(&mut self.upstreams, upstreams, at, is_first);
        let codes = reading.by_code();
        follow(&mut self.codes, codes.iter().map(|(code, totals)| (*code, totals)), at, is_first);
        self.all.follow(&reading.all(), at, is_first);
    }

    /// Between the last two looks; zero where there was but one.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// How much of the last minute was seen.
    pub(super) fn seen(&self) -> Duration {
        let (Some(first), Some(last)) = (self.first, self.last) else { return Duration::ZERO };
        last.saturating_duration_since(first).min(WINDOW)
    }

    pub(super) fn owner(&self, key: &OwnerKey) -> Seen<'_> {
        Seen { track: self.owners.get(key), interval: self.interval }
    }

    pub(super) fn upstream(&self, name: &Arc<str>) -> Seen<'_> {
        Seen { track: self.upstreams.get(name), interval: self.interval }
    }

    pub(super) fn code(&self, code: Code) -> Seen<'_> {
        Seen { track: self.codes.get(&code), interval: self.interval }
    }

    pub(super) fn all(&self) -> Seen<'_> {
        Seen { track: Some(&self.all), interval: self.interval }
    }
}

/// What was seen of one of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    track: Option<&'a Track>,
    interval: Duration,
}

impl Seen<'_> {
    /// None before the second look.
    pub(super) fn rates(&self) -> Option<Rates> {
        if self.interval.is_zero() {
            return None;
        }
        Some(self.track.map_or(Rates::default(), |track| track.rates(self.interval)))
    }

    /// Of the last minute; None where nothing happened in it.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        self.track?.quantiles()
    }

    /// Requests of the last minute, rejections of the last minute.
    pub(super) fn minute(&self) -> (u64, u64) {
        self.track.map_or((0, 0), Track::minute)
    }
}

/// Each track goes on with its totals; what is gone is forgotten.
fn follow<'t, K: Hash + Eq>(
    tracks: &mut Tracks<K>,
    totals: impl Iterator<Item = (K, &'t reading::Totals)>,
    at: Duration,
    is_first: bool,
) {
    tracks.values_mut().for_each(|track| track.is_there = false);
    for (key, totals) in totals {
        let track = tracks.entry(key).or_default();
        track.follow(totals, at, is_first);
        track.is_there = true;
    }
    tracks.retain(|_, track| track.is_there);
}

#[cfg(test)]
mod tests;
