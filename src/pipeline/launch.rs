//! A launch: who is asking, by whose word, in which session, by cookie or by path.
//!
//! | the request | what is answered |
//! | --- | --- |
//! | goes on with the session it shows | the document |
//! | begins a session; the browser is known to keep cookies, or nothing depends on it | the document, with the cookie |
//! | begins a session that the page will need, in a frame | 303 to `/.v/TOKEN/PATH`, with the cookie |
//! | is there, and the cookie came back | 303 to `PATH`: part of the same launch |
//! | is there, and a cookie of another session came | 303 to `PATH`: the cookie says who is asking |
//! | is there without it, the app's URLs are relative | the document; the page lives below the prefix |
//! | is there without it, the app's URLs are absolute | 403 `cookies_required` where the persona requires identity; else the document, whose requests are anonymous |
//! | is there with a token that is no longer good | 303 to `PATH`: it launches anew |
//! | is a form | 303 to the clean `PATH`, by the same rules |
//!
//! A token in a path never becomes the cookie of a browser: who has one could give it to others.
//!
//! A tab keeps the cookies of the site it shows, so that nothing is probed there.

mod claim;

use std::borrow::Cow;

use claim::{Claim, basis, credential, form, launched};

use super::checks;
use super::outcome::{Action, Answer, AnswerField, Framing};
use super::visit::{FromAllowed, Passed, Visit, launch_facts};
use super::with_query;
use crate::apps::streamlit::Endpoint;
use crate::config::snapshot::AppKind;
use crate::gate::target::Address;
use crate::http1::fields::Known;
use crate::http1::head::RequestHead;
use crate::policy::identity::{Behind, Identity, State, may_open, needs_session};
use crate::policy::injection;
use crate::policy::launch::{Kind, Launch, classify};
use crate::policy::limits::{AddressPassed, Charge, Part, counts};
use crate::policy::metadata::{self, Metadata};
use crate::policy::origin;
use crate::policy::query::raw_pairs;
use crate::policy::session::{
    Arrival, Bare, Predecessor, Purpose, Session, SessionId, Stage, Succession, succession,
};
use crate::policy::signature::{Basis, Verified};
use crate::rejection::{Code, Rejection};
use crate::state::parked::Launched;
use crate::state::replay::Attempt;

/// True for a form that launches, whose fields are needed for the decision.
pub(super) fn is_form_launch(app: AppKind, head: &RequestHead, below: &str) -> bool {
    classify(app, &launch_facts(head, below, None)) == Kind::Launch(Launch::Post)
        && head.fields.get(Known::ContentType).is_some_and(is_urlencoded)
}

/// True for whatever [`decide`] is asked about.
pub(super) fn is_launch(
    app: AppKind,
    head: &RequestHead,
    (below, address): (&str, &Address<'_>),
) -> bool {
    let kind = classify(app, &launch_facts(head, below, address.query));
    let is_handshake = matches!(checks::handshake(head), Ok(Some(_)));
    matches!(kind, Kind::Launch(Launch::Get | Launch::Post)) && !is_handshake
}

pub(super) fn is_media_type(content_type: &[u8], wanted: &str) -> bool {
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}

fn is_urlencoded(content_type: &[u8]) -> bool {
    is_media_type(content_type, "application/x-www-form-urlencoded")
}

pub(super) fn decide(
    visit: &Visit<'_>,
    kind: Kind,
    fields: &mut Vec<AnswerField>,
) -> Result<Action, Rejection> {
    let is_form = kind == Kind::Launch(Launch::Post);
    let held = match visit.session() {
        // A browser that keeps cookies shows its session in one, also to a form below a token.
        Ok(_) if is_form && visit.prefixed.is_some() && visit.keeps_cookies() => {
            visit.session_by_cookie()
        }
        held => held,
    };
    let leads_back = leads_back(visit, &held, is_form);
    let part = part(visit, &held, leads_back);
    let passed = visit.address_limit(counts(kind, part))?;
    let form = if is_form { Some(form(visit)?) } else { None };
    let basis = basis(visit, form, held.as_ref().ok())?;
    let Claim { metadata, is_bare } = Claim::of(visit, form, basis.as_ref())?;
    let launched = launched(visit, form, basis.as_ref())?;
    let held = match held {
        Err(refusal) if refusal.code == Code::FrameOnly => return Err(refusal),
        _ if leads_back => return Ok(see_other(visit, fields, "", visit.address.query)),
        Ok(session) => Some(session),
        Err(_) => None,
    };
    visit.note_session(held.as_ref());
    let from = visit.origin(origin::Kind::Launch, credential(basis.as_ref()))?;
    let verified = match &basis {
        Some(Basis::Signature(verified)) => Some(verified),
        Some(Basis::Session) | None => None,
    };
    let step = Step { visit, metadata, verified, launched: &launched, is_form, part };
    match (step.succession(held.as_ref(), is_bare), held) {
        (Succession::Continue { reissue }, Some(session)) => {
            step.go_on(session, reissue, (passed, from), fields)
        }
        (Succession::Start { ends }, held) => step.start(ends, held, (passed, from), fields),
        (Succession::Continue { .. }, None) => {
            Err(Rejection::new(Code::Internal, "nothing cannot be continued"))
        }
    }
}

/// Whether a launch by GET may be, as far as that can be told without beginning it. Answers where
/// it goes on instead, if it does.
pub(super) fn allowed(
    visit: &Visit<'_>,
    held: Result<Session, Rejection>,
    leads_back: bool,
    fields: &mut Vec<AnswerField>,
) -> Result<Option<Action>, Rejection> {
    let basis = basis(visit, None, held.as_ref().ok())?;
    let _ = Claim::of(visit, None, basis.as_ref())?;
    let _ = launched(visit, None, basis.as_ref())?;
    match held {
        Err(refusal) if refusal.code == Code::FrameOnly => return Err(refusal),
        _ if leads_back => return Ok(Some(see_other(visit, fields, "", visit.address.query))),
        Ok(session) => visit.note_session(Some(&session)),
        Err(_) => visit.note_session(None),
    }
    let _ = visit.origin(origin::Kind::Launch, credential(basis.as_ref()))?;
    Ok(None)
}

/// Whether this is a launch of its own, as far as its session tells: on its way through our
/// redirects it was charged already, and must not be stopped by the limit that it used up itself.
pub(super) fn part(visit: &Visit<'_>, held: &Result<Session, Rejection>, leads_back: bool) -> Part {
    match held {
        Ok(session) if session.is_launching(visit.ambient.now) => Part::Continuation,
        _ if leads_back => Part::Continuation,
        _ => Part::First,
    }
}

/// Whoever reloads a page below a token that has ended starts where it began; and whose browser
/// keeps cookies needs no token. What follows is decided, and charged, where that leads.
pub(super) fn leads_back(
    visit: &Visit<'_>,
    held: &Result<Session, Rejection>,
    is_form: bool,
) -> bool {
    visit.prefixed.is_some() && !is_form && (held.is_err() || visit.keeps_cookies())
}

/// A launch whose metadata is allowed.
struct Step<'a, 'v> {
    visit: &'a Visit<'v>,
    /// None where the session goes on because nothing is claimed.
    metadata: Option<Metadata<'a>>,
    verified: Option<&'a Verified<'a>>,
    /// What the app may fetch about it.
    launched: &'a Launched,
    is_form: bool,
    part: Part,
}

impl Step<'_, '_> {
    fn is_below_token(&self) -> bool {
        self.visit.prefixed.is_some() && !self.visit.keeps_cookies()
    }

    fn succession(&self, held: Option<&Session>, is_bare: bool) -> Succession {
        let device = self.visit.owner.device().map(|slug| &**slug);
        // A bare document below a token is where we sent it ourselves.
        let is_ours = |held: &&Session| held.identity.device.as_deref() == device;
        if is_bare && self.is_below_token() && held.as_ref().is_some_and(is_ours) {
            return Succession::Continue { reissue: false };
        }
        let Some(metadata) = &self.metadata else {
            return match held.filter(is_ours) {
                Some(_) => Succession::Continue { reissue: false },
                None => Succession::Start { ends: None },
            };
        };
        let site = self.visit.headers.site;
        let arrival = Arrival {
            device,
            proof: self.verified.map(Verified::proof),
            is_bare,
            by_itself: site.is_none_or(|site| site == b"same-origin"),
            now: self.visit.ambient.now,
        };
        succession(held, metadata, &arrival)
    }

    fn go_on(
        &self,
        session: Session,
        reissue: bool,
        (passed, from): (AddressPassed, FromAllowed),
        fields: &mut Vec<AnswerField>,
    ) -> Result<Action, Rejection> {
        let visit = self.visit;
        let now = visit.ambient.now;
        let passed = self.spend(Some(&session), session.id, (passed, from), fields)?;
        self.park(&session)?;
        if self.is_below_token() {
            let is_relative = visit.persona.app == AppKind::Streamlit;
            if !is_relative && needs_session(&visit.persona.metadata) {
                let why = "the browser keeps no cookies, and the app's URLs are absolute";
                return Err(Rejection::new(Code::CookiesRequired, why));
            }
            if self.is_form {
                let prefix = visit.path_prefix(&session)?;
                return Ok(self.see_other(fields, &prefix));
            }
            fields.push(("Referrer-Policy", "same-origin".to_owned()));
            return self.document(passed, session);
        }
        let lifetime = Purpose::Cookie.lifetime();
        let renewed = session.renewal(now, lifetime);
        let is_launching = session.stage == Stage::Launching;
        let session = if reissue || renewed.is_some() || is_launching || self.is_form {
            let mut session = session.reissued(now, lifetime);
            // What a form said stands in no URL: the document that follows is bare, and part of
            // this launch.
            session.stage = if self.is_form { Stage::Launching } else { Stage::Settled };
            session.bare = if self.is_form { Bare::Continues } else { session.bare };
            let said = self.metadata.as_ref().and_then(Metadata::direction);
            session.identity.direction = said.or(session.identity.direction);
            if let Some(verified) = self.verified {
                session = session.proven(verified.proof());
            }
            self.visit.set_cookie(&session, fields)?;
            session
        } else {
            session
        };
        if self.is_form {
            return Ok(self.see_other(fields, ""));
        }
        self.document(passed, session)
    }

    fn start(
        &self,
        ends: Option<SessionId>,
        held: Option<Session>,
        (passed, from): (AddressPassed, FromAllowed),
        fields: &mut Vec<AnswerField>,
    ) -> Result<Action, Rejection> {
        let visit = self.visit;
        let passed = match self.part {
            Part::First => passed,
            // What looked like part of another launch is one of its own.
            Part::Continuation => visit.address_limit(Charge::One)?,
        };
        let Some(metadata) = &self.metadata else {
            let why = "the session that is signed is another device's";
            return Err(Rejection::new(Code::SignatureMissing, why));
        };
        let device = visit.owner.device().map(|slug| &**slug);
        let identity = Identity::settle(metadata, device, (visit.ambient.random)());
        let mut session = begin(visit, identity, held.as_ref());
        session.proof = self.verified.map(Verified::proof);
        let passed = self.spend(held.as_ref(), session.id, (passed, from), fields)?;
        if let (Some(_), Some(held)) = (ends, &held) {
            end(visit, held)?;
        }
        session.bare = if self.is_form { Bare::Continues } else { Bare::StartsAnew };
        self.park(&session)?;
        let probes = self.must_probe(&session);
        if !(probes || self.is_form || visit.prefixed.is_some()) {
            visit.set_cookie(&session, fields)?;
            return self.document(passed, session);
        }
        session.stage = Stage::Launching;
        visit.set_cookie(&session, fields)?;
        let prefix = if probes { visit.path_prefix(&session)? } else { String::new() };
        Ok(self.see_other(fields, &prefix))
    }

    /// A signature is used up, and the tenant's limits are charged: both, or neither.
    fn spend(
        &self,
        held: Option<&Session>,
        session: SessionId,
        (passed, from): (AddressPassed, FromAllowed),
        fields: &mut Vec<AnswerField>,
    ) -> Result<Passed, Rejection> {
        let visit = self.visit;
        let (Some(verified), Some(policy)) = (self.verified, &visit.persona.signing) else {
            return visit.tenant_limits(passed, from, fields);
        };
        let attempt = Attempt {
            persona: &visit.persona.name,
            proof: verified.proof(),
            held,
            session,
            client: visit.client(),
            now: visit.ambient.now,
            fresh_until: verified.fresh_until(),
            replay: policy.replay(),
        };
        let (replays, tenant) = (visit.ambient.replays, &visit.persona.tenant);
        visit.may_change()?;
        let replayed = replays.take(tenant, &attempt)?;
        visit.tenant_limits(passed, from, fields).inspect_err(|_| {
            replays.give_back(tenant, &attempt, replayed);
        })
    }

    /// Keeps what the launch brought for the app to fetch. A document that the page around it loads
    /// anew, with nothing, has nothing.
    fn park(&self, session: &Session) -> Result<(), Rejection> {
        let visit = self.visit;
        let (parked, tenant) = (visit.ambient.parked, &visit.persona.tenant);
        let (hash, now) = (session.id.hash(), visit.ambient.now);
        if !self.launched.is_empty() {
            visit.may_change()?;
            let until = session.remembered_until(now);
            let place = (&visit.persona.name, hash);
            return parked.park(tenant, place, self.launched.clone(), now, until).map_err(|_| {
                let why = "what launches left for the apps fills the tenant's part";
                Rejection::new(Code::CapacityExhausted, why)
            });
        }
        let by_itself = visit.headers.site.is_none_or(|site| site == b"same-origin");
        if !(by_itself || session.bare == Bare::Continues || session.is_launching(now)) {
            parked.forget(tenant, &hash);
        }
        Ok(())
    }

    /// 303 to the document; a form's parameters do not travel on in the query.
    fn see_other(&self, fields: &mut Vec<AnswerField>, prefix: &str) -> Action {
        let query = self.visit.address.query;
        match (self.is_form, self.verified) {
            (false, _) => see_other(self.visit, fields, prefix, query),
            (true, None) => {
                let query = query.and_then(|query| cleaned(self.visit, query));
                see_other(self.visit, fields, prefix, query.as_deref())
            }
            // All of it was signed, and an unsigned rest of it would be a claim.
            (true, Some(_)) => see_other(self.visit, fields, prefix, None),
        }
    }

    /// Whether it must be found out first that the browser keeps our cookie.
    fn must_probe(&self, session: &Session) -> bool {
        let visit = self.visit;
        let policy = &visit.persona.metadata;
        let needs = match session.identity.state {
            // The bridge finds out when it has something to keep.
            State::Awaiting => !policy.bridge,
            State::Complete => session.identity.user_id.is_some() || needs_session(policy),
        };
        needs && !visit.headers.is_document && !visit.keeps_cookies()
    }

    fn document(&self, passed: Passed, session: Session) -> Result<Action, Rejection> {
        let visit = self.visit;
        let policy = &visit.persona.metadata;
        if may_open(policy, session.identity.state, Behind::Asset).is_err() {
            return Ok(Action::Answer(Answer::Waiting(visit.owner.clone())));
        }
        let opens = (Endpoint::Page, Behind::Asset);
        // What was verified is what the app reads.
        let query = match self.verified {
            Some(verified) => verified.forward_query(),
            None => visit.address.query.map(Cow::Borrowed),
        };
        let query = query.as_deref().map(|query| self.launched.injection.rewritten(query));
        Ok(visit.forward(passed, Some(session), (Framing::Document, query.as_deref()), opens))
    }
}

/// A session for this identity, in the place of `held` if there is one.
pub(super) fn begin(visit: &Visit<'_>, identity: Identity, held: Option<&Session>) -> Session {
    let id = SessionId((visit.ambient.random)());
    let mut session = Session::start(id, identity, visit.ambient.now, Purpose::Cookie.lifetime());
    let has_pages = match held {
        // Nothing of the app was opened while an identity was awaited with the bridge; but pages of
        // the session before that one may still be there.
        Some(held) => {
            held.identity.state == State::Complete
                || !visit.persona.metadata.bridge
                || visit.may_be_anothers(held)
        }
        // It ended, by time or by an operator: its pages need not know.
        None => visit.keeps_cookies(),
    };
    session.predecessor = if has_pages { Predecessor::Ended } else { Predecessor::None };
    session
}

/// Ends a session whose place another takes.
pub(super) fn end(visit: &Visit<'_>, held: &Session) -> Result<(), Rejection> {
    visit.may_change()?;
    let now = visit.ambient.now;
    let until = held.remembered_until(now);
    visit.ambient.sessions.revoke(&visit.persona.tenant, held.id, until, now).map_err(|_| {
        Rejection::new(Code::CapacityExhausted, "the tenant's list of ended sessions is full")
    })?;
    visit.ambient.jars.forget(&visit.persona.tenant, held.id);
    visit.ambient.parked.forget(&visit.persona.tenant, &held.id.hash());
    Ok(())
}

/// 303 to the document, below `prefix`.
fn see_other(
    visit: &Visit<'_>,
    fields: &mut Vec<AnswerField>,
    prefix: &str,
    query: Option<&str>,
) -> Action {
    fields.push(("Cache-Control", "no-store".to_owned()));
    fields.push(("Referrer-Policy", "same-origin".to_owned()));
    let path = if visit.path.is_empty() { "/" } else { visit.path };
    Action::SeeOther(with_query(&[prefix, path].concat(), query))
}

/// A query without the parameters of a launch; nothing where nothing is left.
fn cleaned(visit: &Visit<'_>, query: &str) -> Option<String> {
    let is_ours = |name: &str| {
        metadata::NAMES.contains(&name)
            || injection::NAMES.contains(&name)
            || visit.persona.variables.declares(name)
    };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|piece| {
            raw_pairs(piece.as_bytes()).next().is_some_and(|pair| !is_ours(&pair.decoded_name()))
        })
        .collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}
