//! Upstreams: addresses, TLS, deadlines.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::super::endpoints::ServerUrl;
use super::super::error::Wrong;
use super::super::file::unreadable;
use super::super::raw::{Root, Upstream as RawUpstream};
use super::super::reader::Entry;
use super::super::snapshot::{Server, ServerAddress, ServerSettings, Upstream, UpstreamTls};
use super::super::source::At;
use super::super::upstream_tls::{Authorities, client_config, server_id};
use super::super::values::Balance;
use super::Compiler;

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
    if let Some(at) = raw.balance.as_ref().filter(|at| at.value != Balance::RoundRobin) {
        let what = "not enforced yet: requests take turns among the servers in this version";
        compiler.problems.warning(at.spot, format!("{key}.balance"), Wrong::new(what, ""));
    }
    let urls: Vec<_> = raw.servers.iter().flat_map(|list| &list.value).collect();
    let authorities = authorities(raw, &urls, &key, compiler);
    let servers = urls.into_iter().filter_map(|at| {
        server(at, raw, authorities.as_ref()?, &format!("{key}.servers"), compiler)
    });
    Upstream {
        name: entry.name.clone(),
        servers: servers.collect(),
        connect_timeout: raw.connect_timeout.as_ref().map_or(CONNECT_TIMEOUT, |at| at.value.0),
        response_timeout: raw.response_timeout.as_ref().map_or(RESPONSE_TIMEOUT, |at| at.value.0),
    }
}

/// Who vouches for the servers' certificates; None where that is broken.
fn authorities(
    raw: &RawUpstream,
    urls: &[&At<ServerUrl>],
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Option<Authorities> {
    let Some(tls) = &raw.tls else { return Some(Authorities::System) };
    if !urls.is_empty() && !urls.iter().any(|url| url.value.tls) {
        let what = "no server of this upstream is reached over TLS, so that the key has no effect";
        let wrong = Wrong::new(what, "write https:// servers, or leave tls out");
        compiler.problems.error(tls.spot, format!("{key}.tls"), wrong);
    }
    let Some(ca) = &tls.value.ca else { return Some(Authorities::System) };
    let path = compiler.base.join(&ca.value.0);
    let key = format!("{key}.tls.ca");
    match compiler.sources.read(&path) {
        Ok(pem) => {
            let authorities = Authorities::Private(pem.into());
            if let Err(why) = client_config(&authorities) {
                let what = format!("{}: {why}", path.display());
                let wrong = Wrong::new(what, "write a PEM file of certificate authorities");
                compiler.problems.error(ca.spot, key, wrong);
                return None;
            }
            Some(authorities)
        }
        Err(error) => {
            let wrong = unreadable(&path.display().to_string(), &error);
            compiler.problems.error(ca.spot, key, wrong);
            None
        }
    }
}

fn server(
    at: &At<ServerUrl>,
    raw: &RawUpstream,
    authorities: &Authorities,
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
    match client_config(authorities) {
        Ok(config) => {
            let id = server_id(&address, Some((authorities, &name)));
            Some(Server { address, tls: Some(UpstreamTls { config, server_name: name }), id })
        }
        Err(why) => {
            let remedy = "install them (Debian: ca-certificates), or write tls = { ca = \"FILE\" }";
            compiler.problems.error(at.spot, key, Wrong::new(why, remedy));
            None
        }
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
