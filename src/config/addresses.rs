//! What browsers call things: hosts, paths, origins.
//!
//! All of them have one canonical form, the one that `gate` and the browsers produce. Anything
//! else is refused with the canonical form in the remedy; nothing is repaired silently, because a
//! host that was meant differently is a door in the wrong place.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::Wrong;
use super::reader::Text;
use super::schema::Kind;
use super::values::text;

/// A canonical host: lower case, no port; `*.example.com` stands for one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(pub Box<str>);

impl Text for Host {
    const KIND: Kind = text("a host", "chat.example.com");

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "*" {
            let what = "`*` alone would take every host";
            return Err(Wrong::new(what, "write \"*.example.com\" or the hosts themselves"));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.contains('*') {
            let what = format!("{text:?}: a wildcard stands for the whole first label");
            return Err(Wrong::new(what, "write \"*.example.com\""));
        }
        check_host(text, name)?;
        if name.len() != text.len() && is_address(name) {
            let what = format!("{text:?}: an IP address has no wildcard");
            return Err(Wrong::new(what, "write a name after `*.`"));
        }
        Ok(Self(text.into()))
    }
}

/// `written` is what to show, `name` the part of it that must be a plain host.
pub(super) fn check_host(written: &str, name: &str) -> Result<(), Wrong> {
    let not_a_host = |why: &str, remedy: String| {
        Err(Wrong::new(format!("{written:?} is not a host: {why}"), remedy))
    };
    if let Some((_, rest)) = name.split_once("://") {
        let host = rest.split(['/', ':', '?']).next().unwrap_or(rest);
        return not_a_host("it is a URL", format!("write only the host, {host:?}"));
    }
    if is_address(name) {
        return Ok(());
    }
    if name.is_empty() {
        return not_a_host("it is empty", "write a name such as \"chat.example.com\"".into());
    }
    if !name.is_ascii() {
        let why = "it has letters outside ASCII";
        return not_a_host(why, "write the punycode form that browsers send (\"xn--...\")".into());
    }
    if let Some((host, path)) = name.split_once('/') {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let remedy = format!("write {host:?} here and path = \"/{path}\" beside it");
        return not_a_host("it has a path", remedy);
    }
    if let Some((host, port)) = name.rsplit_once(':') {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            let why = "it has a port, and a persona answers on every listener";
            return not_a_host(why, format!("write {host:?}"));
        }
        return not_a_host("it has a colon", "write a name such as \"chat.example.com\"".into());
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let remedy = format!("write {:?}", written.to_ascii_lowercase());
        return not_a_host("hosts are written in lower case", remedy);
    }
    if let Some(name) = name.strip_suffix('.') {
        return not_a_host("it ends with a dot", format!("write {name:?}"));
    }
    check_labels(name).or_else(|why| not_a_host(&why, "mend the name".into()))
}

fn check_labels(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err("it is longer than 253 characters".into());
    }
    for label in name.split('.') {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if label.is_empty() {
            return Err("two dots follow each other, or it begins with one".into());
        }
        if label.len() > 63 {
            return Err(format!("the label `{label}` is longer than 63 characters"));
        }
        if !label.bytes().all(good) {
            return Err(format!("`{label}` may hold only letters, digits and hyphens"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(format!("the label `{label}` begins or ends with a hyphen"));
        }
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        // Browsers read such a host as an IPv4 address, whatever its other labels are.
        return Err("its last label is a number, and it is not an IPv4 address".into());
    }
    Ok(())
}

/// A canonical IPv4 address, or an IPv6 address in brackets.
fn is_address(name: &str) -> bool {
    if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok_and(|address| address.to_string() == inner);
    }
    name.parse::<Ipv4Addr>().is_ok()
}

/// A canonical path: `/`, or segments of unreserved characters without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath(pub Box<str>);

impl Text for RoutePath {
    const KIND: Kind = text("a path", "/chat/sales");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let not_a_path = |why: &str, remedy: String| {
            Err(Wrong::new(format!("{text:?} is not a canonical path: {why}"), remedy))
        };
        if text == "/" {
            return Ok(Self(text.into()));
        }
        if !text.starts_with('/') {
            let remedy = format!("write \"/{}\"", text.trim_end_matches('/'));
            return not_a_path("it does not begin with `/`", remedy);
        }
        if text.contains("//") {
            return not_a_path("it has an empty segment", "write single slashes".into());
        }
        if let Some(without) = text.strip_suffix('/') {
            return not_a_path("it ends with `/`", format!("write {without:?}"));
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return not_a_path(
                "it has a dot segment",
                "write the path without `.` and `..`".into(),
            );
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        if let Some(odd) = text.chars().find(|&c| !c.is_ascii() || !good(c as u8)) {
            let remedy = "write letters, digits, `-`, `.`, `_` and `~` only".into();
            return not_a_path(&format!("it has `{odd}` in it"), remedy);
        }
        if matches!(text.split('/').nth(1), Some(".vestibule" | ".v")) {
            let remedy = "choose another first segment".into();
            return not_a_path("`/.vestibule` and `/.v` are Vestibule's own", remedy);
        }
        Ok(Self(text.into()))
    }
}

/// One segment of a canonical path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSegment(pub Box<str>);

impl Text for PathSegment {
    const KIND: Kind = text("a path segment", "prj_42");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let remedy = "write letters, digits, `-`, `.`, `_` and `~` only";
        if text.is_empty() || text.contains('/') {
            return Err(Wrong::new(format!("{text:?} is not one path segment"), remedy));
        }
        RoutePath::parse(&["/", text].concat()).map(|path| Self(path.0[1..].into()))
    }
}

/// The path of a request to an upstream: as written, query allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget(pub Box<str>);

impl Text for RequestTarget {
    const KIND: Kind = text("a path", "/health");

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        {
            return Ok(Self(text.into()));
        }
        let what = format!("{text:?} is not the path of a request");
        Err(Wrong::new(what, "write a path that begins with `/`, such as \"/health\""))
    }
}

/// An origin as browsers serialise it: `https://host`, or with a port that is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(pub Box<str>);

impl Text for Origin {
    const KIND: Kind = text("an origin", "https://www.example.com");

    fn parse(text: &str) -> Result<Self, Wrong> {
        let shown = without_path(text);
        let not_an_origin = |why: &str, remedy: String| {
            Err(Wrong::new(format!("{shown:?} is not an origin: {why}"), remedy))
        };
        if text.contains('@') {
            let what = "an origin has no user name or password in it";
            return Err(Wrong::new(what, "write \"https://HOST\""));
        }
        match text {
            "file:" => return Ok(Self(text.into())),
            "*" => {
                let remedy = "list the origins of the pages that embed this tenant".into();
                return not_an_origin("any page of the web could embed the chat", remedy);
            }
            "file://" => {
                let what = "\"file://\" is not an origin: it has slashes";
                return Err(Wrong::new(what, "write \"file:\""));
            }
            "null" => {
                return not_an_origin(
                    "any sandboxed page sends it",
                    "write \"file:\" for pages opened from disk, or the origin itself".into(),
                );
            }
            _ => {}
        }
        let Some((scheme, authority)) = text.split_once("://") else {
            return not_an_origin("it has no scheme", format!("write \"https://{shown}\""));
        };
        let default_port = match scheme {
            "https" => "443",
            "http" => "80",
            _ => return not_an_origin("the scheme is not https", "write \"https://...\"".into()),
        };
        if let Some(end) = authority.find(['/', '?', '#']) {
            let remedy = format!("write \"{scheme}://{}\"", &authority[..end]);
            let what = format!("{shown:?} goes on after the host, where an origin ends");
            return Err(Wrong::new(what, remedy));
        }
        let (host, port) = split_port(authority);
        if host.contains('*') {
            let remedy = "list each origin".into();
            return not_an_origin("answers to cross-origin requests name one exact origin", remedy);
        }
        check_host(text, host)?;
        match port {
            Some(port) if port == default_port => {
                let why = "browsers leave the default port out";
                not_an_origin(why, format!("write \"{scheme}://{host}\""))
            }
            Some(port) if parse_port(port).is_none_or(|number| number.to_string() != port) => {
                not_an_origin("the port is not a number from 1 to 65535", "mend the port".into())
            }
            _ => Ok(Self(text.into())),
        }
    }
}

/// The scheme and the host of what may be a URL; what follows, often a token, is not to be repeated.
pub(super) fn without_path(text: &str) -> &str {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    &text[..end]
}

/// Splits at the last colon that is not inside brackets.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

pub(super) fn parse_port(port: &str) -> Option<u16> {
    port.parse().ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Text>(text: &str, good: bool) {
        assert_eq!(T::parse(text).is_ok(), good, "{text}");
    }

    #[test]
    fn hosts_are_canonical() {
        for good in
            ["a.example", "localhost", "*.a.example", "xn--bcher-kva.example", "127.0.0.1", "[::1]"]
        {
            check::<Host>(good, true);
        }
        for bad in [
            "",
            "*",
            "A.example",
            "a.example:80",
            "https://a.example",
            "a.example/x",
            "a.example.",
            "a..example",
            "-a.example",
            "a_b.example",
            "bücher.example",
            "a.*.example",
            "*a.example",
            "1.2.3",
            "127.1",
            "*.127.0.0.1",
            "[::01]",
            "a b",
            "::1",
        ] {
            check::<Host>(bad, false);
        }
    }

    #[test]
    fn paths_are_canonical() {
        for good in ["/", "/a", "/a/b.c", "/a~_-"] {
            check::<RoutePath>(good, true);
        }
        for bad in
            ["", "a", "/a/", "//", "/a//b", "/a/../b", "/.", "/%41", "/a b", "/ä", "/a?b", "/.v/x"]
        {
            check::<RoutePath>(bad, false);
        }
    }

    #[test]
    fn origins_are_as_browsers_write_them() {
        for good in ["https://a.example", "http://localhost:3000", "file:", "https://[::1]:8443"] {
            check::<Origin>(good, true);
        }
        for bad in [
            "a.example",
            "https://a.example/",
            "https://a.example:443",
            "http://a.example:80",
            "*",
            "null",
            "https://*.a.example",
            "https://A.example",
            "ftp://a.example",
            "https://a@b",
            "https://a.example:08443",
            "https://",
            "file:///x",
        ] {
            check::<Origin>(bad, false);
        }
    }
}
