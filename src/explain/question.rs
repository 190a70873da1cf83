//! What is asked: a request as somebody describes it, and as a browser would send it.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Method};

use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::{MAX_FIELDS, RequestHead, Version};
use crate::pipeline::Scheme;

/// A request as somebody describes it.
#[derive(Debug, Clone)]
pub struct Question {
    pub url: String,
    pub method: Method,
    /// `Name: value`, added to what a browser sends.
    pub headers: Vec<String>,
    /// The body of a POST.
    pub body: Option<String>,
    pub place: Place,
    pub cookies: Cookies,
    /// What the browser opened before, to be in a session.
    pub launched: Option<String>,
    /// Where it comes from; an address that is nobody's, where nothing is said.
    pub client: Option<IpAddr>,
}

/// Where the browser shows what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a frame of another site's page.
    Frame,
    Tab,
    /// A script of the chat's own page asks.
    Fetch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    Kept,
    Refused,
}

/// Scheme, authority and target of a URL.
pub(super) struct Url<'u> {
    pub scheme: Scheme,
    authority: &'u str,
    target: String,
}

impl<'u> Url<'u> {
    pub fn parse(text: &'u str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(format!("{text:?} is no URL: it has a space or a control character in it"));
        }
        let schemes = [("https://", Scheme::Https), ("http://", Scheme::Http)];
        let found = schemes.iter().find_map(|(s, scheme)| Some((text.strip_prefix(s)?, *scheme)));
        let Some((rest, scheme)) = found else {
            return Err(format!("{text:?} is no URL: write https://HOST/PATH"));
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        if authority.is_empty() {
            return Err(format!("{text:?} has no host: write https://HOST/PATH"));
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, authority, target: [slash, target].concat() })
    }

    pub fn host(&self) -> &'u str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => self.authority,
        }
    }
}

/// A request on its way through redirects.
pub(super) struct Request {
    pub head: RequestHead,
    fields: Vec<(String, String)>,
    pub body: Option<String>,
}

impl Request {
    pub fn of(question: &Question, url: &Url<'_>) -> Result<Self, String> {
        let mut fields = vec![("Host".to_owned(), url.authority.to_owned())];
        let mut add = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        match question.place {
            Place::Frame | Place::Tab => {
                let (dest, site) = match question.place {
                    Place::Frame => ("iframe", "cross-site"),
                    _ => ("document", "none"),
                };
                add("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
                add("Sec-Fetch-Mode", "navigate");
                add("Sec-Fetch-Dest", dest);
                add("Sec-Fetch-Site", site);
            }
            Place::Fetch => {
                add("Accept", "*/*");
                add("Sec-Fetch-Mode", "cors");
                add("Sec-Fetch-Dest", "empty");
                add("Sec-Fetch-Site", "same-origin");
            }
        }
        if question.body.is_some() {
            add("Content-Type", "application/x-www-form-urlencoded");
        }
        let mut request = Self {
            head: RequestHead {
                method: question.method.clone(),
                target: url.target.clone(),
                version: Version::Http11,
                ..RequestHead::default()
            },
            fields,
            body: question.body.clone(),
        };
        if question.headers.len() > MAX_FIELDS {
            return Err(format!("no request has more than {MAX_FIELDS} header fields"));
        }
        for line in &question.headers {
            let (name, value) = header(line)?;
            request.put(name, value);
        }
        request.prepare();
        Ok(request)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.put(name, value);
        self.prepare();
    }

    fn put(&mut self, name: &str, value: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    fn prepare(&mut self) {
        self.head.fields.clear();
        for (name, value) in &self.fields {
            self.head.fields.push(name.as_bytes(), value.as_bytes());
        }
        let upgrade = self.head.fields.get(Known::Upgrade).is_some();
        self.head.connection.upgrade = upgrade;
        self.head.framing = match &self.body {
            Some(body) => Framing::Length(body.len() as u64),
            None => Framing::Empty,
        };
    }

    /// By GET, as after a 303; a 308 keeps the method, and the question's body.
    pub fn following(mut self, location: Location) -> Self {
        self.head.target = location.target;
        if location.way != Way::Resent {
            self.head.method = Method::GET;
            self.body = None;
        }
        self.prepare();
        if location.way == Way::Framed {
            self.set("Sec-Fetch-Dest", "iframe");
            self.set("Sec-Fetch-Site", "same-origin");
        }
        self
    }
}

pub(super) struct Location {
    pub target: String,
    pub way: Way,
}

/// How a browser goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As it came: 308.
    Resent,
    /// By GET: 303.
    Got,
    /// In a frame of the page that it has got.
    Framed,
}

/// What cannot stand in a request is no header.
fn header(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line.split_once(':').unwrap_or_default();
    let (name, value) = (name.trim(), value.trim());
    let is_sound =
        HeaderName::try_from(name).is_ok() && HeaderValue::from_bytes(value.as_bytes()).is_ok();
    match is_sound {
        true => Ok((name, value)),
        false => Err(format!("{line:?} is no header: write \"Name: value\"")),
    }
}
