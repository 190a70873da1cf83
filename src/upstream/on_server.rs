//! One request on one server: over HTTP/1.1 or HTTP/2, on a connection that is there or a new one.
//!
//! What must not happen: a request that may have had an effect is sent again. It is sent once more
//! where sending it twice is the same as once and an idle connection turned out to be closed, or
//! where the server says itself that it did not look at it.

use std::future::poll_fn;

use tokio::time::Instant;

use super::client::Client;
use super::condition::Failed;
use super::connection::UpstreamError;
use super::exchange::{Done, Exchange, Failure, Tally, Upgrade};
use super::fleet::{Fleet, NoConnection};
use super::forward::{Outcome, Plan, failed};
use super::member::{Lease, Member};
use super::policy::Protocol;
use super::server::Server;
use crate::config::snapshot::Limits;
use crate::net::deadline::Deadline;
use crate::rejection::{Code, Rejection};

/// What a try is made with.
pub(super) struct Try<'t> {
    pub plan: &'t Plan,
    pub fleet: &'t Fleet,
    pub limits: &'t Limits,
    /// Another server was tried before.
    pub retries: bool,
}

/// What is done after an exchange.
enum Next {
    Done(Outcome),
    /// The whole answer was passed.
    Complete {
        whole_request: bool,
    },
    Switched,
    /// On a new connection.
    Again,
    /// The server did not look at the request.
    Refused,
}

/// Opens a connection; where the request is recorded, how long that took.
async fn told<T>(
    tally: &mut Tally,
    member: &Member,
    opening: impl Future<Output = Result<T, NoConnection>>,
) -> Result<T, NoConnection> {
    let Some(spans) = &mut tally.spans else { return opening.await };
    let begun = Instant::now();
    let opened = opening.await;
    let failed = opened.as_ref().err().map(|none| match none {
        NoConnection::Unreachable(rejection) | NoConnection::Overloaded(rejection) => {
            rejection.code.as_str()
        }
    });
    spans.connected(&member.server.address, begun, failed);
    opened
}

fn sends(tally: &mut Tally, member: &Member, version: &'static str) {
    if let Some(spans) = &mut tally.spans {
        spans.sends(&member.server.address, version);
    }
}

impl Try<'_> {
    /// The error is why the server could not be reached, and nothing was sent.
    pub async fn run<C: Client>(
        &self,
        client: &mut C,
        lease: Lease,
        deadline: &mut Deadline,
        tally: &mut Tally,
    ) -> Result<Outcome, Rejection> {
        let is_plain = matches!(self.plan.upgrade, Upgrade::None);
        match self.plan.upstream.policy.protocol {
            Protocol::Http2 if is_plain => {
                Box::pin(self.over_http2(client, lease, deadline, tally)).await
            }
            Protocol::Http1 | Protocol::Http2 => {
                self.over_http1(client, lease, deadline, tally).await
            }
        }
    }

    async fn over_http1<C: Client>(
        &self,
        client: &mut C,
        mut lease: Lease,
        deadline: &mut Deadline,
        tally: &mut Tally,
    ) -> Result<Outcome, Rejection> {
        let Self { plan, fleet, .. } = *self;
        let mut may_reuse = true;
        loop {
            let member = lease.member();
            let pooled = if may_reuse { fleet.pool.take(member.id, plan.repeatable) } else { None };
            let mut connection = match pooled {
                Some(connection) => connection,
                None => {
                    let opening = fleet.open(plan, member, self.retries);
                    match told(tally, member, opening).await {
                        Ok(connection) => connection,
                        Err(none) => return without_connection(none),
                    }
                }
            };
            sends(tally, member, "1.1");
            connection.send.put_head(&plan.head);
            connection.send.begin(plan.framing);
            let result = self.exchange(client, &mut *connection, deadline, tally).await;
            match self.next(member, result, connection.reused, tally) {
                Next::Done(outcome) => return Ok(outcome),
                Next::Complete { whole_request } => {
                    if whole_request && connection.is_reusable() {
                        fleet.pool.put(connection, tally.ends());
                    }
                    return Ok(Outcome::Complete { whole_request });
                }
                Next::Switched => {
                    fleet.streams(plan, &mut lease);
                    return Ok(Outcome::Switched(connection, lease));
                }
                Next::Again | Next::Refused => may_reuse = false,
            }
        }
    }

    async fn over_http2<C: Client>(
        &self,
        client: &mut C,
        lease: Lease,
        deadline: &mut Deadline,
        tally: &mut Tally,
    ) -> Result<Outcome, Rejection> {
        let Self { plan, fleet, .. } = *self;
        let mut may_reuse = true;
        loop {
            let member = lease.member();
            let pooled = if may_reuse { fleet.http2.take(member.id) } else { None };
            let shared = match pooled {
                Some(shared) => shared,
                None => {
                    let opening = fleet.open_http2(plan, member, self.retries);
                    match told(tally, member, opening).await {
                        Ok(shared) => shared,
                        Err(none) => return without_connection(none),
                    }
                }
            };
            sends(tally, member, "2");
            let reused = shared.reused;
            let mut stream = match shared.begin(&plan.head, plan.framing) {
                Ok(stream) => stream,
                Err(super::http2::NotBegun::Unsayable) => return Ok(Outcome::Reject(UNSAYABLE)),
                Err(super::http2::NotBegun::Closed) if reused => {
                    may_reuse = false;
                    continue;
                }
                Err(super::http2::NotBegun::Closed) => {
                    fleet.failed(plan, member, Failed::Unanswered);
                    return Err(CLOSED);
                }
            };
            let result = self.exchange(client, &mut stream, deadline, tally).await;
            match self.next(member, result, reused, tally) {
                Next::Done(outcome) => return Ok(outcome),
                Next::Complete { whole_request } => {
                    return Ok(Outcome::Complete { whole_request });
                }
                Next::Again => may_reuse = false,
                // A connection that says goodbye is followed by another one.
                Next::Refused if reused => may_reuse = false,
                Next::Refused => return Err(REFUSED),
                Next::Switched => return Ok(Outcome::Reject(UNSAYABLE)),
            }
        }
    }

    async fn exchange<C: Client, S: Server>(
        &self,
        client: &mut C,
        server: &mut S,
        deadline: &mut Deadline,
        tally: &mut Tally,
    ) -> Result<Done, (Failure, bool)> {
        let Self { plan, limits, .. } = *self;
        let timeout = plan.upstream.response_timeout;
        let mut exchange = Exchange::new(client, server, limits, timeout, &plan.upgrade, tally);
        exchange.is_events = Some(&plan.is_events);
        let result = poll_fn(|cx| exchange.poll(cx, deadline)).await;
        result.map_err(|failure| (failure, exchange.has_answered()))
    }

    /// Takes note of what the exchange says of the server.
    fn next(
        &self,
        member: &Member,
        result: Result<Done, (Failure, bool)>,
        reused: bool,
        tally: &Tally,
    ) -> Next {
        let Self { plan, fleet, .. } = *self;
        let sent_no_body = tally.request_bytes == 0;
        match result {
            Ok(Done::Complete { whole_request }) => {
                fleet.succeeded(plan, member);
                if let Some(beginning) = &tally.beginning {
                    fleet.began(plan, beginning, member);
                }
                Next::Complete { whole_request }
            }
            Ok(Done::Switched) => {
                fleet.succeeded(plan, member);
                Next::Switched
            }
            // The server closed an idle connection while our request was on its way.
            Err((Failure::Upstream(UpstreamError::NoAnswer), _))
                if reused && plan.repeatable && sent_no_body =>
            {
                Next::Again
            }
            Err((Failure::Upstream(UpstreamError::Refused), false)) if sent_no_body => {
                Next::Refused
            }
            Err((failure, answered)) => {
                if is_servers(&failure, reused) {
                    fleet.failed(plan, member, Failed::Unanswered);
                } else if answered {
                    fleet.succeeded(plan, member);
                }
                Next::Done(failed(failure, answered))
            }
        }
    }
}

const UNSAYABLE: Rejection =
    Rejection::new(Code::TargetInvalid, "HTTP/2 has no way to say the request to the upstream");
const CLOSED: Rejection =
    Rejection::new(Code::UpstreamUnreachable, "the upstream closed the connection at once");
const REFUSED: Rejection = Rejection::new(Code::UpstreamClosed, "the upstream refused the stream");

fn without_connection(none: NoConnection) -> Result<Outcome, Rejection> {
    match none {
        NoConnection::Overloaded(rejection) => Ok(Outcome::Reject(rejection)),
        NoConnection::Unreachable(rejection) => Err(rejection),
    }
}

/// Whether a failure says something about the server. One that a client can bring about by what it
/// asks for does not, nor does an idle connection that was closed.
fn is_servers(failure: &Failure, reused: bool) -> bool {
    match failure {
        Failure::Upstream(UpstreamError::NoAnswer) => !reused,
        Failure::Upstream(_) | Failure::UpstreamTimeout => true,
        _ => false,
    }
}
