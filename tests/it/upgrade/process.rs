//! A process of the binary: what it says, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::client::Client;

/// For a process of a debug build on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Said = Arc<(Mutex<Vec<String>>, Condvar)>;

pub struct Process {
    child: Child,
    said: Said,
    door: Option<SocketAddr>,
    /// Behind TLS.
    pub tls: Option<SocketAddr>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, heard) = (Said::default(), BufReader::new(child.stderr.take().unwrap()));
        let tell = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in heard.lines().map_while(Result::ok) {
                tell.0.lock().unwrap().push(line);
                tell.1.notify_all();
            }
        });
        Self { child, said, door: None, tls: None }
    }

    /// Waits until it listens.
    pub fn serving(command: Command) -> Self {
        let mut process = Self::start(command);
        let line = process.line("listening on http://");
        process.door = Some(line.rsplit("http://").next().unwrap().parse().unwrap());
        // It is told first.
        let said = process.said();
        let tls = said.lines().find_map(|line| line.split_once("listening on https://"));
        process.tls = tls.map(|(_, address)| address.parse().unwrap());
        process
    }

    /// Waits for a line that has these words.
    pub fn line(&self, words: &str) -> String {
        let (said, told) = &*self.said;
        let mut lines = said.lock().unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {words:?} in {lines:?}");
            lines = told.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Everything that it has said so far.
    pub fn said(&self) -> String {
        self.said.0.lock().unwrap().join("\n")
    }

    pub fn door(&self) -> SocketAddr {
        self.door.unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Answers on a new connection.
    pub fn serves(&self) {
        let response = Client::plain(self.door()).send(REQUEST).read_response().unwrap();
        assert_eq!(response.status, 200, "{response:?}");
    }
}

pub const REQUEST: &str = "GET /asset.js HTTP/1.1\r\nHost: chat.test\r\n\r\n";

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
