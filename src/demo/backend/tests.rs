use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

fn backend() -> Backend {
    Backend::start(Trust { command: "trust <it>".into() }).unwrap()
}

/// One exchange; head and body as text.
fn ask(backend: &Backend, request: &str) -> String {
    let mut stream = TcpStream::connect(backend.address()).unwrap();
    let (line, rest) = request.split_once("\r\n").unwrap();
    write!(stream, "{line}\r\nConnection: close\r\n{rest}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// As Vestibule would send it on for this host.
fn get(backend: &Backend, host: &str, target: &str) -> String {
    let persona = host.split(['-', '.']).nth(1).unwrap_or_default();
    let told = format!("X-Vestibule-Persona: {persona}\r\n");
    ask(backend, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{told}\r\n"))
}

fn say(backend: &Backend, told: &str, body: &str) -> String {
    let length = body.len();
    let host = "chat-customer.localhost";
    let head = format!("POST /api/message HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}");
    ask(backend, &format!("{head}\r\n{told}\r\n{body}"))
}

#[test]
fn each_host_gets_its_own_page_and_others_none() {
    let backend = backend();
    let page = get(&backend, "chat-test.localhost:1", "/?a=%22&b");
    assert!(page.contains("<body data-persona=\"test\""));
    assert!(page.contains("data-state=\"complete\""));
    assert!(page.contains("content=\"a=%22&amp;b\""));
    assert!(page.contains("frame-ancestors 'self' http://app.localhost:1\r\n"));
    assert!(get(&backend, "app.localhost:1", "/").contains("Open Customer Chat"));
    assert!(get(&backend, "app.localhost:1", "/public").contains("trust &lt;it&gt;"));
    for (host, target) in [
        ("example.com", "/"),
        ("app.localhost", "/nothing"),
        ("app.localhost", "/ws"),
        ("chat-test.localhost", "/public"),
    ] {
        assert!(get(&backend, host, target).starts_with("HTTP/1.1 404"), "{host}{target}");
    }
}

#[test]
fn every_file_that_a_page_names_is_served() {
    let backend = backend();
    for host in ["app.localhost", "chat-public.localhost"] {
        let page = get(&backend, host, "/");
        let named = page.split("\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
        for file in named {
            let answer = get(&backend, host, &format!("/assets/{file}"));
            assert!(answer.starts_with("HTTP/1.1 200"), "{file}");
            for import in answer.split("from './").skip(1) {
                let file = import.split('\'').next().unwrap();
                let answer = get(&backend, host, &format!("/assets/{file}"));
                assert!(answer.starts_with("HTTP/1.1 200"), "{file}");
            }
        }
    }
}

#[test]
fn who_is_asking_is_what_vestibule_says_and_never_what_a_message_says() {
    let backend = backend();
    let check = |told: &str, body: &str, status: &str, part: &str| {
        let answer = say(&backend, told, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(part), "{answer}");
    };
    let customer = "X-Vestibule-Persona: customer\r\nX-Vestibule-User-Id: 7\r\n";
    let claim = r#"{"text":"hi","mode":"employee","user_id":8}"#;
    check(customer, claim, "200", r#""persona":"customer""#);
    check(customer, claim, "200", r#""user_id":"7""#);
    check("X-Vestibule-Persona: public\r\n", claim, "200", r#""user_id":null"#);
    check("X-Vestibule-User-Id: 7\r\n", claim, "401", "identity_absent");
    check(customer, "{", "400", "request_malformed");
    check(customer, &"x".repeat(20_000), "413", "body_too_large");
}

#[test]
fn a_dropped_backend_is_gone() {
    let backend = backend();
    let address = backend.address();
    assert!(get(&backend, "app.localhost", "/healthz").ends_with("ok\n"));
    drop(backend);
    assert!(TcpStream::connect(address).is_err());
}
