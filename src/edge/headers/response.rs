//! An upstream's answer as its client gets it.

use memchr::memchr;

use crate::apps::streamlit;
use crate::edge::coding;
use crate::embed::{self, Own, splice::Splice};
use crate::http1::fields::{Field, Fields, Known, list};
use crate::http1::head::{ResponseHead, nominated};
use crate::pipeline::{Dress, Framing as DocumentFraming};
use crate::policy::csp::{Disposition, Edit, FieldEdit, OwnScript};
use crate::policy::session::cookie::sets_session;
use crate::policy::shared_host;

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
