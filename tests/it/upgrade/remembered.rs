//! What a successor knows: used signatures, ended sessions, what launches brought, limits, the
//! apps' cookies, and the secret that nobody configured.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use vestibule::upgrade::link::Link;
use vestibule::upgrade::wire::{Message, NEWEST, OLDEST};

use super::House;
use super::process::PATIENCE;
use crate::firewall::browser::Browser;
use crate::firewall::signed::{now, signed};
use crate::firewall::{reflecting, seen, told};
use crate::harness::client::{Client, Response};
use crate::harness::upstream::Upstream;

const SECRET: &str = "a-new-signing-secret";

fn house() -> (House, Upstream) {
    let upstream = reflecting();
    let text = "[tenants.acme]\nembed_origins = [\"https://www.acme.test\"]\n\
        limits = { ip = \"900000/min\", tenant = \"900000/min\" }\n\
        [tenants.acme.personas.sales]\nhosts = [\"sales.test\"]\nupstream = \"app\"\n\
        user_id = \"optional\"\nsigned = true\n\
        signing = { secrets = [\"file:secret\"] }\n\
        variables = [{ name = \"plan\", source = \"query\" }]\n\
        [tenants.acme.personas.once]\nhosts = [\"once.test\"]\nupstream = \"app\"\n\
        user_id = \"optional\"\nsigned = true\n\
        signing = { secrets = [\"file:secret\"], replay = \"once\" }\n\
        [tenants.acme.personas.chat]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n\
        user_id = \"required\"\ntrust_asserted = true\nuser_id_format = \"integer\"\n\
        app = \"streamlit\"\n\
        [tenants.slow]\nlimits = { ip = \"3/min\" }\n\
        [tenants.slow.personas.chat]\nhosts = [\"slow.test\"]\nupstream = \"app\"\n";
    let house = House::new(upstream.address, "workers = 2\ndrain_timeout = \"60s\"", text);
    std::fs::write(house.path("secret"), SECRET).unwrap();
    (house, upstream)
}

fn link(user: &str) -> String {
    format!("/?{}", signed(SECRET, &[("user_id", user), ("plan", "gold")], now()))
}

fn launch(door: SocketAddr, target: &str) -> (Browser, u16) {
    let mut browser = Browser::at(door, "sales.test");
    let status = browser.open(target).status;
    (browser, status)
}

#[test]
fn sessions_and_what_they_brought_go_on_and_used_links_stay_used() {
    let (house, _upstream) = house();
    let old = house.serve();
    let (used, unused) = (link("u-1"), link("u-2"));
    let (mut browser, status) = launch(old.door(), &used);
    assert_eq!(status, 200);
    assert_eq!(browser.fetch("/a.js").status, 200);
    let new = house.upgrade();
    let page = seen(&browser.fetch("/a.js"));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("u-1"));
    assert_eq!(told(&page, "X-Vestibule-Var-plan"), Some("gold"));
    assert_eq!(launch(new.door(), &used).1, 403);
    assert_eq!(launch(new.door(), &unused).1, 200);
    assert_eq!(browser.open(&used).status, 200, "whoever began with it may repeat it");
    // And so on.
    let third = house.upgrade();
    assert_eq!(launch(third.door(), &used).1, 403);
    assert_eq!(launch(third.door(), &unused).1, 403);
    assert_eq!(told(&seen(&browser.fetch("/a.js")), "X-Vestibule-Var-plan"), Some("gold"));
}

#[test]
fn an_ended_session_stays_ended() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut browser = Browser::at(old.door(), "chat.test");
    assert_eq!(browser.open_in_tab("/?user_id=1").status, 200);
    let first = browser.cookies.clone();
    assert_eq!(browser.open_in_tab("/?user_id=2").status, 200);
    let _new = house.upgrade();
    assert_eq!(browser.fetch("/_stcore/health").status, 200);
    browser.cookies = first;
    assert_eq!(browser.fetch("/_stcore/health").code(), "session_invalid");
}

#[test]
fn limits_go_on_where_they_were() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut browser = Browser::at(old.door(), "slow.test");
    for _ in 0..2 {
        assert_eq!(browser.open("/").status, 200);
        browser.cookies.clear();
    }
    let _new = house.upgrade();
    assert_eq!(browser.open("/").status, 200);
    browser.cookies.clear();
    assert_eq!(browser.open("/").status, 429);
}

#[test]
fn cookies_that_a_browser_refused_are_still_kept_for_it() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut browser = Browser::at(old.door(), "chat.test");
    browser.keeps_cookies = false;
    assert_eq!(browser.open("/?user_id=1").status, 200);
    let below = browser.at.split('?').next().unwrap().to_owned();
    assert!(below.starts_with("/.v/"), "{below}");
    assert_eq!(browser.fetch(&format!("{below}cookie.js")).status, 200);
    let _new = house.upgrade();
    let page = seen(&browser.fetch(&format!("{below}b.js")));
    assert_eq!(told(&page, "Cookie"), Some("sid=1"));
}

#[test]
fn a_session_that_ends_at_the_successor_ends_its_streams_at_the_process_before() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut browser = Browser::at(old.door(), "chat.test");
    assert_eq!(browser.open_in_tab("/?user_id=1").status, 200);
    let (switched, mut stream) = browser.stream("/_stcore/stream", "");
    assert_eq!(switched.status, 101, "{switched:?}");
    let _second = house.upgrade();
    let _third = house.upgrade();
    assert_eq!(stream.send(b"\x81\x82\0\0\0\0hi").read_exactly(8), b"\x81\x82\0\0\0\0hi");
    assert_eq!(browser.open_in_tab("/?user_id=2").status, 200);
    // Close, 1008.
    assert_eq!(stream.read_exactly(4)[..1], [0x88]);
    drop(old);
}

/// A request as a frame navigates.
fn navigation(host: &str, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: navigate\r\n\
         Sec-Fetch-Dest: iframe\r\nSec-Fetch-Site: cross-site\r\nAccept: text/html\r\n\r\n"
    )
}

/// One on an open connection.
fn ask(client: &mut Client, target: &str) -> Response {
    client.send(navigation("sales.test", target)).read_response().unwrap()
}

/// The same link twice at once: on a connection that stays as long as it may, and on a new one.
fn race(door: SocketAddr, kept: Option<Client>, target: &str) -> (Option<Client>, usize) {
    let request = navigation("once.test", target);
    let mut clients = [kept.unwrap_or_else(|| Client::plain(door)), Client::plain(door)];
    for client in &mut clients {
        client.send(&request);
    }
    let mut passed = 0;
    let [kept, _] = clients.map(|mut client| {
        let mut response = client.read_response().unwrap();
        let stays = response.field("connection") != Some("close");
        while response.status == 307 {
            assert_eq!(response.field("location"), Some(target));
            response = Client::plain(door).send(&request).read_response().unwrap();
        }
        match response.status {
            200 | 303 => passed += 1,
            403 => assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8")),
            other => panic!("{other}: {}", response.head),
        }
        stays.then_some(client)
    });
    (kept, passed)
}

#[test]
fn no_link_is_used_twice_however_often_the_process_changes() {
    let (house, _upstream) = house();
    let mut process = house.serve();
    let door = process.door();
    let stop = Arc::<AtomicBool>::default();
    let racers = [0, 1].map(|racer| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let (mut kept, mut links) = (None, 0);
            while !stop.load(Ordering::Relaxed) {
                let passed;
                (kept, passed) = race(door, kept, &link(&format!("u-{racer}-{links}")));
                assert_eq!(passed, 1, "link {links}");
                links += 1;
            }
            links
        })
    });
    for _ in 0..4 {
        let successor = house.upgrade();
        assert!(process.ended().success());
        process = successor;
    }
    stop.store(true, Ordering::Relaxed);
    let links: usize = racers.map(|racer| racer.join().unwrap()).iter().sum();
    assert!(links > 10, "{links}");
}

#[test]
fn a_launch_on_an_old_connection_is_sent_to_the_successor() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut kept = Client::plain(old.door());
    assert_eq!(ask(&mut kept, "/").status, 401, "unsigned");
    let mut other = Client::plain(old.door());
    assert_eq!(ask(&mut other, "/").status, 401);
    let new = house.upgrade();
    old.line("draining");
    let target = link("u-1");
    let sent_on = ask(&mut kept, &target);
    assert_eq!((sent_on.status, sent_on.field("location")), (307, Some(&*target)), "{sent_on:?}");
    assert_eq!(sent_on.field("connection"), Some("close"));
    assert_eq!(sent_on.field("cache-control"), Some("no-store"));
    assert_eq!(launch(new.door(), &target).1, 200);
    assert_eq!(launch(new.door(), &target).1, 403, "once, whichever way it came");
    // Everything else is answered where it is.
    let asset = "GET /a.js HTTP/1.1\r\nHost: slow.test\r\n\r\n";
    assert_eq!(other.send(asset).read_response().unwrap().status, 200);
    // It is told of, as every answer is.
    let until = Instant::now() + PATIENCE;
    let log = || std::fs::read_to_string(house.path("access.log")).unwrap();
    while !log().contains("\"status\":307,\"tenant\":\"acme\",\"persona\":\"sales\"") {
        assert!(Instant::now() < until, "{}", log());
        std::thread::yield_now();
    }
}

#[test]
fn a_launch_waits_for_what_comes_of_a_hand_over() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut kept = Client::plain(old.door());
    assert_eq!(ask(&mut kept, "/").status, 401);
    let mut link = Link::new(UnixStream::connect(house.path("upgrade.sock")).unwrap()).unwrap();
    let next = |link: &mut Link| link.receive(Instant::now() + PATIENCE).unwrap();
    link.send(&Message::Hello { oldest: OLDEST, newest: NEWEST }).unwrap();
    while !matches!(next(&mut link), Message::Listener { .. }) {}
    link.send(&Message::Ready).unwrap();
    while next(&mut link) != Message::Go {}
    let target = self::link("u-1");
    let waiting = std::thread::spawn(move || ask(&mut kept, &target).status);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!waiting.is_finished(), "nobody decides about it yet");
    drop(link);
    assert_eq!(waiting.join().unwrap(), 303, "the process serves on");
}
