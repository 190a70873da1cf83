//! Who may ask.
//!
//! A web page must never operate the server through somebody's browser. Three things stand in its
//! way. Its requests say where they come from (`Origin`, `Sec-Fetch-Site`), and only pages of this
//! very listener may call it. A page whose owner points a name of its own here (DNS rebinding)
//! comes from "this very listener", but by that name: without a token only names that can mean
//! nothing but this machine are answered. And where there is a token, no page knows it.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName};

use crate::config::snapshot::AdminSettings;
use crate::gate::host::{self, Host};
use crate::rejection::{Code, Rejection};

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request needs the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Tells nothing but whether the server is well: probes have no token.
    Probe,
    /// The files of the page: they hold no data, and a browser has no token before it has them.
    Page,
    Operator,
}

pub(super) fn admit(
    head: &Parts,
    access: Access,
    settings: &AdminSettings,
) -> Result<(), Rejection> {
    let host = called_by(head)?;
    let is_open = settings.token.is_none() && access != Access::Probe;
    if is_open && !is_this_machine(&host) {
        let reason = "called by a name that a stranger could own, and there is no token";
        let detail = "call it as localhost or by its address, or configure a token";
        return Err(Rejection::new(Code::OriginNotAllowed, reason).with_detail(detail));
    }
    if !(access == Access::Page && is_opened(&head.headers)) {
        called_from(&head.headers, &host)?;
    }
    match &settings.token {
        Some(token) if access == Access::Operator => {
            let offered = bearer(&head.headers);
            if offered.is_some_and(|offered| token.is(offered.as_bytes())) {
                return Ok(());
            }
            Err(Rejection::new(Code::TokenInvalid, "a request without the right Bearer token"))
        }
        _ => Ok(()),
    }
}

/// The one host of the request: a target in absolute form names one too, and nobody is to choose
/// which of them counts.
fn called_by(head: &Parts) -> Result<Host<'_>, Rejection> {
    let unread = || Rejection::new(Code::HostInvalid, "the host cannot be read");
    let mut fields = head.headers.get_all(HOST).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(Rejection::new(Code::HostInvalid, "the request needs exactly one host"));
    };
    let named = field.to_str().map_err(|_| unread())?;
    let host = host::canonical(named).map_err(|_| unread())?;
    match head.uri.authority().map(Authority::as_str).map(host::canonical) {
        None => Ok(host),
        Some(Ok(target)) if target == host => Ok(host),
        Some(_) => Err(Rejection::new(Code::HostInvalid, "the target and the host differ")),
    }
}

/// Pages of this listener may call it, and what is no page.
fn called_from(headers: &HeaderMap, host: &Host<'_>) -> Result<(), Rejection> {
    let foreign =
        || Rejection::new(Code::OriginNotAllowed, "a web page of another origin calls this");
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Err(foreign());
    }
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().map_err(|_| foreign())?;
        let rest = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
        let authority = rest.map(host::canonical);
        if !matches!(authority, Some(Ok(authority)) if authority == *host) {
            return Err(foreign());
        }
    }
    Ok(())
}

/// Somebody follows a link to the page, which becomes a document of its own: whoever has made the link
/// neither sees nor frames it.
fn is_opened(headers: &HeaderMap) -> bool {
    let says = |name: HeaderName, word: &str| {
        let mut fields = headers.get_all(name).iter();
        fields.next().is_some_and(|value| value == word) && fields.next().is_none()
    };
    says(SEC_FETCH_MODE, "navigate")
        && says(SEC_FETCH_DEST, "document")
        && headers.get(ORIGIN).is_none()
}

/// Nobody can make these names, or an address, mean another machine.
fn is_this_machine(host: &Host<'_>) -> bool {
    let name = &*host.name;
    let is_v6 = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok()
        || is_v6.is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok())
}

/// The one token of RFC 6750, section 2.1. Nobody is to choose which of two counts.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_matches(' '))
}
