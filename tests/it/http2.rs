//! HTTP/2 from the client: messages, flow control, resets, and how a connection ends.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::harness::PATIENCE;
use crate::harness::h2::{
    Client, answer, blocking, finish, get, read, read_exactly, request, soon, write,
};
use crate::harness::proxy::{Builder, Proxy};
use crate::harness::upstream::{Conversation, Upstream};

/// Reads a request whose body ends with the last chunk.
fn read_chunked(conversation: &mut Conversation) -> String {
    let mut seen = Vec::new();
    let (mut end, mut chunked) = (None, false);
    loop {
        let byte = conversation.read_exactly(1);
        if byte.is_empty() {
            break;
        }
        seen.extend_from_slice(&byte);
        if end.is_none() && seen.ends_with(b"\r\n\r\n") {
            end = Some(seen.len());
            chunked = String::from_utf8_lossy(&seen).contains("Transfer-Encoding: chunked");
        }
        let Some(end) = end else { continue };
        let body = &seen[end.saturating_sub(2)..];
        let last = memchr::memmem::find(body, b"\r\n0\r\n").is_some();
        if !chunked || (last && seen.ends_with(b"\r\n\r\n") && seen.len() > end) {
            break;
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Holds each connection until the other side ends it, and tells.
fn hanging() -> (Upstream, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::start(move |mut conversation| {
        conversation.read_request();
        conversation.read_to_end();
        // Nobody listens once the test is over.
        let _ = tell.lock().unwrap().send(());
    });
    (upstream, told)
}

#[test]
fn a_request_passes_with_the_authority_as_its_host() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        for _ in 0..3 {
            let answer = client.ask(get("/%61?x=1")).await;
            assert_eq!((answer.status.as_u16(), &*answer.text()), (200, "ok"));
            assert_eq!(answer.field("x-request-id").unwrap().len(), 32);
            assert_eq!(answer.field("content-length"), Some("2"));
        }
    });
    let received = upstream.received();
    assert!(received.starts_with("GET /a?x=1 HTTP/1.1\r\nHost: chat.test\r\n"), "{received}");
    assert!(received.contains("X-Forwarded-Proto: https\r\n"), "{received}");
    assert_eq!(upstream.connections(), 1, "one pooled connection serves all");
}

#[test]
fn a_request_body_keeps_its_length_or_is_chunked() {
    let upstream = Upstream::start(|mut conversation| {
        while !read_chunked(&mut conversation).is_empty() {
            conversation
                .write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    let proxy = Proxy::before(upstream.address);
    for (length, expected) in [
        (Some("5"), "Content-Length: 5\r\n\r\nhello"),
        (None, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        soon(async {
            let mut client = Client::connect(&proxy).await;
            let mut post = request(Method::POST, "/");
            if let Some(length) = length {
                post = post.header("content-length", length);
            }
            let (response, mut body) = client.begin(post.body(()).unwrap(), false).await;
            write(&mut body, Bytes::from("hello")).await;
            finish(&mut body);
            assert_eq!(answer(response).await.status, 200);
        });
        upstream.wait_for(|received| received.ends_with(expected));
    }
}

#[test]
fn trailers_and_interim_responses_pass() {
    let upstream = Upstream::start(|mut conversation| {
        read_chunked(&mut conversation);
        conversation.write(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n\
              Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n",
        );
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let post = request(Method::POST, "/").header("te", "trailers").body(()).unwrap();
        let (mut response, mut body) = client.begin(post, false).await;
        write(&mut body, Bytes::from("abc")).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", HeaderValue::from_static("1"));
        trailers.insert("x-vestibule-user-id", HeaderValue::from_static("1"));
        body.send_trailers(trailers).unwrap();
        let hints = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        let hints = hints.unwrap().unwrap();
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"]),
            (103, &"</a.css>".parse().unwrap())
        );
        let answer = answer(response).await;
        assert_eq!(answer.text(), "ok");
        let trailers = answer.trailers.unwrap();
        assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"7".parse().unwrap()));
    });
    let received = upstream.received();
    assert!(received.contains("TE: trailers\r\nConnection: TE\r\n"), "{received}");
    assert!(received.ends_with("3\r\nabc\r\n0\r\nx-check: 1\r\n\r\n"), "{received}");
}

#[test]
fn an_answer_without_a_body_may_declare_its_length() {
    let upstream = Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            conversation.write(if request.starts_with("HEAD") {
                b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".as_slice()
            } else {
                b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n"
            });
        }
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        for (method, status) in [(Method::HEAD, 200), (Method::GET, 304), (Method::HEAD, 200)] {
            let answer = client.ask(request(method, "/").body(()).unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.text().len()), (status, 0));
            assert_eq!(answer.field("content-length"), Some("1000"));
        }
    });
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn large_bodies_pass_both_ways_at_the_pace_of_the_windows() {
    const SIZE: usize = 8 * 1024 * 1024;
    let upstream = Upstream::start(|mut conversation| {
        let request = conversation.read_request().unwrap();
        assert_eq!(request.len() - request.find("\r\n\r\n").unwrap() - 4, SIZE);
        conversation.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..SIZE / 65_536 {
            conversation.write(&[b"10000\r\n", &[b'y'; 65_536][..], b"\r\n"].concat());
        }
        conversation.write(b"0\r\n\r\n");
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let post = request(Method::POST, "/").header("content-length", SIZE).body(()).unwrap();
        let (response, mut body) = client.begin(post, false).await;
        write(&mut body, vec![b'x'; SIZE].into()).await;
        finish(&mut body);
        let answer = answer(response).await;
        assert_eq!(answer.body.len(), SIZE);
        assert!(answer.body.iter().all(|&byte| byte == b'y'));
    });
}

#[test]
fn cookies_that_were_split_are_joined() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let request = request(Method::GET, "/").header("cookie", "a=1").header("cookie", "b=2");
        assert_eq!(client.ask(request.body(()).unwrap()).await.status, 200);
    });
    assert!(upstream.received().contains("Cookie: a=1; b=2\r\n"), "{}", upstream.received());
}

#[test]
fn what_the_gate_refuses_reaches_no_upstream_and_the_connection_stays() {
    let upstream = Upstream::ok();
    let to = &[upstream.address];
    let proxy = Builder::default()
        .persona("chat.test", "/", to)
        .persona("other.test", "/", to)
        .certificate(&["other.test"])
        .start();
    let uri = |uri: &str| Request::builder().uri(uri);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        for (request, status, code) in [
            (uri("https://chat.test/").header("host", "evil.test"), 400, "host_invalid"),
            (uri("https://chat.test/").header("host", "chat.test:1"), 400, "host_invalid"),
            (uri("https://nobody.test/"), 404, "not_found"),
            (uri("https://other.test/"), 421, "misdirected_request"),
            (uri("https://chat.test/a/../b"), 400, "path_ambiguous"),
            (uri("https://chat.test/a%2fb"), 400, "path_ambiguous"),
            (uri("https://chat.test//"), 400, "path_ambiguous"),
            (uri("https://chat.test/").method("TRACE"), 405, "method_not_allowed"),
            (uri("https://chat.test/").header("expect", "x"), 417, "expectation_failed"),
            (uri("https://chat.test/").header("content-length", "+5"), 400, "framing_ambiguous"),
        ] {
            let request = request.body(()).unwrap();
            let shown = format!("{request:?}");
            // h2 itself may reset what it takes for malformed.
            let (response, _) = client.begin(request, true).await;
            match response.await {
                Ok(response) => {
                    assert_eq!(response.status().as_u16(), status, "{shown}");
                    let (body, _) = read(&mut response.into_body()).await;
                    assert!(String::from_utf8(body).unwrap().contains(code), "{shown}");
                }
                Err(error) => assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{shown}"),
            }
        }
        assert_eq!(upstream.received(), "");
        assert_eq!(client.ask(get("/")).await.status, 200);
    });
}

/// A client's socket that counts the TLS records it reads.
struct Records {
    stream: TcpStream,
    /// Of the record that is being read.
    left: usize,
    header: Vec<u8>,
    seen: Arc<AtomicUsize>,
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let mut read = &buf.filled()[before..];
        while !read.is_empty() {
            if self.left == 0 {
                self.header.push(read[0]);
                read = &read[1..];
                if let [_, _, _, high, low] = self.header[..] {
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                    self.header.clear();
                    self.seen.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            let count = self.left.min(read.len());
            self.left -= count;
            read = &read[count..];
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[test]
fn answers_that_are_ready_together_are_sent_together() {
    let upstream = Upstream::ok();
    let proxy = Builder::default().persona("chat.test", "/", &[upstream.address]).start();
    soon(async {
        let stream = TcpStream::connect(proxy.https()).await.unwrap();
        let seen = Arc::<AtomicUsize>::default();
        let records = Records { stream, left: 0, header: Vec::new(), seen: Arc::clone(&seen) };
        let mut client = Client::over(records, proxy.ca.pem()).await;
        // A page: DATA frames of a few bytes go with their HEADERS anyway.
        let refused = || {
            let request = request(Method::GET, "/a/../b").header("sec-fetch-mode", "navigate");
            request.header("accept", "text/html").body(()).unwrap()
        };
        let first = client.ask(refused()).await;
        assert!(first.body.len() > 1000, "{first:?}");
        let before = seen.load(Ordering::Relaxed);
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(client.begin(refused(), true).await.0);
        }
        let mut bytes = 0;
        for response in answers {
            bytes += answer(response).await.body.len();
        }
        assert!(bytes > 20 * 1000);
        // As many as the bytes need, and what else the connection has to say. A DATA frame each
        // would be 20.
        let records = seen.load(Ordering::Relaxed) - before;
        assert!(records < 3 + bytes / 8192, "{records} records, {bytes} bytes");
    });
}

#[test]
fn a_reset_by_the_client_cancels_the_upstream() {
    let (upstream, told) = hanging();
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let (_response, mut stream) = client.begin(get("/"), true).await;
        let waiting = upstream.clone();
        blocking(move || waiting.wait_for(|received| received.contains("GET"))).await;
        stream.send_reset(Reason::CANCEL);
        blocking(move || told.recv_timeout(PATIENCE)).await.unwrap();
        assert!(client.is_open().await);
    });
}

#[test]
fn a_truncated_body_ends_in_a_reset() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |mut conversation| {
            conversation.read_request();
            conversation.write(answer);
        });
        let proxy = Proxy::before(upstream.address);
        soon(async {
            let mut client = Client::connect(&proxy).await;
            let (response, _) = client.begin(get("/"), true).await;
            // What h2 had queued may be dropped with the reset; an end may not be made up.
            let (data, error) = match response.await {
                Ok(response) => read(&mut response.into_body()).await,
                Err(error) => (Vec::new(), Some(error)),
            };
            let shown = String::from_utf8_lossy(answer);
            assert!(b"hello".starts_with(&data[..]), "{shown}");
            assert_eq!(error.unwrap().reason(), Some(Reason::INTERNAL_ERROR), "{shown}");
            assert!(client.is_open().await);
        });
        assert_eq!(proxy.log(1)[0]["aborted"], true);
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_exactly(100);
        conversation
            .write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull");
        conversation.read_to_end();
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let post = request(Method::POST, "/").header("content-length", 10_000_000);
        let (response, mut body) = client.begin(post.body(()).unwrap(), false).await;
        body.reserve_capacity(1000);
        body.send_data(vec![b'x'; 1000].into(), false).unwrap();
        let answer = answer(response).await;
        assert_eq!((answer.status.as_u16(), &*answer.text()), (413, "full"));
        assert!(client.is_open().await);
    });
}

#[test]
fn a_stalled_stream_does_not_hold_up_the_others() {
    const SIZE: usize = 4 * 1024 * 1024;
    let upstream = Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            if request.starts_with("GET /big") {
                conversation
                    .write(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
                conversation.write(&vec![b'z'; SIZE]);
            } else {
                conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut stalled = Vec::new();
        for _ in 0..5 {
            let (response, _) = client.begin(get("/big"), true).await;
            stalled.push(response.await.unwrap().into_body());
        }
        for _ in 0..20 {
            assert_eq!(client.ask(get("/small")).await.text(), "ok");
        }
        for mut body in stalled {
            assert_eq!(read_exactly(&mut body, SIZE).await.len(), SIZE);
        }
    });
}

#[test]
fn a_drain_says_goaway_lets_the_answer_under_way_end_and_closes() {
    let (upstream, go) = Upstream::ok_when_told();
    let proxy = Proxy::before(upstream.address);
    let address = proxy.http();
    soon(async {
        let mut idle = Client::connect(&proxy).await;
        let mut busy = Client::connect(&proxy).await;
        assert!(idle.is_open().await);
        let (response, _) = busy.begin(get("/"), true).await;
        let waiting = upstream.clone();
        blocking(move || waiting.wait_for(|received| received.contains("GET"))).await;
        let Proxy { app, .. } = proxy;
        let drain = std::thread::spawn(move || app.drain());
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let started = Instant::now();
        // Whether its own goodbye still reaches the server is of no interest.
        let _ = idle.connection.await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        go.send(()).unwrap();
        assert_eq!(answer(response).await.text(), "ok");
        let _ = busy.connection.await.unwrap();
        blocking(move || drain.join().unwrap()).await;
    });
}

/// Resets streams until the connection ends, and tells how it ended.
async fn reset_on_and_on(proxy: &Proxy, pause: impl AsyncFn()) -> h2::Error {
    let mut client = Client::connect(proxy).await;
    while client.is_open().await {
        let (_response, mut stream) = client.begin(get("/"), true).await;
        pause().await;
        stream.send_reset(Reason::CANCEL);
    }
    client.connection.await.unwrap().unwrap_err()
}

#[test]
fn a_client_that_keeps_resetting_requests_under_way_is_sent_away() {
    let (upstream, _told) = hanging();
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let pause = async || tokio::time::sleep(Duration::from_millis(2)).await;
        let error = reset_on_and_on(&proxy, pause).await;
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
    });
    assert!(upstream.connections() < 500, "{}", upstream.connections());
}

#[test]
fn a_client_that_resets_faster_than_it_is_served_is_sent_away() {
    let (upstream, _told) = hanging();
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let error = reset_on_and_on(&proxy, async || tokio::task::yield_now().await).await;
        // It is writing on when it is sent away, and gets to read why all the same.
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
    });
    assert!(upstream.connections() < 500, "{}", upstream.connections());
}
