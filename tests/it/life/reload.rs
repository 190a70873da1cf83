//! A reload ends what belongs to a persona that is gone or says so, and nothing else.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::harness::h2::{self, read, read_exactly, soon, write};

#[test]
fn a_removed_persona_loses_its_streams_and_no_other_does() {
    let upstream = app();
    let proxy = two(upstream.address).start();
    let (mut a, mut b) = (websocket(&proxy, "a.test"), websocket(&proxy, "b.test"));
    let (mut a_events, _b_events) =
        (stream(&proxy, "a.test", "/events"), stream(&proxy, "b.test", "/events"));
    proxy.wait_for_streams(|open| open == Counts { requests: 0, events: 2, websockets: 2 });
    let only_a = Builder::default().persona("a.test", "/", &[upstream.address]);
    // Persona 1 is `b.test`: gone. The same one at another place, over another upstream: stays.
    let moved = Builder::default().persona("elsewhere.test", "/x", &[]);
    proxy.rebuild(&only_a);
    assert_eq!(closes(&mut b), (1012, "no longer served".to_owned()));
    proxy.wait_for_streams(|open| open == Counts { requests: 0, events: 1, websockets: 1 });
    echoes(&mut a);
    proxy.rebuild(&moved);
    echoes(&mut a);
    assert_eq!(proxy.client().send(get("a.test", "/")).read_response().unwrap().status, 404);
    proxy.rebuild(&Builder::default());
    assert_eq!(closes(&mut a).0, 1012);
    ends_whole(&mut a_events);
    proxy.wait_for_streams(|open| open == NOTHING);
    upstream.wait_until_idle();
}

#[test]
fn over_http2_streams_end_in_the_same_words_and_the_connection_stays() {
    let upstream = app();
    let both = || {
        Builder::default().persona("chat.test", "/", &[upstream.address]).persona(
            "chat.test",
            "/other",
            &[upstream.address],
        )
    };
    let proxy = both().start();
    soon(async {
        let mut client = h2::Client::connect(&proxy).await;
        let (first, mut send) = client.open_websocket("/other/ws").await;
        let mut other = first.await.unwrap().into_body();
        write(&mut send, Bytes::from_static(FRAME)).await;
        assert_eq!(read_exactly(&mut other, FRAME.len()).await, FRAME);
        let (events, _) = client.begin(h2::get("/other/events"), true).await;
        let mut events = events.await.unwrap().into_body();
        assert_eq!(read_exactly(&mut events, 9).await, b"data: 1\n\n");
        let (download, _) = client.begin(h2::get("/other/download"), true).await;
        let mut download = download.await.unwrap().into_body();
        assert_eq!(read_exactly(&mut download, 9).await, b"data: 1\n\n");
        let (mine, mut mine_send) = client.open_websocket("/ws").await;
        let mut mine = mine.await.unwrap().into_body();
        write(&mut mine_send, Bytes::from_static(FRAME)).await;
        assert_eq!(read_exactly(&mut mine, FRAME.len()).await, FRAME);

        proxy.rebuild(&Builder::default().persona("chat.test", "/", &[upstream.address]));
        let close = b"\x88\x12\x03\xf4no longer served";
        assert_eq!(read_exactly(&mut other, close.len()).await, close);
        write(&mut send, Bytes::from_static(b"\x88\x80\0\0\0\0")).await;
        let (rest, error) = read(&mut other).await;
        assert!(rest.is_empty() && error.is_none(), "{rest:?} {error:?}");
        let (rest, error) = read(&mut events).await;
        assert!(rest.is_empty() && error.is_none(), "a whole answer: {rest:?} {error:?}");
        // What is no event stream must not look whole.
        assert!(read(&mut download).await.1.is_some());
        write(&mut mine_send, Bytes::from_static(FRAME)).await;
        assert_eq!(read_exactly(&mut mine, FRAME.len()).await, FRAME);
        assert_eq!(client.ask(h2::get("/")).await.text(), "ok");
    });
    proxy.wait_for_streams(|open| open == NOTHING);
}

#[test]
fn a_request_under_way_is_answered_though_its_persona_is_gone() {
    let (upstream, go) = Upstream::ok_when_told();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(get("chat.test", "/"));
    upstream.wait_for(|received| received.contains("GET"));
    let patient = Builder::default().with(|builder| builder.close_within = Duration::from_secs(60));
    proxy.rebuild(&patient);
    go.send(()).unwrap();
    assert_eq!(client.read_response().unwrap().text(), "ok");
    assert_eq!(client.send(get("chat.test", "/")).read_response().unwrap().status, 404);
}

#[test]
fn a_request_that_takes_longer_is_told_that_its_persona_is_gone() {
    let (upstream, _go) = Upstream::ok_when_told();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(get("chat.test", "/"));
    upstream.wait_for(|received| received.contains("GET"));
    proxy.rebuild(&Builder::default().with(|builder| builder.close_within = Duration::ZERO));
    assert_eq!(client.read_response().unwrap().code(), "not_found");
}

#[test]
fn a_changed_identity_policy_ends_what_is_open_only_where_it_says_so() {
    let upstream = app();
    let text = |a: &str, b: &str| {
        format!(
            "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
             [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
             [tenants.acme.personas.a]\nhosts = [\"a.test\"]\nupstream = \"app\"\n{a}\n\
             [tenants.acme.personas.b]\nhosts = [\"b.test\"]\nupstream = \"app\"\n{b}\n\
             [tenants.acme.sites.www]\nhosts = [\"www.test\"]\nupstream = \"app\"\n"
        )
        .replace("UPSTREAM", &upstream.address.to_string())
    };
    let proxy = Proxy::configured(&text("revoke = true", ""), upstream.address);
    let (mut a, mut b) = (websocket(&proxy, "a.test"), websocket(&proxy, "b.test"));
    let mut events = stream(&proxy, "a.test", "/events");
    let mut site = websocket(&proxy, "www.test");
    proxy.reload(&text("revoke = true\nbridge = false", ""));
    echoes(&mut a);
    let stricter = "user_id = \"required\"\ntrust_asserted = true";
    proxy.reload(&text(&format!("revoke = true\n{stricter}"), stricter));
    assert_eq!(closes(&mut a), (1008, "session ended".to_owned()));
    ends_whole(&mut events);
    echoes(&mut b);
    echoes(&mut site);
}
