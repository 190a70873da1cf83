//! Doors behind a balancer that writes PROXY headers, sound, broken and lying ones with secrets in
//! them, and a plain door that only leads to the other: the secrets of its queries go back to whoever
//! sent them, and nowhere else.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use super::over::{Over, Speaker, in_http2};
use super::requests::{Case, cases, get, request};
use super::secrets::MARK;
use super::stage::Stage;
use super::{Tour, code_of, first_line, left};
use crate::harness::client::{Client, Response};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// In both versions: whoever asks is nobody whom we trust.
const HONEST: &str = "PROXY TCP4 192.0.2.7 127.0.0.1 40000 80\r\n";
const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 127, 0, 0, 1, 0x9c, 0x40, 0, 80];

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\"]";

/// A header of version 2.
fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [V2, &[command, family], &length, payload].concat()
}

/// What balancers add: a host name, an id, who the client's certificate names, what they like.
fn with_extras() -> Vec<u8> {
    let extra = |kind: u8, value: &[u8]| {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], value].concat()
    };
    let named = [&[1, 0, 0, 0, 0], &extra(0x22, MARK.as_bytes())[..]].concat();
    let extras = [0x02, 0x05, 0xea].map(|kind| extra(kind, format!("{MARK}-extra").as_bytes()));
    v2(0x21, 0x11, &[&ADDRESSES[..], &extras.concat(), &extra(0x20, &named)].concat())
}

/// Goes before `door` and begins each connection with `header`.
fn balancer(door: SocketAddr, header: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, mut server) = (client.unwrap(), TcpStream::connect(door).unwrap());
            // What a door that has closed does not take, it does not want.
            let _ = server.write_all(&header);
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    address
}

#[test]
fn no_secret_comes_out_of_a_door_that_redirects_or_reads_proxy_headers() {
    let mode = format!("http_mode = \"redirect\"\nproxy_protocol = true\n{TRUSTED}");
    let mut stage = Stage::start_with(&[("http_mode = \"serve\"", &mode)]);
    let bare = (stage.http, stage.https);
    stage.http = balancer(stage.http, HONEST.into());
    stage.https = balancer(stage.https, with_extras());
    let speaker = Speaker::new(stage.https, stage.ca.pem());
    let mut tour = Tour::new(stage, speaker);
    redirects(&mut tour);
    behind(&mut tour);
    broken(bare);
    lying(&mut tour, bare.0);
    strangers(&mut tour, bare);
    tour.operator_reads();
    tour.stage.signal(rustix::process::Signal::TERM);
    tour.stage.says("draining");
    // A second one waits for no idle connection.
    tour.stage.signal(rustix::process::Signal::TERM);
    tour.stage.ends();
    let log = tour.stage.read("access.log");
    for masked in ["/.v/-/_stcore/upload_file/-/file-1", "/_stcore/upload_file/-/file-1"] {
        let is_it = |line: &&str| {
            line.contains(&format!("\"path\":\"{masked}\"")) && line.contains("\"status\":308")
        };
        if !log.lines().any(|line| is_it(&line)) {
            tour.problems.push(format!("no line of the log has led on {masked}"));
        }
    }
    assert!(log.contains("\"client\":\"192.0.2.7\"") && log.contains("\"client\":\"127.0.0.1\""));
    tour.problems.extend(left::behind(&tour.stage, &tour.needles));
    assert!(tour.problems.is_empty(), "{:#?}", tour.problems);
}

impl Tour {
    /// Whether it leads to the other door; but for where it leads, the answer has no secret.
    fn leads(&mut self, what: &str, response: &Response) -> bool {
        let leads = response.status == 308;
        if leads != code_of(response).is_none() {
            self.problems.push(format!("{what}: {} {}", response.head, response.text()));
        }
        self.says_nothing(what, response);
        let is_place = |line: &&str| line.to_ascii_lowercase().starts_with("location: https://");
        if !leads {
            return false;
        }
        assert_eq!(response.head.lines().filter(is_place).count(), 1, "{}", response.head);
        let rest: Vec<_> = response.head.lines().filter(|line| !is_place(line)).collect();
        let rest = [rest.join("\n").as_bytes(), &response.body].concat();
        if let Some(found) = self.needles.find(&rest) {
            self.problems.push(format!("{what}: beside Location is {found:?}"));
        }
        true
    }
}

/// Everything comes to the plain door, as it does where links are old.
fn redirects(tour: &mut Tour) {
    tour.over = Over::Http1;
    let (mut led, mut ids) = (0, Vec::new());
    for Case { request, .. } in cases() {
        let response = tour.answer(&request);
        let leads = tour.leads(first_line(&request), &response);
        if leads && first_line(&request).contains(MARK) {
            let place = response.field("location").unwrap();
            assert!(place.contains(MARK), "{place} is not where {request} asked to go");
            led += 1;
        }
        if !leads {
            ids.extend(response.field("x-request-id").map(str::to_owned));
        }
    }
    assert!(led > 30 && ids.len() > 10, "{led} led on, {} refused", ids.len());
    tour.stage.tells_of(&ids[ids.len() - 5..]);
}

/// The other door, by way of a balancer that says much.
fn behind(tour: &mut Tour) {
    tour.over = Over::Http2;
    let mut cases = cases();
    cases.retain(|case| in_http2(&case.request).is_some());
    for cases in cases.chunks(40) {
        let mut ids = Vec::new();
        for Case { request, .. } in cases {
            // Whom addresses let in is another matter here.
            let response = tour.answer(request);
            tour.says_nothing(first_line(request), &response);
            if code_of(&response).is_some() {
                ids.extend(response.field("x-request-id").map(str::to_owned));
            }
        }
        assert!(ids.len() > cases.len() * 3 / 4, "only {} refused", ids.len());
        tour.stage.tells_of(&ids[ids.len() - 5..]);
    }
}

/// Headers that cannot be read: nobody is answered, and nothing is told of anybody.
fn broken((http, https): (SocketAddr, SocketAddr)) {
    const CUT: usize = 20;
    let socket = [MARK.repeat(12).as_bytes(), &[0; 108]].concat();
    let headers = [
        format!("PROXY TCP4 {MARK} {MARK} 1 2\r\n").into_bytes(),
        format!("PROXY TCP4 192.0.2.7 127.0.0.1 {MARK} 80\r\n").into_bytes(),
        format!("PROXY TCP4 192.0.2.7 127.0.0.1 1 80 {MARK}\r\n").into_bytes(),
        format!("PROXY TCP6 {MARK}::1 ::1 1 80\r\n").into_bytes(),
        format!("PROXY {MARK}\r\n").into_bytes(),
        format!("PROXY TCP4 {}\r\n", MARK.repeat(20)).into_bytes(),
        format!("{MARK} {HONEST}").into_bytes(),
        Vec::new(),
        v2(0x31, 0x11, MARK.repeat(4).as_bytes()),
        v2(0x2f, 0x11, MARK.repeat(4).as_bytes()),
        v2(0x21, 0xff, MARK.repeat(4).as_bytes()),
        v2(0x21, 0x11, MARK.as_bytes()),
        v2(0x21, 0x21, MARK.repeat(3).as_bytes()),
        v2(0x21, 0x31, &socket),
        v2(0x21, 0x11, MARK.repeat(500).as_bytes()),
        // It ends before it is whole.
        v2(0x21, 0x11, &[&ADDRESSES[..], MARK.as_bytes()].concat())[..CUT].to_vec(),
        HONEST.as_bytes()[..CUT].to_vec(),
    ];
    let asks = get("plain", &format!("/?t={MARK}"));
    for header in headers {
        let is_cut = header.len() == CUT;
        for door in [http, https] {
            let mut client = Client::plain(door);
            client.try_send(&header);
            if is_cut {
                client.shutdown_write();
            } else {
                client.try_send(&asks);
            }
            assert!(client.is_closed(), "{:?} is answered", String::from_utf8_lossy(&header));
        }
    }
}

/// Headers that can be read, and requests that do not fit them.
fn lying(tour: &mut Tour, door: SocketAddr) {
    tour.over = Over::Http1;
    let claims = format!(
        "X-Forwarded-For: {MARK}\r\nForwarded: for={MARK};host={MARK}\r\n\
         X-Forwarded-Host: {MARK}.test\r\nX-Forwarded-Proto: {MARK}\r\nX-Real-Ip: {MARK}\r\n"
    );
    let asks = request("GET", "plain", &format!("/?t={MARK}"), &claims, "");
    // Whom we trust may say what their requests and traces are called.
    let names = ["X-Request-Id: ", "traceparent: ", "tracestate: "];
    let of_trusted = asks.split("\r\n").filter(|line| !names.iter().any(|it| line.starts_with(it)));
    let of_trusted = of_trusted.collect::<Vec<_>>().join("\r\n");
    let local = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 80\r\n".to_vec();
    let twice = format!("{HONEST}PROXY TCP4 {MARK} {MARK} 1 80\r\n").into_bytes();
    for (header, asks, leads) in [
        (with_extras(), &asks, true),
        (HONEST.into(), &asks, true),
        (local, &of_trusted, true),
        (format!("PROXY UNKNOWN {MARK} {MARK} 1 80\r\n").into_bytes(), &of_trusted, true),
        (v2(0x20, 0x00, MARK.as_bytes()), &of_trusted, true),
        (v2(0x21, 0x00, MARK.as_bytes()), &of_trusted, true),
        (twice, &asks, false),
        ([HONEST.as_bytes(), &with_extras()].concat(), &asks, false),
    ] {
        let what = String::from_utf8_lossy(&header).into_owned();
        let mut client = Client::plain(door);
        client.send(&header).try_send(asks);
        let response = client.read_response().unwrap_or_else(|| panic!("no answer to {what:?}"));
        assert_eq!(tour.leads(&what, &response), leads, "{what:?}: {}", response.head);
    }
}

/// Whoever is no balancer of ours begins with a header all the same.
fn strangers(tour: &mut Tour, (http, https): (SocketAddr, SocketAddr)) {
    let file = tour.stage.folder.path().join("vestibule.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let others = text.replacen(TRUSTED, "trusted_proxies = [\"10.0.0.0/8\"]", 1);
    std::fs::write(&file, others).unwrap();
    let reload = tour.stage.ask_admin("POST", "/reload", "");
    assert_eq!(reload.status, 200, "{}", reload.text());
    let asks = get("plain", &format!("/?t={MARK}"));
    assert_eq!(Client::plain(http).send(&asks).read_response().unwrap().status, 308);
    let mut ids = Vec::new();
    for header in [
        HONEST.as_bytes().to_vec(),
        format!("PROXY TCP4 {MARK} {MARK} 1 2\r\n").into_bytes(),
        with_extras(),
    ] {
        let what = String::from_utf8_lossy(&header).into_owned();
        let mut client = Client::plain(http);
        client.send(&header).try_send(&asks);
        let refused = client.read_response().unwrap_or_else(|| panic!("no answer to {what:?}"));
        assert!(!tour.leads(&what, &refused), "{what:?}: {}", refused.head);
        ids.extend(refused.field("x-request-id").map(str::to_owned));
        // To TLS it is nothing at all.
        let mut client = Client::plain(https);
        client.try_send([&header, asks.as_bytes()].concat());
        let said = client.read_to_end();
        assert!(tour.needles.find(&said).is_none() && said.len() < 100, "{said:?}");
    }
    tour.stage.tells_of(&ids);
}
