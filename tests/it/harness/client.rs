//! A blocking client that sends exact bytes over TCP or TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::PATIENCE;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub struct Client {
    stream: Box<dyn Stream>,
    tcp: TcpStream,
    buffered: Vec<u8>,
}

/// A response, as far as the tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Field lines as received.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a problem document.
    pub fn code(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn plain(address: SocketAddr) -> Self {
        let tcp = connect(address);
        let stream = Box::new(tcp.try_clone().unwrap());
        Self { stream, tcp, buffered: Vec::new() }
    }

    /// TLS with that server name; `None` where the handshake fails.
    pub fn tls(address: SocketAddr, ca_pem: &str, name: &str, alpn: &[&str]) -> Option<Self> {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(rustls_pki_types::CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = connect(address);
        let mut io = tcp.try_clone().unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut io).ok()?;
        }
        let stream = Box::new(rustls::StreamOwned::new(session, io));
        Some(Self { stream, tcp, buffered: Vec::new() })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
        self
    }

    /// Sends what can be sent; the server may have hung up.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    pub fn shutdown_write(&mut self) {
        self.tcp.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Reads until `enough` bytes are buffered or the connection ends.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.buffered.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => {
                assert!(
                    !matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ),
                    "nothing came for {PATIENCE:?}; buffered: {:?}",
                    String::from_utf8_lossy(&self.buffered)
                );
                false
            }
        }
    }

    /// The next response head; `None` where the connection ended first.
    pub fn read_head(&mut self) -> Option<Response> {
        loop {
            if let Some(at) = self.buffered.windows(4).position(|part| part == b"\r\n\r\n") {
                let head = self.buffered.drain(..at + 4).collect::<Vec<_>>();
                let head = String::from_utf8(head).unwrap();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Some(Response { status, head, body: Vec::new() });
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next whole response to a request that is not HEAD.
    pub fn read_response(&mut self) -> Option<Response> {
        let mut response = self.read_head()?;
        if let Some(length) = response.field("content-length") {
            let length = length.parse().unwrap();
            response.body = self.read_exactly(length);
        } else if response.field("transfer-encoding") == Some("chunked") {
            response.body = self.read_chunked();
        } else if response.status >= 200 && response.status != 204 && response.status != 304 {
            response.body = self.read_to_end();
        }
        Some(response)
    }

    fn read_chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line();
            let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("{line:?}"));
            if size == 0 {
                while !self.read_line().is_empty() {}
                return body;
            }
            body.extend(self.read_exactly(size));
            assert_eq!(self.read_line(), "");
        }
    }

    /// One line without its CRLF.
    pub fn read_line(&mut self) -> String {
        loop {
            if let Some(at) = self.buffered.windows(2).position(|part| part == b"\r\n") {
                let line: Vec<u8> = self.buffered.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).unwrap();
            }
            assert!(self.fill(), "the connection ended inside a line: {:?}", self.buffered);
        }
    }

    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffered.len() < count {
            assert!(self.fill(), "the connection ended after {} bytes", self.buffered.len());
        }
        self.buffered.drain(..count).collect()
    }

    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffered)
    }

    /// Whether the server has ended the connection, with nothing more to read.
    pub fn is_closed(&mut self) -> bool {
        self.buffered.is_empty() && !self.fill()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}
