//! Requests and responses, bodies and streams, through a running server.

use std::time::Duration;

use crate::harness::proxy::{Builder, Proxy};
use crate::harness::upstream::Upstream;

const GET: &str = "GET /hello?x=1 HTTP/1.1\r\nHost: chat.test\r\n\r\n";

#[test]
fn a_request_passes_and_the_connection_stays() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    for mut client in [proxy.client(), proxy.tls()] {
        for _ in 0..3 {
            let response = client.send(GET).read_response().unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, "ok"));
            assert_eq!(response.field("X-Request-Id").unwrap().len(), 32);
        }
    }
    assert_eq!(upstream.connections(), 1, "one pooled connection serves all");
    let log = proxy.log(6);
    assert_eq!(log[0]["path"], "/hello");
    assert_eq!(log[0]["status"], 200);
    assert_eq!(log[0]["persona"], "persona-0");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let length = path.len();
            conversation.write(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}").as_bytes(),
            );
        }
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: chat.test\r\n\r\nPOST /2 HTTP/1.1\r\nHost: chat.test\r\n\
         Content-Length: 3\r\n\r\nabc\r\nGET /3 HTTP/1.1\r\nHost: chat.test\r\n\r\n",
    );
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.read_response().unwrap().text(), path);
    }
}

#[test]
fn an_sse_event_arrives_before_the_stream_ends() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::start(move |mut conversation| {
        conversation.read_request();
        conversation.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
              9\r\ndata: 1\n\n\r\n",
        );
        // The second event is sent only after the first was seen.
        gone.lock().unwrap().recv().unwrap();
        conversation.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.tls();
    client.send(GET);
    client.read_head().unwrap();
    assert_eq!(client.read_exactly(14), b"9\r\ndata: 1\n\n\r\n");
    go.send(()).unwrap();
    assert_eq!(client.read_exactly(19), b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
}

#[test]
fn trailers_and_interim_responses_pass() {
    let upstream = Upstream::answering(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n\
          Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\
          X-Undeclared: 8\r\nContent-Length: 9\r\n\r\n",
    );
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(GET);
    let hints = client.read_head().unwrap();
    assert_eq!((hints.status, hints.field("link")), (103, Some("</a.css>")));
    assert_eq!(client.read_head().unwrap().status, 200);
    for line in ["2", "ok", "0", "X-Sum: 7", "X-Undeclared: 8", ""] {
        assert_eq!(client.read_line(), line);
    }
}

#[test]
fn request_trailers_and_chunks_pass() {
    let upstream = Upstream::start(|mut conversation| {
        let mut seen = String::new();
        while !seen.ends_with("\r\n\r\n") || !seen.contains("\r\n0\r\n") {
            seen.push_str(&String::from_utf8(conversation.read_exactly(1)).unwrap());
        }
        conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: chat.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;ext=1\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Vestibule-User-Id: 1\r\n\r\n",
    );
    assert_eq!(client.read_response().unwrap().status, 200);
    let received = upstream.received();
    assert!(received.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"), "{received}");
}

#[test]
fn a_continue_passes_end_to_end() {
    let upstream = Upstream::start(|mut conversation| {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push_str(&String::from_utf8(conversation.read_exactly(1)).unwrap());
        }
        assert!(head.contains("Expect: 100-continue"), "{head}");
        conversation.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(conversation.read_exactly(5), b"hello");
        conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: chat.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(client.read_head().unwrap().status, 100);
    assert_eq!(client.send("hello").read_response().unwrap().text(), "ok");
}

#[test]
fn large_bodies_pass_both_ways() {
    const SIZE: usize = 20 * 1024 * 1024;
    let upstream = Upstream::start(|mut conversation| {
        let request = conversation.read_request().unwrap();
        assert_eq!(request.len() - request.find("\r\n\r\n").unwrap() - 4, SIZE);
        conversation.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        conversation.write(&vec![b'y'; SIZE]);
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.tls();
    client.send(format!("POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: {SIZE}\r\n\r\n"));
    client.send(vec![b'x'; SIZE]);
    let response = client.read_response().unwrap();
    assert_eq!(response.body.len(), SIZE);
    assert!(response.body.iter().all(|&byte| byte == b'y'));
}

#[test]
fn head_and_bodiless_answers_keep_the_connection() {
    let upstream = Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            conversation.write(if request.starts_with("HEAD") {
                b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".as_slice()
            } else {
                b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".as_slice()
            });
        }
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: chat.test\r\n\r\n");
        assert_eq!(client.read_head().unwrap().field("content-length"), Some("1000"));
        client.send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n");
        assert_eq!(client.read_head().unwrap().status, 304);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_exactly(100);
        conversation
            .write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull");
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.tls();
    client.send("POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 10000000\r\n\r\n");
    client.send(vec![b'x'; 300_000]);
    let response = client.read_response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (413, "full"));
    assert_eq!(response.field("connection"), Some("close"));
}

#[test]
fn a_bad_later_chunk_aborts_the_upstream_without_a_final_chunk() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_to_end();
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: chat.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    upstream.wait_for(|received| received.contains("abc"));
    client.send("zz\r\n");
    assert_eq!(client.read_response().unwrap().code(), "framing_ambiguous");
    assert!(!upstream.received().contains("\r\n0\r\n"), "{}", upstream.received());
}

#[test]
fn upstreams_that_break_the_rules_are_a_502() {
    for (answer, code) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
            "upstream_invalid",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "upstream_invalid",
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
            "upstream_invalid",
        ),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "upstream_invalid"),
        (b"SSH-2.0-OpenSSH\r\n", "upstream_invalid"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "upstream_invalid"),
        (b"", "upstream_closed"),
    ] {
        let upstream = Upstream::start(move |mut conversation| {
            conversation.read_request();
            conversation.write(answer);
        });
        let proxy = Proxy::before(upstream.address);
        let response = proxy.client().send(GET).read_response().unwrap();
        let shown = String::from_utf8_lossy(answer);
        assert_eq!((response.status, &*response.code()), (502, code), "{shown}");
    }
}

#[test]
fn a_truncated_body_reaches_the_client_as_truncated() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz",
    ] {
        let upstream = Upstream::start(move |mut conversation| {
            conversation.read_request();
            conversation.write(answer);
        });
        let proxy = Proxy::before(upstream.address);
        let mut client = proxy.client();
        client.send(GET).read_head().unwrap();
        let rest = String::from_utf8(client.read_to_end()).unwrap();
        assert!(rest.contains("hello") && !rest.ends_with("0\r\n\r\n"), "{rest:?}");
        assert_eq!(proxy.log(1)[0]["aborted"], true);
    }
}

#[test]
fn bytes_after_an_answer_end_that_connection() {
    let upstream = Upstream::answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.send(GET).read_response().unwrap().text(), "ok");
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn a_stale_pooled_connection_costs_a_get_nothing_and_a_post_no_repetition() {
    let upstream = Upstream::start(|mut conversation| {
        // The first connection closes at its second request, as a keep-alive timeout would.
        let requests = if conversation.number == 1 { 1 } else { 100 };
        for _ in 0..requests {
            if conversation.read_request().is_none() {
                return;
            }
            conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        if conversation.number == 1 {
            conversation.read_request();
        }
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    assert_eq!(client.send(GET).read_response().unwrap().status, 200);
    assert_eq!(client.send(GET).read_response().unwrap().status, 200);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_request_that_may_have_had_an_effect_is_never_sent_twice() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_request();
        conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        conversation.read_request();
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    let post = "POST /pay HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.send(post).read_response().unwrap().status, 200);
    assert_eq!(client.send(post).read_response().unwrap().code(), "upstream_closed");
    assert_eq!(upstream.received().matches("POST /pay").count(), 2);
}

#[test]
fn the_next_server_is_tried_when_one_refuses() {
    let dead = ([127, 0, 0, 1], 1).into();
    let upstream = Upstream::ok();
    let proxy = Builder::default().persona("chat.test", "/", &[dead, upstream.address]).start();
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(client.send(GET).read_response().unwrap().status, 200);
    }
    let nobody = Builder::default().persona("chat.test", "/", &[dead]).start();
    assert_eq!(nobody.client().send(GET).read_response().unwrap().code(), "upstream_unreachable");
}

#[test]
fn deadlines_are_totals() {
    let hanging = Upstream::start(|mut conversation| {
        conversation.read_to_end();
    });
    let proxy = Builder::default()
        .persona("chat.test", "/", &[hanging.address])
        .with(|builder| {
            builder.limits.header_timeout = Duration::from_millis(300);
            builder.limits.body_timeout = Duration::from_millis(300);
            builder.limits.idle_timeout = Duration::from_millis(300);
            builder.response_timeout = Duration::from_millis(300);
        })
        .start();
    // A head that drips.
    let mut client = proxy.client();
    for byte in GET.as_bytes().iter().cycle() {
        if !client.try_send([*byte]) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        if proxy.app.connections() == 0 {
            break;
        }
        if *byte == b'\n' {
            break;
        }
    }
    assert_eq!(client.read_response().unwrap().code(), "request_timeout");
    // A body that stops.
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.read_response().unwrap().code(), "request_timeout");
    // An upstream that says nothing.
    let mut client = proxy.client();
    assert_eq!(client.send(GET).read_response().unwrap().code(), "upstream_timeout");
    // A connection that is not used.
    assert!(proxy.client().is_closed());
    // A handshake that is not made.
    let mut silent = crate::harness::client::Client::plain(proxy.https());
    assert!(silent.is_closed());
}

#[test]
fn the_upstream_hears_of_a_client_that_left() {
    let (gone, left) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::start(move |mut conversation| {
        conversation.read_request();
        conversation.read_to_end();
        gone.lock().unwrap().send(()).unwrap();
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(GET);
    upstream.wait_for(|received| received.contains("GET"));
    drop(client);
    left.recv_timeout(crate::harness::PATIENCE).unwrap();
}
