//! One request, from its head to its log line. The same for HTTP/1 and HTTP/2.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::collect;
use super::ending::PATIENCE;
use super::files;
use super::open::Open;
use super::password;
use super::prepare::{Custody, Prepare, Prepared, Wanted, prepare, request_id, wanted_body};
use super::respond::{self, Answer};
use super::worker::Worker;
use crate::http1::fields::Fields;
use crate::http1::framing::Framing;
use crate::net::deadline::Deadline;
use crate::pipeline::{self, ConnectionFacts, Dress, Permit};
use crate::rejection::{Code, Rejection};
use crate::state::custody::Whose;
use crate::state::streams::Ended;
use crate::telemetry::access_log::{Record, StreamLog};
use crate::telemetry::request_id::RequestId;
use crate::telemetry::trace::TraceId;
use crate::upstream::client::Client;
use crate::upstream::connection::Connection;
use crate::upstream::exchange::Tally;
use crate::upstream::forward::{Outcome, Plan, forward};
use crate::upstream::member::Lease;

/// A client that can also be answered by us.
pub trait Downstream: Client {
    /// Names the request; every answer carries the name.
    fn begin(&mut self, request_id: RequestId);

    /// How the upstream's answer is changed on its way.
    fn dress(&mut self, dress: Dress);

    /// Gives that back where the upstream has no answer.
    fn undress(&mut self) -> Dress;

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
    Switched(Switched),
}

/// A WebSocket whose handshake is done.
#[derive(Debug)]
pub struct Switched {
    pub upstream: Box<Connection>,
    /// The server is in use as long as the tunnel.
    pub lease: Lease,
    pub log: Option<Box<StreamLog>>,
    /// May end it.
    pub open: Open,
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
    let random = || worker.random();
    let (trace, spans) = worker.tracer.begin(connection, client.request(), request_id, random);
    let mut tally = Tally { spans, ..Tally::default() };
    let mut wanted = wanted_body(worker, connection, client);
    let shows_password = password::is_shown(client.request());
    let waits = shows_password || wanted.is_some() || !worker.custody.is_ours();
    let verified = match shows_password {
        true => Box::pin(password::verify(worker, connection, client.request())).await,
        false => Ok(()),
    };
    let body = match &mut wanted {
        _ if verified.is_err() => verified.map(|()| None),
        None => Ok(None),
        Some(wanted) => match Box::pin(read(worker, client, deadline, wanted, &mut tally)).await {
            Ok(body) => Ok(Some(body)),
            Err(Some(rejection)) => Err(rejection),
            Err(None) => return Finish::Abort,
        },
    };
    let custody = match worker.custody.is_ours() {
        true => Custody::Ours,
        false => Box::pin(custody(worker, connection, client)).await,
    };
    let now = if waits { Instant::now() } else { started };
    // Nothing is awaited from the look at whose it is to the end of the decision.
    let names = (&request_id, &trace);
    let (prepared, mut record, measured) = {
        let spans = tally.spans.as_deref_mut();
        prepare(worker, connection, client, names, (wanted, body), (custody, now), spans)
    };
    let mut finish = match prepared {
        Prepared::Answer(answer) => {
            tally.status = Some(answer.status);
            answered(client, deadline, worker.limits().body_timeout, &answer).await
        }
        Prepared::File(action) => {
            let finish = files::serve(worker, client, deadline, *action, &mut tally).await;
            match finish {
                Ok(finish) => finish,
                Err((rejection, dress)) => {
                    rejected(record.as_deref_mut(), &mut tally, &rejection);
                    let names = (&request_id, Some(trace.trace_id));
                    worker.recent.refused(&rejection, dress.owner.as_ref(), names);
                    let answer = refused(client, &rejection, dress, &request_id);
                    tally.status = Some(answer.status);
                    answered(client, deadline, worker.limits().body_timeout, &answer).await
                }
            }
        }
        Prepared::Forward(mut prepare) => {
            client.dress(std::mem::take(&mut prepare.dress));
            let names = (&request_id, Some(trace.trace_id));
            pass(worker, client, deadline, prepare, names, record.as_deref_mut(), &mut tally).await
        }
    };
    tally.ends();
    measured.ends(started, &tally);
    tell(worker, &mut finish, tally, (record, started));
    finish
}

/// Tells of the request: in the log, and where it is traced in spans. Of a WebSocket the rest is told
/// when it ends.
fn tell(
    worker: &Worker,
    finish: &mut Finish,
    mut tally: Tally,
    (mut record, started): (Option<Box<Record>>, Instant),
) {
    let aborted = matches!(finish, Finish::Abort);
    if let Some(record) = &mut record {
        record.finish(started, &tally, aborted);
    }
    let spans = tally.spans.take();
    if let Finish::Switched(switched) = finish {
        let stream = spans.and_then(|spans| spans.switched(tally.status));
        switched.log = StreamLog::new(record, stream, started, &worker.log);
        return;
    }
    if let Some(record) = record {
        worker.log.write(&record);
    }
    if let Some(spans) = spans {
        spans.end(tally.status, (tally.request_bytes, tally.response_bytes), aborted);
    }
}

fn rejected(record: Option<&mut Record>, tally: &mut Tally, rejection: &Rejection) {
    tally.rejected = Some(rejection.code);
    if let Some(record) = record {
        record.rejected(rejection);
    }
    if let Some(spans) = &mut tally.spans {
        spans.rejected(rejection);
    }
}

fn cut(record: Option<&mut Record>, tally: &mut Tally, reason: &'static str) {
    if let Some(record) = record {
        record.cut(reason);
    }
    if let Some(spans) = &mut tally.spans {
        spans.cut(reason);
    }
}

/// Whether what is remembered may be changed by this request's decision, while a successor is being
/// given it or has been. Whoever would change it waits for what comes of that; the answer is where
/// to ask instead.
async fn custody<C: Downstream>(
    worker: &Worker,
    connection: &ConnectionFacts,
    client: &C,
) -> Custody {
    let head = client.request();
    loop {
        if worker.custody.is_ours() {
            return Custody::Ours;
        }
        if client.refusal().is_some()
            || !pipeline::changes_state(&worker.snapshot.load(), connection, head)
        {
            return Custody::BeingGiven;
        }
        match worker.custody.settled().await {
            Whose::Ours => {}
            Whose::Successors => return Custody::Given,
        }
    }
}

/// Reads a body that is decided about as a whole, at the cost of a launch until it is here.
async fn read<C: Downstream>(
    worker: &Worker,
    client: &mut C,
    deadline: &mut Deadline,
    wanted: &mut Wanted,
    tally: &mut Tally,
) -> Result<Vec<u8>, Option<Rejection>> {
    let permit = wanted.permit()?;
    let patience = worker.limits().body_timeout;
    let memory = permit.as_ref().and_then(Permit::memory);
    let body = collect::collect(client, deadline, wanted.whole, patience, memory, tally).await?;
    if let Some(permit) = permit {
        permit.give_back(worker.moment());
    }
    Ok(body)
}

async fn pass<C: Downstream>(
    worker: &Worker,
    client: &mut C,
    deadline: &mut Deadline,
    mut prepare: Box<Prepare>,
    names: (&RequestId, Option<TraceId>),
    record: Option<&mut Record>,
    tally: &mut Tally,
) -> Finish {
    let Prepare { plan, limits, open, decided, .. } = &mut *prepare;
    let exchange = forward(client, plan, &worker.fleet, limits, deadline, tally);
    let (outcome, failed) = match open.run(&plan.is_events, exchange).await {
        Ok(outcome) => {
            let failed = outcome.refused();
            (outcome, failed)
        }
        Err(why) => (end_early(client, plan, tally, why), None),
    };
    worker.metrics.upstream(&plan.upstream).ends(*decided, tally, failed);
    match outcome {
        Outcome::Complete { whole_request } => Finish::Answered { whole_request },
        Outcome::Switched(upstream, lease) => {
            let open = std::mem::take(&mut prepare.open);
            Finish::Switched(Switched { upstream, lease, log: None, open })
        }
        Outcome::Reject(rejection) => {
            rejected(record, tally, &rejection);
            let dress = client.undress();
            worker.recent.refused(&rejection, dress.owner.as_ref(), names);
            let answer = refused(client, &rejection, dress, names.0);
            tally.status = Some(answer.status);
            match answered(client, deadline, limits.body_timeout, &answer).await {
                // The request's body was not read to its end, whatever the client believes.
                Finish::Answered { .. } => {
                    Finish::Answered { whole_request: plan.framing == Framing::Empty }
                }
                finish => finish,
            }
        }
        Outcome::Ended(reason) => {
            cut(record, tally, reason);
            match flushed(client, deadline, PATIENCE).await {
                Finish::Answered { .. } => {
                    Finish::Answered { whole_request: plan.framing == Framing::Empty }
                }
                finish => finish,
            }
        }
        Outcome::Cut(reason) => {
            cut(record, tally, reason);
            Finish::Abort
        }
    }
}

/// Ends an answer that was told to end. An event stream is whole wherever it ends: its client drops
/// an event that is not, and comes back (WHATWG HTML, section 9.2). Nothing else may look complete.
fn end_early<C: Downstream>(client: &mut C, plan: &Plan, tally: &Tally, why: Ended) -> Outcome {
    if plan.is_events.load(Ordering::Relaxed) && client.end(&Fields::default()).is_ok() {
        return Outcome::Ended(why.reason());
    }
    if tally.status.is_some() {
        return Outcome::Cut(why.reason());
    }
    let code = match why {
        Ended::Revoked => Code::SessionExpired,
        Ended::Drained => Code::UpstreamUnavailable,
        Ended::Removed => Code::NotFound,
    };
    Outcome::Reject(Rejection::new(code, why.reason()))
}

fn refused<C: Downstream>(
    client: &C,
    rejection: &Rejection,
    dress: Dress,
    request_id: &RequestId,
) -> Answer {
    let Dress { owner, fields, direction, is_https, .. } = dress;
    let (id, head) = (request_id.as_str(), client.request());
    let mut answer = respond::refusal(rejection, id, head, (owner.as_ref(), direction));
    respond::complete(&mut answer, fields, (owner.as_ref(), is_https));
    answer
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
    flushed(client, deadline, patience).await
}

async fn flushed<C: Downstream>(
    client: &mut C,
    deadline: &mut Deadline,
    patience: Duration,
) -> Finish {
    let at = Instant::now() + patience;
    match deadline.run(at, std::future::poll_fn(|cx| client.poll_flush(cx))).await {
        Ok(Ok(())) => Finish::Answered { whole_request: false },
        _ => Finish::Abort,
    }
}
