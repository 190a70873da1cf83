//! Stopping: nothing new, streams go on until they are done or the time is over, then the end.

use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::harness::PATIENCE;
use crate::harness::h2::{self, answer, blocking, read_exactly, soon};
use vestibule::app::Urge;

/// A server that drains on a thread of its own.
struct Draining {
    thread: JoinHandle<usize>,
    urge: Sender<Urge>,
}

/// Begins, and waits until nothing new is accepted.
fn drain(proxy: Proxy) -> Draining {
    let (urge, urged) = channel();
    let address = proxy.http();
    let thread = std::thread::spawn(move || {
        // With the folder of its log.
        let Proxy { app, .. } = proxy;
        app.drain_while(|time| match urged.recv_timeout(time) {
            Ok(urge) => urge,
            Err(RecvTimeoutError::Timeout) => Urge::None,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(time);
                Urge::None
            }
        })
    });
    let until = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "the listener is still open");
        std::thread::sleep(Duration::from_millis(5));
    }
    Draining { thread, urge }
}

#[test]
fn readiness_fails_streams_go_on_and_the_last_one_ends_it() {
    let upstream = app();
    let proxy = two(upstream.address)
        .with(|builder| {
            builder.admin = true;
            builder.drain_timeout = Duration::from_secs(3600);
        })
        .start();
    let admin = proxy.app.admin().unwrap();
    let probe = |path: &str| {
        let answer = Client::plain(admin).send(get("localhost", path)).read_response().unwrap();
        (answer.status, json(&answer)["state"].as_str().unwrap().to_owned())
    };
    let mut socket = websocket(&proxy, "a.test");
    let mut events = stream(&proxy, "b.test", "/events");
    let mut idle = proxy.client();
    assert_eq!(idle.send(get("a.test", "/")).read_response().unwrap().field("connection"), None);
    assert_eq!((probe("/readyz").0, probe("/healthz").0), (200, 200));
    let draining = drain(proxy);
    assert_eq!(probe("/readyz"), (503, "draining".to_owned()));
    assert_eq!(probe("/healthz"), (200, "alive".to_owned()));
    assert_eq!(probe("/status"), (200, "draining".to_owned()));
    let last = idle.send(get("a.test", "/")).read_response().unwrap();
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    echoes(&mut socket);
    assert!(!draining.thread.is_finished());
    drop(socket);
    assert!(events.try_send(""), "it is still there");
    drop(events);
    assert_eq!(draining.thread.join().unwrap(), 0);
}

#[test]
fn when_the_time_is_over_websockets_are_told_to_come_back() {
    let upstream = app();
    let proxy = two(upstream.address)
        .with(|builder| {
            builder.drain_timeout = Duration::from_millis(300);
            builder.close_within = Duration::from_millis(300);
        })
        .start();
    let mut sockets: Vec<_> = (0..5).map(|_| websocket(&proxy, "a.test")).collect();
    let mut events = stream(&proxy, "b.test", "/events");
    let mut download = stream(&proxy, "b.test", "/download");
    let draining = drain(proxy);
    for socket in &mut sockets {
        assert_eq!(closes(socket), (1012, "service restart".to_owned()));
    }
    ends_whole(&mut events);
    breaks_off(&mut download);
    drop((sockets, events, download));
    assert_eq!(draining.thread.join().unwrap(), 0, "nothing had to be cut");
}

#[test]
fn who_hurries_does_not_wait_for_the_time_to_be_over() {
    let upstream = app();
    let proxy = two(upstream.address)
        .with(|builder| {
            builder.drain_timeout = Duration::from_secs(3600);
            builder.close_within = Duration::from_secs(3600);
        })
        .start();
    let mut socket = websocket(&proxy, "a.test");
    let draining = drain(proxy);
    echoes(&mut socket);
    draining.urge.send(Urge::Hurry).unwrap();
    assert_eq!(closes(&mut socket).0, 1012);
    drop(socket);
    assert_eq!(draining.thread.join().unwrap(), 0);
}

#[test]
fn who_stops_cuts_what_is_open() {
    let upstream = app();
    let proxy = two(upstream.address).start();
    let mut socket = websocket(&proxy, "a.test");
    let draining = drain(proxy);
    draining.urge.send(Urge::Stop).unwrap();
    assert_eq!(draining.thread.join().unwrap(), 1);
    assert!(socket.is_closed());
}

#[test]
fn over_http2_goaway_comes_first_and_streams_go_on() {
    let upstream = app();
    let (slow, go) = Upstream::ok_when_told();
    let proxy = Builder::default()
        .persona("chat.test", "/", &[upstream.address])
        .persona("chat.test", "/slow", &[slow.address])
        .with(|builder| builder.drain_timeout = Duration::from_secs(3600))
        .start();
    let draining = Mutex::new(None);
    soon(async {
        let mut client = h2::Client::connect(&proxy).await;
        let (socket, mut send) = client.open_websocket("/ws").await;
        let mut socket = socket.await.unwrap().into_body();
        let (response, _) = client.begin(h2::get("/slow/"), true).await;
        let waiting = slow.clone();
        blocking(move || waiting.wait_for(|received| received.contains("GET"))).await;
        *draining.lock().unwrap() = Some(blocking(move || drain(proxy)).await);
        let until = Instant::now() + PATIENCE;
        // It notices when it has been told.
        while client.is_open().await {
            assert!(Instant::now() < until, "no GOAWAY");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        go.send(()).unwrap();
        assert_eq!(answer(response).await.text(), "ok");
        h2::write(&mut send, bytes::Bytes::from_static(FRAME)).await;
        assert_eq!(read_exactly(&mut socket, FRAME.len()).await, FRAME);
        h2::finish(&mut send);
        let (rest, error) = h2::read(&mut socket).await;
        assert!(rest.is_empty() && error.is_none(), "{rest:?} {error:?}");
        let _ = client.connection.await.unwrap();
    });
    let draining = draining.into_inner().unwrap().unwrap();
    assert_eq!(draining.thread.join().unwrap(), 0);
}
