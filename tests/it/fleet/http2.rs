//! Servers that speak HTTP/2.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::*;
use crate::harness::h2_server::{Answer, H2Server, body, send};

type Recorded = Arc<Mutex<Vec<String>>>;

/// A persona over these servers.
fn before(servers: &[&H2Server], upstream: &str) -> Proxy {
    let servers: Vec<_> =
        servers.iter().map(|server| format!("\"http://{}\"", server.address)).collect();
    let text = over(&servers.join(", "), &format!("protocol = \"h2\"\n{upstream}"), "");
    Proxy::resolving(&text, None)
}

fn ok() -> Response<()> {
    Response::new(())
}

fn say(mut answer: Answer, text: impl Into<Bytes>) {
    let mut stream = answer.send_response(ok(), false).unwrap();
    let _ = stream.send_data(text.into(), true);
}

/// Answers with what it received, and notes it.
fn reflecting(seen: &Recorded) -> H2Server {
    let seen = Arc::clone(seen);
    H2Server::start(None, move |request, answer| {
        let seen = Arc::clone(&seen);
        async move {
            let (parts, recv) = request.into_parts();
            let (body, trailers) = body(recv).await;
            let mut text = format!("{} {}\n", parts.method, parts.uri);
            for (name, value) in parts.headers.iter().chain(trailers.iter().flatten()) {
                text += &format!("{name}: {}\n", value.to_str().unwrap());
            }
            text += &format!("\n{}", String::from_utf8_lossy(&body));
            seen.lock().unwrap().push(text.clone());
            say(answer, text);
        }
    })
}

#[test]
fn a_request_says_what_it_would_say_over_http_1() {
    let seen = Recorded::default();
    let server = reflecting(&seen);
    let proxy = before(&[&server], "");
    let mut client = proxy.client();
    let response = client
        .send(
            "POST /a/b?c=%20d HTTP/1.1\r\nHost: chat.test\r\nCookie: a=1\r\nTE: trailers\r\n\
             Connection: X-Own\r\nX-Own: 1\r\nX-Vestibule-User-Id: 7\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n",
        )
        .read_response()
        .unwrap();
    assert_eq!(response.status, 200);
    let text = response.text();
    assert!(text.starts_with("POST http://chat.test/a/b?c=%20d\n"), "{text}");
    assert!(text.ends_with("\n\nhello"), "{text}");
    for line in ["cookie: a=1", "te: trailers", "x-vestibule-tenant: acme", "x-sum: 9"] {
        assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
    }
    for name in ["x-own:", "connection:", "transfer-encoding:", "host:", "x-vestibule-user-id:"] {
        assert!(!text.lines().any(|seen| seen.starts_with(name)), "{name} {text}");
    }
    for _ in 0..3 {
        assert_eq!(
            client
                .send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n")
                .read_response()
                .unwrap()
                .status,
            200
        );
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[test]
fn answers_of_every_shape_pass() {
    let server = H2Server::start(None, |request, mut answer| async move {
        let path = request.uri().path().to_owned();
        let with = |status: u16, name: &'static str, value: &'static str| {
            Response::builder().status(status).header(name, value).body(()).unwrap()
        };
        match &*path {
            "/none" => drop(answer.send_response(with(204, "x-a", "1"), true)),
            "/unchanged" => drop(answer.send_response(with(304, "etag", "\"1\""), true)),
            "/empty" => drop(answer.send_response(with(200, "x-a", "1"), true)),
            "/head" => drop(answer.send_response(with(200, "content-length", "77"), true)),
            "/declared" => {
                let mut stream =
                    answer.send_response(with(200, "content-length", "5"), false).unwrap();
                let _ = stream.send_data(Bytes::from_static(b"hello"), true);
            }
            "/trailers" => {
                let early = Response::builder().status(103).header("link", "</a.css>").body(());
                answer.send_informational(early.unwrap()).unwrap();
                let mut stream =
                    answer.send_response(with(200, "trailer", "x-sum"), false).unwrap();
                let _ = stream.send_data(Bytes::from_static(b"ok"), false);
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "7".parse().unwrap());
                let _ = stream.send_trailers(trailers);
            }
            "/odd" => drop(answer.send_response(with(200, "connection", "close"), true)),
            _ => answer.send_reset(h2::Reason::INTERNAL_ERROR),
        }
    });
    let proxy = before(&[&server], "");
    let mut client = proxy.client();
    let mut ask = |method: &str, path: &str| {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: chat.test\r\n\r\n"));
        if method == "HEAD" { client.read_head().unwrap() } else { client.read_response().unwrap() }
    };
    assert_eq!(ask("GET", "/none").status, 204);
    assert_eq!(ask("GET", "/unchanged").status, 304);
    let empty = ask("GET", "/empty");
    assert_eq!((empty.status, empty.field("content-length")), (200, Some("0")));
    assert_eq!(ask("HEAD", "/head").field("content-length"), Some("77"));
    let declared = ask("GET", "/declared");
    assert_eq!((declared.text().as_str(), declared.field("content-length")), ("hello", Some("5")));
    let early = ask("GET", "/trailers");
    assert_eq!((early.status, early.field("link")), (103, Some("</a.css>")));
    let answer = client.read_head().unwrap();
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    let end = "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    assert_eq!(client.read_exactly(end.len()), end.as_bytes());
    for path in ["/odd", "/reset"] {
        let refused = client
            .send(format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\n\r\n"))
            .read_response()
            .unwrap();
        assert_eq!(refused.status, 502, "{path}");
    }
}

#[test]
fn an_event_arrives_before_the_stream_ends_and_the_server_hears_when_the_client_leaves() {
    let gone = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&gone);
    let server = H2Server::start(None, move |_, mut answer| {
        let heard = Arc::clone(&heard);
        async move {
            let mut stream = answer.send_response(ok(), false).unwrap();
            send(&mut stream, Bytes::from_static(b"data: 1\n\n"), false).await;
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            heard.store(true, Ordering::SeqCst);
        }
    });
    let proxy = before(&[&server], "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: chat.test\r\nAccept: text/event-stream\r\n\r\n");
    client.read_head().unwrap();
    assert_eq!(client.read_exactly(14), b"9\r\ndata: 1\n\n\r\n");
    drop(client);
    wait_until("the server hears of it", || gone.load(Ordering::SeqCst));
}

#[test]
fn large_bodies_pass_whole_both_ways() {
    let server = H2Server::start(None, |request, mut answer| async move {
        let (body, _) = body(request.into_body()).await;
        let mut stream = answer.send_response(ok(), false).unwrap();
        send(&mut stream, body.into(), true).await;
    });
    let proxy = before(&[&server], "");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut client = proxy.client();
    let head =
        format!("POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: {}\r\n\r\n", sent.len());
    client.send(head).send(&sent);
    assert!(client.read_response().unwrap().body == sent);
}

#[test]
fn a_client_that_does_not_read_stops_nobody_else() {
    let server = H2Server::start(None, |request, mut answer| async move {
        let large = request.uri().path() == "/large";
        let mut stream = answer.send_response(ok(), false).unwrap();
        let length = if large { 50_000_000 } else { 100_000 };
        send(&mut stream, vec![b'x'; length].into(), true).await;
    });
    let proxy = before(&[&server], "");
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET /large HTTP/1.1\r\nHost: chat.test\r\n\r\n");
            client.read_head().unwrap();
            client
        })
        .collect();
    let mut quick = proxy.client();
    for _ in 0..20 {
        let response = quick.send("GET /small HTTP/1.1\r\nHost: chat.test\r\n\r\n");
        assert_eq!(response.read_response().unwrap().body.len(), 100_000);
    }
    assert_eq!(server.connections(), 1);
    drop(slow);
}

#[test]
fn a_stream_that_was_refused_goes_to_another_server_and_nothing_is_sent_twice() {
    let seen = Recorded::default();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let refusing = H2Server::start(None, move |_, mut answer| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { answer.send_reset(h2::Reason::REFUSED_STREAM) }
    });
    let taking = reflecting(&seen);
    let proxy = before(&[&refusing, &taking], "");
    let mut client = proxy.client();
    for number in 0..8 {
        let request = format!("DELETE /{number} HTTP/1.1\r\nHost: chat.test\r\n\r\n");
        assert_eq!(client.send(request).read_response().unwrap().status, 200);
    }
    assert!(refused.load(Ordering::SeqCst) > 0);
    assert_eq!(seen.lock().unwrap().len(), 8);
}

#[test]
fn a_server_that_says_goodbye_loses_no_request() {
    let seen = Recorded::default();
    let server = reflecting(&seen);
    let proxy = before(&[&server], "");
    let mut client = proxy.client();
    for number in 0..60 {
        if number % 10 == 9 {
            server.send_goaway();
        }
        let request = format!("DELETE /{number} HTTP/1.1\r\nHost: chat.test\r\n\r\n");
        let status = client.send(request).read_response().unwrap().status;
        assert_eq!(status, 200, "request {number}");
    }
    assert_eq!(seen.lock().unwrap().len(), 60);
    assert!(server.connections() > 1);
}

#[test]
fn checks_are_made_in_http_2() {
    let well = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&well);
    let server = H2Server::start(None, move |_, mut answer| {
        let well = told.load(Ordering::SeqCst);
        async move {
            let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let response = Response::builder().status(status).body(()).unwrap();
            let _ = answer.send_response(response, true);
        }
    });
    let health = "health = { path = \"/health\", interval = \"100ms\", healthy_threshold = 1, unhealthy_threshold = 1 }";
    let proxy = before(&[&server], health);
    wait_until("it is well", || states(&proxy) == "healthy" && server.connections() > 0);
    well.store(false, Ordering::SeqCst);
    wait_until("it is ill", || states(&proxy) == "unhealthy");
    well.store(true, Ordering::SeqCst);
    wait_until("it is back", || states(&proxy) == "healthy");
}

#[test]
fn a_websocket_goes_by_http_1() {
    let replica = Replica::start("a");
    let text = over(&format!("\"http://{}\"", replica.address), "protocol = \"h2\"", "");
    let proxy = Proxy::resolving(&text, None);
    let (mut client, name) = open(&proxy, "").unwrap();
    assert_eq!(name, "a");
    client.send("hello");
    assert_eq!(client.read_exactly(5), b"hello");
}

#[test]
fn where_the_other_side_does_not_speak_it_that_is_said() {
    let replica = Replica::start("a");
    let text = over(&format!("\"http://{}\"", replica.address), "protocol = \"h2\"", "");
    let proxy = Proxy::resolving(&text, None);
    let mut client = proxy.client();
    let refused = client.send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n").read_response().unwrap();
    assert_eq!(refused.status, 502);
}
