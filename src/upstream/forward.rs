//! The whole way of one request to an upstream and back: pick a server, reuse or open a
//! connection, exchange, and try again only where nothing can have had an effect.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use smallvec::SmallVec;

use super::affinity::Key;
use super::client::{Client, ClientError};
use super::condition::Failed;
use super::connection::{Connection, UpstreamError};
use super::exchange::{Done, Exchange, Failure, Tally, Upgrade};
use super::fleet::{Fleet, NoConnection, rejection};
use super::group::Refused;
use super::member::{Lease, MemberId};
use crate::config::snapshot::{Limits, Upstream};
use crate::http1::BodyError;
use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::ResponseHead;
use crate::net::deadline::Deadline;
use crate::rejection::{Code, Rejection};

/// Why an answer was cut that nobody waits for any more.
pub const GONE: &str = "the client went away";

/// What to send where.
#[derive(Debug)]
pub struct Plan {
    pub upstream: Arc<Upstream>,
    /// For whom it is, where its server depends on that.
    pub key: Key,
    /// The answer names an Engine.IO connection.
    pub names_engine: bool,
    /// The request head, ready for the wire.
    pub head: Vec<u8>,
    pub framing: Framing,
    pub upgrade: Upgrade,
    /// Sending the request twice is the same as sending it once, and it has no body.
    pub repeatable: bool,
    /// Nothing is sent before the first piece of a chunked body has proved sound. Not where the
    /// client itself waits, for a 100.
    pub gates_first_chunk: bool,
}

#[derive(Debug)]
pub enum Outcome {
    /// The answer was passed whole; `whole_request` tells whether the request was read to its end.
    Complete { whole_request: bool },
    /// A WebSocket: from here on bytes pass both ways, and the server is in use.
    Switched(Box<Connection>, Lease),
    /// The client was sent nothing yet: tell it this.
    Reject(Rejection),
    /// The answer broke off, and the client, if it is still there, must see that it did.
    Cut(&'static str),
}

/// Passes one request. The body is read from `client`, the answer written to it.
pub async fn forward<C: Client>(
    client: &mut C,
    plan: &Plan,
    fleet: &Fleet,
    limits: &Limits,
    deadline: &mut Deadline,
    tally: &mut Tally,
) -> Outcome {
    if plan.gates_first_chunk {
        if let Err(outcome) = first_chunk(client, limits, deadline).await {
            return outcome;
        }
    } else if let Some(error) = already_malformed(client).await {
        return failed(Failure::RequestBody(error), false);
    }
    tally.beginning = plan.names_engine.then(Vec::new);
    let mut tried: SmallVec<[MemberId; 4]> = SmallVec::new();
    let mut unreached = None;
    loop {
        let lease = match fleet.pick(plan, &tried) {
            Ok(lease) => lease,
            Err(Refused::Overloaded) => return Outcome::Reject(rejection(Refused::Overloaded)),
            Err(refused) => {
                return Outcome::Reject(unreached.unwrap_or_else(|| rejection(refused)));
            }
        };
        let retries = !tried.is_empty();
        tried.push(lease.member().id);
        match on_server(client, plan, (fleet, lease, retries), limits, deadline, tally).await {
            Ok(outcome) => return outcome,
            Err(rejection) => unreached = Some(rejection),
        }
    }
}

/// The same on one server; the error is why it could not be reached, and nothing was sent.
async fn on_server<C: Client>(
    client: &mut C,
    plan: &Plan,
    (fleet, mut lease, retries): (&Fleet, Lease, bool),
    limits: &Limits,
    deadline: &mut Deadline,
    tally: &mut Tally,
) -> Result<Outcome, Rejection> {
    let mut may_reuse = true;
    loop {
        let member = lease.member();
        let pooled = if may_reuse { fleet.pool.take(member.id, plan.repeatable) } else { None };
        let mut connection = match pooled {
            Some(connection) => connection,
            None => match fleet.open(plan, member, retries).await {
                Ok(connection) => connection,
                Err(NoConnection::Overloaded(rejection)) => return Ok(Outcome::Reject(rejection)),
                Err(NoConnection::Unreachable(rejection)) => return Err(rejection),
            },
        };
        match attempt(client, &mut connection, plan, limits, deadline, tally).await {
            Ok(Done::Complete { whole_request }) => {
                fleet.succeeded(plan, member);
                if let Some(beginning) = &tally.beginning {
                    fleet.began(plan, beginning, member);
                }
                if whole_request && connection.is_reusable() {
                    fleet.pool.put(connection);
                }
                return Ok(Outcome::Complete { whole_request });
            }
            Ok(Done::Switched) => {
                fleet.succeeded(plan, member);
                fleet.streams(plan, &mut lease);
                return Ok(Outcome::Switched(connection, lease));
            }
            // The server closed an idle connection while our request was on its way.
            Err((Failure::Upstream(UpstreamError::NoAnswer), _))
                if connection.reused && plan.repeatable && tally.request_bytes == 0 =>
            {
                may_reuse = false;
            }
            Err((failure, answered)) => {
                if is_servers(&failure, &connection) {
                    fleet.failed(plan, member, Failed::Unanswered);
                } else if answered {
                    fleet.succeeded(plan, member);
                }
                return Ok(failed(failure, answered));
            }
        }
    }
}

/// Whether a failure says something about the server. One that a client can bring about by what it
/// asks for does not, nor does an idle connection that was closed.
fn is_servers(failure: &Failure, connection: &Connection) -> bool {
    match failure {
        Failure::Upstream(UpstreamError::NoAnswer) => !connection.reused,
        Failure::Upstream(_) | Failure::UpstreamTimeout => true,
        _ => false,
    }
}

/// Waits for the first piece of a chunked body, so that a body that is malformed from its start
/// reaches no upstream.
async fn first_chunk<C: Client>(
    client: &mut C,
    limits: &Limits,
    deadline: &mut Deadline,
) -> Result<(), Outcome> {
    let at = tokio::time::Instant::now() + limits.body_timeout;
    let first = poll_fn(|cx| client.poll_body(cx).map(|body| body.map(|_| ())));
    match deadline.run(at, first).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ClientError::Gone)) => Err(Outcome::Cut(GONE)),
        Ok(Err(ClientError::Body(error))) => Err(failed(Failure::RequestBody(error), false)),
        Err(_) => Err(failed(Failure::RequestTimeout, false)),
    }
}

/// Whether what has arrived of the body is malformed; waits for nothing.
async fn already_malformed<C: Client>(client: &mut C) -> Option<BodyError> {
    poll_fn(|cx| {
        Poll::Ready(match client.poll_body(cx) {
            Poll::Ready(Err(ClientError::Body(error))) => Some(error),
            _ => None,
        })
    })
    .await
}

async fn attempt<C: Client>(
    client: &mut C,
    connection: &mut Connection,
    plan: &Plan,
    limits: &Limits,
    deadline: &mut Deadline,
    tally: &mut Tally,
) -> Result<Done, (Failure, bool)> {
    connection.send.head().extend_from_slice(&plan.head);
    connection.send.begin(plan.framing);
    let timeout = plan.upstream.response_timeout;
    let mut exchange = Exchange::new(client, connection, limits, timeout, &plan.upgrade, tally);
    let result = poll_fn(|cx| exchange.poll(cx, deadline)).await;
    result.map_err(|failure| (failure, exchange.has_answered()))
}

fn failed(failure: Failure, answered: bool) -> Outcome {
    let (code, reason) = match failure {
        Failure::ClientGone | Failure::RequestBody(BodyError::Truncated) => {
            return Outcome::Cut(GONE);
        }
        Failure::RequestBody(_) => (Code::FramingAmbiguous, "the chunked body is malformed"),
        Failure::RequestTimeout => (Code::RequestTimeout, "the body made no progress"),
        Failure::RequestTooLarge => (Code::BodyTooLarge, "the body exceeds body_bytes"),
        Failure::ClientStalled => return Outcome::Cut("the client stopped reading"),
        Failure::Upstream(UpstreamError::NoAnswer) => {
            (Code::UpstreamClosed, "the upstream closed without an answer")
        }
        Failure::Upstream(UpstreamError::CutHead) => {
            (Code::UpstreamInvalid, "the upstream closed inside its response head")
        }
        Failure::Upstream(UpstreamError::Head(_)) => {
            (Code::UpstreamInvalid, "the upstream's response head is not valid HTTP")
        }
        Failure::Upstream(UpstreamError::Body(_) | UpstreamError::Io(_)) => {
            (Code::UpstreamInvalid, "the upstream's response broke off")
        }
        Failure::UpstreamTimeout => (Code::UpstreamTimeout, "the upstream took too long"),
        Failure::UpstreamProtocol(reason) => (Code::UpstreamInvalid, reason),
    };
    if answered { Outcome::Cut(reason) } else { Outcome::Reject(Rejection::new(code, reason)) }
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455, section 4.2.2).
pub fn websocket_accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(hash.finalize())
}

/// Whether a 101 completes the WebSocket handshake that was sent.
pub fn check_switch(head: &ResponseHead, accept: &str) -> Result<(), &'static str> {
    let fields = &head.fields;
    let upgrade = fields.single(Known::Upgrade);
    if !head.connection.upgrade
        || !upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    {
        return Err("a 101 that does not switch to WebSocket");
    }
    if fields.single(Known::SecWebSocketAccept) != Some(accept.as_bytes()) {
        return Err("a 101 with a wrong Sec-WebSocket-Accept");
    }
    let framed = fields.get(Known::TransferEncoding).is_some()
        || fields.get(Known::ContentLength).is_some_and(|length| length != b"0");
    if framed { Err("a 101 with a body") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_of_the_rfc_is_made() {
        assert_eq!(websocket_accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
