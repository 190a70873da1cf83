//! What the pipeline's decision comes to: an answer of ours, or a request ready for the wire.
//!
//! Synchronous, and all that a request borrows ends here. One snapshot is loaded for the decision.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::Method;
use tokio::time::Instant;

use super::beacon;
use super::handle::Downstream;
use super::headers::{self, Outbound};
use super::open::Open;
use super::respond::{self, Answer};
use super::worker::Worker;
use crate::apps::engineio::{Engine, engine};
use crate::apps::streamlit;
use crate::compress::Order;
use crate::config::snapshot::{AppKind, Limits, Snapshot};
use crate::gate::target::{self, Address};
use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, Version};
use crate::pipeline::{
    self, Action, Admission, Ambient, ConnectionFacts, Dress, FileAction, Forward, Handshake,
    Owner, Passport, Permit, Scheme, Under, Whole, admit,
};
use crate::policy::front::compression::Verdict;
use crate::policy::identity::Place;
use crate::policy::limits::Moment;
use crate::policy::session::{UnixSeconds, prefix};
use crate::rejection::{Code, Rejection};
use crate::state::sessions::StreamGuard;
use crate::state::streams::{Holder, OpenStream, fate};
use crate::telemetry::access_log::Record;
use crate::telemetry::metrics::meters::{Measured, OwnerMeters};
use crate::telemetry::request_id::RequestId;
use crate::telemetry::trace::{Context, Spans};
use crate::upstream::affinity::Key;
use crate::upstream::exchange::Upgrade;
use crate::upstream::forward::{Plan, websocket_accept};
use crate::upstream::policy::Balance;

/// Free of borrows.
pub enum Prepared {
    Answer(Answer),
    Forward(Box<Prepare>),
    File(Box<FileAction>),
}

pub struct Prepare {
    pub plan: Plan,
    pub limits: Limits,
    pub dress: Dress,
    /// May end the stream before its end.
    pub open: Open,
    /// Who asked.
    pub user_id: Option<Box<str>>,
    /// When it was decided.
    pub decided: Instant,
}

/// What a decision may do to what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// Change it.
    Ours,
    /// Read it.
    BeingGiven,
    /// Nothing: the process that has it answers.
    Given,
}

/// A body that the decision needs, and what the decision is to be made with.
pub struct Wanted {
    pub whole: Whole,
    snapshot: Arc<Snapshot>,
    permit: Result<Option<Permit>, Rejection>,
}

impl Wanted {
    pub fn permit(&mut self) -> Result<Option<Permit>, Rejection> {
        std::mem::replace(&mut self.permit, Ok(None))
    }
}

/// How much of the request's body the decision needs.
pub fn wanted_body(
    worker: &Worker,
    connection: &ConnectionFacts,
    client: &impl Downstream,
) -> Option<Wanted> {
    let head = client.request();
    // Everything else is decided by its head: most requests go no further here.
    if head.method != Method::POST || client.refusal().is_some() {
        return None;
    }
    let snapshot = worker.snapshot.load();
    let whole = pipeline::wanted_body(&snapshot, connection, head)?;
    let limits = (&worker.limiter, worker.moment());
    let permit = pipeline::permit(&snapshot, connection, head, limits);
    Some(Wanted { whole, snapshot: Arc::clone(&snapshot), permit })
}

pub fn request_id(worker: &Worker, connection: &ConnectionFacts, head: &RequestHead) -> RequestId {
    let kept = if connection.trusted { head.fields.single(Known::XRequestId) } else { None };
    kept.and_then(RequestId::keep).unwrap_or_else(|| RequestId::new(worker.random()))
}

/// Decides, and makes ready what was decided. `wanted` is what [`wanted_body`] asked for, `body`
/// what came of it. `now`: nothing was waited for since.
pub fn prepare(
    worker: &Worker,
    connection: &ConnectionFacts,
    client: &impl Downstream,
    (request_id, trace): (&RequestId, &Context),
    (wanted, body): (Option<Wanted>, Result<Option<Vec<u8>>, Rejection>),
    (custody, now): (Custody, Instant),
    mut spans: Option<&mut Spans>,
) -> (Prepared, Option<Box<Record>>, Measured) {
    // While a body was read, a reload may have changed what it would be for.
    let loaded;
    let snapshot: &Snapshot = match &wanted {
        Some(wanted) => &wanted.snapshot,
        None => {
            loaded = worker.snapshot.load();
            &loaded
        }
    };
    let head = client.request();
    let ambient = Ambient {
        now: UnixSeconds::from(std::time::SystemTime::now()),
        moment: worker.moment_at(now),
        random: &unpredictable,
        limiter: &worker.limiter,
        sessions: &worker.sessions,
        jars: &worker.jars,
        replays: &worker.replays,
        parked: &worker.parked,
        passwords: &worker.passwords,
        is_ours: custody == Custody::Ours,
        body: body.as_ref().ok().and_then(Option::as_deref),
        journal: None,
    };
    let admission = match client.refusal().or(body.as_ref().err().cloned()) {
        None if custody == Custody::Given => pipeline::send_on(snapshot, connection, head),
        None => admit(snapshot, connection, head, &ambient),
        Some(refusal) => Admission {
            address: target::address(head).ok(),
            owner: None,
            verdict: Err(refusal),
            fields: Vec::new(),
        },
    };
    let record = || record(connection, head, &admission, (request_id, trace));
    let mut record = worker.log.is_on().then(|| Box::new(record()));
    if let Some(spans) = &mut spans {
        spans.admitted(admission.owner.as_ref());
    }
    let Admission { address, owner, verdict, fields } = admission;
    let meters = worker.metrics.of(owner.as_ref());
    let measured = Measured::new(meters, &head.method, head.version);
    let answer = match verdict {
        Ok(Action::Forward(forward)) => match (&owner, &address) {
            (Some(owner), Some(address)) => {
                let wire =
                    Wire { worker, snapshot, connection, head, request_id, trace, meters, now };
                let mut prepare = wire.forward(*forward, owner, address, &ambient);
                prepare.dress.fields = fields;
                if let Some(record) = &mut record {
                    record.user_id = prepare.user_id.take();
                }
                return (Prepared::Forward(Box::new(prepare)), record, measured);
            }
            _ => Err(Rejection::new(Code::Internal, "forward without an owner")),
        },
        Ok(Action::File(mut file)) => {
            let wire = Wire { worker, snapshot, connection, head, request_id, trace, meters, now };
            file.dress.fields = fields;
            file.dress.is_https = connection.scheme_of(&head.fields) == Scheme::Https;
            file.dress.order = wire.order_file(&file, ambient.now);
            return (Prepared::File(file), record, measured);
        }
        Ok(Action::Redirect(location)) => Ok(respond::redirect(location)),
        Ok(Action::Moved(status, location)) => Ok(respond::to(status, location)),
        Ok(Action::SeeOther(location)) => Ok(respond::see_other(location)),
        Ok(Action::Answer(answer)) => {
            if let (pipeline::Answer::Told(told), Some(owner)) = (&answer, &owner) {
                beacon::count(worker, told, (owner, meters), record.as_deref_mut());
            }
            Ok(respond::ours(&answer, head, &trace.launch(ambient.now)))
        }
        Err(rejection) => Err(rejection),
    };
    let mut answer = answer.unwrap_or_else(|rejection| {
        measured.rejected(&rejection);
        let names = (request_id, Some(trace.trace_id));
        worker.recent.refused(&rejection, owner.as_ref(), names);
        if let Some(record) = &mut record {
            record.rejected(&rejection);
        }
        if let Some(spans) = spans {
            spans.rejected(&rejection);
        }
        respond::refusal(&rejection, request_id.as_str(), head, (owner.as_ref(), None))
    });
    let is_https = connection.scheme_of(&head.fields) == Scheme::Https;
    respond::complete(&mut answer, fields, (owner.as_ref(), is_https));
    (Prepared::Answer(answer), record, measured)
}

fn unpredictable() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gave randomness when the server started");
    bytes
}

/// What every request for an upstream is made from.
struct Wire<'a> {
    worker: &'a Worker,
    snapshot: &'a Snapshot,
    connection: &'a ConnectionFacts,
    head: &'a RequestHead,
    request_id: &'a RequestId,
    meters: &'a Arc<OwnerMeters>,
    trace: &'a Context,
    now: Instant,
}

impl Wire<'_> {
    fn forward(
        &self,
        forward: Forward,
        owner: &Owner,
        address: &Address<'_>,
        ambient: &Ambient<'_>,
    ) -> Prepare {
        let Self { worker, head, .. } = *self;
        let open = Open {
            session: forward.passport.as_ref().and_then(|passport| guard(worker, passport)),
            place: Some(self.place(owner, ambient.moment)),
        };
        let key = (forward.websocket == Some(Handshake::Connect))
            .then(|| worker.random().websocket_key());
        let under = forward.dress.under.as_ref();
        let cookies = under.and_then(Under::cookies);
        let xsrf = under
            .filter(|_| forward.supplies_xsrf)
            .and_then(|under| under.cookie(streamlit::XSRF_COOKIE));
        let mut wire = Vec::with_capacity(1024);
        let outbound = Outbound {
            head,
            address,
            forward: &forward,
            connection: self.connection,
            request_id: self.request_id.as_bytes(),
            trace: Some(self.trace),
            websocket_key: key.as_deref(),
            cookies: cookies.as_deref(),
            xsrf: xsrf.as_deref(),
        };
        let framing = headers::write_request(&mut wire, &outbound, |out| {
            if let Some(passport) = &forward.passport {
                assertion(worker, passport, ambient.now, out);
            }
        });
        let engine = self.engine(owner, address);
        let whom = self.whom(owner, forward.passport.as_ref(), engine);
        let plan = Plan {
            upstream: Arc::clone(owner.upstream()),
            key: whom,
            names_engine: engine == Some(Engine::Begins),
            head: wire,
            framing,
            upgrade: upgrade(head, forward.websocket, key.as_deref()),
            repeatable: is_repeatable(head, framing),
            gates_first_chunk: framing == Framing::Chunked
                && head.version == Version::Http11
                && head.fields.get(Known::Expect).is_none(),
            is_events: AtomicBool::new(false),
        };
        let mut dress = forward.dress;
        dress.is_https = self.connection.scheme_of(&head.fields) == Scheme::Https;
        dress.launch = dress.bridge.then(|| Box::new(self.trace.launch(ambient.now)));
        dress.order = (owner.front().compression.is_some() && forward.websocket.is_none())
            .then(|| self.order(forward.target, ambient.now));
        let user_id = forward.passport.and_then(|passport| passport.identity.user_id);
        let limits = self.snapshot.server.limits;
        Prepare { plan, limits, dress, open, user_id, decided: self.now }
    }

    /// Its place among all that is open. A reload since the decision has not seen it: it is judged
    /// as that reload would have.
    fn place(&self, owner: &Owner, moment: Moment) -> OpenStream {
        let holder = match owner {
            Owner::Persona(persona) | Owner::Device(persona, _) | Owner::Shell(persona, _) => {
                Holder::Persona(Arc::clone(persona))
            }
            Owner::Site(site) => Holder::Site(Arc::clone(site)),
        };
        let mut place = self.worker.shard.open(holder, moment, Some(Arc::clone(self.meters)));
        let live = self.worker.snapshot.load();
        if !std::ptr::eq(&**live, self.snapshot) {
            place.judge(|holder| fate(holder, &live));
        }
        place
    }

    fn order_file(&self, file: &FileAction, now: UnixSeconds) -> Option<Order> {
        file.dress.owner.as_ref()?.front().compression.as_ref()?;
        let target = format!("{}/{}", file.wanted.folder.path.display(), file.wanted.file);
        Some(Order { is_file: true, ..self.order(target, now) })
    }

    fn order(&self, target: String, now: UnixSeconds) -> Order {
        let takes_any = self.head.fields.get(Known::AcceptEncoding).is_some();
        let compressor = takes_any.then(|| Arc::clone(&self.worker.compressor));
        Order { compressor, target, now, is_file: false, verdict: Verdict::Pass }
    }
}

/// Whom the request is for, where its server depends on that.
impl Wire<'_> {
    fn whom(&self, owner: &Owner, passport: Option<&Passport>, engine: Option<Engine<'_>>) -> Key {
        let balance = owner.upstream().policy.balance;
        if matches!(balance, Balance::RoundRobin | Balance::LeastConnections) {
            return Key::default();
        }
        let tenant = owner.tenant();
        let user = passport.and_then(|passport| passport.identity.user_id.as_deref());
        let session = passport.and_then(|passport| passport.session.as_ref());
        match (user, session) {
            (Some(user), _) if balance == Balance::HashUserId => Key::user(tenant, user),
            (_, Some(session)) => Key::session(tenant, session),
            (_, None) => Key::address(tenant, self.connection.client_of(&self.head.fields)),
        }
        .with_sid(match engine {
            Some(Engine::Belongs(sid)) => Some(sid),
            _ => None,
        })
    }

    /// What the request is to its Engine.IO connection, where one has to find its server.
    fn engine<'a>(&self, owner: &Owner, address: &Address<'a>) -> Option<Engine<'a>> {
        let persona = owner.persona()?;
        let has_engine = matches!(persona.app, AppKind::Rasa | AppKind::SocketIo);
        let is_sticky = persona.upstream.policy.balance == Balance::Sticky;
        if has_engine && is_sticky { engine(&address.path, address.query) } else { None }
    }
}

fn upgrade(head: &RequestHead, websocket: Option<Handshake>, key: Option<&str>) -> Upgrade {
    match websocket {
        None => Upgrade::None,
        Some(_) => {
            let own = head.fields.single(Known::SecWebSocketKey).unwrap_or_default();
            Upgrade::WebSocket(websocket_accept(key.map_or(own, str::as_bytes)))
        }
    }
}

fn guard(worker: &Worker, passport: &Passport) -> Option<StreamGuard> {
    let stream = passport.stream?;
    let persona = &passport.persona;
    Some(worker.sessions.open(&persona.tenant, &persona.name, stream.session, stream.launched_at))
}

/// The signed form of what the identity headers say, where somebody can check it.
fn assertion(worker: &Worker, passport: &Passport, now: UnixSeconds, out: &mut Vec<u8>) {
    let persona = &passport.persona;
    let Some(policy) = &persona.assertion else { return };
    let place = Place { tenant: &persona.tenant, persona: &persona.name };
    let mut store = worker.assertions();
    let token = store.get(policy, place, &passport.identity, passport.session.as_ref(), now);
    crate::http1::send::write_field(out, b"X-Vestibule-Assertion", token.as_bytes());
}

/// Idempotent and without a body (RFC 9110, section 9.2.2).
fn is_repeatable(head: &RequestHead, framing: Framing) -> bool {
    !framing.has_body() && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn record(
    connection: &ConnectionFacts,
    head: &RequestHead,
    admission: &Admission<'_>,
    (request_id, trace): (&RequestId, &Context),
) -> Record {
    let owner = admission.owner.as_ref();
    let address = admission.address.as_ref();
    Record {
        method: logged_method(&head.method),
        scheme: connection.scheme.as_str(),
        protocol: Some(head.version.as_str()),
        host: address.map(|address| address.host.name.to_string()),
        path: address.map(|address| printable(&address.path)),
        tenant: owner.map(|owner| Arc::clone(owner.tenant())),
        persona: owner.map(|owner| Arc::clone(owner.name())),
        device: owner.and_then(Owner::device).cloned(),
        client: connection.client_of(&head.fields),
        request_id: *request_id,
        trace_id: Some(trace.trace_id),
        ..Record::default()
    }
}

/// The path as it is logged: without what whoever reads it could use, whatever app it is said to
/// be, and cut before it waits in the log's queue.
fn printable(path: &str) -> String {
    let path = prefix::printable(path);
    let path = streamlit::printable(&path);
    Record::kept(&path).to_owned()
}

fn logged_method(method: &Method) -> Method {
    match method.as_str() {
        name if name.len() <= 32 => method.clone(),
        _ => Record::other_method(),
    }
}
