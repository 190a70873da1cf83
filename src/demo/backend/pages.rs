//! The host page, the chat page, and their files, embedded in the binary.
//!
//! Everything that a page is filled with is escaped, here and nowhere else. The policies sent with
//! the pages allow no inline script or style and no foreign address, so that what the demo shows
//! works under the policies that its readers should have.

use std::fmt::Write as _;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};
use http::{Response, StatusCode};

use super::answer::{self, Body};
use super::caller::Caller;
use super::seen::Address;
use crate::demo::persona::{APP_HOST, Persona};

/// What the host page tells someone whose browser does not trust the demo.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The one command.
    pub command: String,
}

struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($file:literal $content_type:literal;)*) => {
        &[$(Asset {
            path: concat!("/assets/", $file),
            content_type: $content_type,
            text: include_str!(concat!("../pages/", $file)),
        },)*]
    };
}

const ASSETS: &[Asset] = assets! {
    "base.css" "text/css; charset=utf-8";
    "host.css" "text/css; charset=utf-8";
    "handshake.css" "text/css; charset=utf-8";
    "launcher.css" "text/css; charset=utf-8";
    "beacon.js" "text/javascript; charset=utf-8";
    "host.js" "text/javascript; charset=utf-8";
    "launcher.js" "text/javascript; charset=utf-8";
    "trust.js" "text/javascript; charset=utf-8";
    "chat.css" "text/css; charset=utf-8";
    "chat.js" "text/javascript; charset=utf-8";
    "transports.js" "text/javascript; charset=utf-8";
    "words.js" "text/javascript; charset=utf-8";
    "door.svg" "image/svg+xml";
};

const HOST_PAGE: &str = include_str!("../pages/host.html");
const CHAT_PAGE: &str = include_str!("../pages/chat.html");

/// One of the pages' own files.
pub fn asset(path: &str) -> Option<Response<Body>> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    let mut response = answer::of(StatusCode::OK, asset.content_type, asset.text.into());
    // The next release of the demo may differ, and loopback is fast.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// The host page with the launcher of the persona that `path` names; `/` is the customer's, as in
/// the seed.
pub fn host(path: &str, address: &Address, trust: &Trust) -> Response<Body> {
    let persona = match path.trim_start_matches('/') {
        "" => Some(Persona::Customer),
        name => Persona::of_name(name),
    };
    let Some(persona) = persona else {
        return answer::problem(StatusCode::NOT_FOUND, "not_found");
    };
    let mut origins = String::new();
    for other in Persona::ALL {
        let _ = write!(origins, " {}", address.origin_of(other.host()));
    }
    let mut values = persona_values(persona);
    let origin = address.origin_of(persona.host());
    values.extend([("origin", origin), ("trust_command", trust.command.clone())]);
    for other in Persona::ALL {
        let (origin, current) = match other {
            Persona::Public => ("origin_public", "current_public"),
            Persona::Customer => ("origin_customer", "current_customer"),
            Persona::Employee => ("origin_employee", "current_employee"),
            Persona::Test => ("origin_test", "current_test"),
        };
        let here = if other == persona { "page" } else { "false" };
        values.push((origin, address.origin_of(other.host())));
        values.push((current, here.to_owned()));
    }
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src \
         'self'{origins}; frame-src 'self'{origins}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    page(HOST_PAGE, &values, &policy)
}

/// The embeddable chat page. It says who Vestibule says is asking; the handshake with the page
/// around it is Vestibule's.
pub fn chat(caller: &Caller, address: &Address, query: &str) -> Response<Body> {
    let persona = caller.persona;
    let mut values = persona_values(persona);
    let told = |value: &Option<String>| value.clone().unwrap_or_default();
    values.extend([
        ("mode", told(&caller.mode)),
        ("user_id", told(&caller.user_id)),
        ("assurance", told(&caller.assurance)),
        ("session", told(&caller.session)),
        ("state", if caller.is_awaited() { "awaiting" } else { "complete" }.to_owned()),
        ("query", query.to_owned()),
    ]);
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src \
         'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'self' {}",
        address.socket_origin_of(persona.host()),
        address.origin_of(APP_HOST),
    );
    page(CHAT_PAGE, &values, &policy)
}

fn persona_values(persona: Persona) -> Vec<(&'static str, String)> {
    vec![
        ("persona", persona.name().to_owned()),
        ("title", persona.title().to_owned()),
        ("require_user_id", persona.requires_user_id().to_string()),
        ("allow_generated_id", persona.allows_generated_id().to_string()),
    ]
}

fn page(template: &str, values: &[(&str, String)], policy: &str) -> Response<Body> {
    let html = fill(template, values);
    let mut response = answer::of(StatusCode::OK, "text/html; charset=utf-8", html.into());
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(policy).expect("made of literals, known hosts and a port");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("referrer-policy", HeaderValue::from_static("same-origin"));
    response
}

/// Puts each value, escaped, where `{{name}}` stands. One pass: a value is never read as template.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut page = String::with_capacity(template.len() + 1024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("the embedded templates are balanced");
        let value = values.iter().find(|(key, _)| *key == name);
        let (_, value) = value.expect("the embedded templates name only what they are given");
        page.push_str(before);
        escape(value, &mut page);
        rest = after;
    }
    page.push_str(rest);
    page
}

fn escape(value: &str, page: &mut String) {
    for character in value.chars() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            other => page.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_never_read_as_template() {
        let values = [("a", "\"><script>{{b}}'&".to_owned()), ("b", "no".to_owned())];
        assert_eq!(
            fill("x=\"{{a}}\" {{b}}", &values),
            "x=\"&quot;&gt;&lt;script&gt;{{b}}&#39;&amp;\" no"
        );
    }

    #[test]
    fn no_page_needs_an_inline_script_a_style_attribute_or_a_foreign_address() {
        for page in [HOST_PAGE, CHAT_PAGE] {
            for forbidden in [" onclick=", " onload=", " style=", "<style", "http://", "https://"] {
                assert!(!page.contains(forbidden), "{forbidden}");
            }
            for script in page.split("<script").skip(1) {
                assert!(script.trim_start().starts_with("type=\"module\" src=\"/assets/"));
            }
        }
        for asset in ASSETS {
            for forbidden in ["innerHTML", "eval(", "@import", "https://", "new Function"] {
                assert!(!asset.text.contains(forbidden), "{} has {forbidden}", asset.path);
            }
        }
    }
}
