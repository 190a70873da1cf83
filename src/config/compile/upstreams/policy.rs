//! How the servers of an upstream are chosen, checked and spared.

use std::time::Duration;

use super::super::super::error::Wrong;
use super::super::super::raw::{Ejection, Health, Retries, Upstream as RawUpstream};
use super::super::super::scalars::Count;
use super::super::super::source::At;
use super::super::super::values::Timeout;
use super::Compiler;
use crate::upstream::policy::{CircuitLimits, EjectionPolicy, HealthPolicy, Policy, RetryPolicy};

pub fn compile(raw: &RawUpstream, key: &str, compiler: &mut Compiler<'_>) -> Policy {
    let default = Policy::default();
    Policy {
        balance: raw.balance.as_ref().map_or(default.balance, |at| at.value),
        protocol: raw.protocol.as_ref().map_or(default.protocol, |at| at.value),
        health: raw.health.as_ref().map(|at| health(&at.value)),
        ejection: raw.ejection.as_ref().map_or(default.ejection, |at| {
            let key = format!("{key}.ejection");
            ejection(&at.value, &key, compiler)
        }),
        retries: raw.retries.as_ref().map_or(default.retries, |at| retries(&at.value)),
        limits: CircuitLimits {
            max_connections: raw.max_connections.as_ref().map(|at| small(at.value)),
            max_pending: raw.max_pending.as_ref().map(|at| small(at.value)),
        },
        slow_start: raw.slow_start.as_ref().map_or(default.slow_start, |at| at.value),
        panic_threshold: percent(&raw.panic_threshold, default.panic_threshold),
        resolve_interval: time(&raw.resolve_interval, default.resolve_interval),
    }
}

fn health(raw: &Health) -> HealthPolicy {
    let default = HealthPolicy::default();
    HealthPolicy {
        path: raw.path.as_ref().map(|at| at.value.0.clone()),
        interval: time(&raw.interval, default.interval),
        timeout: time(&raw.timeout, default.timeout),
        healthy_threshold: count(&raw.healthy_threshold, default.healthy_threshold),
        unhealthy_threshold: count(&raw.unhealthy_threshold, default.unhealthy_threshold),
    }
}

fn ejection(raw: &Ejection, key: &str, compiler: &mut Compiler<'_>) -> EjectionPolicy {
    let default = EjectionPolicy::default();
    let policy = EjectionPolicy {
        consecutive_failures: count(&raw.consecutive_failures, default.consecutive_failures),
        base_time: time(&raw.base_time, default.base_time),
        max_time: time(&raw.max_time, default.max_time),
        max_percent: percent(&raw.max_percent, default.max_percent),
    };
    if let Some(at) = raw.base_time.as_ref().filter(|_| policy.base_time > policy.max_time) {
        let what = "the first time is longer than the longest";
        let wrong =
            Wrong::new(what, "write a base_time that is not over max_time (default \"5m\")");
        compiler.problems.error(at.spot, format!("{key}.base_time"), wrong);
    }
    policy
}

fn retries(raw: &Retries) -> RetryPolicy {
    let default = RetryPolicy::default();
    RetryPolicy {
        max: count(&raw.max, default.max),
        budget_percent: count(&raw.budget_percent, default.budget_percent),
        min_concurrency: count(&raw.min_concurrency, default.min_concurrency),
    }
}

fn time(raw: &Option<At<Timeout>>, default: Duration) -> Duration {
    raw.as_ref().map_or(default, |at| at.value.0)
}

fn count<const LOW: u64, const HIGH: u64>(raw: &Option<At<Count<LOW, HIGH>>>, default: u32) -> u32 {
    raw.as_ref().map_or(default, |at| small(at.value))
}

fn percent(raw: &Option<At<Count<0, 100>>>, default: u8) -> u8 {
    raw.as_ref().map_or(default, |at| u8::try_from(at.value.0).unwrap_or(100))
}

fn small<const LOW: u64, const HIGH: u64>(count: Count<LOW, HIGH>) -> u32 {
    u32::try_from(count.0).unwrap_or(u32::MAX)
}
