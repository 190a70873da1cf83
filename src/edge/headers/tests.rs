use super::*;
use crate::gate::target;
use crate::http1::head::{RequestHead, Version};
use crate::pipeline::{ConnectionFacts, Dress, Forward, Scheme};

fn sent(connection: &ConnectionFacts, lines: &[(&str, &str)], version: Version) -> Vec<String> {
    let mut head = RequestHead { target: "/in".into(), version, ..RequestHead::default() };
    for (name, value) in lines {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    head.connection.nominates = lines.iter().any(|(name, _)| *name == "Connection");
    let address = target::address(&head).unwrap();
    let forward = Forward {
        target: "/out?q".into(),
        websocket: None,
        passport: None,
        subprotocols: None,
        supplies_xsrf: false,
        dress: Dress::default(),
    };
    let mut out = Vec::new();
    write_request(
        &mut out,
        &Outbound {
            head: &head,
            address: &address,
            forward: &forward,
            connection,
            request_id: b"id",
            trace: None,
            websocket_key: None,
            cookies: None,
            xsrf: None,
        },
        |_| (),
    );
    String::from_utf8(out).unwrap().split("\r\n").map(str::to_owned).collect()
}

fn stranger() -> ConnectionFacts {
    ConnectionFacts {
        client: "192.0.2.7".parse().unwrap(),
        trusted: false,
        scheme: Scheme::Https,
        server_name: None,
    }
}

const OURS: [&str; 5] = [
    "X-Forwarded-For: 192.0.2.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: A.example:8443",
    "Forwarded: for=192.0.2.7;host=\"A.example:8443\";proto=https",
    "X-Request-Id: id",
];

#[test]
fn a_strangers_word_about_itself_is_replaced() {
    let lines = sent(
        &stranger(),
        &[
            ("Host", "A.example:8443"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("X-Forwarded-Proto", "gopher"),
            ("X-Forwarded-Port", "1"),
            ("X-Real-IP", "1.2.3.4"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Request-Id", "mine"),
            ("X-Vestibule-User-Id", "1"),
            ("x_vestibule_user_id", "1"),
            ("Proxy", "http://evil"),
            ("Connection", "X-Secret, X-Forwarded-For"),
            ("X-Secret", "hop"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "gzip"),
            ("aCCept", "*/*"),
        ],
        Version::Http11,
    );
    let mut expected = vec!["GET /out?q HTTP/1.1", "Host: A.example:8443", "aCCept: */*"];
    expected.extend(OURS);
    expected.extend(["", ""]);
    assert_eq!(lines, expected);
}

#[test]
fn a_trusted_proxy_is_believed_and_named() {
    let mut connection = stranger();
    connection.trusted = true;
    let lines = sent(
        &connection,
        &[
            ("Host", "a"),
            ("X-Forwarded-For", "203.0.113.1"),
            ("X-Forwarded-For", "203.0.113.2"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "b"),
            ("Forwarded", "for=203.0.113.1"),
        ],
        Version::Http11,
    );
    assert_eq!(
        &lines[2..6],
        [
            "X-Forwarded-For: 203.0.113.1, 203.0.113.2, 192.0.2.7",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: b",
            "Forwarded: for=203.0.113.1, for=192.0.2.7;host=\"a\";proto=https",
        ]
    );
}

#[test]
fn split_cookies_of_http2_are_joined() {
    let lines =
        sent(&stranger(), &[("Host", "a"), ("cookie", "x=1"), ("cookie", "y=2")], Version::Http2);
    assert_eq!(lines[2], "Cookie: x=1; y=2");
}
