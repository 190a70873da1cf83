//! `vestibule explain`: what would become of a request, stage by stage, without sending any.
//!
//! The request goes through the same [`admit`] that serves, with limits and sessions of its own, as
//! a browser would send it: it keeps our cookie (or, if asked, refuses it) and follows our
//! redirects. Nothing is sent anywhere, and no token is printed.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use crate::apps::streamlit;
use crate::config::snapshot::{ServerAddress, Snapshot};
use crate::edge::headers::{Outbound, write_request};
use crate::gate::target::Address;
use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, Version};
use crate::pipeline::{
    Action, Admission, Ambient, Answer, Configured, ConnectionFacts, Forward, Journal, Owner,
    Scheme, admit, wanted_body,
};
use crate::policy::front::folders::Wanted;
use crate::policy::limits::Moment;
use crate::policy::session::{UnixSeconds, prefix};
use crate::state::jar::Jars;
use crate::state::limits::Limiter;
use crate::state::parked::Parked;
use crate::state::passwords::Passwords;
use crate::state::replay::Replays;
use crate::state::sessions::Sessions;

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

/// Redirects that are followed.
const STEPS: usize = 6;

/// The explanation, or why the question makes no sense.
pub fn explain(snapshot: &Snapshot, question: &Question) -> Result<String, String> {
    let url = Url::parse(&question.url)?;
    let mut world = World::new(snapshot, url.scheme, url.host());
    let mut request = Request::of(question, &url)?;
    if let Some(launched) = &question.launched {
        let cookie = world.launched(launched)?;
        request.set("Cookie", &cookie);
    }
    let mut out = String::new();
    for step in 1..=STEPS {
        let next = world.step(step, &request, &mut out);
        let Some(next) = next else { return Ok(out) };
        if question.cookies == Cookies::Kept
            && let Some(cookie) = next.cookie
        {
            request.set("Cookie", &cookie);
        }
        let Some(location) = next.location else { return Ok(out) };
        request = request.following(location);
    }
    out.push_str("It goes on redirecting.\n");
    Ok(out)
}

/// Scheme, authority and target of a URL.
struct Url<'u> {
    scheme: Scheme,
    authority: &'u str,
    target: String,
}

impl<'u> Url<'u> {
    fn parse(text: &'u str) -> Result<Self, String> {
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

    fn host(&self) -> &'u str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => self.authority,
        }
    }
}

/// A request on its way through redirects.
struct Request {
    head: RequestHead,
    fields: Vec<(String, String)>,
    body: Option<String>,
}

impl Request {
    fn of(question: &Question, url: &Url<'_>) -> Result<Self, String> {
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
        for line in &question.headers {
            let Some((name, value)) = line.split_once(':') else {
                return Err(format!("{line:?} is no header: write \"Name: value\""));
            };
            request.set(name.trim(), value.trim());
        }
        request.prepare();
        Ok(request)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.fields.push((name.to_owned(), value.to_owned()));
        self.prepare();
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
    fn following(mut self, location: Location) -> Self {
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

struct Location {
    target: String,
    way: Way,
}

/// How a browser goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it came: 308.
    Resent,
    /// By GET: 303.
    Got,
    /// In a frame of the page that it has got.
    Framed,
}

struct Next {
    location: Option<Location>,
    cookie: Option<String>,
}

/// A server without sockets.
struct World<'a> {
    snapshot: &'a Snapshot,
    connection: ConnectionFacts,
    limiter: Limiter,
    sessions: Sessions,
    jars: Arc<Jars>,
    replays: Replays,
    parked: Parked,
    passwords: Passwords,
    now: UnixSeconds,
}

/// An address that is nobody's (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl<'a> World<'a> {
    fn new(snapshot: &'a Snapshot, scheme: Scheme, host: &str) -> Self {
        let names = || snapshot.tenants.keys().map(|name| &**name);
        let (limiter, sessions) = (Limiter::default(), Sessions::default());
        limiter.follow(names());
        sessions.follow(names());
        let server_name = (scheme == Scheme::Https).then(|| host.to_ascii_lowercase().into());
        Self {
            snapshot,
            connection: ConnectionFacts { client: CLIENT, trusted: false, scheme, server_name },
            limiter,
            sessions,
            jars: Arc::default(),
            replays: Replays::default(),
            parked: Parked::default(),
            // Nobody is shown to have verified anything: what a password opens is not explained.
            passwords: Passwords::new(&[0; 32]),
            now: UnixSeconds::from(SystemTime::now()),
        }
    }

    /// The session's cookie after somebody opened this URL.
    fn launched(&mut self, url: &str) -> Result<String, String> {
        let before = Question {
            url: url.to_owned(),
            method: Method::GET,
            headers: Vec::new(),
            body: None,
            place: Place::Frame,
            cookies: Cookies::Kept,
            launched: None,
        };
        let mut request = Request::of(&before, &Url::parse(url)?)?;
        let mut cookie = None;
        let mut out = String::new();
        for step in 1..=STEPS {
            let Some(next) = self.step(step, &request, &mut out) else { break };
            if let Some(set) = next.cookie {
                request.set("Cookie", &set);
                cookie = Some(set);
            }
            let Some(location) = next.location else { break };
            request = request.following(location);
        }
        cookie.ok_or(format!("{url} starts no session:\n{}", out.trim_end()))
    }

    fn step(&mut self, step: usize, request: &Request, out: &mut String) -> Option<Next> {
        let journal = Journal::default();
        let head = &request.head;
        let wants = wanted_body(self.snapshot, &self.connection, head).is_some();
        let ambient = Ambient {
            now: self.now,
            moment: Moment::since_epoch(Duration::from_secs(step as u64)),
            random: &random,
            is_ours: true,
            limiter: &self.limiter,
            sessions: &self.sessions,
            jars: &self.jars,
            replays: &self.replays,
            parked: &self.parked,
            passwords: &self.passwords,
            body: request.body.as_deref().filter(|_| wants).map(str::as_bytes),
            journal: Some(&journal),
        };
        let admission = admit(self.snapshot, &self.connection, head, &ambient);
        // Writing to a String cannot fail.
        let asked = match &admission.address {
            Some(address) => canonical(&address.path, address.query),
            // What has no canonical form may spell a token in any.
            None if head.target.contains("/.v/") => "/.v/-".to_owned(),
            None => head.target.clone(),
        };
        let _ = writeln!(out, "{step}  {} {asked}", head.method);
        for (stage, text) in journal.take() {
            line(out, stage, &text);
        }
        let Admission { address, owner, verdict, fields } = admission;
        let cookie = fields.iter().find(|(name, _)| *name == "Set-Cookie").map(|(_, value)| value);
        if cookie.is_some() {
            line(out, "cookie", "a session's, for this persona and this partition alone");
        }
        let cookie = cookie.map(|value| value.split(';').next().unwrap_or_default().to_owned());
        let location = match verdict {
            Err(rejection) => {
                let (status, code) = (rejection.code.status_u16(), rejection.code.as_str());
                line(out, "answer", &format!("{status} {code}: {}", rejection.reason));
                None
            }
            Ok(Action::Redirect(target)) => self.redirected(out, (308, Way::Resent), target),
            Ok(Action::Moved(status, target)) => {
                let way = if matches!(status.as_u16(), 307 | 308) { Way::Resent } else { Way::Got };
                self.redirected(out, (status.as_u16(), way), target)
            }
            Ok(Action::SeeOther(target)) => self.redirected(out, (303, Way::Got), target),
            Ok(Action::File(action)) => {
                let Wanted { folder, file } = &action.wanted;
                line(
                    out,
                    "answer",
                    &format!("the file {file} of {}, if it is there", folder.path.display()),
                );
                None
            }
            Ok(Action::Answer(answer)) => {
                line(out, "answer", &described(&answer));
                match answer {
                    Answer::Shell { chat, .. } => Some(Location { target: chat, way: Way::Framed }),
                    _ => None,
                }
            }
            Ok(Action::Forward(forward)) => {
                if let (Some(address), Some(owner)) = (&address, &owner) {
                    self.forwarded(out, head, address, owner, &forward);
                }
                None
            }
        };
        Some(Next { location, cookie })
    }

    fn redirected(
        &self,
        out: &mut String,
        (status, way): (u16, Way),
        target: String,
    ) -> Option<Location> {
        line(out, "answer", &format!("{status} to {}", prefix::printable(&target)));
        // To another scheme or host: another question.
        target.starts_with('/').then_some(Location { target, way })
    }

    fn forwarded(
        &self,
        out: &mut String,
        head: &RequestHead,
        address: &Address<'_>,
        owner: &Owner,
        forward: &Forward,
    ) {
        let upstream = owner.upstream();
        let servers: Vec<String> = upstream.servers.iter().map(|s| shown(&s.address)).collect();
        line(out, "forward", &format!("upstream {}: {}", upstream.name, servers.join(", ")));
        let under = forward.dress.under.as_ref();
        let cookies = under.and_then(crate::pipeline::Under::cookies);
        let xsrf = under.and_then(|under| under.cookie(streamlit::XSRF_COOKIE));
        let mut wire = Vec::new();
        let outbound = Outbound {
            head,
            address,
            forward,
            connection: &self.connection,
            request_id: b"made for each request",
            trace: None,
            websocket_key: None,
            cookies: cookies.as_deref(),
            xsrf: xsrf.as_deref(),
        };
        write_request(&mut wire, &outbound, |wire| {
            let persona = forward.passport.as_ref().map(|passport| &passport.persona);
            if persona.is_some_and(|persona| persona.assertion.is_some()) {
                wire.extend_from_slice(b"X-Vestibule-Assertion: made for each session\r\n");
            }
        });
        for sent in String::from_utf8_lossy(&wire).trim_end().lines() {
            let _ = writeln!(out, "                {sent}");
        }
        let _ = writeln!(out, "                traceparent: made for each request");
        if forward.dress.bridge {
            line(out, "dress", "the bridge's script element is written into the page");
        }
        let is_page = forward.dress.framing == crate::pipeline::Framing::Document
            || owner.persona().is_none();
        if let Some(csp) = forward.dress.csp().filter(|_| is_page) {
            let edit = csp.edit(std::iter::empty());
            if let crate::policy::csp::FieldEdit::Set(policy) = &edit.enforce {
                line(out, "dress", &format!("Content-Security-Policy: {policy}"));
            }
        }
    }
}

fn canonical(path: &str, query: Option<&str>) -> String {
    let path = prefix::printable(path);
    query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"))
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // What is explained is thrown away: without randomness it is as good.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

fn line(out: &mut String, stage: &str, text: &str) {
    let _ = writeln!(out, "   {stage:<12} {text}");
}

fn shown(address: &ServerAddress) -> String {
    match address {
        ServerAddress::Ip(address) => address.to_string(),
        ServerAddress::Name(name, port) => format!("{name}:{port}"),
        ServerAddress::Unix(path) => path.display().to_string(),
    }
}

fn described(answer: &Answer) -> String {
    match answer {
        Answer::HostConfig(_) => "200, Streamlit's host-config, from the embed origins".to_owned(),
        Answer::Preflight => "204, what a script of another origin may send".to_owned(),
        Answer::Bridge => "200, the bridge's script".to_owned(),
        Answer::ShellScript => "200, the script of the page around the chat".to_owned(),
        Answer::Shell { chat, .. } => {
            let path = chat.split('?').next().unwrap_or_default();
            format!("200, the page around the chat; the chat is at {}", prefix::printable(path))
        }
        Answer::Configured(Configured::Already) => "200, the session says that already".to_owned(),
        Answer::Configured(Configured::Anew { .. }) => "200, a new session began".to_owned(),
        Answer::Told(_) => "204, it is counted for the persona".to_owned(),
        Answer::Waiting(_) => "200, a page that waits for the host page's word".to_owned(),
    }
}
