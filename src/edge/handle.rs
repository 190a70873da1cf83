//! One request, from its head to its log line. The same for HTTP/1 and HTTP/2.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::headers::{self, Outbound};
use super::respond::{self, Answer};
use super::worker::Worker;
use crate::config::snapshot::Limits;
use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, Version};
use crate::net::deadline::Deadline;
use crate::pipeline::{self, Action, Admission, ConnectionFacts, Dress, Handshake, Owner, admit};
use crate::rejection::Rejection;
use crate::telemetry::access_log::{Record, StreamLog};
use crate::telemetry::request_id::RequestId;
use crate::upstream::client::Client;
use crate::upstream::connection::Connection;
use crate::upstream::exchange::{Tally, Upgrade};
use crate::upstream::forward::{Outcome, Plan, forward, websocket_accept};

/// Bytes of a path in the access log.
const MAX_PATH: usize = 2048;

/// A client that can also be answered by us.
pub trait Downstream: Client {
    /// Names the request; every answer carries the name.
    fn begin(&mut self, request_id: RequestId);

    /// How the upstream's answer is changed on its way.
    fn dress(&mut self, dress: Dress);

    /// Why the request cannot be served, whatever it asks for.
    fn refusal(&self) -> Option<Rejection> {
        None
    }

    /// Buffers a complete answer of ours.
    fn answer(&mut self, answer: &Answer) -> io::Result<()>;
}

/// What becomes of the connection or stream.
#[derive(Debug)]
pub enum Finish {
    /// The answer is out; `whole_request` tells whether the request was read to its end.
    Answered { whole_request: bool },
    /// The answer broke off, or nobody is left to answer: the peer must see a broken message.
    Abort,
    /// A WebSocket; its log line is written when it ends.
    Switched(Box<Connection>, Option<Box<StreamLog>>),
}

/// What the pipeline's decision comes to, free of borrows.
enum Prepared {
    Answer(Answer),
    Forward(Box<Prepare>),
}

struct Prepare {
    plan: Plan,
    limits: Limits,
    dress: Dress,
}

/// Takes one request through the pipeline and writes its log line.
pub async fn handle<C: Downstream>(
    worker: &Worker,
    connection: &ConnectionFacts,
    client: &mut C,
    deadline: &mut Deadline,
) -> Finish {
    let started = Instant::now();
    let request_id = request_id(worker, connection, client.request());
    client.begin(request_id);
    let (prepared, mut record) = prepare(worker, connection, client, &request_id);
    let mut tally = Tally::default();
    let mut finish = match prepared {
        Prepared::Answer(answer) => {
            tally.status = Some(answer.status);
            answered(client, deadline, worker.limits().body_timeout, &answer).await
        }
        Prepared::Forward(mut prepare) => {
            client.dress(std::mem::take(&mut prepare.dress));
            pass(worker, client, deadline, &prepare, &request_id, record.as_deref_mut(), &mut tally)
                .await
        }
    };
    if let Some(mut record) = record {
        record.finish(started, &tally, matches!(finish, Finish::Abort));
        if let Finish::Switched(_, log) = &mut finish {
            *log = Some(StreamLog::new(record, started, worker.log.clone()));
        } else {
            worker.log.write(record);
        }
    }
    finish
}

async fn pass<C: Downstream>(
    worker: &Worker,
    client: &mut C,
    deadline: &mut Deadline,
    prepare: &Prepare,
    request_id: &RequestId,
    record: Option<&mut Record>,
    tally: &mut Tally,
) -> Finish {
    match forward(client, &prepare.plan, &worker.fleet, &prepare.limits, deadline, tally).await {
        Outcome::Complete { whole_request } => Finish::Answered { whole_request },
        Outcome::Switched(connection) => Finish::Switched(connection, None),
        Outcome::Reject(rejection) => {
            if let Some(record) = record {
                record.rejected(&rejection);
            }
            let answer = respond::problem(&rejection, request_id.as_str());
            tally.status = Some(answer.status);
            match answered(client, deadline, prepare.limits.body_timeout, &answer).await {
                // The request's body was not read to its end, whatever the client believes.
                Finish::Answered { .. } => {
                    Finish::Answered { whole_request: prepare.plan.framing == Framing::Empty }
                }
                finish => finish,
            }
        }
        Outcome::Cut(reason) => {
            if let Some(record) = record {
                record.cut(reason);
            }
            Finish::Abort
        }
    }
}

/// Sends an answer of ours. How much of the request body is still on its way is for the caller to
/// find out.
async fn answered<C: Downstream>(
    client: &mut C,
    deadline: &mut Deadline,
    patience: Duration,
    answer: &Answer,
) -> Finish {
    if client.answer(answer).is_err() {
        return Finish::Abort;
    }
    let at = Instant::now() + patience;
    match deadline.run(at, std::future::poll_fn(|cx| client.poll_flush(cx))).await {
        Ok(Ok(())) => Finish::Answered { whole_request: false },
        _ => Finish::Abort,
    }
}

fn request_id(worker: &Worker, connection: &ConnectionFacts, head: &RequestHead) -> RequestId {
    let kept = if connection.trusted { head.fields.single(Known::XRequestId) } else { None };
    kept.and_then(RequestId::keep).unwrap_or_else(|| RequestId::new(worker.random()))
}

fn prepare(
    worker: &Worker,
    connection: &ConnectionFacts,
    client: &impl Downstream,
    request_id: &RequestId,
) -> (Prepared, Option<Box<Record>>) {
    let snapshot = worker.snapshot.load();
    let head = client.request();
    let admission = match client.refusal() {
        None => admit(&snapshot, connection, head),
        Some(refusal) => Admission { address: None, owner: None, verdict: Err(refusal) },
    };
    let mut record =
        worker.log.is_on().then(|| Box::new(record(connection, head, &admission, request_id)));
    let prepared = match (&admission.verdict, &admission.owner, &admission.address) {
        (Ok(Action::Forward(forward)), Some(owner), Some(address)) => {
            let websocket_key = (forward.websocket == Some(Handshake::Connect))
                .then(|| worker.random().websocket_key());
            let mut wire = Vec::with_capacity(1024);
            let framing = headers::write_request(
                &mut wire,
                &Outbound {
                    head,
                    address,
                    forward,
                    connection,
                    request_id: request_id.as_str(),
                    websocket_key: websocket_key.as_deref(),
                },
            );
            let upgrade = match forward.websocket {
                None => Upgrade::None,
                Some(_) => {
                    let own = head.fields.single(Known::SecWebSocketKey).unwrap_or_default();
                    let key = websocket_key.as_deref().map_or(own, str::as_bytes);
                    Upgrade::WebSocket(websocket_accept(key))
                }
            };
            let plan = Plan {
                upstream: Arc::clone(owner.upstream()),
                head: wire,
                framing,
                upgrade,
                repeatable: is_repeatable(head, framing),
                gates_first_chunk: framing == Framing::Chunked
                    && head.version == Version::Http11
                    && head.fields.get(Known::Expect).is_none(),
            };
            let (limits, dress) = (snapshot.server.limits, forward.dress.clone());
            Prepared::Forward(Box::new(Prepare { plan, limits, dress }))
        }
        (Ok(Action::Redirect(location)), ..) => {
            Prepared::Answer(respond::redirect(location.clone()))
        }
        (Ok(Action::Answer(pipeline::Answer::HostConfig(persona))), ..) => {
            Prepared::Answer(respond::host_config(persona))
        }
        (Ok(Action::Forward(_)), ..) => Prepared::Answer(respond::problem(
            &Rejection::new(crate::rejection::Code::Internal, "forward without an owner"),
            request_id.as_str(),
        )),
        (Err(rejection), ..) => {
            if let Some(record) = &mut record {
                record.rejected(rejection);
            }
            Prepared::Answer(respond::problem(rejection, request_id.as_str()))
        }
    };
    (prepared, record)
}

/// Idempotent and without a body (RFC 9110, section 9.2.2).
fn is_repeatable(head: &RequestHead, framing: Framing) -> bool {
    !framing.has_body() && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn record(
    connection: &ConnectionFacts,
    head: &RequestHead,
    admission: &Admission<'_>,
    request_id: &RequestId,
) -> Record {
    let owner = admission.owner.as_ref();
    let address = admission.address.as_ref();
    Record {
        method: logged_method(&head.method),
        scheme: connection.scheme.as_str(),
        protocol: head.version.as_str(),
        host: address.map(|address| address.host.name.to_string()),
        path: address.map(|address| cut(&address.path)),
        tenant: owner.map(|owner| Arc::clone(owner.tenant())),
        persona: owner.map(|owner| Arc::clone(owner.name())),
        device: owner.and_then(|owner| match owner {
            Owner::Device(persona, index) => {
                persona.devices.get(*index).map(|d| Arc::clone(&d.slug))
            }
            _ => None,
        }),
        client: headers::client_address(connection, &head.fields),
        request_id: *request_id,
        ..Record::default()
    }
}

/// The path as it is logged: a longer one is cut before it waits in the log's queue.
fn cut(path: &str) -> String {
    path[..path.floor_char_boundary(MAX_PATH)].to_owned()
}

/// OpenTelemetry's word for a method that is no method.
fn logged_method(method: &Method) -> Method {
    match method.as_str() {
        name if name.len() <= 32 => method.clone(),
        _ => Method::from_bytes(b"_OTHER").unwrap_or_default(),
    }
}
