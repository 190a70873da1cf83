//! The compiled configuration: immutable, everything parsed, nothing left to decide at request time.
//!
//! A request loads the snapshot once and keeps it. Nothing in here talks serde or remembers
//! anything about traffic: counters, pools and health live outside and survive a reload. Nothing
//! changes either; a persona's session keys are derived when they are first used, and come out the
//! same for whoever is first ([`PersonaKeys`]).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::error::Problem;
use super::shown::Written;
pub use super::values::TlsVersion;
use crate::apps::streamlit::HostConfig;
use crate::embed::{Bridge, template};
use crate::policy::assertion::{AssertionKey, AssertionPolicy};
use crate::policy::csp::CompiledCsp;
use crate::policy::front::Front;
use crate::policy::front::folders::Folders;
use crate::policy::injection::InjectionPolicy;
use crate::policy::limits::Rules;
use crate::policy::metadata::MetadataPolicy;
use crate::policy::origin::OriginRules;
use crate::policy::pseudonym::Pseudonyms;
use crate::policy::secret::Secret;
use crate::policy::session::UnixSeconds;
use crate::policy::session::keys::PersonaKeys;
use crate::policy::signature::SigningPolicy;
use crate::policy::variables::VariablesPolicy;
use crate::route::RouteTable;
use crate::telemetry::metrics::Slot;
use crate::telemetry::metrics::meters::{OwnerMeters, UpstreamMeters};
use crate::telemetry::otlp::settings::OtlpSettings;
use crate::tls::store::CertStore;
use crate::upstream::policy::Policy;

/// Everything that a worker needs to know to serve one request.
#[derive(Debug)]
pub struct Snapshot {
    pub server: ServerSettings,
    pub admin: AdminSettings,
    pub internal: InternalSettings,
    pub telemetry: TelemetrySettings,
    pub tls: TlsSettings,
    pub certificates: CertStore,
    pub routes: RouteTable,
    pub upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    pub tenants: HashMap<Arc<str>, Arc<Tenant>>,
    /// Tenants whose own file cannot serve, by name.
    pub held_back: Vec<HeldBack>,
    /// What it was made from, for people.
    pub written: Written,
}

/// A tenant whose own file cannot serve.
#[derive(Debug, Clone)]
pub struct HeldBack {
    pub tenant: Arc<str>,
    /// What is wrong with the file.
    pub problems: Vec<Problem>,
    /// Since when the tenant has been held back, as far as this process knows.
    pub since: SystemTime,
    pub serves: Serves,
}

/// What serves in place of a file that cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// The last version of the file that was good; or what the main file says, where the tenant
    /// stands there too.
    LastGood,
    /// Nothing: its hosts answer 503.
    Nothing,
}

impl fmt::Display for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Serves::LastGood => "its last good version serves",
            Serves::Nothing => "its hosts answer 503",
        })
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tenant {} is held back, {}", self.tenant, self.serves)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl Snapshot {
    /// The keys whose public halves apps may ask for, by tenant; one may come twice.
    pub fn assertion_keys(&self) -> impl Iterator<Item = &AssertionKey> {
        let mut tenants: Vec<_> = self.tenants.values().collect();
        tenants.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        tenants.into_iter().flat_map(|tenant| tenant.assertion_keys.iter().map(|key| &**key))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Addresses of the TLS listeners.
    pub https: Vec<SocketAddr>,
    /// Addresses of the plain listeners.
    pub http: Vec<SocketAddr>,
    pub http_mode: HttpMode,
    /// Number of worker threads; at least one.
    pub workers: usize,
    /// Peers whose `X-Forwarded-*`, `Forwarded`, `X-Request-Id` and PROXY header are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Trusted peers must open each connection with a PROXY protocol header.
    pub proxy_protocol: bool,
    pub drain_timeout: Duration,
    /// Where a successor finds the process.
    pub upgrade_socket: Option<PathBuf>,
    /// Over how long streams that are told to end are spread.
    pub close_within: Duration,
    /// Where an ACME client leaves its answers.
    pub acme_webroot: Option<Arc<Path>>,
    pub limits: Limits,
}

impl ServerSettings {
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// What the TLS listeners speak; fixed for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSettings {
    pub min_version: TlsVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMode {
    /// Every request for a known host is redirected to https.
    Redirect,
    /// Requests are served: a balancer in front has terminated TLS.
    Serve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Whole head, counted from its first byte; for a connection's first request from accept.
    pub header_timeout: Duration,
    /// Bytes of a request head or of an upstream's response head.
    pub header_bytes: usize,
    /// Between requests.
    pub idle_timeout: Duration,
    /// Open client connections of the process.
    pub connections: usize,
    /// Bodies that a policy must read whole.
    pub form_bytes: usize,
    pub body_bytes: u64,
    /// Longest time without progress while a body has bytes to move.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            header_bytes: 64 * 1024,
            idle_timeout: Duration::from_secs(75),
            connections: 20_000,
            form_bytes: 2 * 1024 * 1024,
            body_bytes: 200 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    pub listen: Option<SocketAddr>,
    /// Whoever has it may operate the server; without one, whoever reaches it.
    pub token: Option<Secret>,
}

/// The listener for the apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalSettings {
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    pub access_log: AccessLog,
    /// What users are called in it.
    pub user_ids: UserIds,
    /// Personas and sites that have series of their own.
    pub persona_metrics: usize,
    /// Where traces and metrics go; fixed for the life of the process, but for the sampler.
    pub otlp: OtlpSettings,
}

/// What users are called where an operator looks.
#[derive(Debug, Clone, Default)]
pub enum UserIds {
    /// Nothing.
    #[default]
    Off,
    /// What they are called by their tenant.
    Plain,
    Hashed(Pseudonyms),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    File(PathBuf),
}

#[derive(Debug)]
pub struct Tenant {
    pub id: Arc<str>,
    /// What people call it; the id where the file gives no name.
    pub name: Arc<str>,
    pub personas: Vec<Arc<Persona>>,
    pub sites: Vec<Arc<Site>>,
    /// Origins that may embed this tenant's personas, serialised as browsers do.
    pub embed_origins: Vec<Box<str>>,
    /// EdDSA keys that sign assertions for its apps, and those that may have signed one of which an
    /// app has yet to hear; derived from session secrets on their way out too.
    pub assertion_keys: Vec<Arc<AssertionKey>>,
}

#[derive(Debug)]
pub struct Persona {
    pub tenant: Arc<str>,
    pub name: Arc<str>,
    /// Canonical hosts: lower case, no port; `*.example.com` for a wildcard.
    pub hosts: Vec<Box<str>>,
    /// `/` or a canonical path without its trailing slash.
    pub path: Box<str>,
    pub strip_prefix: bool,
    pub upstream: Arc<Upstream>,
    pub app: AppKind,
    pub mode: Mode,
    pub devices: Vec<Device>,
    /// The pages around its chat.
    pub shells: Shells,
    /// Who may frame its documents.
    pub framing: CompiledCsp,
    /// Written into its documents, where `bridge` says so.
    pub bridge: Option<Bridge>,
    /// The answer to the Streamlit frontend's question who may talk to it; Streamlit only.
    pub host_config: Option<HostConfig>,
    /// What a launch must and may say about its user.
    pub metadata: MetadataPolicy,
    /// What signs and verifies its sessions.
    pub keys: PersonaKeys,
    /// Sessions that were launched before this moment have ended: the later one of its own and of
    /// its tenant's.
    pub revoked_before: Option<UnixSeconds>,
    /// Open streams end when a reload changes who may open it, and as whom.
    pub revoke: bool,
    /// Which pages may call it.
    pub origin: OriginRules,
    /// How often it may be launched; one for all personas of the tenant.
    pub rules: Arc<Rules>,
    /// Present where somebody can verify an assertion.
    pub assertion: Option<Arc<AssertionPolicy>>,
    /// Present where launches may inject.
    pub injection: Option<InjectionPolicy>,
    /// What launches may bring to the app.
    pub variables: VariablesPolicy,
    /// Present where launches must be signed.
    pub signing: Option<Arc<SigningPolicy>>,
    /// What the operator puts in front of the app.
    pub front: Front,
    /// Where its requests are counted.
    pub meters: Slot<OwnerMeters>,
}

impl Persona {
    /// Whether the same may open it as that one, from the same addresses, and as whom.
    pub fn identifies_like(&self, other: &Persona) -> bool {
        let signing = match (&self.signing, &other.signing) {
            (None, None) => true,
            (Some(one), Some(other)) => one.admits_like(other),
            _ => false,
        };
        signing
            && self.metadata == other.metadata
            && self.origin == other.origin
            && self.front.admits_like(&other.front)
    }
}

#[derive(Debug)]
pub struct Device {
    /// The path segment.
    pub slug: Arc<str>,
    pub name: Arc<str>,
}

/// The pages around a persona's chat.
#[derive(Debug)]
pub struct Shells {
    pub pages: Vec<Shell>,
    /// Who may frame them, and what they frame.
    pub framing: CompiledCsp,
}

impl Default for Shells {
    fn default() -> Self {
        Self { pages: Vec::new(), framing: CompiledCsp::none() }
    }
}

/// A page around the chat.
#[derive(Debug)]
pub struct Shell {
    /// A canonical path without its trailing slash.
    pub path: Box<str>,
    /// An index into the persona's `devices`.
    pub device: Option<usize>,
    /// Opens it, where it is a preview.
    pub token: Option<Secret>,
    pub page: template::Shell,
    /// The path of the chat in it, with its trailing slash.
    pub chat: Box<str>,
    /// For which hosts it is: those of one tenant, or those that are shared.
    pub isolation: template::Isolation,
}

/// A tenant's own host page, served through Vestibule.
#[derive(Debug)]
pub struct Site {
    pub tenant: Arc<str>,
    pub name: Arc<str>,
    pub hosts: Vec<Box<str>>,
    pub upstream: Arc<Upstream>,
    /// What its pages may frame.
    pub framing: CompiledCsp,
    /// What is answered from the disk.
    pub folders: Folders,
    /// What the operator puts in front of it.
    pub front: Front,
    /// Where its requests are counted.
    pub meters: Slot<OwnerMeters>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppKind {
    Streamlit,
    Rasa,
    SocketIo,
    Sse,
    Generic,
}

impl AppKind {
    /// As it is configured.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Streamlit => "streamlit",
            Self::Rasa => "rasa",
            Self::SocketIo => "socketio",
            Self::Sse => "sse",
            Self::Generic => "generic",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    Public,
    Customer,
    Employee,
    Test,
}

/// A named set of servers. Which one answers is decided by `upstream::`, not here.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    pub servers: Vec<Server>,
    pub connect_timeout: Duration,
    /// To the first byte of the response.
    pub response_timeout: Duration,
    /// How its servers are chosen, checked and spared.
    pub policy: Policy,
    /// Where its answers are counted.
    pub meters: Slot<UpstreamMeters>,
}

/// One server of an upstream, and how it is reached.
#[derive(Debug, Clone)]
pub struct Server {
    pub address: ServerAddress,
    /// Present for `https://`.
    pub tls: Option<UpstreamTls>,
    /// The same for equal address and TLS settings across reloads of the process, so that pools
    /// outlive a snapshot.
    pub id: ServerId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u32);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An IP address and port, known when the configuration was read.
    Ip(SocketAddr),
    /// A DNS name: all of its addresses are used, and looked up again and again.
    Name(Box<str>, u16),
    Unix(PathBuf),
}

#[derive(Debug, Clone)]
pub struct UpstreamTls {
    pub config: Arc<rustls::ClientConfig>,
    pub server_name: rustls_pki_types::ServerName<'static>,
}
