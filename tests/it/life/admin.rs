//! Who may operate the server, and what is answered to whom.

use super::*;
use crate::harness::proxy::Proxy;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn configured(token: bool) -> Proxy {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let token = match token {
        true => format!("token = \"file:{}\"\n", file.display()),
        false => String::new(),
    };
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n{token}\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme.personas.a]\nhosts = [\"a.test\"]\nupstream = \"app\"\n\
         [tenants.acme.sites.www]\nhosts = [\"www.test\"]\nupstream = \"app\"\n"
    );
    Proxy::configured(&text, "127.0.0.1:1".parse().unwrap())
}

/// The status, and the code where it is a problem.
fn asked(proxy: &Proxy, request: &str) -> (u16, String) {
    let request = format!("{request}\r\n\r\n");
    let mut client = Client::plain(proxy.app.admin().unwrap());
    let answer = client.send(request.replace('\n', "\r\n").replace("\r\r", "\r")).read_response();
    let answer = answer.unwrap();
    assert_eq!(answer.field("cache-control"), Some("no-store"), "{answer:?}");
    match answer.field("content-type") {
        Some("application/json") => (answer.status, String::new()),
        _ => (answer.status, answer.code()),
    }
}

#[test]
fn without_a_token_only_this_machine_may_ask_and_no_page() {
    let proxy = configured(false);
    let good = (200, String::new());
    let page = (403, "origin_not_allowed".to_owned());
    let host = (400, "host_invalid".to_owned());
    for (request, expected) in [
        ("GET /status HTTP/1.1\nHost: localhost", &good),
        ("GET /status HTTP/1.1\nHost: LOCALHOST:9180", &good),
        ("GET /status HTTP/1.1\nHost: 127.0.0.1:9180", &good),
        ("GET /status HTTP/1.1\nHost: [::1]:9180", &good),
        ("GET /status HTTP/1.1\nHost: ops.localhost", &good),
        ("GET /status HTTP/1.1\nHost: localhost\nOrigin: http://localhost", &good),
        ("GET /status HTTP/1.1\nHost: localhost\nSec-Fetch-Site: none", &good),
        // A name whose owner points it here.
        ("GET /status HTTP/1.1\nHost: evil.example", &page),
        ("GET /status HTTP/1.1\nHost: evil.example\nOrigin: http://evil.example", &page),
        ("GET /status HTTP/1.1\nHost: localhost.evil.example", &page),
        ("GET http://evil.example/status HTTP/1.1\nHost: localhost", &host),
        // A page somewhere else.
        ("GET /status HTTP/1.1\nHost: localhost\nOrigin: https://evil.example", &page),
        ("GET /status HTTP/1.1\nHost: localhost:1\nOrigin: http://localhost:2", &page),
        ("GET /status HTTP/1.1\nHost: localhost\nOrigin: null", &page),
        ("GET /status HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site", &page),
        ("GET /status HTTP/1.1\nHost: localhost\nSec-Fetch-Site: same-site", &page),
        ("POST /reload HTTP/1.1\nHost: localhost\nOrigin: https://evil.example", &page),
        ("GET /healthz HTTP/1.1\nHost: localhost\nOrigin: https://evil.example", &page),
        ("GET /status HTTP/1.1\nHost: a\nHost: localhost", &host),
        ("GET /status HTTP/1.1\nHost: local host", &host),
        ("GET /healthz HTTP/1.1\nHost: 10.1.2.3:9180", &good),
        ("GET /readyz HTTP/1.1\nHost: a-pod.of.a.cluster", &good),
    ] {
        assert_eq!(asked(&proxy, request), *expected, "{request}");
    }
}

#[test]
fn with_a_token_only_who_has_it_may_ask() {
    let proxy = configured(true);
    let unknown = (401, "token_invalid".to_owned());
    let good = (200, String::new());
    for (request, lines, expected) in [
        ("GET /status", format!("Authorization: Bearer {TOKEN}"), &good),
        ("GET /status", format!("authorization: bearer  {TOKEN}"), &good),
        ("GET /status", "X-Nothing: 1".to_owned(), &unknown),
        ("GET /status", "Authorization: Bearer".to_owned(), &unknown),
        ("GET /status", format!("Authorization: Bearer {}", &TOKEN[1..]), &unknown),
        ("GET /status", format!("Authorization: Bearer {TOKEN}0"), &unknown),
        ("GET /status", format!("Authorization: Basic {TOKEN}"), &unknown),
        (
            "GET /status",
            format!("Authorization: Bearer x\nAuthorization: Bearer {TOKEN}"),
            &unknown,
        ),
        ("GET /connections", "X-Nothing: 1".to_owned(), &unknown),
        ("POST /reload", "X-Nothing: 1".to_owned(), &unknown),
        ("POST /drain", "X-Nothing: 1".to_owned(), &unknown),
        ("GET /nothing", "X-Nothing: 1".to_owned(), &unknown),
        // Probes have none.
        ("GET /healthz", "X-Nothing: 1".to_owned(), &good),
        ("GET /readyz", "X-Nothing: 1".to_owned(), &good),
    ] {
        // Whoever has it may call the server by any name.
        let head = format!("{request} HTTP/1.1\nHost: ops.example\n{lines}");
        assert_eq!(asked(&proxy, &head), *expected, "{head}");
    }
}

#[test]
fn what_cannot_be_asked_is_told() {
    let proxy = configured(false);
    let json = "Content-Type: application/json\r\n";
    for (method, path, lines, body, status, code) in [
        ("GET", "/nothing", "", "", 404, "not_found"),
        ("POST", "/status", "", "", 405, "method_not_allowed"),
        ("GET", "/reload", "", "", 405, "method_not_allowed"),
        ("POST", "/reload", "", "", 503, "not_serving"),
        ("GET", "/connections?persona=a", "", "", 400, "request_malformed"),
        ("GET", "/connections?tenant=a&persona=a&site=b", "", "", 400, "request_malformed"),
        ("GET", "/connections?tenants=a", "", "", 400, "request_malformed"),
        ("POST", "/drain", "", r#"{"tenant": "acme"}"#, 415, "media_type_unsupported"),
        ("POST", "/drain", json, "", 400, "request_malformed"),
        ("POST", "/drain", json, r#"{"persona": "a"}"#, 400, "request_malformed"),
        ("POST", "/drain", json, r#"{"tenant": "acme", "x": 1}"#, 400, "request_malformed"),
        ("POST", "/drain", json, r#"{"tenant": "acme", "within": "x"}"#, 400, "request_malformed"),
        ("POST", "/drain", json, r#"{"tenant": "acme", "within": "2d"}"#, 400, "request_malformed"),
        ("POST", "/drain", json, r#"{"tenant": "none"}"#, 404, "not_found"),
        ("POST", "/drain", json, r#"{"tenant": "acme", "persona": "www"}"#, 404, "not_found"),
        ("POST", "/drain", json, r#"{"tenant": "acme", "site": "a"}"#, 404, "not_found"),
    ] {
        let answer = ask(&proxy, method, path, lines, body);
        let told = (answer.status, answer.code());
        assert_eq!(told, (status, code.to_owned()), "{method} {path} {body}");
        let allows = match (status, path) {
            (405, "/status") => Some("GET, HEAD"),
            (405, _) => Some("POST"),
            _ => None,
        };
        assert_eq!(answer.field("allow"), allows, "{method} {path}");
    }
    let large = format!(r#"{{"tenant": "{}"}}"#, "x".repeat(20_000));
    assert_eq!(ask(&proxy, "POST", "/drain", json, &large).code(), "body_too_large");
    let site = ask(&proxy, "POST", "/drain", json, r#"{"tenant": "acme", "site": "www"}"#);
    assert_eq!(site.status, 200);
}

#[test]
fn the_status_says_what_this_is() {
    let proxy = configured(false);
    let status = json(&ask(&proxy, "GET", "/status", "", ""));
    assert_eq!(status["state"], "ready");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], std::process::id());
    let counts = [&status["tenants"], &status["personas"], &status["sites"], &status["workers"]];
    assert_eq!(counts, [1, 1, 1, 1]);
    assert_eq!(status["streams"]["websockets"], 0);
    assert!(status["connections"]["allowed"].as_u64().unwrap() > 0);
    let servers = &status["upstreams"]["app"];
    assert_eq!(servers[0]["state"], "healthy");
    assert_eq!((&servers[0]["weight"], &servers[0]["active"]), (&100.into(), &0.into()));
}
