//! How one server is doing, by what checks and requests say of it: a state machine that is told
//! the time.
//!
//! - *Checks.* The first one decides at once; later a change of mind takes as many in a row as the
//!   thresholds say. A server that nobody has checked is used.
//! - *Ejection.* Failures of requests in a row take a server out for a while, each time for twice as
//!   long. It comes back on probation: the next failure takes it out again, a success ends that. What
//!   counts are failures that we see ourselves (no connection, no answer, no valid answer); an answer
//!   that an app gives, whatever its status, is a success: whom it was for may have asked for it. Good
//!   checks end an ejection for what a check would have seen too: that nobody could be reached.
//! - *Slow start.* A server that comes, or comes back, grows into its share.
//!
//! How many servers may be out is not decided here: [`super::group`] sees them all.

use std::time::{Duration, Instant};

use super::policy::{EjectionPolicy, HealthPolicy};
use super::select::FULL;

/// Failures that are further apart than this have nothing to do with each other.
const WINDOW: Duration = Duration::from_secs(60);
/// Of its share, what a server gets in the first moment of a slow start.
const FIRST: u8 = 10;

#[derive(Debug, Clone)]
pub struct Condition {
    checked: Checked,
    /// In a row, the last of them then.
    failures: u32,
    failed_at: Option<Instant>,
    ejected: Option<Instant>,
    /// All of them were about reaching it.
    unreached: bool,
    /// Good checks in a row while it is ejected.
    proofs: u32,
    /// In a row: how much longer the next one takes.
    ejections: u32,
    /// When it came, or came back.
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    Not,
    Well { bad: u32 },
    Ill { good: u32 },
}

/// How a request failed on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// No connection.
    Unreached,
    /// No answer, or none that is valid.
    Unanswered,
}

/// What operators are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Healthy,
    Unhealthy,
    Ejected,
    SlowStart,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Unhealthy => "unhealthy",
            State::Ejected => "ejected",
            State::SlowStart => "slow_start",
        }
    }
}

impl Condition {
    /// Of a server that was there when the upstream began; `since` one that joins it later.
    pub fn new(since: Option<Instant>) -> Self {
        Self {
            checked: Checked::Not,
            failures: 0,
            failed_at: None,
            ejected: None,
            unreached: true,
            proofs: 0,
            ejections: 0,
            since,
        }
    }

    /// A check has found it well, or not.
    pub fn checked(&mut self, is_well: bool, policy: &HealthPolicy, now: Instant) {
        self.checked = match (self.checked, is_well) {
            (Checked::Not | Checked::Well { .. }, true) => Checked::Well { bad: 0 },
            (Checked::Not, false) => Checked::Ill { good: 0 },
            (Checked::Well { bad }, false) if bad + 1 < policy.unhealthy_threshold => {
                Checked::Well { bad: bad + 1 }
            }
            (Checked::Well { .. } | Checked::Ill { .. }, false) => Checked::Ill { good: 0 },
            (Checked::Ill { good }, true) if good + 1 < policy.healthy_threshold => {
                Checked::Ill { good: good + 1 }
            }
            (Checked::Ill { .. }, true) => {
                // It is another process, or has recovered: what requests met before is history.
                self.forget_failures();
                self.since = Some(now);
                Checked::Well { bad: 0 }
            }
        };
        self.proofs = if is_well { self.proofs.saturating_add(1) } else { 0 };
        let is_disproved = self.unreached && self.proofs >= policy.healthy_threshold;
        if self.ejected.is_some() && is_disproved {
            self.forget_failures();
            self.since = Some(now);
        }
    }

    /// Nobody checks it any more.
    pub fn unchecked(&mut self) {
        self.checked = Checked::Not;
    }

    /// A request has failed on it. `may_eject` says whether another server may be out.
    pub fn failed(&mut self, how: Failed, policy: &EjectionPolicy, may_eject: bool, now: Instant) {
        if self.is_ejected(now) {
            return;
        }
        self.proofs = 0;
        self.unreached &= how == Failed::Unreached;
        let is_old = self.failed_at.is_none_or(|at| now.duration_since(at) > WINDOW);
        let is_probation = self.ejections > 0 && self.failures > 0;
        self.failures = if is_old && !is_probation { 1 } else { self.failures.saturating_add(1) };
        self.failed_at = Some(now);
        if policy.consecutive_failures == 0 || self.failures < policy.consecutive_failures {
            return;
        }
        if may_eject {
            let doubled = policy.base_time.saturating_mul(1 << self.ejections.min(16));
            self.ejected = Some(now + doubled.min(policy.max_time));
            self.ejections += 1;
            self.failures = policy.consecutive_failures - 1;
        }
    }

    /// A request got its answer. One that comes late, from a server that is out, proves little.
    pub fn succeeded(&mut self) {
        if self.ejected.is_none() {
            self.forget_failures();
        }
    }

    fn forget_failures(&mut self) {
        self.failures = 0;
        self.failed_at = None;
        self.unreached = true;
        self.ejected = None;
        self.ejections = 0;
    }

    /// Whether a success would change anything.
    pub fn is_troubled(&self) -> bool {
        self.failures > 0 || self.ejections > 0
    }

    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejected.is_some_and(|until| now < until)
    }

    /// Takes note that time has passed: an ejection may have ended.
    pub fn tick(&mut self, now: Instant) {
        if self.ejected.is_some_and(|until| until <= now) {
            self.ejected = None;
            self.since = Some(now);
        }
    }

    /// How much of its share it gets: 0 is nothing, [`FULL`] all of it.
    pub fn weight(&self, slow_start: Duration, now: Instant) -> u8 {
        if matches!(self.checked, Checked::Ill { .. }) || self.is_ejected(now) {
            return 0;
        }
        let Some(since) = self.since else { return FULL };
        let age = now.duration_since(since);
        if age >= slow_start {
            return FULL;
        }
        let part = age.as_millis() * u128::from(FULL) / slow_start.as_millis().max(1);
        u8::try_from(part).unwrap_or(FULL).clamp(FIRST, FULL)
    }

    pub fn state(&self, slow_start: Duration, now: Instant) -> State {
        match self.weight(slow_start, now) {
            0 if matches!(self.checked, Checked::Ill { .. }) => State::Unhealthy,
            0 => State::Ejected,
            FULL.. => State::Healthy,
            _ => State::SlowStart,
        }
    }
}

#[cfg(test)]
mod tests;
