//! One request to the admin listener, and its answer.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// To connect; a server on this machine accepts at once.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer: a reload may wait for another one, and read many files.
const ANSWER: Duration = Duration::from_secs(300);
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why nothing was done, in a sentence.
#[derive(Debug)]
pub struct Failure(pub String);

pub struct Client {
    address: SocketAddr,
    authorization: Option<HeaderValue>,
}

/// What the server said.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Null where it was no JSON.
    pub document: Value,
}

impl Client {
    /// Of the server that runs with that file.
    pub fn of(file: &Path) -> Result<Self, Failure> {
        let settings = crate::config::load_admin(file).map_err(|problems| {
            for problem in problems {
                eprintln!("{problem}");
            }
            let file = file.display();
            Failure(format!(
                "{file} does not say where the server listens for operators, see above"
            ))
        })?;
        let Some(listen) = settings.listen else {
            return Err(Failure(format!(
                "{} has no [admin] listen: add [admin] with listen = \"127.0.0.1:9180\" and restart \
                 the server, or send it a signal (SIGHUP reloads)",
                file.display()
            )));
        };
        if listen.port() == 0 {
            let file = file.display();
            return Err(Failure(format!("[admin] listen in {file} has no port of its own")));
        }
        let authorization = match &settings.token {
            None => None,
            Some(token) => Some(token.bearer().ok_or_else(|| {
                Failure("the token of [admin] cannot stand in a header".to_owned())
            })?),
        };
        Ok(Self { address: reachable(listen), authorization })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.ask(Method::GET, path, Bytes::new())
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.ask(Method::POST, path, body.to_string().into())
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure(format!("cannot start: {error}")))?;
        runtime.block_on(async {
            let stream = tokio::time::timeout(CONNECT, TcpStream::connect(self.address)).await;
            let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let stream = stream.map_err(|error| self.no_server(&error))?;
            let answered = tokio::time::timeout(ANSWER, self.exchange(stream, method, path, body));
            match answered.await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(error)) => Err(self.broken(&*error)),
                Err(_) => Err(self.broken(&"no answer in five minutes")),
            }
        })
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with the runtime.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let (head, body) =
            send.send_request(request.body(Full::<Bytes>::from(body))?).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
        let document = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Reply { status: head.status.as_u16(), document })
    }

    fn no_server(&self, error: &io::Error) -> Failure {
        let address = self.address;
        Failure(match error.kind() {
            io::ErrorKind::ConnectionRefused => format!(
                "nothing listens on {address}: is the server running, and with this file? (-c FILE)"
            ),
            io::ErrorKind::TimedOut => format!("{address} does not answer"),
            _ => format!("cannot reach {address}: {error}"),
        })
    }

    fn broken(&self, error: &dyn fmt::Display) -> Failure {
        Failure(format!("{} does not answer as Vestibule would: {error}", self.address))
    }
}

/// An address that means every interface is not one to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}
