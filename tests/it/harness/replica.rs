//! One of several equal servers, which can be killed and started again at its address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Answers every request with its name, `/health` as it is told, `/sid` handshakes with a name of
/// its own, and WebSockets by echoing after its name.
pub struct Replica {
    pub name: &'static str,
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    name: &'static str,
    alive: AtomicBool,
    well: AtomicBool,
    checks: AtomicUsize,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    bodies: Mutex<Vec<String>>,
}

impl Replica {
    pub fn start(name: &'static str) -> Self {
        let state = Arc::new(State {
            name,
            alive: AtomicBool::new(false),
            well: AtomicBool::new(true),
            checks: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            bodies: Mutex::default(),
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut replica = Self { name, address, state, accepting: None };
        replica.revive();
        replica
    }

    /// Ends like a process that is killed: nobody listens, every connection is over at once.
    pub fn kill(&mut self) {
        self.state.alive.store(false, Ordering::SeqCst);
        // Wakes the listener, which is then dropped.
        let _ = TcpStream::connect(self.address);
        self.accepting.take().unwrap().join().unwrap();
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Starts at the same address.
    pub fn revive(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        self.state.alive.store(true, Ordering::SeqCst);
        let state = Arc::clone(&self.state);
        self.accepting = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !state.alive.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                state.open.lock().unwrap().push(stream.try_clone().unwrap());
                state.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&state);
                std::thread::spawn(move || state.talk(&stream));
            }
        }));
    }

    pub fn set_well(&self, well: bool) {
        self.state.well.store(well, Ordering::SeqCst);
    }

    /// Health checks that were answered.
    pub fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Bodies that have arrived whole.
    pub fn bodies(&self) -> Vec<String> {
        self.state.bodies.lock().unwrap().clone()
    }
}

impl State {
    /// Serves one connection.
    fn talk(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((target, head, body)) = read(&mut reader) {
            if let Some(key) = field(&head, "sec-websocket-key") {
                let accept = vestibule::upstream::forward::websocket_accept(key.as_bytes());
                self.write(
                    stream,
                    &format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n{}",
                        self.name
                    ),
                );
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = reader.read(&mut buffer) {
                    let _ = (&*stream).write_all(&buffer[..count]);
                }
                break;
            }
            let (status, answer) = if target == "/health" {
                self.checks.fetch_add(1, Ordering::SeqCst);
                let well = self.well.load(Ordering::SeqCst);
                (if well { "200 OK" } else { "503 Unavailable" }, String::new())
            } else if target.contains("transport=polling") && !target.contains("sid=") {
                ("200 OK", format!("0{{\"sid\":\"sid-of-{}\",\"upgrades\":[]}}", self.name))
            } else {
                self.bodies.lock().unwrap().extend((!body.is_empty()).then_some(body));
                ("200 OK", self.name.to_owned())
            };
            let length = answer.len();
            self.write(
                stream,
                &format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{answer}"),
            );
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn write(&self, mut stream: &TcpStream, text: &str) {
        // The other side may be gone.
        let _ = stream.write_all(text.as_bytes());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.kill();
        }
    }
}

/// Target, head and body of the next request.
fn read(reader: &mut impl BufRead) -> Option<(String, String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let target = head.split(' ').nth(1)?.to_owned();
    Some((target, head, String::from_utf8(body).ok()?))
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(": ")?;
        field.eq_ignore_ascii_case(name).then_some(value)
    })
}
