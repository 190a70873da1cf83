//! Request and response heads.
//!
//! httparse reads the lines; this module refuses what httparse lets pass (bare LF, bytes outside
//! ASCII in a target, empty lines without end) and decides the framing. A head is read whole or
//! not at all.

use std::mem::MaybeUninit;

use http::{Method, StatusCode};

use super::HeadError;
use super::fields::{Fields, Known, list};
use super::framing::{self, Framing};

/// Most fields in one head or trailer section.
pub const MAX_FIELDS: usize = 128;

/// Most fields that a Connection field may nominate; each is compared with every field.
const MAX_NOMINATIONS: usize = 16;
/// Capacity that a head keeps between the messages of a connection.
const KEPT: usize = 4 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    /// As OpenTelemetry writes `network.protocol.version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }
}

/// What the Connection field says about this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionOptions {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Fields were nominated, see [`Fields`] and [`nominated`].
    pub nominates: bool,
}

/// A request head, from HTTP/1 or filled in by HTTP/2.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub method: Method,
    /// The request target as received; always visible ASCII.
    pub target: String,
    pub version: Version,
    pub fields: Fields,
    pub framing: Framing,
    pub connection: ConnectionOptions,
    /// `:authority`, HTTP/2 only.
    pub authority: Option<String>,
    /// `:protocol` of an extended CONNECT (RFC 8441), HTTP/2 only.
    pub protocol: Option<String>,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Method::GET,
            target: String::new(),
            version: Version::Http11,
            fields: Fields::default(),
            framing: Framing::Empty,
            connection: ConnectionOptions::default(),
            authority: None,
            protocol: None,
        }
    }
}

/// An upstream's response head.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub version: Version,
    pub fields: Fields,
    pub framing: Framing,
    pub connection: ConnectionOptions,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            version: Version::Http11,
            fields: Fields::default(),
            framing: Framing::Empty,
            connection: ConnectionOptions::default(),
        }
    }
}

/// Finds the end of a head. Keeps its place, so that a dripped head is scanned once.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadScan {
    scanned: usize,
}

impl HeadScan {
    /// The length of the head at the start of `bytes`, with its empty line; `None` while there is
    /// none. Every line must end in CRLF.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let line_feed = self.scanned + at;
            if line_feed == 0 || bytes[line_feed - 1] != b'\r' {
                return Err(HeadError::LineEnding);
            }
            self.scanned = line_feed + 1;
            if line_feed == 1 || (line_feed >= 3 && bytes[line_feed - 2] == b'\n') {
                return Ok(Some(self.scanned));
            }
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

impl RequestHead {
    /// Reads one whole head, `bytes` ending with its empty line.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<(), HeadError> {
        let mut lines = [MaybeUninit::<httparse::Header<'_>>::uninit(); MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut lines);
        whole(parsed, bytes, HeadError::StartLine)?;
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::StartLine);
        };
        if !target.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            return Err(HeadError::StartLine);
        }
        self.method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::StartLine)?;
        self.target.clear();
        self.target.push_str(target);
        self.version = if version == 1 { Version::Http11 } else { Version::Http10 };
        self.authority = None;
        self.protocol = None;
        fill(&mut self.fields, request.headers);
        self.connection = connection_options(&self.fields)?;
        self.framing = framing::of_request(self.version, &self.fields)?;
        let upgrades = self.connection.upgrade && self.fields.get(Known::Upgrade).is_some();
        if upgrades && self.framing.has_body() {
            return Err(HeadError::UpgradeWithBody);
        }
        Ok(())
    }

    /// Gives memory back that only an unusually large head needed.
    pub fn rest(&mut self) {
        if self.fields.capacity() > KEPT || self.target.capacity() > KEPT {
            *self = Self::default();
        }
    }

    /// Whether another request may follow on this connection.
    pub fn keeps_alive(&self) -> bool {
        match self.version {
            // What follows may be a tunnel's bytes, sent before its refusal was read.
            _ if self.method == Method::CONNECT => false,
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
            _ => !self.connection.close,
        }
    }
}

impl ResponseHead {
    /// Reads one whole head that answers a request of `method`.
    pub fn parse(&mut self, bytes: &[u8], method: &Method) -> Result<(), HeadError> {
        let mut lines = [MaybeUninit::<httparse::Header<'_>>::uninit(); MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut lines);
        whole(parsed, bytes, HeadError::StartLine)?;
        let (Some(code), Some(version)) = (response.code, response.version) else {
            return Err(HeadError::StartLine);
        };
        self.status = match StatusCode::from_u16(code) {
            Ok(status) if code < 600 => status,
            _ => return Err(HeadError::StartLine),
        };
        self.version = if version == 1 { Version::Http11 } else { Version::Http10 };
        fill(&mut self.fields, response.headers);
        self.connection = connection_options(&self.fields)?;
        self.framing = framing::of_response(self.version, method, self.status, &self.fields)?;
        Ok(())
    }

    /// Whether the server lets the connection stay open, as far as the head says.
    pub fn keeps_alive(&self) -> bool {
        match self.version {
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
            _ => !self.connection.close,
        }
    }
}

/// Reads a trailer section, `bytes` ending with its empty line.
pub fn parse_trailers(bytes: &[u8], fields: &mut Fields) -> Result<(), HeadError> {
    fields.clear();
    if bytes == b"\r\n" {
        return Ok(());
    }
    if HeadScan::default().end(bytes)? != Some(bytes.len()) {
        return Err(HeadError::FieldLine);
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete((length, lines))) if length == bytes.len() => {
            fill(fields, lines);
            Ok(())
        }
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyFields),
        _ => Err(HeadError::FieldLine),
    }
}

/// Whether a Connection field nominates `name` as belonging to this connection only.
pub fn nominated(fields: &Fields, name: &[u8]) -> bool {
    fields.all(Known::Connection).any(|value| list(value).any(|m| m.eq_ignore_ascii_case(name)))
}

fn whole(
    parsed: httparse::Result<usize>,
    bytes: &[u8],
    otherwise: HeadError,
) -> Result<(), HeadError> {
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => Ok(()),
        Ok(_) => Err(otherwise),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyFields),
        Err(httparse::Error::Version) => Err(HeadError::Version),
        Err(httparse::Error::NewLine) => Err(HeadError::LineEnding),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            Err(HeadError::FieldLine)
        }
        Err(httparse::Error::Token | httparse::Error::Status) => Err(HeadError::StartLine),
    }
}

fn fill(fields: &mut Fields, lines: &[httparse::Header<'_>]) {
    fields.clear();
    for line in lines {
        fields.push(line.name.as_bytes(), line.value);
    }
}

fn connection_options(fields: &Fields) -> Result<ConnectionOptions, HeadError> {
    let mut options = ConnectionOptions::default();
    let mut nominations = 0;
    for value in fields.all(Known::Connection) {
        for member in list(value) {
            if member.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if member.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if member.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                let carries_framing = matches!(
                    Known::classify(member),
                    Known::Host | Known::ContentLength | Known::TransferEncoding
                );
                if carries_framing || !member.iter().all(|&byte| framing::is_token(byte)) {
                    return Err(HeadError::Connection);
                }
                options.nominates = true;
                nominations += 1;
                if nominations > MAX_NOMINATIONS {
                    return Err(HeadError::Connection);
                }
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(wire: &str) -> Result<RequestHead, HeadError> {
        let end = HeadScan::default().end(wire.as_bytes())?.ok_or(HeadError::StartLine)?;
        let mut head = RequestHead::default();
        head.parse(&wire.as_bytes()[..end])?;
        Ok(head)
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = parse("GET /a?b HTTP/1.1\r\nHost: x\r\nAccept:\t*/* \r\n\r\n").unwrap();
        assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/a?b"));
        assert_eq!(head.fields.named("accept"), Some(&b"*/*"[..]));
        assert!(head.keeps_alive());
        assert!(!parse("GET / HTTP/1.0\r\nHost: x\r\n\r\n").unwrap().keeps_alive());
        assert!(!parse("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().keeps_alive());
    }

    #[test]
    fn heads_that_parsers_read_differently_are_refused() {
        use HeadError::*;
        for (wire, expected) in [
            ("GET / HTTP/1.1\nHost: x\n\n", LineEnding),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", LineEnding),
            ("GET / HTTP/1.1\r\nHost: x\r\n\n", LineEnding),
            ("GET / HTTP/1.1\r\nHost: x\ry\r\n\r\n", FieldLine),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", FieldLine),
            ("GET / HTTP/1.1\r\n A: b\r\n\r\n", FieldLine),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", FieldLine),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", FieldLine),
            ("GET / HTTP/1.1\r\nA b\r\n\r\n", FieldLine),
            ("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", FieldLine),
            ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", StartLine),
            ("GET /  HTTP/1.1\r\nHost: x\r\n\r\n", Version),
            ("GET /\tHTTP/1.1\r\nHost: x\r\n\r\n", StartLine),
            ("GET /é HTTP/1.1\r\nHost: x\r\n\r\n", StartLine),
            ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", LineEnding),
            ("GET /\r\nHost: x\r\n\r\n", StartLine),
            ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", Version),
            ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", Version),
            ("GET / http/1.1\r\nHost: x\r\n\r\n", Version),
            ("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", StartLine),
            ("GE(T / HTTP/1.1\r\nHost: x\r\n\r\n", StartLine),
            ("GET / HTTP/1.1\r\nConnection: content-length\r\n\r\n", Connection),
            ("GET / HTTP/1.1\r\nConnection: close, Host\r\n\r\n", Connection),
            ("GET / HTTP/1.1\r\nConnection: a b\r\n\r\n", Connection),
            (
                "POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n",
                UpgradeWithBody,
            ),
        ] {
            assert_eq!(parse(wire).err(), Some(expected), "{wire:?}");
        }
    }

    #[test]
    fn a_head_is_found_however_it_drips() {
        let wire = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
        let mut scan = HeadScan::default();
        let found: Vec<_> = (0..=wire.len()).map(|n| scan.end(&wire[..n]).unwrap()).collect();
        assert_eq!(found.iter().position(Option::is_some), Some(wire.len() - 4));
    }

    #[test]
    fn response_heads_are_read_as_strictly() {
        let mut head = ResponseHead::default();
        let ok = |head: &mut ResponseHead, wire: &str| head.parse(wire.as_bytes(), &Method::GET);
        assert_eq!(ok(&mut head, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n"), Ok(()));
        assert_eq!(head.framing, Framing::Length(2));
        for wire in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 999 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ] {
            assert!(ok(&mut head, wire).is_err(), "{wire:?}");
        }
    }
}
