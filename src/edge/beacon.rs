//! A handshake that a page has told of, on its way into numbers, the log and the launch's trace.
//!
//! What is told was decided in [`crate::policy::beacon`]. Nothing here refuses anything.

use std::sync::Arc;
use std::time::SystemTime;

use super::worker::Worker;
use crate::pipeline::Owner;
use crate::policy::beacon::Told;
use crate::telemetry::access_log::Record;
use crate::telemetry::metrics::meters::OwnerMeters;
use crate::telemetry::trace::spans::{Report, Roots, Shaken};

/// Counts it, and makes its log line the launch's too: whoever looks for the launch's trace finds both.
pub fn count(
    worker: &Worker,
    told: &Told,
    (owner, meters): (&Owner, &Arc<OwnerMeters>),
    record: Option<&mut Record>,
) {
    let handshake = told.handshake;
    meters.handshake(handshake.outcome, handshake.took());
    let Some(launch) = told.launch else { return };
    if let Some(record) = record {
        record.trace_id = Some(launch.trace_id);
    }
    let Some(server) = launch.span else { return };
    let (trace_id, flags) = (launch.trace_id, launch.flags);
    let roots = Roots { trace_id, flags, state: None, server, owner: Some(owner.clone()) };
    let shaken = Shaken { roots, handshake, time: SystemTime::now() };
    worker.tracer.tell(Report::Handshake(Box::new(shaken)));
}
