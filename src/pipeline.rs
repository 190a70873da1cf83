//! The spine: what happens to every request, in order.
//!
//! [`admit`] decides from a head, the facts of its connection and one snapshot. It opens no
//! socket, reads no clock, and answers with data: forward this there, redirect, or refuse.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use crate::apps::streamlit::{self, Endpoint};
use crate::config::snapshot::{AppKind, HttpMode, Persona, Site, Snapshot, Upstream};
use crate::gate::target::{self, Address};
use crate::http1::fields::Known;
use crate::http1::head::{RequestHead, Version};
use crate::policy::csp::CompiledCsp;
use crate::rejection::{Code, Rejection};
use crate::route::Target;

/// What is known about a connection before its first request.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// The client's address: the peer's, or what a PROXY header said.
    pub client: IpAddr,
    /// The peer may speak for others (`trusted_proxies`).
    pub trusted: bool,
    pub scheme: Scheme,
    /// The server name of the TLS handshake, canonical.
    pub server_name: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Whose address it is.
#[derive(Debug, Clone)]
pub enum Owner {
    Persona(Arc<Persona>),
    /// A persona's device: an index into its `devices`.
    Device(Arc<Persona>, usize),
    Site(Arc<Site>),
}

impl Owner {
    pub fn tenant(&self) -> &Arc<str> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) => &persona.tenant,
            Owner::Site(site) => &site.tenant,
        }
    }

    /// The persona's or the site's name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) => &persona.name,
            Owner::Site(site) => &site.name,
        }
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) => &persona.upstream,
            Owner::Site(site) => &site.upstream,
        }
    }

    pub fn persona(&self) -> Option<&Arc<Persona>> {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) => Some(persona),
            Owner::Site(_) => None,
        }
    }

    fn strips_prefix(&self) -> bool {
        match self {
            Owner::Persona(persona) | Owner::Device(persona, _) => persona.strip_prefix,
            Owner::Site(_) => false,
        }
    }
}

/// The answer of [`admit`].
#[derive(Debug)]
pub struct Admission<'h> {
    /// Present once the gate was passed.
    pub address: Option<Address<'h>>,
    /// Present once the route was found.
    pub owner: Option<Owner>,
    pub verdict: Result<Action, Rejection>,
}

#[derive(Debug)]
pub enum Action {
    Forward(Forward),
    /// 308 to this location.
    Redirect(String),
    /// Answered here, in the app's place.
    Answer(Answer),
}

/// An answer of ours to a question that apps are asked.
#[derive(Debug)]
pub enum Answer {
    /// Streamlit's `/_stcore/host-config` of this persona.
    HostConfig(Arc<Persona>),
}

/// Where a request goes.
#[derive(Debug)]
pub struct Forward {
    /// Path and query as the upstream receives them.
    pub target: String,
    pub websocket: Option<Handshake>,
    pub dress: Dress,
}

/// What is done to the upstream's answer on its way out.
#[derive(Debug, Clone, Default)]
pub struct Dress {
    pub owner: Option<Owner>,
    pub framing: Framing,
}

/// Which answers say who may frame them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Those that are HTML.
    #[default]
    Html,
    /// Every one: this path is a document, and a 304 of it too.
    Document,
}

impl Dress {
    /// The framing policy of the owner.
    pub fn csp(&self) -> Option<&CompiledCsp> {
        match self.owner.as_ref()? {
            Owner::Persona(persona) | Owner::Device(persona, _) => Some(&persona.framing),
            Owner::Site(site) => Some(&site.framing),
        }
    }

    /// Whether Streamlit's cookies need to work inside a frame of another site.
    pub fn frames_streamlit(&self) -> bool {
        self.owner.as_ref().and_then(Owner::persona).is_some_and(|p| p.app == AppKind::Streamlit)
    }
}

/// A WebSocket handshake that is well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// HTTP/1.1: the client's own key passes.
    Upgrade,
    /// HTTP/2 extended CONNECT: a key is made for the upstream.
    Connect,
}

/// Decides about one request.
pub fn admit<'h>(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &'h RequestHead,
) -> Admission<'h> {
    let address = match target::address(head) {
        Ok(address) => address,
        Err(rejection) => {
            return Admission { address: None, owner: None, verdict: Err(rejection) };
        }
    };
    let mut owner = None;
    let verdict = decide(snapshot, connection, head, &address, &mut owner);
    Admission { address: Some(address), owner, verdict }
}

fn decide(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    head: &RequestHead,
    address: &Address<'_>,
    owner: &mut Option<Owner>,
) -> Result<Action, Rejection> {
    expectation(head)?;
    let is_plain =
        connection.scheme == Scheme::Http && snapshot.server.http_mode == HttpMode::Redirect;
    if is_plain {
        return redirect_to_https(snapshot, address);
    }
    let found = snapshot
        .routes
        .find(&address.host.name, &address.path)
        .ok_or(Rejection::new(Code::NotFound, "no persona or site has this address"))?;
    certificate(snapshot, connection, address)?;
    let owner = owner.insert(match found.target {
        Target::Persona(persona) => Owner::Persona(Arc::clone(persona)),
        Target::Device(persona, index) => Owner::Device(Arc::clone(persona), *index),
        Target::Site(site) => Owner::Site(Arc::clone(site)),
    });
    let websocket = handshake(head)?;
    let is_prefix = found.prefix_len > 0 && found.prefix_len == address.path.len();
    if is_prefix && websocket.is_none() && may_redirect(&head.method) {
        // Relative assets of the page resolve only below the prefix.
        return Ok(Action::Redirect(with_query(&format!("{}/", address.path), address.query)));
    }
    body_limit(snapshot, head)?;
    let path = if owner.strips_prefix() {
        match &address.path[found.prefix_len..] {
            "" => "/",
            rest => rest,
        }
    } else {
        &address.path
    };
    let framing = match owner.persona() {
        None => Framing::Html,
        Some(persona) => match app(persona, head, path)? {
            Endpoint::HostConfig => {
                return Ok(Action::Answer(Answer::HostConfig(Arc::clone(persona))));
            }
            Endpoint::Page => Framing::Document,
            _ => Framing::Html,
        },
    };
    let dress = Dress { owner: Some(owner.clone()), framing };
    Ok(Action::Forward(Forward { target: with_query(path, address.query), websocket, dress }))
}

/// What a path is to the app behind it. `path` is as the app sees it.
fn app(persona: &Persona, head: &RequestHead, path: &str) -> Result<Endpoint, Rejection> {
    match persona.app {
        AppKind::Streamlit => {
            let base = if persona.strip_prefix { "" } else { persona.path.trim_end_matches('/') };
            match streamlit::endpoint(path, base) {
                Endpoint::Closed => {
                    Err(Rejection::new(Code::PathClosed, "a path that Streamlit keeps for itself"))
                }
                Endpoint::HostConfig if !matches!(head.method, Method::GET | Method::HEAD) => {
                    Err(Rejection::new(Code::MethodNotAllowed, "host-config is only read"))
                }
                endpoint => Ok(endpoint),
            }
        }
        AppKind::Generic if path == "/" => Ok(Endpoint::Page),
        _ => Ok(Endpoint::Asset),
    }
}

fn expectation(head: &RequestHead) -> Result<(), Rejection> {
    let mut expectations = head.fields.all(Known::Expect);
    let known = expectations.next().is_none_or(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if known && expectations.next().is_none() {
        return Ok(());
    }
    Err(Rejection::new(Code::ExpectationFailed, "an Expect other than 100-continue"))
}

fn redirect_to_https(snapshot: &Snapshot, address: &Address<'_>) -> Result<Action, Rejection> {
    if !snapshot.routes.knows_host(&address.host.name) {
        return Err(Rejection::new(Code::NotFound, "no persona or site has this host"));
    }
    let port = match snapshot.server.https.first().map(std::net::SocketAddr::port) {
        None | Some(443 | 0) => String::new(),
        Some(port) => format!(":{port}"),
    };
    let origin = format!("https://{}{port}", address.host.name);
    Ok(Action::Redirect(with_query(&format!("{origin}{}", address.path), address.query)))
}

/// A connection whose certificate is not this host's must not speak for it (RFC 9110, 7.4).
fn certificate(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    address: &Address<'_>,
) -> Result<(), Rejection> {
    let Some(server_name) = &connection.server_name else { return Ok(()) };
    if **server_name == *address.host.name {
        return Ok(());
    }
    let id = |name: &str| snapshot.certificates.find(name).map(|certificate| certificate.id);
    if id(server_name).is_some() && id(server_name) == id(&address.host.name) {
        return Ok(());
    }
    Err(Rejection::new(Code::Misdirected, "SNI and host have different certificates"))
}

fn handshake(head: &RequestHead) -> Result<Option<Handshake>, Rejection> {
    if head.version == Version::Http2 {
        return Ok(head.protocol.as_ref().map(|_| Handshake::Connect));
    }
    let asks = head.version == Version::Http11
        && head.connection.upgrade
        && head.fields.all(Known::Upgrade).any(|value| value.eq_ignore_ascii_case(b"websocket"));
    if !asks {
        return Ok(None);
    }
    let key = head.fields.single(Known::SecWebSocketKey);
    // 16 bytes in base64: 22 characters and "==".
    let sound = head.method == Method::GET
        && head.fields.single(Known::Upgrade).is_some()
        && head.fields.single(Known::SecWebSocketVersion).is_some()
        && key.is_some_and(|key| key.len() == 24 && key.ends_with(b"=="));
    if sound {
        Ok(Some(Handshake::Upgrade))
    } else {
        Err(Rejection::new(Code::UpgradeInvalid, "a malformed WebSocket handshake"))
    }
}

fn body_limit(snapshot: &Snapshot, head: &RequestHead) -> Result<(), Rejection> {
    match head.framing {
        crate::http1::framing::Framing::Length(length)
            if length > snapshot.server.limits.body_bytes =>
        {
            Err(Rejection::new(Code::BodyTooLarge, "Content-Length exceeds body_bytes"))
        }
        _ => Ok(()),
    }
}

/// Navigations, form posts among them. A CORS preflight would not follow.
fn may_redirect(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        None => path.to_owned(),
        Some(query) => [path, "?", query].concat(),
    }
}
