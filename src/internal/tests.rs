use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::config::Loader;
use crate::net::intake::{Begin, Intake};
use crate::net::service::{CONNECTIONS, HEAD_BYTES};

const KEYS: &str = r#"{"keys":[]}"#;
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) fn door() -> Door {
    Intake::new(Begin::Open).door(bind(ANYWHERE).unwrap())
}

fn server() -> InternalServer {
    start(door(), key_sets, |_| None).unwrap()
}

fn key_sets(tenant: Option<&str>) -> Option<String> {
    match tenant {
        None => Some(KEYS.to_owned()),
        Some("shop") => Some(r#"{"keys":["shop"]}"#.to_owned()),
        Some(_) => None,
    }
}

fn impatient(patience: Duration) -> InternalServer {
    let apps = Apps { key_set: Box::new(key_sets), launch: Box::new(|_| None) };
    start_with(door(), Responder::new(apps, [0; 16]), patience).unwrap()
}

fn connect(server: &InternalServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// All that comes until the server closes.
pub(super) fn sent(server: &InternalServer, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &InternalServer, host: &str) -> String {
    sent(server, &format!("GET /.well-known/jwks.json HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

pub(super) fn code(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("\r\ncontent-type: application/problem+json"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let status = head.split(' ').nth(1).unwrap();
    format!("{status} {}", body["code"].as_str().unwrap())
}

#[test]
fn an_app_gets_the_key_set_that_is_live() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = start(
        door(),
        move |_| Some(format!(r#"{{"keys":[{}]}}"#, count.fetch_add(1, Ordering::Relaxed))),
        |_| None,
    )
    .unwrap();
    for turn in 0..2 {
        let answer = get(&server, &server.address().to_string());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains("\r\ncontent-type: application/jwk-set+json"), "{head}");
        assert!(head.contains("\r\ncache-control: max-age=60"), "{head}");
        assert_eq!(body, format!(r#"{{"keys":[{turn}]}}"#));
    }
}

#[test]
fn an_app_asks_for_its_own_tenants_keys() {
    let answer = sent(&server(), "GET /tenants/shop/jwks.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(r#"{"keys":["shop"]}"#), "{answer}");
}

#[test]
fn a_tenants_key_set_has_no_other_tenants_key() {
    let tenant = |name: &str| {
        format!(
            "[tenants.{name}.personas.bot]\nhosts = [\"{name}.example\"]\nupstream = \"app\"\n\
             app = \"generic\"\nmode = \"public\"\nuser_id = \"none\"\n"
        )
    };
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:8080\"]\nhttp_mode = \"serve\"\n\
         session_secrets = [\"env:SECRET\"]\n[internal]\nlisten = \"127.0.0.1:9181\"\n\
         [upstreams.app]\nservers = [\"http://127.0.0.1:8501\"]\n{}{}",
        tenant("shop"),
        tenant("jasser"),
    );
    let environment = |name: &str| (!name.starts_with("OTEL_")).then(|| "s".repeat(32));
    let loaded = Loader::new(&environment).load_str("test.toml", &text, Path::new(""));
    let snapshot = loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    let names = |tenant| {
        let document: serde_json::Value =
            serde_json::from_str(&key_set(&snapshot, tenant).unwrap()).unwrap();
        let keys = document["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (shop, jasser, all) = (names(Some("shop")), names(Some("jasser")), names(None));
    assert_eq!((shop.len(), jasser.len(), all.len()), (1, 1, 2));
    assert!(shop != jasser && all.contains(&shop[0]) && all.contains(&jasser[0]));
    assert_eq!(key_set(&snapshot, Some("nobody")), None);
}

#[test]
fn head_is_the_same_without_the_body() {
    let answer = sent(&server(), "HEAD /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("\r\ncontent-length: 11"), "{answer}");
}

#[test]
fn nothing_else_is_served() {
    let server = server();
    for (line, expected) in [
        ("GET / HTTP/1.1", "404 not_found"),
        ("GET /.well-known/jwks.json/ HTTP/1.1", "404 not_found"),
        ("GET //.well-known/jwks.json HTTP/1.1", "404 not_found"),
        ("GET /.well-known/%6awks.json HTTP/1.1", "404 not_found"),
        ("POST / HTTP/1.1", "404 not_found"),
        ("GET /tenants/other/jwks.json HTTP/1.1", "404 not_found"),
        ("GET /tenants//jwks.json HTTP/1.1", "404 not_found"),
        ("GET /tenants/jwks.json HTTP/1.1", "404 not_found"),
        ("GET /tenants/x/../shop/jwks.json HTTP/1.1", "404 not_found"),
        ("POST /tenants/shop/jwks.json HTTP/1.1", "405 method_not_allowed"),
        ("DELETE /.well-known/jwks.json HTTP/1.1", "405 method_not_allowed"),
        ("OPTIONS /.well-known/jwks.json HTTP/1.1", "405 method_not_allowed"),
    ] {
        let answer = sent(&server, &format!("{line}\r\nHost: localhost\r\n\r\n"));
        assert_eq!(code(&answer), expected, "{line}");
        let allow = answer.to_lowercase().contains("\r\nallow: get, head\r\n");
        assert_eq!(allow, expected.starts_with("405"), "{answer}");
    }
}

#[test]
fn a_body_is_not_waited_for() {
    let request = "POST /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n\
        Content-Length: 1000000\r\n\r\nx";
    assert_eq!(code(&sent(&server(), request)), "405 method_not_allowed");
}

#[test]
fn a_page_cannot_call_it_through_a_browser() {
    let server = server();
    for origin in ["https://evil.example", "null", "http://127.0.0.1", ""] {
        let request = format!(
            "GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n"
        );
        assert_eq!(code(&sent(&server, &request)), "403 origin_not_allowed", "{origin:?}");
    }
}

#[test]
fn it_is_called_by_a_name_that_no_stranger_owns() {
    let server = server();
    for (host, serves) in [
        ("127.0.0.1:9181", true),
        ("10.1.2.3", true),
        ("[::1]:9181", true),
        ("localhost:9181", true),
        ("LOCALHOST.", true),
        ("vestibule:9181", true),
        ("app.localhost", true),
        ("vestibule.chat.svc", true),
        ("vestibule.chat.svc.cluster.local:9181", true),
        ("vestibule.internal", true),
        ("evil.example", false),
        ("evil.example.:9181", false),
        ("localhost.evil.example", false),
        ("notinternal.example", false),
        ("127.0.0.1.evil.example", false),
        ("evil-internal.example", false),
        ("1.2.3", false),
    ] {
        let answer = get(&server, host);
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), serves, "{host}: {answer}");
        if !serves {
            assert_eq!(code(&answer), "403 origin_not_allowed", "{host}");
        }
    }
}

#[test]
fn a_request_names_one_host() {
    let server = server();
    let path = "/.well-known/jwks.json";
    for (head, expected) in [
        (format!("GET {path} HTTP/1.1\r\n"), "400 host_invalid"),
        (format!("GET {path} HTTP/1.1\r\nHost:\r\n"), "400 host_invalid"),
        (format!("GET {path} HTTP/1.1\r\nHost: a\r\nHost: a\r\n"), "400 host_invalid"),
        (format!("GET {path} HTTP/1.1\r\nHost: u@localhost\r\n"), "400 host_invalid"),
        (
            format!("GET http://evil.example{path} HTTP/1.1\r\nHost: localhost\r\n"),
            "403 origin_not_allowed",
        ),
        (
            format!("GET http://localhost{path} HTTP/1.1\r\nHost: evil.example\r\n"),
            "403 origin_not_allowed",
        ),
    ] {
        assert_eq!(code(&sent(&server, &format!("{head}\r\n"))), expected, "{head}");
    }
}

#[test]
fn a_connection_that_takes_too_long_is_closed() {
    let server = impatient(Duration::from_millis(200));
    for begun in ["", "GET /.well-known/jwks.json HTTP/1.1\r\nHost: local"] {
        let before = Instant::now();
        assert_eq!(sent(&server, begun), "");
        assert!(before.elapsed() < Duration::from_secs(10), "{begun:?}");
    }
}

#[test]
fn a_head_is_bounded() {
    let request = format!(
        "GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(HEAD_BYTES)
    );
    assert!(sent(&server(), &request).starts_with("HTTP/1.1 431 "));
}

#[test]
fn strangers_that_hold_every_connection_hold_it_for_a_while() {
    let server = impatient(Duration::from_millis(500));
    let held: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
    // It waits in the kernel's queue until they have been cut.
    assert!(get(&server, "localhost").starts_with("HTTP/1.1 200 "));
    drop(held);
}

#[test]
fn a_port_has_one_listener_until_it_is_dropped() {
    let server = server();
    let address = server.address();
    assert!(bind(address).is_err());
    drop(server);
    assert!(bind(address).is_ok());
}
