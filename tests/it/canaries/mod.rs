//! Secrets go in everywhere, on every way that ends in a refusal, and come out nowhere: not in the
//! access log, on standard output or error, in spans, metrics, what an operator reads, or the pages
//! and documents that say no.
//!
//! The program is the real one, with everything switched on that can say something and the variables
//! set that make Rust programs talk. There are no log levels: what it is built of cannot log at all
//! (`tests/layers.py`), so that the most that it says is what it says here.

mod requests;
mod secrets;
mod stage;
mod wrong;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use vestibule::rejection::Code;

use crate::firewall::signed::{now, signed};
use crate::harness::client::{Client, Response};
use crate::harness::h2;
use requests::{FRAME, cases, fields, frame, get, request, websocket};
use secrets::{MARK, NUMBERS, Needles, SIGNING};
use stage::{PATIENCE, Stage};

/// Refusals that are not provoked here, and why not.
const UNPROVOKED: &[(Code, &str)] = &[
    (Code::Internal, "nobody knows how"),
    (Code::ReplayMemoryFull, "needs 57,344 signed launches of one tenant"),
];

/// What an operator can read.
const ADMIN: &[&str] = &[
    "/healthz",
    "/readyz",
    "/status",
    "/metrics",
    "/connections",
    "/connections?each=true",
    "/overview",
    "/events",
    "/personas",
    "/upstreams",
    "/certificates",
    "/config",
    "/",
    "/page.js",
];

/// What came of it so far.
struct Tour {
    stage: Stage,
    needles: Needles,
    seen: BTreeSet<&'static str>,
    /// What is wrong, all of it.
    problems: Vec<String>,
}

impl Tour {
    /// A refusal that was provoked; it says nothing that it should not.
    fn refused(&mut self, code: Code, what: &str, response: &Response) {
        let said = code_of(response);
        if said.as_deref() != Some(code.as_str()) {
            let (status, text) = (response.status, response.text());
            self.problems.push(format!("{what}: not {code:?} but {status} {text}"));
        }
        self.says_nothing(what, response);
    }

    fn says_nothing(&mut self, what: &str, response: &Response) {
        let Some(code) = code_of(response) else { return };
        self.seen.extend(Code::ALL.iter().map(|it| it.as_str()).find(|it| **it == *code));
        let whole = [response.head.as_bytes(), &response.body].concat();
        if let Some(found) = self.needles.find(&whole) {
            self.problems.push(format!("{what}: the refusal {code} has {found:?}"));
        }
    }

    fn ask(&mut self, code: Code, request: &str) -> Response {
        let mut client = self.stage.client();
        client.try_send(request);
        let response = client.read_response().unwrap_or_else(|| panic!("no answer to {request}"));
        self.refused(code, first_line(request), &response);
        response
    }

    /// Not refused, or not by us.
    fn passes(&mut self, request: &str) -> Response {
        let mut client = self.stage.client();
        let response = client.send(request).read_head().unwrap();
        if code_of(&response).is_some() {
            self.problems.push(format!("{}: refused, {}", first_line(request), response.head));
        }
        response
    }

    /// A capability that the server has made.
    fn learn(&mut self, response: &Response) {
        for line in response.head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let secret = match name.to_ascii_lowercase().as_str() {
                "set-cookie" if value.contains("vestibule") => {
                    value.split(['=', ';']).nth(1).unwrap_or_default()
                }
                "location" => match value.split_once("/.v/") {
                    Some((_, token)) => token.split('/').next().unwrap_or_default(),
                    None => continue,
                },
                _ => continue,
            };
            if secret.len() >= 32 {
                self.needles.learn(secret);
            }
        }
    }
}

fn first_line(request: &str) -> &str {
    let line = request.lines().next().unwrap_or_default();
    &line[..line.floor_char_boundary(120)]
}

/// Of a problem document or of the page that says the same.
fn code_of(response: &Response) -> Option<String> {
    let is_ours = response.field("content-type").is_some_and(|kind| kind.contains("problem+json"));
    let text = response.text();
    if is_ours {
        let problem: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
        return problem["code"].as_str().map(str::to_owned);
    }
    if text.contains("This browser keeps no cookies for the chat") {
        // A page of its own, for people who can do something about it.
        return Some(Code::CookiesRequired.as_str().to_owned());
    }
    let code = text.split("<code>").nth(1)?.split("</code>").next()?;
    Some(code.to_owned())
}

#[test]
fn nothing_that_the_program_is_built_of_can_log() {
    assert_eq!(log::STATIC_MAX_LEVEL, log::LevelFilter::Off);
    assert_eq!(tracing::level_filters::STATIC_MAX_LEVEL, tracing::level_filters::LevelFilter::OFF);
}

#[test]
fn no_secret_comes_out_on_any_way_that_ends_in_a_refusal() {
    let stage = Stage::start();
    let mut tour =
        Tour { stage, needles: Needles::new(), seen: BTreeSet::new(), problems: Vec::new() };
    let known = tour.needles.count();
    served(&mut tour);
    assert!(tour.needles.count() > known, "no capability was made");
    for case in cases() {
        tour.ask(case.code, &case.request);
        // As somebody navigates who had asked in another way; whatever comes of that.
        let (line, rest) = case.request.split_once("\r\n").unwrap();
        let navigates = format!("{line}\r\n{FRAME}{rest}");
        let mut client = tour.stage.client();
        client.try_send(navigates);
        if let Some(response) = client.read_head() {
            let length = response.field("content-length").and_then(|it| it.parse().ok());
            let body = client.read_exactly(length.unwrap_or(0));
            tour.says_nothing(first_line(&case.request), &Response { body, ..response });
        }
    }
    by_and_by(&mut tour);
    forms(&mut tour);
    sessions(&mut tour);
    other_doors(&mut tour);
    operators(&mut tour);
    stopping(&mut tour);
    everything_said(&mut tour);
    let missing: Vec<_> = Code::ALL
        .iter()
        .filter(|code| !tour.seen.contains(code.as_str()))
        .filter(|code| UNPROVOKED.iter().all(|(other, _)| other != *code))
        .collect();
    assert!(missing.is_empty(), "not provoked: {missing:?}; {:#?}", tour.problems);
    assert!(tour.problems.is_empty(), "{:#?}", tour.problems);
}

/// What is not refused has secrets too.
fn served(tour: &mut Tour) {
    let [user, second, third] = NUMBERS;
    for path in ["/a", "/broken", "/moved", "/cut", "/_stcore/upload_file/x/y"] {
        tour.passes(&get("plain", &format!("{path}?t={MARK}-query")));
    }
    let launch = tour.passes(&frame("chat", &format!("/?user_id={user}&t={MARK}")));
    tour.learn(&launch);
    let whole = [("user_id", second), ("t", MARK)];
    let query = signed(SIGNING, &whole, now());
    let launch = tour.passes(&frame("signed", &format!("/?{query}")));
    tour.learn(&launch);
    tour.needles.learn(query.rsplit('=').next().unwrap());
    tour.ask(Code::SignatureReplayed, &frame("signed", &format!("/?{query}")));
    let prefill = format!(r#"[{{"role":"user","type":"message","content":"{MARK}"}}]"#);
    let form = format!("user_id={third}&prefillMessages={prefill}");
    let launch = tour.passes(&requests::form("injected", &format!("/?plan={MARK}"), &form));
    tour.learn(&launch);
    let times = r#""shown":1,"ready":2,"config":3,"ended":4"#;
    let beacon = format!(r#"{{"v":1,{times},"outcome":"error","error":"{MARK}"}}"#);
    tour.passes(&requests::beacon(&beacon));
    tour.passes(&request(
        "GET",
        "plain",
        &format!("/ws?t={MARK}"),
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "",
    ));
}

/// What needs more than one request, or time.
fn by_and_by(tour: &mut Tour) {
    let slow = format!("GET /?t={MARK} HTTP/1.1\r\nHost: plain.test\r\nX-Key: {MARK}");
    tour.ask(Code::RequestTimeout, &slow);
    tour.passes(&frame("tight", &format!("/?t={MARK}")));
    tour.ask(Code::RateLimited, &frame("tight", &format!("/?t={MARK}")));
    let cookie = cookies(&tour.passes(&frame("strict", "/")));
    let asset = get("strict", &format!("/a.js?t={MARK}"));
    let asset = asset.replacen("Cookie: ", &format!("Cookie: {cookie}; "), 1);
    tour.ask(Code::IdentityIncomplete, &asset);
    let mut first = tour.stage.client();
    first.send(get("narrow", &format!("/silent?t={MARK}")));
    tour.stage.app.wait_for(|seen| seen.contains("/silent"));
    let until = Instant::now() + PATIENCE;
    while code_of(&tour.stage.client().send(get("narrow", "/a")).read_response().unwrap()).is_none()
    {
        assert!(Instant::now() < until, "there is room all the time");
    }
    tour.ask(Code::UpstreamOverloaded, &get("narrow", &format!("/a?t={MARK}")));
    drop(first);
}

fn cookies(response: &Response) -> String {
    let lines = response.head.lines().filter_map(|line| line.split_once(": "));
    let set = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let pairs: Vec<_> = set.filter_map(|(_, value)| value.split(';').next()).collect();
    pairs.join("; ")
}

/// More forms than a tenant's memory holds, all of them on their way.
fn forms(tour: &mut Tour) {
    const MOST: usize = 64 << 20;
    const EACH: usize = 1_600_000;
    let form = requests::form("injected", "/", "");
    let form = form.replacen("\r\n\r\n", &format!("\r\nContent-Length: {}\r\n\r\n", EACH + 1), 1);
    let text = [&*form, &MARK.repeat(EACH / MARK.len() + 1)[..EACH]].concat();
    let begun = |stage: &Stage| {
        let mut client = stage.client();
        client.try_send(&text);
        client
    };
    let held: Vec<_> = (0..MOST / EACH).map(|_| begun(&tour.stage)).collect();
    let is_forms = |line: &&str| {
        line.starts_with("vestibule_store_size_bytes{")
            && line.contains("\"forms\"")
            && line.contains("\"acme\"")
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let metrics = tour.stage.ask_admin("GET", "/metrics", "").text();
        let line = metrics.lines().find(is_forms).unwrap_or_default();
        let read = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if read.is_some_and(|read| read >= (held.len() * EACH) as f64) {
            break;
        }
        assert!(Instant::now() < until, "only {line:?}");
    }
    let refused = begun(&tour.stage).read_response().unwrap();
    tour.refused(Code::CapacityExhausted, "a form too many", &refused);
    drop(held);
}

/// Sessions: in a path, and ended while something of theirs is open.
fn sessions(tour: &mut Tour) {
    let [user, second, _] = NUMBERS;
    let launch = tour.passes(&frame("chat", &format!("/?user_id={user}&t={MARK}")));
    let below = launch.field("location").expect("a probe for cookies").to_owned();
    // A browser without cookies comes back without, to an app that cannot live so.
    let bare = |request: &str| {
        let kept = |line: &&str| !line.starts_with("Cookie: ");
        request.split("\r\n").filter(kept).collect::<Vec<_>>().join("\r\n")
    };
    tour.ask(Code::CookiesRequired, &bare(&frame("chat", &below)));
    let cookie = cookies(&launch);
    let with = |request: String| request.replacen("Cookie: ", &format!("Cookie: {cookie}; "), 1);
    let mut open = tour.stage.client();
    let events = "Accept: text/event-stream\r\n";
    open.send(with(request("GET", "chat", &format!("/silent?late={MARK}"), events, "")));
    tour.stage.app.wait_for(|seen| seen.contains("/silent?late"));
    let other = with(frame("chat", &format!("/?user_id={second}&t={MARK}")));
    let other = tour.passes(&other);
    tour.learn(&other);
    let ended = open.read_response().unwrap();
    tour.refused(Code::SessionExpired, "a stream of a session that has ended", &ended);
}

/// TLS, HTTP/2, the apps' listener.
fn other_doors(tour: &mut Tour) {
    let stage = &tour.stage;
    let mut tls = Client::tls(stage.https, stage.ca.pem(), "chat.test", &["http/1.1"]).unwrap();
    let misdirected = tls.send(get("other", &format!("/?t={MARK}"))).read_response().unwrap();
    tour.refused(Code::Misdirected, "another certificate's host", &misdirected);
    let (door, pem) = (tour.stage.https, tour.stage.ca.pem().to_owned());
    let mut answers = Vec::new();
    h2::soon(async {
        let mut client = h2::Client::connect_to(door, &pem).await;
        let over = |method, path: &str| {
            let mut request = h2::request(method, path);
            for line in fields().lines() {
                let (name, value) = line.split_once(": ").unwrap();
                request = request.header(name.to_ascii_lowercase(), value);
            }
            request
        };
        let path = format!("/?user_id={MARK}&t={MARK}");
        let launch = over(http::Method::GET, &path).header("sec-fetch-mode", "navigate");
        answers.push((Code::UserIdInvalid, client.ask(launch.body(()).unwrap()).await));
        let _ = client.open_websocket(&format!("/ws?t={MARK}")).await;
        let unknown = over(http::Method::CONNECT, &format!("/?t={MARK}"));
        let unknown = unknown.extension(::h2::ext::Protocol::from_static(MARK));
        answers.push((Code::MethodNotImplemented, client.ask(unknown.body(()).unwrap()).await));
    });
    for (code, answer) in answers {
        let head = format!("{:?}", answer.fields);
        let kind = answer.field("content-type").unwrap_or_default().to_owned();
        let head = format!("HTTP/2\r\nContent-Type: {kind}\r\n{head}\r\n\r\n");
        let response = Response { status: answer.status.as_u16(), head, body: answer.body };
        tour.refused(code, "over HTTP/2", &response);
    }
    let ask = format!(
        "GET /v1/launch?t={MARK} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {MARK}\r\n\r\n"
    );
    let refused = Client::plain(tour.stage.internal).send(ask).read_response().unwrap();
    tour.refused(Code::AssertionInvalid, "the apps' listener", &refused);
}

/// All that an operator can read, and what is said to somebody who is none.
fn operators(tour: &mut Tour) {
    let mut socket = tour.stage.client();
    let socket_of = websocket("plain", &format!("/ws?t={MARK}"), "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(socket.send(socket_of).read_head().unwrap().status, 101);
    let launch = tour.passes(&frame("chat", &format!("/?user_id={}&t={MARK}", NUMBERS[2])));
    tour.learn(&launch);
    let known = websocket("chat", &format!("/ws?t={MARK}"), "dGhlIHNhbXBsZSBub25jZQ==");
    let with = format!("Cookie: {}; ", cookies(&launch));
    let mut of_user = tour.stage.client();
    let answer = of_user.send(known.replacen("Cookie: ", &with, 1)).read_head().unwrap();
    assert_eq!(answer.status, 101, "{}", answer.head);
    let explained = |query: &str, token: &str| {
        let headers = serde_json::json!({ "authorization": format!("Bearer {token}") });
        let url = format!("http://chat.test/?{query}");
        serde_json::json!({ "url": url, "headers": headers }).to_string()
    };
    let explain = ("POST", "/explain", explained("user_id=1", "x"));
    let asked = ADMIN.iter().map(|path| ("GET", *path, String::new()));
    for (method, path, body) in asked.chain([explain]) {
        let answer = tour.stage.ask_admin(method, path, &body);
        assert!(answer.status < 400, "{path}: {}{}", answer.head, answer.text());
        if let Some(found) = tour.needles.find(&[answer.head.as_bytes(), &answer.body].concat()) {
            tour.problems.push(format!("{path} of the admin listener has {found:?}"));
        }
    }
    // It may tell who asks what they said; it is kept nowhere.
    let user = NUMBERS[0];
    tour.stage.ask_admin("POST", "/explain", &explained(&format!("user_id={user}"), MARK));
    for path in ["/status", "/config", "/drain", "/nowhere"] {
        let request = format!(
            "POST {path}?t={MARK} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n{}\r\n{MARK}xx",
            fields()
        );
        let refused = Client::plain(tour.stage.admin).send(request).read_response().unwrap();
        tour.refused(Code::TokenInvalid, "the admin listener", &refused);
    }
    for (line, code) in [
        (format!("Host: {MARK}.evil.test\r\n"), Code::TokenInvalid),
        (format!("Host: localhost\r\nOrigin: https://{MARK}.test\r\n"), Code::OriginNotAllowed),
        (format!("Host: {MARK}_@\r\n"), Code::HostInvalid),
    ] {
        let request = format!("GET /status?t={MARK} HTTP/1.1\r\n{line}{}\r\n", fields());
        let refused = Client::plain(tour.stage.admin).send(request).read_response().unwrap();
        tour.refused(code, "the admin listener", &refused);
    }
}

/// A reload of a file that is wrong, then the end.
fn stopping(tour: &mut Tour) {
    let file = tour.stage.folder.path().join("vestibule.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let literal = format!("session_secrets = [\"{MARK}-literal\"]\nbogus = \"{MARK}-unknown\"\n");
    let at = good.find("session_secrets").unwrap();
    let end = at + good[at..].find('\n').unwrap() + 1;
    let addresses = format!(
        "[upstreams.leaky]\nservers = [\"http://app.test/{MARK}\", \"${{CANARY_ADMIN}}\"]\n\
         health = {{ path = \"health?k={MARK}\" }}\n"
    );
    std::fs::write(&file, [&good[..at], &literal, &good[end..], &addresses].concat()).unwrap();
    let refused = tour.stage.ask_admin("POST", "/reload", "");
    assert_eq!(refused.status, 422, "{}", refused.text());
    if let Some(found) = tour.needles.find(&refused.body) {
        tour.problems.push(format!("the refused reload has {found:?}"));
    }
    let until = Instant::now() + PATIENCE;
    let overview = loop {
        let overview = tour.stage.ask_admin("GET", "/overview", "");
        if overview.text().contains("upstreams.leaky.health.path") {
            break overview;
        }
        // One is taken every second.
        assert!(Instant::now() < until, "{}", overview.text());
        std::thread::sleep(Duration::from_millis(50));
    };
    if let Some(found) = tour.needles.find(&overview.body) {
        tour.problems.push(format!("the overview of a refused reload has {found:?}"));
    }
    let mut socket = tour.stage.client();
    let socket_of = websocket("plain", &format!("/ws?t={MARK}"), "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(socket.send(socket_of).read_head().unwrap().status, 101);
    let mut pending = tour.stage.client();
    pending.send(get("plain", &format!("/silent?pending={MARK}")));
    tour.stage.app.wait_for(|seen| seen.contains("/silent?pending"));
    tour.stage.signal(rustix::process::Signal::TERM);
    tour.stage.says("draining");
    let late = tour.stage.ask_admin("POST", "/reload", "");
    tour.refused(Code::NotServing, "a reload of a server that drains", &late);
    // A second one ends what is open.
    tour.stage.signal(rustix::process::Signal::TERM);
    let ended = pending.read_response().unwrap();
    tour.refused(Code::UpstreamUnavailable, "a request that a stop ends", &ended);
    drop(socket);
    let until = Instant::now() + PATIENCE;
    while tour.stage.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the process has left behind, now that it has ended.
fn everything_said(tour: &mut Tour) {
    let log = tour.stage.read("access.log");
    assert!(log.lines().count() > 150, "{log}");
    for line in log.lines() {
        if let Some(found) = tour.needles.find(line.as_bytes()) {
            tour.problems.push(format!("the access log has {found:?}"));
        }
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        if !line["code"].is_null() && !line["user_id"].is_null() {
            tour.problems.push(format!("a refused request has a user id: {line}"));
        }
    }
    assert!(log.contains("\"user_id\":\""), "nobody was served");
    for name in ["stdout", "stderr"] {
        if let Some(found) = tour.needles.find(tour.stage.read(name).as_bytes()) {
            tour.problems.push(format!("{name} has {found:?}"));
        }
    }
    let collector = &tour.stage.collector;
    assert!(collector.spans().len() > 300 && !collector.metrics().is_empty());
    let sent = collector.requests();
    for request in sent {
        if let Some(found) = tour.needles.find(&request.message) {
            tour.problems.push(format!("{} has {found:?}", request.path));
        }
    }
}
