//! Upstreams: plain blocking threads that do exactly what a test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::PATIENCE;

/// A listening upstream; it ends with the test's process.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
    talking: Arc<AtomicUsize>,
}

/// One connection to it.
pub struct Conversation {
    stream: TcpStream,
    received: Arc<Mutex<Vec<u8>>>,
    pub number: usize,
}

impl Upstream {
    /// Runs `talk` for each connection.
    pub fn start(talk: impl Fn(Conversation) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            connections: Arc::default(),
            talking: Arc::default(),
        };
        let (inside, talk) = (upstream.clone(), Arc::new(talk));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let number = inside.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let received = Arc::clone(&inside.received);
                let talk = Arc::clone(&talk);
                let talking = Arc::clone(&inside.talking);
                talking.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    talk(Conversation { stream, received, number });
                    talking.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        upstream
    }

    /// Answers every request with the same bytes and keeps the connection open.
    pub fn answering(response: &'static [u8]) -> Self {
        Self::start(move |mut conversation| {
            while conversation.read_request().is_some() {
                conversation.write(response);
            }
        })
    }

    /// Answers 200 with a small body.
    pub fn ok() -> Self {
        Self::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// Accepts a WebSocket, says "first", echoes, and says "bye" at the end.
    pub fn echoing() -> Self {
        Self::start(|mut conversation| {
            conversation.accept_websocket(b"first");
            let mut buffer = [0; 64 * 1024];
            loop {
                match conversation.read(&mut buffer) {
                    0 => break conversation.write(b"bye"),
                    count => conversation.write(&buffer[..count]),
                }
            }
        })
    }

    /// Answers one request a connection with 200, once it is told to.
    pub fn ok_when_told() -> (Self, Sender<()>) {
        let (go, told) = channel();
        let told = Mutex::new(told);
        let upstream = Self::start(move |mut conversation| {
            conversation.read_request();
            told.lock().unwrap().recv().unwrap();
            conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        (upstream, go)
    }

    /// Everything that was ever received, over all connections.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }

    pub fn received_bytes(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until every conversation has ended.
    pub fn wait_until_idle(&self) {
        let until = Instant::now() + PATIENCE;
        while self.talking.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < until, "connections to the upstream are still open");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Waits until what was received satisfies `enough`.
    pub fn wait_for(&self, enough: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let received = self.received();
            if enough(&received) {
                return received;
            }
            assert!(Instant::now() < until, "the upstream has only seen {received:?}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Conversation {
    /// Reads a head and, by its Content-Length, a body; `None` at the end of the connection.
    pub fn read_request(&mut self) -> Option<String> {
        let mut request = Vec::new();
        let mut byte = [0; 1];
        while !request.ends_with(b"\r\n\r\n") {
            if self.read(&mut byte) == 0 {
                return None;
            }
            request.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        let mut at = 0;
        while at < length {
            match self.read(&mut body[at..]) {
                0 => return None,
                count => at += count,
            }
        }
        request.extend_from_slice(&body);
        Some(String::from_utf8_lossy(&request).into_owned())
    }

    /// Reads until the other side ends.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            match self.read(&mut buffer) {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.stream.read(buffer).unwrap_or(0);
        self.received.lock().unwrap().extend_from_slice(&buffer[..count]);
        count
    }

    /// Reads exactly that many bytes.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count {
            match self.read(&mut bytes[at..]) {
                0 => break,
                more => at += more,
            }
        }
        bytes.truncate(at);
        bytes
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // The proxy may have hung up, which is what some tests want.
        let _ = self.stream.write_all(bytes);
    }

    /// Completes a WebSocket handshake, `more` in the same write.
    pub fn accept_websocket(&mut self, more: &[u8]) {
        let request = self.read_request().unwrap();
        self.switch(&request, "", more);
    }

    /// The same for a request that was read; `fields` are lines with their ends.
    pub fn switch(&mut self, request: &str, fields: &str, more: &[u8]) {
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = vestibule::upstream::forward::websocket_accept(key.unwrap().as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: b\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n{fields}\r\n"
        )
        .into_bytes();
        answer.extend_from_slice(more);
        self.write(&answer);
    }

    pub fn shutdown_write(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}
