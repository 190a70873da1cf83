//! The whole way of one request to an upstream and back: pick a server, reuse or open a
//! connection, exchange, and try again only where nothing can have had an effect.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;

use smallvec::SmallVec;

use super::affinity::Key;
use super::client::{Client, ClientError};
use super::connection::{Connection, UpstreamError};
use super::exchange::{Failure, Tally, Upgrade};
use super::fleet::{Fleet, rejection};
use super::group::Refused;
use super::member::{Lease, MemberId};
use super::on_server::Try;
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
    /// Becomes true where the answer is an event stream.
    pub is_events: AtomicBool,
}

#[derive(Debug)]
pub enum Outcome {
    /// The answer was passed whole; `whole_request` tells whether the request was read to its end.
    Complete { whole_request: bool },
    /// A WebSocket: from here on bytes pass both ways, and the server is in use.
    Switched(Box<Connection>, Lease),
    /// The client was sent nothing yet: tell it this.
    Reject(Rejection),
    /// An event stream was ended before its time; its end is on its way.
    Ended(&'static str),
    /// The answer broke off, and the client, if it is still there, must see that it did.
    Cut(&'static str),
}

impl Outcome {
    /// What the client is to be told, where there is no answer for it.
    pub fn refused(&self) -> Option<Code> {
        match self {
            Outcome::Reject(rejection) => Some(rejection.code),
            _ => None,
        }
    }
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
    if let Some(spans) = &mut tally.spans {
        spans.forwards(&plan.upstream.name);
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
        let one = Try { plan, fleet, limits, retries };
        match one.run(client, lease, deadline, tally).await {
            Ok(outcome) => return outcome,
            Err(rejection) => unreached = Some(rejection),
        }
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

pub(super) fn failed(failure: Failure, answered: bool) -> Outcome {
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
        Failure::Upstream(UpstreamError::Refused) => {
            (Code::UpstreamClosed, "the upstream refused the stream")
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
