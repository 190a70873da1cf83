//! Header fields on their way through: what is removed, what is set, in both directions.
//!
//! Trusted fields are always set or removed, on every path, upgrades included. A field that a
//! client nominates in Connection is its own loss; framing and Host cannot be nominated.

use std::borrow::Cow;
use std::net::IpAddr;

use http::Method;
use memchr::memchr;

use super::coding;
use crate::apps::streamlit;
use crate::embed::{self, Own, splice::Splice};
use crate::gate::target::Address;
use crate::http1::fields::{Field, Fields, Known, list};
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, ResponseHead, Version, nominated};
use crate::http1::send::write_field;
use crate::pipeline::{
    ConnectionFacts, Dress, Forward, Framing as DocumentFraming, Handshake, Passport,
};
use crate::policy::csp::{Disposition, Edit, FieldEdit, OwnScript};
use crate::policy::identity::{self, Place};
use crate::policy::session::cookie::{sets_session, without_sessions};
use crate::policy::session::prefix;
use crate::policy::shared_host;
use crate::telemetry::trace::Context;

/// What the upstream's request head is made of.
pub struct Outbound<'a> {
    pub head: &'a RequestHead,
    pub address: &'a Address<'a>,
    pub forward: &'a Forward,
    pub connection: &'a ConnectionFacts,
    pub request_id: &'a [u8],
    /// Its place in its trace; none where nothing is sent.
    pub trace: Option<&'a Context>,
    /// For a WebSocket that arrived over HTTP/2.
    pub websocket_key: Option<&'a str>,
    /// The app's own cookies, kept for a browser that keeps none.
    pub cookies: Option<&'a str>,
    /// What the page would send if it could read those cookies.
    pub xsrf: Option<&'a str>,
}

/// Writes the request head for the upstream and tells how its body is framed. `assert` adds the
/// assertion, where the app can check one.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &Outbound<'_>,
    assert: impl FnOnce(&mut Vec<u8>),
) -> Framing {
    let head = request.head;
    let websocket = request.forward.websocket;
    let method = if websocket.is_some() { &Method::GET } else { &head.method };
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.forward.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, b"Host", request.address.authority.as_bytes());
    for field in head.fields.iter() {
        if passes_upstream(&field, head, request.connection.trusted)
            && !is_replaced(&field, request)
        {
            let is_referer =
                field.known == Known::Other && field.name.eq_ignore_ascii_case(b"referer");
            match is_referer {
                true => write_field(out, field.name, &prefix::without_token(field.value)),
                false => write_field(out, field.name, field.value),
            }
        }
    }
    write_cookies(out, &head.fields, request);
    if let Some(subprotocols) = &request.forward.subprotocols {
        write_field(out, b"Sec-WebSocket-Protocol", subprotocols);
    }
    if let Some(token) = request.xsrf {
        write_field(out, XSRF, token.as_bytes());
    }
    if request.forward.dress.bridge {
        out.extend_from_slice(b"Accept-Encoding: identity\r\n");
    }
    if let Some(passport) = &request.forward.passport {
        write_identity(out, passport);
        assert(out);
    }
    if websocket.is_none() && accepts_trailers(&head.fields) {
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    write_forwarded(out, request);
    write_field(out, b"X-Request-Id", request.request_id);
    write_trace(out, request);
    let framing = match websocket {
        Some(_) => Framing::Empty,
        None => head.framing,
    };
    match framing {
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Empty | Framing::UntilClose => {}
    }
    if websocket.is_some() {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    }
    if let (Some(Handshake::Connect), Some(key)) = (websocket, request.websocket_key) {
        write_field(out, b"Sec-WebSocket-Key", key.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn passes_upstream(field: &Field<'_>, head: &RequestHead, trusted: bool) -> bool {
    let set_by_us = match field.known {
        Known::Host | Known::ContentLength | Known::Identity | Known::Disguised | Known::Proxy => {
            true
        }
        Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedProto
        | Known::Forwarded
        | Known::XRequestId
        | Known::Traceparent
        | Known::Tracestate => true,
        Known::XForwardedPort | Known::XForwardedOther | Known::XRealIp => !trusted,
        Known::Cookie => true,
        Known::Expect => head.version == Version::Http10,
        Known::SecWebSocketKey => head.version == Version::Http2,
        known => known.is_hop_by_hop(),
    };
    let is_nominated = || head.connection.nominates && nominated(&head.fields, field.name);
    !set_by_us && !is_nominated()
}

const XSRF: &[u8] = b"X-Xsrftoken";

/// What another value takes the place of: a page into which something is written comes whole and
/// uncompressed.
fn is_replaced(field: &Field<'_>, request: &Outbound<'_>) -> bool {
    let forward = request.forward;
    match field.known {
        Known::Authorization => {
            let owner = forward.dress.owner.as_ref();
            let password = owner.and_then(|owner| owner.front().password.as_ref());
            password.is_some_and(|password| !password.forwards)
        }
        Known::SecWebSocketProtocol => forward.subprotocols.is_some(),
        Known::AcceptEncoding | Known::Range | Known::Other => {
            forward.dress.bridge && embed::asks_for_less(field.name)
                || request.xsrf.is_some() && field.name.eq_ignore_ascii_case(XSRF)
                || forward.dress.frames_streamlit() && streamlit::is_trusted(field.name)
        }
        _ => false,
    }
}

/// One Cookie field without sessions of ours: HTTP/2 lets a client split it (RFC 9113, section
/// 8.2.3), and what the browser does not keep is added.
fn write_cookies(out: &mut Vec<u8>, fields: &Fields, request: &Outbound<'_>) {
    let is_bound = request.forward.dress.scope.is_some();
    let kept = request.cookies.map(|kept| Cow::Borrowed(kept.as_bytes()));

    let mut separator: &[u8] = b"Cookie: ";
    let sent = fields.all(Known::Cookie).filter_map(without_sessions);
    for cookie in sent.chain(kept) {
        out.extend_from_slice(separator);
        match is_bound {
            true => out.extend_from_slice(&shared_host::named_back(&cookie)),
            false => out.extend_from_slice(&cookie),
        }
        separator = b"; ";
    }
    if separator == b"; " {
        out.extend_from_slice(b"\r\n");
    }
}

/// Who is asking. A client's own fields of these names were left out.
fn write_identity(out: &mut Vec<u8>, passport: &Passport) {
    let persona = &passport.persona;
    let place = Place { tenant: &persona.tenant, persona: &persona.name };
    for (name, value) in identity::headers(place, &passport.identity, passport.session.as_ref()) {
        write_field(out, name.as_bytes(), value.as_bytes());
    }
    for (name, value) in passport.launched.iter().flat_map(|launched| launched.variables.headers())
    {
        write_field(out, name.as_bytes(), value.as_bytes());
    }
}

/// The upstream's spans are children of ours, whoever began the trace (W3C Trace Context).
fn write_trace(out: &mut Vec<u8>, request: &Outbound<'_>) {
    let Some(trace) = request.trace else { return };
    write_field(out, b"traceparent", &trace.traceparent());
    if let Some(state) = trace.tracestate(&request.head.fields) {
        out.extend_from_slice(b"tracestate: ");
        state.write(out);
        out.extend_from_slice(b"\r\n");
    }
}

fn accepts_trailers(fields: &Fields) -> bool {
    fields.all(Known::Te).any(|te| list(te).any(|coding| coding.eq_ignore_ascii_case(b"trailers")))
}

fn write_forwarded(out: &mut Vec<u8>, request: &Outbound<'_>) {
    let connection = request.connection;
    let fields = &request.head.fields;
    let said = |known| if connection.trusted { fields.get(known) } else { None };
    out.extend_from_slice(b"X-Forwarded-For: ");
    if connection.trusted {
        for chain in fields.all(Known::XForwardedFor) {
            out.extend_from_slice(chain);
            out.extend_from_slice(b", ");
        }
    }
    let start = out.len();
    write_address(out, connection.client);
    let address = start..out.len();
    out.extend_from_slice(b"\r\n");
    let proto = said(Known::XForwardedProto).unwrap_or(connection.scheme.as_str().as_bytes());
    write_field(out, b"X-Forwarded-Proto", proto);
    let host = said(Known::XForwardedHost).unwrap_or(request.address.authority.as_bytes());
    write_field(out, b"X-Forwarded-Host", host);
    out.extend_from_slice(b"Forwarded: ");
    if connection.trusted {
        for chain in fields.all(Known::Forwarded) {
            out.extend_from_slice(chain);
            out.extend_from_slice(b", ");
        }
    }
    // RFC 7239, section 6: an IPv6 address is quoted and in brackets.
    out.extend_from_slice(b"for=");
    let quoted = connection.client.is_ipv6();
    out.extend_from_slice(if quoted { b"\"[" } else { b"" });
    out.extend_from_within(address);
    out.extend_from_slice(if quoted { b"]\"" } else { b"" });
    out.extend_from_slice(b";host=\"");
    out.extend_from_slice(request.address.authority.as_bytes());
    out.extend_from_slice(b"\";proto=");
    out.extend_from_slice(connection.scheme.as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Which fields of an upstream's response reach the client. `Trailer` fields too.
pub fn response_fields(head: &ResponseHead) -> impl Iterator<Item = Field<'_>> {
    head.fields.iter().filter(|field| {
        let dropped = field.known.is_hop_by_hop()
            || matches!(field.known, Known::ContentLength | Known::XRequestId | Known::Identity)
            || field.known == Known::SetCookie && sets_session(field.value);
        let is_nominated = || head.connection.nominates && nominated(&head.fields, field.name);
        !dropped && !is_nominated()
    })
}

/// The fields of an upstream's interim response. Cookies wait for the final one.
pub fn interim_fields(head: &ResponseHead) -> impl Iterator<Item = Field<'_>> {
    response_fields(head).filter(|field| field.known != Known::SetCookie)
}

/// The fields of an upstream's final response as the client gets them: framing policies merged,
/// cookies made to work in a frame or kept for the page, ours added.
pub fn dressed_fields(head: &ResponseHead, dress: &Dress, mut put: impl FnMut(&[u8], &[u8])) {
    let is_document = dress.framing == DocumentFraming::Document || may_be_page(head);
    let csp = if is_document { dress.csp() } else { None };
    let edit = csp.map(|csp| {
        let policies = head.fields.iter().filter_map(|field| {
            Disposition::of(field.name).map(|disposition| (disposition, field.value))
        });
        csp.edit(policies)
    });
    let is_written_into = dress.bridge && is_html(&head.fields) && Splice::fits(head);
    let sets_session = dress.fields.iter().any(|(name, _)| *name == "Set-Cookie");
    let verdict = coding::verdict(dress);
    let front = dress.owner.as_ref().map(|owner| &owner.front().headers);
    for field in response_fields(head) {
        let is_about_original = is_written_into && embed::tells_of_original(field.name)
            || sets_session && is_for_caches(field.name)
            || front.is_some_and(|front| front.replaces(field.name))
            || coding::replaces(verdict, &field, &mut put);
        if !is_about_original && edit.as_ref().is_none_or(|edit| !replaces(edit, field.name)) {
            dressed_field(&field, dress, &mut put);
        }
    }
    for (name, value) in &dress.fields {
        put(name.as_bytes(), value.as_bytes());
    }
    coding::add(verdict, &head.fields, &mut put);
    for (name, value) in front.into_iter().flat_map(|front| front.joining(dress.is_https)) {
        let is_said = dress.fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
            || sets_session && is_for_caches(name.as_bytes());
        if !is_said {
            put(name.as_bytes(), value.as_bytes());
        }
    }
    if sets_session {
        put(b"Cache-Control", if forbids_storing(&head.fields) { b"no-store" } else { PRIVATE });
    }
    let Some(edit) = &edit else { return };
    for (disposition, change) in
        [(Disposition::Enforce, &edit.enforce), (Disposition::Report, &edit.report)]
    {
        if let FieldEdit::Set(policy) = change {
            put(disposition.field_name().as_bytes(), policy.as_bytes());
        }
    }
}

/// The fields of the answer to a WebSocket handshake.
pub fn switch_fields(head: &ResponseHead, dress: &Dress, mut put: impl FnMut(&[u8], &[u8])) {
    for field in response_fields(head) {
        dressed_field(&field, dress, &mut put);
    }
    for (name, value) in &dress.fields {
        put(name.as_bytes(), value.as_bytes());
    }
}

fn dressed_field(field: &Field<'_>, dress: &Dress, put: &mut impl FnMut(&[u8], &[u8])) {
    match (field.known, &dress.under) {
        (Known::AccessControl, _) if dress.replaces_cors => {}
        (Known::SetCookie, Some(under)) => under.keep(field.value),
        (Known::SetCookie, None) => put_cookie(field, dress, put),
        (Known::Location, Some(under)) => put(field.name, &under.located(field.value)),
        (Known::Other, _)
            if dress.scope.is_some() && shared_host::speaks_for_the_host(field.name) => {}
        (Known::Other, Some(_)) if field.name.eq_ignore_ascii_case(b"referrer-policy") => {}
        _ => put(field.name, field.value),
    }
}

fn put_cookie(field: &Field<'_>, dress: &Dress, put: &mut impl FnMut(&[u8], &[u8])) {
    let framed = match dress.frames_streamlit() {
        true => streamlit::framed_xsrf_cookie(field.value),
        false => None,
    };
    let cookie = framed.as_deref().unwrap_or(field.value);
    match &dress.scope {
        Some(scope) => put(field.name, &scope.bound(cookie)),
        None => put(field.name, cookie),
    }
}

/// The script element to write into this answer, if it is a page; with the page's own nonce where
/// its policy asks for one.
pub fn splice(head: &ResponseHead, dress: &Dress) -> Option<Splice> {
    let owner = dress.owner.as_ref().filter(|_| dress.bridge)?;
    let persona = owner.persona()?;
    let device = owner.device().map(|slug| &**slug);
    let bridge = persona.bridge.as_ref().filter(|_| is_html(&head.fields))?;
    let policies = head.fields.iter().filter_map(|field| {
        Disposition::of(field.name).map(|disposition| (disposition, field.value))
    });
    let nonce = match persona.framing.edit(policies).own_script {
        OwnScript::NeedsNonce(nonce) => Some(nonce),
        // Where nothing admits it, the browser's console says so.
        OwnScript::Admitted | OwnScript::Blocked => None,
    };
    let launch = dress.launch.as_ref().map(|launch| launch.write(&persona.keys));
    let own = Own { launch: launch.as_deref(), nonce: nonce.as_deref() };
    Some(Splice::new(bridge.element(device, own).into_bytes().into()))
}

fn is_html(fields: &Fields) -> bool {
    let html = b"text/html";
    fields
        .get(Known::ContentType)
        .and_then(|value| value.get(..html.len()))
        .is_some_and(|value| value.eq_ignore_ascii_case(html))
}

/// What a browser may show as a page, whatever the app means by it: HTML, what may hold scripts as
/// HTML does, and what it would look into to find out (MIME Sniffing standard, section 7). Of
/// several types it takes one, and who knows which.
fn may_be_page(head: &ResponseHead) -> bool {
    const TYPES: [&[u8]; 6] = [
        b"text/html",
        b"text/xml",
        b"application/xml",
        b"*/*",
        b"unknown/unknown",
        b"application/unknown",
    ];
    let is_page = |value: &[u8]| {
        let essence = value[..memchr(b';', value).unwrap_or(value.len())].trim_ascii();
        let end = |end: &[u8]| essence.get(essence.len().saturating_sub(end.len())..);
        memchr(b'/', essence).is_none()
            || TYPES.iter().any(|page| essence.eq_ignore_ascii_case(page))
            || end(b"+xml").is_some_and(|end| end.eq_ignore_ascii_case(b"+xml"))
    };
    let has_page = |value: &[u8]| match memchr(b',', value) {
        None => is_page(value),
        Some(_) => value.split(|&b| b == b',').any(is_page),
    };
    match head.fields.get(Known::ContentType) {
        None => head.framing.has_body(),
        Some(_) => head.fields.all(Known::ContentType).any(has_page),
    }
}

/// What is said of an answer that sets a session: no cache on the way may hand it to others.
const PRIVATE: &[u8] = b"private, no-cache";

/// Fields that tell caches how long they may keep an answer.
fn is_for_caches(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 5] =
        [b"cache-control", b"cdn-cache-control", b"expires", b"pragma", b"surrogate-control"];
    FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
}

fn forbids_storing(fields: &Fields) -> bool {
    let is_cache_control = |field: &Field<'_>| field.name.eq_ignore_ascii_case(b"cache-control");
    let mut directives = fields.iter().filter(is_cache_control).flat_map(|it| list(it.value));
    directives.any(|directive| directive.eq_ignore_ascii_case(b"no-store"))
}

/// Whether the upstream's field of that name does not pass.
fn replaces(edit: &Edit<'_>, name: &[u8]) -> bool {
    match Disposition::of(name) {
        Some(Disposition::Enforce) => edit.enforce != FieldEdit::Keep,
        Some(Disposition::Report) => edit.report != FieldEdit::Keep,
        None => edit.drops_frame_options && name.eq_ignore_ascii_case(b"x-frame-options"),
    }
}

/// Trailers that may pass: nothing that frames, routes or authenticates (RFC 9110, 6.5.1).
pub fn is_trailer(known: Known) -> bool {
    !known.is_hop_by_hop()
        && !matches!(
            known,
            Known::Authorization
                | Known::ContentEncoding
                | Known::ContentLength
                | Known::ContentType
                | Known::Cookie
                | Known::Disguised
                | Known::Expect
                | Known::Forwarded
                | Known::Host
                | Known::Identity
                | Known::Location
                | Known::Origin
                | Known::Proxy
                | Known::SecWebSocketAccept
                | Known::SecWebSocketKey
                | Known::SecWebSocketVersion
                | Known::SetCookie
                | Known::Trailer
                | Known::XForwardedFor
                | Known::XForwardedHost
                | Known::XForwardedOther
                | Known::XForwardedPort
                | Known::XForwardedProto
                | Known::XRealIp
                | Known::XRequestId
        )
}

pub fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The formatting machinery of the standard library costs more here than all of the above.
fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    use std::io::Write;
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests;
