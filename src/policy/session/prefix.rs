//! A token in the path, for browsers that refuse every cookie: `/.v/TOKEN/rest`.
//!
//! Decides which part of a canonical path is the token and which is to be routed. A token in a
//! path is a capability: [`printable`] is the only form that may be shown.

use std::borrow::Cow;

use crate::gate::path;

use super::token::{MAX_TOKEN, MIN_TOKEN, Token};

const PREFIX: &str = "/.v/";

/// A canonical path, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixed<'p> {
    /// As it was sent; not verified.
    pub token: &'p str,
    /// What follows: empty, or beginning with `/`.
    pub rest: &'p str,
}

/// Takes the token off a canonical path; nothing where there is none, or where it cannot be one.
pub fn split(path: &str) -> Option<Prefixed<'_>> {
    let after = path.strip_prefix(PREFIX)?;
    let end = after.find('/').unwrap_or(after.len());
    let (token, rest) = after.split_at(end);
    (MIN_TOKEN..=MAX_TOKEN).contains(&token.len()).then_some(Prefixed { token, rest })
}

/// Whether a canonical path is one of those that only tokens have.
pub fn has_prefix(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The path under which a page without cookies stays. `path` begins with `/`.
pub fn join(token: &Token, path: &str) -> String {
    [PREFIX, token.as_str(), path].concat()
}

/// A `Referer` as an app may have it: a page below a token names its own address in all that it
/// asks for, on a shared host of other tenants too. Where the path has two readings, the origin.
pub fn without_token(referer: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memmem::find(referer, b"/.v/").is_none() && !referer.contains(&b'%') {
        return Cow::Borrowed(referer);
    }
    let authority = memchr::memmem::find(referer, b"://").map_or(0, |at| at + 3);
    let end = |from: usize, stops: &[u8]| {
        referer[from..]
            .iter()
            .position(|byte| stops.contains(byte))
            .map_or(referer.len(), |at| from + at)
    };
    let path_at = end(authority, b"/?#");
    let (origin, path) = (&referer[..path_at], &referer[path_at..end(path_at, b"?#")]);
    if path.is_empty() {
        return Cow::Borrowed(referer);
    }
    let path_text = std::str::from_utf8(path).ok();
    match path_text.map(path::canonical) {
        Some(Ok(canonical)) => match canonical.strip_prefix(PREFIX) {
            None => Cow::Borrowed(referer),
            Some(after) => {
                let rest = after.find('/').map_or("/", |end| &after[end..]);
                let tail = &referer[path_at + path.len()..];
                Cow::Owned([origin, rest.as_bytes(), tail].concat())
            }
        },
        _ => Cow::Owned([origin, b"/"].concat()),
    }
}

/// The path as logs, spans and error pages may have it: `/.v/-/rest`. Whatever stands in the
/// token's place is hidden, token or not.
pub fn printable(path: &str) -> Cow<'_, str> {
    let Some(after) = path.strip_prefix(PREFIX) else { return Cow::Borrowed(path) };
    let rest = after.find('/').map_or("", |end| &after[end..]);
    Cow::Owned([PREFIX, "-", rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referer_has_no_token_in_any_spelling() {
        fn check(referer: &str, expected: &str) {
            let seen = without_token(referer.as_bytes());
            assert_eq!(std::str::from_utf8(&seen).unwrap(), expected, "{referer}");
        }
        check("", "");
        check("https://a.test", "https://a.test");
        check("https://a.test?x=%2f", "https://a.test?x=%2f");
        check("https://a.test/page?x=/.v/", "https://a.test/page?x=/.v/");
        check("https://a.test/%C3%A9", "https://a.test/%C3%A9");
        check("https://a.test/.v/TOKEN", "https://a.test/");
        check("https://a.test:8443/.v/TOKEN/x/y?z=%41#f", "https://a.test:8443/x/y?z=%41#f");
        check("https://a.test/%2Ev/TOKEN/x", "https://a.test/x");
        check("https://a.test/.%76/TOKEN", "https://a.test/");
        check("/.v/TOKEN/x", "/x");
        check("https://a.test/x%2F..%2F.v/TOKEN", "https://a.test/");
        check("https://a.test//.v/TOKEN", "https://a.test/");
        check("https://a.test/\u{e9}/.v/TOKEN", "https://a.test/");
    }

    #[test]
    fn a_path_is_taken_apart_and_shown_without_its_token() {
        fn check(path: &str, expected: Option<(&str, &str)>, shown: &str) {
            let parts = split(path).map(|parts| (parts.token, parts.rest));
            assert_eq!(parts, expected, "{path}");
            assert_eq!(printable(path), shown, "{path}");
        }
        check("/", None, "/");
        check("/.v", None, "/.v");
        check("/.v/", None, "/.v/-");
        check("/.v//x", None, "/.v/-/x");
        let token = "a".repeat(MIN_TOKEN);
        check(&format!("/.v/{token}"), Some((&token, "")), "/.v/-");
        check(&format!("/.v/{token}/"), Some((&token, "/")), "/.v/-/");
        let deep = format!("/.v/{token}/chat/a/b");
        check(&deep, Some((&token, "/chat/a/b")), "/.v/-/chat/a/b");
        // Streamlit's frontend asks there whether its base is one folder up.
        check("/.v/_stcore/health", None, "/.v/-/health");
        check("/.V/abc/", None, "/.V/abc/");
        check("/x/.v/abc/", None, "/x/.v/abc/");
        let long = format!("/.v/{}/x", "a".repeat(MAX_TOKEN + 1));
        check(&long, None, "/.v/-/x");
    }
}
