//! What operators see: the overview, the live feed, the page's files, explanations, configuration.

mod explained;
mod guard;
mod lists;
mod page;
mod sight;

use crate::harness::client::{Client, Response};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

/// Answers everything with 200, and `/broken` with 500.
fn app() -> Upstream {
    Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            match request.split(' ').nth(1).unwrap_or_default() {
                "/broken" => conversation
                    .write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"),
                _ => conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            }
        }
    })
}

/// One tenant with a persona and a site, and an admin listener; `more` goes on with it.
fn configured(upstream: std::net::SocketAddr, more: &str) -> Proxy {
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme.personas.a]\nhosts = [\"a.test\"]\nupstream = \"app\"\n\
         [tenants.acme.sites.www]\nhosts = [\"www.test\"]\nupstream = \"app\"\n{more}"
    );
    Proxy::configured(&text, upstream)
}

/// One request to the admin listener; `lines` are header lines with their ends.
fn ask(proxy: &Proxy, method: &str, path: &str, lines: &str, body: &str) -> Response {
    let length = body.len();
    admin(proxy)
        .send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n\
             {body}"
        ))
        .read_response()
        .unwrap()
}

fn admin(proxy: &Proxy) -> Client {
    Client::plain(proxy.app.admin().unwrap())
}

fn json(response: &Response) -> serde_json::Value {
    assert_eq!(response.field("content-type"), Some("application/json"), "{response:?}");
    serde_json::from_slice(&response.body).unwrap()
}

/// One request of a visitor: the status of its answer.
fn visit(proxy: &Proxy, host: &str, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    proxy.client().send(request).read_response().unwrap().status
}
