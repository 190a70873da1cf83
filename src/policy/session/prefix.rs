//! A token in the path, for browsers that refuse every cookie: `/.v/TOKEN/rest`.
//!
//! Decides which part of a canonical path is the token and which is to be routed. A token in a
//! path is a capability: [`printable`] is the only form that may be shown.

use std::borrow::Cow;

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

/// The path under which a page without cookies stays. `path` begins with `/`.
pub fn join(token: &Token, path: &str) -> String {
    [PREFIX, token.as_str(), path].concat()
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
