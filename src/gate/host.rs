//! The canonical host of a request.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// A host that was read in the only possible way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a> {
    /// Lower case, no port, no trailing dot; an IPv6 literal keeps its brackets.
    pub name: Cow<'a, str>,
    pub port: Option<u16>,
}

/// The bytes are no `uri-host [ ":" port ]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHost;

/// Reads a Host field, an `:authority` or the authority of an absolute target. User information
/// is refused: nobody agrees on what it means.
pub fn canonical(authority: &str) -> Result<Host<'_>, InvalidHost> {
    let (name, port) = split_port(authority)?;
    let port = port.map(parse_port).transpose()?;
    if let Some(literal) = name.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(InvalidHost)?;
        let address: Ipv6Addr = literal.parse().map_err(|_| InvalidHost)?;
        return Ok(Host { name: Cow::Owned(format!("[{address}]")), port });
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 || !has_labels(name) {
        return Err(InvalidHost);
    }
    let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    };
    Ok(Host { name, port })
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidHost> {
    // Elsewhere a bracket is no part of a name, nor of a port.
    let after = match authority.starts_with('[') {
        true => authority.rfind(']').map_or(0, |at| at + 1),
        false => 0,
    };
    match memchr::memchr(b':', &authority.as_bytes()[after..]) {
        None => Ok((authority, None)),
        Some(colon) => Ok((&authority[..after + colon], Some(&authority[after + colon + 1..]))),
    }
}

fn parse_port(port: &str) -> Result<u16, InvalidHost> {
    if port.is_empty() || port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidHost);
    }
    port.parse().map_err(|_| InvalidHost)
}

/// Labels of letters, digits, hyphens; underscores too, which names of services have.
fn has_labels(name: &str) -> bool {
    let mut length = 0;
    for byte in name.bytes() {
        if byte == b'.' {
            if length == 0 {
                return false;
            }
            length = 0;
        } else {
            length += 1;
            if length > 63 || !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return false;
            }
        }
    }
    length > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_reading() {
        for (authority, expected) in [
            ("chat.example.com", Some(("chat.example.com", None))),
            ("Chat.Example.COM:8443", Some(("chat.example.com", Some(8443)))),
            ("chat.example.com.", Some(("chat.example.com", None))),
            ("localhost", Some(("localhost", None))),
            ("127.0.0.1:80", Some(("127.0.0.1", Some(80)))),
            ("[::1]:443", Some(("[::1]", Some(443)))),
            ("[0:0:0:0:0:0:0:1]", Some(("[::1]", None))),
            ("my_service", Some(("my_service", None))),
            ("", None),
            (".", None),
            (":443", None),
            ("a..b", None),
            (&"a".repeat(63), Some((&"a".repeat(63), None))),
            (&"a".repeat(64), None),
            (&format!("{}.b", "a".repeat(64)), None),
            ("a]", None),
            ("a]:1", None),
            ("a:]1", None),
            (".a", None),
            ("a.b..", None),
            ("a:", None),
            ("a:99999", None),
            ("a:+1", None),
            ("a:1:2", None),
            ("user@a", None),
            ("a/b", None),
            ("a b", None),
            ("a\tb", None),
            ("a,b", None),
            ("a%2eb", None),
            ("é.example", None),
            ("[::1", None),
            ("::1", None),
            ("[::1]x", None),
            ("[fe80::1%25eth0]", None),
        ] {
            let seen = canonical(authority).ok();
            let seen = seen.as_ref().map(|host| (&*host.name, host.port));
            assert_eq!(seen, expected, "{authority:?}");
        }
    }
}
