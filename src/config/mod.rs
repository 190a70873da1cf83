//! Stand-in loader; replaced as a whole.
#![allow(missing_docs, clippy::all)]
pub mod snapshot;

use crate::route::{RouteTable, Target};
use crate::tls::store::{CertStore, Certificate};
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use snapshot::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Loaded {
    pub snapshot: Option<Snapshot>,
    pub problems: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Raw {
    #[serde(default)]
    server: RServer,
    #[serde(default)]
    tls: RTls,
    #[serde(default)]
    telemetry: RTel,
    upstreams: BTreeMap<String, RUp>,
    tenants: BTreeMap<String, RTen>,
}
#[derive(Deserialize, Default)]
struct RServer {
    #[serde(default)]
    https: Vec<String>,
    #[serde(default)]
    http: Vec<String>,
    http_mode: Option<String>,
    workers: Option<usize>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default)]
    proxy_protocol: bool,
    limits: Option<RLim>,
}
#[derive(Deserialize, Default)]
struct RLim {
    header_timeout: Option<String>,
    idle_timeout: Option<String>,
    connections: Option<usize>,
}
#[derive(Deserialize, Default)]
struct RTls {
    #[serde(default)]
    certificates: Vec<RCert>,
}
#[derive(Deserialize)]
struct RCert {
    cert: String,
    key: String,
}
#[derive(Deserialize, Default)]
struct RTel {
    access_log: Option<String>,
}
#[derive(Deserialize)]
struct RUp {
    servers: Vec<String>,
}
#[derive(Deserialize)]
struct RTen {
    #[serde(default)]
    personas: BTreeMap<String, RPer>,
    #[serde(default)]
    sites: BTreeMap<String, RSite>,
}
#[derive(Deserialize)]
struct RPer {
    hosts: Vec<String>,
    path: Option<String>,
    upstream: String,
}
#[derive(Deserialize)]
struct RSite {
    hosts: Vec<String>,
    upstream: String,
}

pub fn load(path: &Path) -> Loaded {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            load_str(&path.display().to_string(), &text, path.parent().unwrap_or(Path::new(".")))
        }
        Err(e) => Loaded { snapshot: None, problems: vec![format!("{}: {e}", path.display())] },
    }
}
fn secs(s: &str) -> Duration {
    Duration::from_secs(s.trim_end_matches('s').parse().unwrap())
}
pub fn load_str(name: &str, text: &str, base: &Path) -> Loaded {
    let raw: Raw = match toml::from_str(text) {
        Ok(r) => r,
        Err(e) => return Loaded { snapshot: None, problems: vec![format!("{name}: {e}")] },
    };
    let mut ups: HashMap<Arc<str>, Arc<Upstream>> = HashMap::new();
    let mut id = 0;
    for (n, u) in raw.upstreams {
        let servers = u
            .servers
            .iter()
            .map(|s| {
                id += 1;
                let s = s.trim_start_matches("http://");
                let address = match s.parse() {
                    Ok(a) => ServerAddress::Ip(a),
                    Err(_) => {
                        let (h, p) = s.split_once(':').unwrap();
                        ServerAddress::Name(h.into(), p.parse().unwrap())
                    }
                };
                Server { address, tls: None, id: ServerId(id) }
            })
            .collect();
        ups.insert(
            n.as_str().into(),
            Arc::new(Upstream {
                name: n.as_str().into(),
                servers,
                connect_timeout: Duration::from_secs(2),
                response_timeout: Duration::from_secs(60),
            }),
        );
    }
    let mut routes = RouteTable::default();
    for (t, ten) in raw.tenants {
        for (p, per) in ten.personas {
            let persona = Arc::new(Persona {
                tenant: t.as_str().into(),
                name: p.as_str().into(),
                hosts: vec![],
                path: per.path.clone().unwrap_or("/".into()).into(),
                strip_prefix: true,
                upstream: ups[per.upstream.as_str()].clone(),
                app: AppKind::Generic,
                mode: Mode::Public,
                devices: vec![],
            });
            for h in per.hosts {
                routes
                    .insert(
                        &h,
                        per.path.as_deref().unwrap_or("/"),
                        Target::Persona(persona.clone()),
                    )
                    .unwrap();
            }
        }
        for (p, per) in ten.sites {
            let site = Arc::new(Site {
                tenant: t.as_str().into(),
                name: p.as_str().into(),
                hosts: vec![],
                upstream: ups[per.upstream.as_str()].clone(),
            });
            for h in per.hosts {
                routes.insert(&h, "/", Target::Site(site.clone())).unwrap();
            }
        }
    }
    let mut certificates = CertStore::default();
    for (i, c) in raw.tls.certificates.iter().enumerate() {
        let chain: Vec<_> = rustls_pki_types::CertificateDer::pem_file_iter(base.join(&c.cert))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let key = rustls_pki_types::PrivateKeyDer::from_pem_file(base.join(&c.key)).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        let names = parsed
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .iter()
            .filter_map(|n| match n {
                x509_parser::extensions::GeneralName::DNSName(d) => Some((*d).into()),
                _ => None,
            })
            .collect();
        let key = rustls::sign::CertifiedKey::from_der(
            chain.clone(),
            key,
            &rustls::crypto::aws_lc_rs::default_provider(),
        )
        .unwrap();
        certificates.insert(Arc::new(Certificate { id: i as u64, key: Arc::new(key), names }));
    }
    let mut limits = Limits::default();
    if let Some(l) = raw.server.limits {
        if let Some(v) = l.header_timeout {
            limits.header_timeout = secs(&v);
        }
        if let Some(v) = l.idle_timeout {
            limits.idle_timeout = secs(&v);
        }
        if let Some(v) = l.connections {
            limits.connections = v;
        }
    }
    Loaded {
        problems: vec![],
        snapshot: Some(Snapshot {
            server: ServerSettings {
                https: raw.server.https.iter().map(|a| a.parse().unwrap()).collect(),
                http: raw.server.http.iter().map(|a| a.parse().unwrap()).collect(),
                http_mode: if raw.server.http_mode.as_deref() == Some("serve") {
                    HttpMode::Serve
                } else {
                    HttpMode::Redirect
                },
                workers: raw.server.workers.unwrap_or(2),
                trusted_proxies: raw
                    .server
                    .trusted_proxies
                    .iter()
                    .map(|a| a.parse().unwrap())
                    .collect(),
                proxy_protocol: raw.server.proxy_protocol,
                drain_timeout: Duration::from_secs(60),
                limits,
            },
            admin: AdminSettings { listen: None },
            telemetry: TelemetrySettings {
                access_log: match raw.telemetry.access_log.as_deref() {
                    Some("off") => AccessLog::Off,
                    Some("stdout") | None => AccessLog::Stdout,
                    Some(p) => AccessLog::File(base.join(p)),
                },
            },
            certificates,
            routes,
            upstreams: HashMap::new(),
            tenants: HashMap::new(),
        }),
    }
}
