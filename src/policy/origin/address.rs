//! Origins: as a browser sends them, and as the configuration allows them.
//!
//! Both are read into scheme, host and port with the default filled in, so that `HTTPS://A:443` and
//! `https://a` are one origin. The host is made canonical by the gate's own function.

use std::borrow::Cow;

use crate::gate::host;
use crate::pipeline::Scheme;

/// A scheme, a canonical host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'a> {
    scheme: Scheme,
    host: Cow<'a, str>,
    port: u16,
}

impl<'a> Address<'a> {
    /// Where the browser found us. `scheme` is what the browser used: behind a balancer that has
    /// ended TLS, what that says.
    pub fn own(scheme: Scheme, host: &'a host::Host<'_>) -> Self {
        let port = host.port.unwrap_or(default_port(scheme));
        Self { scheme, host: Cow::Borrowed(&*host.name), port }
    }

    /// `https://host` or `https://host:port`, and nothing after it.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let schemes = [Scheme::Https, Scheme::Http];
        let scheme = schemes.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(scheme))?;
        let host = host::canonical(authority).ok()?;
        let port = host.port.unwrap_or(default_port(scheme));
        Some(Self { scheme, host: host.name, port })
    }
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// The `Origin` of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OriginField<'r> {
    #[default]
    Absent,
    /// `null`, or `file://` from shells around a browser; as it was sent.
    Opaque(&'r str),
    /// With the text as it was sent, for the answer.
    Address(Address<'r>, &'r str),
    /// Repeated, or neither of these.
    Invalid,
}

impl<'r> OriginField<'r> {
    /// With one more line: a repeated Origin is none.
    #[must_use]
    pub fn and(self, value: &'r [u8]) -> Self {
        match self {
            Self::Absent => Self::parse(value),
            _ => Self::Invalid,
        }
    }

    pub fn parse(value: &'r [u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok(text @ ("null" | "file://")) => Self::Opaque(text),
            Ok(text) => match Address::parse(text) {
                Some(address) => Self::Address(address, text),
                None => Self::Invalid,
            },
            Err(_) => Self::Invalid,
        }
    }
}

/// An origin of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin {
    text: Box<str>,
    what: Allowed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Exactly(Address<'static>),
    /// Every subdomain of the host, at any depth, and not the host itself; as in a policy.
    Below(Address<'static>),
    File,
}

impl AllowedOrigin {
    /// `https://www.example.com`, `https://*.example.com`, `http://localhost:3000` or `file:`.
    /// Otherwise a sentence that says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("{text:?} is not an origin: {why}"));
        if text == "file:" {
            return Ok(Self { text: text.into(), what: Allowed::File });
        }
        let Some((scheme, authority)) = text.split_once("://") else {
            return refuse("write scheme and host, as in https://www.example.com");
        };
        if let Some(end) = authority.find(['/', '?', '#']) {
            let origin = format!("{scheme}://{}", &authority[..end]);
            return refuse(&format!("it goes on after the host; write {origin}"));
        }
        let (parent, below) = match authority.strip_prefix("*.") {
            Some(parent) => (format!("{scheme}://{parent}"), true),
            None => (text.to_owned(), false),
        };
        let Some(address) = Address::parse(&parent) else {
            return refuse("write https://HOST or https://HOST:PORT with a valid host");
        };
        let address = Address { host: Cow::Owned(address.host.into_owned()), ..address };
        let is_name = address.host.contains(|letter: char| letter.is_ascii_alphabetic());
        if below && !(is_name && address.host.contains('.')) {
            return refuse("a wildcard needs a domain of its own, as in https://*.example.com");
        }
        let port = match address.port {
            0 => return refuse("its port is not a number from 1 to 65535"),
            port if port == default_port(address.scheme) => String::new(),
            port => format!(":{port}"),
        };
        let wildcard = if below { "*." } else { "" };
        let text = format!("{}://{wildcard}{}{port}", address.scheme.as_str(), address.host);
        let what = if below { Allowed::Below(address) } else { Allowed::Exactly(address) };
        Ok(Self { text: text.into(), what })
    }

    /// As browsers serialise it: a source expression for a policy.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_file(&self) -> bool {
        self.what == Allowed::File
    }

    pub fn admits(&self, address: &Address<'_>) -> bool {
        match &self.what {
            Allowed::Exactly(allowed) => allowed == address,
            Allowed::Below(parent) => {
                let below = address.host.strip_suffix(&*parent.host);
                (parent.scheme, parent.port) == (address.scheme, address.port)
                    && below.is_some_and(|labels| labels.ends_with('.') && labels.len() > 1)
            }
            Allowed::File => false,
        }
    }
}
