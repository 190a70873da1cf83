//! What a request is to its app: a launch, a message, or anything else.
//!
//! A launch meets signature, metadata and limits; a message meets limits; everything else is a
//! sub-request, which needs the session where identity is required and costs nothing. So that the
//! limits cannot lock anybody out of a page, an asset, health probe, poll or socket frame must
//! never come out as a launch or a message; so that they mean something, whatever starts a
//! conversation must.
//!
//! Fetch metadata is the client's word. Who says "cors" of a navigation gets a sub-request, which
//! opens nothing that a session guards.

use http::Method;

use crate::config::snapshot::AppKind;

/// What the decision needs to know about a request.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub method: &'a Method,
    /// Canonical, as the app sees it: below the persona's prefix and device.
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// `Sec-Fetch-Mode`
    pub fetch_mode: Option<&'a [u8]>,
    /// `Accept`, several lines joined by commas.
    pub accept: Option<&'a [u8]>,
    /// `Content-Type`
    pub content_type: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Launch(Launch),
    /// An HTTP POST to one of the app's message endpoints.
    Message,
    /// A sub-request.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// A navigation by GET.
    Get,
    /// A navigation by POST; whether its content type will do is decided elsewhere.
    Post,
    /// A new Socket.IO connection: apps without documents are launched by it.
    Handshake,
}

/// Sorts a request.
pub fn classify(app: AppKind, facts: &Facts<'_>) -> Kind {
    match app {
        AppKind::Streamlit if is_streamlit_page(facts.path) => navigation(facts),
        AppKind::Generic if facts.path == "/" => navigation(facts),
        AppKind::Streamlit | AppKind::Generic => Kind::Other,
        AppKind::Rasa if is_post_below(facts, "/webhooks/") => Kind::Message,
        // Every POST of an SSE chat API is a turn: which paths it has is its own affair.
        AppKind::Sse if *facts.method == Method::POST => Kind::Message,
        AppKind::Sse => Kind::Other,
        AppKind::Rasa | AppKind::SocketIo => handshake(facts),
    }
}

/// The index, and the pages of a multi-page app: no file extension, and nothing of the server's.
fn is_streamlit_page(path: &str) -> bool {
    // Below these lie the server's files; a page may still be called "media" or "app".
    const FOLDERS: [&str; 6] = ["static", "media", "component", "vendor", "app", ".vestibule"];
    let path = path.trim_matches('/');
    let mut segments = path.split('/');
    let first = segments.next().unwrap_or_default();
    let is_file = FOLDERS.contains(&first) && path.len() > first.len();
    // The server's routes answer below a page too: /page/_stcore/health.
    let is_route = path == "healthz" || first == "_stcore" || segments.any(|it| it == "_stcore");
    let last = path.rsplit('/').next().unwrap_or_default();
    !is_file && !is_route && !last.contains('.')
}

fn navigation(facts: &Facts<'_>) -> Kind {
    let launch = match *facts.method {
        Method::GET => Launch::Get,
        Method::POST => Launch::Post,
        _ => return Kind::Other,
    };
    let navigates = match (facts.fetch_mode, launch) {
        (Some(mode), _) => mode == b"navigate",
        (None, Launch::Get) => facts.accept.is_none_or(accepts_html),
        (None, _) => facts.content_type.is_some_and(is_form),
    };
    if navigates { Kind::Launch(launch) } else { Kind::Other }
}

/// What an HTML form sends, except text/plain: old browsers give that type to a fetched string.
fn is_form(content_type: &[u8]) -> bool {
    let media_type = before(content_type, b';').trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        || media_type.eq_ignore_ascii_case(b"multipart/form-data")
}

/// RFC 9110, 12.5.1; the most particular range decides.
fn accepts_html(accept: &[u8]) -> bool {
    let weight = |range: &[u8]| {
        accept
            .split(|&byte| byte == b',')
            .find(|member| before(member, b';').trim_ascii().eq_ignore_ascii_case(range))
            .map(|member| !has_zero_weight(member))
    };
    weight(b"text/html").or_else(|| weight(b"text/*")).or_else(|| weight(b"*/*")).unwrap_or(false)
}

fn has_zero_weight(member: &[u8]) -> bool {
    member.split(|&byte| byte == b';').skip(1).any(|parameter| {
        let parameter = parameter.trim_ascii();
        let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
        value.is_some_and(|value| {
            value.starts_with(b"0") && value.iter().all(|byte| matches!(byte, b'0' | b'.'))
        })
    })
}

fn before(bytes: &[u8], separator: u8) -> &[u8] {
    bytes.split(|&byte| byte == separator).next().unwrap_or_default()
}

fn is_post_below(facts: &Facts<'_>, prefix: &str) -> bool {
    *facts.method == Method::POST
        && facts.path.len() > prefix.len()
        && facts.path.starts_with(prefix)
}

/// A Socket.IO connection begins with a GET that has no `sid`, by polling or by WebSocket; what
/// follows, POSTs included, are polls and frames of that connection.
fn handshake(facts: &Facts<'_>) -> Kind {
    let is_endpoint = facts.path.strip_suffix('/').unwrap_or(facts.path) == "/socket.io";
    let begins = *facts.method == Method::GET && !facts.query.is_some_and(has_sid);
    if is_endpoint && begins { Kind::Launch(Launch::Handshake) } else { Kind::Other }
}

fn has_sid(query: &str) -> bool {
    query.split('&').any(|pair| pair.strip_prefix("sid=").is_some_and(|sid| !sid.is_empty()))
}

#[cfg(test)]
mod tests;
