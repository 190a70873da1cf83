//! The clock of limits and streams: monotonic, and older than this process where another one has
//! handed over to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::policy::limits::Moment;

/// One of it is made at the start.
#[derive(Debug)]
pub struct Clock {
    /// Where this process's part begins.
    epoch: Instant,
    /// In nanoseconds, how old it was already: what was handed over goes on with it.
    inherited: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { epoch: Instant::now(), inherited: AtomicU64::new(0) }
    }
}

impl Clock {
    pub fn moment(&self) -> Moment {
        self.at(Instant::now())
    }

    pub fn at(&self, now: Instant) -> Moment {
        let inherited = std::time::Duration::from_nanos(self.inherited.load(Ordering::Relaxed));
        Moment::since_epoch(now.saturating_duration_since(self.epoch) + inherited)
    }

    /// Goes on with the clock that stands at `now` in the process before. For the start, before
    /// anything is limited.
    pub fn inherit(&self, now: Moment) {
        let own = Moment::since_epoch(self.epoch.elapsed());
        self.inherited.store(now.nanos().saturating_sub(own.nanos()), Ordering::Relaxed);
    }

    /// Minutes of this process.
    pub fn minute(&self) -> u64 {
        self.epoch.elapsed().as_secs() / 60
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_goes_on_where_the_one_before_stood() {
        let (clock, hour) = (Clock::default(), Duration::from_secs(3600));
        clock.inherit(Moment::START.plus(hour));
        let past = clock.moment().duration_since(Moment::START);
        assert!(past >= hour && past < hour * 2, "{past:?}");
        assert_eq!(clock.minute(), 0);
    }
}
