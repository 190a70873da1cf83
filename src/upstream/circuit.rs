//! How much an upstream is asked to bear: pure decisions over counts.
//!
//! The budget is for second tries alone, and only while they wait for a connection: where servers
//! refuse at once it is hardly ever used up, and where they are silent it keeps a crowd of requests
//! from waiting for each of them in turn.

use super::policy::{CircuitLimits, RetryPolicy};

/// Counts of one upstream, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Requests under way and open streams, with the one that is asking.
    pub active: u32,
    /// Requests that wait for a connection to open.
    pub pending: u32,
    /// Those of them that have failed to reach another server before.
    pub retrying: u32,
}

/// Whether a request that has tried `tried` servers in vain may try another.
pub fn may_retry(policy: &RetryPolicy, load: Load, tried: usize) -> bool {
    let share = u64::from(load.active) * u64::from(policy.budget_percent) / 100;
    let most = share.max(u64::from(policy.min_concurrency));
    tried <= policy.max as usize && u64::from(load.retrying) < most
}

/// Whether one more request may be under way; it is counted already.
pub fn may_begin(limits: &CircuitLimits, active: u32) -> bool {
    limits.max_connections.is_none_or(|most| active <= most)
}

/// Whether one more request may wait for a connection; it is not counted yet.
pub fn may_wait(limits: &CircuitLimits, pending: u32) -> bool {
    limits.max_pending.is_none_or(|most| pending < most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_few_for_each_request_and_few_among_all() {
        let policy = RetryPolicy { max: 2, budget_percent: 20, min_concurrency: 3 };
        let check = |active, retrying, tried, expected| {
            let load = Load { active, pending: 0, retrying };
            assert_eq!(may_retry(&policy, load, tried), expected, "{load:?}, tried {tried}");
        };
        check(1, 0, 1, true);
        check(1, 0, 2, true);
        check(1, 0, 3, false);
        check(1, 2, 1, true);
        check(1, 3, 1, false);
        check(100, 19, 1, true);
        check(100, 20, 1, false);
        let never = RetryPolicy { max: 0, ..policy };
        assert!(!may_retry(&never, Load { active: 9, pending: 0, retrying: 0 }, 1));
    }

    #[test]
    fn limits_count_the_one_that_asks() {
        let limits = CircuitLimits { max_connections: Some(2), max_pending: Some(1) };
        assert!(may_begin(&limits, 2) && !may_begin(&limits, 3));
        assert!(may_wait(&limits, 0) && !may_wait(&limits, 1));
        let none = CircuitLimits::default();
        assert!(may_begin(&none, u32::MAX) && may_wait(&none, u32::MAX));
    }
}
