//! A server dies in the middle of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// Ten clients post numbered bodies, one after the other, until told to stop. Answers how many
/// were sent, which were refused, and how long after the kill the last was.
struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<Vec<(String, u16, Instant)>>>,
}

impl Traffic {
    fn start(proxy: &Proxy) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = (0..10).map(|number| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let mut client = proxy.client();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let body = format!("{number}-{}", seen.len());
                    let request = format!(
                        "POST /take HTTP/1.1\r\nHost: chat.test\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let response = client.send(request).read_response().unwrap();
                    answered.fetch_add(1, Ordering::SeqCst);
                    seen.push((body, response.status, Instant::now()));
                }
                seen
            })
        });
        let clients = clients.collect();
        Self { stop, answered, clients }
    }

    fn wait_for(&self, more: usize) {
        let enough = self.answered.load(Ordering::SeqCst) + more;
        wait_until("requests are answered", || self.answered.load(Ordering::SeqCst) >= enough);
    }

    fn end(self) -> Vec<(String, u16, Instant)> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

#[test]
fn one_of_two_is_killed_and_nothing_is_sent_twice() {
    let (mut one, two) = (Replica::start("a"), Replica::start("b"));
    let proxy = start(&[&one, &two], "", "user_id = \"none\"");
    let traffic = Traffic::start(&proxy);
    traffic.wait_for(200);
    let killed = Instant::now();
    one.kill();
    traffic.wait_for(200);
    one.revive();
    traffic.wait_for(200);
    let seen = traffic.end();

    let failed: Vec<_> = seen.iter().filter(|(_, status, _)| *status != 200).collect();
    assert!(failed.len() <= 10, "only what was under way: {failed:?}");
    for (body, status, at) in &failed {
        assert_eq!(*status, 502, "{body}");
        assert!(at.duration_since(killed) < Duration::from_secs(1), "{body}: {failed:?}");
    }
    let mut taken = [one.bodies(), two.bodies()].concat();
    let count = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), count, "something was sent twice");
    for (body, status, _) in &seen {
        assert!(*status != 200 || taken.binary_search(body).is_ok(), "{body} was lost");
    }
}

#[test]
fn a_websocket_is_back_on_the_other_server_at_once() {
    let (mut one, mut two) = (Replica::start("a"), Replica::start("b"));
    let proxy = start(&[&one, &two], "balance = \"sticky\"", "");
    let cookie = launched(&proxy);
    let (mut client, name) = open(&proxy, &cookie).unwrap();
    client.send("hello");
    assert_eq!(client.read_exactly(5), b"hello");
    let (dies, other) = if name == "a" { (&mut one, &mut two) } else { (&mut two, &mut one) };
    let killed = Instant::now();
    dies.kill();
    assert!(client.is_closed());
    let (mut client, now) = open(&proxy, &cookie).unwrap();
    assert!(killed.elapsed() < Duration::from_secs(3));
    assert_eq!(now, other.name);
    client.send("again");
    assert_eq!(client.read_exactly(5), b"again");

    // It comes back: the session stays with the stream, a new one may go there.
    dies.revive();
    assert_eq!(asked(&mut proxy.client(), &cookie), other.name);
    drop(client);
    assert_eq!(open(&proxy, &cookie).unwrap().1, other.name);
}

#[test]
fn four_servers_are_restarted_one_after_the_other_and_no_request_fails() {
    let mut replicas = ["a", "b", "c", "d"].map(Replica::start);
    let checked = "balance = \"sticky\"\nhealth = { path = \"/health\", interval = \"100ms\", \
                   unhealthy_threshold = 1, healthy_threshold = 1 }";
    let proxy = start(&replicas.each_ref(), checked, "");
    let mut users: Vec<_> = (0..12)
        .map(|_| {
            let cookie = launched(&proxy);
            let (client, name) = open(&proxy, &cookie).unwrap();
            (cookie, client, name)
        })
        .collect();
    for replica in &mut replicas {
        let gone = replica.name;
        replica.kill();
        let mut moved = 0;
        for (cookie, client, name) in &mut users {
            if *name == gone {
                assert!(client.is_closed());
                (*client, *name) = open(&proxy, cookie).unwrap();
                moved += 1;
            } else {
                client.send("still");
                assert_eq!(client.read_exactly(5), b"still", "others notice nothing");
            }
            assert_ne!(*name, gone);
            // What belongs to the session follows its stream.
            assert_eq!(asked(&mut proxy.client(), cookie), *name);
        }
        assert!(moved < users.len());
        replica.revive();
        wait_until("it is back", || states(&proxy) == "healthy healthy healthy healthy");
        for (cookie, _, name) in &users {
            assert_eq!(asked(&mut proxy.client(), cookie), *name);
        }
    }
}

#[test]
fn where_all_servers_are_gone_the_answer_comes_at_once() {
    let (mut one, mut two) = (Replica::start("a"), Replica::start("b"));
    let proxy = start(&[&one, &two], "", "");
    one.kill();
    two.kill();
    let mut client = proxy.client();
    for _ in 0..20 {
        let response =
            client.send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n").read_response().unwrap();
        assert_eq!(response.code(), "upstream_unreachable");
    }
    two.revive();
    assert_eq!(answering(&mut client, 4), "b");
}
