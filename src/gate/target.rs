//! From a request head to one host and one path.

use std::borrow::Cow;

use http::Method;

use super::host::{self, Host};
use super::path;
use crate::http1::fields::Known;
use crate::http1::head::{RequestHead, Version};
use crate::rejection::{Code, Rejection};

/// The witness of the gate: later stages take this, never the raw target.
#[derive(Debug)]
pub struct Address<'h> {
    pub host: Host<'h>,
    /// The Host as it is forwarded: case and port as the client sent them.
    pub authority: &'h str,
    pub path: Cow<'h, str>,
    /// Without its `?`; every byte as received.
    pub query: Option<&'h str>,
}

/// Admits a head whose method, host and path are beyond doubt.
pub fn address(head: &RequestHead) -> Result<Address<'_>, Rejection> {
    method(head)?;
    let (authority, rest) = match head.version {
        Version::Http2 => http2_authority(head)?,
        _ => http1_authority(head)?,
    };
    let host = host::canonical(authority)
        .map_err(|_| Rejection::new(Code::HostInvalid, "the host is malformed"))?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let is_query = |byte: u8| matches!(byte, 0x21..=0x7e) && byte != b'#';
    if !query.is_none_or(|query| query.bytes().all(is_query)) {
        return Err(Rejection::new(Code::TargetInvalid, "a fragment, or bytes outside ASCII"));
    }
    let path = path::canonical(path)
        .map_err(|_| Rejection::new(Code::PathAmbiguous, "the path is ambiguous"))?;
    Ok(Address { host, authority, path, query })
}

fn method(head: &RequestHead) -> Result<(), Rejection> {
    let is_websocket = head.protocol.as_deref() == Some("websocket");
    match head.method {
        Method::CONNECT if is_websocket => Ok(()),
        Method::CONNECT if head.protocol.is_some() => {
            Err(Rejection::new(Code::MethodNotImplemented, "unknown :protocol"))
        }
        Method::CONNECT => Err(Rejection::new(Code::MethodNotAllowed, "CONNECT")),
        Method::TRACE => Err(Rejection::new(Code::MethodNotAllowed, "TRACE")),
        _ => Ok(()),
    }
}

/// Host and the origin-form rest of an HTTP/1 target.
fn http1_authority(head: &RequestHead) -> Result<(&str, &str), Rejection> {
    let field = head
        .fields
        .single(Known::Host)
        .ok_or(Rejection::new(Code::HostInvalid, "Host is missing or repeated"))?;
    let field = std::str::from_utf8(field)
        .map_err(|_| Rejection::new(Code::HostInvalid, "Host is not ASCII"))?;
    if head.target.starts_with('/') {
        return Ok((field, &head.target));
    }
    let Some((authority, rest)) = absolute(&head.target) else {
        return Err(Rejection::new(Code::TargetInvalid, "neither origin-form nor absolute-form"));
    };
    let agree = match (host::canonical(authority), host::canonical(field)) {
        (Ok(target), Ok(field)) => target == field,
        _ => false,
    };
    if !agree {
        return Err(Rejection::new(Code::HostInvalid, "absolute-form and Host disagree"));
    }
    Ok((field, rest))
}

/// Authority and path of `http://authority/path`.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let prefix = |scheme: &str| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    };
    let rest = prefix("http://").or_else(|| prefix("https://"))?;
    let slash = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match &rest[slash..] {
        "" => Some((&rest[..slash], "/")),
        path if path.starts_with('/') => Some((&rest[..slash], path)),
        _ => None,
    }
}

fn http2_authority(head: &RequestHead) -> Result<(&str, &str), Rejection> {
    let field = match head.fields.all(Known::Host).count() {
        0 => None,
        1 => head.fields.get(Known::Host).map(std::str::from_utf8),
        _ => return Err(Rejection::new(Code::HostInvalid, "Host is repeated")),
    };
    let field =
        field.transpose().map_err(|_| Rejection::new(Code::HostInvalid, "Host is not ASCII"))?;
    let authority = match (head.authority.as_deref(), field) {
        (Some(authority), None) => authority,
        (None, Some(field)) => field,
        (Some(authority), Some(field)) => {
            let agree = match (host::canonical(authority), host::canonical(field)) {
                (Ok(authority), Ok(field)) => authority == field,
                _ => false,
            };
            if !agree {
                return Err(Rejection::new(Code::HostInvalid, ":authority and Host disagree"));
            }
            authority
        }
        (None, None) => return Err(Rejection::new(Code::HostInvalid, "no :authority")),
    };
    if !head.target.starts_with('/') {
        return Err(Rejection::new(Code::TargetInvalid, ":path is not a path"));
    }
    Ok((authority, &head.target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, target: &str, authority: Option<&str>, hosts: &[&str]) -> String {
        let mut head = RequestHead { version, target: target.into(), ..RequestHead::default() };
        head.authority = authority.map(str::to_owned);
        for host in hosts {
            head.fields.push(b"Host", host.as_bytes());
        }
        match address(&head) {
            Ok(a) => format!("{}|{}|{}", a.host.name, a.path, a.query.unwrap_or("-")),
            Err(rejection) => rejection.code.as_str().to_owned(),
        }
    }

    #[test]
    fn http1_needs_one_host_that_agrees() {
        for (target, hosts, expected) in [
            ("/a?b=c?d", &["X.example:80"][..], "x.example|/a|b=c?d"),
            ("/a?", &["x"], "x|/a|"),
            ("http://x/a", &["x"], "x|/a|-"),
            ("HTTPS://x", &["x"], "x|/|-"),
            ("http://y/a", &["x"], "host_invalid"),
            ("http://x:81/a", &["x"], "host_invalid"),
            ("http://u@x/a", &["x"], "host_invalid"),
            ("http://x?a", &["x"], "target_invalid"),
            ("ftp://x/a", &["x"], "target_invalid"),
            ("x:443", &["x"], "target_invalid"),
            ("*", &["x"], "target_invalid"),
            ("/a", &[], "host_invalid"),
            ("/a", &["x", "x"], "host_invalid"),
            ("/a", &[""], "host_invalid"),
            ("/a", &["x y"], "host_invalid"),
            ("/a/../b", &["x"], "path_ambiguous"),
            ("/a?b#c", &["x"], "target_invalid"),
        ] {
            assert_eq!(check(Version::Http11, target, None, hosts), expected, "{target} {hosts:?}");
        }
    }

    #[test]
    fn http2_host_may_only_repeat_the_authority() {
        for (authority, hosts, expected) in [
            (Some("x:8443"), &[][..], "x|/a|-"),
            (Some("x"), &["X"], "x|/a|-"),
            (Some("x"), &["y"], "host_invalid"),
            (Some("x"), &["x:1"], "host_invalid"),
            (Some("x"), &["x", "x"], "host_invalid"),
            (None, &["x"], "x|/a|-"),
            (None, &[], "host_invalid"),
        ] {
            assert_eq!(check(Version::Http2, "/a", authority, hosts), expected, "{hosts:?}");
        }
    }

    #[test]
    fn trace_and_connect_are_refused() {
        for method in [Method::TRACE, Method::CONNECT] {
            let mut head = RequestHead { method, target: "/".into(), ..RequestHead::default() };
            head.fields.push(b"Host", b"x");
            assert_eq!(address(&head).unwrap_err().code, Code::MethodNotAllowed);
        }
    }
}
