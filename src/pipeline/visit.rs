//! One request to a persona: what it is to the app, and what it has to show for it.
//!
//! The order is the contract's: the address's limit, which is charged whatever comes of the
//! request, then (for a launch: [`super::launch`]) metadata, session, origin, and the tenant's
//! limits last. A CORS preflight carries no credentials and is answered before any is asked for.
//! [`session`] is what it shows, [`app`] what the app gets to see of it.
//!
//! What must not happen: a request reaches the app with a session that was not verified here, or
//! with none where the persona demands one; a path that an app keeps for itself is opened.

mod app;
mod session;

use std::sync::Arc;

use http::Method;

use super::checks::Locked;
use super::facts::{Ambient, ConnectionFacts};
use super::outcome::{Action, Answer, AnswerField, Framing, Handshake, Owner};
use super::{launch, ours, shell};
use crate::apps::streamlit::{self, Endpoint};
use crate::config::snapshot::{AppKind, Persona};
use crate::gate::target::Address;
use crate::http1::fields::Known;
use crate::http1::head::RequestHead;
use crate::policy::identity::{self, Behind, State};
use crate::policy::launch::{Facts as LaunchFacts, Kind, Launch, classify};
use crate::policy::limits::{self, AddressPassed, Charge, Client, Part, Proof, counts};
use crate::policy::origin::{self, Credential, Headers, Reach};
use crate::policy::session::Purpose;
use crate::policy::session::prefix::Prefixed;
use crate::rejection::{Code, Rejection};

/// A request to a persona.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub owner: &'a Owner,
    pub persona: &'a Arc<Persona>,
    pub head: &'a RequestHead,
    pub address: &'a Address<'a>,
    pub connection: &'a ConnectionFacts,
    /// Canonical, without a session's prefix.
    pub path: &'a str,
    /// The same below the persona's path and its device.
    pub below: &'a str,
    pub prefixed: Option<Prefixed<'a>>,
    /// The host is other tenants' too.
    pub is_shared: bool,
    pub websocket: Option<Handshake>,
    /// No password was shown: only a session may stand for it.
    pub locked: Option<&'a Locked>,
    /// What a browser says about where the request comes from.
    pub headers: &'a Headers<'a>,
    pub ambient: &'a Ambient<'a>,
}

/// Witness: the request may come from where it says it does.
#[must_use = "the tenant's limits have not been asked yet"]
pub(super) struct FromAllowed(());

/// Witness: the address's limit, the origin and the tenant's limits let the request pass, in this
/// order. Nothing is forwarded without it.
#[must_use = "it allows a request to be forwarded"]
pub(super) struct Passed(());

impl Visit<'_> {
    pub fn decide(&self, fields: &mut Vec<AnswerField>) -> Result<Action, Rejection> {
        if let Some(shell) = self.owner.shell() {
            return shell::decide(self, shell, self.kind(), fields);
        }
        if let Some(answer) = ours::answer(self, fields) {
            return answer;
        }
        let endpoint = self.endpoint()?;
        if endpoint == Endpoint::HostConfig {
            return Ok(Action::Answer(Answer::HostConfig(Arc::clone(self.persona))));
        }
        let kind = self.kind();
        self.ambient.note("kind", || format!("{kind:?}").to_lowercase());
        if self.cors(kind, fields)? {
            return Ok(Action::Answer(Answer::Preflight));
        }
        if let Some(locked) = self.locked.filter(|_| self.websocket.is_none()) {
            return Err(locked.refuse(fields));
        }
        match kind {
            Kind::Launch(_) if self.is_prefetch() => {
                // Somebody may come, and then launches: until then nothing is charged or used up.
                Err(Rejection::new(Code::PrefetchRefused, "a launch is not prefetched"))
            }
            Kind::Launch(Launch::Get | Launch::Post) => launch::decide(self, kind, fields),
            Kind::Launch(Launch::Handshake) | Kind::Message | Kind::Other => {
                let passed = self.address_limit(counts(kind, Part::First))?;
                self.request(endpoint, passed, fields)
            }
        }
    }

    /// What the path is to the app.
    fn endpoint(&self) -> Result<Endpoint, Rejection> {
        match self.persona.app {
            AppKind::Streamlit if streamlit::is_closed(self.path) => {
                Err(Rejection::new(Code::PathClosed, "a path that Streamlit keeps for itself"))
            }
            AppKind::Streamlit => match streamlit::endpoint(self.below, "") {
                Endpoint::HostConfig if !matches!(self.head.method, Method::GET | Method::HEAD) => {
                    Err(Rejection::new(Code::MethodNotAllowed, "host-config is only read"))
                }
                endpoint => Ok(endpoint),
            },
            AppKind::Generic if self.below == "/" => Ok(Endpoint::Page),
            _ => Ok(Endpoint::Asset),
        }
    }

    /// The browser asks in advance, for a page that may never be shown (WICG Speculation Rules).
    fn is_prefetch(&self) -> bool {
        let tokens = |value: &[u8]| {
            let value = value.split(|&byte| byte == b';').next().unwrap_or_default();
            value.trim_ascii().eq_ignore_ascii_case(b"prefetch")
        };
        ["sec-purpose", "purpose"]
            .iter()
            .any(|name| self.head.fields.named(name).is_some_and(tokens))
    }

    fn kind(&self) -> Kind {
        if self.websocket.is_some() && self.persona.app != AppKind::SocketIo {
            return Kind::Other;
        }
        let facts = launch_facts(self.head, self.below, self.address.query);
        if self.owner.shell().is_some() {
            // A page, whatever the app in it.
            return classify(AppKind::Generic, &facts);
        }
        match self.websocket {
            // Over HTTP/2 a handshake is a CONNECT: it costs what it costs over HTTP/1.
            Some(_) => classify(self.persona.app, &LaunchFacts { method: &Method::GET, ..facts }),
            None => classify(self.persona.app, &facts),
        }
    }

    /// A request that is no launch.
    fn request(
        &self,
        endpoint: Endpoint,
        passed: AddressPassed,
        fields: &mut Vec<AnswerField>,
    ) -> Result<Action, Rejection> {
        let policy = &self.persona.metadata;
        let session = match self.session() {
            Ok(session) => Some(session),
            Err(refusal) if self.prefixed.is_some() || identity::needs_session(policy) => {
                return Err(refusal);
            }
            Err(_) => None,
        };
        if let Some(locked) = self.locked.filter(|_| session.is_none()) {
            return Err(locked.refuse(fields));
        }
        self.note_session(session.as_ref());
        if self.prefixed.is_some() {
            fields.push(("Referrer-Policy", "same-origin".to_owned()));
        }
        let behind = self.behind(endpoint);
        let state = session.as_ref().map_or(State::Complete, |session| session.identity.state);
        identity::may_open(policy, state, behind)?;
        let credential = if session.is_some() { Credential::Cookie } else { Credential::None };
        let from = self.origin(origin_kind(self.websocket), credential)?;
        let passed = self.tenant_limits(passed, from, fields)?;
        // A successor renews with the next request, and knows of it.
        let renews = self.prefixed.is_none() && self.ambient.is_ours;
        if let Some(session) = session.as_ref().filter(|_| renews) {
            let lifetime = Purpose::Cookie.lifetime();
            if let Some(renewed) = session.renewal(self.ambient.now, lifetime) {
                self.set_cookie(&renewed, fields)?;
            }
        }
        let framing = match endpoint {
            Endpoint::Page => Framing::Document,
            _ => Framing::Html,
        };
        let page = (framing, self.address.query);
        Ok(self.forward(passed, session, page, (endpoint, behind)))
    }

    /// What it opens of the app.
    fn behind(&self, endpoint: Endpoint) -> Behind {
        let streams = self.head.fields.all(Known::Accept).any(is_event_stream);
        let acts = !matches!(self.head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if self.websocket.is_some() || streams || acts || endpoint == Endpoint::Stream {
            Behind::Stream
        } else {
            Behind::Asset
        }
    }

    pub fn client(&self) -> Client {
        Client::of(self.connection.client_of(&self.head.fields))
    }

    pub fn address_limit(&self, charge: Charge) -> Result<AddressPassed, Rejection> {
        let client = self.client();
        let rules = &self.persona.rules;
        let key = (&*self.persona.tenant, client);
        limits::address(self.ambient.limiter, rules, key, charge, self.ambient.moment)
            .map_err(Rejection::limited)
    }

    pub fn tenant_limits(
        &self,
        passed: AddressPassed,
        _: FromAllowed,
        fields: &mut Vec<AnswerField>,
    ) -> Result<Passed, Rejection> {
        let proof = if self.persona.metadata.signed { Proof::Signed } else { Proof::Unsigned };
        let launcher = (&*self.persona.name, proof);
        let charged = limits::launch(passed, &self.persona.rules, launcher, self.ambient.moment)
            .map_err(Rejection::limited)?;
        let Some(standing) = charged.fields() else {
            self.ambient.note("limits", || "nothing is charged".to_owned());
            return Ok(Passed(()));
        };
        self.ambient.note("limits", || standing.limit.clone());
        fields.push(("RateLimit-Policy", standing.policy));
        fields.push(("RateLimit", standing.limit));
        Ok(Passed(()))
    }

    /// What is remembered is being handed to a successor: whoever would change it should not have
    /// come as far as here.
    pub fn may_change(&self) -> Result<(), Rejection> {
        if self.ambient.is_ours {
            return Ok(());
        }
        Err(Rejection::new(Code::CapacityExhausted, "another process decides about this now"))
    }

    /// It turned out to start nothing.
    pub fn take_back(&self, passed: AddressPassed) {
        let _ = limits::continuation(passed, &self.persona.rules, self.ambient.moment);
    }

    pub fn origin(
        &self,
        kind: origin::Kind,
        credential: Credential,
    ) -> Result<FromAllowed, Rejection> {
        let own = self.own_origin();
        let facts = self.origin_facts(kind, &own);
        let reach = Reach::of(self.persona.app);
        let checked = self.persona.origin.check(reach, &facts, credential)?;
        self.ambient.note("origin", || format!("{:?}", checked.caller()).to_lowercase());
        Ok(FromAllowed(()))
    }

    /// What CORS adds to any answer; true for a preflight, whose answer that is.
    fn cors(&self, kind: Kind, fields: &mut Vec<AnswerField>) -> Result<bool, Rejection> {
        let reach = Reach::of(self.persona.app);
        if reach == Reach::OwnOrigin && self.head.method != Method::OPTIONS {
            return Ok(false);
        }
        let own = self.own_origin();
        let kind = match kind {
            Kind::Launch(Launch::Get | Launch::Post) => origin::Kind::Launch,
            _ => origin_kind(self.websocket),
        };
        let facts = self.origin_facts(kind, &own);
        let owned = |(name, value): (&'static str, &str)| (name, value.to_owned());
        if let Some(preflight) = self.persona.origin.preflight(reach, &facts)? {
            fields.extend(preflight.fields().map(owned));
            return Ok(true);
        }
        fields.extend(self.persona.origin.cors(reach, &facts).fields().map(owned));
        Ok(false)
    }

    fn origin_facts<'f>(
        &'f self,
        kind: origin::Kind,
        own: &'f origin::Address<'f>,
    ) -> origin::Facts<'f> {
        origin::Facts { method: &self.head.method, kind, own, headers: self.headers }
    }

    fn own_origin(&self) -> origin::Address<'_> {
        let scheme = self.connection.scheme_of(&self.head.fields);
        origin::Address::own(scheme, &self.address.host)
    }
}

pub(super) fn launch_facts<'a>(
    head: &'a RequestHead,
    below: &'a str,
    query: Option<&'a str>,
) -> LaunchFacts<'a> {
    LaunchFacts {
        method: &head.method,
        path: below,
        query,
        fetch_mode: head.fields.get(Known::SecFetchMode),
        accept: head.fields.get(Known::Accept),
        content_type: head.fields.get(Known::ContentType),
    }
}

fn origin_kind(websocket: Option<Handshake>) -> origin::Kind {
    match websocket {
        Some(_) => origin::Kind::WebSocket,
        None => origin::Kind::Request,
    }
}

fn is_event_stream(accept: &[u8]) -> bool {
    let stream = b"text/event-stream";
    accept.split(|&byte| byte == b',').any(|range| {
        range
            .trim_ascii_start()
            .get(..stream.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(stream))
    })
}
