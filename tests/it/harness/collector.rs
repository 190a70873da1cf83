//! An OTLP collector: keeps what it is sent, and answers as it is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use vestibule::tls::dev::Leaf;

use super::PATIENCE;

/// It runs until the test ends.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    requests: Vec<Received>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    /// The protobuf message.
    pub message: Bytes,
    /// Whether it was taken.
    pub taken: bool,
    pub at: Instant,
}

#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// HTTP, or gRPC as far as the head.
    Status(u16),
    /// The same, to be asked again after so many seconds.
    After(u16, u64),
    Grpc(u32),
    /// So many spans are not taken.
    InPart(i64),
    Silence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Grpc,
    Http,
}

impl Collector {
    pub fn start(speaks: Speaks) -> Self {
        Self::answering(speaks, &[])
    }

    /// Gives these answers first, and takes everything afterwards.
    pub fn answering(speaks: Speaks, answers: &[Answer]) -> Self {
        Self::listening(speaks, answers, None)
    }

    /// Over TLS, as whoever the leaf names.
    pub fn over_tls(speaks: Speaks, leaf: &Leaf) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = CertificateDer::from_pem_slice(leaf.cert_chain_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let alpn = if speaks == Speaks::Grpc { "h2" } else { "http/1.1" };
        config.alpn_protocols = vec![alpn.into()];
        Self::listening(speaks, &[], Some(Arc::new(config)))
    }

    fn listening(
        speaks: Speaks,
        answers: &[Answer],
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let state = State { answers: answers.iter().copied().collect(), ..State::default() };
        let collector =
            Self { address: listener.local_addr().unwrap(), state: Arc::new(Mutex::new(state)) };
        let state = Arc::clone(&collector.state);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, (speaks, tls), state));
        });
        collector
    }

    pub fn requests(&self) -> Vec<Received> {
        self.state.lock().unwrap().requests.clone()
    }

    /// All bytes that were ever sent here.
    pub fn bytes(&self) -> Vec<u8> {
        self.requests().iter().flat_map(|request| request.message.to_vec()).collect()
    }

    /// What was taken.
    pub fn resources(&self) -> Vec<ResourceSpans> {
        let taken =
            self.requests().into_iter().filter(|one| one.taken && one.path.contains("race"));
        let decode = |one: Received| ExportTraceServiceRequest::decode(one.message).unwrap();
        taken.flat_map(|one| decode(one).resource_spans).collect()
    }

    pub fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        let metrics = self.requests().into_iter().filter(|one| one.path.contains("etrics"));
        metrics.map(|one| ExportMetricsServiceRequest::decode(one.message).unwrap()).collect()
    }

    pub fn spans(&self) -> Vec<Span> {
        let scopes = self.resources().into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Waits for that many spans.
    pub fn wait(&self, count: usize) -> Vec<Span> {
        self.wait_until(|spans| spans.len() >= count)
    }

    pub fn wait_until(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let until = Instant::now() + PATIENCE;
        loop {
            let spans = self.spans();
            if enough(&spans) {
                return spans;
            }
            assert!(Instant::now() < until, "only {:#?}", self.requests());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for_requests(&self, count: usize) -> Vec<Received> {
        let until = Instant::now() + PATIENCE;
        while self.requests().len() < count {
            assert!(Instant::now() < until, "only {:#?}", self.requests());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.requests()
    }
}

/// The text of an attribute, of whatever type.
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|one| one.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

type Manner = (Speaks, Option<Arc<rustls::ServerConfig>>);

async fn serve(listener: std::net::TcpListener, (speaks, tls): Manner, state: Arc<Mutex<State>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, speaks, state).await,
                Some(tls) => {
                    if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                        connection(stream, speaks, state).await;
                    }
                }
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    speaks: Speaks,
    state: Arc<Mutex<State>>,
) {
    let stream = TokioIo::new(stream);
    let service = service_fn(move |request| answer(speaks, Arc::clone(&state), request));
    let _ = match speaks {
        Speaks::Http => http1::Builder::new().serve_connection(stream, service).await,
        Speaks::Grpc => {
            http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
        }
    };
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    speaks: Speaks,
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let message = match speaks {
        Speaks::Http => body,
        Speaks::Grpc => {
            assert_eq!(body[0], 0, "not compressed");
            assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
            body.slice(5..)
        }
    };
    let told = {
        let mut state = state.lock().unwrap();
        let told = state.answers.pop_front();
        state.requests.push(Received {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            message,
            taken: matches!(told, None | Some(Answer::InPart(_))),
            at: Instant::now(),
        });
        told
    };
    if matches!(told, Some(Answer::Silence)) {
        std::future::pending::<()>().await;
    }
    let partial = match told {
        // ExportTraceServiceResponse { partial_success: { rejected_spans } }
        Some(Answer::InPart(count)) => vec![0x0a, 2, 0x08, count as u8],
        _ => Vec::new(),
    };
    let mut response = match speaks {
        Speaks::Http => Response::new(Full::new(Bytes::from(partial)).boxed()),
        Speaks::Grpc => {
            let code = if let Some(Answer::Grpc(code)) = told { code } else { 0 };
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(code));
            let mut framed = vec![0];
            framed.extend_from_slice(&(partial.len() as u32).to_be_bytes());
            framed.extend_from_slice(&partial);
            let frames = [Ok(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
            let stream = futures_util::stream::iter(frames);
            Response::new(BoxBody::new(http_body_util::StreamBody::new(stream)))
        }
    };
    match told {
        Some(Answer::Status(status)) => *response.status_mut() = status.try_into().unwrap(),
        Some(Answer::After(status, seconds)) => {
            *response.status_mut() = status.try_into().unwrap();
            response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
        }
        _ => {}
    }
    Ok(response)
}
