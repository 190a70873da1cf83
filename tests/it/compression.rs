//! Compressed answers on the wire: what a head says, that streams do not stall, what is kept.

use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use http::Method;

use crate::harness::client::{Client, Response};
use crate::harness::h2::{self, blocking, request, soon};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

const CONFIGURATION: &str = r#"
[server]
http = ["127.0.0.1:0"]
http_mode = "serve"

[upstreams.app]
servers = ["http://UPSTREAM"]

[tenants.acme.personas.chat]
hosts = ["chat.test"]
upstream = "app"
bridge = true

[tenants.acme.personas.plain]
hosts = ["plain.test"]
upstream = "app"
compression = { encodings = [] }

[tenants.acme.personas.narrow]
hosts = ["narrow.test"]
upstream = "app"
compression = { encodings = ["gzip"], min_bytes = "100KiB", types = ["text/css"] }
"#;

fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)),
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out)),
        "zstd" => {
            let mut context = zstd_safe::DCtx::create();
            let mut input = zstd_safe::InBuffer::around(bytes);
            let mut piece = vec![0; 1 << 16];
            loop {
                let mut output = zstd_safe::OutBuffer::around(&mut piece[..]);
                context.decompress_stream(&mut output, &mut input).unwrap();
                let count = output.pos();
                out.extend_from_slice(&piece[..count]);
                if count == 0 {
                    break;
                }
            }
        }
        other => panic!("{other}"),
    }
    String::from_utf8(out).unwrap()
}

/// Answers every request with the same.
fn always(head: &str, body: &str) -> Upstream {
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
    Upstream::start(move |mut conversation| {
        while let Some(request) = conversation.read_request() {
            let head = answer.find("\r\n\r\n").unwrap() + 4;
            let end = if request.starts_with("HEAD") { head } else { answer.len() };
            conversation.write(&answer.as_bytes()[..end]);
        }
    })
}

fn ask(proxy: &Proxy, host: &str, lines: &str) -> Response {
    let (start, rest) = lines.split_once('\n').unwrap();
    let rest = rest.replace('\n', "\r\n");
    let request = format!("{start} HTTP/1.1\r\nHost: {host}.test\r\n{rest}\r\n\r\n");
    let mut client = proxy.client();
    client.send(request);
    if start.starts_with("HEAD") {
        return client.read_head().unwrap();
    }
    client.read_response().unwrap()
}

fn sentence(times: usize) -> String {
    "What was said once is said again. ".repeat(times)
}

const CSS: &str = "Content-Type: text/css\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nVary: Origin";

#[test]
fn an_answer_says_that_it_is_compressed() {
    let text = sentence(1000);
    let upstream = always(CSS, &text);
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    for (accepts, coding) in [("gzip, deflate, br, zstd", "zstd"), ("br", "br"), ("gzip", "gzip")] {
        let answer = ask(&proxy, "chat", &format!("GET /a.css\nAccept-Encoding: {accepts}"));
        assert_eq!(answer.field("content-encoding"), Some(coding));
        assert_eq!(answer.field("content-length"), None);
        assert_eq!(answer.field("accept-ranges"), None);
        assert_eq!(answer.field("etag"), Some("W/\"1\""));
        assert_eq!(answer.head.to_lowercase().matches("vary: ").count(), 2, "{}", answer.head);
        assert_eq!(decoded(coding, &answer.body), text);
        assert!(answer.body.len() < text.len() / 10);
        let head = ask(&proxy, "chat", &format!("HEAD /a.css\nAccept-Encoding: {accepts}"));
        assert_eq!(head.field("content-encoding"), Some(coding));
        assert_eq!(head.field("content-length"), None);
        assert_eq!(head.field("etag"), Some("W/\"1\""));
    }
    assert!(upstream.received().contains("Accept-Encoding: gzip, deflate, br, zstd"));
    let answer = ask(&proxy, "chat", "GET /a.css\nAccept: */*");
    assert_eq!((answer.field("content-encoding"), answer.text().len()), (None, text.len()));
    assert_eq!(
        (answer.field("etag"), answer.field("accept-ranges")),
        (Some("\"1\""), Some("bytes"))
    );
    assert!(answer.head.contains("Vary: Accept-Encoding"), "{}", answer.head);
}

#[test]
fn a_persona_says_what_is_compressed() {
    for (host, length, is_encoded) in
        [("plain", 200_000, false), ("narrow", 200_000, true), ("narrow", 50_000, false)]
    {
        let text = sentence(length / 34);
        let upstream = always(CSS, &text);
        let proxy = Proxy::configured(CONFIGURATION, upstream.address);
        let answer = ask(&proxy, host, "GET /a.css\nAccept-Encoding: gzip, zstd");
        let expected = is_encoded.then_some("gzip");
        assert_eq!(answer.field("content-encoding"), expected, "{host} {length}");
        let varies = answer.head.contains("Vary: Accept-Encoding");
        assert_eq!(varies, is_encoded, "{host} {length}");
    }
}

#[test]
fn what_passes_as_it_is_passes_as_it_is() {
    for head in [
        "Content-Type: text/event-stream",
        "Content-Type: text/css\r\nContent-Encoding: br",
        "Content-Type: text/css\r\nCache-Control: no-transform",
        "Content-Type: image/png",
    ] {
        let text = sentence(100);
        let upstream = always(&format!("{head}\r\nETag: \"1\""), &text);
        let proxy = Proxy::configured(CONFIGURATION, upstream.address);
        let answer = ask(&proxy, "chat", "GET /a\nAccept-Encoding: gzip");
        assert_eq!(answer.text(), text, "{head}");
        assert_eq!(answer.field("etag"), Some("\"1\""));
        assert!(!answer.head.contains("Vary"), "{}", answer.head);
    }
    let upstream = Upstream::answering(
        b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/css\r\nContent-Length: 4\r\n\
          Content-Range: bytes 0-3/5000\r\nETag: \"1\"\r\n\r\nbody",
    );
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let part = ask(&proxy, "chat", "GET /a.css\nRange: bytes=0-3\nAccept-Encoding: gzip");
    assert_eq!(
        (part.status, part.text().as_str(), part.field("etag")),
        (206, "body", Some("\"1\""))
    );
}

#[test]
fn a_304_confirms_what_the_client_has() {
    let upstream = Upstream::answering(b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let ours = ask(&proxy, "chat", "GET /a.css\nAccept-Encoding: gzip\nIf-None-Match: W/\"1\"");
    assert_eq!((ours.status, ours.field("etag")), (304, Some("W/\"1\"")));
    assert_eq!(ours.field("vary"), Some("Accept-Encoding"));
    let upstream = Upstream::answering(b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let its = ask(&proxy, "chat", "GET /a.css\nAccept-Encoding: gzip\nIf-None-Match: \"1\"");
    assert_eq!((its.status, its.field("etag"), its.field("vary")), (304, Some("\"1\""), None));
}

#[test]
fn a_document_is_compressed_with_the_bridge_in_it() {
    let page = format!("<!doctype html><head><title>t</title></head>{}", sentence(100));
    let upstream = always("Content-Type: text/html\r\nETag: \"1\"", &page);
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let answer = ask(&proxy, "chat", "GET /\nAccept-Encoding: gzip, br\nSec-Fetch-Mode: navigate");
    assert_eq!(answer.field("content-encoding"), Some("br"));
    let text = decoded("br", &answer.body);
    assert!(text.contains("/.vestibule/bridge.js") && text.ends_with(&sentence(100)), "{text}");
    assert_eq!(answer.field("etag"), None);
    assert!(upstream.received().contains("Accept-Encoding: identity"));
    let framed = "Sec-Fetch-Mode: navigate\nSec-Fetch-Site: cross-site";
    let answer = ask(&proxy, "chat", &format!("GET /\nAccept-Encoding: br\n{framed}"));
    assert_eq!(answer.field("content-encoding"), None, "another site could measure it");
}

/// An upstream that sends each piece only when it is told to.
fn in_pieces(pieces: Vec<String>) -> (Upstream, std::sync::mpsc::Sender<()>) {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = Upstream::start(move |mut conversation| {
        conversation.read_request();
        conversation.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        );
        for piece in &pieces {
            gone.lock().unwrap().recv().unwrap();
            conversation.write(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
        }
        conversation.write(b"0\r\n\r\n");
    });
    (upstream, go)
}

fn chunk(client: &mut Client) -> Vec<u8> {
    let size = usize::from_str_radix(&client.read_line(), 16).unwrap();
    let chunk = client.read_exactly(size);
    assert_eq!(client.read_line(), "");
    chunk
}

#[test]
fn a_streamed_piece_arrives_before_the_next_is_sent() {
    let pieces: Vec<_> = (0..5).map(|index| format!("{{\"word\": {index}}}\n")).collect();
    for coding in ["gzip", "br", "zstd"] {
        let (upstream, go) = in_pieces(pieces.clone());
        let proxy = Proxy::configured(CONFIGURATION, upstream.address);
        let mut client = proxy.client();
        client.send(format!(
            "GET /s HTTP/1.1\r\nHost: chat.test\r\nAccept-Encoding: {coding}\r\n\r\n"
        ));
        let head = client.read_head().unwrap();
        assert_eq!(head.field("content-encoding"), Some(coding));
        let mut seen = Vec::new();
        for count in 1..=pieces.len() {
            go.send(()).unwrap();
            let so_far = pieces[..count].concat();
            while decoded(coding, &seen) != so_far {
                seen.extend(chunk(&mut client));
            }
        }
        // The coding's own end, and the body's.
        while !chunk(&mut client).is_empty() {}
    }
}

#[test]
fn a_streamed_piece_arrives_over_http2_too() {
    let pieces: Vec<_> = (0..5).map(|index| format!("{{\"word\": {index}}}\n")).collect();
    let (upstream, go) = in_pieces(pieces.clone());
    let proxy = tls(&upstream);
    soon(async {
        let mut client = h2::Client::connect(&proxy).await;
        let asked = request(Method::GET, "/s").header("accept-encoding", "zstd");
        let (response, _) = client.begin(asked.body(()).unwrap(), true).await;
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "zstd");
        let mut body = response.into_body();
        let mut seen = Vec::new();
        for count in 1..=pieces.len() {
            let told = go.clone();
            blocking(move || told.send(()).unwrap()).await;
            while decoded("zstd", &seen) != pieces[..count].concat() {
                seen.extend(body.data().await.expect("the stream goes on").unwrap());
            }
        }
    });
}

/// The same over TLS: the harness makes its certificate.
fn tls(upstream: &Upstream) -> Proxy {
    use crate::harness::proxy::Builder;
    use vestibule::policy::front::Front;
    use vestibule::policy::front::compression::{Compression, MediaRange};
    Builder::default()
        .persona("chat.test", "/", &[upstream.address])
        .with(|builder| {
            builder.front = || Front {
                compression: Some(Arc::new(Compression {
                    codings: Compression::CODINGS.into(),
                    min_bytes: Compression::MIN_BYTES,
                    types: Compression::TYPES.into_iter().filter_map(MediaRange::parse).collect(),
                })),
                ..Front::default()
            };
        })
        .start()
}

#[test]
fn a_big_body_comes_whole_by_either_protocol() {
    let text = sentence(300_000);
    let upstream = always("Content-Type: text/plain", &text);
    let proxy = tls(&upstream);
    for coding in ["gzip", "br", "zstd"] {
        let mut client = proxy.tls();
        client.send(format!(
            "GET /b HTTP/1.1\r\nHost: chat.test\r\nAccept-Encoding: {coding}\r\n\r\n"
        ));
        let answer = client.read_response().unwrap();
        assert!(decoded(coding, &answer.body) == text, "{coding}");
        soon(async {
            let mut client = h2::Client::connect(&proxy).await;
            let asked = request(Method::GET, "/b").header("accept-encoding", coding);
            let answer = client.ask(asked.body(()).unwrap()).await;
            assert_eq!(answer.field("content-length"), None);
            assert!(decoded(coding, &answer.body) == text, "{coding}");
            let asked = request(Method::HEAD, "/b").header("accept-encoding", coding);
            let answer = client.ask(asked.body(()).unwrap()).await;
            assert_eq!(answer.field("content-encoding"), Some(coding));
            assert_eq!(answer.field("content-length"), None);
        });
    }
    assert_eq!(upstream.connections(), 1, "it stays usable");
}

#[test]
fn a_client_that_leaves_ends_the_stream() {
    let (left, has_left) = channel::<()>();
    let left = Mutex::new(left);
    let upstream = Upstream::start(move |mut conversation| {
        conversation.read_request();
        conversation.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
              5\r\nhello\r\n",
        );
        conversation.read_to_end();
        left.lock().unwrap().send(()).unwrap();
    });
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let mut client = proxy.client();
    client.send("GET /s HTTP/1.1\r\nHost: chat.test\r\nAccept-Encoding: br\r\n\r\n");
    client.read_head().unwrap();
    chunk(&mut client);
    drop(client);
    has_left.recv_timeout(crate::harness::PATIENCE).unwrap();
}

#[test]
fn an_asset_with_a_hashed_name_is_compressed_once() {
    let text = sentence(20_000);
    let head = "Content-Type: text/javascript\r\nETag: \"1\"\r\n\
                Cache-Control: public, immutable, max-age=31536000";
    let upstream = always(head, &text);
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let lines = "GET /static/a.1b2c.js\nAccept-Encoding: br";
    let first = ask(&proxy, "chat", lines);
    assert_eq!(first.field("content-length"), None);
    assert_eq!(decoded("br", &first.body), text);
    for _ in 0..2 {
        let again = ask(&proxy, "chat", lines);
        let length = first.body.len().to_string();
        assert_eq!(again.field("content-length"), Some(length.as_str()), "{}", again.head);
        assert_eq!(again.field("etag"), Some("W/\"1\""));
        assert_eq!(again.body, first.body);
    }
    assert_eq!(upstream.received().matches("GET /static").count(), 3, "the app still decides");
    let other = ask(&proxy, "chat", "GET /static/a.1b2c.js?v=2\nAccept-Encoding: br");
    assert_eq!(other.field("content-length"), None, "another address");
    let other = ask(&proxy, "chat", "GET /static/a.1b2c.js\nAccept-Encoding: zstd");
    assert_eq!(decoded("zstd", &other.body), text);
}
