//! What the configuration says about how an upstream's servers are used: data, with the defaults.
//!
//! Nothing is decided here; each part names the module that does.

use std::time::Duration;

pub use crate::config::values::{Balance, Protocol};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How a server is chosen; see [`super::select`] and [`super::affinity`].
    pub balance: Balance,
    /// What its servers are spoken to in; WebSockets always in HTTP/1.1.
    pub protocol: Protocol,
    /// Who is asked whether it is well; nobody without.
    pub health: Option<HealthPolicy>,
    pub ejection: EjectionPolicy,
    pub retries: RetryPolicy,
    pub limits: CircuitLimits,
    /// How long a server that has just come (back) gets less than its share; zero: not at all.
    pub slow_start: Duration,
    /// With fewer than this percentage of servers usable, all of them are used; with zero, only
    /// where none is.
    pub panic_threshold: u8,
    /// How often names are resolved.
    pub resolve_interval: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            balance: Balance::RoundRobin,
            protocol: Protocol::Http1,
            health: None,
            ejection: EjectionPolicy::default(),
            retries: RetryPolicy::default(),
            limits: CircuitLimits::default(),
            slow_start: Duration::ZERO,
            panic_threshold: 0,
            resolve_interval: Duration::from_secs(10),
        }
    }
}

/// Active checks; see [`super::check`] and [`super::condition`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Answered with 2xx by a server that is well; without, an open connection is enough.
    pub path: Option<Box<str>>,
    pub interval: Duration,
    /// For one check, from connecting to the answer's head.
    pub timeout: Duration,
    /// Good checks in a row that bring a server back.
    pub healthy_threshold: u32,
    /// Bad checks in a row that take a server out.
    pub unhealthy_threshold: u32,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_threshold: 2,
            unhealthy_threshold: 3,
        }
    }
}

/// What requests themselves find out; see [`super::condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EjectionPolicy {
    /// Failures in a row that take a server out for a while; zero: none do.
    pub consecutive_failures: u32,
    /// How long, the first time; twice that the next time, and so on.
    pub base_time: Duration,
    pub max_time: Duration,
    /// The part of the servers that may be out because of this.
    pub max_percent: u8,
}

impl Default for EjectionPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            base_time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
            max_percent: 50,
        }
    }
}

/// How often another server is tried where nothing was sent; see [`super::circuit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Further servers that one request may try.
    pub max: u32,
    /// Connections being opened for a second try, as a percentage of requests under way.
    pub budget_percent: u32,
    /// So many are always allowed.
    pub min_concurrency: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max: 3, budget_percent: 20, min_concurrency: 10 }
    }
}

/// What an upstream is spared; see [`super::circuit`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CircuitLimits {
    /// Requests under way and open streams, all servers together.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection to open.
    pub max_pending: Option<u32>,
}
