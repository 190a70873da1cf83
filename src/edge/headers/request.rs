//! The head that an upstream is sent.

use std::borrow::Cow;

use http::Method;

use super::write_length;
use crate::apps::streamlit;
use crate::embed::{self};
use crate::gate::target::Address;
use crate::http1::fields::{Field, Fields, Known, list};
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, Version, nominated};
use crate::http1::send::write_field;
use crate::net::address::write_address;
use crate::pipeline::{ConnectionFacts, Forward, Handshake, Passport};
use crate::policy::identity::{self, Place};
use crate::policy::session::cookie::without_sessions;
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
