//! Canaries in every place where a request has a secret: none may get out.

use super::{app, get, traced, websocket};
use crate::harness::collector::{Collector, Speaks};

/// What must never be seen, wherever it stood.
const CANARY: &str = "canary7Zx";

/// Requests with the canary in places that are secret, one for each way in which they can end.
fn requests() -> Vec<String> {
    let paths = [
        ("root.test", "/"),
        ("root.test", "/cut"),
        ("root.test", "/nonsense"),
        ("root.test", "/teapot"),
        ("root.test", "/events"),
        ("away.test", "/"),
        ("nobody.test", "/"),
        ("chat.test", "/chat/ragtime/sales/"),
        ("chat.test", "/chat/ragtime/sales/lobby/"),
        ("chat.test", "/chat/ragtime/sales"),
        ("chat.test", "/chat/ragtime/sales/.vestibule/config"),
    ];
    let fields = [
        format!("Cookie: a={CANARY}; __Host-vestibule={CANARY}\r\n"),
        format!("Authorization: Bearer {CANARY}\r\n"),
        format!("Referer: https://chat.test/.v/{CANARY}/\r\n"),
        format!("Origin: https://{CANARY}.test\r\n"),
        format!("X-Vestibule-User-Id: {CANARY}\r\n"),
        format!("X-Request-Id: {CANARY}\r\n"),
        format!("traceparent: {CANARY}\r\ntracestate: a={CANARY}\r\n"),
        format!("baggage: a={CANARY}\r\n"),
        format!("Expect: {CANARY}\r\n"),
        format!("Content-Length: {CANARY}\r\n"),
    ];
    let queries = [
        "".to_owned(),
        format!("?user_id={CANARY}"),
        format!("?signature={CANARY}&timestamp={CANARY}"),
        format!("?mode={CANARY}"),
        format!("?system_prompt={CANARY}&messages={CANARY}"),
        format!("?token={CANARY}&{CANARY}"),
    ];
    let mut requests = Vec::new();
    for (host, path) in paths {
        for query in &queries {
            let path = format!("{path}{query}");
            requests.push(get(host, &path, &fields.concat()));
            for field in &fields {
                requests.push(get(host, &path, field));
            }
            requests.push(websocket(host, &path, &fields[0]));
        }
        requests.push(get(host, &format!("/.v/{CANARY}{path}"), ""));
        requests.push(get(host, &format!("/.v/{CANARY}"), ""));
    }
    requests.push(format!("{CANARY} / HTTP/1.1\r\nHost: root.test\r\n\r\n"));
    requests.push(get("root.test", &format!("/%zz{CANARY}"), ""));
    requests
}

#[test]
fn a_canary_gets_neither_into_a_span_nor_into_the_log() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, said) = traced(&collector, Speaks::Http, &upstream);
    let requests = requests();
    for request in &requests {
        let mut client = proxy.client();
        // Streams end because the client leaves.
        let _ = client.send(request).read_head();
    }
    // Each is told of: by its log line, which is written at its end.
    let log = proxy.log(requests.len() * 9 / 10);
    drop(proxy);
    assert!(collector.spans().len() > requests.len());
    let bytes = collector.bytes();
    let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    let leaky = collector.spans().into_iter().find(|span| format!("{span:?}").contains(CANARY));
    assert!(!found, "{leaky:#?}");
    for line in log {
        let line = line.to_string();
        // Methods are told, and paths but for what is a capability in them.
        let is_told = line.contains("%zz") || line.contains(&format!("\"method\":\"{CANARY}"));
        assert!(is_told || !line.contains(CANARY), "{line}");
    }
    assert!(!said.lock().unwrap().concat().contains(CANARY));
}
