//! A file from the disk as an answer.
//!
//! The file's head is dressed and compressed as an upstream's would be; what answers it is decided
//! by [`crate::policy::front::files`]. The disk is looked at by other threads, a few at a time, and
//! a piece at a time: whoever reads slowly holds one piece of memory and no thread.

use std::fs::File;
use std::future::poll_fn;
use std::task::Poll;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::handle::{Downstream, Finish};
use super::respond;
use super::worker::Worker;
use crate::compress::Encoder;
use crate::files::{self, NoFile, Opened};
use crate::http1::fields::Fields;
use crate::http1::framing::Framing;
use crate::http1::head::ResponseHead;
use crate::net::deadline::Deadline;
use crate::pipeline::{Dress, FileAction};
use crate::policy::front::compression::{Coding, Compression};
use crate::policy::front::files::{Part, media_type};
use crate::policy::front::folders::Folder;
use crate::rejection::{Code, Rejection};
use crate::upstream::exchange::{Failure, Tally};
use crate::upstream::passage::{drain, put};

/// Shown where a file is missing, if the folder has it.
const NOT_FOUND: &str = "404.html";

/// Answers with a file; a refusal is for the caller to tell.
pub async fn serve<C: Downstream>(
    worker: &Worker,
    client: &mut C,
    deadline: &mut Deadline,
    action: FileAction,
    tally: &mut Tally,
) -> Result<Finish, (Rejection, Dress)> {
    let FileAction { wanted, media_type: said, as_folder, dress } = action;
    let accepted = accepted(client, &dress);
    let folder = wanted.folder.clone();
    let found = open(worker, folder.clone(), wanted.file.clone(), accepted).await;
    let (opened, name, part) = match found {
        Ok(opened) => {
            let part = opened.facts.part(client.request());
            (opened, wanted.file, part)
        }
        Err(NoFile::Folder) if as_folder.is_some() => {
            let mut answer = respond::redirect(as_folder.unwrap_or_default());
            let Dress { owner, fields, is_https, .. } = dress;
            respond::complete(&mut answer, fields, (owner.as_ref(), is_https));
            tally.status = Some(answer.status);
            let is_sent = client.answer(&answer).is_ok() && flush(worker, client, deadline).await;
            return Ok(finished(is_sent));
        }
        Err(_) if dress.owner.is_some() => {
            let page = open(worker, folder, NOT_FOUND.to_owned(), Vec::new()).await;
            match page {
                Ok(page) => {
                    return Ok(missing(worker, client, deadline, (page, dress), tally).await);
                }
                Err(_) => return Err((refusal(), dress)),
            }
        }
        Err(_) => return Err((refusal(), dress)),
    };
    let head = head(&opened, part, said.unwrap_or_else(|| media_type(&name)), client);
    let sent = Sent { opened, head, part };
    Ok(send(worker, client, deadline, (sent, dress), tally).await)
}

fn refusal() -> Rejection {
    Rejection::new(Code::NotFound, "the folder has no such file")
}

/// The folder's own page about what is missing, without conditions or ranges.
async fn missing<C: Downstream>(
    worker: &Worker,
    client: &mut C,
    deadline: &mut Deadline,
    (page, dress): (Opened, Dress),
    tally: &mut Tally,
) -> Finish {
    let mut head = head(&page, Part::Whole, media_type(NOT_FOUND), client);
    head.status = StatusCode::NOT_FOUND;
    let sent = Sent { opened: page, head, part: Part::Whole };
    send(worker, client, deadline, (sent, dress), tally).await
}

/// Codings of which the disk may hold a form, by the client's wishes.
fn accepted<C: Downstream>(client: &C, dress: &Dress) -> Vec<Coding> {
    let head = client.request();
    let takes = |&coding: &Coding| {
        let alone = Compression { codings: [coding].into(), min_bytes: 0, types: [].into() };
        alone.negotiate(head).is_some()
    };
    match dress.owner {
        Some(_) => Compression::CODINGS.into_iter().filter(takes).collect(),
        None => Vec::new(),
    }
}

/// What is to be sent of which file.
struct Sent {
    opened: Opened,
    head: ResponseHead,
    part: Part,
}

fn head<C: Downstream>(opened: &Opened, part: Part, kind: &str, client: &C) -> ResponseHead {
    let facts = &opened.facts;
    let mut fields = Fields::default();
    let mut put = |name: &str, value: &str| fields.push(name.as_bytes(), value.as_bytes());
    put("Date", &httpdate::fmt_http_date(std::time::SystemTime::now()));
    put("ETag", &facts.etag());
    put("Last-Modified", &httpdate::fmt_http_date(facts.modified));
    put("Accept-Ranges", "bytes");
    if opened.varies {
        put("Vary", "Accept-Encoding");
    }
    let (status, length) = match part {
        Part::Whole => (StatusCode::OK, Some(facts.length)),
        Part::Range { first, length } => {
            let range = format!("bytes {first}-{}/{}", first + length - 1, facts.length);
            put("Content-Range", &range);
            (StatusCode::PARTIAL_CONTENT, Some(length))
        }
        Part::Known => (StatusCode::NOT_MODIFIED, None),
        Part::Changed => (StatusCode::PRECONDITION_FAILED, Some(0)),
        Part::Beyond => {
            put("Content-Range", &format!("bytes */{}", facts.length));
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(0))
        }
    };
    if let Some(length) = length {
        put("Content-Length", itoa::Buffer::new().format(length));
    }
    if status.is_success() {
        put("Content-Type", kind);
        // A browser that looks into a file to find out what it is may find a script.
        put("X-Content-Type-Options", "nosniff");
        if let Some(coding) = facts.coding {
            put("Content-Encoding", coding.as_str());
        }
    }
    let framing = match length {
        Some(length) if client.request().method != Method::HEAD => Framing::Length(length),
        _ => Framing::Empty,
    };
    ResponseHead { status, fields, framing, ..ResponseHead::default() }
}

async fn send<C: Downstream>(
    worker: &Worker,
    client: &mut C,
    deadline: &mut Deadline,
    (sent, dress): (Sent, Dress),
    tally: &mut Tally,
) -> Finish {
    let Sent { opened, head, part } = sent;
    tally.status = Some(head.status);
    client.dress(dress);
    let mut encoder = client.encode(&head, head.framing).map(Box::new);
    let framing = match encoder.as_ref().map(|encoder| encoder.length()) {
        None => head.framing,
        Some(Some(length)) => Framing::Length(length),
        Some(None) => Framing::Chunked,
    };
    if client.send_head(&head, framing).is_err() {
        return Finish::Abort;
    }
    let (first, length) = match (part, head.framing) {
        (_, Framing::Empty) | (Part::Known | Part::Changed | Part::Beyond, _) => (0, 0),
        (Part::Whole, _) => (0, opened.facts.length),
        (Part::Range { first, length }, _) => (first, length),
    };
    let body = Body { file: opened.file, first, left: length };
    let sent = body.send(worker, client, deadline, &mut encoder, tally).await;
    let is_whole = sent && client.end(&Fields::default()).is_ok();
    finished(is_whole && flush(worker, client, deadline).await)
}

struct Body {
    file: File,
    first: u64,
    left: u64,
}

impl Body {
    /// Piece by piece; false where the client or the file gave up.
    async fn send<C: Downstream>(
        mut self,
        worker: &Worker,
        client: &mut C,
        deadline: &mut Deadline,
        encoder: &mut Option<Box<Encoder>>,
        tally: &mut Tally,
    ) -> bool {
        while self.left > 0 {
            let Ok(look) = worker.disk.acquire().await else { return false };
            let Self { mut file, first, left } = self;
            let read = tokio::task::spawn_blocking(move || {
                if first > 0 {
                    files::skip(&mut file, first)?;
                }
                files::read(&mut file, left).map(|piece| (file, piece))
            });
            let Ok(Ok((file, piece))) = read.await else { return false };
            drop(look);
            // A file that became shorter cannot be what its head says.
            if piece.is_empty() {
                return false;
            }
            self = Self { file, first: 0, left: left - piece.len() as u64 };
            if !pass(worker, client, deadline, encoder, tally, &piece).await {
                return false;
            }
        }
        let Some(encoder) = encoder else { return true };
        if encoder.finish().is_err() {
            return false;
        }
        let patience = Instant::now() + worker.limits().body_timeout;
        let drained = poll_fn(|cx| pending(drain(client, encoder, tally, cx)));
        matches!(deadline.run(patience, drained).await, Ok(Ok(())))
    }
}

async fn pass<C: Downstream>(
    worker: &Worker,
    client: &mut C,
    deadline: &mut Deadline,
    encoder: &mut Option<Box<Encoder>>,
    tally: &mut Tally,
    mut piece: &[u8],
) -> bool {
    while !piece.is_empty() {
        let patience = Instant::now() + worker.limits().body_timeout;
        let taken = poll_fn(|cx| pending(put(client, encoder, tally, cx, piece)));
        match deadline.run(patience, taken).await {
            Ok(Ok(count)) => piece = &piece[count..],
            _ => return false,
        }
    }
    true
}

fn pending<T>(result: Result<Poll<T>, Failure>) -> Poll<Result<T, Failure>> {
    match result {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(failure) => Poll::Ready(Err(failure)),
    }
}

async fn open(
    worker: &Worker,
    folder: Folder,
    file: String,
    accepted: Vec<Coding>,
) -> Result<Opened, NoFile> {
    let Ok(_look) = worker.disk.acquire().await else { return Err(NoFile::Closed) };
    let open = tokio::task::spawn_blocking(move || files::open(&folder, &file, &accepted));
    open.await.unwrap_or(Err(NoFile::Closed))
}

async fn flush<C: Downstream>(worker: &Worker, client: &mut C, deadline: &mut Deadline) -> bool {
    let patience = Instant::now() + worker.limits().body_timeout;
    let flushed = deadline.run(patience, poll_fn(|cx| client.poll_flush(cx))).await;
    matches!(flushed, Ok(Ok(())))
}

fn finished(is_sent: bool) -> Finish {
    if is_sent { Finish::Answered { whole_request: false } } else { Finish::Abort }
}
