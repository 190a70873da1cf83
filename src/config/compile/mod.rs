//! From what the user wrote to what a request reads.
//!
//! Every reference is resolved and every combination judged here, and every problem is collected:
//! no check may stop another from being made. Where a part is wrong, something harmless stands in
//! for it, so that the rest can be checked; the result is thrown away if there was any error.
//!
//! A tenant is compiled by itself into a [`Part`], the rest into [`Common`]. What only shows when
//! tenants stand side by side is decided in `claims`, of which no tenant can be the judge.

mod assertion;
mod certificates;
pub mod claims;
mod folders;
mod framing;
mod front;
pub mod hosts;
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

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use self::certificates::Coverage;
pub use self::server::admin;
pub use self::signing::Signers;
pub use self::tenants::{Part, part};
use super::allow::Trust;
use super::error::{Problems, Wrong};
use super::raw::Root;
use super::reader::Lookup;
use super::schema::nearest;
use super::snapshot::{
    AdminSettings, HeldBack, InternalSettings, ServerSettings, Snapshot, TelemetrySettings, Tenant,
    TlsSettings,
};
use super::source::{At, SourceTexts, Sources, Spot};
use super::values::FilePath;
use crate::policy::session::keys::SessionSecrets;
use crate::route::RouteTable;
use crate::tls::store::CertStore;

/// What compiling needs besides the raw configuration.
pub struct Compiler<'a> {
    pub problems: &'a mut Problems,
    pub texts: &'a SourceTexts,
    pub sources: &'a mut Sources,
    pub environment: Lookup<'a>,
    /// What the file may use.
    pub trust: &'a Trust,
    /// Where relative paths start.
    pub base: &'a Path,
    pub now: SystemTime,
}

impl Compiler<'_> {
    /// Where a file or folder lies, if whoever names it may use it; said where not. What a
    /// tenant's file can name is never opened without this.
    pub fn path(&mut self, at: &At<FilePath>, key: &str) -> Option<PathBuf> {
        match self.trust.path(&at.value.0, self.base) {
            Ok(path) => Some(path),
            Err(wrong) => {
                self.problems.error(at.spot, key, wrong);
                None
            }
        }
    }
}

/// All that a tenant meets outside of itself. Where it is equal, and the tenant too, what comes of
/// the tenant is equal: so whatever a tenant is compiled with belongs in here, and [`Facts`] is
/// compared as a whole.
pub struct Surroundings<'c> {
    pub facts: &'c Facts,
    pub upstreams: &'c tenants::Upstreams,
    pub sessions: &'c SessionSecrets,
}

/// What tenants need to know of the main file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Of the first TLS listener.
    pub https_port: Option<u16>,
    /// Apps can ask what a session was launched with.
    pub has_internal: bool,
    /// Hosts that several tenants may share by path.
    pub shared_hosts: HashSet<Box<str>>,
    /// What stands in front of every app.
    pub front: front::Defaults,
    /// One-way images of what signs sessions.
    sessions: Vec<[u8; 32]>,
}

impl Facts {
    fn of(root: &Root, sessions: &SessionSecrets) -> Self {
        let https = root.server.as_ref().and_then(|at| at.value.https.as_ref());
        let shared = root.server.iter().filter_map(|at| at.value.shared_hosts.as_ref());
        let shared = shared.flat_map(|list| &list.value).map(|at| at.value.0.clone());
        Self {
            shared_hosts: shared.collect(),
            front: front::Defaults::new(root),
            https_port: https.and_then(|list| list.value.first()).map(|at| at.value.port()),
            has_internal: root.internal.as_ref().is_some_and(|at| at.value.listen.is_some()),
            sessions: sessions.iter().map(|secret| secret.seed("facts", &[])).collect(),
        }
    }
}

/// Everything but tenants.
pub struct Common {
    pub server: ServerSettings,
    pub upstreams: tenants::Upstreams,
    /// The files that upstreams were made from.
    pub upstream_sources: Sources,
    pub sessions: SessionSecrets,
    pub facts: Facts,
    admin: AdminSettings,
    internal: InternalSettings,
    telemetry: TelemetrySettings,
    tls: TlsSettings,
    certificates: CertStore,
    /// Whether hosts are checked for a certificate.
    pub coverage: Coverage,
}

/// Compiles what stands in the main file alone. `has_files`: tenants have files of their own.
pub fn common(root: &Root, has_files: bool, compiler: &mut Compiler<'_>) -> Common {
    let server = server::compile(root, compiler);
    let mut upstream_sources = Sources::default();
    std::mem::swap(compiler.sources, &mut upstream_sources);
    let upstreams = upstreams::compile(root, compiler);
    std::mem::swap(compiler.sources, &mut upstream_sources);
    compiler.sources.absorb(&upstream_sources);
    upstreams::refuse_loops(root, &server, compiler);
    let sessions = secrets::sessions(root, has_files, compiler);
    let (certificates, tls, coverage) = certificates::compile(root, &server, compiler);
    Common {
        admin: server::admin(root, compiler),
        internal: server::internal(root),
        telemetry: telemetry::compile(root, &sessions, compiler),
        facts: Facts::of(root, &sessions),
        server,
        upstreams,
        upstream_sources,
        sessions,
        tls,
        certificates,
        coverage,
    }
}

impl Common {
    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings { facts: &self.facts, upstreams: &self.upstreams, sessions: &self.sessions }
    }

    /// Says which hosts of a tenant no certificate covers.
    pub fn uncovered(&self, part: &Part, problems: &mut Problems) {
        if self.coverage == Coverage::Needed {
            certificates::check_coverage(part, &self.certificates, problems);
        }
    }

    /// The snapshot with these tenants, of which no two claim the same address.
    pub fn snapshot(
        self,
        tenants: HashMap<Arc<str>, Arc<Tenant>>,
        routes: RouteTable,
        held_back: Vec<HeldBack>,
    ) -> Snapshot {
        Snapshot {
            server: self.server,
            admin: self.admin,
            internal: self.internal,
            telemetry: self.telemetry,
            tls: self.tls,
            certificates: self.certificates,
            routes,
            upstreams: self.upstreams,
            tenants,
            held_back,
            written: Default::default(),
        }
    }
}

/// Warns of what only shows when tenants stand side by side.
pub fn review<'p>(
    root: &Root,
    parts: impl Iterator<Item = &'p Part> + Clone,
    problems: &mut Problems,
) {
    upstreams::warn_of_spread(root, parts.clone().map(|part| &*part.tenant), problems);
    hosts::isolation::warn(root, parts, problems);
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
        add("server.upgrade_socket", server.upgrade_socket.as_ref().map(|at| at.spot));
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
pub fn dangling<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> Wrong {
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
