//! Source expressions: which configured text may stand in a policy, and what a list already admits.

use std::net::Ipv6Addr;

/// Keywords that a configured source list may hold. `'none'` is not among them: beside anything
/// else browsers ignore it, and alone it is an empty list.
const KEYWORDS: &[&str] = &[
    "'self'",
    "'unsafe-inline'",
    "'unsafe-eval'",
    "'unsafe-hashes'",
    "'wasm-unsafe-eval'",
    "'strict-dynamic'",
    "'report-sample'",
];

/// Accepts one source expression from the configuration; otherwise says what is wrong with it and
/// what to write instead. Nothing that passes can end a directive, a policy or a header.
pub fn check_source(text: &str) -> Result<(), String> {
    let refusal = |why: &str| format!("{text:?} cannot stand in a Content-Security-Policy: {why}");
    check(text).map_err(refusal)
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty; leave the entry out");
    }
    for letter in text.chars() {
        let why = match letter {
            ';' => "`;` would begin another directive; write %3B in a path",
            ',' => "`,` would begin another policy; write %2C in a path",
            _ if letter.is_control() => "it holds a control character",
            _ if letter.is_whitespace() => {
                "a space would begin another source; give each source its own entry"
            }
            _ if !letter.is_ascii() => {
                "it is not ASCII; write the host as xn--..., encode the path"
            }
            _ => continue,
        };
        return Err(why);
    }
    if text.contains(['\'', '"', '`']) {
        return check_keyword(text);
    }
    check_location(text)
}

fn check_keyword(text: &str) -> Result<(), &'static str> {
    let lower = text.to_ascii_lowercase();
    if KEYWORDS.contains(&lower.as_str()) || is_hash(&lower) {
        return Ok(());
    }
    if lower == "'none'" {
        return Err("'none' admits nothing and means nothing beside others; leave the list empty");
    }
    if lower.starts_with("'nonce-") {
        return Err("a nonce must be new in every answer; use a hash");
    }
    Err("quotes belong to keywords alone, such as 'self'; write an origin without them")
}

fn is_hash(text: &str) -> bool {
    let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let digest = inner.and_then(|inner| {
        ["sha256-", "sha384-", "sha512-"].iter().find_map(|prefix| inner.strip_prefix(prefix))
    });
    digest.is_some_and(|digest| {
        let body = digest.trim_end_matches('=');
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
        !body.is_empty() && digest.len() - body.len() <= 2 && body.bytes().all(is_base64)
    })
}

/// A scheme source (`https:`) or a host source (`https://*.example.com:8443/path`).
fn check_location(text: &str) -> Result<(), &'static str> {
    if let Some(scheme) = text.strip_suffix(':').filter(|text| !text.contains(':')) {
        return check_scheme(scheme);
    }
    let rest = match text.split_once("://") {
        Some((scheme, rest)) => {
            check_scheme(scheme)?;
            rest
        }
        None => text,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if path.contains(['?', '#']) || authority.contains(['?', '#']) {
        return Err("a source ends with its path; leave out `?` and `#`");
    }
    if !is_path(path) {
        return Err("its path holds a character that must be percent-encoded");
    }
    if authority.contains('@') {
        return Err("a source has no user name");
    }
    if authority.starts_with('[') {
        let literal = authority.split(']').next().unwrap_or_default();
        let _: Ipv6Addr = literal[1..].parse().map_err(|_| "its host is not valid")?;
        return Err("browsers do not match IPv6 addresses in a policy; give the host a name");
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if let Some(port) = port
        && port != "*"
        && !port.parse::<u16>().is_ok_and(|number| number > 0 && !port.starts_with(['0', '+']))
    {
        return Err("its port is not a number from 1 to 65535");
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if host == "*" || name.split('.').all(is_label) {
        return Ok(());
    }
    Err("its host is not valid; write for example https://www.example.com")
}

fn check_scheme(scheme: &str) -> Result<(), &'static str> {
    let is_start = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if is_start && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
        return Ok(());
    }
    Err("its scheme is not valid; write for example https://www.example.com")
}

fn is_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let is_escape = bytes[at] == b'%';
        let digits = bytes.get(at + 1..at + 3).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
        let is_bare = bytes[at].is_ascii_alphanumeric() || b"/-._~!$&()*+=:@".contains(&bytes[at]);
        if !is_bare && (!is_escape || !digits) {
            return false;
        }
        at += if is_escape { 3 } else { 1 };
    }
    true
}

/// Whether a source list already admits what `addition` admits. Only what is certain counts: the
/// same text, `*`, or the scheme of an `https:` or `wss:` address.
pub fn admits(list: &[&str], addition: &str) -> bool {
    let scheme = addition.split_once("://").map_or("", |(scheme, _)| scheme);
    list.iter().any(|source| {
        let by_scheme = |names: &[&str]| names.iter().any(|name| source.eq_ignore_ascii_case(name));
        same(source, addition)
            || match scheme {
                "https" => by_scheme(&["*", "https:", "http:"]),
                "wss" => by_scheme(&["wss:", "ws:"]),
                _ => false,
            }
    })
}

/// Scheme and host without case, the path with it.
fn same(one: &str, other: &str) -> bool {
    let path_at = |text: &str| {
        let host = text.find("://").map_or(0, |at| at + 3);
        text[host..].find('/').map_or(text.len(), |at| host + at)
    };
    let (one, other) = (one.split_at(path_at(one)), other.split_at(path_at(other)));
    one.0.eq_ignore_ascii_case(other.0) && one.1 == other.1
}
