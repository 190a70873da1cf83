//! Nearly valid HTTP: messages that are mostly sound, from lists of everything that parsers are
//! known to disagree about, and a few bytes changed afterwards. Random bytes would be refused at
//! the first line.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const METHODS: &[&str] = &[
    "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "CONNECT", "TRACE", "M-SEARCH",
    "get", "GE T", "G\tET", "", "PRI", "GET\0", "POST:",
];
const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/a/b?c=d",
    "/%61?x",
    "/a;b",
    "http://chat.test/x",
    "https://chat.test",
    "*",
    "chat.test:443",
    "//",
    "/a/../b",
    "/%2e%2e/",
    "/a%2fb",
    "/a\\b",
    "/?a#b",
    "",
    "/a b",
    "/\u{e9}",
    "http://other.test/",
    "/chat/sales",
    "/chat/sales/lobby/x",
    "/a|b^{c}`",
    "/%",
    "?a=b",
    "/a\"",
];
const VERSIONS: &[&str] =
    &["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "", "HTTP/1.10"];
const FIELDS: &[&str] = &[
    "Accept: */*\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: keep-alive, close\r\n",
    "Connection: close\r\nConnection: keep-alive\r\n",
    "Connection: X-Secret, TE\r\nX-Secret: 1\r\n",
    "Connection: Content-Length\r\n",
    "Connection: host\r\n",
    "Connection: x-request-id, x-forwarded-for\r\n",
    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Upgrade: websocket\r\n",
    "Proxy-Connection: keep-alive\r\n",
    "Keep-Alive: timeout=5\r\n",
    "TE: trailers\r\n",
    "TE: gzip, trailers;q=0.5\r\n",
    "Trailer: X-Sum\r\n",
    "Expect: 100-continue\r\n",
    "Expect: 200-ok\r\n",
    "Host: chat.test\r\n",
    "Host: other.test\r\n",
    "host:chat.test \r\n",
    "Host:\r\n",
    "X-Request-Id: theirs\r\n",
    "X_Request_Id: theirs\r\n",
    "X-Forwarded-For: 1.2.3.4\r\n",
    "X_Forwarded_For: 1.2.3.4\r\n",
    "X-Forwarded-Host: evil.test\r\n",
    "Forwarded: for=1.2.3.4\r\n",
    "X-Vestibule-User-Id: admin\r\n",
    "x-vestibule_user-id: admin\r\n",
    "X_Vestibule_User_Id: admin\r\n",
    "Proxy: http://evil.test\r\n",
    "Cookie: a=b\r\nCookie: c=d\r\n",
    "A: b\r\n c\r\n",
    "A : b\r\n",
    " A: b\r\n",
    ": b\r\n",
    "A\r\n",
    "A: b\rc\r\n",
    "A: b\nC: d\r\n",
    "A: \u{e9}\r\n",
    "A:\r\n",
    "A: b\0\r\n",
    "A: b\x7f\r\n",
    "A\u{e9}: b\r\n",
    "A: b",
];
/// Framing that at least one known parser reads in its own way, with a body.
const FRAMINGS: &[(&str, &str)] = &[
    ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
    ("Content-Length: 5, 5\r\n", "hello"),
    ("Content-Length: 05\r\n", "hello"),
    ("Content-Length: +5\r\n", "hello"),
    ("Content-Length: 5 \r\n", "hello"),
    ("Content-Length:\t5\r\n", "hello"),
    ("Content-Length: 0x5\r\n", "hello"),
    ("Content-Length: 5\x0b\r\n", "hello"),
    ("Content-Length: -1\r\n", ""),
    ("Content-Length:\r\n", ""),
    ("Content-Length: 18446744073709551617\r\n", "h"),
    ("Content_Length: 5\r\n", "hello"),
    ("Content-Length : 5\r\n", "hello"),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: identity\r\n", ""),
    ("Transfer-Encoding: gzip\r\n", ""),
    ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
    ("Transfer_Encoding: chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0\r\nGET /inner HTTP/1.1\r\nHost: chat.test\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0\r\nX: y\n\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 50\r\nHost: evil\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0\r\n\n"),
    ("Transfer-Encoding: chunked\r\n", "0\r\n"),
    ("Content-Length: 10\r\n", "short"),
];
/// How a chunk's size may be written, and the end of its line.
const SIZES: &[(&str, &str)] =
    &[("", ""), ("0", ""), (" ", ""), ("", " "), ("0x", ""), ("+", ""), ("00000000000000000", "")];
const EXTENSIONS: &[&str] =
    &["", ";a=b", ";", ";a=\"b;c\"", " ;a", ";a\rb", ";a\nb", ";\x01", ";a=\"\r\n\""];
const LINE_ENDS: &[&str] = &["\r\n", "\n", "\r", "\r\r\n", "", "\n\r"];
const TRAILERS: &[&str] = &[
    "",
    "X-Sum: 7\r\n",
    "Content-Length: 3\r\n",
    "Host: x\r\n",
    " a\r\n",
    "X\r\n",
    "X-Vestibule-A: b\r\n",
    "X: y\n",
    "GET /in HTTP/1.1\r\n",
    "X: y\r\n z\r\n",
];
const SNIPPETS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "0\r\n\r\n",
    "\x0b",
    "\x0c",
    "\u{80}",
    "%2f",
    "..",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n\r\n",
    "1",
    "f",
    "GET /in HTTP/1.1\r\nHost: chat.test\r\n\r\n",
];
const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 404 \r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 205 Reset\r\n",
    "HTTP/1.1 200\r\n",
    "HTTP/1.1 599 X\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.1 999 X\r\n",
    "HTTP/1.1 099 X\r\n",
    "HTTP/1.1 20 X\r\n",
    "HTTP/1.1  200 OK\r\n",
    "HTTP/2 200 OK\r\n",
    "ICY 200 OK\r\n",
    "HTTP/1.1 200 \u{e9}\r\n",
    "HTTP/1.1 200 O\tK\r\n",
    "HTTP/1.1 200 OK\n",
    "\r\nHTTP/1.1 200 OK\r\n",
];
const INTERIM: &[&str] = &[
    "",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "HTTP/1.1 102 X\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.0 100 Continue\r\n\r\n",
    "HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n",
];

/// The first of `list` nine times out of ten.
fn mostly(list: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![9 => Just(list[0]), 1 => select(list)]
}

/// A client's connection: requests to one of `hosts`, some of them spoiled.
pub fn requests(hosts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    (vec(request(hosts), 1..4), spoiling())
        .prop_map(|(requests, spoiling)| spoil(requests.concat(), &spoiling))
}

fn request(hosts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![8 => select(&METHODS[..4]), 1 => select(METHODS)];
    let target = prop_oneof![8 => select(&TARGETS[..7]), 1 => select(TARGETS)];
    let host = prop_oneof![
        19 => select(hosts).prop_map(|host| format!("Host: {host}\r\n")),
        1 => Just(String::new()),
    ];
    let lines = prop_oneof![
        4 => vec(select(&FIELDS[..1]), 0..2),
        4 => vec(select(&FIELDS[..34]), 0..4),
        1 => vec(select(FIELDS), 0..3),
    ];
    let trail = prop_oneof![9 => Just(""), 1 => select(&["\r\n", "\r\n\r\n", "\n"][..])];
    (method, target, mostly(VERSIONS), host, lines, framing(), trail).prop_map(
        |(method, target, version, host, lines, (framing, body), trail)| {
            let mut wire =
                format!("{method} {target} {version}\r\n{host}{}{framing}\r\n", lines.concat())
                    .into_bytes();
            wire.extend_from_slice(&body);
            wire.extend_from_slice(trail.as_bytes());
            wire
        },
    )
}

/// Framing fields and the body that goes with them.
fn framing() -> impl Strategy<Value = (String, Vec<u8>)> {
    prop_oneof![
        4 => Just((String::new(), Vec::new())),
        3 => data().prop_map(|data| (format!("Content-Length: {}\r\n", data.len()), data)),
        3 => chunked().prop_map(|body| ("Transfer-Encoding: chunked\r\n".to_owned(), body)),
        1 => select(FRAMINGS).prop_map(|(fields, body)| (fields.to_owned(), body.into())),
    ]
}

/// Data that looks like framing as often as not.
fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        select(SNIPPETS).prop_map(|snippet| snippet.as_bytes().to_vec()),
    ]
}

/// A chunked body, mostly sound.
pub fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let odd = || prop_oneof![19 => Just(("", "")), 1 => select(SIZES)];
    let chunk = (data(), odd(), mostly(EXTENSIONS), odd_end(), odd_end());
    let last = (odd(), mostly(EXTENSIONS), odd_end(), mostly(TRAILERS), odd_end());
    (vec(chunk, 0..4), last).prop_map(|(chunks, last)| {
        let mut wire = Vec::new();
        for (data, (before, after), extension, end, data_end) in chunks {
            if data.is_empty() {
                continue;
            }
            let size = data.len();
            wire.extend_from_slice(format!("{before}{size:x}{after}{extension}{end}").as_bytes());
            wire.extend_from_slice(&data);
            wire.extend_from_slice(data_end.as_bytes());
        }
        let ((before, after), extension, end, trailers, final_end) = last;
        wire.extend_from_slice(
            format!("{before}0{after}{extension}{end}{trailers}{final_end}").as_bytes(),
        );
        wire
    })
}

fn odd_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![39 => Just(LINE_ENDS[0]), 1 => select(LINE_ENDS)]
}

/// An upstream's connection, after the letter that tells the request's method.
pub fn response() -> impl Strategy<Value = Vec<u8>> {
    let status = prop_oneof![6 => select(&STATUS_LINES[..8]), 1 => select(STATUS_LINES)];
    let interim = vec(select(INTERIM), 0..3);
    let fields = vec(select(FIELDS), 0..2);
    let after = prop_oneof![3 => Just(Vec::new()), 1 => data()];
    (select(&b"GGGHP"[..]), interim, status, fields, framing(), after, spoiling()).prop_map(
        |(method, interim, status, fields, (framing, body), after, spoiling)| {
            let head = format!("{}{status}{}{framing}\r\n", interim.concat(), fields.concat());
            let wire = [head.as_bytes(), &body, &after].concat();
            [vec![method], spoil(wire, &spoiling)].concat()
        },
    )
}

/// Text that is nearly a host or, behind its slash, nearly a path.
pub fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        "([a-z.:%/;\\\\-]|%[0-9a-fA-F]{2}|\\.\\.|%2[ef]|%5[cC]|%c3%a9|[\\x00-\\x7f]){0,16}",
        "([a-zA-Z0-9_.-]{1,8}\\.?){1,3}(:[0-9]{0,6})?",
        "\\[[0-9a-f:.]{0,12}\\](:[0-9]{1,5})?",
    ]
}

/// A change of a few bytes somewhere.
#[derive(Debug, Clone)]
enum Spoil {
    Insert(Index, &'static str),
    Replace(Index, u8),
    Delete(Index),
    Cut(Index),
    /// Repeat so many bytes.
    Double(Index, u8),
}

fn spoiling() -> impl Strategy<Value = Vec<Spoil>> {
    let spoil = prop_oneof![
        4 => (any::<Index>(), select(SNIPPETS)).prop_map(|(at, what)| Spoil::Insert(at, what)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Spoil::Replace(at, byte)),
        2 => any::<Index>().prop_map(Spoil::Delete),
        1 => any::<Index>().prop_map(Spoil::Cut),
        1 => (any::<Index>(), 1_u8..40).prop_map(|(at, count)| Spoil::Double(at, count)),
    ];
    prop_oneof![1 => Just(Vec::new()), 1 => vec(spoil, 1..3)]
}

fn spoil(mut wire: Vec<u8>, spoiling: &[Spoil]) -> Vec<u8> {
    for spoil in spoiling {
        let place = |at: &Index| at.index(wire.len().max(1)).min(wire.len());
        match spoil {
            Spoil::Insert(at, what) => {
                let at = place(at);
                wire.splice(at..at, what.bytes());
            }
            Spoil::Replace(at, byte) => {
                let at = place(at);
                if let Some(old) = wire.get_mut(at) {
                    *old = *byte;
                }
            }
            Spoil::Delete(at) => {
                let at = place(at);
                if at < wire.len() {
                    wire.remove(at);
                }
            }
            Spoil::Cut(at) => {
                let at = place(at);
                wire.truncate(at);
            }
            Spoil::Double(at, count) => {
                let at = place(at);
                let end = (at + usize::from(*count)).min(wire.len());
                let copy = wire[at..end].to_vec();
                wire.splice(at..at, copy);
            }
        }
    }
    wire
}

/// A source expression, or nearly one.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "'self'", "'none'", "*", "https:", "http:", "data:", "'unsafe-inline'", "'nonce-abc'",
            "'strict-dynamic'", "https://chat.example", "HTTPS://CHAT.example", "a.example",
            "https://chat.example/.vestibule/embed.js", "allow-scripts", "/report",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
        1 => "\\PC{0,3}",
    ]
}

/// Policies of an upstream, nearly valid; a line that begins with R only reports.
pub fn policy_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => prop::sample::select(vec![
            "frame-src", "FRAME-SRC", "child-src", "default-src", "script-src", "script-src-elem",
            "connect-src", "frame-ancestors", "Frame-Ancestors", "sandbox", "img-src", "report-uri",
        ]).prop_map(str::to_owned),
        1 => "[a-zA-Z-]{0,6}",
    ];
    let space = prop::sample::select(vec![" ", "  ", "\t", "\x0c", " \r"]);
    let directive = (name, space, prop::collection::vec(word(), 0..5))
        .prop_map(|(name, space, words)| format!("{name}{space}{}", words.join(space)));
    let separator = prop::sample::select(vec![";", "; ", " ;; ", ",", ", ", "\n", "\nR"]);
    prop::collection::vec((directive, separator), 0..8)
        .prop_map(|parts| parts.into_iter().map(|(text, end)| text + end).collect())
}
