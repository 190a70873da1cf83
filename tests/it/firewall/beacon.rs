//! What the page around a chat tells of its handshake: who may tell, what is taken, and that nothing
//! else comes of it.

use vestibule::policy::beacon::launch::{LIFETIME, Launch};
use vestibule::policy::secret::Secret;
use vestibule::policy::session::UnixSeconds;
use vestibule::policy::session::keys::{PersonaKeys, SessionSecrets};
use vestibule::telemetry::trace::context::{Flags, TraceId};

use super::browser::Browser;
use super::signed::now;
use super::{ROOM, configuration, proxy, reflecting};
use crate::harness::client::Response;
use crate::harness::proxy::Proxy;
use crate::metrics::{becomes, of};

const PATH: &str = "/.vestibule/beacon";
const PAGE: &str = "Origin: https://www.acme.test\r\n";
const TEXT: &str = "Content-Type: text/plain;charset=UTF-8\r\n";
const ACK: &str = r#"{"v":1,"shown":0,"ready":412,"config":415,"ended":603,"outcome":"ack"}"#;

/// As a page's fetch or sendBeacon posts it.
fn tell(browser: &mut Browser, path: &str, body: &str) -> Response {
    let lines = format!("{PAGE}{TEXT}Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: cross-site\r\n");
    browser.ask("POST", path, &lines, body)
}

fn of_launch(launch: &str) -> String {
    ACK.replace("\"v\":1", &format!("\"v\":1,\"launch\":\"{launch}\""))
}

/// What the bridge's element in a document says of its launch.
fn launch_in(page: &Response) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("data-launch=\"").unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn a_page_that_may_embed_the_chat_tells_and_learns_nothing() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let page = browser.open("/?user_id=7");
    assert_eq!(page.status, 200, "{}", page.text());
    let (seen, cookies) = (upstream.received(), browser.cookies.clone());
    let told = tell(&mut browser, PATH, &of_launch(&launch_in(&page)));
    assert_eq!((told.status, told.text().as_str()), (204, ""));
    for field in ["set-cookie", "access-control-allow-origin", "ratelimit", "content-type"] {
        assert_eq!(told.field(field), None, "{field}");
    }
    assert_eq!((upstream.received(), &browser.cookies), (seen, &cookies), "the app hears nothing");

    let owner = "tenant=\"acme\",persona=\"customer\"";
    let count = |outcome: &str, count| (format!("{owner},outcome=\"{outcome}\""), count);
    becomes(&proxy, "vestibule_handshakes_total", &[count("ack", 1.0)]);
    becomes(&proxy, "vestibule_handshake_duration_seconds_sum", &[(owner.to_owned(), 0.191)]);
    for (outcome, more) in [("error", ",\"error\":\"mode_mismatch\""), ("timeout", "")] {
        let body = ACK.replace("\"ack\"", &format!("\"{outcome}\"{more}"));
        assert_eq!(tell(&mut browser, PATH, &body).status, 204, "{outcome}");
    }
    let all = [count("ack", 1.0), count("error", 1.0), count("timeout", 1.0)];
    becomes(&proxy, "vestibule_handshakes_total", &all);
    becomes(&proxy, "vestibule_handshake_duration_seconds_count", &[(owner.to_owned(), 1.0)]);
}

#[test]
fn the_log_has_the_launch_and_what_was_told_of_it_in_one_trace() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let page = browser.open("/?user_id=7");
    // Each of the launch's redirects is a request of its own; the document is the last.
    let before = browser.way.len() + 1;
    let document = proxy.log(before).last().unwrap()["trace_id"].clone();
    assert_eq!(tell(&mut browser, PATH, &of_launch(&launch_in(&page))).status, 204);
    assert_eq!(tell(&mut browser, PATH, ACK).status, 204);
    let log = proxy.log(before + 2);
    let told: Vec<_> = log.iter().filter(|line| line["path"] == PATH).collect();
    assert_eq!(told.len(), 2, "{log:?}");
    assert_eq!(told[0]["trace_id"], document);
    assert_eq!(told[0]["persona"], "customer");
    assert_ne!(told[1]["trace_id"], document, "it says no launch");
}

#[test]
fn what_is_told_wrongly_is_refused_and_not_counted() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let mut elsewhere = Browser::new(&proxy, "employee.acme.test");
    let others = launch_in(&elsewhere.open("/?user_id=7"));
    let own = launch_in(&browser.open("/?user_id=7"));
    let changed = match own.strip_suffix('A') {
        Some(start) => format!("{start}B"),
        None => format!("{}A", &own[..own.len() - 1]),
    };
    let seen = upstream.received();

    let origin = |origin: &str| format!("Origin: {origin}\r\n{TEXT}");
    let good = format!("{PAGE}{TEXT}");
    let twice = format!("{PAGE}{good}");
    let large = format!("{ACK}{}", " ".repeat(2048));
    let typed = |kind: &str| format!("{PAGE}Content-Type: {kind}\r\n");
    let invalid = (400, "beacon_invalid");
    let foreign = (403, "origin_not_allowed");
    let untyped = (415, "media_type_unsupported");
    let method = (405, "method_not_allowed");
    let own_page = origin("http://customer.acme.test");
    for (verb, lines, body, expected) in [
        ("POST", origin("https://evil.test"), ACK, foreign),
        ("POST", origin("http://www.acme.test"), ACK, foreign),
        ("POST", origin("https://www.acme.test:8443"), ACK, foreign),
        ("POST", origin("https://www.acme.test.evil.test"), ACK, foreign),
        ("POST", origin("null"), ACK, foreign),
        ("POST", format!("{}Sec-Fetch-Site: same-origin\r\n", origin("null")), ACK, foreign),
        ("POST", own_page, ACK, foreign),
        ("POST", TEXT.to_owned(), ACK, foreign),
        ("POST", twice, ACK, foreign),
        ("POST", typed("application/json"), ACK, untyped),
        ("POST", typed("text/plainer"), ACK, untyped),
        ("POST", PAGE.to_owned(), ACK, untyped),
        ("GET", good.clone(), "", method),
        ("PUT", good.clone(), ACK, method),
        ("OPTIONS", format!("{PAGE}Access-Control-Request-Method: POST\r\n"), "", method),
        ("POST", good.clone(), &large, (413, "body_too_large")),
        ("POST", good.clone(), "", invalid),
        ("POST", good.clone(), "[]", invalid),
        ("POST", good.clone(), &ACK.replace("603", "\"603\""), invalid),
        ("POST", good.clone(), &ACK.replace("603", "300"), invalid),
        ("POST", good.clone(), &ACK.replace("603", "600001"), invalid),
        ("POST", good.clone(), &ACK.replace("\"v\":1", "\"v\":1,\"user_id\":\"7\""), invalid),
        ("POST", good.clone(), &of_launch(&others), invalid),
        ("POST", good.clone(), &of_launch(&changed), invalid),
        ("POST", good.clone(), &of_launch(""), invalid),
        ("POST", good.clone(), &of_launch(&own.repeat(4)), invalid),
    ] {
        let refused = browser.ask(verb, PATH, &lines, body);
        assert_eq!((refused.status, refused.code().as_str()), expected, "{verb} {lines}{body}");
        let allow = (expected == method).then_some("POST");
        assert_eq!(refused.field("allow"), allow, "{verb}");
    }
    let good = browser.ask("POST", PATH, &good, &of_launch(&own));
    assert_eq!(good.status, 204);
    let counted = of(&proxy, "vestibule_handshakes_total");
    assert_eq!(counted.values().sum::<f64>(), 1.0, "{counted:?}");
    assert_eq!(upstream.received(), seen, "the app hears nothing");
}

#[test]
fn it_is_told_below_a_personas_path_and_its_devices_and_in_no_sessions_path() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::without_cookies(&proxy, "below.acme.test");
    for path in ["/chat/.vestibule/beacon", "/chat/lobby/.vestibule/beacon"] {
        assert_eq!(tell(&mut browser, path, ACK).status, 204, "{path}");
    }
    assert_eq!(tell(&mut browser, PATH, ACK).status, 404, "the host's root is nobody's");
    assert_eq!(browser.open("/chat/?user_id=7").status, 200);
    let prefix = browser.at.split("/chat/").next().unwrap().to_owned();
    assert!(prefix.starts_with("/.v/"), "{prefix}");
    let refused = tell(&mut browser, &format!("{prefix}/chat/.vestibule/beacon"), ACK);
    assert_eq!((refused.status, refused.code().as_str()), (404, "not_found"));
    assert!(!upstream.received().contains("beacon"));
}

#[test]
fn a_page_that_waits_for_the_hosts_word_is_a_launch_too() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::new(&proxy, "strict.acme.test");
    let waiting = browser.open("/");
    assert_eq!(tell(&mut browser, PATH, &of_launch(&launch_in(&waiting))).status, 204);
    let log = proxy.log(2);
    assert_eq!(log[0]["trace_id"], log[1]["trace_id"], "{log:?}");
    assert!(upstream.received().is_empty());
}

#[test]
fn a_persona_without_a_bridge_is_told_of_too() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "plain.acme.test");
    assert_eq!(tell(&mut browser, PATH, ACK).status, 204);
}

#[test]
fn a_page_from_a_file_may_tell_where_it_may_embed() {
    let upstream = reflecting();
    let text = configuration(ROOM).replace(
        "embed_origins = [\"https://www.acme.test\"]",
        "embed_origins = [\"https://www.acme.test\", \"file:\"]",
    );
    let proxy = Proxy::configured(&text, upstream.address);
    let mut browser = Browser::new(&proxy, "public.acme.test");
    let lines = format!("Origin: null\r\n{TEXT}");
    assert_eq!(browser.ask("POST", PATH, &lines, ACK).status, 204);
}

#[test]
fn an_address_tells_as_often_as_it_may_launch_and_neither_costs_the_other() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "3/min", tenant = "100/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    let mut browser = Browser::new(&proxy, "public.acme.test");
    for _ in 0..3 {
        assert_eq!(tell(&mut browser, PATH, ACK).status, 204);
    }
    let refused = tell(&mut browser, PATH, ACK);
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert!(refused.text().contains(r#""bucket":"beacon""#), "{}", refused.text());
    assert!(refused.field("retry-after").is_some());
    let mut other = Browser::new(&proxy, "open.acme.test");
    assert_eq!(tell(&mut other, PATH, ACK).status, 429, "of another persona of the tenant's");
    for launch in 0..3 {
        assert_eq!(browser.open("/").status, 200, "launch {launch}");
    }
    assert_eq!(browser.open("/").status, 429);
    let limited = "tenant=\"acme\",persona=\"public\",bucket=\"beacon\"";
    let limited = format!("vestibule_rate_limited_total{{{limited}}}");
    assert_eq!(of(&proxy, &limited).get(&limited), Some(&1.0));
}

#[test]
fn an_address_that_may_not_launch_any_more_may_tell() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "1/min", tenant = "100/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    let mut browser = Browser::new(&proxy, "public.acme.test");
    assert_eq!(browser.open("/").status, 200);
    assert_eq!(browser.open("/").status, 429);
    assert_eq!(tell(&mut browser, PATH, ACK).status, 204);
    assert_eq!(tell(&mut browser, PATH, ACK).status, 429);
}

#[test]
fn refused_ones_cost_their_address_too() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "3/min", tenant = "100/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    let mut browser = Browser::new(&proxy, "public.acme.test");
    for status in [400, 400, 400, 429] {
        assert_eq!(tell(&mut browser, PATH, "{}").status, status);
    }
}

/// The keys of `acme/customer` where sessions are signed with this.
fn keys(secret: &str) -> PersonaKeys {
    SessionSecrets::new(Secret::new(secret.as_bytes()).unwrap(), Vec::new())
        .persona("acme", "customer")
}

#[test]
fn a_launch_of_long_ago_is_no_longer_in_its_trace_but_its_handshake_counts() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "a-secret-that-signs-sessions-here";
    std::fs::write(folder.path().join("secret"), secret).unwrap();
    let server = format!("session_secrets = [\"file:{}/secret\"]\n", folder.path().display());
    let text = configuration(ROOM).replace("workers = 1\n", &format!("workers = 1\n{server}"));
    let upstream = reflecting();
    let proxy = Proxy::configured(&text, upstream.address);
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let seconds = now() / 1000;
    let trace_id = TraceId::from_bytes([0xab; 16]).unwrap();
    let launch = |at| Launch { trace_id, span: None, flags: Flags::of(0), at: UnixSeconds(at) };
    for (lines, at, is_in_trace) in [(1, seconds, true), (2, seconds - LIFETIME - 60, false)] {
        let written = launch(at).write(&keys(secret));
        assert_eq!(tell(&mut browser, PATH, &of_launch(&written)).status, 204);
        let log = proxy.log(lines);
        let trace = log.last().unwrap()["trace_id"].as_str().unwrap().to_owned();
        assert_eq!(trace == "ab".repeat(16), is_in_trace, "{trace}");
    }
    let forged = launch(seconds).write(&keys("another"));
    assert_eq!(tell(&mut browser, PATH, &of_launch(&forged)).status, 400);
    let owner = "tenant=\"acme\",persona=\"customer\"";
    becomes(&proxy, "vestibule_handshakes_total", &[(format!("{owner},outcome=\"ack\""), 2.0)]);
}

/// RFC 9110, section 8.6: a 204 has no `Content-Length`, not even 0.
#[test]
fn an_answer_without_content_says_no_length_of_it() {
    let (upstream, open) = (reflecting(), "[tenants.acme.personas.open]\n");
    let text = configuration(ROOM).replace(open, &format!("{open}app = \"sse\"\n"));
    let proxy = Proxy::configured(&text, upstream.address);
    let mut browser = Browser::new(&proxy, "open.acme.test");
    let asks = format!("{PAGE}Access-Control-Request-Method: POST\r\n");
    for answer in [tell(&mut browser, PATH, ACK), browser.ask("OPTIONS", "/x", &asks, "")] {
        assert_eq!(answer.status, 204, "{}", answer.head);
        assert_eq!(answer.field("content-length"), None, "{}", answer.head);
    }
    let refused = browser.ask("GET", PATH, "", "");
    assert!(refused.field("content-length").is_some_and(|length| length != "0"));
}
