//! Header fields of answers that the operator sets or removes, and HSTS.
//!
//! Decides which names may be touched ([`owner`]) and what joins an answer. A field that is set
//! takes the place of the app's. What Vestibule says itself for a reason of its own (cookies, its
//! policies, `no-store` on a page about an error) stays.
//!
//! What must not happen: a field ends a head early or begins another; HSTS is said over plain HTTP,
//! where anybody on the way could have said it (RFC 6797, section 7.2).

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// One persona's or site's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Names in lower case.
    pub set: Box<[(Box<str>, Box<str>)]>,
    pub remove: Box<[Box<str>]>,
    /// The value of Strict-Transport-Security.
    pub hsts: Option<Box<str>>,
}

const HSTS: &str = "Strict-Transport-Security";

impl Headers {
    /// Whether the app's field of that name does not pass.
    pub fn replaces(&self, name: &[u8]) -> bool {
        let is = |own: &str| own.as_bytes().eq_ignore_ascii_case(name);
        self.set.iter().any(|(own, _)| is(own))
            || self.remove.iter().any(|own| is(own))
            || self.hsts.is_some() && is(HSTS)
    }

    /// What joins an answer that reaches its client so.
    pub fn joining(&self, is_https: bool) -> impl Iterator<Item = (&str, &str)> {
        let set = self.set.iter().map(|(name, value)| (&**name, &**value));
        let hsts = self.hsts.as_deref().filter(|_| is_https).map(|value| (HSTS, value));
        set.chain(hsts)
    }
}

/// Who says a field instead of the operator, as a sentence's end; `None` where it is free.
pub fn owner(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    Some(match name.as_str() {
        "content-security-policy" | "content-security-policy-report-only" => {
            "is merged from the app's and ours: let the app send what you want to add"
        }
        "x-frame-options" => "gives way to frame-ancestors: write embed_origins",
        "strict-transport-security" => "has a key of its own: write hsts = { max_age = \"8760h\" }",
        "location" => {
            "has a key of its own: write redirects = [{ from = \"/old\", to = \"/new\" }]"
        }
        "set-cookie" => "is the app's and ours: cookies are made to work in frames",
        "vary" | "content-encoding" | "accept-ranges" | "etag" => {
            "belongs to compression, which changes it as needed: leave it out"
        }
        "content-length" | "transfer-encoding" | "trailer" | "te" | "content-range" => {
            "says where the answer ends: leave it out"
        }
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "upgrade"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "http2-settings" => "is about one connection: leave it out",
        "x-request-id" | "date" => "is said by us: leave it out",
        "www-authenticate" => "has a key of its own: write basic_auth",
        _ if name.starts_with("x-vestibule-") => {
            "is for the app, and never for a client: leave it out"
        }
        _ if name.starts_with("access-control-") => "follows from embed_origins: leave it out",
        _ => return None,
    })
}

/// Whether it is the name of a field.
pub fn is_name(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Whether it can be the value of a field: visible ASCII and single spaces inside.
pub fn is_value(value: &str) -> bool {
    HeaderValue::from_str(value).is_ok() && value.is_ascii() && value.trim() == value
}

/// What HSTS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    pub max_age: Duration,
    pub include_subdomains: bool,
    pub preload: bool,
}

impl Hsts {
    /// What browsers' preload lists ask for.
    pub const PRELOAD: Duration = Duration::from_secs(365 * 86_400);

    pub fn value(&self) -> Box<str> {
        let mut value = format!("max-age={}", self.max_age.as_secs());
        if self.include_subdomains {
            let _ = write!(value, "; includeSubDomains");
        }
        if self.preload {
            let _ = write!(value, "; preload");
        }
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_has_an_owner_in_every_spelling() {
        for ours in [
            "Content-Security-Policy",
            "SET-COOKIE",
            "X-Vestibule-Anything",
            "transfer-encoding",
            "Access-Control-Allow-Origin",
            "Vary",
        ] {
            assert!(owner(ours).is_some(), "{ours}");
        }
        for free in ["Referrer-Policy", "Server", "X-Content-Type-Options", "Cache-Control"] {
            assert_eq!(owner(free), None, "{free}");
        }
    }

    #[test]
    fn a_field_cannot_begin_another() {
        for bad in ["a\r\nb: c", "a\nb", " a", "a ", "\u{e4}", "a\u{0}"] {
            assert!(!is_value(bad), "{bad:?}");
        }
        assert!(is_value("camera=(), microphone=()") && is_value(""));
        for bad in ["", "a b", "a:", "\u{e4}", "a\n"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn hsts_is_said_over_https_alone() {
        let hsts = Hsts { max_age: Hsts::PRELOAD, include_subdomains: true, preload: true };
        let headers = Headers {
            set: Box::new([("x-a".into(), "1".into())]),
            remove: Box::new(["server".into()]),
            hsts: Some(hsts.value()),
        };
        let said = |is_https| headers.joining(is_https).collect::<Vec<_>>();
        assert_eq!(said(false), [("x-a", "1")]);
        let value = "max-age=31536000; includeSubDomains; preload";
        assert_eq!(said(true), [("x-a", "1"), ("Strict-Transport-Security", value)]);
        for (name, replaced) in
            [("X-A", true), ("Server", true), ("strict-transport-security", true), ("X-B", false)]
        {
            assert_eq!(headers.replaces(name.as_bytes()), replaced, "{name}");
        }
    }
}
