//! Between the messages of HTTP/1 and those of HTTP/2 (RFC 9113, section 8).

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, response};

use crate::http1::HeadError;
use crate::http1::fields::{Fields, Known};
use crate::http1::framing;
use crate::http1::head::{ConnectionOptions, ResponseHead, Version};
use crate::upstream::connection::UpstreamError;

/// The request whose head, as HTTP/1 would send it, is `head`. It is ours, and sound; None where
/// HTTP/2 cannot say it all the same.
pub(super) fn request(head: &[u8], is_tls: bool) -> Option<Request<()>> {
    let mut lines = head.split(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\r"));
    let mut start = lines.next()?.split(|&byte| byte == b' ');
    let method = Method::from_bytes(start.next()?).ok()?;
    let written = start.next()?;
    let target = PathAndQuery::try_from(written).ok()?;
    // The type drops what it takes for a fragment, and adds what it misses.
    if target.as_str().as_bytes() != written {
        return None;
    }
    let mut authority = None;
    let mut fields = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii_start());
        match Known::classify(name) {
            Known::Host => authority = Authority::try_from(value).ok(),
            Known::Te => append(&mut fields, name, value)?,
            known if known.is_hop_by_hop() => {}
            _ => append(&mut fields, name, value)?,
        }
    }
    let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(authority?).path_and_query(target);
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri.build().ok()?;
    *request.headers_mut() = fields;
    Some(request)
}

/// Those of a request; what HTTP/2 cannot say is left out.
pub(super) fn trailers(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for field in fields.iter() {
        let _ = append(&mut map, field.name, field.value);
    }
    map
}

fn append(map: &mut HeaderMap, name: &[u8], value: &[u8]) -> Option<()> {
    let name = HeaderName::from_bytes(name).ok()?;
    map.append(name, HeaderValue::from_bytes(value).ok()?);
    Some(())
}

/// Reads a response head, by the rules that hold for HTTP/1.
pub(super) fn response(
    head: &mut ResponseHead,
    parts: &response::Parts,
    method: &Method,
) -> Result<(), UpstreamError> {
    fill(&mut head.fields, &parts.headers)?;
    head.status = parts.status;
    head.version = Version::Http11;
    head.connection = ConnectionOptions::default();
    let framing = framing::of_response(Version::Http11, method, head.status, &head.fields);
    head.framing = framing.map_err(UpstreamError::Head)?;
    Ok(())
}

/// Fields of a response, or its trailers. Those of a connection make a message malformed (RFC 9113,
/// section 8.2.2), and so does white space around a value (section 8.2.1).
pub(super) fn fill(fields: &mut Fields, map: &HeaderMap) -> Result<(), UpstreamError> {
    fields.clear();
    for (name, value) in map {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        let known = Known::classify(name);
        let is_of_connection = matches!(
            known,
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::TransferEncoding
                | Known::Upgrade
        );
        if is_of_connection {
            return Err(UpstreamError::Head(HeadError::Connection));
        }
        if value.trim_ascii() != value {
            return Err(UpstreamError::Head(HeadError::FieldLine));
        }
        fields.push_known(known, name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_http_1_would_send() {
        let head = b"POST /a?b={c} HTTP/1.1\r\nHost: chat.test:8443\r\nX-One: 1\r\nCookie: a=1\r\n\
                     TE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\
                     X-Empty: \r\nX-One: two words\r\n\r\n";
        let request = request(head, true).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://chat.test:8443/a?b={c}");
        let fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            fields,
            ["x-one: 1", "x-one: two words", "cookie: a=1", "te: trailers", "x-empty: "]
        );
    }

    #[test]
    fn what_http_2_cannot_say_is_not_said_otherwise() {
        for target in ["/a<b", "/a#b", "a"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: chat.test\r\n\r\n");
            let said = request(head.as_bytes(), false).map(|request| request.uri().to_string());
            assert!(said.is_none(), "{target}: {said:?}");
        }
        assert!(request(b"GET / HTTP/1.1\r\n\r\n", false).is_none());
    }

    #[test]
    fn an_answer_with_fields_of_a_connection_is_none() {
        let check = |name: &'static str, value: &'static str, is_sound| {
            let answer = http::Response::builder().header(name, value).body(()).unwrap();
            let (parts, ()) = answer.into_parts();
            let read = response(&mut ResponseHead::default(), &parts, &Method::GET);
            assert_eq!(read.is_ok(), is_sound, "{name}: {value:?}");
        };
        check("x-any", "value", true);
        check("content-length", "7", true);
        check("content-length", "7, 7", false);
        check("content-length", "+7", false);
        check("connection", "close", false);
        check("transfer-encoding", "chunked", false);
        check("upgrade", "websocket", false);
        check("x-any", " value", false);
    }
}
