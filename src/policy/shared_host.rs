//! An app on a host that several tenants share: what in its answers would reach beyond its path.
//!
//! Browsers keep cookies, and much else, by host or origin. On such a host an app's cookies are
//! bound to the path that is its own, so that they are sent to nobody else's app, and fields that
//! speak for the whole host do not pass.
//!
//! | the app sets | the browser gets |
//! | --- | --- |
//! | `Path=/x` | that path below the app's own |
//! | no path | what it had: browsers take the folder of the request; the app's path where that is not its own |
//! | `Domain=...` | nothing of it: the cookie is this host's |
//! | `__Host-name`, which demands `Path=/` | `__Secure-Host-name`; the app gets its own name back |
//!
//! What this cannot do: scripts of all pages of a host are of one origin. They can open each other's
//! pages, read them, and set cookies at paths that are not theirs. Only hosts of their own keep
//! tenants apart from each other's scripts.

use std::borrow::Cow;

const BOUND_TO_HOST: &[u8] = b"__Host-";
const IN_ITS_PLACE: &[u8] = b"__Secure-Host-";

/// The part of a host that is an app's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Without its trailing slash.
    path: Box<str>,
    /// The app does not see this path.
    is_stripped: bool,
    /// The request is for the path itself, whose folder is not the app's.
    is_exact: bool,
}

impl Scope {
    pub fn new(path: &str, is_stripped: bool) -> Self {
        Self { path: path.trim_end_matches('/').into(), is_stripped, is_exact: false }
    }

    /// For a request for the path without its trailing slash.
    pub fn exact(self) -> Self {
        Self { is_exact: true, ..self }
    }

    /// A Set-Cookie value as the browser gets it.
    pub fn bound(&self, set_cookie: &[u8]) -> Vec<u8> {
        let mut pieces = set_cookie.split(|&byte| byte == b';');
        let pair = pieces.next().unwrap_or_default();
        let mut bound = Vec::with_capacity(set_cookie.len() + self.path.len() + 8);
        match strip_prefix(pair.trim_ascii_start(), BOUND_TO_HOST) {
            Some(rest) => bound.extend_from_slice(&[IN_ITS_PLACE, rest].concat()),
            None => bound.extend_from_slice(pair),
        }
        let mut path = None;
        for piece in pieces {
            let (name, value) = attribute(piece);
            if name.eq_ignore_ascii_case(b"path") {
                // The last one counts (RFC 6265, section 5.3).
                path = Some(value);
            } else if !name.eq_ignore_ascii_case(b"domain") {
                bound.push(b';');
                bound.extend_from_slice(piece);
            }
        }
        let given = path.filter(|path| path.first() == Some(&b'/'));
        if let Some(path) = given.or(self.is_exact.then_some(b"/".as_slice())) {
            bound.extend_from_slice(b"; Path=");
            bound.extend_from_slice(&self.below(path));
        }
        bound
    }

    /// A path that the app gave, as one below its own.
    fn below<'p>(&'p self, path: &'p [u8]) -> Cow<'p, [u8]> {
        let own = self.path.as_bytes();
        if own.is_empty() {
            return Cow::Borrowed(path);
        }
        if self.is_stripped {
            return match path {
                b"/" => Cow::Borrowed(own),
                path => Cow::Owned([own, path].concat()),
            };
        }
        let is_inside =
            path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        Cow::Borrowed(if is_inside { path } else { own })
    }
}

/// A Cookie value as the app gets it: with the names that it gave.
pub fn named_back(cookies: &[u8]) -> Cow<'_, [u8]> {
    let is_renamed = |pair: &&[u8]| pair.trim_ascii_start().starts_with(IN_ITS_PLACE);
    if !cookies.split(|&byte| byte == b';').any(|pair| is_renamed(&pair)) {
        return Cow::Borrowed(cookies);
    }
    let mut named = Vec::with_capacity(cookies.len());
    for (index, pair) in cookies.split(|&byte| byte == b';').enumerate() {
        if index > 0 {
            named.push(b';');
        }
        match pair.trim_ascii_start().strip_prefix(IN_ITS_PLACE) {
            Some(rest) => {
                let spaces = pair.len() - pair.trim_ascii_start().len();
                named.extend_from_slice(&pair[..spaces]);
                named.extend_from_slice(BOUND_TO_HOST);
                named.extend_from_slice(rest);
            }
            None => named.extend_from_slice(pair),
        }
    }
    Cow::Owned(named)
}

/// Response fields that speak for a whole host or origin.
pub fn speaks_for_the_host(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 8] = [
        b"alt-svc",
        b"clear-site-data",
        b"nel",
        b"origin-agent-cluster",
        b"public-key-pins",
        b"report-to",
        b"service-worker-allowed",
        b"strict-transport-security",
    ];
    FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
}

fn attribute(piece: &[u8]) -> (&[u8], &[u8]) {
    let at = piece.iter().position(|&byte| byte == b'=').unwrap_or(piece.len());
    let value = piece.get(at + 1..).unwrap_or_default();
    (piece[..at].trim_ascii(), value.trim_ascii())
}

/// Browsers compare the prefixes of names without regard to case.
fn strip_prefix<'b>(bytes: &'b [u8], prefix: &[u8]) -> Option<&'b [u8]> {
    let (first, rest) = bytes.split_at_checked(prefix.len())?;
    first.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_bound_to_the_apps_path() {
        for (is_stripped, given, expected) in [
            (true, "a=b", "a=b"),
            (true, "a=b; Path=/", "a=b; Path=/chat/x"),
            (true, "a=b; path=/admin; Secure", "a=b; Secure; Path=/chat/x/admin"),
            (true, "a=b; Path=/; PATH=/y", "a=b; Path=/chat/x/y"),
            (true, "a=b; Path=\"/\"", "a=b"),
            (true, "a=b; Domain=example.com; Path = / ; HttpOnly", "a=b; HttpOnly; Path=/chat/x"),
            (true, "__Host-s=1; Secure; Path=/", "__Secure-Host-s=1; Secure; Path=/chat/x"),
            (true, "__host-s=1; Secure; Path=/", "__Secure-Host-s=1; Secure; Path=/chat/x"),
            (true, "__Host=1", "__Host=1"),
            (true, "a=b; Path=/chat/x/y", "a=b; Path=/chat/x/chat/x/y"),
            (false, "a=b; Path=/", "a=b; Path=/chat/x"),
            (false, "a=b; Path=/chat/x/y", "a=b; Path=/chat/x/y"),
            (false, "a=b; Path=/chat/xy", "a=b; Path=/chat/x"),
            (false, "a=b; Path=/other", "a=b; Path=/chat/x"),
        ] {
            let bound = Scope::new("/chat/x/", is_stripped).bound(given.as_bytes());
            assert_eq!(String::from_utf8_lossy(&bound), expected, "{given}");
        }
        assert_eq!(Scope::new("/", true).bound(b"a=b; Path=/"), b"a=b; Path=/");
        // The folder of /chat/x is /chat, and others are there.
        for (given, expected) in
            [("a=b", "a=b; Path=/chat/x"), ("a=b; Path=y; Secure", "a=b; Secure; Path=/chat/x")]
        {
            for is_stripped in [true, false] {
                let bound = Scope::new("/chat/x", is_stripped).exact().bound(given.as_bytes());
                assert_eq!(String::from_utf8_lossy(&bound), expected, "{given}");
            }
        }
    }

    #[test]
    fn the_app_gets_the_names_that_it_gave() {
        for (sent, expected) in [
            ("a=b; c=d", "a=b; c=d"),
            ("__Secure-Host-s=1", "__Host-s=1"),
            (
                "a=__Secure-Host-; __Secure-Host-s=1;__Secure-Host-t=2",
                "a=__Secure-Host-; __Host-s=1;__Host-t=2",
            ),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&named_back(sent.as_bytes())), expected, "{sent}");
        }
    }
}
