//! What the backend saw of a request: the facts that the bot talks about and the checks read.

use http::HeaderMap;
use http::header::HOST;
use serde::Serialize;

use super::caller::{self, Caller};
use crate::demo::persona::{APP_HOST, Persona};

/// Which of the demo's hosts a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    HostPage,
    /// Whose chat it is, is Vestibule's to say.
    Chat,
}

/// Where a request came in, by its own Host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub place: Place,
    /// With its colon, or empty. Only digits, so that pages may print it.
    port: String,
    scheme: &'static str,
}

impl Address {
    /// None for a host that is not the demo's: the proxy in front should have refused it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let authority = headers.get(HOST)?.to_str().ok()?;
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, format!(":{}", port.parse::<u16>().ok()?)),
            None => (authority, String::new()),
        };
        let place = match Persona::of_host(host) {
            Some(_) => Place::Chat,
            None if host == APP_HOST => Place::HostPage,
            None => return None,
        };
        let https = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Some(Self { place, port, scheme: if https { "https" } else { "http" } })
    }

    /// The origin of another of the demo's hosts, reached the same way.
    pub fn origin_of(&self, host: &str) -> String {
        format!("{}://{host}{}", self.scheme, self.port)
    }

    /// The same for WebSockets, which CSP wants spelled out in some browsers.
    pub fn socket_origin_of(&self, host: &str) -> String {
        format!("{}://{host}{}", if self.scheme == "https" { "wss" } else { "ws" }, self.port)
    }
}

/// How a message reached the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Transport {
    #[serde(rename = "HTTP")]
    Http,
    #[serde(rename = "SSE")]
    Sse,
    #[serde(rename = "WebSocket")]
    WebSocket,
}

/// What the proxy told the backend about one request.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    pub caller: Caller,
    pub transport: Transport,
    pub host: Option<String>,
    pub forwarded_proto: Option<String>,
    pub forwarded_host: Option<String>,
    pub forwarded_for: Option<String>,
    pub request_id: Option<String>,
    /// The identity fields, name and value.
    pub identity: Vec<[String; 2]>,
}

impl Seen {
    pub fn new(caller: Caller, transport: Transport, headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Self {
            caller,
            transport,
            host: text("host"),
            forwarded_proto: text("x-forwarded-proto"),
            forwarded_host: text("x-forwarded-host"),
            forwarded_for: text("x-forwarded-for"),
            request_id: text("x-request-id"),
            identity: caller::fields(headers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, expected: Option<(Place, &str)>) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let found = Address::of(&headers);
        let found = found.map(|address| (address.place, address.origin_of(APP_HOST)));
        assert_eq!(found, expected.map(|(place, origin)| (place, origin.to_owned())));
    }

    #[test]
    fn a_host_names_its_place_and_its_port_is_kept() {
        let chat = Place::Chat;
        check("chat-customer.localhost:8443", Some((chat, "https://app.localhost:8443")));
        check("chat-customer.localhost", Some((chat, "https://app.localhost")));
        check("app.localhost:8443", Some((Place::HostPage, "https://app.localhost:8443")));
    }

    #[test]
    fn a_host_that_could_break_out_of_a_page_is_not_known() {
        check("chat-customer.localhost:\"><script>", None);
        check("example.com", None);
        check("chat-customer.localhost:99999", None);
    }
}
