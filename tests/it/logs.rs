//! The access log as an operator uses it: who asked, where to find them, a file that is moved away.

use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::firewall::browser::Browser;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::upgrade::process::Process;

const SECRET: &str = "a-session-secret-of-thirty-two-bytes";

/// Two tenants with a chat each, whose users have the same numbers.
fn text(folder: &Path, telemetry: &str) -> String {
    let chat = |tenant: &str| {
        format!(
            "[tenants.{tenant}.personas.chat]\nhosts = [\"{tenant}.test\"]\nupstream = \"app\"\n\
             user_id = \"required\"\ntrust_asserted = true\nmode = \"customer\"\n"
        )
    };
    format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         session_secrets = [\"file:{}/secret\"]\n[telemetry]\n{telemetry}\n\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n{}{}",
        folder.display(),
        chat("acme"),
        chat("shop"),
    )
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    folder
}

/// A launch of a user, an asset and a WebSocket of the session.
fn visit(proxy: &Proxy, host: &'static str, user: u32) {
    let mut browser = Browser::new(proxy, host);
    browser.open_in_tab(&format!("/?user_id={user}"));
    browser.fetch("/a.js");
    drop(browser.stream("/ws", ""));
}

/// The `user_id` of lines by host, of those that succeeded.
fn named(lines: &[Value], host: &str) -> Vec<Value> {
    let of_host = lines.iter().filter(|line| line["host"] == host && line["code"].is_null());
    of_host.map(|line| line["user_id"].clone()).collect()
}

fn log_id(configuration: &str, arguments: &[&str]) -> Output {
    let folder = folder();
    let file = folder.path().join("vestibule.toml");
    let configuration = configuration.replace("UPSTREAM", "127.0.0.1:1");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.args(["log-id", "-c"]).arg(&file).args(arguments).output().unwrap()
}

#[test]
fn whoever_asks_is_called_the_same_in_every_line_and_found_by_a_command() {
    let (upstream, folder) = (crate::firewall::reflecting(), folder());
    let text = text(folder.path(), "");
    let proxy = Proxy::configured(&text, upstream.address);
    visit(&proxy, "acme.test", 4711);
    visit(&proxy, "shop.test", 4711);
    Browser::new(&proxy, "acme.test").open_in_tab("/?user_id=word&x=4711");
    let lines = proxy.log(7);
    let (acme, shop) = (named(&lines, "acme.test"), named(&lines, "shop.test"));
    assert_eq!((acme.len(), shop.len()), (3, 3), "{lines:#?}");
    assert!(acme[0].is_string() && acme.iter().all(|name| *name == acme[0]), "{lines:#?}");
    assert!(shop[0].is_string() && shop.iter().all(|name| *name != acme[0]), "{lines:#?}");
    let refused = lines.iter().find(|line| line["code"] == "user_id_invalid").unwrap();
    assert_eq!(refused["user_id"], Value::Null);
    for line in &lines {
        assert!(!line.to_string().contains("4711"), "{line}");
    }
    let found = log_id(&text, &["acme", "4711"]);
    assert!(found.status.success(), "{found:?}");
    assert_eq!(format!("{}\n", acme[0].as_str().unwrap()), String::from_utf8_lossy(&found.stdout));
}

#[test]
fn a_request_that_is_refused_late_says_no_more_who_asked() {
    let folder = folder();
    // Where nobody listens any more.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::configured(&text(folder.path(), "user_id = \"plain\""), nobody);
    Browser::new(&proxy, "acme.test").open_in_tab("/?user_id=4711");
    let line = &proxy.log(1)[0];
    assert_eq!((&line["code"], &line["user_id"]), (&json!("upstream_unreachable"), &Value::Null));
}

#[test]
fn users_are_called_as_the_configuration_says_from_a_reload_on() {
    let (upstream, folder) = (Upstream::ok(), folder());
    let of = |word: &str| {
        let text = text(folder.path(), &format!("user_id = \"{word}\""));
        text.replace("UPSTREAM", &upstream.address.to_string())
    };
    let proxy = Proxy::configured(&of("plain"), upstream.address);
    for (index, (word, expected)) in
        [("plain", json!("4711")), ("off", Value::Null), ("plain", json!("4711"))]
            .iter()
            .enumerate()
    {
        proxy.reload(&of(word));
        Browser::new(&proxy, "acme.test").open_in_tab("/?user_id=4711");
        assert_eq!(proxy.log(index + 1)[index]["user_id"], *expected, "{word}");
    }
}

#[test]
fn where_nobody_can_be_found_the_command_says_why() {
    let folder = folder();
    let of = |telemetry: &str| text(folder.path(), telemetry);
    let check = |text: &str, arguments: &[&str], code: i32, why: &str| {
        let output = log_id(text, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(why) && output.stdout.is_empty(), "{said}");
    };
    check(&of(""), &["nobody", "1"], 2, "there is no tenant \"nobody\"");
    check(&of("user_id = \"off\""), &["acme", "1"], 1, "no line says who asked");
    let secrets = format!("session_secrets = [\"file:{}/secret\"]\n", folder.path().display());
    check(&of("").replace(&secrets, ""), &["acme", "1"], 1, "there are no server.session_secrets");
    let plain = log_id(&of("user_id = \"plain\""), &["acme", "1"]);
    assert_eq!(plain.stdout, b"1\n");
}

#[test]
fn a_file_that_is_moved_away_is_opened_anew_also_while_the_server_drains() {
    let (upstream, folder) = (crate::firewall::reflecting(), folder());
    let at = |name: &str| folder.path().join(name);
    let telemetry = format!("access_log = \"{}\"", at("access.log").display());
    let text = text(folder.path(), &telemetry).replace("UPSTREAM", &upstream.address.to_string());
    std::fs::write(at("vestibule.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.args(["run", "-c"]).arg(at("vestibule.toml"));
    let mut server = Process::serving(command);
    let mut browser = Browser::at(server.door(), "acme.test");
    browser.open_in_tab("/?user_id=4711");
    let (answer, socket) = browser.stream("/ws", "");
    assert_eq!(answer.status, 101, "{}", answer.head);
    server.signal(Signal::TERM);
    server.line("draining");
    std::fs::rename(at("access.log"), at("access.log.1")).unwrap();
    server.signal(Signal::USR1);
    server.line("the access log was opened anew");
    drop(socket);
    assert!(server.ended().success());
    let lines = |name: &str| std::fs::read_to_string(at(name)).unwrap().lines().count();
    let (before, after) = (lines("access.log.1"), lines("access.log"));
    assert!(before + after == 2 && after >= 1, "{before} and {after}");
}

#[test]
fn of_what_cannot_be_read_no_method_and_no_protocol_is_claimed() {
    let (upstream, folder) = (Upstream::ok(), folder());
    let proxy = Proxy::configured(&text(folder.path(), ""), upstream.address);
    for (index, (sent, code)) in [
        ("POST /a HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 1x\r\n\r\n", "framing_ambiguous"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", "request_malformed"),
        ("GET / HTTP/3.0\r\nHost: acme.test\r\n\r\n", "version_unsupported"),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = proxy.client().send(sent).read_response().unwrap();
        assert_eq!(refused.code(), code, "{sent:?}");
        let line = &proxy.log(index + 1)[index];
        assert_eq!((&line["method"], &line["code"]), (&json!("_OTHER"), &json!(code)), "{line}");
        assert_eq!(line["status"], refused.status);
        for absent in ["protocol", "host", "path", "trace_id"] {
            assert_eq!(line[absent], Value::Null, "{line}");
        }
    }
}

/// A post that is read whole before anything is decided.
fn posted(proxy: &Proxy, path: &str, media_type: &str, body: &str) {
    let lines = format!(
        "Content-Type: {media_type}\r\nSec-Fetch-Mode: {}\r\n",
        if path == "/" { "navigate" } else { "cors" }
    );
    Browser::new(proxy, "acme.test").ask("POST", path, &lines, body);
}

const READ_WHOLE: [(&str, &str); 3] = [
    ("/", "application/x-www-form-urlencoded"),
    ("/.vestibule/config", "application/json"),
    ("/.vestibule/beacon", "text/plain"),
];

#[test]
fn what_is_too_long_is_refused_by_its_name() {
    let (upstream, folder) = (Upstream::ok(), folder());
    let limits = "workers = 1\nlimits = { form_bytes = \"32KiB\" }\n";
    let text = text(folder.path(), "").replace("workers = 1\n", limits);
    let proxy = Proxy::configured(&text, upstream.address);
    let reasons = [
        "a form exceeds form_bytes",
        "what the bridge says exceeds 16 KiB",
        "a beacon exceeds 2 KiB",
    ];
    for (index, ((path, media_type), reason)) in READ_WHOLE.into_iter().zip(reasons).enumerate() {
        posted(&proxy, path, media_type, &"a".repeat(40_000));
        let line = &proxy.log(index + 1)[index];
        assert_eq!((&line["code"], &line["reason"]), (&json!("body_too_large"), &json!(reason)));
    }
}

#[test]
fn bodies_that_are_read_to_be_decided_about_are_counted() {
    let (upstream, folder) = (Upstream::ok(), folder());
    let proxy = Proxy::configured(&text(folder.path(), ""), upstream.address);
    for (index, (path, media_type)) in READ_WHOLE.into_iter().enumerate() {
        posted(&proxy, path, media_type, "user_id=4711");
        let line = &proxy.log(index + 1)[index];
        assert_eq!((&line["path"], &line["request_bytes"]), (&json!(path), &json!(12)), "{line}");
    }
}
