//! A front door in few lines, for one exchange a connection, that can be told to be a bad one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client;
use super::firewall::{Firewall, Request, Verdict};
use crate::demo::persona::{APP_HOST, Persona};
use crate::tls::dev::{DevCa, Leaf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Sends an answer on when it is whole.
    Buffers,
    BelievesClient,
    NoRequestId,
    NoGate,
    /// Shows some certificate for every name and serves every host over it.
    AnyName,
    RewritesQuery,
    /// Streams open before anybody has said who is asking.
    OpensAwaiting,
    /// Any page may call.
    AnyOrigin,
    /// A WebSocket's handshake tells the persona alone.
    SilentSockets,
    TakesAnyLaunch,
    /// Another user's launch leaves the session before it alive.
    KeepsSessions,
    /// One persona's session is good for all.
    SharesSessions,
    TakesAlteredSessions,
    NoLimit,
}

pub struct StandIn {
    pub address: SocketAddr,
    pub ca: DevCa,
}

#[derive(Debug)]
struct ByName {
    chat: Arc<CertifiedKey>,
    app: Arc<CertifiedKey>,
    fault: Fault,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        match Persona::of_host(name) {
            Some(_) => Some(self.chat.clone()),
            None if name == APP_HOST || self.fault == Fault::AnyName => Some(self.app.clone()),
            None => None,
        }
    }
}

impl StandIn {
    pub async fn start(backend: SocketAddr, fault: Fault) -> Self {
        let ca = DevCa::generate_for_loopback().unwrap();
        let chat = certified(&ca.issue(&Persona::ALL.map(Persona::host)).unwrap());
        let app = certified(&ca.issue(&[APP_HOST]).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName { chat, app, fault }));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let firewall = Arc::new(Firewall::new(fault));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                let firewall = firewall.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => http2(stream, backend, &firewall, fault).await,
                        _ => http1(stream, backend, &firewall, fault).await,
                    };
                });
            }
        });
        Self { address, ca }
    }
}

fn certified(leaf: &Leaf) -> Arc<CertifiedKey> {
    let chain = vec![CertificateDer::from_pem_slice(leaf.cert_chain_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Arc::new(CertifiedKey::from_der(chain, key, &provider).unwrap())
}

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn http1(
    mut stream: TlsStream<TcpStream>,
    backend: SocketAddr,
    firewall: &Firewall,
    fault: Fault,
) -> Done {
    let sni = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec())?;
    if let Some(status) = refusal(&head, &sni, fault) {
        let answer = format!("HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        return Ok(stream.shutdown().await?);
    }
    // Only of a configuration is the body looked at; that of a bad request may never come.
    while head.starts_with("POST /.vestibule/") && bytes.len() - end - 4 < length_of(&head) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let (lines, set_cookie, is_document) = match judge(firewall, &head, &bytes[end + 4..]) {
        Verdict::Answer(answer) => {
            stream.write_all(answer.as_bytes()).await?;
            return Ok(stream.shutdown().await?);
        }
        Verdict::Pass { lines, set_cookie, is_document } => (lines, set_cookie, is_document),
    };
    let mut upstream = TcpStream::connect(backend).await?;
    upstream.write_all(rewritten(&head, &lines, fault).as_bytes()).await?;
    upstream.write_all(&bytes[end + 4..]).await?;
    if is_document || fault == Fault::Buffers && head.starts_with("GET /api/stream") {
        let mut whole = Vec::new();
        upstream.read_to_end(&mut whole).await?;
        if is_document {
            whole = with_bridge(&whole, &set_cookie.unwrap_or_default(), &head)?;
        }
        stream.write_all(&whole).await?;
        return Ok(stream.shutdown().await?);
    }
    tokio::io::copy_bidirectional(&mut stream, &mut upstream).await?;
    Ok(())
}

/// The host page is for everybody.
fn judge(firewall: &Firewall, head: &str, body: &[u8]) -> Verdict {
    match host_of(head).and_then(Persona::of_host) {
        Some(persona) => firewall.decide(&Request { persona, head, body }),
        None => Verdict::Pass { lines: String::new(), set_cookie: None, is_document: false },
    }
}

fn host_of(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("Host: "))?.split(':').next()
}

fn length_of(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn with_bridge(whole: &[u8], lines: &str, head: &str) -> Result<Vec<u8>, &'static str> {
    let text = String::from_utf8_lossy(whole);
    let port = head.split("Host: ").nth(1).and_then(|host| host.split([':', '\r']).nth(1));
    let origin = format!("https://{APP_HOST}:{}", port.unwrap_or_default());
    let bridge =
        format!("<head><script src=\"/.vestibule/bridge.js\" data-origins=\"{origin}\"></script>");
    let (fields, page) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    let kept = fields.lines().filter(|line| !line.to_lowercase().starts_with("content-length"));
    let fields = kept.collect::<Vec<_>>().join("\r\n");
    Ok(format!("{fields}\r\n{lines}\r\n{}", page.replace("<head>", &bridge)).into_bytes())
}

fn refusal(head: &str, sni: &str, fault: Fault) -> Option<u16> {
    let line_starts = |name: &str| {
        head.lines().filter(|line| line.to_lowercase().starts_with(&format!("{name}:"))).count()
    };
    let path = head.split(' ').nth(1)?.split('?').next()?;
    let ambiguous = ["%2e", "//", "%2f", "%00"].iter().any(|part| path.contains(part));
    let lengths = line_starts("content-length") + line_starts("transfer-encoding");
    if fault != Fault::NoGate && (ambiguous || lengths > 1 || line_starts("host") != 1) {
        return Some(400);
    }
    let host = host_of(head)?;
    let same = Persona::of_host(host).is_some() == Persona::of_host(sni).is_some();
    (!same && fault != Fault::AnyName).then_some(421)
}

/// The head that the app gets, its empty line included. `identity` are header lines.
fn rewritten(head: &str, identity: &str, fault: Fault) -> String {
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    let ours = ["x-forwarded-", "x-request-id", "x-vestibule-"];
    let is_ours = |line: &str| {
        let line = line.to_lowercase().replace('_', "-");
        ours.iter().any(|name| line.starts_with(name))
    };
    if fault != Fault::BelievesClient {
        lines.retain(|line| !is_ours(line));
    }
    lines.extend(identity.lines().map(str::to_owned));
    if fault == Fault::RewritesQuery {
        lines[0] = lines[0].replace("%20", "+");
    }
    let sent = |name: &str| lines.iter().any(|line| line.to_lowercase().starts_with(name));
    let host = lines.iter().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let mut added = Vec::new();
    if !sent("x-forwarded-for") {
        added.push("X-Forwarded-For: 127.0.0.1".to_owned());
        added.push("X-Forwarded-Proto: https".to_owned());
        added.push(format!("X-Forwarded-Host: {host}"));
    }
    if fault != Fault::NoRequestId && !sent("x-request-id") {
        added.push(format!("X-Request-Id: {id:032x}"));
    }
    lines.extend(added);
    lines.join("\r\n") + "\r\n\r\n"
}

async fn http2(
    stream: TlsStream<TcpStream>,
    backend: SocketAddr,
    firewall: &Firewall,
    fault: Fault,
) -> Done {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        let path = request.uri().path();
        let cookie = request.headers().get("cookie").and_then(|it| it.to_str().ok());
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {}",
            cookie.unwrap_or_default()
        );
        let whole = match judge(firewall, &head, b"") {
            Verdict::Answer(answer) => answer.into_bytes(),
            Verdict::Pass { lines, .. } => {
                let mut upstream = TcpStream::connect(backend).await?;
                upstream.write_all(rewritten(&head, &lines, fault).as_bytes()).await?;
                let mut whole = Vec::new();
                upstream.read_to_end(&mut whole).await?;
                whole
            }
        };
        let (answer, _) = client::parse(&whole)?.ok_or("no answer")?;
        let response = http::Response::builder().status(answer.status).body(())?;
        respond.send_response(response, false)?.send_data(Bytes::from(answer.body), true)?;
    }
    Ok(())
}
