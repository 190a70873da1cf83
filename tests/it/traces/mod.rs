//! Traces as a collector and an upstream see them.

mod delivery;
mod secrets;
mod spans;

use std::sync::{Arc, Mutex};

use crate::harness::collector::{Collector, Speaks};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::{Conversation, Upstream};
use vestibule::telemetry::warn::Warn;

/// Two personas of one tenant, one with a device, whatever else stands in `more`.
pub fn configuration(collector: &Collector, ratio: &str) -> String {
    format!(
        r#"
        [server]
        http = ["127.0.0.1:0"]
        http_mode = "serve"
        workers = 1
        trusted_proxies = []
        shared_hosts = ["chat.test"]
        [telemetry]
        otlp_endpoint = "http://{}"
        sample_ratio = {ratio}
        [upstreams.app]
        servers = ["http://UPSTREAM"]
        [upstreams.away]
        servers = ["http://127.0.0.1:1"]
        [tenants.ragtime.personas.sales]
        hosts = ["chat.test"]
        path = "/chat/ragtime/sales"
        upstream = "app"
        user_id = "optional"
        trust_asserted = true
        devices.lobby = {{ name = "Lobby" }}
        [tenants.ragtime.personas.away]
        hosts = ["away.test"]
        upstream = "away"
        [tenants.ragtime.personas.root]
        hosts = ["root.test"]
        upstream = "app"
        "#,
        collector.address
    )
}

/// What was said to the operator.
pub type Said = Arc<Mutex<Vec<String>>>;

/// A server that traces everything to `collector`, at once.
pub fn traced(collector: &Collector, speaks: Speaks, upstream: &Upstream) -> (Proxy, Said) {
    started(&configuration(collector, "1.0"), speaks, upstream, &[])
}

pub fn started(
    text: &str,
    speaks: Speaks,
    upstream: &Upstream,
    variables: &'static [(&'static str, &'static str)],
) -> (Proxy, Said) {
    let said = Said::default();
    let heard = Arc::clone(&said);
    let warn = Warn::new(move |what| heard.lock().unwrap().push(what.to_owned()));
    let environment = move |name: &str| {
        let own = variables.iter().find(|(known, _)| *known == name);
        let value = match (name, own) {
            (_, Some((_, value))) => value,
            ("OTEL_BSP_SCHEDULE_DELAY", None) => "20",
            ("OTEL_METRICS_EXPORTER", None) => "none",
            ("OTEL_EXPORTER_OTLP_PROTOCOL", None) if speaks == Speaks::Grpc => "grpc",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let text = text.replace("UPSTREAM", &upstream.address.to_string());
    (Proxy::with_environment(&text, &environment, warn), said)
}

/// Streams events, echoes WebSockets, breaks off, answers everything else.
pub fn app() -> Upstream {
    Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            let path = request.split(' ').nth(1).unwrap_or_default();
            match path.rsplit('/').next().unwrap_or_default() {
                _ if request.contains("Upgrade: websocket\r\n") => {
                    conversation.switch(&request, "", b"");
                    return echo(&mut conversation);
                }
                "events" => {
                    conversation.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                          Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
                    );
                    conversation.read(&mut [0; 1]);
                    return;
                }
                "cut" => {
                    return conversation
                        .write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                }
                "nonsense" => return conversation.write(b"nonsense\r\n\r\n"),
                "teapot" => conversation.write(b"HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n"),
                _ => conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            }
        }
    })
}

fn echo(conversation: &mut Conversation) {
    let mut buffer = [0; 4096];
    loop {
        match conversation.read(&mut buffer) {
            0 => return,
            count => conversation.write(&buffer[..count]),
        }
    }
}

pub fn get(host: &str, path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

pub fn websocket(host: &str, path: &str, fields: &str) -> String {
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    get(host, path, &format!("{handshake}{fields}"))
}
