//! Upstreams: addresses, TLS, deadlines; [`policy`] has how servers are chosen and spared.

mod policy;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::super::endpoints::ServerUrl;
use super::super::error::{Problems, Wrong};
use super::super::raw::{Root, Upstream as RawUpstream, UpstreamTls as RawTls};
use super::super::reader::Entry;
use super::super::snapshot::{
    AppKind, Persona, Server, ServerAddress, ServerSettings, Tenant, Upstream, UpstreamTls,
};
use super::super::source::At;
use super::super::upstream_tls::{Authorities, ClientCertificate, Trust, client_config, server_id};
use super::{Compiler, certificates};
use crate::telemetry::metrics::Slot;
use crate::upstream::policy::Balance;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

pub fn compile(root: &Root, compiler: &mut Compiler<'_>) -> HashMap<Arc<str>, Arc<Upstream>> {
    let entries = root.upstreams.iter().flat_map(|at| at.value.iter());
    entries.map(|entry| (entry.name.clone(), Arc::new(upstream(entry, compiler)))).collect()
}

fn upstream(entry: &Entry<RawUpstream>, compiler: &mut Compiler<'_>) -> Upstream {
    let raw = &*entry.value;
    let key = format!("upstreams.{}", entry.name);
    if let Some(at) = raw.servers.as_ref().filter(|at| at.value.is_empty()) {
        let wrong = Wrong::new("the list is empty", "write servers = [\"http://127.0.0.1:8501\"]");
        compiler.problems.error(at.spot, format!("{key}.servers"), wrong);
    }
    let urls: Vec<_> = raw.servers.iter().flat_map(|list| &list.value).collect();
    warn_of_repeated(&urls, &format!("{key}.servers"), compiler);
    let policy = policy::compile(raw, &key, compiler);
    let has_name = urls.iter().any(|at| matches!(at.value.address, ServerAddress::Name(..)));
    if let Some(at) = raw.resolve_interval.as_ref().filter(|_| !has_name) {
        let wrong =
            Wrong::new("no server has a name, so that the key has no effect", "leave it out");
        compiler.problems.error(at.spot, format!("{key}.resolve_interval"), wrong);
    }
    let trust = trust(raw, &urls, &key, compiler);
    let servers = urls
        .into_iter()
        .filter_map(|at| server(at, raw, trust.as_ref()?, &format!("{key}.servers"), compiler));
    Upstream {
        policy,
        name: entry.name.clone(),
        servers: servers.collect(),
        connect_timeout: raw.connect_timeout.as_ref().map_or(CONNECT_TIMEOUT, |at| at.value.0),
        response_timeout: raw.response_timeout.as_ref().map_or(RESPONSE_TIMEOUT, |at| at.value.0),
        meters: Slot::default(),
    }
}

/// One server is one server, however often it is named.
fn warn_of_repeated(urls: &[&At<ServerUrl>], key: &str, compiler: &mut Compiler<'_>) {
    for (index, at) in urls.iter().enumerate() {
        if urls[..index].iter().any(|before| before.value == at.value) {
            let what = "the server stands here twice, and gets the share of one";
            let wrong = Wrong::new(what, "leave it out");
            compiler.problems.warning(at.spot, key, wrong);
        }
    }
}

/// Who vouches for the servers' certificates, and who for us; None where that is broken.
fn trust(
    raw: &RawUpstream,
    urls: &[&At<ServerUrl>],
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Option<Trust> {
    let Some(tls) = &raw.tls else { return Some(Trust::default()) };
    if !urls.is_empty() && !urls.iter().any(|url| url.value.tls) {
        let what = "no server of this upstream is reached over TLS, so that the key has no effect";
        let wrong = Wrong::new(what, "write https:// servers, or leave tls out");
        compiler.problems.error(tls.spot, format!("{key}.tls"), wrong);
    }
    let key = format!("{key}.tls");
    let authorities = authorities(&tls.value, &key, compiler);
    let client = client_certificate(&tls.value, &key, compiler);
    Some(Trust { authorities: authorities?, client: client? })
}

fn authorities(raw: &RawTls, key: &str, compiler: &mut Compiler<'_>) -> Option<Authorities> {
    let Some(ca) = &raw.ca else { return Some(Authorities::System) };
    let key = format!("{key}.ca");
    let authorities = Authorities::Private(certificates::read(ca, &key, compiler)?.into());
    let trust = Trust { authorities, client: None };
    if let Err(why) = client_config(&trust) {
        let what = format!("{}: {why}", compiler.base.join(&ca.value.0).display());
        let wrong = Wrong::new(what, "write a PEM file of certificate authorities");
        compiler.problems.error(ca.spot, key, wrong);
        return None;
    }
    Some(trust.authorities)
}

/// The certificate that servers are shown, if any; None where it is broken.
fn client_certificate(
    raw: &RawTls,
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Option<Option<ClientCertificate>> {
    let (cert, private) = match (&raw.cert, &raw.key) {
        (None, None) => return Some(None),
        (Some(cert), Some(private)) => (cert, private),
        (Some(one), None) | (None, Some(one)) => {
            let what = "a certificate and its private key belong together";
            let wrong = Wrong::new(what, "write cert = \"FILE\" and key = \"FILE\"");
            compiler.problems.error(one.spot, key, wrong);
            return None;
        }
    };
    let chain = certificates::read(cert, &format!("{key}.cert"), compiler);
    let pem = certificates::read(private, &format!("{key}.key"), compiler);
    certificates::check_mode(private, &format!("{key}.key"), compiler);
    match ClientCertificate::from_pem(&chain?, &pem?) {
        Ok(certificate) => Some(Some(certificate)),
        Err(why) => {
            let what = format!("{}: {why}", compiler.base.join(&cert.value.0).display());
            let remedy = "write a PEM file that begins with the certificate, and one with its key";
            compiler.problems.error(cert.spot, format!("{key}.cert"), Wrong::new(what, remedy));
            None
        }
    }
}

fn server(
    at: &At<ServerUrl>,
    raw: &RawUpstream,
    trust: &Trust,
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Option<Server> {
    let address = at.value.address.clone();
    if !at.value.tls {
        let id = server_id(&address, None);
        return Some(Server { address, tls: None, id });
    }
    let named = raw.tls.as_ref().and_then(|tls| tls.value.server_name.as_ref());
    let name = match (named, &address) {
        (Some(at), _) => at.value.0.clone(),
        (None, ServerAddress::Ip(address)) => ServerName::from(address.ip()),
        (None, ServerAddress::Name(host, _)) => ServerName::try_from(host.to_string()).ok()?,
        (None, ServerAddress::Unix(_)) => return None,
    };
    match client_config(trust) {
        Ok(config) => {
            let id = server_id(&address, Some((trust, &name)));
            Some(Server { address, tls: Some(UpstreamTls { config, server_name: name }), id })
        }
        Err(why) => {
            let remedy = "install them (Debian: ca-certificates), or write tls = { ca = \"FILE\" }";
            compiler.problems.error(at.spot, key, Wrong::new(why, remedy));
            None
        }
    }
}

/// Apps that keep what they know of a session in one process need its requests to go there.
pub fn warn_of_spread<'t>(
    root: &Root,
    tenants: impl Iterator<Item = &'t Tenant>,
    problems: &mut Problems,
) {
    let mut stateful: HashMap<&str, &Persona> = HashMap::new();
    for persona in tenants.flat_map(|tenant| &tenant.personas) {
        let spreads = matches!(
            persona.upstream.policy.balance,
            Balance::RoundRobin | Balance::LeastConnections
        );
        let keeps = matches!(persona.app, AppKind::Streamlit | AppKind::SocketIo | AppKind::Rasa);
        if spreads && keeps && persona.upstream.servers.len() > 1 {
            let named = stateful.entry(&persona.upstream.name).or_insert(persona);
            // Always the same one, whatever the order of a map.
            if (&persona.tenant, &persona.name) < (&named.tenant, &named.name) {
                *named = persona;
            }
        }
    }
    for entry in root.upstreams.iter().flat_map(|at| at.value.iter()) {
        let Some(persona) = stateful.get(&*entry.name) else { continue };
        let Some(at) = &entry.value.servers else { continue };
        let what = format!(
            "each request may go to another server, and the app of {}/{} keeps its sessions in one",
            persona.tenant, persona.name
        );
        let wrong = Wrong::new(what, "write balance = \"sticky\"");
        problems.warning(at.spot, format!("upstreams.{}.servers", entry.name), wrong);
    }
}

/// A server that is one of our own listeners would be asked for ever.
pub fn refuse_loops(root: &Root, server: &ServerSettings, compiler: &mut Compiler<'_>) {
    let listeners: Vec<_> = server.https.iter().chain(&server.http).collect();
    for entry in root.upstreams.iter().flat_map(|at| at.value.iter()) {
        for at in entry.value.servers.iter().flat_map(|list| &list.value) {
            let ServerAddress::Ip(address) = &at.value.address else { continue };
            if let Some(own) = listeners.iter().find(|own| reaches(***own, *address)) {
                let what = format!("{address} is Vestibule's own listener {own}: a loop");
                let wrong = Wrong::new(what, "write the address of the app");
                let key = format!("upstreams.{}.servers", entry.name);
                compiler.problems.error(at.spot, key, wrong);
            }
        }
    }
}

fn reaches(listener: SocketAddr, server: SocketAddr) -> bool {
    let any = listener.ip().is_unspecified() && server.ip().is_loopback();
    listener.port() == server.port() && (listener.ip() == server.ip() || any)
}
