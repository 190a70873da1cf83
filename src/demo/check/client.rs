//! The check's own client: TLS with the demo's authority as the only root, and HTTP/1.1 as bytes,
//! so that it can also send what no library would.
//!
//! It dials one address whatever the name, as a browser's resolver would answer for `*.localhost`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Long for loopback; a check that hangs must still end.
const PATIENCE: Duration = Duration::from_secs(3);
const LARGEST_ANSWER: usize = 1 << 20;

pub struct Client {
    address: SocketAddr,
    http1: TlsConnector,
    http2: TlsConnector,
}

/// The protocol to ask for by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    Http1,
    Http2,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr, ca_pem: &str) -> Result<Self, String> {
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| e.to_string())?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|error| error.to_string())?;
        let connector = |protocol: &[u8]| -> Result<TlsConnector, rustls::Error> {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        let built = |result: Result<_, rustls::Error>| result.map_err(|error| error.to_string());
        Ok(Self { address, http1: built(connector(b"http/1.1"))?, http2: built(connector(b"h2"))? })
    }

    /// `host` with the port that it is served on.
    pub fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.address.port())
    }

    pub fn origin(&self, host: &str) -> String {
        format!("https://{}", self.authority(host))
    }

    /// A verified connection with `name` in SNI; the error is rustls' own where there is one.
    pub async fn connect(&self, name: &str, alpn: Alpn) -> Result<TlsStream<TcpStream>, Refusal> {
        let server =
            ServerName::try_from(name.to_owned()).map_err(|e| Refusal::Other(e.to_string()))?;
        let connector = match alpn {
            Alpn::Http1 => &self.http1,
            Alpn::Http2 => &self.http2,
        };
        let handshake = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            connector.connect(server, stream).await
        };
        match tokio::time::timeout(PATIENCE, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Refusal::of(error)),
            Err(_) => Err(Refusal::Other("no handshake in time".into())),
        }
    }

    /// Sends `request` as it stands on a connection for `name`, reads one answer.
    pub async fn raw(&self, name: &str, request: &[u8]) -> Result<Answer, String> {
        let mut stream = self.connect(name, Alpn::Http1).await.map_err(|e| e.to_string())?;
        let exchange = async {
            stream.write_all(request).await.map_err(|error| error.to_string())?;
            read_answer(&mut stream).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err("no answer in time".into()))
    }

    /// GET with these further header lines (each ending in CRLF).
    pub async fn get(&self, host: &str, target: &str, lines: &str) -> Result<Answer, String> {
        let head = self.head("GET", host, target, lines);
        self.raw(host, format!("{head}\r\n").as_bytes()).await
    }

    /// POST of JSON, with these further header lines.
    pub async fn post_json(
        &self,
        host: &str,
        target: &str,
        lines: &str,
        body: &str,
    ) -> Result<Answer, String> {
        let length = body.len();
        let lines =
            format!("{lines}Content-Type: application/json\r\nContent-Length: {length}\r\n");
        let head = self.head("POST", host, target, &lines);
        self.raw(host, format!("{head}\r\n{body}").as_bytes()).await
    }

    /// A request head without its empty line, for one exchange.
    pub fn head(&self, method: &str, host: &str, target: &str, lines: &str) -> String {
        let authority = self.authority(host);
        format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{lines}")
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Refusal {
    /// The server ended the handshake and said why.
    Alert(String),
    /// This side refused what the server showed.
    Certificate(String),
    Other(String),
}

impl Refusal {
    fn of(error: std::io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(format!("{alert:?}")),
            Some(rustls::Error::InvalidCertificate(reason)) => {
                Self::Certificate(format!("{reason}"))
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alert(alert) => write!(f, "the handshake was refused ({alert})"),
            Self::Certificate(reason) => write!(f, "the certificate does not verify ({reason})"),
            Self::Other(reason) => write!(f, "no connection ({reason})"),
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// All values of `name`.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|_| format!("status {}, not JSON: {}", self.status, self.start()))
    }

    /// This answer when its status is `status`, else what it was.
    pub fn with_status(self, status: u16) -> Result<Self, String> {
        if self.status == status {
            return Ok(self);
        }
        Err(format!("status {} {}", self.status, self.start()))
    }

    fn start(&self) -> String {
        self.text().chars().take(120).collect::<String>().replace(['\r', '\n'], " ")
    }
}

/// Reads until the answer is whole by its own framing, or the connection ends.
pub async fn read_answer(stream: &mut TlsStream<TcpStream>) -> Result<Answer, String> {
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await;
        let ended = !matches!(read, Ok(count) if count > 0);
        if let Some((answer, whole)) = parse(&bytes)?
            && (whole || ended)
        {
            return Ok(answer);
        }
        if ended {
            return Err(match read {
                Err(error) => format!("connection lost: {error}"),
                Ok(_) => format!("connection closed after {} bytes", bytes.len()),
            });
        }
        if bytes.len() > LARGEST_ANSWER {
            return Err("an answer without end".into());
        }
    }
}

/// The answer as far as it is there, and whether it is whole.
pub fn parse(bytes: &[u8]) -> Result<Option<(Answer, bool)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let start = match head.parse(bytes) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("not HTTP: {error}")),
    };
    let headers = head
        .headers
        .iter()
        .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()))
        .collect();
    let mut answer = Answer { status: head.code.unwrap_or(0), headers, body: Vec::new() };
    let rest = &bytes[start..];
    let chunked = answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    let whole = match length {
        _ if chunked => unchunk(rest, &mut answer.body),
        Some(length) => {
            answer.body.extend_from_slice(&rest[..rest.len().min(length)]);
            rest.len() >= length
        }
        None => {
            answer.body.extend_from_slice(rest);
            false
        }
    };
    Ok(Some((answer, whole)))
}

/// Decodes as many chunks as are there; true when the last one was among them.
fn unchunk(mut rest: &[u8], body: &mut Vec<u8>) -> bool {
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let data = &rest[start..];
        if size == 0 {
            return data.windows(2).any(|end| end == b"\r\n");
        }
        body.extend_from_slice(&data[..data.len().min(size)]);
        match data.get(size.saturating_add(2)..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    false
}
