//! Sessions: by cookie, by path, by message; what begins, continues and ends them.

use super::browser::Browser;
use super::{ROOM, configuration, proxy, reflecting, seen, told};
use crate::harness::proxy::Proxy;

#[test]
fn a_browser_that_keeps_cookies_ends_at_the_clean_path_with_its_identity() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let page = seen(&browser.open("/?mode=customer&user_id=12345&v=1"));
    assert!(browser.way[0].starts_with("/.v/"), "{:?}", browser.way);
    assert_eq!(browser.at, "/?mode=customer&user_id=12345&v=1");
    for (name, value) in [
        ("X-Vestibule-Tenant", "acme"),
        ("X-Vestibule-Persona", "customer"),
        ("X-Vestibule-Mode", "customer"),
        ("X-Vestibule-User-Id", "12345"),
        ("X-Vestibule-Assurance", "asserted"),
    ] {
        assert_eq!(told(&page, name), Some(value), "{name}");
    }
    let session = told(&page, "X-Vestibule-Session").unwrap().to_owned();
    assert!(!page.contains("__Host-vestibule"), "our cookie reached the app: {page}");
    let asset = seen(&browser.fetch("/a.js"));
    assert_eq!(told(&asset, "X-Vestibule-User-Id"), Some("12345"));
    assert_eq!(told(&asset, "X-Vestibule-Session"), Some(&*session));
    let (answer, _stream) = browser.stream("/ws", "");
    let stream = answer.field("x-seen").unwrap();
    assert_eq!(told(stream, "X-Vestibule-User-Id"), Some("12345"));
    assert_eq!(told(stream, "X-Vestibule-Session"), Some(&*session));
    assert!(!stream.contains("__Host-vestibule"));
}

#[test]
fn no_spelling_of_a_forged_identity_arrives() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    browser.open("/?user_id=12345");
    let forged = "X-Vestibule-User-Id: 1\r\nx_vestibule_user_id: 1\r\nX-VESTIBULE-USER-ID: 1\r\n\
                  X-Vestibule_User-Id: 1\r\nX.Vestibule.User.Id: 1\r\nX-Vestibule-Assurance: signed\r\n\
                  X-Vestibule-Assertion: a.b.c\r\nX-Vestibule-Var-Plan: gold\r\n\
                  X-Vestibule-Identity-State: complete\r\n";
    let asset = browser.ask("GET", "/a.js", &format!("{forged}Sec-Fetch-Mode: cors\r\n"), "");
    let (answer, _stream) = browser.stream("/ws", forged);
    for text in [seen(&asset), answer.field("x-seen").unwrap().to_owned()] {
        assert_eq!(told(&text, "X-Vestibule-User-Id"), Some("12345"));
        assert_eq!(told(&text, "X-Vestibule-Assurance"), Some("asserted"));
        let lower = text.to_lowercase();
        for gone in ["x_vestibule", "x.vestibule", "assertion", "x-vestibule-var", "identity-state"]
        {
            assert!(!lower.contains(gone), "{gone}: {text}");
        }
    }
}

#[test]
fn without_a_session_nothing_of_a_required_persona_opens() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    assert_eq!(browser.fetch("/a.js").code(), "session_missing");
    let (answer, _) = browser.stream("/ws", "");
    assert_eq!((answer.status, answer.code()), (401, "session_missing".into()));
    browser.cookies = vec!["__Host-vestibule-0=x".into()];
    assert_eq!(browser.fetch("/a.js").code(), "session_missing");
    let mut launched = Browser::new(&proxy, "employee.acme.test");
    launched.open("/?user_id=1");
    let value = launched.cookies[0].split_once('=').unwrap().1.to_owned();
    let mut own = Browser::new(&proxy, "customer.acme.test");
    own.open("/?user_id=1");
    let name = own.cookies[0].split_once('=').unwrap().0.to_owned();
    let before = upstream.received_bytes();
    browser.cookies = vec![format!("{name}={value}")];
    assert_eq!(browser.fetch("/a.js").code(), "session_invalid", "another persona's token");
    let token = "a".repeat(120);
    assert_eq!(browser.fetch(&format!("/.v/{token}/a.js")).code(), "session_invalid");
    assert_eq!(browser.fetch("/.v/_stcore/health").code(), "not_found");
    assert_eq!(upstream.received_bytes(), before);
}

#[test]
fn a_page_without_cookies_lives_below_its_token() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::without_cookies(&proxy, "streamlit.acme.test");
    let page = browser.open("/?user_id=7");
    assert_eq!(page.field("referrer-policy"), Some("same-origin"));
    let text = seen(&page);
    assert_eq!(told(&text, "X-Vestibule-User-Id"), Some("7"));
    assert!(text.contains("GET /?user_id=7 HTTP/1.1"), "{text}");
    let base = browser.at.split("/?").next().unwrap().to_owned();
    assert!(base.starts_with("/.v/"));
    // The app's cookies are kept here, and come back with every request of the session.
    let with_cookie = browser.fetch(&format!("{base}/cookie"));
    assert_eq!(with_cookie.field("set-cookie"), None);
    browser.fetch(&format!("{base}/xsrf"));
    let text = seen(&browser.fetch(&format!("{base}/a.js")));
    let cookies = told(&text, "Cookie").unwrap();
    assert!(cookies.contains("sid=1") && cookies.contains("_streamlit_xsrf=2-abc"), "{cookies}");
    let lines = "Origin: http://streamlit.acme.test\r\nContent-Type: text/plain\r\n";
    let upload = browser.ask("PUT", &format!("{base}/_stcore/upload_file/s/f"), lines, "data");
    assert_eq!(told(&seen(&upload), "X-Xsrftoken"), Some("2-abc"));
    let (answer, _) = browser.stream(&format!("{base}/_stcore/stream"), "");
    let stream = answer.field("x-seen").unwrap();
    assert_eq!(told(stream, "X-Vestibule-User-Id"), Some("7"));
    assert!(stream.starts_with("GET /_stcore/stream "), "{stream}");
    let moved = browser.fetch(&format!("{base}/moved"));
    assert_eq!(moved.field("location"), Some(&*format!("{base}/elsewhere?a=b")));
    // In a tab the token is not a session.
    let tab = browser.open_in_tab(&format!("{base}/"));
    assert_eq!(tab.status, 403);
    assert!(tab.text().contains("frame_only"));
    let lines = "Sec-Fetch-Dest: document\r\n";
    assert_eq!(browser.ask("GET", &format!("{base}/a.js"), lines, "").code(), "frame_only");
    // A foreign page's request with the token in it is still a foreign page's.
    let foreign = "Origin: https://evil.test\r\n";
    let refused = browser.ask("PUT", &format!("{base}/_stcore/upload_file/s/f"), foreign, "x");
    assert_eq!(refused.code(), "origin_not_allowed");
    // Nowhere is the token to be seen.
    let token = &base["/.v/".len()..];
    assert!(!upstream.received().contains(token));
    for line in proxy.log(8) {
        assert!(!line.to_string().contains(token), "{line}");
        assert!(!line.to_string().contains("/s/f"), "an upload's session id: {line}");
    }
}

#[test]
fn an_app_with_absolute_urls_needs_cookies() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::without_cookies(&proxy, "customer.acme.test");
    let page = browser.open("/?user_id=7");
    assert_eq!(page.status, 403);
    assert!(page.text().contains("cookies"), "{}", page.text());
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'self' https://www.acme.test"), "{policy}");
    assert!(policy.contains("default-src 'none'"), "{policy}");
}

#[test]
fn where_no_identity_is_required_a_chat_works_without_cookies() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::without_cookies(&proxy, "public.acme.test");
    let page = seen(&browser.open("/"));
    assert_eq!(told(&page, "X-Vestibule-Assurance"), Some("generated"));
    // Its absolute URLs lead out of the prefix.
    let asset = seen(&browser.fetch("/a.js"));
    assert_eq!(told(&asset, "X-Vestibule-User-Id"), None);
    let (answer, _stream) = browser.stream("/ws", "");
    assert_eq!(answer.status, 101);
}

#[test]
fn a_token_that_is_no_longer_good_leads_back_to_the_launch() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::without_cookies(&proxy, "streamlit.acme.test");
    let page = seen(&browser.open(&format!("/.v/{}/?user_id=9", "a".repeat(120))));
    assert_eq!(browser.way[0], "/?user_id=9");
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("9"));
}

#[test]
fn a_bare_document_inherits_nothing() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    browser.open("/?user_id=12345");
    let session = browser.cookies.clone();
    let bare = seen(&browser.open("/"));
    assert_eq!(told(&bare, "X-Vestibule-Identity-State"), Some("awaiting"));
    assert_eq!(told(&bare, "X-Vestibule-User-Id"), None);
    let (answer, _) = browser.stream("/ws", "");
    assert_eq!(answer.code(), "identity_incomplete");
    browser.cookies = session;
    assert_eq!(browser.fetch("/a.js").code(), "session_invalid", "the session before has ended");
}

#[test]
fn without_a_bridge_the_app_is_told_that_an_identity_is_awaited() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "plain.acme.test");
    let page = seen(&browser.open("/"));
    assert!(!page.contains("bridge.js"));
    let (answer, _stream) = browser.stream("/ws", "");
    let stream = answer.field("x-seen").unwrap();
    assert_eq!(told(stream, "X-Vestibule-Identity-State"), Some("awaiting"));
    assert_eq!(told(stream, "X-Vestibule-User-Id"), None);
}

#[test]
fn strictly_nothing_opens_behind_a_bare_document() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::new(&proxy, "strict.acme.test");
    let page = browser.open("/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("/.vestibule/bridge.js"), "{}", page.text());
    assert_eq!(browser.fetch("/a.js").code(), "identity_incomplete");
    assert!(upstream.received().is_empty());
    let configured = browser.configure("", r#"{"payload":{"user_id":"abc-1"}}"#);
    assert_eq!(
        (configured.status, configured.text().as_str()),
        (200, r#"{"prefix":"","state":"complete"}"#)
    );
    let page = seen(&browser.replace("/"));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("abc-1"));
}

#[test]
fn the_bridge_completes_an_identity_by_cookie() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let page = browser.open("/?direction=rtl");
    let text = seen(&page);
    let tag = "<head><script src=\"/.vestibule/bridge.js\" data-base=\"\" \
               data-origins=\"https://www.acme.test\" data-launch=\"";
    let (_, rest) = text.split_once(tag).unwrap_or_else(|| panic!("{text}"));
    let (launch, rest) = rest.split_once('"').unwrap();
    assert!(launch.len() == 67 && rest.starts_with("></script><title>"), "{text}");
    assert_eq!(page.field("etag"), None, "it is not the document that the app knows");
    assert_eq!(told(&text, "Accept-Encoding"), Some("identity"));
    let policy = page.field("content-security-policy").unwrap();
    assert_eq!(policy, "frame-ancestors 'self' https://www.acme.test");
    let script = browser.fetch("/.vestibule/bridge.js");
    assert!(script.field("content-type").unwrap().starts_with("text/javascript"));
    for (json, code) in [
        (r#"{"user_id":"x"}"#, "user_id_invalid"),
        (r#"{"user_id":1.5}"#, "user_id_invalid"),
        (r#"{"mode":"public","user_id":1}"#, "mode_mismatch"),
        (r#"{"user_id":1,"user_id":1}"#, "parameter_duplicate"),
        (r#"{"direction":"rtl"}"#, "user_id_missing"),
        (r#"{"user_id":1"#, "parameter_invalid"),
    ] {
        assert_eq!(browser.configure("", json).code(), code, "{json}");
    }
    let foreign = "Origin: https://www.acme.test\r\nContent-Type: application/json\r\n";
    let refused = browser.ask("POST", "/.vestibule/config", foreign, r#"{"user_id":1}"#);
    assert_eq!(refused.code(), "origin_not_allowed");
    let form = "Origin: http://customer.acme.test\r\nContent-Type: text/plain\r\n";
    let refused = browser.ask("POST", "/.vestibule/config", form, r#"{"user_id":1}"#);
    assert_eq!(refused.code(), "media_type_unsupported");

    let said =
        r#"{"mode":"customer","user_id":12345,"require_user_id":true,"allow_generated_id":false}"#;
    let anew = browser.configure("", said);
    assert_eq!(anew.text(), r#"{"prefix":"","state":"complete"}"#);
    let page = seen(&browser.replace("/?direction=rtl"));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("12345"));
    assert_eq!(browser.configure("", said).text(), r#"{"state":"complete"}"#);
    let (answer, _stream) = browser.stream("/ws", "");
    assert_eq!(told(answer.field("x-seen").unwrap(), "X-Vestibule-User-Id"), Some("12345"));
    // The document that the bridge loads is that launch's; the next bare one is another.
    let bare = seen(&browser.open("/"));
    assert_eq!(told(&bare, "X-Vestibule-Identity-State"), Some("awaiting"));
}

#[test]
fn the_bridge_completes_an_identity_without_cookies() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::without_cookies(&proxy, "below.acme.test");
    let text = seen(&browser.open("/chat/"));
    assert!(text.contains("data-base=\"/chat\""), "{text}");
    let anew = browser.configure("/chat", r#"{"user_id":"u-1"}"#);
    let answer: serde_json::Value = serde_json::from_str(&anew.text()).unwrap();
    let prefix = answer["prefix"].as_str().unwrap();
    let page = seen(&browser.replace(&format!("{prefix}/chat/")));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("u-1"));
    assert!(browser.way.is_empty());
    // Another user, by message, below the token.
    let anew = browser.configure(&format!("{prefix}/chat"), r#"{"user_id":"u-2"}"#);
    let answer: serde_json::Value = serde_json::from_str(&anew.text()).unwrap();
    let other = answer["prefix"].as_str().unwrap();
    assert_ne!(prefix, other);
    let page = seen(&browser.replace(&format!("{other}/chat/")));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("u-2"));
    assert_eq!(browser.fetch(&format!("{prefix}/chat/a.js")).code(), "session_invalid");
}

#[test]
fn a_device_has_its_own_identity() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "below.acme.test");
    let text = seen(&browser.open("/chat/lobby/?user_id=u-1"));
    assert_eq!(told(&text, "X-Vestibule-Device"), Some("lobby"));
    assert!(text.contains("data-base=\"/chat/lobby\""), "{text}");
    let text = seen(&browser.open("/chat/?user_id=u-1"));
    assert_eq!(told(&text, "X-Vestibule-Device"), None);
}

#[test]
fn another_identity_ends_the_session_and_its_streams() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    browser.open("/?user_id=1");
    let (answer, mut stream) = browser.stream("/ws", "");
    assert_eq!(answer.status, 101);
    let first = browser.cookies.clone();
    let page = seen(&browser.open("/?user_id=2"));
    assert!(browser.way.is_empty(), "this browser is known to keep cookies");
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("2"));
    let close = stream.read_exactly(4);
    assert_eq!(close[0], 0x88, "a close frame: {close:?}");
    assert_eq!(u16::from_be_bytes([close[2], close[3]]), 1008);
    browser.cookies = first;
    assert_eq!(browser.fetch("/a.js").code(), "session_invalid");
}

#[test]
fn a_page_of_the_session_before_cannot_resume_in_the_next() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "streamlit.acme.test");
    let handshake = "Sec-WebSocket-Protocol: streamlit, xsrf, 0a1b2c\r\n";
    let offered = |browser: &mut Browser| {
        let (answer, _stream) = browser.stream("/_stcore/stream", handshake);
        told(answer.field("x-seen").unwrap(), "Sec-WebSocket-Protocol").unwrap().to_owned()
    };
    browser.open("/?user_id=1");
    assert_eq!(offered(&mut browser), "streamlit, xsrf, 0a1b2c", "its own page may");
    browser.open("/?user_id=2");
    assert_eq!(offered(&mut browser), "streamlit, xsrf");
}

#[test]
fn a_generated_id_stays_for_the_session() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "public.acme.test");
    let first = seen(&browser.open("/"));
    let id = told(&first, "X-Vestibule-User-Id").unwrap();
    assert!(id.starts_with("gen-"));
    let again = seen(&browser.open("/?mode=public"));
    assert_eq!(told(&again, "X-Vestibule-User-Id"), Some(id));
    assert_eq!(told(&seen(&browser.fetch("/a.js")), "X-Vestibule-User-Id"), Some(id));
    let other = seen(&Browser::new(&proxy, "public.acme.test").open("/"));
    assert_ne!(told(&other, "X-Vestibule-User-Id"), Some(id));
}

#[test]
fn a_form_launches_and_leaves_nothing_in_the_url() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let page = seen(&browser.submit("/?v=1&direction=rtl", "mode=customer&user_id=12345"));
    assert_eq!(browser.at, "/?v=1");
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("12345"));
    assert!(!upstream.received().contains("user_id=12345"));
    let again = seen(&browser.open("/?v=1"));
    assert_eq!(told(&again, "X-Vestibule-User-Id"), Some("12345"), "a reload");
    let twice = browser.submit("/?user_id=1", "user_id=1");
    assert!(twice.text().contains("parameter_duplicate"));
    let lines = "Sec-Fetch-Mode: navigate\r\nContent-Type: multipart/form-data; boundary=x\r\n";
    let other = browser.ask("POST", "/", lines, "--x--");
    assert_eq!(other.status, 415);
    let lines = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Mode: navigate\r\n\
                 Origin: https://evil.test\r\n";
    assert_eq!(browser.ask("POST", "/", lines, "user_id=1").status, 403);
    let mut without = Browser::without_cookies(&proxy, "streamlit.acme.test");
    let page = seen(&without.submit("/", "user_id=u-9"));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("u-9"));
    assert!(without.at.starts_with("/.v/"), "{}", without.at);
}

#[test]
fn a_form_may_be_large_but_not_larger() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    let large = format!("user_id=1&x={}", "y".repeat(1 << 20));
    assert_eq!(browser.submit("/", &large).status, 200);
    let larger = "Sec-Fetch-Mode: navigate\r\nContent-Length: 2097153\r\n\
                  Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(browser.ask("POST", "/", larger, "").status, 413);
    let chunked = "Sec-Fetch-Mode: navigate\r\nTransfer-Encoding: chunked\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\n";
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: customer.acme.test\r\n{chunked}\r\n"));
    for _ in 0..3 {
        client.try_send(format!("100000\r\n{}\r\n", "y".repeat(1 << 20)));
    }
    assert_eq!(client.read_response().unwrap().status, 413);
}

#[test]
fn a_frame_only_persona_opens_in_no_tab() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "framed.acme.test");
    assert_eq!(browser.open("/").status, 200);
    assert_eq!(browser.open_in_tab("/").status, 403);
}

#[test]
fn an_app_can_neither_set_sessions_nor_speak_in_our_name() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "open.acme.test");
    let response = browser.fetch("/impostor");
    assert_eq!(response.status, 200);
    let head = response.head.to_ascii_lowercase();
    assert!(!head.contains("__host-vestibule") && !head.contains("x-vestibule"), "{head}");
}

#[test]
fn sessions_survive_a_restart_with_a_secret_and_end_by_date() {
    let upstream = reflecting();
    let secret = tempfile::tempdir().unwrap();
    let path = secret.path().join("secret");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    let with = |more: &str| {
        let line = format!("[server]\nsession_secrets = [\"file:{}\"]\n", path.display());
        let text = configuration(&[ROOM, "\n", more].concat());
        text.replacen("[server]\n", &line, 1)
    };
    let before = Proxy::configured(&with(""), upstream.address);
    let mut browser = Browser::new(&before, "customer.acme.test");
    browser.open("/?user_id=5");
    let cookies = browser.cookies.clone();
    drop(before);
    let after = Proxy::configured(&with(""), upstream.address);
    let mut browser = Browser::new(&after, "customer.acme.test");
    browser.cookies = cookies.clone();
    assert_eq!(told(&seen(&browser.fetch("/a.js")), "X-Vestibule-User-Id"), Some("5"));
    let (answer, mut stream) = browser.stream("/ws", "");
    assert_eq!(answer.status, 101);
    // Everything that was launched before tomorrow has ended, open streams too.
    let text = with("revoke_before = 2999-01-01T00:00:00Z\n")
        .replace("UPSTREAM", &upstream.address.to_string());
    let loaded = vestibule::config::load_str("again.toml", &text, std::path::Path::new("."));
    after.app.replace(loaded.snapshot.unwrap());
    assert_eq!(browser.fetch("/a.js").code(), "session_invalid");
    assert_eq!(stream.read_exactly(1), [0x88]);
}
