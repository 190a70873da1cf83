//! What a message becomes on its way: old clients, old upstreams, fields of one hop, trusted
//! names, every kind of upstream socket, and each side at its own pace.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use vestibule::config::snapshot::{ServerAddress, UpstreamTls};
use vestibule::tls::dev::DevCa;

use crate::harness::PATIENCE;
use crate::harness::proxy::{Builder, Proxy};
use crate::harness::upstream::Upstream;

const GET: &str = "GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n";
const GET_10: &str = "GET / HTTP/1.0\r\nHost: chat.test\r\nConnection: keep-alive\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n";

#[test]
fn an_http_10_client_may_keep_its_connection() {
    let upstream = Upstream::answering(OK);
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    for _ in 0..2 {
        let response = client.send(GET_10).read_response().unwrap();
        assert_eq!(response.field("connection"), Some("keep-alive"));
    }
    client.send("GET / HTTP/1.0\r\nHost: chat.test\r\n\r\n");
    assert_eq!(client.read_response().unwrap().field("connection"), Some("close"));
    assert!(client.is_closed());
    assert!(upstream.received().starts_with("GET / HTTP/1.1\r\n"), "{}", upstream.received());
}

#[test]
fn an_http_10_client_gets_no_chunks_and_no_interim_response() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_request();
        conversation.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        conversation.write(CHUNKED);
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    let response = client.send(GET_10).read_response().unwrap();
    assert_eq!((response.status, &*response.text()), (200, "hello"));
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.field("connection"), Some("close"));
}

#[test]
fn an_http_10_client_sees_a_truncated_body_as_truncated() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_request();
        conversation.write(&CHUNKED[..CHUNKED.len() - 15]);
    });
    let proxy = Proxy::before(upstream.address);
    let mut stream = std::net::TcpStream::connect(proxy.http()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(GET_10.as_bytes()).unwrap();
    // Its end is the connection's end, so that only a reset tells a cut from a whole body.
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_body_that_ends_with_its_connection_is_chunked_for_the_client() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    ] {
        let upstream = Upstream::start(move |mut conversation| {
            conversation.read_request();
            conversation.write(answer.as_bytes());
        });
        let proxy = Proxy::before(upstream.address);
        let mut client = proxy.client();
        for _ in 0..2 {
            let response = client.send(GET).read_response().unwrap();
            assert_eq!(response.field("transfer-encoding"), Some("chunked"), "{answer}");
            assert_eq!((response.field("connection"), &*response.text()), (None, "hello"));
        }
        assert_eq!(upstream.connections(), 2);
    }
}

#[test]
fn fields_of_one_hop_do_not_pass_in_either_direction() {
    let upstream = Upstream::answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
          Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
          Upgrade: h2c\r\nTE: trailers\r\nX-Vestibule-Persona: 1\r\nX-Request-Id: theirs\r\n\
          X-End: 1\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\nok",
    );
    let proxy = Proxy::before(upstream.address);
    let response = proxy
        .client()
        .send(
            "GET / HTTP/1.1\r\nHost: chat.test\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic x\r\n\
             TE: gzip, trailers\r\nProxy: http://evil.test\r\nX-End: 1\r\n\r\n",
        )
        .read_response()
        .unwrap();
    let received = upstream.received().to_ascii_lowercase();
    let answered = response.head.to_ascii_lowercase();
    for seen in [&received, &answered] {
        for name in ["x-hop", "keep-alive", "proxy-", "proxy:", "upgrade", "persona: 1", "theirs"] {
            assert!(!seen.contains(name), "{name}: {seen}");
        }
        assert!(seen.contains("x-end: 1\r\n"), "{seen}");
    }
    assert!(received.contains("te: trailers\r\nconnection: te\r\n"), "{received}");
    assert!(!answered.contains("te:") || answered.contains("date:"), "{answered}");
    assert!(response.head.contains("Set-Cookie: a=1\r\nset-cookie: b=2\r\n"), "{answered}");
}

#[test]
fn a_trusted_peer_names_the_request() {
    let upstream = Upstream::ok();
    for (trusted, name, kept) in [
        (vec!["127.0.0.0/8"], "abc-1", true),
        (vec!["127.0.0.0/8"], "a b", false),
        (vec!["10.0.0.0/8"], "abc-2", false),
    ] {
        let proxy = Builder::default()
            .persona("chat.test", "/", &[upstream.address])
            .with(|builder| builder.trusted_proxies = trusted)
            .start();
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: chat.test\r\nX-Request-Id: {name}\r\n\r\n"));
        let response = client.read_response().unwrap();
        assert_eq!(response.field("x-request-id") == Some(name), kept, "{name}");
        assert_eq!(upstream.received().contains(&format!("X-Request-Id: {name}\r\n")), kept);
        assert_eq!(proxy.log(1)[0]["request_id"] == name, kept);
    }
}

#[test]
fn an_upstream_may_listen_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    let proxy = Builder::default().server("chat.test", ServerAddress::Unix(path), None).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.send(GET).read_response().unwrap().text(), "ok");
    }
    let nobody = ServerAddress::Unix(folder.path().join("nobody.sock"));
    let proxy = Builder::default().server("chat.test", nobody, None).start();
    assert_eq!(proxy.client().send(GET).read_response().unwrap().code(), "upstream_unreachable");
}

#[test]
fn an_upstream_may_speak_tls_under_a_name_that_its_certificate_has() {
    let ca = DevCa::generate().unwrap();
    let leaf = ca.issue(&["app.internal"]).unwrap();
    let chain = CertificateDer::pem_slice_iter(leaf.cert_chain_pem.as_bytes());
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let server = Arc::new(server);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&server)).unwrap();
            answer(rustls::StreamOwned::new(session, stream.unwrap()));
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    for (name, works) in [("app.internal", true), ("other.internal", false)] {
        let server_name = ServerName::try_from(name).unwrap();
        let tls = UpstreamTls { config: Arc::clone(&config), server_name };
        let proxy =
            Builder::default().server("chat.test", ServerAddress::Ip(address), Some(tls)).start();
        let mut client = proxy.client();
        for _ in 0..2 {
            let response = client.send(GET).read_response().unwrap();
            if works {
                assert_eq!(response.text(), "ok");
            } else {
                assert_eq!(response.code(), "upstream_unreachable");
            }
        }
    }
}

/// Answers requests without bodies.
fn answer(mut stream: impl Read + Write) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).is_ok_and(|count| count > 0) {
        seen.push(byte[0]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            stream.write_all(OK).and_then(|()| stream.flush()).unwrap();
        }
    }
}

#[test]
fn an_upload_goes_at_the_pace_of_a_slow_upstream() {
    const SIZE: usize = 30 * 1024 * 1024;
    let upstream = Upstream::start(|mut conversation| {
        let mut head = Vec::new();
        loop {
            match conversation.read_exactly(1)[..] {
                [byte] => head.push(byte),
                _ => return,
            }
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                std::thread::sleep(Duration::from_millis(300));
                conversation.read_exactly(SIZE);
                conversation.write(OK);
            }
        }
    });
    let proxy = Proxy::before(upstream.address);
    for mut client in [proxy.client(), proxy.tls()] {
        // Before the upstream can begin to wait, however busy the machine is.
        let started = std::time::Instant::now();
        client
            .send(format!("POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: {SIZE}\r\n\r\n"));
        for _ in 0..SIZE / 65_536 {
            client.send([b'x'; 65_536]);
        }
        // The sockets' buffers take some of it, the server must not take the rest.
        assert!(started.elapsed() > Duration::from_millis(200), "{:?}", started.elapsed());
        assert!(upstream.received_bytes() > SIZE / 2);
        assert_eq!(client.read_response().unwrap().status, 200);
    }
}

#[test]
fn a_download_goes_at_the_pace_of_a_slow_client() {
    const SIZE: usize = 30 * 1024 * 1024;
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let upstream = Upstream::start(move |mut conversation| {
        conversation.read_request();
        conversation.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        conversation.write(&vec![b'y'; SIZE]);
        tell.lock().unwrap().send(()).unwrap();
    });
    let proxy = Proxy::before(upstream.address);
    for mut client in [proxy.client(), proxy.tls()] {
        client.send(GET).read_head().unwrap();
        // The sockets' buffers take some of it, the server must not take the rest.
        assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "all was taken");
        assert_eq!(client.read_exactly(SIZE).len(), SIZE);
        told.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_chunked_upload_over_the_limit_is_refused_and_never_ends_upstream() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_to_end();
    });
    let proxy = Builder::default()
        .persona("chat.test", "/", &[upstream.address])
        .with(|builder| builder.limits.body_bytes = 100)
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: chat.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("40\r\n{}\r\n", "a".repeat(64)));
    upstream.wait_for(|received| received.contains("aaaa"));
    client.send(format!("40\r\n{}\r\n0\r\n\r\n", "b".repeat(64)));
    assert_eq!(client.read_response().unwrap().code(), "body_too_large");
    upstream.wait_until_idle();
    assert!(!upstream.received().contains("\r\n0\r\n"), "{}", upstream.received());
}

#[test]
fn one_empty_line_before_a_request_is_forgiven_and_a_second_is_not() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    for (pieces, status) in [
        (&["\r\n", GET][..], 200),
        (&["\r", "\n", GET], 200),
        (&["\r\n", "\r\n", GET], 400),
        (&["\r\n\r\n", GET], 400),
    ] {
        let mut client = proxy.client();
        for piece in pieces {
            // What is refused may be refused before all of it was sent.
            client.try_send(piece);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(client.read_response().unwrap().status, status, "{pieces:?}");
    }
}
