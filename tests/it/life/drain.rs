//! A drain ends the streams of whom it names, and new ones are served.

use super::*;

fn drain(proxy: &Proxy, body: &str) -> serde_json::Value {
    let answer = ask(proxy, "POST", "/drain", "Content-Type: application/json\r\n", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    json(&answer)
}

fn proxy(upstream: &Upstream) -> Proxy {
    two(upstream.address).with(|builder| builder.admin = true).start()
}

#[test]
fn a_persona_is_drained_and_the_other_is_not() {
    let upstream = app();
    let proxy = proxy(&upstream);
    let (mut a, mut b) = (websocket(&proxy, "a.test"), websocket(&proxy, "b.test"));
    let mut events = stream(&proxy, "a.test", "/events");
    proxy.wait_for_streams(|open| open == Counts { requests: 0, events: 1, websockets: 2 });
    let told = drain(&proxy, r#"{"tenant": "acme", "persona": "persona-0"}"#);
    assert_eq!(told["told"]["websockets"], 1);
    assert_eq!((&told["told"]["events"], &told["within_s"]), (&1.into(), &1.0.into()));
    assert_eq!(closes(&mut a), (1012, "service restart".to_owned()));
    ends_whole(&mut events);
    echoes(&mut b);
    let mut again = websocket(&proxy, "a.test");
    echoes(&mut again);
}

#[test]
fn a_tenant_is_drained_with_all_that_it_has() {
    let upstream = app();
    let proxy = proxy(&upstream);
    let (mut a, mut b) = (websocket(&proxy, "a.test"), websocket(&proxy, "b.test"));
    let mut download = stream(&proxy, "b.test", "/download");
    let connection = get("a.test", "/");
    let mut client = proxy.client();
    assert_eq!(client.send(&connection).read_response().unwrap().status, 200);
    drain(&proxy, r#"{"tenant": "acme", "within": "100ms"}"#);
    assert_eq!((closes(&mut a).0, closes(&mut b).0), (1012, 1012));
    // Nothing says that a download is whole which is not.
    breaks_off(&mut download);
    assert_eq!(client.send(&connection).read_response().unwrap().status, 200);
    proxy.wait_for_streams(|open| open == NOTHING);
    let log = proxy.log(5);
    let reasons = log.iter().filter(|line| line["reason"] == "service restart");
    assert_eq!(reasons.count(), 3, "{log:?}");
}

#[test]
fn what_is_open_is_listed_by_persona_and_one_by_one() {
    let upstream = app();
    let proxy = proxy(&upstream);
    let _open = (
        websocket(&proxy, "a.test"),
        websocket(&proxy, "a.test"),
        stream(&proxy, "b.test", "/events"),
        stream(&proxy, "b.test", "/download"),
    );
    proxy.wait_for_streams(|open| open == Counts { requests: 1, events: 1, websockets: 2 });
    let found = json(&ask(&proxy, "GET", "/connections", "", ""));
    assert!(found["streams"].is_null());
    let holders: Vec<_> = found["holders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let counts = [&it["requests"], &it["events"], &it["websockets"]];
            assert!(it["oldest_s"].as_f64().unwrap() < 10.0);
            format!("{}/{} {counts:?}", it["tenant"], it["persona"]).replace("Number", "")
        })
        .collect();
    assert_eq!(
        holders,
        [r#""acme"/"persona-0" [(0), (0), (2)]"#, r#""acme"/"persona-1" [(1), (1), (0)]"#]
    );
    let path = "/connections?tenant=acme&persona=persona-1&each=true";
    let found = json(&ask(&proxy, "GET", path, "", ""));
    assert_eq!(found["holders"].as_array().unwrap().len(), 1);
    let mut kinds: Vec<_> = found["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["kind"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["events", "request"]);
}
