//! A running Vestibule, configured in code.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use vestibule::app::{App, Options};
use vestibule::config::snapshot::{
    AccessLog, AdminSettings, AppKind, Device, HttpMode, InternalSettings, Limits, Mode, Persona,
    Server, ServerAddress, ServerId, ServerSettings, Site, Snapshot, TelemetrySettings, Tenant,
    TlsSettings, TlsVersion, Upstream, UpstreamTls,
};
use vestibule::policy::front::Front;
use vestibule::policy::front::folders::{Folder, Folders, Links};
use vestibule::policy::limits::{Rate, Rules};
use vestibule::policy::metadata::{MetadataPolicy, UserIdFormat, UserIdRule};
use vestibule::policy::origin::{OpaqueLaunch, OriginRules};
use vestibule::policy::secret::Secret;
use vestibule::policy::session::keys::{PersonaKeys, SessionSecrets};
use vestibule::route::{RouteTable, Target};
use vestibule::state::streams::Counts;
use vestibule::telemetry::otlp::settings::OtlpSettings;
use vestibule::telemetry::warn::Warn;
use vestibule::tls::dev::DevCa;
use vestibule::tls::store::{CertStore, Certificate};
use vestibule::upstream::watch::Resolve;

use super::PATIENCE;
use super::client::Client;

pub struct Builder {
    pub limits: Limits,
    pub http_mode: HttpMode,
    pub trusted_proxies: Vec<&'static str>,
    pub proxy_protocol: bool,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub drain_timeout: Duration,
    pub close_within: Duration,
    /// Listens for operators too.
    pub admin: bool,
    /// What stands in front of each persona.
    pub front: fn() -> Front,
    pub acme_webroot: Option<PathBuf>,
    /// Hosts that are served from folders.
    sites: Vec<(&'static str, PathBuf)>,
    routes: Vec<Route>,
    /// One certificate for each list of names.
    certificates: Vec<Vec<&'static str>>,
}

struct Route {
    host: &'static str,
    path: &'static str,
    devices: Vec<&'static str>,
    servers: Vec<(ServerAddress, Option<UpstreamTls>)>,
}

pub struct Proxy {
    pub app: App,
    pub ca: DevCa,
    log: PathBuf,
    /// Goes with the proxy.
    _folder: tempfile::TempDir,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            http_mode: HttpMode::Serve,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            connect_timeout: Duration::from_secs(2),
            response_timeout: PATIENCE,
            drain_timeout: PATIENCE,
            close_within: Duration::from_secs(1),
            admin: false,
            front: Front::default,
            acme_webroot: None,
            sites: Vec::new(),
            routes: Vec::new(),
            certificates: vec![vec!["chat.test", "*.wild.test"]],
        }
    }
}

impl Builder {
    /// A persona at `host` and `path` over these servers.
    pub fn persona(mut self, host: &'static str, path: &'static str, to: &[SocketAddr]) -> Self {
        let servers = to.iter().map(|address| (ServerAddress::Ip(*address), None)).collect();
        self.routes.push(Route { host, path, devices: Vec::new(), servers });
        self
    }

    pub fn server(
        mut self,
        host: &'static str,
        address: ServerAddress,
        tls: Option<UpstreamTls>,
    ) -> Self {
        let servers = vec![(address, tls)];
        self.routes.push(Route { host, path: "/", devices: Vec::new(), servers });
        self
    }

    /// A site from a folder.
    pub fn site(mut self, host: &'static str, folder: &Path) -> Self {
        self.sites.push((host, folder.to_owned()));
        self
    }

    /// A device of the last persona.
    pub fn device(mut self, slug: &'static str) -> Self {
        self.routes.last_mut().unwrap().devices.push(slug);
        self
    }

    pub fn certificate(mut self, names: &[&'static str]) -> Self {
        self.certificates.push(names.to_vec());
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn start(self) -> Proxy {
        let ca = DevCa::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let options = Options { access_log: Some(log.clone()), ..Options::default() };
        let app = App::start(self.snapshot(&ca), options).unwrap();
        Proxy { app, ca, log, _folder: folder }
    }

    fn snapshot(&self, ca: &DevCa) -> Snapshot {
        let mut routes = RouteTable::default();
        let mut personas = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            let persona = Arc::new(self.persona_of(route, index));
            personas.push(Arc::clone(&persona));
            let target = Target::Persona(Arc::clone(&persona));
            routes.insert(route.host, route.path, target).unwrap();
            for (index, device) in route.devices.iter().enumerate() {
                let path = format!("{}/{device}", route.path.trim_end_matches('/'));
                let target = Target::Device(Arc::clone(&persona), index);
                routes.insert(route.host, &path, target).unwrap();
            }
        }
        let upstreams = personas.iter().map(|persona| &persona.upstream);
        let upstreams = upstreams.map(|it| (Arc::clone(&it.name), Arc::clone(it))).collect();
        for (host, folder) in &self.sites {
            let mut folders = Folders::default();
            let links = Links::Followed;
            folders.insert("/", Folder { path: Arc::from(&**folder), links });
            let upstream = Arc::clone(&self.persona_of(&nowhere(), 0).upstream);
            let site = Arc::new(Site {
                tenant: "acme".into(),
                name: "site".into(),
                hosts: vec![(*host).into()],
                upstream,
                framing: vestibule::policy::csp::CompiledCsp::none(),
                folders,
                front: Front::default(),
                meters: Default::default(),
            });
            routes.insert(host, "/", Target::Site(site)).unwrap();
        }
        let mut certificates = CertStore::default();
        for names in &self.certificates {
            certificates.insert(Arc::new(certificate(ca, names)));
        }
        Snapshot {
            held_back: Vec::new(),
            written: Default::default(),
            server: ServerSettings {
                https: vec!["127.0.0.1:0".parse().unwrap()],
                http: vec!["127.0.0.1:0".parse().unwrap()],
                http_mode: self.http_mode,
                workers: 1,
                trusted_proxies: self.trusted_proxies.iter().map(|n| n.parse().unwrap()).collect(),
                proxy_protocol: self.proxy_protocol,
                acme_webroot: self.acme_webroot.as_deref().map(Arc::from),
                drain_timeout: self.drain_timeout,
                upgrade_socket: None,
                close_within: self.close_within,
                limits: self.limits,
            },
            admin: AdminSettings {
                listen: self.admin.then(|| "127.0.0.1:0".parse().unwrap()),
                token: None,
            },
            internal: InternalSettings { listen: None },
            tls: TlsSettings { min_version: TlsVersion::Tls12 },
            telemetry: TelemetrySettings {
                access_log: AccessLog::Off,
                user_ids: Default::default(),
                persona_metrics: 500,
                otlp: OtlpSettings::off(),
            },
            certificates,
            routes,
            upstreams,
            tenants: HashMap::from([("acme".into(), Arc::new(tenant(personas)))]),
        }
    }

    fn persona_of(&self, route: &Route, index: usize) -> Persona {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let servers = route.servers.iter().map(|(address, tls)| Server {
            address: address.clone(),
            tls: tls.clone(),
            id: ServerId(NEXT.fetch_add(1, Ordering::Relaxed)),
        });
        Persona {
            shells: Default::default(),
            framing: vestibule::policy::csp::CompiledCsp::none(),
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
            keys: session_keys("acme", &format!("persona-{index}")),
            revoked_before: None,
            revoke: false,
            origin: OriginRules { opaque_launch: OpaqueLaunch::Free, ..OriginRules::default() },
            rules: Arc::new(unlimited()),
            assertion: None,
            injection: None,
            variables: Default::default(),
            signing: None,
            meters: Default::default(),
            front: (self.front)(),
            tenant: "acme".into(),
            name: format!("persona-{index}").into(),
            hosts: vec![route.host.into()],
            path: route.path.into(),
            strip_prefix: true,
            upstream: Arc::new(Upstream {
                name: format!("upstream-{index}").into(),
                servers: servers.collect(),
                connect_timeout: self.connect_timeout,
                policy: Default::default(),
                response_timeout: self.response_timeout,
                meters: Default::default(),
            }),
            app: AppKind::Generic,
            mode: Mode::Public,
            devices: route
                .devices
                .iter()
                .map(|slug| Device { slug: (*slug).into(), name: (*slug).into() })
                .collect(),
        }
    }
}

fn tenant(personas: Vec<Arc<Persona>>) -> Tenant {
    Tenant {
        id: "acme".into(),
        name: "Acme".into(),
        personas,
        sites: Vec::new(),
        embed_origins: Vec::new(),
        assertion_keys: Vec::new(),
    }
}

fn nowhere() -> Route {
    Route { host: "nowhere.test", path: "/", devices: Vec::new(), servers: Vec::new() }
}

/// Tests of messages must not meet limits.
fn unlimited() -> Rules {
    let rate = Rate::new(NonZeroU32::MAX, Duration::from_secs(31 * 24 * 3600)).unwrap();
    Rules::new(rate, rate, None)
}

fn session_keys(tenant: &str, persona: &str) -> PersonaKeys {
    let secret = Secret::new([7; 32]).expect("a secret");
    SessionSecrets::new(secret, Vec::new()).persona(tenant, persona)
}

fn certificate(ca: &DevCa, names: &[&str]) -> Certificate {
    let leaf = ca.issue(names).unwrap();
    let (chain, key) = (leaf.cert_chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    Certificate::from_pem(chain, key).ok().unwrap()
}

fn load(text: &str, folder: &std::path::Path) -> Snapshot {
    let loaded = vestibule::config::load_str("test.toml", text, folder);
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    loaded.snapshot.unwrap_or_else(|| panic!("{}", problems.join("\n")))
}

impl Proxy {
    /// A persona on every path of `chat.test`, over one upstream.
    pub fn before(upstream: SocketAddr) -> Self {
        Builder::default().persona("chat.test", "/", &[upstream]).start()
    }

    /// A server as this configuration says, `UPSTREAM` in it standing for the address.
    pub fn configured(text: &str, upstream: SocketAddr) -> Self {
        Self::resolving(&text.replace("UPSTREAM", &upstream.to_string()), None)
    }

    /// The same, with names of upstreams resolved like this.
    pub fn resolving(text: &str, resolve: Option<Resolve>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let options = Options { access_log: Some(log.clone()), resolve, ..Options::default() };
        let app = App::start(load(text, folder.path()), options).unwrap();
        Proxy { app, ca: DevCa::generate().unwrap(), log, _folder: folder }
    }

    /// A server as this configuration and these variables say; `warn` hears what goes wrong.
    pub fn with_environment(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
        warn: Warn,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let loader = vestibule::config::Loader::new(environment);
        let loaded = loader.load_str("test.toml", text, folder.path());
        let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
        let snapshot = loaded.snapshot.unwrap_or_else(|| panic!("{}", problems.join("\n")));
        let options = Options { access_log: Some(log.clone()), warn, ..Options::default() };
        let app = App::start(snapshot, options).unwrap();
        Proxy { app, ca: DevCa::generate().unwrap(), log, _folder: folder }
    }

    /// Serves what this would, from now on.
    pub fn rebuild(&self, builder: &Builder) {
        self.rebuild_with(builder, |_| {});
    }

    /// The same, after a change to the snapshot itself.
    pub fn rebuild_with(&self, builder: &Builder, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = builder.snapshot(&self.ca);
        change(&mut snapshot);
        self.app.replace(snapshot);
    }

    /// Waits until what is open is enough.
    pub fn wait_for_streams(&self, enough: impl Fn(Counts) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !enough(self.app.streams()) {
            assert!(Instant::now() < until, "open: {:?}", self.app.streams());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Swaps in what this configuration says.
    pub fn reload(&self, text: &str) {
        self.app.replace(load(text, self._folder.path()));
    }

    pub fn http(&self) -> SocketAddr {
        self.app.http()[0]
    }

    pub fn https(&self) -> SocketAddr {
        self.app.https()[0]
    }

    /// A plain connection.
    pub fn client(&self) -> Client {
        Client::plain(self.http())
    }

    /// A TLS connection for `chat.test` that speaks HTTP/1.1.
    pub fn tls(&self) -> Client {
        Client::tls(self.https(), self.ca.pem(), "chat.test", &["http/1.1"]).unwrap()
    }

    /// Waits for that many log lines. With several workers their order tells nothing.
    pub fn log(&self, lines: usize) -> Vec<serde_json::Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.log).unwrap();
            let seen: Vec<_> = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .collect();
            if seen.len() >= lines {
                return seen;
            }
            assert!(Instant::now() < until, "the log has only {seen:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
