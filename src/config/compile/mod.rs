//! From what the user wrote to what a request reads.
//!
//! Every reference is resolved and every combination judged here, and every problem is collected:
//! no check may stop another from being made. Where a part is wrong, something harmless stands in
//! for it, so that the rest can be checked; the result is thrown away if there was any error.

mod assertion;
mod certificates;
mod framing;
mod hosts;
mod identity;
mod injection;
mod limits;
mod secrets;
mod server;
mod shells;
mod signing;
mod telemetry;
mod tenants;
#[cfg(test)]
mod tests;
mod upstreams;

use std::path::Path;
use std::time::SystemTime;

use super::error::{Problems, Wrong};
use super::raw::Root;
use super::reader::Lookup;
use super::schema::nearest;
use super::snapshot::Snapshot;
use super::source::{SourceTexts, Sources, Spot};
use crate::policy::session::keys::SessionSecrets;

/// What compiling needs besides the raw configuration.
pub struct Compiler<'a> {
    pub problems: &'a mut Problems,
    pub texts: &'a SourceTexts,
    pub sources: &'a mut Sources,
    pub environment: Lookup<'a>,
    /// Where relative paths start.
    pub base: &'a Path,
    pub now: SystemTime,
}

pub use server::admin;

/// What a tenant meets outside of itself.
pub struct Surroundings<'c, 'r> {
    pub root: &'r Root,
    pub upstreams: &'c tenants::Upstreams,
    pub sessions: &'c SessionSecrets,
}

/// Compiles `root`; to be used only if no error was reported.
pub fn compile(root: &Root, compiler: &mut Compiler<'_>) -> Snapshot {
    let server = server::compile(root, compiler);
    let upstreams = upstreams::compile(root, compiler);
    upstreams::refuse_loops(root, &server, compiler);
    let internal = server::internal(root);
    let sessions = secrets::sessions(root, compiler);
    let around = Surroundings { root, upstreams: &upstreams, sessions: &sessions };
    let (tenants, placed) = tenants::compile(&around, compiler);
    upstreams::warn_of_spread(root, &tenants, compiler);
    let routes = hosts::compile(root, &placed, compiler);
    let (certificates, tls) = certificates::compile(root, &server, compiler);
    Snapshot {
        admin: server::admin(root, compiler),
        internal,
        telemetry: telemetry::compile(root, compiler),
        server,
        tls,
        certificates,
        routes,
        upstreams,
        tenants,
    }
}

/// Where the keys stand that only a restart can change.
pub fn restart_spots(root: &Root) -> Vec<(&'static str, Spot)> {
    let mut spots = Vec::new();
    let mut add = |key, spot: Option<Spot>| spots.extend(spot.map(|spot| (key, spot)));
    if let Some(server) = &root.server {
        let server = &server.value;
        add("server.https", server.https.as_ref().map(|at| at.spot));
        add("server.http", server.http.as_ref().map(|at| at.spot));
        add("server.workers", server.workers.as_ref().map(|at| at.spot));
        add("server.proxy_protocol", server.proxy_protocol.as_ref().map(|at| at.spot));
    }
    if let Some(admin) = &root.admin {
        add("admin.listen", admin.value.listen.as_ref().map(|at| at.spot));
    }
    if let Some(internal) = &root.internal {
        add("internal.listen", internal.value.listen.as_ref().map(|at| at.spot));
    }
    if let Some(telemetry) = &root.telemetry {
        let endpoint = telemetry.value.otlp_endpoint.as_ref();
        add("telemetry.otlp_endpoint", endpoint.map(|at| at.spot));
    }
    if let Some(tls) = &root.tls {
        add("tls.min_version", tls.value.min_version.as_ref().map(|at| at.spot));
    }
    spots
}

/// A name that nothing has: what is wrong, with the name that was probably meant.
fn dangling<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> Wrong {
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    if let Some(near) = nearest(name, known.iter().copied()) {
        return Wrong::new(format!("there is no {what} `{name}`, did you mean `{near}`?"), "");
    }
    let remedy = match known.len() {
        0 => format!("there is no {what} at all; add one"),
        1..=8 => format!("write one of {}, or add `{name}`", known.join(", ")),
        _ => format!("write the name of one that exists, or add `{name}`"),
    };
    Wrong::new(format!("there is no {what} `{name}`"), remedy)
}
