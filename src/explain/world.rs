//! A server without sockets, in which a request's fate is found out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use super::question::{Cookies, Location, Place, Question, Request, Url, Way};
use super::verdict::Verdict;
use super::{Explanation, STEPS, Step};
use crate::apps::streamlit;
use crate::config::snapshot::{ServerAddress, Snapshot};
use crate::edge::headers::{Outbound, write_request};
use crate::gate::target::Address;
use crate::http1::head::RequestHead;
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

/// How a browser goes on after a step.
pub(super) struct Next {
    pub location: Option<Location>,
    pub cookie: Option<String>,
}

/// A server without sockets.
pub(super) struct World<'a> {
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
    pub fn new(snapshot: &'a Snapshot, url: &Url<'_>, client: Option<IpAddr>) -> Self {
        let names = || snapshot.tenants.keys().map(|name| &**name);
        let (limiter, sessions) = (Limiter::default(), Sessions::default());
        limiter.follow(names());
        sessions.follow(names());
        let scheme = url.scheme;
        let server_name = (scheme == Scheme::Https).then(|| url.host().to_ascii_lowercase().into());
        let client = client.unwrap_or(CLIENT);
        Self {
            snapshot,
            connection: ConnectionFacts { client, trusted: false, scheme, server_name },
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
    pub fn launched(&mut self, url: &str) -> Result<String, String> {
        let before = Question {
            url: url.to_owned(),
            method: Method::GET,
            headers: Vec::new(),
            body: None,
            place: Place::Frame,
            cookies: Cookies::Kept,
            launched: None,
            client: None,
        };
        let mut request = Request::of(&before, &Url::parse(url)?)?;
        let mut cookie = None;
        let mut steps = Vec::new();
        for number in 1..=STEPS {
            let (step, next) = self.step(number, &request);
            steps.push(step);
            if let Some(set) = next.cookie {
                request.set("Cookie", &set);
                cookie = Some(set);
            }
            let Some(location) = next.location else { break };
            request = request.following(location);
        }
        let shown = Explanation { steps, goes_on: false };
        cookie.ok_or_else(|| format!("{url} starts no session:\n{}", shown.to_string().trim_end()))
    }

    /// What becomes of one request.
    pub fn step(&mut self, number: usize, request: &Request) -> (Step, Next) {
        let journal = Journal::default();
        let head = &request.head;
        let wants = wanted_body(self.snapshot, &self.connection, head).is_some();
        let ambient = Ambient {
            now: self.now,
            moment: Moment::since_epoch(Duration::from_secs(number as u64)),
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
        let asked = match &admission.address {
            Some(address) => canonical(&address.path, address.query),
            // What has no canonical form may spell a token in any.
            None if head.target.contains("/.v/") => "/.v/-".to_owned(),
            None => head.target.clone(),
        };
        let mut step = Step::new(number, &head.method, asked);
        journal.take().into_iter().for_each(|(stage, text)| step.note(stage, text));
        let Admission { address, owner, verdict, fields } = admission;
        let cookie = fields.iter().find(|(name, _)| *name == "Set-Cookie").map(|(_, value)| value);
        if cookie.is_some() {
            step.note("cookie", "a session's, for this persona and this partition alone".into());
        }
        let cookie = cookie.map(|value| value.split(';').next().unwrap_or_default().to_owned());
        let location = match verdict {
            Err(rejection) => {
                let (status, code) = (rejection.code.status_u16(), rejection.code.as_str());
                step.note("answer", format!("{status} {code}: {}", rejection.reason));
                step.verdict = Verdict::refused(&rejection);
                None
            }
            Ok(Action::Forward(forward)) => {
                if let (Some(address), Some(owner)) = (&address, &owner) {
                    self.forwarded(&mut step, head, address, owner, &forward);
                    step.verdict = Verdict::forwarded(&owner.upstream().name);
                }
                None
            }
            Ok(action) => answered(&mut step, action),
        };
        (step, Next { location, cookie })
    }

    fn forwarded(
        &self,
        step: &mut Step,
        head: &RequestHead,
        address: &Address<'_>,
        owner: &Owner,
        forward: &Forward,
    ) {
        let upstream = owner.upstream();
        let servers: Vec<String> = upstream.servers.iter().map(|s| shown(&s.address)).collect();
        step.note("forward", format!("upstream {}: {}", upstream.name, servers.join(", ")));
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
            step.send(sent);
        }
        step.send("traceparent: made for each request");
        if forward.dress.bridge {
            step.note("dress", "the bridge's script element is written into the page".into());
        }
        let is_page = forward.dress.framing == crate::pipeline::Framing::Document
            || owner.persona().is_none();
        if let Some(csp) = forward.dress.csp().filter(|_| is_page) {
            let edit = csp.edit(std::iter::empty());
            if let crate::policy::csp::FieldEdit::Set(policy) = &edit.enforce {
                step.note("dress", format!("Content-Security-Policy: {policy}"));
            }
        }
    }
}

/// An answer of ours that is no refusal, and where it leads.
fn answered(step: &mut Step, action: Action) -> Option<Location> {
    match action {
        Action::Redirect(target) => redirected(step, (308, Way::Resent), target),
        Action::Moved(status, target) => {
            let way = if matches!(status.as_u16(), 307 | 308) { Way::Resent } else { Way::Got };
            redirected(step, (status.as_u16(), way), target)
        }
        Action::SeeOther(target) => redirected(step, (303, Way::Got), target),
        Action::File(action) => {
            let Wanted { folder, file } = &action.wanted;
            let text = format!("the file {file} of {}, if it is there", folder.path.display());
            step.verdict = Verdict::file(text.clone());
            step.note("answer", text);
            None
        }
        Action::Answer(answer) => {
            let (status, text) = described(&answer);
            step.note("answer", format!("{status}, {text}"));
            step.verdict = Verdict::answered(status, text);
            match answer {
                Answer::Shell { chat, .. } => Some(Location { target: chat, way: Way::Framed }),
                _ => None,
            }
        }
        // Told by whoever knows the request.
        Action::Forward(_) => None,
    }
}

fn redirected(step: &mut Step, (status, way): (u16, Way), target: String) -> Option<Location> {
    let shown = prefix::printable(&target);
    step.note("answer", format!("{status} to {shown}"));
    step.verdict = Verdict::redirected(status, &shown);
    // To another scheme or host: another question.
    target.starts_with('/').then_some(Location { target, way })
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

fn shown(address: &ServerAddress) -> String {
    match address {
        ServerAddress::Ip(address) => address.to_string(),
        ServerAddress::Name(name, port) => format!("{name}:{port}"),
        ServerAddress::Unix(path) => path.display().to_string(),
    }
}

fn described(answer: &Answer) -> (u16, String) {
    let text = match answer {
        Answer::HostConfig(_) => "Streamlit's host-config, from the embed origins",
        Answer::Preflight => return (204, "what a script of another origin may send".to_owned()),
        Answer::Bridge => "the bridge's script",
        Answer::ShellScript => "the script of the page around the chat",
        Answer::Shell { chat, .. } => {
            let path = prefix::printable(chat.split('?').next().unwrap_or_default());
            return (200, format!("the page around the chat; the chat is at {path}"));
        }
        Answer::Configured(Configured::Already) => "the session says that already",
        Answer::Configured(Configured::Anew { .. }) => "a new session began",
        Answer::Told(_) => return (204, "it is counted for the persona".to_owned()),
        Answer::Waiting(_) => "a page that waits for the host page's word",
    };
    (200, text.to_owned())
}
