//! A successor that comes to nothing leaves the process before it serving.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use vestibule::upgrade::link::{Link, LinkError};
use vestibule::upgrade::wire::{Message, NEWEST, OLDEST};

use super::House;
use super::process::{PATIENCE, Process, REQUEST};
use crate::harness::client::Client;
use crate::harness::upstream::Upstream;

fn house() -> (House, Upstream) {
    let upstream = Upstream::ok();
    (House::plain(upstream.address, "workers = 2"), upstream)
}

fn knock(house: &House) -> Link {
    Link::new(UnixStream::connect(house.path("upgrade.sock")).unwrap()).unwrap()
}

fn next(link: &mut Link) -> Message {
    link.receive(Instant::now() + PATIENCE).unwrap()
}

/// A successor that has come as far as having every listener.
fn welcomed(house: &House) -> Link {
    let mut link = knock(house);
    link.send(&Message::Hello { oldest: OLDEST, newest: NEWEST }).unwrap();
    let Message::Welcome { listeners, .. } = next(&mut link) else { panic!("no welcome") };
    assert_eq!(listeners, 2);
    for _ in 0..listeners {
        assert!(matches!(next(&mut link), Message::Listener { .. }));
        assert!(link.descriptor().is_some());
    }
    link
}

/// A successor that has said READY, and was told everything.
fn ready(house: &House) -> Link {
    let mut link = welcomed(house);
    link.send(&Message::Ready).unwrap();
    while next(&mut link) != Message::Go {}
    link
}

fn failed(process: &Process, why: &str) {
    let line = process.line("failed, serving on: ");
    assert!(line.contains(why), "{line}");
    process.serves();
}

#[test]
fn one_that_ends_at_any_step_changes_nothing() {
    for step in [welcomed, ready] {
        let (house, _upstream) = house();
        let mut old = house.serve();
        drop(step(&house));
        failed(&old, "has ended");
        let new = house.upgrade();
        assert!(old.ended().success());
        new.serves();
    }
}

#[test]
fn one_that_hangs_before_it_is_ready_holds_nothing_up() {
    let (house, _upstream) = house();
    let old = house.serve();
    let hung = welcomed(&house);
    for _ in 0..5 {
        old.serves();
    }
    drop(hung);
    house.upgrade().serves();
}

#[test]
fn one_that_hangs_when_it_should_accept_is_given_up() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut before = Client::plain(old.door());
    assert_eq!(before.send(REQUEST).read_response().unwrap().status, 200);
    let mut hung = ready(&house);
    // Who is connected is served, who comes is queued.
    assert_eq!(before.send(REQUEST).read_response().unwrap().status, 200);
    let mut queued = Client::plain(old.door());
    queued.send(REQUEST);
    assert_eq!(queued.read_response().unwrap().status, 200);
    failed(&old, "does not answer");
    // Too late: it is told so before it accepts anything.
    let _ = hung.send(&Message::Accepting);
    let answer = hung.receive(Instant::now() + PATIENCE);
    assert!(matches!(answer, Err(LinkError::Closed)), "{answer:?}");
    house.upgrade().serves();
}

#[test]
fn one_with_a_bad_configuration_says_so_and_exits() {
    let (house, _upstream) = house();
    let good = std::fs::read_to_string(house.path("main.toml")).unwrap();
    let mut old = house.serve();
    house.configure(&good.replace("upstream = \"app\"", "upstream = \"none\""));
    let mut bad = Process::start(house.command(&["--upgrade"]));
    assert_eq!(bad.ended().code(), Some(1), "{}", bad.said());
    bad.line("is not usable, see above; if another process served, it serves on");
    old.serves();
    // A listener that it cannot have.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = format!("\"127.0.0.1:0\", \"{}\"", taken.local_addr().unwrap());
    house.configure(&good.replace("\"127.0.0.1:0\"", &addresses));
    let mut bad = Process::start(house.command(&["--upgrade"]));
    assert_eq!(bad.ended().code(), Some(1), "{}", bad.said());
    bad.line("another process listens there");
    failed(&old, "has ended");
    assert!(old.is_running());
}

#[test]
fn nobody_there_and_no_socket_named_are_told() {
    let (house, _upstream) = house();
    let mut lonely = Process::start(house.command(&["--upgrade"]));
    assert_eq!(lonely.ended().code(), Some(1));
    lonely.line("no process to take over from at ");
    let path = house.path("main.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    house.configure(&text.replace("upgrade_socket = \"upgrade.sock\"", ""));
    let mut unnamed = Process::start(house.command(&["--upgrade"]));
    assert_eq!(unnamed.ended().code(), Some(1));
    unnamed.line("--upgrade needs [server] upgrade_socket");
}

#[test]
fn what_is_no_message_or_of_another_version_is_refused() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut stranger = knock(&house);
    stranger.send(&Message::Hello { oldest: NEWEST + 1, newest: NEWEST + 7 }).unwrap();
    let refused = stranger.receive(Instant::now() + PATIENCE);
    assert!(matches!(refused, Err(LinkError::Refused(_))), "{refused:?}");
    failed(&old, "restart instead");
    for first in [Message::Ready, Message::Go, Message::Accepting, Message::Yours] {
        let mut link = knock(&house);
        link.send(&first).unwrap();
        let answer = link.receive(Instant::now() + PATIENCE);
        assert!(matches!(answer, Err(LinkError::Closed)), "{answer:?}");
    }
    let mut link = welcomed(&house);
    link.send(&Message::Accepting).unwrap();
    assert!(link.receive(Instant::now() + PATIENCE).is_err());
    old.line("sent ACCEPTING out of turn");
    let mut nonsense = UnixStream::connect(house.path("upgrade.sock")).unwrap();
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    old.line("what is no message");
    old.serves();
    house.upgrade().serves();
}

#[test]
fn a_successor_that_is_told_nonsense_never_accepts() {
    let state = |kind: u8| [&[0, 0, 0, 10, 6, 0, 0, 0, 4][..], b"acme", &[kind]].concat();
    for (said, why) in [
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), "what is no message"),
        (written(&Message::Go), "GO out of turn"),
        (written(&welcome(NEWEST + 1)), "what is no message"),
        ([written(&welcome(NEWEST)), state(99)].concat(), "what is no message"),
        ([written(&welcome(NEWEST)), written(&Message::Yours)].concat(), "YOURS out of turn"),
        (written(&welcome(NEWEST)), "has ended"),
    ] {
        let (house, _upstream) = house();
        let socket = UnixListener::bind(house.path("upgrade.sock")).unwrap();
        let mut successor = Process::start(house.command(&["--upgrade"]));
        let (mut stream, _) = socket.accept().unwrap();
        stream.write_all(&said).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(successor.ended().code(), Some(1), "{}", successor.said());
        let line = successor.line("if another process served, it serves on");
        assert!(line.contains(why), "{line}");
        assert!(!successor.said().contains("listening on"), "{}", successor.said());
    }
}

fn welcome(version: u16) -> Message {
    Message::Welcome { version, secret: None, watchdog: 0, listeners: 0, elders: 0 }
}

fn written(message: &Message) -> Vec<u8> {
    let mut frame = Vec::new();
    message.write(&mut frame);
    frame
}

#[test]
fn who_is_told_to_stop_while_a_successor_hangs_stops() {
    let (house, _upstream) = house();
    let mut old = house.serve();
    let hung = welcomed(&house);
    old.signal(rustix::process::Signal::TERM);
    let begun = Instant::now();
    assert!(old.ended().success());
    assert!(begun.elapsed() < Duration::from_secs(20));
    drop(hung);
    assert!(!house.path("upgrade.sock").exists());
}

#[test]
fn a_second_server_does_not_take_the_socket_of_the_first() {
    let (house, _upstream) = house();
    let old = house.serve();
    let mut second = Process::start(house.command(&[]));
    assert_eq!(second.ended().code(), Some(1));
    second.line("another process serves at the upgrade socket");
    house.upgrade().serves();
    drop(old);
    // What a killed process left is nobody's.
    assert!(house.path("upgrade.sock").exists());
    house.serve().serves();
}
