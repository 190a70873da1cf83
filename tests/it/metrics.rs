//! What is counted, after known requests: every number exact.

use std::collections::BTreeMap;
use std::time::Instant;

use http::Method;
use vestibule::telemetry::metrics::text::{Format, render};

use crate::harness::PATIENCE;
use crate::harness::client::Client;
use crate::harness::h2::{self, finish, read_exactly, soon};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

const GET: &str = "GET /hello?secret=1 HTTP/1.1\r\nHost: chat.test\r\n\r\n";
const REQUESTS: &str = "http_server_request_duration_seconds_count";
const OWNER: &str = "tenant=\"acme\",persona=\"persona-0\"";

/// Every sample by its name and labels, as it is told.
fn samples(proxy: &Proxy) -> BTreeMap<String, f64> {
    let mut text = String::new();
    render(&proxy.app.families(), Format::Prometheus, &mut text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut samples = BTreeMap::new();
    for line in lines {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let twice = samples.insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(twice, None, "{series} is told twice");
    }
    samples
}

/// Those whose name begins like this, without zeros.
pub fn of(proxy: &Proxy, name: &str) -> BTreeMap<String, f64> {
    let samples = samples(proxy).into_iter();
    samples.filter(|(series, value)| series.starts_with(name) && *value != 0.0).collect()
}

/// Waits until these are all of that name: a request is counted when its answer is out.
pub fn becomes(proxy: &Proxy, name: &str, expected: &[(String, f64)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(labels, value)| (format!("{name}{{{labels}}}"), *value)).collect();
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = of(proxy, &format!("{name}{{"));
        if seen == expected {
            return;
        }
        assert!(Instant::now() < until, "{name} is {seen:#?}, not {expected:#?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn requests(method: &str, class: &str, version: &str) -> String {
    format!("{OWNER},{}", nobodys(method, class, version))
}

fn nobodys(method: &str, class: &str, version: &str) -> String {
    format!(
        "http_request_method=\"{method}\",http_response_status_class=\"{class}\",\
         network_protocol_version=\"{version}\""
    )
}

fn code(code: &str) -> String {
    format!("{OWNER},code=\"{code}\"")
}

#[test]
fn requests_of_http1_are_counted_by_method_class_and_version() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send(GET).read_response().unwrap();
    }
    let post = "POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 2\r\n\r\nhi";
    client.send(post).read_response().unwrap();
    client.send("GET /old HTTP/1.0\r\nHost: chat.test\r\n\r\n").read_response().unwrap();
    let mut client = proxy.client();
    client.send("PROPFIND / HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n").read_response().unwrap();
    becomes(
        &proxy,
        REQUESTS,
        &[
            (requests("GET", "2xx", "1.1"), 3.0),
            (requests("POST", "2xx", "1.1"), 1.0),
            (requests("GET", "2xx", "1.0"), 1.0),
            (nobodys("_OTHER", "4xx", "1.1"), 1.0),
        ],
    );
    becomes(&proxy, "vestibule_rejections_total", &[("code=\"not_found\"".into(), 1.0)]);
    let upstream = "upstream=\"upstream-0\",http_response_status_class=\"2xx\"";
    becomes(&proxy, "vestibule_upstream_duration_seconds_count", &[(upstream.into(), 5.0)]);
    assert_eq!(of(&proxy, "http_server_active_requests"), BTreeMap::new());
    let spoken = "scheme=\"http\",network_protocol_version=\"1.1\"";
    becomes(&proxy, "vestibule_connections_accepted_total", &[(spoken.into(), 2.0)]);
}

#[test]
fn requests_of_http2_are_counted_and_their_handshake() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = h2::Client::connect(&proxy).await;
        for _ in 0..4 {
            assert_eq!(client.ask(h2::get("/x")).await.status, 200);
        }
        let refused = client.ask(h2::get("/a%2Fb")).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "path_ambiguous"));
    });
    becomes(
        &proxy,
        REQUESTS,
        &[(requests("GET", "2xx", "2"), 4.0), (nobodys("GET", "4xx", "2"), 1.0)],
    );
    becomes(&proxy, "vestibule_rejections_total", &[("code=\"path_ambiguous\"".into(), 1.0)]);
    becomes(&proxy, "vestibule_tls_handshakes_total", &[("result=\"full\"".into(), 1.0)]);
    let spoken = "scheme=\"https\",network_protocol_version=\"2\"";
    becomes(&proxy, "vestibule_connections_accepted_total", &[(spoken.into(), 1.0)]);
    assert_eq!(samples(&proxy)["vestibule_tls_duration_seconds_count"], 1.0);
    assert!(Client::tls(proxy.https(), proxy.ca.pem(), "unknown.test", &["http/1.1"]).is_none());
    let failed = [("result=\"failed\"".into(), 1.0), ("result=\"full\"".into(), 1.0)];
    becomes(&proxy, "vestibule_tls_handshakes_total", &failed);
}

#[test]
fn what_cannot_be_parsed_is_a_rejection_and_no_request() {
    let proxy = Proxy::before("127.0.0.1:1".parse().unwrap());
    let twice = "GET / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 1\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    assert_eq!(proxy.client().send(twice).read_response().unwrap().status, 400);
    becomes(&proxy, "vestibule_rejections_total", &[("code=\"framing_ambiguous\"".into(), 1.0)]);
    assert_eq!(of(&proxy, REQUESTS), BTreeMap::new());
}

#[test]
fn upstreams_that_fail_are_counted_for_the_persona_and_for_themselves() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::before(closed);
    for _ in 0..2 {
        assert_eq!(proxy.client().send(GET).read_response().unwrap().status, 502);
    }
    becomes(&proxy, REQUESTS, &[(requests("GET", "5xx", "1.1"), 2.0)]);
    becomes(&proxy, "vestibule_rejections_total", &[(code("upstream_unreachable"), 2.0)]);
    let failed = "upstream=\"upstream-0\",http_response_status_class=\"error\"";
    becomes(&proxy, "vestibule_upstream_duration_seconds_count", &[(failed.into(), 2.0)]);
}

#[test]
fn an_answer_of_the_app_is_no_rejection_of_ours() {
    let upstream = Upstream::answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::before(upstream.address);
    proxy.client().send(GET).read_response().unwrap();
    becomes(&proxy, REQUESTS, &[(requests("GET", "5xx", "1.1"), 1.0)]);
    assert_eq!(of(&proxy, "vestibule_rejections_total"), BTreeMap::new());
}

#[test]
fn websockets_are_open_until_they_end() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(client.read_head().unwrap().status, 101);
    client.read_exactly(5);
    let open = format!("{OWNER},kind=\"websocket\"");
    becomes(&proxy, "vestibule_streams_active", &[(open.clone(), 1.0)]);
    becomes(&proxy, REQUESTS, &[(requests("GET", "1xx", "1.1"), 1.0)]);
    soon(async {
        let mut client = h2::Client::connect(&proxy).await;
        let (response, mut stream) = client.open_websocket("/ws").await;
        let mut body = response.await.unwrap().into_body();
        read_exactly(&mut body, 5).await;
        becomes(&proxy, "vestibule_streams_active", &[(open.clone(), 2.0)]);
        finish(&mut stream);
        read_exactly(&mut body, 3).await;
    });
    becomes(&proxy, "vestibule_streams_active", &[(open.clone(), 1.0)]);
    client.shutdown_write();
    client.read_to_end();
    becomes(&proxy, "vestibule_streams_active", &[]);
    becomes(&proxy, "vestibule_streams_duration_seconds_count", &[(open, 2.0)]);
    let h2 = requests(Method::CONNECT.as_str(), "2xx", "2");
    becomes(&proxy, REQUESTS, &[(requests("GET", "1xx", "1.1"), 1.0), (h2, 1.0)]);
    assert_eq!(of(&proxy, "http_server_active_requests"), BTreeMap::new());
}

#[test]
fn event_streams_are_open_and_plain_answers_are_requests() {
    let upstream = Upstream::start(|mut conversation| {
        let request = conversation.read_request().unwrap();
        let kind = if request.contains("/events") { "text/event-stream" } else { "text/plain" };
        conversation.write(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 9\r\ndata: 1\n\n\r\n"
            )
            .as_bytes(),
        );
        conversation.read_to_end();
    });
    let proxy = Proxy::before(upstream.address);
    let begin = |path: &str| {
        let mut client = proxy.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\n\r\n"));
        client.read_head().unwrap();
        client
    };
    let (events, download) = (begin("/events"), begin("/download"));
    becomes(&proxy, "vestibule_streams_active", &[(format!("{OWNER},kind=\"events\""), 1.0)]);
    becomes(&proxy, "http_server_active_requests", &[(OWNER.into(), 1.0)]);
    assert_eq!(of(&proxy, REQUESTS), BTreeMap::new());
    drop((events, download));
    becomes(&proxy, "vestibule_streams_active", &[]);
    becomes(&proxy, REQUESTS, &[(requests("GET", "2xx", "1.1"), 2.0)]);
    becomes(
        &proxy,
        "vestibule_streams_duration_seconds_count",
        &[(format!("{OWNER},kind=\"events\""), 1.0)],
    );
}

/// Two personas and a site of one tenant, with a limit of ten launches and two an address.
fn configuration(personas: &[&str], more: &str) -> String {
    let mut text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n{more}\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme]\nlimits = {{ ip = \"2/min\", tenant = \"10/min\" }}\n\
         [tenants.acme.sites.www]\nhosts = [\"www.test\"]\nupstream = \"app\"\n"
    );
    for name in personas {
        text += &format!(
            "[tenants.acme.personas.{name}]\nhosts = [\"{name}.test\"]\nupstream = \"app\"\n\
             user_id = \"none\"\n"
        );
    }
    text
}

fn launch(proxy: &Proxy, host: &str) -> u16 {
    let mut client = proxy.client();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\
         Sec-Fetch-Dest: document\r\n\r\n"
    ));
    client.read_response().unwrap().status
}

#[test]
fn a_limit_that_refuses_is_counted_with_its_bucket_and_its_fill_is_told() {
    let upstream = Upstream::ok();
    let proxy = Proxy::configured(&configuration(&["a"], ""), upstream.address);
    for status in [200, 200, 429] {
        assert_eq!(launch(&proxy, "a.test"), status);
    }
    let owner = "tenant=\"acme\",persona=\"a\"";
    let (refused, bucket) =
        (format!("{owner},code=\"rate_limited\""), format!("{owner},bucket=\"ip\""));
    becomes(&proxy, "vestibule_rejections_total", &[(refused, 1.0)]);
    becomes(&proxy, "vestibule_rate_limited_total", &[(bucket, 1.0)]);
    let samples = samples(&proxy);
    let used = samples["vestibule_limit_used_ratio{tenant=\"acme\"}"];
    assert!((used - 0.2).abs() < 0.01, "{used}");
    assert_eq!(samples["vestibule_store_entries{store=\"limits\",tenant=\"acme\"}"], 1.0);
    assert!(samples["vestibule_store_capacity{store=\"replay\"}"] > 1000.0);
    assert_eq!(
        samples["vestibule_upstream_servers{upstream=\"app\",state=\"healthy\"}"], 1.0,
        "nobody has checked it"
    );
}

#[test]
fn a_persona_and_a_site_are_told_apart_and_a_new_one_counts_from_its_first_request() {
    let upstream = Upstream::ok();
    let address = upstream.address.to_string();
    let text =
        |personas: &[&str], more: &str| configuration(personas, more).replace("UPSTREAM", &address);
    let proxy = Proxy::configured(&text(&["a"], ""), upstream.address);
    let get = |host: &str| {
        let request = format!("GET /x.css HTTP/1.1\r\nHost: {host}\r\n\r\n");
        proxy.client().send(request).read_response().unwrap().status
    };
    let count = |owner: &str| format!("{owner},{}", nobodys("GET", "2xx", "1.1"));
    let (a, b, www) = (
        "tenant=\"acme\",persona=\"a\"",
        "tenant=\"acme\",persona=\"b\"",
        "tenant=\"acme\",site=\"www\"",
    );
    assert_eq!((get("a.test"), get("www.test")), (200, 200));
    becomes(&proxy, REQUESTS, &[(count(a), 1.0), (count(www), 1.0)]);
    proxy.reload(&text(&["b"], ""));
    assert_eq!((get("a.test"), get("b.test")), (404, 200));
    let gone = nobodys("GET", "4xx", "1.1");
    let all = [(count(a), 1.0), (count(b), 1.0), (count(www), 1.0), (gone, 1.0)];
    becomes(&proxy, REQUESTS, &all);
    // What has gone is told for a while; what comes back goes on.
    proxy.reload(&text(&["a", "b"], ""));
    assert_eq!(get("a.test"), 200);
    let gone = nobodys("GET", "4xx", "1.1");
    let all = [(count(a), 2.0), (count(b), 1.0), (count(www), 1.0), (gone, 1.0)];
    becomes(&proxy, REQUESTS, &all);
}

#[test]
fn more_personas_than_have_labels_share_one() {
    let upstream = Upstream::ok();
    let telemetry = "[telemetry]\npersona_metrics = 2\n";
    let text = configuration(&["a", "b", "c", "d"], telemetry);
    let proxy = Proxy::configured(&text, upstream.address);
    for host in ["a.test", "b.test", "c.test", "d.test", "www.test"] {
        let request = format!("GET /x.css HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(proxy.client().send(request).read_response().unwrap().status, 200);
    }
    let of = |name| format!("tenant=\"acme\",persona=\"{name}\",{}", nobodys("GET", "2xx", "1.1"));
    becomes(&proxy, REQUESTS, &[(of("a"), 1.0), (of("b"), 1.0), (of("_other"), 3.0)]);
    assert_eq!(samples(&proxy)["vestibule_metrics_folded"], 3.0);
}

#[test]
fn the_admin_listener_tells_them_in_the_format_that_is_asked_for() {
    let proxy = Proxy::configured(&configuration(&["a"], ""), "127.0.0.1:1".parse().unwrap());
    let ask = |fields: &str| {
        let mut client = Client::plain(proxy.app.admin().unwrap());
        client.send(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        client.read_response().unwrap()
    };
    let plain = ask("");
    let text = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!((plain.status, plain.field("content-type")), (200, Some(text)));
    assert!(plain.text().contains("\nvestibule_build_info{version=\""));
    let open = ask("Accept: application/openmetrics-text;version=1.0.0\r\n");
    let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((open.status, open.field("content-type")), (200, Some(text)));
    assert!(open.text().ends_with("# EOF\n"));
    assert_eq!(ask("Origin: https://evil.example\r\n").status, 403);
}

#[test]
fn rules_and_dashboard_name_only_what_is_told() {
    let proxy = Proxy::configured(&configuration(&["a"], ""), "127.0.0.1:1".parse().unwrap());
    let mut told = std::collections::BTreeSet::new();
    for family in proxy.app.families() {
        let name = family.prometheus();
        for suffix in ["", "_total", "_bucket", "_sum", "_count"] {
            told.insert(format!("{name}{suffix}"));
        }
    }
    for (file, text) in [
        ("alerts.yml", include_str!("../../ops/prometheus/alerts.yml")),
        ("vestibule.json", include_str!("../../ops/grafana/vestibule.json")),
    ] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        let prefixes = ["vestibule_", "http_server_", "process_"];
        let mut named = 0;
        for word in words.filter(|word| prefixes.iter().any(|it| word.starts_with(it))) {
            assert!(told.contains(word), "{file} names {word}, which nobody tells");
            named += 1;
        }
        assert!(named > 10, "{file} names only {named}");
    }
}
