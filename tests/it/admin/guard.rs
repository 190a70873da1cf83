//! Who is told: no page of another origin, nobody by a name that a stranger could own.

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const DATA: [(&str, &str); 7] = [
    ("GET", "/overview"),
    ("GET", "/events"),
    ("GET", "/personas"),
    ("GET", "/upstreams"),
    ("GET", "/certificates"),
    ("GET", "/config"),
    ("POST", "/explain"),
];
const PAGE: [&str; 3] = ["/", "/page.css", "/page.js"];

/// Only the head: a feed has no end.
fn status(proxy: &Proxy, method: &str, path: &str, lines: &str) -> u16 {
    let lines = lines.replace('\n', "\r\n");
    let request = format!("{method} {path} HTTP/1.1\r\nContent-Length: 0\r\n{lines}\r\n\r\n");
    admin(proxy).send(request).read_head().unwrap().status
}

/// With a token, or without.
fn guarded(token: bool) -> Proxy {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let token =
        if token { format!("token = \"file:{}\"\n", file.display()) } else { String::new() };
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n{token}"
    );
    Proxy::configured(&text, "127.0.0.1:1".parse().unwrap())
}

#[test]
fn without_a_token_nothing_is_told_by_a_strangers_name_or_to_a_strangers_page() {
    let proxy = guarded(false);
    for (lines, expected) in [
        // A name whose owner points it here (DNS rebinding).
        ("Host: evil.example", 403),
        ("Host: evil.example\nOrigin: http://evil.example\nSec-Fetch-Site: same-origin", 403),
        ("Host: localhost.evil.example", 403),
        ("Host: 127.0.0.1.evil.example", 403),
        // A page somewhere else.
        ("Host: localhost\nOrigin: https://evil.example", 403),
        ("Host: localhost\nOrigin: null", 403),
        ("Host: localhost\nSec-Fetch-Site: cross-site", 403),
        ("Host: localhost\nSec-Fetch-Site: same-site", 403),
        ("Host: a\nHost: localhost", 400),
    ] {
        for (method, path) in DATA.into_iter().chain(PAGE.map(|path| ("GET", path))) {
            assert_eq!(status(&proxy, method, path, lines), expected, "{path} {lines}");
        }
    }
    for (method, path) in DATA {
        // An explanation of nothing is refused for what it is.
        let good = if method == "POST" { 415 } else { 200 };
        let lines = "Host: 127.0.0.1:9180\nOrigin: http://127.0.0.1:9180";
        assert_eq!(status(&proxy, method, path, lines), good, "{path}");
        // Nobody needs to open these.
        let opened = "Host: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n\
                      Sec-Fetch-Dest: document";
        assert_eq!(status(&proxy, method, path, opened), 403, "{path}");
    }
}

#[test]
fn a_link_to_the_page_opens_it_and_nothing_else_may_load_it() {
    let proxy = guarded(false);
    let link = "Host: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n";
    for (lines, expected) in [
        (format!("{link}Sec-Fetch-Dest: document"), 200),
        (format!("{link}Sec-Fetch-Dest: iframe"), 403),
        (format!("{link}Sec-Fetch-Dest: document\nOrigin: https://evil.example"), 403),
        ("Host: localhost\nSec-Fetch-Site: none\nSec-Fetch-Mode: navigate".to_owned(), 200),
        ("Host: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors".to_owned(), 403),
        // By a stranger's name not even so.
        (format!("{link}Sec-Fetch-Dest: document").replace("localhost", "evil.example"), 403),
    ] {
        assert_eq!(status(&proxy, "GET", "/", &lines), expected, "{lines}");
    }
}

#[test]
fn with_a_token_the_page_comes_without_it_and_data_does_not() {
    let proxy = guarded(true);
    let bearer = format!("Host: ops.example\nAuthorization: Bearer {TOKEN}");
    for (method, path) in DATA {
        for lines in ["Host: localhost", "Host: localhost\nAuthorization: Bearer wrong"] {
            assert_eq!(status(&proxy, method, path, lines), 401, "{path}");
        }
        let good = if method == "POST" { 415 } else { 200 };
        assert_eq!(status(&proxy, method, path, &bearer), good, "{path}");
        // Not by a page that somebody has told the token.
        let foreign = format!("{bearer}\nOrigin: https://evil.example");
        assert_eq!(status(&proxy, method, path, &foreign), 403, "{path}");
    }
    for path in PAGE {
        assert_eq!(status(&proxy, "GET", path, "Host: ops.example"), 200, "{path}");
    }
}
