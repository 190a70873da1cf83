//! What we answer ourselves below a persona's `/.vestibule/`: the scripts of its pages, what the
//! bridge has to say, and what the page around the chat tells of its handshake.
//!
//! Scripts are for everybody. What the bridge says is a launch's metadata that came by message instead of
//! by URL: it meets the same rules, and is charged like a launch unless it completes one. What the page
//! tells ([`beacon`]) changes nothing here: it has a limit of its own and no session.

use http::Method;

use super::facts::Whole;
use super::launch::{begin, end, is_media_type};
use super::outcome::{Action, Answer, AnswerField, Configured};
use super::visit::Visit;
use crate::embed;
use crate::http1::fields::Known;
use crate::policy::beacon::launch::Launch;
use crate::policy::beacon::{self, Told};
use crate::policy::identity::{Identity, State};
use crate::policy::limits::{self, Charge};
use crate::policy::metadata::{self, UserId, Voucher};
use crate::policy::origin::{self, Credential};
use crate::policy::session::{Arrival, Purpose, Stage, Succession, succession};
use crate::rejection::{Code, Methods, Rejection};

/// Bytes of what the bridge may say.
const MAX_CONFIG: usize = 16 * 1024;

const FOLDER: &str = "/.vestibule";

pub(super) fn is_config(below: &str) -> bool {
    below == "/.vestibule/config"
}

/// What is posted there and decided about as a whole.
pub(super) fn whole_body(below: &str) -> Option<Whole> {
    let config = Whole { most: MAX_CONFIG, beyond: "what the bridge says exceeds 16 KiB" };
    match below {
        "/.vestibule/beacon" => Some(Whole { most: beacon::MAX, beyond: "a beacon exceeds 2 KiB" }),
        below => is_config(below).then_some(config),
    }
}

/// Nothing for a path that is not ours.
pub(super) fn answer(
    visit: &Visit<'_>,
    fields: &mut Vec<AnswerField>,
) -> Option<Result<Action, Rejection>> {
    let name = visit.below.strip_prefix(FOLDER)?;
    if !(name.is_empty() || name.starts_with('/')) {
        return None;
    }
    let is_read = matches!(visit.head.method, Method::GET | Method::HEAD);
    Some(match name {
        "/bridge.js" | "/config" if !visit.persona.metadata.bridge => {
            Err(Rejection::new(Code::NotFound, "the persona has no bridge"))
        }
        "/bridge.js" if is_read => Ok(Action::Answer(Answer::Bridge)),
        "/shell.js" if visit.persona.shells.pages.is_empty() => {
            Err(Rejection::new(Code::NotFound, "the persona has no page around its chat"))
        }
        "/shell.js" if is_read => Ok(Action::Answer(Answer::ShellScript)),
        "/config" if visit.head.method == Method::POST => configure(visit, fields),
        // A page around a chat does not know the path of its session.
        "/beacon" if visit.prefixed.is_some() => {
            Err(Rejection::new(Code::NotFound, "a beacon in the path of a session"))
        }
        "/beacon" if visit.head.method == Method::POST => told(visit),
        "/beacon" => {
            let refusal = Rejection::new(Code::MethodNotAllowed, "a beacon is a POST");
            Err(refusal.allowing(Methods::Post))
        }
        "/bridge.js" | "/shell.js" | "/config" => {
            Err(Rejection::new(Code::MethodNotAllowed, "not how this is asked"))
        }
        _ => Err(Rejection::new(Code::NotFound, "nothing of ours has this name")),
    })
}

/// The bridge passes on who the page around it says is asking.
fn configure(visit: &Visit<'_>, fields: &mut Vec<AnswerField>) -> Result<Action, Rejection> {
    let head = visit.head;
    let is_json = |value: &[u8]| is_media_type(value, "application/json");
    if !head.fields.get(Known::ContentType).is_some_and(is_json) {
        return Err(Rejection::new(Code::MediaTypeUnsupported, "the bridge speaks JSON"));
    }
    let held = visit.session();
    // The document that waits for this was charged.
    let is_awaited = held.as_ref().is_ok_and(|session| session.identity.state == State::Awaiting);
    let charge = if is_awaited { Charge::Nothing } else { Charge::One };
    let passed = visit.address_limit(charge)?;
    let parameters = embed::config::parse(visit.ambient.body.unwrap_or_default())?;
    let is_bare = parameters.is_bare();
    // Of a signed launch the page around it can only repeat what its server signed.
    if visit.persona.metadata.signed
        && held.as_ref().is_ok_and(|held| held.identity.is_said_by(&parameters))
    {
        let _ = visit.origin(origin::Kind::Request, Credential::Cookie)?;
        visit.take_back(passed);
        return Ok(Action::Answer(Answer::Configured(Configured::Already)));
    }
    let metadata = metadata::decide(&visit.persona.metadata, parameters, Voucher::Browser)?;
    if *metadata.user_id() == UserId::Awaiting {
        return Err(Rejection::new(Code::UserIdMissing, "the bridge was told no user_id"));
    }
    let held = match held {
        Err(refusal) if visit.prefixed.is_some() => return Err(refusal),
        session => session.ok(),
    };
    let credential = if held.is_some() { Credential::Cookie } else { Credential::None };
    let from = visit.origin(origin::Kind::Request, credential)?;
    let device = visit.owner.device().map(|slug| &**slug);
    let now = visit.ambient.now;
    let arrival = Arrival { device, proof: None, is_bare, by_itself: true, now };
    fields.push(("Cache-Control", "no-store".to_owned()));
    if let Succession::Continue { reissue } = succession(held.as_ref(), &metadata, &arrival)
        && let Some(held) = held
    {
        visit.take_back(passed);
        if reissue && visit.prefixed.is_none() {
            let mut session = held.reissued(now, Purpose::Cookie.lifetime());
            session.identity.direction = metadata.direction().or(session.identity.direction);
            visit.set_cookie(&session, fields)?;
        }
        return Ok(Action::Answer(Answer::Configured(Configured::Already)));
    }
    let _ = visit.tenant_limits(passed, from, fields)?;
    let identity = Identity::settle(&metadata, device, (visit.ambient.random)());
    let mut session = begin(visit, identity, held.as_ref());
    session.stage = Stage::Launching;
    if let Some(held) = &held {
        if held.identity.state == State::Awaiting {
            // It is the same launch: what a form brought is this session's.
            visit.may_change()?;
            let (from, to) = (held.id.hash(), session.id.hash());
            let until = session.remembered_until(now);
            visit.ambient.parked.hand_over(&visit.persona.tenant, &from, to, until);
        }
        end(visit, held)?;
    }
    visit.set_cookie(&session, fields)?;
    let prefix = if visit.keeps_cookies() { String::new() } else { visit.path_prefix(&session)? };
    Ok(Action::Answer(Answer::Configured(Configured::Anew { prefix })))
}

/// The page around the chat tells how its handshake went. What comes of it is for whoever counts.
fn told(visit: &Visit<'_>) -> Result<Action, Rejection> {
    let (persona, ambient) = (visit.persona, visit.ambient);
    let key = (&*persona.tenant, visit.client());
    limits::beacon(ambient.limiter, &persona.rules, key, ambient.moment)
        .map_err(Rejection::limited)?;
    let caller = persona.origin.embedder(visit.headers)?;
    ambient.note("origin", || format!("{caller:?}").to_lowercase());
    let is_text = |value: &[u8]| is_media_type(value, "text/plain");
    if !visit.head.fields.get(Known::ContentType).is_some_and(is_text) {
        return Err(Rejection::new(Code::MediaTypeUnsupported, "a beacon is text/plain"));
    }
    let (handshake, launch) = beacon::parse(ambient.body.unwrap_or_default())?;
    let launch = match launch {
        Some(text) => Launch::read(text, &persona.keys, ambient.now)?,
        None => None,
    };
    ambient.note("handshake", || handshake.to_string());
    Ok(Action::Answer(Answer::Told(Box::new(Told { handshake, launch }))))
}
