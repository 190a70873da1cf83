//! The demo's chat application: plain HTTP on a loopback port, for all personas and the host page.
//!
//! It stands for the app that a team already has behind its proxy. Who is asking, and at which
//! persona, it knows from Vestibule alone ([`caller`]); where nobody says it, nobody is served. It
//! must not need anything from Vestibule but what any upstream gets.

mod answer;
mod bot;
mod caller;
mod chat;
mod pages;
mod seen;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::sync::oneshot;

use answer::Body;
use caller::Caller;
use seen::{Address, Place};

pub use chat::SUBPROTOCOL;
pub use pages::Trust;

/// A running backend; dropping it stops it.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Listens on a free loopback port and serves from a thread of its own.
    pub fn start(trust: Trust) -> io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), trust)
    }

    fn start_on(address: SocketAddr, trust: Trust) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("demo-backend".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = accept(listener, Arc::new(trust)) => {}
                    // Also when the sender is gone: a backend that nobody holds is not wanted.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, trust: Arc<Trust>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely; the ones in use will end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Streamed words are small writes: without this they wait for each other's ACK.
        let _ = stream.set_nodelay(true);
        let trust = trust.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let trust = trust.clone();
                async move { Ok::<_, Infallible>(serve(request, &trust).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // A client that goes away is its own business.
            let _ = connection.await;
        });
    }
}

async fn serve(request: Request<Incoming>, trust: &Trust) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/healthz" => return answer::text(StatusCode::OK, "ok\n"),
        "/api/whoami" => return whoami(&request),
        _ => {}
    }
    if let Some(asset) = pages::asset(&path) {
        return asset;
    }
    let Some(address) = Address::of(request.headers()) else {
        return answer::problem(StatusCode::NOT_FOUND, "unknown_host");
    };
    if address.place == Place::HostPage {
        return match *request.method() {
            Method::GET | Method::HEAD => pages::host(&path, &address, trust),
            _ => answer::problem(StatusCode::NOT_FOUND, "not_found"),
        };
    }
    let Some(caller) = Caller::of(request.headers()) else {
        return answer::problem(StatusCode::UNAUTHORIZED, "identity_absent");
    };
    match (request.method(), path.as_str()) {
        (&Method::POST, "/api/message") => chat::message(caller, request).await,
        (&Method::GET, "/api/stream") => chat::stream(caller, &request),
        (&Method::GET, "/ws") => chat::socket(caller, request),
        (&(Method::GET | Method::HEAD), "/") => {
            pages::chat(&caller, &address, request.uri().query().unwrap_or_default())
        }
        _ => answer::problem(StatusCode::NOT_FOUND, "not_found"),
    }
}

/// Everything that arrived, for people and for the checks.
fn whoami(request: &Request<Incoming>) -> Response<Body> {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            [name.as_str(), &String::from_utf8_lossy(value.as_bytes())].map(str::to_owned)
        })
        .collect();
    answer::json(
        StatusCode::OK,
        &json!({
            "caller": Caller::of(request.headers()),
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "query": request.uri().query(),
            "headers": headers,
        }),
    )
}

#[cfg(test)]
mod tests;
