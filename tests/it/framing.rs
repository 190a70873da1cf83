//! Who may frame what, and what Streamlit keeps to itself, on the wire.

use crate::harness::client::Response;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

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
app = "streamlit"

[tenants.acme.personas.trial]
hosts = ["trial.acme.test"]
upstream = "app"
csp = { mode = "report-only" }

[tenants.acme.personas.below]
hosts = ["below.acme.test"]
path = "/chat"
strip_prefix = false
upstream = "app"
app = "streamlit"

[tenants.acme.sites.home]
hosts = ["home.acme.test"]
upstream = "app"
embeds = ["chat"]
"#;

const ANCESTORS: &str = "frame-ancestors 'self' https://www.acme.test";

fn ask(proxy: &Proxy, host: &str, path: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    proxy.client().send(request).read_response().unwrap()
}

fn policies(response: &Response) -> Vec<&str> {
    let field = "content-security-policy: ";
    let lines = response.head.lines();
    lines.filter(|l| l.to_ascii_lowercase().starts_with(field)).map(|l| &l[field.len()..]).collect()
}

#[test]
fn chat_documents_say_who_may_frame_them() {
    let upstream = Upstream::answering(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\
          X-Frame-Options: DENY\r\n\
          Content-Security-Policy: default-src 'self'; frame-ancestors 'none'\r\n\
          content-security-policy: object-src 'none'\r\n\r\nok",
    );
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let chat = ask(&proxy, "chat.acme.test", "/");
    // The tenant's site embeds this one, so it may frame it too.
    let ancestors = format!("{ANCESTORS} https://home.acme.test");
    assert_eq!(policies(&chat), [format!("default-src 'self'; {ancestors}, object-src 'none'")]);
    assert_eq!(chat.field("x-frame-options"), None);
    let trial = ask(&proxy, "trial.acme.test", "/");
    assert_eq!(trial.field("x-frame-options"), Some("DENY"), "report-only changes nothing");
    assert_eq!(policies(&trial).len(), 2);
    let report = trial.field("content-security-policy-report-only").unwrap();
    assert!(report.contains(ANCESTORS), "{report}");
    let home = ask(&proxy, "home.acme.test", "/");
    let policy = policies(&home).join(", ");
    assert!(policy.contains("frame-src 'self' https://chat.acme.test"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "not ours to change: {policy}");
    assert_eq!(home.field("x-frame-options"), Some("DENY"));
}

#[test]
fn documents_without_a_policy_get_one_and_assets_none() {
    let upstream = Upstream::answering(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n");
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let chat = ask(&proxy, "chat.acme.test", "/");
    assert_eq!(policies(&chat), [format!("{ANCESTORS} https://home.acme.test")], "a 304 too");
    assert!(policies(&ask(&proxy, "chat.acme.test", "/static/js/main.js")).is_empty());
    let html = Upstream::answering(
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 2\r\n\r\nno",
    );
    let proxy = Proxy::configured(CONFIGURATION, html.address);
    assert_eq!(policies(&ask(&proxy, "trial.acme.test", "/other")).len(), 0, "report-only");
    assert_eq!(policies(&ask(&proxy, "chat.acme.test", "/x.html")).len(), 1, "any HTML");
    assert_eq!(
        policies(&ask(&proxy, "home.acme.test", "/")),
        ["frame-src 'self' https://chat.acme.test"]
    );
}

#[test]
fn closed_streamlit_paths_stay_closed_in_every_spelling() {
    let upstream = Upstream::ok();
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    for (path, status) in [
        ("/_stcore/metrics", 403),
        ("/_stcore/metrics/", 403),
        ("/%5fstcore/metrics", 403),
        ("/_stcore/%6detrics", 403),
        ("/_STCORE/Metrics", 403),
        ("/page/_stcore/metrics", 403),
        ("/_stcore/agent/openapi.json", 403),
        ("/_stcore/script-health-check", 403),
        ("/_stcore%2fmetrics", 400),
        ("/x/../_stcore/metrics", 400),
        ("/./_stcore/metrics", 400),
        ("//_stcore/metrics", 400),
    ] {
        assert_eq!(ask(&proxy, "chat.acme.test", path).status, status, "{path}");
    }
    assert_eq!(ask(&proxy, "below.acme.test", "/chat/_stcore/metrics").status, 403);
    assert_eq!(upstream.received(), "");
    assert_eq!(ask(&proxy, "chat.acme.test", "/_stcore/health").status, 200);
    assert_eq!(ask(&proxy, "trial.acme.test", "/_stcore/metrics").status, 200, "not Streamlit");
}

#[test]
fn host_config_is_answered_here() {
    let upstream = Upstream::ok();
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    for (host, path) in [
        ("chat.acme.test", "/_stcore/host-config"),
        ("below.acme.test", "/chat/_stcore/host-config"),
    ] {
        let response = ask(&proxy, host, path);
        assert_eq!(response.status, 200);
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["allowedOrigins"][0], "https://www.acme.test", "{body}");
    }
    assert_eq!(upstream.received(), "");
}

#[test]
fn the_xsrf_cookie_works_in_a_frame_and_others_stay_as_they_are() {
    let upstream = Upstream::answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: _streamlit_xsrf=2|a; Path=/; SameSite=Lax\r\n\
          Set-Cookie: other=1; SameSite=Lax\r\n\r\nok",
    );
    let proxy = Proxy::configured(CONFIGURATION, upstream.address);
    let cookies = |host: &str| {
        let head = ask(&proxy, host, "/_stcore/health").head;
        head.lines()
            .filter_map(|l| l.strip_prefix("Set-Cookie: "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let framed = cookies("chat.acme.test");
    for part in ["_streamlit_xsrf=2|a", "SameSite=None", "Secure", "Partitioned", "Path=/"] {
        assert!(framed[0].contains(part), "{framed:?}");
    }
    assert!(!framed[0].contains("Lax"), "{framed:?}");
    assert_eq!(framed[1], "other=1; SameSite=Lax");
    assert_eq!(cookies("trial.acme.test")[0], "_streamlit_xsrf=2|a; Path=/; SameSite=Lax");
}
