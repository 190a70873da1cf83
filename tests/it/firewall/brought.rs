//! What a launch brings for the app: variables and injection, by query and by form, and what the app
//! reads of it.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::browser::Browser;
use super::{reflecting, seen, told};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

fn proxy() -> (Proxy, Upstream) {
    let upstream = reflecting();
    let text = "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [internal]\nlisten = \"127.0.0.1:0\"\n\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme]\nembed_origins = [\"https://www.acme.test\"]\n\
         limits = { ip = \"6000/min\", tenant = \"60000/min\" }\n\
         [tenants.acme.personas.sales]\nhosts = [\"sales.acme.test\"]\nupstream = \"app\"\n\
         user_id = \"optional\"\ntrust_asserted = true\n\
         injection = { enabled = true, persona = \"custom\" }\n\
         variables = [{ name = \"user_name\", source = \"query\" }, \
                      { name = \"plan\", source = \"body\", max = \"20B\" }]\n";
    (Proxy::configured(text, upstream.address), upstream)
}

const PREFILL: &str = r#"[{"role":"assistant","type":"message","content":"hello"}]"#;

/// What `GET /v1/launch` answers to the app that received this page.
fn launch(proxy: &Proxy, page: &str) -> serde_json::Value {
    let assertion = told(page, "X-Vestibule-Assertion").unwrap();
    let mut stream = TcpStream::connect(proxy.app.internal().unwrap()).unwrap();
    let request = format!(
        "GET /v1/launch HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {assertion}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn variables_arrive_from_their_source_alone() {
    let (proxy, _upstream) = proxy();
    let mut browser = Browser::new(&proxy, "sales.acme.test");
    let page = seen(&browser.open("/?user_name=Jo%C3%ABl&plan=gold&other=1&user_id=u-1"));
    assert_eq!(told(&page, "X-Vestibule-Var-User-Name"), Some("Jo%C3%ABl"));
    assert_eq!(told(&page, "X-Vestibule-Var-Plan"), None, "it belongs in a form");
    assert!(!page.contains("Var-Other"));
    let said = launch(&proxy, &page);
    assert_eq!(said["variables"], serde_json::json!({"user_name": "Joël"}));
    assert_eq!(said["user_id"], "u-1");
    // With every request of the session.
    let asset = seen(&browser.fetch("/a.js"));
    assert_eq!(told(&asset, "X-Vestibule-Var-User-Name"), Some("Jo%C3%ABl"));
    let (answer, _stream) = browser.stream("/ws", "");
    let stream = answer.field("x-seen").unwrap();
    assert_eq!(told(stream, "X-Vestibule-Var-User-Name"), Some("Jo%C3%ABl"));
    // The page loads the chat anew, with nothing.
    let again = seen(&browser.open("/?user_id=u-1"));
    assert_eq!(told(&again, "X-Vestibule-Var-User-Name"), None);
}

#[test]
fn a_form_brings_what_no_url_shows() {
    let (proxy, upstream) = proxy();
    let mut browser = Browser::new(&proxy, "sales.acme.test");
    let form = format!("user_id=u-1&plan=gold&prefillMessages={}", escaped(PREFILL));
    let page = seen(&browser.submit("/?user_name=Jo", &form));
    assert_eq!(browser.at, "/", "{:?}", browser.way);
    assert_eq!(told(&page, "X-Vestibule-Var-Plan"), Some("gold"));
    assert!(!upstream.received().contains("prefillMessages"));
    let said = launch(&proxy, &page);
    assert_eq!(said["prefillMessages"][0]["content"], "hello");
    assert_eq!(said["variables"], serde_json::json!({"plan": "gold", "user_name": "Jo"}));
    // Another user's session has none of it.
    let other = seen(&Browser::new(&proxy, "sales.acme.test").open("/?user_id=u-2"));
    assert_eq!(launch(&proxy, &other)["prefillMessages"], serde_json::json!([]));
    for line in proxy.log(3) {
        assert!(!line.to_string().contains("hello"), "{line}");
    }
}

#[test]
fn what_may_not_be_injected_is_refused_before_the_app() {
    use base64::Engine;
    let (proxy, upstream) = proxy();
    let encoded = |json: &str| base64::prelude::BASE64_STANDARD.encode(json);
    let long = format!("plan={}", "x".repeat(21));
    let many =
        format!("[{}]", vec![r#"{"role":"user","type":"message","content":"x"}"#; 51].join(","));
    let mut browser = Browser::new(&proxy, "sales.acme.test");
    for (form, status) in [
        (format!("prefillMessages={}", escaped("[")), 400),
        (format!("prefillMessages={}", escaped(&many)), 422),
        (long, 422),
    ] {
        let response = browser.submit("/", &form);
        assert_eq!(response.status, status, "{}", response.text());
        assert!(!response.text().contains("hello"));
    }
    assert!(upstream.received().is_empty());
    let query = escaped(&encoded(PREFILL));
    let page = seen(&browser.open(&format!("/?prefillMessages={query}")));
    assert_eq!(launch(&proxy, &page)["prefillMessages"][0]["content"], "hello");
}
