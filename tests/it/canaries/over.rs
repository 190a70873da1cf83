//! What requests go over: each is written as HTTP/1 has it, and said in HTTP/2 where that can be.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use http::{Method, Request};
use tokio::runtime::Handle;

use super::secrets::MARK;
use super::stage::PATIENCE;
use crate::harness::client::{Client, Response};
use crate::harness::h2 as http2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Over {
    Http1,
    Http2,
}

/// An answer that is waited for.
pub enum Pending {
    Http1(Client),
    Http2(ResponseFuture, SendStream<Bytes>),
}

/// A connection of HTTP/2 for who waits; a thread of its own keeps it going meanwhile.
pub struct Speaker {
    door: SocketAddr,
    ca_pem: String,
    client: Option<http2::Client>,
    handle: Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    pub fn new(door: SocketAddr, ca_pem: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        let (stop, thread) = (Some(stop), Some(thread));
        Self { door, ca_pem: ca_pem.to_owned(), client: None, handle, stop, thread }
    }

    fn soon<T>(&self, what: impl Future<Output = T>) -> T {
        let what = async { tokio::time::timeout(PATIENCE, what).await };
        self.handle.block_on(what).expect("it takes too long")
    }

    /// Begins a request; the body is sent as far as it is taken.
    pub fn begin(&mut self, (request, body): (Request<()>, Bytes)) -> Pending {
        let mut client = self.client.take();
        let (client, response, mut sending) = self.soon(async {
            // Where one was ended, as it may be for what is malformed, there is another.
            if !is_open(&mut client).await {
                client = Some(http2::Client::connect_to(self.door, &self.ca_pem).await);
            }
            let mut client = client.unwrap();
            let owes = request.headers().contains_key("content-length")
                || request.method() == Method::CONNECT;
            let (response, sending) = client.begin(request, body.is_empty() && !owes).await;
            (client, response, sending)
        });
        self.client = Some(client);
        if !body.is_empty() {
            // Refused before it was all sent, maybe.
            let _ = sending.send_data(body, true);
        }
        Pending::Http2(response, sending)
    }

    /// The head of the answer, and all of it where `is_whole`; nothing where the stream was reset.
    pub fn end(
        &self,
        response: ResponseFuture,
        _sending: SendStream<Bytes>,
        is_whole: bool,
    ) -> Option<Response> {
        self.soon(async {
            let (head, mut body) = response.await.ok()?.into_parts();
            let status = head.status.as_u16();
            let mut text = format!("HTTP/2 {status}\r\n");
            for (name, value) in &head.headers {
                text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
            }
            let body = if is_whole { http2::read(&mut body).await.0 } else { Vec::new() };
            Some(Response { status, head: text + "\r\n", body })
        })
    }
}

async fn is_open(client: &mut Option<http2::Client>) -> bool {
    match client {
        Some(client) => client.is_open().await,
        None => false,
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

/// The same in HTTP/2; nothing where it is about what only HTTP/1 can say.
pub fn in_http2(request: &str) -> Option<(Request<()>, Bytes)> {
    let (head, body) = request.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut line = lines.next()?.split(' ');
    let (method, target) = (line.next()?, line.next()?);
    if line.next() != Some("HTTP/1.1") || target.contains('#') {
        return None;
    }
    let fields: Vec<_> = lines.map(|line| line.split_once(": ")).collect::<Option<_>>()?;
    let value = |of: &str| {
        let mut all = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(of));
        all.next().map(|(_, value)| *value)
    };
    let uri = match target.starts_with('/') {
        true => format!("https://{}{target}", value("host")?),
        false => target.to_owned(),
    };
    let is_websocket = value("upgrade").is_some();
    let method = if is_websocket { "CONNECT" } else { method };
    let mut translated = Request::builder().method(method).uri(uri);
    if is_websocket {
        // The key is one of HTTP/1 alone.
        if value("sec-websocket-key") == Some(MARK) {
            return None;
        }
        translated = translated.extension(h2::ext::Protocol::from_static("websocket"));
    }
    let mut hosts = 0;
    for (name, value) in &fields {
        match name.to_ascii_lowercase().as_str() {
            // The first is the authority.
            "host" if std::mem::replace(&mut hosts, 1) == 0 => {}
            "connection" | "upgrade" | "sec-websocket-key" => {}
            "transfer-encoding" => return None,
            // The library resets such a stream by itself.
            "content-length" if value.parse::<u64>().is_err() => return None,
            name => {
                // Pages over TLS are of another origin than the same without.
                let own = value.strip_prefix("http://").filter(|_| name == "origin");
                translated = match own {
                    Some(host) => translated.header(name, format!("https://{host}")),
                    None => translated.header(name, *value),
                };
            }
        }
    }
    Some((translated.body(()).ok()?, Bytes::copy_from_slice(body.as_bytes())))
}
