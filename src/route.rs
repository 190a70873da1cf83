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
    /// Personas of several tenants may answer here.
    is_shared: bool,
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
    /// A page around a persona's chat: an index into `Persona::shells`.
    Shell(Arc<Persona>, usize),
    Site(Arc<Site>),
    /// A tenant whose file cannot serve, and that has no version that can.
    HeldBack(Arc<str>),
}

impl Target {
    pub fn persona(&self) -> Option<&Arc<Persona>> {
        match self {
            Target::Persona(persona) | Target::Device(persona, _) | Target::Shell(persona, _) => {
                Some(persona)
            }
            Target::Site(_) | Target::HeldBack(_) => None,
        }
    }
}

/// A successful look-up.
#[derive(Debug)]
pub struct Match<'t> {
    pub target: &'t Target,
    /// How many bytes of the path the route took; the rest is empty or starts with `/`.
    pub prefix_len: usize,
    /// The host is not one tenant's alone.
    pub is_shared: bool,
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

    /// Every address: host (`*.` and a parent for a wildcard), path (the root is `/`), target.
    pub fn entries(&self) -> impl Iterator<Item = (String, &str, &Target)> {
        let exact = self.exact.iter().map(|(host, routes)| (host.to_string(), routes));
        let wildcard = self.wildcard.iter().map(|(host, routes)| (format!("*.{host}"), routes));
        exact.chain(wildcard).flat_map(|(host, routes)| {
            routes.paths.iter().map(move |(path, target)| {
                (host.clone(), if path.is_empty() { "/" } else { &**path }, target)
            })
        })
    }

    /// Personas of several tenants may answer at `host`, where anybody does.
    pub fn share(&mut self, host: &str) {
        let routes = match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.get_mut(parent),
            None => self.exact.get_mut(host),
        };
        if let Some(routes) = routes {
            routes.is_shared = true;
        }
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
                let is_shared = routes.is_shared;
                return Some(Match { target, prefix_len: prefix.len(), is_shared });
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::snapshot::{AppKind, Mode, Upstream};
    use crate::policy::limits::Rules;
    use crate::policy::metadata::{MetadataPolicy, UserIdFormat, UserIdRule};
    use crate::policy::origin::{OpaqueLaunch, OriginRules};
    use crate::policy::secret::Secret;
    use crate::policy::session::keys::{PersonaKeys, SessionSecrets};

    fn session_keys(tenant: &str, persona: &str) -> PersonaKeys {
        let secret = Secret::new([7; 32]).expect("a secret");
        SessionSecrets::new(secret, Vec::new()).persona(tenant, persona)
    }

    fn persona(path: &str, devices: &[&str]) -> Arc<Persona> {
        let upstream = Upstream {
            name: "app".into(),
            servers: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            policy: Default::default(),
            response_timeout: Duration::from_secs(1),
            meters: Default::default(),
        };
        let device = |slug: &&str| Device { slug: (*slug).into(), name: (*slug).into() };
        Arc::new(Persona {
            framing: crate::policy::csp::CompiledCsp::none(),
            host_config: None,
            bridge: None,
            metadata: MetadataPolicy {
                mode: Mode::Public,
                user_id: UserIdRule::None,
                format: UserIdFormat::Token,
                allow_generated_id: false,
                trust_asserted: false,
                strict_config: false,
                bridge: false,
                signed: false,
            },
            keys: session_keys("tenant", path),
            revoked_before: None,
            revoke: false,
            origin: OriginRules { opaque_launch: OpaqueLaunch::Free, ..OriginRules::default() },
            rules: Arc::new(Rules::default()),
            assertion: None,
            injection: None,
            variables: Default::default(),
            signing: None,
            meters: Default::default(),
            front: Default::default(),
            tenant: "tenant".into(),
            name: path.into(),
            hosts: Vec::new(),
            path: path.into(),
            strip_prefix: true,
            upstream: Arc::new(upstream),
            app: AppKind::Generic,
            mode: Mode::Public,
            devices: devices.iter().map(device).collect(),
            shells: Default::default(),
        })
    }

    fn table(entries: &[(&str, &str)]) -> RouteTable {
        let mut table = RouteTable::default();
        for (host, path) in entries {
            table.insert(host, path, Target::Persona(persona(path, &[]))).expect("no conflict");
        }
        table
    }

    /// The path of the persona that answers, and what is left of the request's path.
    fn found<'p>(table: &RouteTable, host: &str, path: &'p str) -> Option<(String, &'p str)> {
        let found = table.find(host, path)?;
        let Target::Persona(persona) = found.target else { return None };
        Some((persona.path.to_string(), &path[found.prefix_len..]))
    }

    #[test]
    fn the_longest_path_on_a_segment_border_wins() {
        let table = table(&[
            ("a.example", "/"),
            ("a.example", "/chat"),
            ("a.example", "/chat/x/y"),
            ("b.example", "/only"),
            ("*.example", "/"),
        ]);
        for (host, path, expected) in [
            ("a.example", "/", Some(("/", "/"))),
            ("a.example", "/other", Some(("/", "/other"))),
            ("a.example", "/chat", Some(("/chat", ""))),
            ("a.example", "/chat/", Some(("/chat", "/"))),
            ("a.example", "/chatter", Some(("/", "/chatter"))),
            ("a.example", "/chat/x", Some(("/chat", "/x"))),
            ("a.example", "/chat/x/y/z", Some(("/chat/x/y", "/z"))),
            ("a.example", "/chat/x/yz", Some(("/chat", "/x/yz"))),
            ("b.example", "/", None),
            ("b.example", "/only/this", Some(("/only", "/this"))),
            ("c.example", "/any", Some(("/", "/any"))),
            ("x.c.example", "/any", None),
            ("example", "/", None),
        ] {
            let expected = expected.map(|(persona, rest)| (persona.to_string(), rest));
            assert_eq!(found(&table, host, path), expected, "{host}{path}");
        }
    }

    #[test]
    fn a_device_is_found_and_keeps_its_persona() {
        let bot = persona("/chat/bot", &["lobby"]);
        let mut table = RouteTable::default();
        table.insert("a.example", "/chat/bot", Target::Persona(bot.clone())).expect("free");
        table.insert("a.example", "/chat/bot/lobby", Target::Device(bot, 0)).expect("free");
        let slug = |path: &str| {
            table.find("a.example", path).and_then(|it| it.device().map(|it| it.slug.to_string()))
        };
        assert_eq!(slug("/chat/bot/lobby/socket").as_deref(), Some("lobby"));
        assert_eq!(slug("/chat/bot/lobby").as_deref(), Some("lobby"));
        assert_eq!(slug("/chat/bot/hall"), None);
    }

    fn paths(segments: std::ops::Range<usize>) -> impl Strategy<Value = String> {
        let segment = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("c.d")];
        proptest::collection::vec(segment, segments)
            .prop_map(|parts| parts.iter().fold(String::new(), |path, part| path + "/" + part))
    }

    proptest! {
        #[test]
        fn finding_equals_a_naive_scan(
            configured in proptest::collection::btree_set(paths(0..4), 0..12),
            path in paths(0..6),
            slash in any::<bool>(),
        ) {
            let entries: Vec<_> = configured.iter().map(|path| ("h.example", &**path)).collect();
            let path = if slash || path.is_empty() { path + "/" } else { path };
            let naive = configured
                .iter()
                .filter(|prefix| {
                    path.strip_prefix(&***prefix)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                })
                .max_by_key(|prefix| prefix.len());
            let table = table(&entries);
            let found = table.find("h.example", &path);
            prop_assert_eq!(
                found.map(|found| found.prefix_len),
                naive.map(|prefix| prefix.len())
            );
        }
    }
}
