//! Secrets go in everywhere, on every way that ends in a refusal, and come out nowhere: not in the
//! access log, on standard output or error, in spans, metrics, what an operator reads, or the pages
//! and documents that say no.
//!
//! The program is the real one, with everything switched on that can say something and the variables
//! set that make Rust programs talk. There are no log levels: what it is built of cannot log at all
//! (`tests/layers.py`), so that the most that it says is what it says here.

mod doors;
mod left;
mod over;
mod requests;
mod secrets;
mod stage;
mod wrong;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use vestibule::rejection::Code;

use crate::firewall::signed::{now, signed};
use crate::harness::client::{Client, Response};
use over::{Over, Pending, Speaker, in_http2};
use requests::{FRAME, cases, fields, frame, get, request, websocket};
use secrets::{MARK, NUMBERS, Needles, SIGNING};
use stage::{PATIENCE, Stage};

/// Refusals that are not provoked here, and why not.
const UNPROVOKED: &[(Code, &str)] = &[
    (Code::Internal, "nobody knows how"),
    (Code::ReplayMemoryFull, "needs 57,344 signed launches of one tenant"),
];

/// Refusals that one of the two protocols does not meet, and why not.
const UNSAID: &[(Over, Code, &str)] = &[
    (Over::Http1, Code::MethodNotImplemented, "a :protocol"),
    (Over::Http2, Code::UpgradeInvalid, "the handshake of HTTP/1"),
    (Over::Http2, Code::VersionUnsupported, "a version in a request line"),
    (Over::Http2, Code::TransferCodingUnsupported, "there are none"),
    (Over::Http2, Code::AssertionInvalid, "of the apps' listener, which speaks HTTP/1"),
    (Over::Http2, Code::NotServing, "of the admin listener, which speaks HTTP/1"),
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

/// A sound one of a WebSocket.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What came of it so far.
struct Tour {
    stage: Stage,
    speaker: Speaker,
    /// What requests go over now.
    over: Over,
    needles: Needles,
    seen: BTreeSet<(Over, &'static str)>,
    /// What is wrong, all of it.
    problems: Vec<String>,
}

impl Tour {
    fn new(stage: Stage, speaker: Speaker) -> Self {
        let (needles, seen, problems) = (Needles::new(), BTreeSet::new(), Vec::new());
        Self { stage, speaker, over: Over::Http1, needles, seen, problems }
    }

    /// A refusal that was provoked; it says nothing that it should not.
    fn refused(&mut self, code: Code, what: &str, response: &Response) {
        let said = code_of(response);
        if said.as_deref() != Some(code.as_str()) {
            let (over, status, text) = (self.over, response.status, response.text());
            self.problems.push(format!("{what}, {over:?}: not {code:?} but {status} {text}"));
        }
        self.says_nothing(what, response);
    }

    fn says_nothing(&mut self, what: &str, response: &Response) {
        let Some(code) = code_of(response) else { return };
        let known = Code::ALL.iter().map(|it| it.as_str()).find(|it| **it == *code);
        self.seen.extend(known.map(|code| (self.over, code)));
        let whole = [response.head.as_bytes(), &response.body].concat();
        if let Some(found) = self.needles.find(&whole) {
            self.problems.push(format!("{what}: the refusal {code} has {found:?}"));
        }
    }

    /// Sends a request, as far as it is taken.
    fn begin(&mut self, request: &str) -> Pending {
        match self.over {
            Over::Http1 => {
                let mut client = self.stage.client();
                client.try_send(request);
                Pending::Http1(client)
            }
            Over::Http2 => {
                let said = in_http2(request).unwrap_or_else(|| panic!("not HTTP/2: {request}"));
                self.speaker.begin(said)
            }
        }
    }

    /// The whole answer.
    fn end(&mut self, pending: Pending) -> Option<Response> {
        match pending {
            Pending::Http1(mut client) => client.read_response(),
            Pending::Http2(response, sending) => self.speaker.end(response, sending, true),
        }
    }

    fn answer(&mut self, request: &str) -> Response {
        let pending = self.begin(request);
        self.end(pending).unwrap_or_else(|| panic!("no answer over {:?} to {request}", self.over))
    }

    fn ask(&mut self, code: Code, request: &str) -> Response {
        let response = self.answer(request);
        self.refused(code, first_line(request), &response);
        response
    }

    /// The head of an answer, with whose arrival it is left.
    fn head(&mut self, request: &str) -> Option<Response> {
        match self.begin(request) {
            Pending::Http1(mut client) => client.read_head(),
            Pending::Http2(response, sending) => self.speaker.end(response, sending, false),
        }
    }

    /// Not refused, or not by us.
    fn passes(&mut self, request: &str) -> Response {
        let response = self.head(request).unwrap_or_else(|| panic!("no answer to {request}"));
        if code_of(&response).is_some() {
            self.problems.push(format!("{}: refused, {}", first_line(request), response.head));
        }
        response
    }

    /// All that an operator can read, searched.
    fn operator_reads(&mut self) {
        let explain = ("POST", "/explain", explained("user_id=1", "x"));
        let asked = ADMIN.iter().map(|path| ("GET", *path, String::new()));
        for (method, path, body) in asked.chain([explain]) {
            let answer = self.stage.ask_admin(method, path, &body);
            assert!(answer.status < 400, "{path}: {}{}", answer.head, answer.text());
            if let Some(found) = self.needles.find(&[answer.head.as_bytes(), &answer.body].concat())
            {
                self.problems.push(format!("{path} of the admin listener has {found:?}"));
            }
        }
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
    let speaker = Speaker::new(stage.https, stage.ca.pem());
    let mut tour = Tour::new(stage, speaker);
    let known = tour.needles.count();
    tour.over = Over::Http2;
    // It takes long to be refused.
    let slow = requests::form("injected", &format!("/?t={MARK}"), "");
    let slow = slow.replacen("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\n", 1);
    let slow = tour.begin(&slow);
    for over in [Over::Http1, Over::Http2] {
        tour.over = over;
        served(&mut tour);
        refusals(&mut tour);
        by_and_by(&mut tour);
        sessions(&mut tour);
    }
    assert!(tour.needles.count() > known + 4, "no capability was made");
    only_http2(&mut tour);
    let late = tour.end(slow).unwrap();
    tour.refused(Code::RequestTimeout, "a form that does not come", &late);
    forms(&mut tour);
    other_doors(&mut tour);
    operators(&mut tour);
    stopping(&mut tour);
    let log = tour.stage.read("access.log");
    assert!(log.lines().count() > 300, "only {} lines", log.lines().count());
    assert!(log.contains("\"user_id\":\""), "nobody was served");
    tour.problems.extend(left::behind(&tour.stage, &tour.needles));
    let both = Code::ALL.iter().flat_map(|code| [(Over::Http1, *code), (Over::Http2, *code)]);
    let missing: Vec<_> = both
        .filter(|(over, code)| !tour.seen.contains(&(*over, code.as_str())))
        .filter(|(_, code)| UNPROVOKED.iter().all(|(other, _)| other != code))
        .filter(|said| UNSAID.iter().all(|(over, code, _)| (*over, *code) != *said))
        .collect();
    assert!(missing.is_empty(), "not provoked: {missing:?}; {:#?}", tour.problems);
    assert!(tour.problems.is_empty(), "{:#?}", tour.problems);
}

/// Each case, and again as somebody navigates who had asked in another way, whatever comes of that.
fn refusals(tour: &mut Tour) {
    // As many as those who watch are shown at once, and some less.
    const SHOWN: usize = 40;
    const ONLY_HTTP1: usize = 8;
    let mut cases = cases();
    let all = cases.len();
    if tour.over == Over::Http2 {
        cases.retain(|case| in_http2(&case.request).is_some());
        assert_eq!(all - cases.len(), ONLY_HTTP1, "as many are about how HTTP/1 is written");
    }
    for cases in cases.chunks(SHOWN) {
        let mut ids = Vec::new();
        for case in cases {
            let response = tour.answer(&case.request);
            // HTTP/2 itself refuses a head that is far too large, without a word.
            if tour.over == Over::Http1 || response.status != 431 {
                tour.refused(case.code, first_line(&case.request), &response);
            }
            ids.extend(response.field("x-request-id").map(str::to_owned));
        }
        tour.stage.tells_of(&ids[ids.len() - 5..]);
    }
    for case in &cases {
        let (line, rest) = case.request.split_once("\r\n").unwrap();
        let response = tour.answer(&format!("{line}\r\n{FRAME}{rest}"));
        tour.says_nothing(first_line(&case.request), &response);
    }
}

/// What only HTTP/2 can say.
fn only_http2(tour: &mut Tour) {
    let query = format!("/a?q={MARK}-query");
    let field = |lines: &str| request("GET", "plain", &query, lines, "");
    // More than there may be, in few enough bytes.
    let many: String = (0..120).map(|at| format!("x-{at}: {MARK}\r\n")).collect();
    for (code, request) in [
        (Code::RequestMalformed, field(&format!("X-Space: {MARK} \r\n"))),
        (Code::FramingAmbiguous, field(&"Content-Length: 3\r\n".repeat(2))),
        (Code::HeadersTooLarge, field(&many)),
        (Code::TargetInvalid, get("plain", &format!("ftp://plain.test{query}"))),
    ] {
        tour.ask(code, &request);
    }
    let (mut unknown, body) = in_http2(&websocket("chat", &query, "")).unwrap();
    unknown.extensions_mut().insert(h2::ext::Protocol::from_static(MARK));
    let unknown = tour.speaker.begin((unknown, body));
    let unknown = tour.end(unknown).unwrap();
    tour.refused(Code::MethodNotImplemented, "an unknown :protocol", &unknown);
    // The library resets such a stream by itself.
    let (mut odd, body) = in_http2(&field("")).unwrap();
    odd.headers_mut().insert("content-length", MARK.parse().unwrap());
    let odd = tour.speaker.begin((odd, body));
    if let Some(answer) = tour.end(odd) {
        tour.says_nothing("a length that is no number", &answer);
    }
}

/// What is not refused has secrets too.
fn served(tour: &mut Tour) {
    let [user, second, third] = NUMBERS;
    for path in ["/a", "/broken", "/moved", "/_stcore/upload_file/x/y"] {
        tour.passes(&get("plain", &format!("{path}?t={MARK}-query")));
    }
    // Where its end has come too, the library of HTTP/2 does not show the head.
    tour.head(&get("plain", &format!("/cut?t={MARK}-query")));
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
    tour.passes(&websocket("plain", &format!("/ws?t={MARK}"), KEY));
}

/// What needs more than one request, or time.
fn by_and_by(tour: &mut Tour) {
    if tour.over == Over::Http1 {
        let slow = format!("GET /?t={MARK} HTTP/1.1\r\nHost: plain.test\r\nX-Key: {MARK}");
        tour.ask(Code::RequestTimeout, &slow);
        // There is one launch an hour.
        tour.passes(&frame("tight", &format!("/?t={MARK}")));
    }
    tour.ask(Code::RateLimited, &frame("tight", &format!("/?t={MARK}")));
    let cookie = cookies(&tour.passes(&frame("strict", "/")));
    let asset = get("strict", &format!("/a.js?t={MARK}"));
    let asset = asset.replacen("Cookie: ", &format!("Cookie: {cookie}; "), 1);
    tour.ask(Code::IdentityIncomplete, &asset);
    let silent = format!("/silent?over={:?}&t={MARK}", tour.over);
    let first = tour.begin(&get("narrow", &silent));
    tour.stage.app.wait_for(|seen| seen.contains(&silent));
    let is_refused = |tour: &mut Tour| code_of(&tour.answer(&get("narrow", "/a"))).is_some();
    let until = Instant::now() + PATIENCE;
    while !is_refused(tour) {
        assert!(Instant::now() < until, "there is room all the time");
    }
    tour.ask(Code::UpstreamOverloaded, &get("narrow", &format!("/a?t={MARK}")));
    drop(first);
    while is_refused(tour) {
        assert!(Instant::now() < until, "there is never room again");
    }
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
    for over in [Over::Http1, Over::Http2] {
        tour.over = over;
        tour.ask(Code::CapacityExhausted, &text);
    }
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
    let events = "Accept: text/event-stream\r\n";
    let silent = format!("/silent?late={:?}&t={MARK}", tour.over);
    let open = tour.begin(&with(request("GET", "chat", &silent, events, "")));
    tour.stage.app.wait_for(|seen| seen.contains(&silent));
    let other = with(frame("chat", &format!("/?user_id={second}&t={MARK}")));
    let other = tour.passes(&other);
    tour.learn(&other);
    let ended = tour.end(open).unwrap();
    tour.refused(Code::SessionExpired, "a stream of a session that has ended", &ended);
}

/// TLS, the apps' listener.
fn other_doors(tour: &mut Tour) {
    let elsewhere = get("elsewhere", &format!("/?t={MARK}"));
    tour.over = Over::Http2;
    tour.ask(Code::Misdirected, &elsewhere);
    tour.over = Over::Http1;
    let stage = &tour.stage;
    let mut tls = Client::tls(stage.https, stage.ca.pem(), "chat.test", &["http/1.1"]).unwrap();
    let misdirected = tls.send(elsewhere).read_response().unwrap();
    tour.refused(Code::Misdirected, "another certificate's host", &misdirected);
    tour.ask(Code::MethodNotAllowed, &request("CONNECT", "plain", "plain.test:443", "", ""));
    let ask = format!(
        "GET /v1/launch?t={MARK} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {MARK}\r\n\r\n"
    );
    let refused = Client::plain(tour.stage.internal).send(ask).read_response().unwrap();
    tour.refused(Code::AssertionInvalid, "the apps' listener", &refused);
}

/// A question to `/explain`.
fn explained(query: &str, token: &str) -> String {
    let headers = serde_json::json!({ "authorization": format!("Bearer {token}") });
    let url = format!("http://chat.test/?{query}");
    serde_json::json!({ "url": url, "headers": headers }).to_string()
}

/// All that an operator can read, and what is said to somebody who is none.
fn operators(tour: &mut Tour) {
    let mut socket = tour.stage.client();
    let socket_of = websocket("plain", &format!("/ws?t={MARK}"), KEY);
    assert_eq!(socket.send(socket_of).read_head().unwrap().status, 101);
    let launch = tour.passes(&frame("chat", &format!("/?user_id={}&t={MARK}", NUMBERS[2])));
    tour.learn(&launch);
    let known = websocket("chat", &format!("/ws?t={MARK}"), KEY);
    let with = format!("Cookie: {}; ", cookies(&launch));
    let mut of_user = tour.stage.client();
    let answer = of_user.send(known.replacen("Cookie: ", &with, 1)).read_head().unwrap();
    assert_eq!(answer.status, 101, "{}", answer.head);
    tour.operator_reads();
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
    let socket_of = websocket("plain", &format!("/ws?t={MARK}"), KEY);
    assert_eq!(socket.send(socket_of).read_head().unwrap().status, 101);
    let pending = [Over::Http1, Over::Http2].map(|over| {
        tour.over = over;
        let silent = format!("/silent?pending={over:?}&t={MARK}");
        let pending = tour.begin(&get("plain", &silent));
        tour.stage.app.wait_for(|seen| seen.contains(&silent));
        (over, pending)
    });
    tour.over = Over::Http1;
    tour.stage.signal(rustix::process::Signal::TERM);
    tour.stage.says("draining");
    let late = tour.stage.ask_admin("POST", "/reload", "");
    tour.refused(Code::NotServing, "a reload of a server that drains", &late);
    // A second one ends what is open.
    tour.stage.signal(rustix::process::Signal::TERM);
    for (over, pending) in pending {
        tour.over = over;
        let ended = tour.end(pending).unwrap();
        tour.refused(Code::UpstreamUnavailable, "a request that a stop ends", &ended);
    }
    drop(socket);
    tour.stage.ends();
}
