//! Streamlit: what its paths mean, what is closed, and what is answered or mended on its behalf.
//!
//! Decides about canonical paths only ([`crate::gate::path`]), so that no spelling reaches Streamlit
//! that was not judged here. Must not: let a closed path through in any spelling; answer
//! `host-config` anywhere but where the app itself would.
//!
//! # What the versions do (read in their source and asked of running servers)
//!
//! | path | 1.39 (Tornado) | 1.67 (Starlette) |
//! | --- | --- | --- |
//! | `/_stcore/metrics` | open | open, `%5f` and `%2f` decoded |
//! | `/st-metrics` | the same metrics | a page |
//! | `/_stcore/script-health-check` | runs the script, where enabled | the same |
//! | `/script-health-check` | the same | a page |
//! | `/_stcore/agent/{interact,mcp,openapi.json}` | a page | drives the app without a browser; open |
//! | `/_stcore/health` | open | open |
//! | `/healthz` | the same | a page |
//! | `/_stcore/host-config` | open | open |
//! | a trailing slash on these | the same as without | 301 to the one without |
//! | another case, `;x` at the end | a page | a page |
//! | `/PAGE/_stcore/health`, `/PAGE/_stcore/host-config` | 404 | 404 |
//! | `/PAGE/_stcore/agent/...` | a page | 404 |
//! | `/PAGE/_stcore/` and anything else | a page | a page |
//!
//! "A page" is the app's `index.html`. Behind `server.baseUrlPath` every route moves below that base
//! and nothing is left at the root. No version routes `/PAGE/_stcore/...`: the browser asks there
//! for health and host-config to find out its base, and must get 404, or it would open its stream
//! where there is none. That is why host-config is answered at the base alone, while closed paths
//! are closed below any prefix: the base of an app behind a prefix need not be known for that.

mod answers;
pub mod resume;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use answers::{HostConfig, XSRF_COOKIE, framed_xsrf_cookie};

/// What a path of a Streamlit app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Metrics, the agent interface, the script health check: never for strangers.
    Closed,
    /// Answered here: [`HostConfig`].
    HostConfig,
    /// A probe: never charged to a limit. Browsers poll it, and it sets the XSRF cookie. Its alias of
    /// 1.39 is a page: later versions show the app there, and that must cost what any page costs.
    Health,
    /// The WebSocket.
    Stream,
    /// `PUT` and `DELETE` of a file.
    Upload,
    /// A cached message, by its hash (1.39).
    Message,
    /// Sign-in of the app's own (1.67).
    Auth,
    /// Media, components, the frontend's own files, `app/static`: never charged to a limit.
    Asset,
    /// Anything else below `_stcore`.
    Core,
    /// A document: `/` and paths whose last segment has no file extension.
    Page,
}

/// What the path is, for an app at `base`: `""`, or a canonical path without its trailing slash.
pub fn endpoint(path: &str, base: &str) -> Endpoint {
    if is_closed(path) {
        return Endpoint::Closed;
    }
    let below = path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let Some(rest) = below else { return document_or_asset(path) };
    let rest = rest.trim_matches('/');
    match rest {
        "_stcore/host-config" => Endpoint::HostConfig,
        "_stcore/health" => Endpoint::Health,
        "_stcore/stream" => Endpoint::Stream,
        "_stcore/message" => Endpoint::Message,
        "auth/login" | "auth/logout" | "oauth2callback" => Endpoint::Auth,
        _ => below_prefix(rest).unwrap_or_else(|| document_or_asset(rest)),
    }
}

fn below_prefix(rest: &str) -> Option<Endpoint> {
    const PREFIXES: [(&str, Endpoint); 7] = [
        (UPLOADS, Endpoint::Upload),
        ("_stcore/bidi-components/", Endpoint::Asset),
        ("_stcore/", Endpoint::Core),
        ("media/", Endpoint::Asset),
        ("component/", Endpoint::Asset),
        ("static/", Endpoint::Asset),
        ("app/static/", Endpoint::Asset),
    ];
    PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix)).map(|(_, endpoint)| *endpoint)
}

/// Followed by the session's id, a slash and the file's id.
const UPLOADS: &str = "_stcore/upload_file/";

fn document_or_asset(path: &str) -> Endpoint {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if last.contains('.') { Endpoint::Asset } else { Endpoint::Page }
}

/// Whether nobody but the operator may ask for this path: below any prefix, in any case, with or
/// without a trailing slash. The aliases of 1.39 are closed for every version; a page of that name
/// needs another.
pub fn is_closed(path: &str) -> bool {
    let is = |segment: &str, names: &[&str]| names.iter().any(|n| segment.eq_ignore_ascii_case(n));
    let mut before = "";
    for segment in path.trim_end_matches('/').split('/') {
        let below_core = is(before, &["_stcore"]);
        if below_core && is(segment, &["metrics", "agent", "script-health-check"]) {
            return true;
        }
        before = segment;
    }
    is(before, &["st-metrics", "script-health-check"])
}

/// Fields that an app of 1.36 to 1.39 believes about its user (`st.experimental_user`), whoever sent
/// them: a client's do not pass, in any spelling.
pub fn is_trusted(name: &[u8]) -> bool {
    const NAME: &[u8] = b"x-streamlit-user";
    let same = |(byte, expected): (&u8, &u8)| {
        byte.eq_ignore_ascii_case(expected) || *expected == b'-' && !byte.is_ascii_alphanumeric()
    };
    name.len() == NAME.len() && name.iter().zip(NAME).all(same)
}

/// The path as a log may show it: who knows an upload's session id may upload to it.
pub fn printable(path: &str) -> Cow<'_, str> {
    // Of every line of the log: a search that needs no preparation.
    let found = memchr::memmem::find(path.as_bytes(), UPLOADS.as_bytes());
    let Some(at) = found.map(|at| at + UPLOADS.len()) else {
        return Cow::Borrowed(path);
    };
    let end = path[at..].find('/').map_or(path.len(), |length| at + length);
    Cow::Owned([&path[..at], "-", &path[end..]].concat())
}
