//! What the generators share: one TLS connector, a response head, a WebSocket handshake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::args::{Args, Result};

/// Every body byte that the backend sends.
pub const FILL: u8 = b'v';

/// Nothing on loopback takes this long, unless the proxy has lost it.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub type Stream = TlsStream<TcpStream>;

/// Whether a connector resumes sessions.
#[derive(Clone, Copy)]
pub enum Tickets {
    Kept,
    Refused,
}

/// Where to connect, as whom, and whom to trust.
#[derive(Clone)]
pub struct Target {
    addr: SocketAddr,
    host: String,
    /// What goes into Host and, after the scheme, into Origin.
    pub authority: String,
    roots: Arc<RootCertStore>,
}

impl Target {
    pub fn from_args(args: &Args) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(args.get::<String>("ca")?)?)?;
        let (addr, host): (SocketAddr, String) = (args.get("addr")?, args.get("host")?);
        let authority = format!("{host}:{}", addr.port());
        Ok(Self { addr, host, authority, roots: Arc::new(roots) })
    }

    /// A connector with a ticket store of its own, or with none.
    ///
    /// It offers TLS 1.3 with one suite and one group, so that every peer does the same
    /// cryptography whatever its library would prefer.
    pub fn connector(&self, tickets: Tickets) -> Result<TlsConnector> {
        let provider = rustls::crypto::CryptoProvider {
            cipher_suites: vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        if matches!(tickets, Tickets::Refused) {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    pub async fn connect(&self, connector: &TlsConnector) -> Result<Stream> {
        let tcp = TcpStream::connect(self.addr).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        Ok(connector.connect(name, tcp).await?)
    }
}

/// Fails with a word on what it waited for.
pub async fn patiently<T>(what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, future).await.map_err(|_| format!("no end to: {what}"))?
}

pub struct Head {
    pub status: u16,
    lines: String,
    /// What came after the head.
    pub rest: Vec<u8>,
}

impl Head {
    pub async fn read(stream: &mut Stream) -> Result<Self> {
        let mut buffer = Vec::with_capacity(2048);
        let end = loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err("closed before the answer's head was whole".into());
            }
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let rest = buffer.split_off(end);
        let lines = String::from_utf8(buffer)?;
        let status = lines.get(9..12).unwrap_or_default().parse()?;
        Ok(Self { status, lines, rest })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find_map(|(n, value)| n.eq_ignore_ascii_case(name).then(|| value.trim()))
    }

    pub fn expect(&self, status: u16) -> Result<()> {
        if self.status == status {
            return Ok(());
        }
        let shown = self.lines.lines().next().unwrap_or_default();
        Err(format!("expected status {status}, got `{shown}`").into())
    }
}

pub fn accept_key(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// An open WebSocket to `/ws`, its handshake checked.
pub async fn open_websocket(target: &Target, connector: &TlsConnector) -> Result<Stream> {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let mut stream = target.connect(connector).await?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nOrigin: https://{host}\r\n\r\n",
        host = target.authority
    );
    stream.write_all(request.as_bytes()).await?;
    let head = Head::read(&mut stream).await?;
    head.expect(101)?;
    if head.header("sec-websocket-accept") != Some(&accept_key(KEY)) || !head.rest.is_empty() {
        return Err("a 101 that is no answer to our WebSocket handshake".into());
    }
    Ok(stream)
}

/// The payload of every WebSocket message.
pub const MESSAGE_BYTES: usize = 100;

/// Sends one binary message that no other message equals, and checks its echo byte by byte.
pub async fn exchange(stream: &mut Stream, sequence: u64) -> Result<()> {
    let mut payload = [FILL; MESSAGE_BYTES];
    payload[..8].copy_from_slice(&sequence.to_be_bytes());
    // Nothing here can be fooled by a predictable mask, and it must not cost the client much.
    let mask = (sequence as u32 ^ 0x5eed_1e55).to_be_bytes();
    let mut frame = [0; 6 + MESSAGE_BYTES];
    frame[..2].copy_from_slice(&[0x82, 0x80 | MESSAGE_BYTES as u8]);
    frame[2..6].copy_from_slice(&mask);
    for (at, byte) in payload.iter().enumerate() {
        frame[6 + at] = byte ^ mask[at % 4];
    }
    stream.write_all(&frame).await?;
    let mut answer = [0; 2 + MESSAGE_BYTES];
    stream.read_exact(&mut answer).await?;
    if answer[..2] != [0x82, MESSAGE_BYTES as u8] || answer[2..] != payload {
        return Err("an echo that differs from what was sent".into());
    }
    Ok(())
}
