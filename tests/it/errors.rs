//! What people and programs are told when the app behind a persona does not answer.

use std::net::SocketAddr;

use crate::harness::client::Response;
use crate::harness::proxy::Proxy;

const CONFIGURATION: &str = r#"
[server]
http = ["127.0.0.1:0"]
http_mode = "serve"

[upstreams.app]
servers = ["http://UPSTREAM"]

[tenants.acme]
embed_origins = ["https://www.acme.test"]

[tenants.acme.personas.chat]
hosts = ["chat.acme.test"]
upstream = "app"

[tenants.acme.personas.arabic]
hosts = ["arabic.acme.test"]
upstream = "app"
direction = "rtl"

[tenants.acme.sites.home]
hosts = ["home.acme.test"]
upstream = "app"
"#;

/// Where nobody listens.
fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

fn ask(proxy: &Proxy, host: &str, request: &str) -> Response {
    let (line, rest) = request.split_once('\n').unwrap_or((request, ""));
    let rest = rest.replace('\n', "\r\n");
    let request = format!("{line} HTTP/1.1\r\nHost: {host}.acme.test\r\n{rest}\r\n\r\n");
    proxy.client().send(request).read_response().unwrap()
}

const NAVIGATE: &str = "Sec-Fetch-Mode: navigate";

#[test]
fn a_program_gets_a_problem_and_a_person_a_page_that_tries_again() {
    let proxy = Proxy::configured(CONFIGURATION, nobody());
    let answer = ask(&proxy, "chat", "GET /a.js\nAccept: */*");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    for host in ["chat", "home"] {
        let page = ask(&proxy, host, &format!("GET /\n{NAVIGATE}"));
        assert_eq!((page.status, page.field("cache-control")), (502, Some("no-store")));
        let csp = page.field("content-security-policy").unwrap();
        assert!(csp.contains("script-src 'sha256-"), "{csp}");
        assert!(csp.contains("connect-src 'self'"), "{csp}");
        assert!(page.text().contains("It opens by itself"), "{}", page.text());
    }
}

#[test]
fn what_a_form_sent_is_not_sent_again_by_itself() {
    let proxy = Proxy::configured(CONFIGURATION, nobody());
    let form = format!("POST /comment\n{NAVIGATE}\nContent-Length: 0");
    let page = ask(&proxy, "home", &form);
    assert_eq!(page.status, 502);
    assert!(!page.text().contains("<script"), "{}", page.text());
    assert!(page.text().contains("send it again if need be"), "{}", page.text());
}

#[test]
fn the_page_reads_the_way_the_chat_does() {
    let proxy = Proxy::configured(CONFIGURATION, nobody());
    for (host, path, direction) in [
        ("chat", "/", "ltr"),
        ("chat", "/?direction=rtl", "rtl"),
        ("chat", "/?direction=auto&x=1", "auto"),
        ("arabic", "/", "rtl"),
        ("arabic", "/?direction=ltr", "ltr"),
        // Refused for its parameters: what it asks for twice is not followed.
        ("arabic", "/?direction=ltr&direction=rtl", "rtl"),
        ("arabic", "/?mode=customer&direction=auto", "auto"),
    ] {
        let page = ask(&proxy, host, &format!("GET {path}\n{NAVIGATE}"));
        assert!(page.text().contains(&format!("dir=\"{direction}\"")), "{path}: {}", page.text());
    }
}

#[test]
fn the_session_remembers_the_direction_of_its_launch() {
    let proxy = Proxy::configured(CONFIGURATION, nobody());
    let launch = ask(&proxy, "chat", &format!("GET /?direction=rtl\n{NAVIGATE}"));
    let cookie = launch.field("set-cookie").unwrap().split(';').next().unwrap();
    let page = ask(&proxy, "chat", &format!("GET /more\n{NAVIGATE}\nCookie: {cookie}"));
    assert_eq!(page.status, 502);
    assert!(page.text().contains("dir=\"rtl\""), "{}", page.text());
}
