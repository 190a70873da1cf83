//! An HTTP/2 client over TLS, on the `h2` crate.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, StatusCode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::proxy::Proxy;

/// One connection.
pub struct Client {
    send: SendRequest<Bytes>,
    /// Ends with the connection.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a problem document.
    pub fn code(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// Runs a test; one that takes too long fails.
pub fn soon(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::time::timeout(PATIENCE, test).await };
    runtime.block_on(test).expect("the test takes too long");
}

/// Runs what blocks, such as waiting for an upstream, beside the connections.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://chat.test{path}"))
}

pub fn get(path: &str) -> Request<()> {
    request(Method::GET, path).body(()).unwrap()
}

impl Client {
    /// Default windows for streams, and a connection window that no stalled stream can use up.
    pub async fn connect(proxy: &Proxy) -> Self {
        Self::connect_to(proxy.https(), proxy.ca.pem()).await
    }

    pub async fn connect_to(door: std::net::SocketAddr, ca_pem: &str) -> Self {
        let tcp = TcpStream::connect(door).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self::over(tcp, ca_pem).await
    }

    /// Over a stream that is connected.
    pub async fn over(
        tcp: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        ca_pem: &str,
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("chat.test").unwrap();
        let tls = connector.connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = Builder::new();
        builder.initial_connection_window_size(1024 * 1024);
        let (send, connection) = builder.handshake(tls).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    /// Begins a request.
    pub async fn begin(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request, end).unwrap()
    }

    /// Sends a request without a body.
    pub async fn ask(&mut self, request: Request<()>) -> Answer {
        let (response, _) = self.begin(request, true).await;
        answer(response).await
    }

    /// Whether another request can be sent.
    pub async fn is_open(&mut self) -> bool {
        self.send.clone().ready().await.is_ok()
    }

    /// Opens a WebSocket (RFC 8441), once the server has said that it can.
    pub async fn open_websocket(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        while !self.send.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let request = request(Method::CONNECT, path)
            .extension(h2::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "a, b")
            .header("sec-websocket-extensions", "permessage-deflate")
            .body(())
            .unwrap();
        self.begin(request, false).await
    }
}

/// Waits for the whole response.
pub async fn answer(response: ResponseFuture) -> Answer {
    whole(response.await.unwrap()).await
}

/// The same; nothing where the server has said that it did not begin with the request
/// (RFC 9113, section 6.8), as the client may have sent it when it was told so.
pub async fn answer_or_untouched(response: ResponseFuture) -> Option<Answer> {
    match response.await {
        Ok(response) => Some(whole(response).await),
        Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn whole(response: http::Response<RecvStream>) -> Answer {
    let (parts, mut body) = response.into_parts();
    let (data, error) = read(&mut body).await;
    assert!(error.is_none(), "{parts:?} {error:?}");
    let trailers = body.trailers().await.unwrap();
    Answer { status: parts.status, fields: parts.headers, body: data, trailers }
}

/// Reads to the end of a stream, or to its reset.
pub async fn read(body: &mut RecvStream) -> (Vec<u8>, Option<h2::Error>) {
    let mut all = Vec::new();
    loop {
        match body.data().await {
            None => return (all, None),
            Some(Err(error)) => return (all, Some(error)),
            Some(Ok(data)) => {
                all.extend_from_slice(&data);
                body.flow_control().release_capacity(data.len()).unwrap();
            }
        }
    }
}

/// Reads exactly that many bytes.
pub async fn read_exactly(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let data = body.data().await.expect("the stream goes on").unwrap();
        all.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(all.len(), count);
    all
}

/// Sends as the windows allow.
pub async fn write(stream: &mut SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let granted = granted.expect("the stream is open").unwrap().min(data.len());
        stream.send_data(data.split_to(granted), false).unwrap();
    }
}

/// Ends what is sent.
pub fn finish(stream: &mut SendStream<Bytes>) {
    stream.send_data(Bytes::new(), true).unwrap();
}
