//! What somebody tries who wants another's session, another's state, or more than is his.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use vestibule::config::snapshot::Snapshot;
use vestibule::http1::head::{RequestHead, Version};
use vestibule::pipeline::{Action, Ambient, ConnectionFacts, Scheme};
use vestibule::policy::limits::Moment;
use vestibule::policy::session::UnixSeconds;
use vestibule::state::jar::Jars;
use vestibule::state::limits::Limiter;
use vestibule::state::sessions::Sessions;

use super::browser::Browser;
use super::{ROOM, configuration, proxy, reflecting, seen, told};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

/// Where a launch without cookies ends: `/.v/TOKEN`.
fn base_of(proxy: &Proxy, host: &'static str, target: &str) -> String {
    let mut browser = Browser::without_cookies(proxy, host);
    let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n";
    let sent = browser.ask("GET", target, lines, "");
    assert_eq!(sent.status, 303, "{}", sent.text());
    let location = sent.field("location").unwrap();
    location.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

#[test]
fn a_token_of_another_does_not_become_the_browsers_session() {
    let (proxy, _upstream) = proxy();
    let stolen = base_of(&proxy, "customer.acme.test", "/?user_id=666");
    let mut victim = Browser::new(&proxy, "customer.acme.test");
    victim.open("/?user_id=1");
    let before = victim.cookies.clone();
    let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                 Sec-Fetch-Site: cross-site\r\n";
    let answer = victim.ask("GET", &format!("{stolen}/"), lines, "");
    assert_eq!(answer.field("set-cookie"), None, "{}", answer.head);
    assert_eq!(victim.cookies, before);
    assert_eq!(told(&seen(&victim.fetch("/a.js")), "X-Vestibule-User-Id"), Some("1"));
}

#[test]
fn no_app_sees_a_token_in_a_referer() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::without_cookies(&proxy, "streamlit.acme.test");
    seen(&browser.open("/?user_id=7"));
    let base = browser.at.split("/?").next().unwrap().to_owned();
    let token = &base["/.v/".len()..];
    for (sent, expected) in [
        (format!("{base}/?user_id=7"), Some("http://streamlit.acme.test/?user_id=7")),
        (format!("{base}/page/a"), Some("http://streamlit.acme.test/page/a")),
        (base.clone(), Some("http://streamlit.acme.test/")),
        (base.replacen("/.v/", "/%2ev/", 1), Some("http://streamlit.acme.test/")),
        (format!("/x/..{base}/"), Some("http://streamlit.acme.test/")),
        ("/plain?q=1".to_owned(), Some("http://streamlit.acme.test/plain?q=1")),
    ] {
        let lines = format!("Referer: http://streamlit.acme.test{sent}\r\n");
        let text = seen(&browser.ask("GET", &format!("{base}/a.js"), &lines, ""));
        assert_eq!(told(&text, "Referer"), expected, "{sent}");
    }
    assert!(!upstream.received().contains(token));
}

#[test]
fn a_site_on_the_same_host_sees_no_token() {
    let upstream = reflecting();
    let text = [
        &configuration(ROOM),
        "[tenants.acme.sites.www]\nhosts = [\"below.acme.test\"]\nupstream = \"app\"\n",
    ]
    .concat();
    let proxy = Proxy::configured(&text, upstream.address);
    let base = base_of(&proxy, "below.acme.test", "/chat/?user_id=7");
    let mut browser = Browser::without_cookies(&proxy, "below.acme.test");
    // Where Streamlit's frontend looks for its base, one folder up.
    let probe = browser.fetch(&format!("{base}/_stcore/health"));
    assert_eq!(probe.status, 404, "{}", probe.text());
    let lines = format!("Referer: http://below.acme.test{base}/chat/\r\n");
    browser.ask("GET", "/style.css", &lines, "");
    assert!(!upstream.received().contains(&base["/.v/".len()..]), "{}", upstream.received());
}

#[test]
fn a_site_gets_the_bodies_that_are_sent_to_it() {
    let upstream = reflecting();
    let text = [
        &configuration(ROOM),
        "[tenants.acme.sites.www]\nhosts = [\"www.acme.test\"]\nupstream = \"app\"\n",
    ]
    .concat();
    let proxy = Proxy::configured(&text, upstream.address);
    let mut browser = Browser::new(&proxy, "www.acme.test");
    let answer = browser.ask("POST", "/.vestibule/config", "", "a body");
    assert!(seen(&answer).ends_with("a body"), "{}", answer.text());
}

#[test]
fn a_resume_id_is_dropped_when_the_next_user_came_by_message() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "streamlit.acme.test");
    browser.open("/?user_id=1");
    // Signed out, and somebody else signed in; a page of the first is still on the screen.
    seen(&browser.open("/"));
    assert_eq!(browser.configure("", r#"{"user_id":"2"}"#).status, 200);
    let handshake = "Sec-WebSocket-Protocol: streamlit, xsrf, 0a1b2c\r\n";
    let (answer, _stream) = browser.stream("/_stcore/stream", handshake);
    let stream = answer.field("x-seen").unwrap();
    assert_eq!(told(stream, "X-Vestibule-User-Id"), Some("2"));
    assert_eq!(told(stream, "Sec-WebSocket-Protocol"), Some("streamlit, xsrf"));
}

#[test]
fn a_resume_id_is_dropped_when_the_session_before_had_ended_already() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "streamlit.acme.test");
    browser.open("/?user_id=1");
    let name = browser.cookies[0].split('=').next().unwrap().to_owned();
    // As by a new secret, by `revoke_before`, or by time.
    browser.cookies = vec![format!("{name}={}", "a".repeat(120))];
    browser.open("/?user_id=2");
    let handshake = "Sec-WebSocket-Protocol: streamlit, xsrf, 0a1b2c\r\n";
    let (answer, _stream) = browser.stream("/_stcore/stream", handshake);
    let stream = answer.field("x-seen").unwrap();
    assert_eq!(told(stream, "Sec-WebSocket-Protocol"), Some("streamlit, xsrf"));
}

#[test]
fn a_target_is_never_empty() {
    let upstream = reflecting();
    let text = [
        &configuration(ROOM),
        "[tenants.acme.personas.whole]\nhosts = [\"whole.acme.test\"]\nupstream = \"app\"\n\
         app = \"streamlit\"\nstrip_prefix = false\nuser_id = \"required\"\ntrust_asserted = true\n",
    ]
    .concat();
    let proxy = Proxy::configured(&text, upstream.address);
    let base = base_of(&proxy, "whole.acme.test", "/?user_id=7");
    let mut browser = Browser::without_cookies(&proxy, "whole.acme.test");
    let (answer, _stream) = browser.stream(&base, "");
    let received = upstream.received();
    assert!(!received.contains("GET  HTTP/1.1"), "{} {received}", answer.status);
}

/// Answers every request with this head and body.
fn says(head: &'static str, body: &'static [u8]) -> Upstream {
    Upstream::start(move |mut conversation| {
        while conversation.read_request().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{head}\r\n", body.len());
            conversation.write(&[head.as_bytes(), body].concat());
        }
    })
}

#[test]
fn a_page_in_utf_16_keeps_its_bytes() {
    const BODY: &[u8] = b"<\0h\0t\0m\0l\0>\0<\0h\0e\0a\0d\0>\0";
    for head in [
        "Content-Type: text/html; charset=utf-16le\r\n",
        "Content-Type: text/html;Charset=\"UTF-16\"\r\n",
        "Content-Type: text/html; charset=unicode\r\n",
    ] {
        let upstream = says(head, BODY);
        let proxy = Proxy::configured(&configuration(ROOM), upstream.address);
        let page = Browser::new(&proxy, "public.acme.test").open_in_tab("/");
        assert_eq!(page.body, BODY, "{head}{}", page.head);
    }
}

#[test]
fn no_cache_on_the_way_keeps_a_session() {
    let head = "Content-Type: text/html\r\nCache-Control: public, max-age=600, s-maxage=9\r\n\
                CDN-Cache-Control: max-age=600\r\nSurrogate-Control: max-age=600\r\n\
                Expires: Thu, 01 Jan 2099 00:00:00 GMT\r\n";
    let upstream = says(head, b"<html>");
    let proxy = Proxy::configured(&configuration(ROOM), upstream.address);
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let page = browser.open_in_tab("/?user_id=1");
    assert!(page.field("set-cookie").is_some());
    let lower = page.head.to_ascii_lowercase();
    assert_eq!(lower.matches("cache-control: ").count(), 1, "{lower}");
    assert_eq!(page.field("cache-control"), Some("private, no-cache"), "{lower}");
    assert!(!lower.contains("surrogate-control") && !lower.contains("expires:"), "{lower}");
    // Without a session in it, an answer is the app's own affair.
    let asset = browser.fetch("/a.js");
    assert_eq!(asset.field("cache-control"), Some("public, max-age=600, s-maxage=9"));
}

#[test]
fn an_app_that_is_down_shows_a_page_to_people() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = [
        &configuration(ROOM),
        "[tenants.acme.personas.events]\nhosts = [\"events.acme.test\"]\nupstream = \"app\"\n\
         app = \"sse\"\n",
    ]
    .concat();
    let proxy = Proxy::configured(&text, nobody);
    let page = Browser::new(&proxy, "public.acme.test").open("/");
    assert_eq!(page.status, 502);
    assert!(page.text().contains("<code>upstream_unreachable</code>"), "{}", page.text());
    assert!(page.field("content-security-policy").unwrap().contains("frame-ancestors 'self'"));
    let lines = "Origin: https://www.acme.test\r\nSec-Fetch-Mode: cors\r\n";
    let answer = Browser::new(&proxy, "events.acme.test").ask("GET", "/chat", lines, "");
    assert_eq!(answer.code(), "upstream_unreachable");
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://www.acme.test"));
}

#[test]
fn a_session_that_today_nobody_would_get_is_none() {
    let upstream = reflecting();
    let before = configuration(ROOM);
    let proxy = Proxy::configured(&before, upstream.address);
    let reload = |from: &str, to: &str| {
        assert!(before.contains(from), "{from}");
        let text = before.replacen(from, to, 1);
        let text = text.replace("UPSTREAM", &upstream.address.to_string());
        let loaded = vestibule::config::load_str("again.toml", &text, std::path::Path::new("."));
        let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
        proxy.app.replace(loaded.snapshot.unwrap_or_else(|| panic!("{problems:?}")));
    };
    let mut browser = Browser::new(&proxy, "test.acme.test");
    browser.open("/?user_id=5");
    assert_eq!(told(&seen(&browser.fetch("/a.js")), "X-Vestibule-Mode"), Some("test"));
    // No header says "test" to an app that is for employees now.
    let rules = "user_id = \"optional\"\nallow_generated_id = true\nmode = \"test\"";
    reload(rules, "user_id = \"optional\"\nmode = \"employee\"");
    assert_eq!(told(&seen(&browser.fetch("/a.js")), "X-Vestibule-Mode"), Some("employee"));
    assert_eq!(told(&seen(&browser.fetch("/a.js")), "X-Vestibule-User-Id"), None);
    // A session without a user id, of a persona that has begun to require one.
    let mut browser = Browser::new(&proxy, "open.acme.test");
    browser.open("/");
    assert_eq!(browser.fetch("/a.js").status, 200);
    reload("user_id = \"none\"", "user_id = \"required\"\ntrust_asserted = true");
    assert_eq!(browser.fetch("/a.js").code(), "session_invalid");
}

#[test]
fn a_token_is_good_for_its_own_device() {
    let (proxy, _upstream) = proxy();
    let base = base_of(&proxy, "below.acme.test", "/chat/lobby/?user_id=u-1");
    let mut browser = Browser::without_cookies(&proxy, "below.acme.test");
    let page = seen(&browser.open(&format!("{base}/chat/")));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), None, "{page}");
    assert_eq!(told(&page, "X-Vestibule-Device"), None);
}

#[test]
fn no_answer_below_a_token_lets_it_out() {
    let upstream = says(
        "Content-Type: text/html\r\nReferrer-Policy: unsafe-url\r\n",
        b"<html><a href=https://elsewhere.test>",
    );
    let proxy = Proxy::configured(&configuration(ROOM), upstream.address);
    let base = base_of(&proxy, "streamlit.acme.test", "/?user_id=7");
    let mut browser = Browser::without_cookies(&proxy, "streamlit.acme.test");
    for path in ["/", "/component/x/index.html"] {
        let answer = browser.fetch(&format!("{base}{path}"));
        let lower = answer.head.to_ascii_lowercase();
        assert_eq!(lower.matches("referrer-policy").count(), 1, "{lower}");
        assert_eq!(answer.field("referrer-policy"), Some("same-origin"), "{path}");
    }
    let page = browser.open(&format!("{base}/"));
    let lower = page.head.to_ascii_lowercase();
    assert_eq!(lower.matches("referrer-policy: same-origin").count(), 1, "{lower}");
}

#[test]
fn whatever_a_browser_may_show_as_a_page_says_who_may_frame_it() {
    for (head, is_page) in [
        ("", true),
        ("Content-Type: \r\n", true),
        ("Content-Type: application/xhtml+xml\r\n", true),
        ("Content-Type: image/svg+xml; charset=utf-8\r\n", true),
        ("Content-Type: text/xml\r\n", true),
        ("Content-Type: application/atom+xml\r\n", true),
        ("Content-Type: */*\r\n", true),
        ("Content-Type: unknown/unknown\r\n", true),
        ("Content-Type: text/plain\r\nContent-Type: text/html\r\n", true),
        ("Content-Type: TEXT/HTML\r\n", true),
        ("Content-Type: text/css\r\n", false),
        ("Content-Type: application/json\r\n", false),
    ] {
        let upstream = says(head, b"<html>");
        let proxy = Proxy::configured(&configuration(ROOM), upstream.address);
        let answer = Browser::new(&proxy, "open.acme.test").fetch("/below");
        let policy = answer.field("content-security-policy");
        assert_eq!(policy.is_some(), is_page, "{head:?} {}", answer.head);
    }
}

#[test]
fn a_launch_beyond_the_limit_is_refused_before_its_form_is_read() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "1/min", tenant = "100/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    assert_eq!(Browser::new(&proxy, "open.acme.test").open("/").status, 200);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: open.acme.test\r\nSec-Fetch-Mode: navigate\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\na=b",
    );
    // The rest never comes, and is not waited for.
    let answer = client.read_response().unwrap();
    assert_eq!(answer.status, 429, "{}", answer.text());
}

#[test]
fn a_form_says_who_is_asking_where_a_url_said_so_before() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    browser.open("/?user_id=7");
    let page = seen(&browser.submit("/", "user_id=7"));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("7"));
}

/// A server without sockets.
struct Bench {
    snapshot: Snapshot,
    limiter: Limiter,
    sessions: Sessions,
    jars: Arc<Jars>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let text = text.replace("UPSTREAM", "127.0.0.1:1");
        let loaded = vestibule::config::load_str("bench.toml", &text, std::path::Path::new("."));
        let bench = Self {
            snapshot: loaded.snapshot.unwrap(),
            limiter: Limiter::default(),
            sessions: Sessions::default(),
            jars: Arc::default(),
        };
        bench.limiter.follow(["acme"]);
        bench.sessions.follow(["acme"]);
        bench.jars.follow(["acme"]);
        bench
    }

    /// What becomes of a request: the code of a refusal, or where it leads.
    fn ask(&self, head: &RequestHead, body: Option<&[u8]>) -> Result<Action, &'static str> {
        let connection = ConnectionFacts {
            client: "192.0.2.1".parse().unwrap(),
            trusted: false,
            scheme: Scheme::Https,
            server_name: None,
        };
        let ambient = Ambient {
            now: UnixSeconds(1_800_000_000),
            moment: Moment::START,
            random: &|| [7; 16],
            is_ours: true,
            limiter: &self.limiter,
            sessions: &self.sessions,
            replays: &vestibule::state::replay::Replays::default(),
            parked: &vestibule::state::parked::Parked::default(),
            passwords: &vestibule::state::passwords::Passwords::new(&[7; 32]),
            jars: &self.jars,
            body,
            journal: None,
        };
        let admission = vestibule::pipeline::admit(&self.snapshot, &connection, head, &ambient);
        admission.verdict.map_err(|rejection| rejection.code.as_str())
    }
}

fn head(method: Method, host: &str, target: &str, lines: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead { method, target: target.into(), ..RequestHead::default() };
    head.fields.push(b"Host", host.as_bytes());
    for (name, value) in lines {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    head
}

#[test]
fn a_handshake_costs_the_same_over_http2() {
    let text = [
        &configuration("limits = { ip = \"2/min\", tenant = \"100/min\" }"),
        "[tenants.acme.personas.io]\nhosts = [\"io.acme.test\"]\nupstream = \"app\"\n\
         app = \"socketio\"\n",
    ]
    .concat();
    let bench = Bench::new(&text);
    let target = "/socket.io/?EIO=4&transport=websocket";
    let handshake = RequestHead {
        version: Version::Http2,
        authority: Some("io.acme.test".into()),
        protocol: Some("websocket".into()),
        ..head(Method::CONNECT, "io.acme.test", target, &[])
    };
    assert!(bench.ask(&handshake, None).is_ok());
    assert!(bench.ask(&handshake, None).is_ok());
    assert_eq!(bench.ask(&handshake, None).unwrap_err(), "rate_limited");
}

#[test]
fn the_apps_cookies_end_with_the_session() {
    let bench = Bench::new(&configuration(ROOM));
    let frame = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")];
    let host = "streamlit.acme.test";
    let Ok(Action::SeeOther(below)) =
        bench.ask(&head(Method::GET, host, "/?user_id=1", &frame), None)
    else {
        panic!("no launch")
    };
    let base = below.split("/?").next().unwrap();
    let Ok(Action::Forward(page)) = bench.ask(&head(Method::GET, host, &below, &frame), None)
    else {
        panic!("no page")
    };
    page.dress.under.unwrap().keep(b"sid=1");
    assert_eq!(bench.jars.sessions(), 1);
    let json = [("Content-Type", "application/json"), ("Origin", "https://streamlit.acme.test")];
    let config = head(Method::POST, host, &format!("{base}/.vestibule/config"), &json);
    assert!(bench.ask(&config, Some(br#"{"user_id":"2"}"#)).is_ok());
    assert_eq!(bench.jars.sessions(), 0);
}

#[test]
fn a_form_that_trickles_in_is_not_held_for_ever() {
    let upstream = reflecting();
    let limits = "[server.limits]\nbody_timeout = \"300ms\"\n[upstreams.app]";
    let text = configuration(ROOM).replacen("[upstreams.app]", limits, 1);
    let proxy = Proxy::configured(&text, upstream.address);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: open.acme.test\r\nSec-Fetch-Mode: navigate\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n",
    );
    // Longer than it may take, and never idle for long.
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        client.try_send("a");
    }
    let asked = Instant::now();
    assert_eq!(client.read_response().unwrap().status, 408);
    assert!(asked.elapsed() < Duration::from_millis(200), "it was answered before");
}

#[test]
fn a_form_is_one_launch() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "3/min", tenant = "100/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    for _ in 0..3 {
        assert_eq!(browser.submit("/", "user_id=1").status, 200);
    }
    assert_eq!(browser.submit("/", "user_id=1").status, 429);
}
