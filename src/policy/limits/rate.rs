//! One rule and one bucket: how many in which time, by governor's GCRA.
//!
//! A bucket must never let more than `count` through at once, nor more than twice `count` in any
//! `period`. What a bucket remembers is a point in time and not a number of uses, so that it keeps
//! its meaning when a reload changes the rule: half a period used stays half a period used.
//!
//! GCRA gives permits back one by one: of 60/min, one every second, so that 61 launches that take
//! a second and a bit to arrive would all pass. Here they come back in [`REFILLS`] portions a
//! period, counted from the first use of an empty bucket: the 61st launch of a burst is refused
//! however slow the machine is, and whoever is limited waits ten seconds, not a minute.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

/// Portions a period in which used permits return.
pub const REFILLS: u32 = 6;

const LONGEST_PERIOD: Duration = Duration::from_secs(31 * 24 * 3600);

/// A point in time: nanoseconds since an epoch that the process chooses once. It must come from a
/// monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

impl Moment {
    /// The epoch itself.
    pub const START: Self = Self(0);

    /// `elapsed` since the process's epoch.
    pub fn since_epoch(elapsed: Duration) -> Self {
        Self(nanos(elapsed))
    }

    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// Since the epoch, for a successor process.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// Nothing where `earlier` is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// So many in such a time, with what GCRA needs to know computed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    period: Duration,
    quota: Quota,
    /// Nanoseconds until the next portion returns.
    step: u64,
}

/// Why there is no such rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateError {
    /// The period is zero or over 31 days.
    Period,
    /// More than one in a microsecond.
    Count,
}

impl Rate {
    pub fn new(count: NonZeroU32, period: Duration) -> Result<Self, RateError> {
        if period.is_zero() || period > LONGEST_PERIOD {
            return Err(RateError::Period);
        }
        // Rounded up: rounded down, a thousand an hour would be a little more than that.
        let interval = nanos(period).div_ceil(u64::from(count.get()));
        if interval < 1_000 {
            return Err(RateError::Count);
        }
        let quota = Quota::with_period(Duration::from_nanos(interval)).ok_or(RateError::Period)?;
        let step = nanos(period).div_ceil(u64::from(REFILLS));
        Ok(Self { count, period, quota: quota.allow_burst(count), step })
    }

    /// So many a minute: the rules that stand in the program itself.
    pub(super) fn per_minute(count: NonZeroU32) -> Self {
        Self::new(count, Duration::from_secs(60)).expect("a minute is a period, below 60 million")
    }

    /// A quarter of it, at least one.
    pub(super) fn quarter(self) -> Self {
        let count = NonZeroU32::new(self.count.get() / 4).unwrap_or(NonZeroU32::MIN);
        Self::new(count, self.period).expect("a smaller count in the same period is a rate")
    }

    /// At once, and in the long run.
    pub(super) fn is_within_a_third_of(self, other: Self) -> bool {
        let (thrice, all) = (3 * u128::from(self.count.get()), u128::from(other.count.get()));
        thrice <= all && thrice * other.period.as_nanos() <= all * self.period.as_nanos()
    }

    pub fn count(self) -> NonZeroU32 {
        self.count
    }

    pub fn period(self) -> Duration {
        self.period
    }

    pub(super) fn period_seconds(self) -> u64 {
        seconds(nanos(self.period))
    }

    /// Longest time that a bucket's clock lags behind.
    pub(crate) fn step(self) -> u64 {
        self.step
    }

    /// Nanoseconds that one use weighs.
    fn interval(self) -> u64 {
        nanos(self.quota.replenish_interval())
    }

    /// Nanoseconds of debt up to which one more use passes.
    fn tolerance(self) -> u64 {
        self.interval() * u64::from(self.count.get() - 1)
    }

    /// Seconds in which `count` uses may happen at the sustained pace, rounded up.
    pub(super) fn seconds_for(self, count: u32) -> u64 {
        seconds(self.interval().saturating_mul(u64::from(count)))
    }
}

/// What is remembered of one key: sixteen bytes. The default is a bucket never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Where the current portion's time began.
    stepped: u64,
    /// GCRA's theoretical arrival time: when everything used will have returned.
    arrival: u64,
}

/// A use that was allowed. It counts once `bucket` is written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub bucket: Bucket,
    /// How many more could pass now.
    pub remaining: u32,
    /// Until one more passes; zero while some remain.
    pub next: Wait,
}

/// Nanoseconds until a use will pass, if nobody else takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub(super) u64);

impl Wait {
    pub(super) fn seconds(self) -> u64 {
        seconds(self.0).max(1)
    }
}

impl Bucket {
    /// Would one more pass? The bucket itself is not changed.
    pub fn take(self, rate: Rate, now: Moment) -> Result<Taken, Wait> {
        let (stepped, debt) = self.read(rate, now);
        let reading = Reading { debt, after: Cell::new(0) };
        // Made anew for each decision, on the stack: the rule belongs to the snapshot and the state
        // to us. Its start is the present, so what it knows of the past is the debt alone.
        let limiter: RateLimiter<_, _, _, StateInformationMiddleware> =
            RateLimiter::new(rate.quota, reading, Present);
        match limiter.check_key(&()) {
            Ok(snapshot) => {
                let after = limiter.into_state_store().after.get();
                let bucket = Self { stepped, arrival: stepped.saturating_add(after) };
                let next = bucket.wait(rate, after.saturating_sub(rate.tolerance()), now);
                Ok(Taken { bucket, remaining: snapshot.remaining_burst_capacity(), next })
            }
            Err(refusal) => {
                let short = nanos(refusal.wait_time_from(Nanos::default()));
                Err(Self { stepped, ..self }.wait(rate, short, now))
            }
        }
    }

    /// For a successor process, which goes on with the clock too.
    pub fn to_nanos(self) -> [u64; 2] {
        [self.stepped, self.arrival]
    }

    /// What [`Bucket::to_nanos`] gave.
    pub fn from_nanos([stepped, arrival]: [u64; 2]) -> Self {
        Self { stepped, arrival }
    }

    /// How long until the bucket's own time has come `short` further: it moves in steps.
    fn wait(self, rate: Rate, short: u64, now: Moment) -> Wait {
        if short == 0 {
            return Wait(0);
        }
        let steps = short.div_ceil(rate.step).saturating_mul(rate.step);
        Wait(self.stepped.saturating_add(steps).saturating_sub(now.0))
    }

    /// How much of what may be used at once is used: one is all of it.
    pub fn used(self, rate: Rate, now: Moment) -> f64 {
        let (_, debt) = self.read(rate, now);
        debt as f64 / (rate.tolerance() + rate.interval()) as f64
    }

    /// Takes one use back.
    pub fn give_back(self, rate: Rate) -> Self {
        Self { arrival: self.arrival.saturating_sub(rate.interval()), ..self }
    }

    /// No rule whose step is at most `longest_step` could tell it from an unused one.
    pub(crate) fn is_idle(self, longest_step: u64, now: Moment) -> bool {
        self.arrival.saturating_add(longest_step) <= now.0
    }

    /// The time as this bucket sees it, and what of its arrival time is still to come.
    fn read(self, rate: Rate, now: Moment) -> (u64, u64) {
        // Two workers may read the clock in one order and come here in the other.
        let elapsed = now.0.saturating_sub(self.stepped);
        let stepped = self.stepped + elapsed / rate.step * rate.step;
        match self.arrival.saturating_sub(stepped) {
            // Empty: the next portion's time begins with this use.
            0 => (now.0.max(self.stepped), 0),
            // A reload may have shortened the period: nobody waits longer than the new one.
            debt => (stepped, debt.min(rate.tolerance() + rate.interval())),
        }
    }
}

/// A clock that stands still: the limiter it is given to decides once, now.
#[derive(Debug)]
struct Present;

impl Clock for Present {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::default()
    }
}

/// Governor's view of one bucket. What it would write is kept aside, because a launch is charged
/// to several buckets or to none.
#[derive(Debug)]
struct Reading {
    debt: u64,
    after: Cell<u64>,
}

impl StateStore for Reading {
    type Key = ();

    fn measure_and_replace<T, F, E>(&self, _key: &(), decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (answer, after) = decide(Some(Nanos::from(self.debt)))?;
        self.after.set(after.into());
        Ok(answer)
    }
}

fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// 584 years, then it saturates.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
