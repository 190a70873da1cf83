//! Names and passwords, on the wire: who passes, what it costs to guess, what the app sees.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::harness::client::Response;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

fn proxy(upstream: &Upstream) -> (Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    let hash = bcrypt::hash("right", 4).unwrap();
    std::fs::write(&users, format!("ann:{hash}\n")).unwrap();
    let users = users.display();
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
         trusted_proxies = [\"127.0.0.1\"]\n\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme]\nlimits = {{ ip = \"3/h\", tenant = \"1000/min\" }}\n\
         [tenants.acme.personas.staff]\nhosts = [\"staff.test\"]\nupstream = \"app\"\n\
         app = \"generic\"\nmode = \"employee\"\n\
         basic_auth = {{ realm = \"Staff\", users = \"file:{users}\" }}\n\
         [tenants.acme.sites.open]\nhosts = [\"open.test\"]\nupstream = \"app\"\n\
         basic_auth = {{ users = \"file:{users}\", forward = true }}\n"
    );
    (Proxy::configured(&text, upstream.address), folder)
}

fn pair(pair: &str) -> String {
    format!("Authorization: Basic {}", BASE64_STANDARD.encode(pair))
}

fn ask(proxy: &Proxy, host: &str, path: &str, more: &str) -> Response {
    let more = more.replace('\n', "\r\n");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}.test\r\n{more}\r\n\r\n");
    proxy.client().send(request).read_response().unwrap()
}

#[test]
fn only_the_right_password_opens_and_the_app_does_not_see_it() {
    let upstream = Upstream::ok();
    let (proxy, _folder) = proxy(&upstream);
    let missing = ask(&proxy, "staff", "/", "A: b");
    assert_eq!((missing.status, missing.code().as_str()), (401, "password_missing"));
    let challenge = "Basic realm=\"Staff\", charset=\"UTF-8\"";
    assert_eq!(missing.field("www-authenticate"), Some(challenge));
    let page = ask(&proxy, "staff", "/", "Sec-Fetch-Mode: navigate");
    assert_eq!((page.status, page.field("www-authenticate")), (401, Some(challenge)));
    for wrong in ["ann:wrong", "eve:right"] {
        let wrong = ask(&proxy, "staff", "/a.js", &pair(wrong));
        assert_eq!((wrong.status, wrong.code().as_str()), (401, "password_wrong"));
    }
    assert_eq!(upstream.connections(), 0, "nothing of it reached the app");
    let right = ask(&proxy, "staff", "/a.js", &pair("ann:right"));
    assert_eq!((right.status, right.field("www-authenticate")), (200, None));
    assert!(!upstream.received().contains("Authorization"), "{}", upstream.received());
    assert_eq!(ask(&proxy, "open", "/", &pair("ann:right")).status, 200);
    assert!(upstream.received().contains("Authorization: Basic"), "{}", upstream.received());
}

#[test]
fn guessing_is_limited_by_address_and_being_right_costs_nothing() {
    let upstream = Upstream::ok();
    let (proxy, _folder) = proxy(&upstream);
    let from = |client: &str, shown: &str| {
        ask(&proxy, "staff", "/a.js", &format!("X-Forwarded-For: {client}\n{}", pair(shown))).status
    };
    // More often than an address may be wrong.
    for _ in 0..10 {
        assert_eq!(from("192.0.2.1", "ann:right"), 200);
    }
    let guesses: Vec<_> = (0..5).map(|guess| from("192.0.2.2", &format!("ann:{guess}"))).collect();
    assert_eq!(guesses, [401, 401, 401, 429, 429]);
    assert_eq!(from("192.0.2.1", "ann:right"), 200, "another address goes on");
    assert_eq!(from("192.0.2.2", "ann:right"), 200, "what is known already needs no guess");
}

#[test]
fn a_websocket_without_a_password_needs_the_session_of_a_launch_with_one() {
    let upstream = Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            match request.contains("Upgrade: websocket") {
                true => conversation.switch(&request, "", b""),
                false => conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            }
        }
    });
    let (proxy, _folder) = proxy(&upstream);
    let launch = format!("Sec-Fetch-Mode: navigate\n{}", pair("ann:right"));
    let launched = ask(&proxy, "staff", "/", &launch);
    let cookie = launched.field("set-cookie").unwrap().split(';').next().unwrap();
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://staff.test";
    for (cookie, status) in [("", 401), (cookie, 101)] {
        let mut client = proxy.client();
        client.send(format!(
            "GET /ws HTTP/1.1\r\nHost: staff.test\r\n{handshake}\r\nCookie: {cookie}\r\n\r\n"
        ));
        let answer = client.read_head().unwrap();
        assert_eq!(answer.status, status, "{cookie}");
        assert_eq!(answer.field("www-authenticate").is_some(), status == 401);
    }
    let without = ask(&proxy, "staff", "/a.js", &format!("Cookie: {cookie}"));
    assert_eq!(without.status, 401, "for anything else the session is not enough");
}
