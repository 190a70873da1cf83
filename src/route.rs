//! Host and path to tenant, persona and device.
//!
//! Decides which target a canonical host and a canonical path belong to. The cost of a look-up
//! depends on how deep paths are configured on that one host, never on how many personas exist.
//! It must not see an address that was not canonicalised first: `gate::` makes those.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::snapshot::{Device, Persona, Site};

/// Hosts and paths of a whole configuration.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<str>, HostRoutes, foldhash::fast::RandomState>,
    /// Key: what follows `*.`.
    wildcard: HashMap<Box<str>, HostRoutes, foldhash::fast::RandomState>,
}

#[derive(Debug, Default)]
struct HostRoutes {
    /// The largest number of segments of any key in `paths`.
    depth: usize,
    /// Key: path without its trailing slash; the root is empty.
    paths: HashMap<Box<str>, Target, foldhash::fast::RandomState>,
}

/// What an address leads to.
#[derive(Debug, Clone)]
pub enum Target {
    Persona(Arc<Persona>),
    /// A persona's device: an index into `Persona::devices`.
    Device(Arc<Persona>, usize),
    Site(Arc<Site>),
}

/// A successful look-up.
#[derive(Debug)]
pub struct Match<'t> {
    pub target: &'t Target,
    /// How many bytes of the path the route took; the rest is empty or starts with `/`.
    pub prefix_len: usize,
}

impl Match<'_> {
    pub fn device(&self) -> Option<&Device> {
        match self.target {
            Target::Device(persona, index) => persona.devices.get(*index),
            _ => None,
        }
    }
}

/// Two targets claim one address.
#[derive(Debug)]
pub struct Conflict {
    pub incumbent: Target,
}

impl RouteTable {
    /// Adds `target` at `host` (canonical, or `*.` and a canonical name) and `path` (canonical,
    /// without trailing slash; the root is `""` or `/`).
    pub fn insert(&mut self, host: &str, path: &str, target: Target) -> Result<(), Conflict> {
        let routes = match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.into()).or_default(),
            None => self.exact.entry(host.into()).or_default(),
        };
        let path = if path == "/" { "" } else { path };
        if let Some(incumbent) = routes.paths.get(path) {
            return Err(Conflict { incumbent: incumbent.clone() });
        }
        routes.depth = routes.depth.max(segments(path));
        routes.paths.insert(path.into(), target);
        Ok(())
    }

    /// True where any target has this host.
    pub fn knows_host(&self, host: &str) -> bool {
        self.host(host).is_some()
    }

    /// The target of a canonical host and a canonical path (which starts with `/`).
    pub fn find(&self, host: &str, path: &str) -> Option<Match<'_>> {
        let routes = self.host(host)?;
        let mut prefix = cut_to_depth(path, routes.depth);
        loop {
            if let Some(target) = routes.paths.get(prefix) {
                return Some(Match { target, prefix_len: prefix.len() });
            }
            let slash = prefix.rfind('/')?;
            prefix = &prefix[..slash];
        }
    }

    fn host(&self, host: &str) -> Option<&HostRoutes> {
        if let Some(routes) = self.exact.get(host) {
            return Some(routes);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        let (_, parent) = host.split_once('.')?;
        self.wildcard.get(parent)
    }
}

fn segments(path: &str) -> usize {
    path.bytes().filter(|&byte| byte == b'/').count()
}

/// The first `depth` segments of `path`: `/a/b/c` cut to two is `/a/b`; a trailing slash is not a
/// segment.
fn cut_to_depth(path: &str, depth: usize) -> &str {
    match path.bytes().enumerate().filter(|&(_, byte)| byte == b'/').nth(depth) {
        Some((at, _)) => &path[..at],
        None => path,
    }
}
