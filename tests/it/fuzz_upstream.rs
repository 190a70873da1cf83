//! Nearly valid messages through a running server: what arrives upstream is a clean sequence of
//! the requests that the codec accepts, and nothing else; a response arrives whole, or visibly not.
//!
//! The upstream here is an independent strict parser: httparse for lines, its own framing. Each
//! stream has a host of its own, by which what arrives is told apart; everything is judged after
//! the server has ended, when nothing can still be on its way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use vestibule::gate::path;

use crate::harness::proxy::Builder;
use crate::harness::upstream::{Conversation, Upstream};

#[path = "../fuzz/bodies/mod.rs"]
#[allow(dead_code, reason = "only the codec as functions is used here")]
mod bodies;
#[path = "../fuzz/grammar.rs"]
#[allow(dead_code, reason = "only messages are used here")]
mod grammar;

use bodies::codec::{Message, read};

const STREAMS: u32 = 1_500;
/// A client that waits for more than it sent is answered after this long.
const PATIENCE: Duration = Duration::from_millis(60);

/// A request as the upstream saw it.
#[derive(Debug)]
struct Seen {
    host: String,
    method: Method,
    target: String,
    body: Vec<u8>,
    whole: bool,
}

#[derive(Debug, Default)]
struct Record {
    seen: Vec<Seen>,
    violations: Vec<String>,
}

#[test]
fn only_accepted_requests_arrive_upstream_each_in_one_piece() {
    let record = Arc::new(Mutex::new(Record::default()));
    let inside = Arc::clone(&record);
    let upstream = Upstream::start(move |conversation| Strict::new(conversation, &inside).serve());
    let hosts: Vec<&'static str> = (0..STREAMS).map(|number| &*host(number).leak()).collect();
    let mut builder = Builder::default().with(|builder| {
        builder.limits.header_timeout = PATIENCE;
        builder.limits.body_timeout = PATIENCE;
        builder.limits.idle_timeout = PATIENCE;
    });
    for host in &hosts {
        builder = builder.persona(host, "/", &[upstream.address]);
    }
    let proxy = builder.start();

    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let strategy = (
        grammar::requests(&["chat.test"]),
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    )
        .boxed();
    let mut streams = HashMap::new();
    for host in hosts {
        let (stream, cuts) = strategy.new_tree(&mut runner).unwrap().current();
        let stream = [
            &replaced(&stream, b"chat.test", host.as_bytes())[..],
            // Where everything before was understood, this ends the connection at once.
            format!("GET /end HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        ]
        .concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut client = proxy.client();
        for piece in cuts.windows(2) {
            if !client.try_send(&stream[piece[0]..piece[1]]) {
                break;
            }
        }
        client.read_to_end();
        streams.insert(host, stream);
    }
    // With the server every connection to the upstream ends.
    drop(proxy);
    upstream.wait_until_idle();
    let record = record.lock().unwrap();
    assert!(record.violations.is_empty(), "{:#?}", record.violations);
    let mut arrived = 0;
    for (host, stream) in &streams {
        arrived += check(host, stream, &record.seen);
    }
    assert!(arrived > STREAMS as usize / 2, "only {arrived} requests arrived at all");
}

#[test]
fn a_client_sees_a_response_whole_exactly_where_it_was() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let strategy = grammar::response().boxed();
    let responses: Arc<Vec<Vec<u8>>> =
        Arc::new((0..STREAMS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect());
    let inside = Arc::clone(&responses);
    let upstream = Upstream::start(move |mut conversation| {
        let Some(request) = conversation.read_request() else { return };
        let number: usize = request.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        conversation.write(&inside[number][1..]);
    });
    let proxy = Builder::default().persona("chat.test", "/", &[upstream.address]).start();
    let mut whole = 0;
    for (number, response) in responses.iter().enumerate() {
        let method = match response[0] {
            b'H' => Method::HEAD,
            b'P' => Method::POST,
            _ => Method::GET,
        };
        let length = if method == Method::POST { "Content-Length: 0\r\n" } else { "" };
        let mut client = proxy.client();
        client.send(format!(
            "{method} /{number} HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\n{length}\r\n"
        ));
        let received = client.read_to_end();
        // A POST on a pooled connection that is just closing would be a 502, rightly.
        upstream.wait_until_idle();
        let sent = bodies::response::read(&response[1..], response.len(), &method);
        let seen = bodies::response::read(&received, received.len(), &method);
        let sound = match (&sent, &seen) {
            (Some(sent), Some(seen)) if sent.whole => sent == seen,
            (sent, Some(seen)) if seen.whole => {
                // Nothing of it was passed.
                seen.status == 502 && sent.as_ref().is_none_or(|sent| sent.status != 502)
            }
            (Some(sent), Some(seen)) => {
                sent.status == seen.status && sent.body.starts_with(&seen.body)
            }
            (_, None) => sent.is_some_and(|sent| !sent.whole),
            (None, Some(_)) => false,
        };
        let context =
            || format!("{}\nbecame {}", bodies::shown(response), bodies::shown(&received));
        assert!(sound, "{}", context());
        whole += u32::from(seen.is_some_and(|seen| seen.whole && seen.status != 502));
    }
    assert!(whole > STREAMS / 4, "only {whole} responses arrived whole");
}

/// Three characters that count and two that check them, so that a change of a byte or two does
/// not make one host from another. As long as `chat.test`.
fn host(number: u32) -> String {
    let digits = [number / 1296 % 36, number / 36 % 36, number % 36];
    let sum = digits.iter().sum::<u32>() % 36;
    let weighted = digits.iter().zip([1, 2, 3]).map(|(digit, weight)| digit * weight).sum::<u32>();
    let all = digits.into_iter().chain([sum, weighted % 31]);
    let name: String = all.map(|digit| char::from_digit(digit, 36).unwrap()).collect();
    format!("{name}.tst")
}

/// What arrived is a subsequence of what the codec accepts; the gate may have refused the others.
fn check(host: &str, stream: &[u8], seen: &[Seen]) -> usize {
    let (accepted, ending) = read(stream, stream.len());
    let context = || format!("{ending:?} {}", bodies::shown(stream));
    let mut accepted = accepted.iter();
    // A request that broke off is a connection's last, whenever its end was noticed.
    let arrived = seen.iter().filter(|seen| seen.host == host);
    let (whole, broken): (Vec<&Seen>, Vec<&Seen>) = arrived.partition(|seen| seen.whole);
    assert!(broken.len() <= 1, "{broken:?}: {}", context());
    let count = whole.len();
    for seen in whole.into_iter().chain(broken) {
        assert!(accepted.any(|sent| is_same(sent, seen)), "{seen:?} was not sent: {}", context());
    }
    count
}

fn is_same(sent: &Message, seen: &Seen) -> bool {
    let method = if sent.method == Method::CONNECT { return false } else { &sent.method };
    let uri: http::Uri = match sent.target.parse() {
        Ok(uri) => uri,
        // The gate takes some characters that http::Uri does not.
        Err(_) => return *method == seen.method,
    };
    if !uri.path().starts_with('/') {
        return false;
    }
    let Ok(path) = path::canonical(uri.path()) else { return false };
    let target = match uri.query() {
        None => path.into_owned(),
        Some(query) => format!("{path}?{query}"),
    };
    let body = if seen.whole {
        sent.whole && sent.body == seen.body
    } else {
        sent.body.starts_with(&seen.body)
    };
    *method == seen.method && target == seen.target && body
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut result = bytes.to_vec();
    let places: Vec<usize> = memchr::memmem::find_iter(bytes, from).collect();
    for at in places {
        result[at..at + from.len()].copy_from_slice(to);
    }
    result
}

/// One connection to the upstream, read as strictly as can be.
struct Strict<'r> {
    conversation: Conversation,
    record: &'r Mutex<Record>,
    buffer: Vec<u8>,
}

/// The connection ended inside a message.
struct Cut;

impl<'r> Strict<'r> {
    fn new(conversation: Conversation, record: &'r Mutex<Record>) -> Self {
        Self { conversation, record, buffer: Vec::new() }
    }

    fn serve(mut self) {
        while self.more() {
            if let Err(violation) = self.exchange() {
                let bytes = bodies::shown(&self.buffer);
                self.record.lock().unwrap().violations.push(format!("{violation}: {bytes}"));
                return;
            }
            if !self.buffer.is_empty() {
                let bytes = bodies::shown(&self.buffer);
                self.record.lock().unwrap().violations.push(format!("after a request: {bytes}"));
                return;
            }
        }
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        let count = self.conversation.read(&mut piece);
        self.buffer.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// One request and its answer.
    fn exchange(&mut self) -> Result<(), String> {
        let end = loop {
            match memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if !self.more() => return Err("a head broke off".into()),
                None => {}
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let (mut seen, framing) =
            parse(&head).map_err(|e| format!("{e} in {}", bodies::shown(&head)))?;
        let body = match framing {
            None => Ok(()),
            Some(Some(length)) => self.sized(length, &mut seen.body),
            Some(None) => self.chunked(&mut seen.body)?,
        };
        seen.whole = body.is_ok();
        let is_head = seen.method == Method::HEAD;
        let is_whole = seen.whole;
        self.record.lock().unwrap().seen.push(seen);
        if !is_whole {
            self.buffer.clear();
            return Ok(());
        }
        if !self.buffer.is_empty() {
            return Err("bytes before the answer".into());
        }
        self.conversation.write(if is_head {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        });
        Ok(())
    }

    fn sized(&mut self, length: usize, body: &mut Vec<u8>) -> Result<(), Cut> {
        while self.buffer.len() < length {
            if !self.more() {
                body.append(&mut self.buffer);
                return Err(Cut);
            }
        }
        body.extend(self.buffer.drain(..length));
        Ok(())
    }

    /// Hexadecimal sizes, no extensions, no white space.
    fn chunked(&mut self, body: &mut Vec<u8>) -> Result<Result<(), Cut>, String> {
        loop {
            let Some(line) = self.line()? else { return Ok(Err(Cut)) };
            let digits = line.iter().all(u8::is_ascii_hexdigit) && !line.is_empty();
            let text = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(&text, 16).ok().filter(|_| digits);
            let size = size.ok_or_else(|| format!("chunk size {text:?}"))?;
            if size == 0 {
                break;
            }
            if self.sized(size, body).is_err() {
                return Ok(Err(Cut));
            }
            match self.line()? {
                None => return Ok(Err(Cut)),
                Some(line) if line.is_empty() => {}
                Some(line) => return Err(format!("{line:?} after a chunk")),
            }
        }
        loop {
            match self.line()? {
                None => return Ok(Err(Cut)),
                Some(line) if line.is_empty() => return Ok(Ok(())),
                Some(line) => {
                    let name: Vec<u8> = line.iter().copied().take_while(|b| *b != b':').collect();
                    let text = String::from_utf8_lossy(&name).to_ascii_lowercase();
                    let sound = name.len() < line.len()
                        && !name.is_empty()
                        && name.iter().all(|b| b.is_ascii_graphic())
                        && !["host", "content-length", "transfer-encoding"].contains(&&*text)
                        && !text.starts_with("x-vestibule-");
                    if !sound {
                        return Err(format!("trailer {text:?}"));
                    }
                }
            }
        }
    }

    /// A line without its CRLF; `None` where the connection ends first.
    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                let line = line.strip_suffix(b"\r\n").ok_or("a bare line feed")?;
                return if line.contains(&b'\r') {
                    Err("a bare CR".into())
                } else {
                    Ok(Some(line.to_vec()))
                };
            }
            if !self.more() {
                return Ok(None);
            }
        }
    }
}

/// A request head, and its framing: none, a length, or chunked.
#[allow(clippy::option_option, reason = "no body, a length, or chunks")]
fn parse(head: &[u8]) -> Result<(Seen, Option<Option<usize>>), String> {
    let bare = |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
    if (0..head.len()).any(bare) {
        return Err("a bare line feed".into());
    }
    let mut lines = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        other => return Err(format!("{other:?}")),
    }
    let values = |name: &str| -> Vec<String> {
        let lines = request.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        lines.map(|line| String::from_utf8_lossy(line.value).into_owned()).collect()
    };
    for name in ["host", "x-request-id", "x-forwarded-for", "forwarded"] {
        if values(name).len() != 1 {
            return Err(format!("{} times {name}", values(name).len()));
        }
    }
    if request.version != Some(1) {
        return Err("another version".into());
    }
    let ours = |name: &str| name.to_ascii_lowercase().replace('_', "-").starts_with("x-vestibule-");
    let said: Vec<_> = request.headers.iter().filter(|line| ours(line.name)).collect();
    // What the proxy says of an anonymous request, and of a launch: nothing of it the client's.
    let expected = ["Tenant", "Persona", "Mode", "Assurance", "Session"];
    let names = said.iter().map(|line| line.name.trim_start_matches("X-Vestibule-"));
    let is_ours = names.eq(expected[..said.len().min(5)].iter().copied())
        && said.len() >= 4
        && said.iter().all(|line| line.value != b"admin" && line.value != b"b");
    if !is_ours {
        return Err("an identity that is not ours".into());
    }
    let framing = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => None,
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Some(length.parse().map_err(|_| "length")?))
        }
        ([], [coding]) if coding == "chunked" => Some(None),
        other => return Err(format!("framing {other:?}")),
    };
    let seen = Seen {
        host: values("host").remove(0),
        method: request.method.and_then(|m| m.parse().ok()).ok_or("method")?,
        target: request.path.unwrap_or_default().to_owned(),
        body: Vec::new(),
        whole: false,
    };
    Ok((seen, framing))
}
