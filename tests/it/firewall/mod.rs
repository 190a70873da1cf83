//! The firewall on the wire: who may open what, and what the app is told about it.

mod adversary;
mod beacon;
mod brought;
pub mod browser;
mod limits;
mod matrix;
mod sessions;
mod shells;
pub mod signed;

use crate::harness::client::Response;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

const ROOM: &str = r#"limits = { ip = "6000/min", tenant = "60000/min" }"#;

/// Personas of the seed, one that waits strictly, one without a bridge, and a Streamlit one.
fn configuration(limits: &str) -> String {
    let persona = |name: &str, more: &str| {
        format!(
            "[tenants.acme.personas.{name}]\nhosts = [\"{name}.acme.test\"]\nupstream = \"app\"\n\
             {more}\n"
        )
    };
    let required = "user_id = \"required\"\ntrust_asserted = true\n";
    [
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme]\nembed_origins = [\"https://www.acme.test\"]\n",
        limits,
        "\n",
        &persona("public", "user_id = \"optional\"\nallow_generated_id = true\nbridge = true"),
        &persona("open", "user_id = \"none\""),
        &persona("customer", &format!("{required}mode = \"customer\"\nbridge = true")),
        &persona("employee", &format!("{required}mode = \"employee\"\nbridge = true")),
        &persona("test", "user_id = \"optional\"\nallow_generated_id = true\nmode = \"test\""),
        &persona("plain", &format!("{required}mode = \"customer\"")),
        &persona("strict", &format!("{required}bridge = true\nstrict_config = true")),
        &persona("streamlit", &format!("{required}bridge = true\napp = \"streamlit\"")),
        &persona("framed", "frame_only = true"),
        "[tenants.acme.personas.below]\nhosts = [\"below.acme.test\"]\npath = \"/chat\"\n\
         upstream = \"app\"\nbridge = true\nuser_id = \"required\"\ntrust_asserted = true\n\
         app = \"streamlit\"\ndevices.lobby = { name = \"Lobby\" }\n",
    ]
    .concat()
}

fn proxy() -> (Proxy, Upstream) {
    let upstream = reflecting();
    (Proxy::configured(&configuration(ROOM), upstream.address), upstream)
}

/// Answers with what it received: as HTML where the request navigates. Sets a cookie where the
/// path says `cookie`, redirects where it says `moved`, accepts WebSockets and echoes them.
pub fn reflecting() -> Upstream {
    Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            if request.contains("Upgrade: websocket\r\n") {
                conversation.switch(&request, &["X-Seen: ", &flat(&request), "\r\n"].concat(), b"");
                let mut buffer = [0; 4096];
                loop {
                    match conversation.read(&mut buffer) {
                        0 => return,
                        count => conversation.write(&buffer[..count]),
                    }
                }
            }
            let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let is_page = request.contains("Sec-Fetch-Mode: navigate");
            let kind = if is_page { "text/html; charset=utf-8" } else { "text/plain" };
            let more = match &target {
                it if it.contains("cookie") => "Set-Cookie: sid=1; Path=/; SameSite=Lax\r\n",
                it if it.contains("xsrf") => "Set-Cookie: _streamlit_xsrf=2-abc; Path=/\r\n",
                it if it.contains("moved") => "Location: /elsewhere?a=b\r\n",
                it if it.contains("impostor") => {
                    "Set-Cookie: __Host-vestibule-0123456789abcdef=x; Path=/; Secure\r\n\
                     X-Vestibule-User-Id: 1\r\n"
                }
                _ => "",
            };
            let body = format!("<!doctype html><html><head><title>app</title></head>{request}");
            conversation.write(
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                     ETag: \"1\"\r\n{more}\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            );
        }
    })
}

/// A request head on one line.
fn flat(request: &str) -> String {
    request.replace("\r\n", "|")
}

/// What the app was told, of one header.
pub fn told<'r>(seen: &'r str, name: &str) -> Option<&'r str> {
    let mut values = seen.split(['\n', '|']).filter_map(|line| {
        let (field, value) = line.trim_end().split_once(": ")?;
        field.eq_ignore_ascii_case(name).then_some(value)
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is repeated: {seen}");
    value
}

pub fn seen(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}{}", response.head, response.text());
    response.text()
}
