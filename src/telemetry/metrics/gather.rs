//! All numbers at one moment, as families.
//!
//! For the thread of whoever asks: it takes the locks of tenants' stores, each for one look, and no
//! lock that every request takes.

mod owners;
mod server;
mod stores;

use super::Metrics;
use super::family::Family;
use crate::config::snapshot::Snapshot;
use crate::policy::limits::Moment;
use crate::state::jar::Jars;
use crate::state::limits::Limiter;
use crate::state::parked::Parked;
use crate::state::replay::Replays;
use crate::state::sessions::Sessions;
use crate::upstream::registry::Registry;

const TENANT: &str = "tenant";
const CLASS: &str = "http.response.status_class";
const VERSION: &str = "network.protocol.version";

/// Where numbers are that are not counted for this purpose.
#[derive(Debug)]
pub struct Sources<'a> {
    pub metrics: &'a Metrics,
    pub snapshot: &'a Snapshot,
    pub limiter: &'a Limiter,
    pub replays: &'a Replays,
    pub parked: &'a Parked,
    pub jars: &'a Jars,
    pub sessions: &'a Sessions,
    pub upstreams: &'a Registry,
    /// Of clients: open, and how many may be.
    pub connections: (usize, usize),
    pub is_draining: bool,
    /// Access log lines.
    pub dropped: u64,
    pub moment: Moment,
}

/// Every family there is; one without points where there is nothing to tell.
pub fn gather(sources: &Sources<'_>) -> Vec<Family> {
    let plan = sources.metrics.plan.load();
    let mut families = Vec::from(owners::owners(&sources.metrics.owners()));
    families.extend(stores::stores(sources, &plan));
    families.extend(stores::upstreams(sources, &plan));
    families.extend(server::server(sources));
    families.extend(server::configuration(sources, &plan));
    families.extend(server::process(sources));
    families
}

#[cfg(test)]
mod tests;
