//! What a service manager hears and gives, without one.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

use super::House;
use super::process::{PATIENCE, Process};
use crate::harness::upstream::Upstream;

/// What processes say to their manager.
struct Manager(UnixDatagram);

impl Manager {
    fn new(house: &House) -> Self {
        let socket = UnixDatagram::bind(house.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn start(house: &House, arguments: &[&str]) -> Process {
        let mut command = house.command(arguments);
        command.env("NOTIFY_SOCKET", house.path("notify"));
        Process::serving(command)
    }

    /// The next message that is no heartbeat.
    fn hears(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

#[test]
fn a_manager_hears_of_start_reload_upgrade_and_stop() {
    let upstream = Upstream::ok();
    let house = House::plain(upstream.address, "workers = 1");
    let manager = Manager::new(&house);
    let mut old = Manager::start(&house, &[]);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serving\n");
    old.signal(Signal::HUP);
    let reloading = manager.hears();
    let (first, time) = reloading.split_once("\nMONOTONIC_USEC=").unwrap();
    assert_eq!(first, "RELOADING=1");
    assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{time}");
    assert_eq!(manager.hears(), "READY=1\nSTATUS=the configuration is unchanged\n");
    let new = Manager::start(&house, &["--upgrade"]);
    let mut heard = [manager.hears(), manager.hears()];
    heard.sort();
    let pid = new.pid();
    let begun = format!("MAINPID={pid}\nREADY=1\nSTATUS=serving\n");
    assert_eq!(heard, [format!("MAINPID={pid}\n"), begun]);
    // The old one ends, and the service does not.
    assert!(old.ended().success());
    new.signal(Signal::TERM);
    assert_eq!(manager.hears(), "STOPPING=1\n");
}

#[test]
fn a_watchdog_hears_from_whoever_serves() {
    let upstream = Upstream::ok();
    let house = House::plain(upstream.address, "workers = 2");
    let manager = Manager::new(&house);
    let mut command = house.command(&[]);
    command.env("NOTIFY_SOCKET", house.path("notify")).env("WATCHDOG_USEC", "600000");
    let mut old = Process::serving(command);
    for _ in 0..3 {
        while manager.next() != "WATCHDOG=1\n" {}
    }
    // The successor is told the interval by the process before, and nothing by its environment.
    let _new = Manager::start(&house, &["--upgrade"]);
    assert!(old.ended().success());
    while !manager.next().contains("READY=1") {}
    for _ in 0..3 {
        while manager.next() != "WATCHDOG=1\n" {}
    }
}

#[test]
fn a_signal_starts_a_successor_from_where_the_program_is_now() {
    let upstream = Upstream::ok();
    let house = House::plain(upstream.address, "workers = 1");
    let manager = Manager::new(&house);
    let program = house.path("vestibule");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vestibule"), &program).unwrap();
    let mut command = Command::new(&program);
    command.arg("run").arg("-c").arg(house.path("main.toml"));
    command.env("NOTIFY_SOCKET", house.path("notify"));
    let mut old = Process::serving(command);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serving\n");
    old.signal(Signal::USR2);
    let mut heard = [manager.hears(), manager.hears()];
    heard.sort();
    let pid = heard[0].strip_prefix("MAINPID=").unwrap().trim_end().to_owned();
    assert_ne!(pid, old.pid().to_string());
    assert_eq!(heard[1], format!("MAINPID={pid}\nREADY=1\nSTATUS=serving\n"));
    assert!(old.ended().success());
    old.serves();
    let new = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(new, Signal::TERM).unwrap();
    assert_eq!(manager.hears(), "STOPPING=1\n");
}

/// A command whose process is given this socket as the first of its manager's.
fn given(house: &House, listener: &TcpListener) -> Command {
    fcntl_setfd(listener, FdFlags::empty()).unwrap();
    let inner = house.command(&[]);
    let mut command = Command::new("sh");
    let script = format!("LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&{}", listener.as_raw_fd());
    command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command
}

#[test]
fn a_passed_socket_is_served_by_every_worker_and_goes_on_to_a_successor() {
    let upstream = Upstream::ok();
    let house = House::plain(upstream.address, "workers = 2");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = house.path("main.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    house.configure(&text.replace("127.0.0.1:0", &address.to_string()));
    let mut old = Process::serving(given(&house, &listener));
    drop(listener);
    assert_eq!(old.door(), address);
    for _ in 0..8 {
        old.serves();
    }
    let new = house.upgrade();
    assert!(old.ended().success());
    new.serves();
}

#[test]
fn a_passed_socket_that_no_key_names_is_an_error() {
    let upstream = Upstream::ok();
    let house = House::plain(upstream.address, "workers = 1");
    let path = house.path("main.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    house.configure(&text.replace("127.0.0.1:0", "127.0.0.1:1"));
    let mut refused = Process::start(given(&house, &other));
    assert_eq!(refused.ended().code(), Some(1));
    house.configure(&text);
    let mut refused = Process::start(given(&house, &other));
    assert_eq!(refused.ended().code(), Some(1));
    refused.line("systemd passed sockets that no key names");
}
