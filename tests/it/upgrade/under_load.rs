//! Nobody notices: not who connects, not who stays connected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::House;
use super::process::{Process, REQUEST};
use crate::harness::client::Client;
use crate::harness::h2;
use crate::harness::upstream::Upstream;

/// Clients that ask until they are told to stop; one that fails panics.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(door: SocketAddr) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients = [stays, stays, comes_and_goes, comes_and_goes].map(|ask| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut client = None;
                while !stop.load(Ordering::Relaxed) {
                    client = ask(door, client);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self { stop, answered, clients: clients.into() }
    }

    /// How many requests were answered; none has failed.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a request failed, or a connection was refused");
        }
        self.answered.load(Ordering::Relaxed)
    }
}

/// Keeps its connection until it is told that it is the last answer.
fn stays(door: SocketAddr, client: Option<Client>) -> Option<Client> {
    let mut client = client.unwrap_or_else(|| Client::plain(door));
    let response = client.send(REQUEST).read_response().expect("an answer");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    (response.field("connection") != Some("close")).then_some(client)
}

fn comes_and_goes(door: SocketAddr, _: Option<Client>) -> Option<Client> {
    let _ = stays(door, None);
    None
}

#[test]
fn ten_upgrades_under_load_fail_no_request_and_refuse_no_connection() {
    let upstream = Upstream::ok();
    let house = House::plain(upstream.address, "workers = 2");
    let mut process = house.serve();
    let door = process.door();
    let load = Load::start(door);
    for turn in 0..10 {
        let successor = house.upgrade();
        assert_eq!(successor.door(), door, "turn {turn}");
        assert!(process.ended().success(), "turn {turn}: {}", process.said());
        process = successor;
    }
    process.serves();
    let answered = load.end();
    assert!(answered > 100, "{answered}");
}

/// Asks over HTTP/2, three requests at a time, until told to stop; on a new connection once the old
/// one takes no more.
fn asks_over_http2(door: SocketAddr, ca: &str, stop: &AtomicBool) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut answered, mut connections) = (0, 0);
        let mut client = h2::Client::connect_to(door, ca).await;
        while !stop.load(Ordering::Relaxed) {
            if !client.is_open().await {
                client = h2::Client::connect_to(door, ca).await;
                connections += 1;
            }
            let mut asked = Vec::new();
            for _ in 0..3 {
                asked.push(client.begin(h2::get("/asset.js"), true).await.0);
            }
            for response in asked {
                // Whoever is told that nothing was begun asks again elsewhere, as browsers do.
                let Some(response) = h2::answer_or_untouched(response).await else { continue };
                assert_eq!((response.status.as_u16(), &*response.text()), (200, "ok"));
                answered += 1;
            }
        }
        assert!(connections > 0, "it stayed with a process that is gone");
        answered
    })
}

#[test]
fn behind_tls_and_over_http2_nothing_fails_either() {
    let upstream = Upstream::ok();
    let (house, ca) = House::with_tls(upstream.address, "workers = 2");
    let mut process = house.serve();
    let door = process.tls.unwrap();
    let stop = Arc::<AtomicBool>::default();
    let (told, pem) = (Arc::clone(&stop), ca.pem().to_owned());
    let over_http2 = std::thread::spawn(move || asks_over_http2(door, &pem, &told));
    for _ in 0..4 {
        let successor = house.upgrade();
        assert_eq!(successor.tls, Some(door));
        for _ in 0..5 {
            let mut client = Client::tls(door, ca.pem(), "chat.test", &["http/1.1"]).unwrap();
            assert_eq!(client.send(REQUEST).read_response().unwrap().status, 200);
        }
        assert!(process.ended().success(), "{}", process.said());
        process = successor;
    }
    stop.store(true, Ordering::Relaxed);
    assert!(over_http2.join().unwrap() > 10);
}

#[test]
fn any_number_of_workers_takes_over_from_any_other() {
    let upstream = Upstream::ok();
    let house = House::plain(upstream.address, "workers = 2");
    let mut process = house.serve();
    let load = Load::start(process.door());
    for workers in ["workers = 3", "workers = 1", "workers = 4"] {
        let path = house.path("main.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let old = text.lines().find(|line| line.starts_with("workers")).unwrap().to_owned();
        // The process that serves notices the file too, and cannot follow without a restart.
        std::fs::write(&path, text.replace(&old, workers)).unwrap();
        let successor = house.upgrade();
        assert!(process.ended().success());
        process = successor;
    }
    assert!(load.end() > 20);
}

#[test]
fn what_listens_for_apps_and_operators_goes_over_too() {
    let upstream = Upstream::ok();
    let others = "[internal]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"";
    let house = House::plain(upstream.address, others);
    let mut process = house.serve();
    let told = |process: &Process| -> [SocketAddr; 2] {
        ["the apps", "operators"].map(|whom| {
            let line = process.line(&format!("listening for {whom} on http://"));
            line.rsplit("http://").next().unwrap().parse().unwrap()
        })
    };
    let addresses = told(&process);
    for _ in 0..2 {
        let successor = house.upgrade();
        assert_eq!(told(&successor), addresses);
        assert!(process.ended().success());
        for (address, path) in addresses.iter().zip(["/.well-known/jwks.json", "/readyz"]) {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let response = Client::plain(*address).send(request).read_response().unwrap();
            assert_eq!(response.status, 200, "{path}");
        }
        process = successor;
    }
}

#[test]
fn a_websocket_lives_on_where_it_was_opened() {
    let upstream = Upstream::start(|mut conversation| {
        let Some(request) = conversation.read_request() else { return };
        if !request.contains("Upgrade: websocket") {
            return conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        conversation.switch(&request, "", b"first");
        loop {
            let mut buffer = [0; 4096];
            match conversation.read(&mut buffer) {
                0 => return,
                count => conversation.write(&buffer[..count]),
            }
        }
    });
    let house = House::plain(upstream.address, "workers = 1\ndrain_timeout = \"60s\"");
    let mut old = house.serve();
    let mut client = Client::plain(old.door());
    client.send(
        "GET /ws HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(client.read_head().unwrap().status, 101);
    assert_eq!(client.read_exactly(5), b"first");
    let new = house.upgrade();
    old.line("draining");
    let again = house.upgrade();
    again.serves();
    drop(new);
    for _ in 0..3 {
        // A text frame, masked with zeros.
        let frame = b"\x81\x82\0\0\0\0hi";
        assert_eq!(client.send(frame).read_exactly(frame.len()), frame);
    }
    assert!(old.is_running());
    drop(client);
    assert!(old.ended().success());
}
