//! What an operator puts in front of an app: addresses, redirects, header fields.

use std::net::SocketAddr;

use crate::harness::client::Response;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

const CONFIGURATION: &str = r#"
[server]
http = ["127.0.0.1:0"]
http_mode = "serve"
trusted_proxies = ["127.0.0.1"]

[upstreams.app]
servers = ["http://UPSTREAM"]

[tenants.acme]
limits = { ip = "2/min", tenant = "1000/min" }

[tenants.acme.personas.chat]
hosts = ["chat.test"]
path = "/chat"
upstream = "app"
redirects = [
  { from = "/old", to = "/new" },
  { from = "/docs/*", to = "https://docs.test/*", status = 302 },
]
headers = { set = { Referrer-Policy = "no-referrer", Cache-Control = "max-age=60" }, remove = ["X-Powered-By"] }
hsts = { max_age = "24h" }

[tenants.acme.personas.staff]
hosts = ["staff.test"]
upstream = "app"
allow_addresses = ["192.0.2.0/24"]
deny_addresses = ["192.0.2.66"]

[tenants.acme.sites.home]
hosts = ["home.test"]
upstream = "app"
redirects = [{ from = "/a", to = "/b", status = 301, keep_query = false }]
headers = { set = { Server = "home" } }
"#;

fn ask(proxy: &Proxy, host: &str, path: &str, more: &str) -> Response {
    let more = more.replace('\n', "\r\n");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}.test\r\n{more}\r\n\r\n");
    proxy.client().send(request).read_response().unwrap()
}

fn app() -> Upstream {
    Upstream::answering(
        b"HTTP/1.1 200 OK\r\nServer: app\r\nX-Powered-By: luck\r\nReferrer-Policy: unsafe-url\r\n\
          Strict-Transport-Security: max-age=1\r\nContent-Length: 2\r\n\r\nok",
    )
}

/// No port that was free a moment ago: another test's server may get that.
fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

#[test]
fn old_addresses_lead_to_new_ones() {
    let proxy = Proxy::configured(CONFIGURATION, nobody());
    for (host, path, status, location) in [
        ("chat", "/chat/old", 308, "/chat/new"),
        ("chat", "/chat/old/?x=1&y=%20", 308, "/chat/new?x=1&y=%20"),
        ("chat", "/chat/docs/a/b?user_id=1", 302, "https://docs.test/a/b"),
        ("home", "/a?x=1", 301, "/b"),
    ] {
        let answer = ask(&proxy, host, path, "A: b");
        assert_eq!((answer.status, answer.field("location")), (status, Some(location)), "{path}");
    }
    assert_eq!(ask(&proxy, "home", "/%61", "A: b").field("location"), Some("/b"));
    assert_eq!(ask(&proxy, "chat", "/chat/docs//evil.test", "A: b").status, 400);
    assert_eq!(ask(&proxy, "home", "/ab", "A: b").status, 502);
}

#[test]
fn fields_are_set_and_removed_and_ours_stay() {
    let upstream = app();
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let https = "X-Forwarded-Proto: https\nX-Forwarded-For: 192.0.2.1";
    let answer = ask(&proxy, "chat", "/chat/a.js", https);
    assert_eq!(answer.text(), "ok");
    for (name, value) in [
        ("Referrer-Policy", Some("no-referrer")),
        ("Strict-Transport-Security", Some("max-age=86400")),
        ("X-Powered-By", None),
        ("Server", Some("app")),
        ("Cache-Control", Some("max-age=60")),
    ] {
        assert_eq!(answer.field(name), value, "{name}");
        let lines = answer.head.lines().filter(|line| line.starts_with(&format!("{name}:")));
        assert_eq!(lines.count(), usize::from(value.is_some()), "{name}");
    }
    assert_eq!(ask(&proxy, "home", "/", https).field("server"), Some("home"));
}

#[test]
fn hsts_is_not_said_over_plain_http() {
    let upstream = app();
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let answer = ask(&proxy, "chat", "/chat/a.js", "X-Forwarded-For: 192.0.2.1");
    assert_eq!(answer.field("strict-transport-security"), None);
}

#[test]
fn our_own_answers_say_it_too_but_not_in_place_of_ours() {
    let proxy = Proxy::configured(CONFIGURATION, nobody());
    for navigates in ["Sec-Fetch-Mode: navigate", "Accept: */*"] {
        let more = format!("X-Forwarded-Proto: https\n{navigates}");
        let answer = ask(&proxy, "chat", "/chat/a.js", &more);
        assert_eq!((answer.status, answer.field("cache-control")), (502, Some("no-store")));
        assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.field("strict-transport-security"), Some("max-age=86400"));
    }
    let moved = ask(&proxy, "chat", "/chat/old", "X-Forwarded-Proto: https");
    assert_eq!(moved.field("strict-transport-security"), Some("max-age=86400"));
}

#[test]
fn an_address_that_may_not_come_costs_nothing() {
    let upstream = app();
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let launch = "Sec-Fetch-Mode: cors\nX-Forwarded-For: ";
    for (client, status) in
        [("192.0.2.1", 200), ("192.0.2.66", 403), ("198.51.100.1", 403), ("2001:db8::1", 403)]
    {
        // More often than the limit allows launches.
        for _ in 0..3 {
            let answer = ask(&proxy, "staff", "/a.js", &format!("{launch}{client}"));
            assert_eq!(answer.status, status, "{client}");
            if status == 403 {
                assert_eq!(answer.code(), "address_denied");
            }
        }
    }
    let denied = "Sec-Fetch-Mode: navigate\nX-Forwarded-For: 198.51.100.1";
    for _ in 0..5 {
        let page = ask(&proxy, "staff", "/", denied);
        assert_eq!(page.status, 403, "never 429");
        assert!(page.text().contains("address_denied"));
    }
}
