//! Whether every worker still turns: what a watchdog wants to know.
//!
//! A worker beats once a second. One that does not is stuck in a computation or a blocking call,
//! and so are all of its connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a worker beats.
pub const BEAT: Duration = Duration::from_secs(1);

/// The beats of all workers.
#[derive(Debug)]
pub struct Pulse {
    epoch: Instant,
    /// Milliseconds since the epoch.
    last: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { epoch: Instant::now(), last: Mutex::default() }
    }
}

impl Pulse {
    /// A worker's own; it counts from now on.
    pub fn join(&self) -> Beat {
        let beat = Beat { epoch: self.epoch, last: Arc::default() };
        beat.beat();
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&beat.last));
        beat
    }

    /// Every worker has beaten within that time.
    pub fn is_alive(&self, within: Duration) -> bool {
        let oldest = self.epoch.elapsed().saturating_sub(within).as_millis();
        let all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().all(|last| u128::from(last.load(Ordering::Relaxed)) >= oldest)
    }
}

#[derive(Debug)]
pub struct Beat {
    epoch: Instant,
    last: Arc<AtomicU64>,
}

impl Beat {
    pub fn beat(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_beat_is_enough() {
        let pulse = Pulse::default();
        assert!(pulse.is_alive(Duration::ZERO), "nobody is stuck");
        let (one, other) = (pulse.join(), pulse.join());
        assert!(pulse.is_alive(Duration::from_secs(3600)));
        let old = Pulse {
            epoch: Instant::now().checked_sub(Duration::from_secs(60)).unwrap(),
            last: Mutex::new(vec![Arc::clone(&one.last), Arc::clone(&other.last)]),
        };
        assert!(!old.is_alive(Duration::from_secs(30)));
        one.last.store(59_000, Ordering::Relaxed);
        assert!(!old.is_alive(Duration::from_secs(30)));
        other.last.store(59_000, Ordering::Relaxed);
        assert!(old.is_alive(Duration::from_secs(30)));
    }
}
