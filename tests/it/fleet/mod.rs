//! Upstreams of several servers: which is asked, and what clients notice when one fails.

mod death;
mod http2;
mod limits;
mod names;
mod stay;
mod tls;
mod unheard;
mod watched;

use std::time::{Duration, Instant};

use crate::harness::PATIENCE;
use crate::harness::client::Client;
use crate::harness::proxy::Proxy;
use crate::harness::replica::Replica;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An upstream over these replicas, with these further keys, and a persona at `chat.test`.
fn configuration(replicas: &[&Replica], upstream: &str, persona: &str) -> String {
    let servers: Vec<_> =
        replicas.iter().map(|replica| format!("\"http://{}\"", replica.address)).collect();
    over(&servers.join(", "), upstream, persona)
}

fn over(servers: &str, upstream: &str, persona: &str) -> String {
    format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         trusted_proxies = [\"127.0.0.1\"]\n\
         [upstreams.app]\nservers = [{servers}]\n{upstream}\n\
         [tenants.acme]\nembed_origins = [\"https://www.acme.test\"]\n\
         limits = {{ ip = \"100000/s\", tenant = \"1000000/s\" }}\n\
         [tenants.acme.personas.chat]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n{persona}\n"
    )
}

fn start(replicas: &[&Replica], upstream: &str, persona: &str) -> Proxy {
    Proxy::resolving(&configuration(replicas, upstream, persona), None)
}

/// The name of whoever answers.
fn asked(client: &mut Client, more: &str) -> String {
    let request = format!("GET /who HTTP/1.1\r\nHost: chat.test\r\n{more}\r\n");
    let response = client.send(request).read_response().unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    response.text()
}

/// Those who answer that many requests, each once, in the order of their names.
fn answering(client: &mut Client, requests: usize) -> String {
    let mut names: Vec<_> = (0..requests).map(|_| asked(client, "")).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// Waits until something is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What operators are told of the servers' states.
fn states(proxy: &Proxy) -> String {
    let upstreams = proxy.app.upstreams();
    let states: Vec<_> = upstreams[0].servers.iter().map(|server| server.state.as_str()).collect();
    states.join(" ")
}

/// Opens a WebSocket; the name of whoever accepted it.
fn open(proxy: &Proxy, more: &str) -> Option<(Client, String)> {
    let mut client = proxy.client();
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nOrigin: https://chat.test\r\n\
         X-Forwarded-Proto: https\r\n{more}\r\n"
    );
    let response = client.send(handshake).read_head()?;
    if response.status != 101 {
        return None;
    }
    let name = String::from_utf8(client.read_exactly(1)).unwrap();
    Some((client, name))
}

/// A session's cookie, from a launch of its own.
fn launched(proxy: &Proxy) -> String {
    let launch = "GET / HTTP/1.1\r\nHost: chat.test\r\nSec-Fetch-Mode: navigate\r\n\
                  Accept: text/html\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let response = proxy.client().send(launch).read_response().unwrap();
    let cookie = response.field("set-cookie").unwrap_or_else(|| panic!("{response:?}"));
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}
