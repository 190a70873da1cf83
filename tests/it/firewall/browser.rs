//! A browser as the firewall sees it: it navigates frames, keeps cookies or not, follows redirects.

use std::net::SocketAddr;

use crate::harness::client::{Client, Response};
use crate::harness::proxy::Proxy;

pub struct Browser {
    door: SocketAddr,
    pub host: &'static str,
    pub keeps_cookies: bool,
    /// Our cookie and the app's, as `name=value`.
    pub cookies: Vec<String>,
    /// Where the last navigation ended.
    pub at: String,
    /// Every location on the way there.
    pub way: Vec<String>,
}

impl Browser {
    pub fn new(proxy: &Proxy, host: &'static str) -> Self {
        Self::at(proxy.http(), host)
    }

    /// Of a server in a process of its own.
    pub fn at(door: SocketAddr, host: &'static str) -> Self {
        Self {
            door,
            host,
            keeps_cookies: true,
            cookies: Vec::new(),
            at: String::new(),
            way: Vec::new(),
        }
    }

    pub fn without_cookies(proxy: &Proxy, host: &'static str) -> Self {
        Self { keeps_cookies: false, ..Self::new(proxy, host) }
    }

    /// One request, and what comes of it; no redirect is followed.
    pub fn ask(&mut self, method: &str, target: &str, lines: &str, body: &str) -> Response {
        let host = self.host;
        let cookie = match self.cookies.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", self.cookies.join("; ")),
        };
        let length = match body.is_empty() {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}{length}{lines}\r\n{body}"
        );
        let response = Client::plain(self.door).send(request).read_response().unwrap();
        self.keep(&response);
        response
    }

    fn keep(&mut self, response: &Response) {
        if !self.keeps_cookies {
            return;
        }
        for line in response.head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if !name.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let pair = value.split(';').next().unwrap().to_owned();
            let key = pair.split('=').next().unwrap().to_owned() + "=";
            self.cookies.retain(|kept| !kept.starts_with(&key));
            self.cookies.push(pair);
        }
    }

    /// A document in a frame of another site.
    pub fn open(&mut self, target: &str) -> Response {
        let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                     Sec-Fetch-Site: cross-site\r\nAccept: text/html\r\n";
        self.navigate("GET", target, lines, "")
    }

    /// As by a script in the document.
    pub fn replace(&mut self, target: &str) -> Response {
        let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                     Sec-Fetch-Site: same-origin\r\nAccept: text/html\r\n";
        self.navigate("GET", target, lines, "")
    }

    pub fn open_in_tab(&mut self, target: &str) -> Response {
        let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";
        self.navigate("GET", target, lines, "")
    }

    pub fn submit(&mut self, target: &str, form: &str) -> Response {
        let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                     Sec-Fetch-Site: cross-site\r\nOrigin: https://www.acme.test\r\n\
                     Content-Type: application/x-www-form-urlencoded\r\n";
        self.navigate("POST", target, lines, form)
    }

    fn navigate(&mut self, method: &str, target: &str, lines: &str, body: &str) -> Response {
        self.at = target.to_owned();
        self.way.clear();
        let mut response = self.ask(method, target, lines, body);
        for _ in 0..6 {
            if response.status == 307 {
                response = self.ask(method, target, lines, body);
                continue;
            }
            if response.status != 303 {
                return response;
            }
            self.at = response.field("location").unwrap().to_owned();
            self.way.push(self.at.clone());
            let at = self.at.clone();
            response = self.ask("GET", &at, lines, "");
        }
        panic!("it goes on redirecting: {:?}", self.way);
    }

    /// A script of the document asks.
    pub fn fetch(&mut self, target: &str) -> Response {
        let lines = "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
                     Sec-Fetch-Site: same-origin\r\nAccept: */*\r\n";
        self.ask("GET", target, lines, "")
    }

    /// What the bridge says.
    pub fn configure(&mut self, base: &str, json: &str) -> Response {
        let lines = format!(
            "Origin: http://{}\r\nContent-Type: application/json\r\nSec-Fetch-Site: same-origin\r\n",
            self.host
        );
        self.ask("POST", &format!("{base}/.vestibule/config"), &lines, json)
    }

    /// A WebSocket handshake, and the open connection.
    pub fn stream(&mut self, target: &str, more: &str) -> (Response, Client) {
        let mut client = Client::plain(self.door);
        let cookie = match self.cookies.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", self.cookies.join("; ")),
        };
        let host = self.host;
        let response = client
            .send(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{cookie}{more}\
                 Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ))
            .read_head()
            .unwrap();
        if response.status != 101 {
            let length = response.field("content-length").and_then(|it| it.parse().ok());
            let body = client.read_exactly(length.unwrap_or(0));
            return (Response { body, ..response }, client);
        }
        (response, client)
    }
}
