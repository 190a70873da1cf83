//! Requests: our codec as a pure function, against hyper's server.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use vestibule::http1::body::{Body, BodyStep};
use vestibule::http1::fields::Fields;
use vestibule::http1::head::{HeadScan, RequestHead, parse_trailers};

use super::{MAX_INPUT, MAX_TRAILERS, block_on, shown};

/// One request, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub method: Method,
    pub target: String,
    pub body: Vec<u8>,
    /// The body was read to its end.
    pub whole: bool,
}

/// Why there is no further request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Refused,
    /// The bytes end inside a request.
    Incomplete,
    /// The bytes end between requests, or a request was the connection's last.
    End,
}

/// Every request that we accept, hyper accepts, in the same order and with the same method,
/// target and body; and how the bytes arrive makes no difference.
pub fn codec_against_hyper(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MAX_INPUT)];
    let (ours, ending) = read(bytes, bytes.len());
    for piece in [1, 7] {
        // A long input in single bytes costs seconds and says nothing that a short one does not.
        if bytes.len() / piece < 8 * 1024 {
            assert_eq!(read(bytes, piece), (ours.clone(), ending), "pieces: {}", shown(bytes));
        }
    }
    let theirs = hyper_reads(bytes);
    for (index, our) in ours.iter().enumerate() {
        // hyper also parses targets, which the gate does for us. It gives `http://x` a slash and
        // drops a fragment, which the gate refuses.
        let Ok(target) = http::Uri::try_from(&*our.target) else { return };
        let Some(their) = theirs.get(index) else {
            panic!("hyper does not see request {index}, {our:?}: {}", shown(bytes));
        };
        let heads = our.method == their.method && target.to_string() == their.target;
        let bodies = match (our.whole, their.whole) {
            (true, _) => their.whole && our.body == their.body,
            (false, true) => their.body.starts_with(&our.body),
            (false, false) => {
                their.body.starts_with(&our.body) || our.body.starts_with(&their.body)
            }
        };
        assert!(heads && bodies, "{our:?} is {their:?} to hyper: {}", shown(bytes));
    }
}

/// Reads a connection's bytes as the edge does, `piece` bytes at a time.
pub fn read(bytes: &[u8], piece: usize) -> (Vec<Message>, Ending) {
    let mut messages = Vec::new();
    let (mut at, mut available) = (0, piece.min(bytes.len()));
    let mut head = RequestHead::default();
    loop {
        // A client may end a body with one line too many.
        let mut scan = HeadScan::default();
        let mut skipped = false;
        let end = loop {
            if !skipped && bytes[at..available].starts_with(b"\r\n") {
                at += 2;
                skipped = true;
                scan = HeadScan::default();
            }
            match scan.end(&bytes[at..available]) {
                Err(_) => return (messages, Ending::Refused),
                Ok(Some(end)) => break end,
                Ok(None) if available == bytes.len() => {
                    let ending = if at == available { Ending::End } else { Ending::Incomplete };
                    return (messages, ending);
                }
                Ok(None) => available = (available + piece).min(bytes.len()),
            }
        };
        if head.parse(&bytes[at..at + end]).is_err() {
            return (messages, Ending::Refused);
        }
        at += end;
        messages.push(Message {
            method: head.method.clone(),
            target: head.target.clone(),
            body: Vec::new(),
            whole: false,
        });
        let message = messages.last_mut().expect("just pushed");
        let mut body = Body::new(head.framing, MAX_TRAILERS);
        loop {
            let eof = available == bytes.len();
            match body.step(&bytes[at..available], eof) {
                Ok(BodyStep::Data(count)) => {
                    message.body.extend_from_slice(&bytes[at..at + count]);
                    body.took(count);
                    at += count;
                }
                Ok(BodyStep::Skip(count)) => at += count,
                Ok(BodyStep::Trailers(count)) => {
                    if parse_trailers(&bytes[at..at + count], &mut Fields::default()).is_err() {
                        return (messages, Ending::Refused);
                    }
                    at += count;
                    break;
                }
                Ok(BodyStep::End) => break,
                Ok(BodyStep::Need) => available = (available + piece).min(bytes.len()),
                Err(vestibule::http1::BodyError::Truncated) => {
                    return (messages, Ending::Incomplete);
                }
                Err(_) => return (messages, Ending::Refused),
            }
        }
        message.whole = true;
        if !head.keeps_alive() {
            return (messages, Ending::End);
        }
    }
}

/// What hyper's server makes of the same bytes.
pub fn hyper_reads(bytes: &[u8]) -> Vec<Message> {
    let seen = Rc::new(RefCell::new(Vec::<Message>::new()));
    let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (parts, mut body) = request.into_parts();
            let index = seen.borrow().len();
            seen.borrow_mut().push(Message {
                method: parts.method,
                target: parts.uri.to_string(),
                body: Vec::new(),
                whole: false,
            });
            while let Some(frame) = body.frame().await {
                if let Some(data) = frame?.data_ref() {
                    seen.borrow_mut()[index].body.extend_from_slice(data);
                }
            }
            seen.borrow_mut()[index].whole = true;
            let mut response = Response::new(Empty::<bytes::Bytes>::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok::<_, hyper::Error>(response)
        }
    });
    block_on(async {
        // Large enough for all answers: nobody reads them.
        let (mut client, server) = tokio::io::duplex(4 * 1024 * 1024);
        client.write_all(bytes).await.expect("it fits");
        client.shutdown().await.expect("a duplex can be shut down");
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .max_headers(vestibule::http1::head::MAX_FIELDS)
            .max_buf_size(256 * 1024)
            .serve_connection(TokioIo::new(server), service);
        // How it ends is hyper's business; what it saw is ours.
        let _: Result<(), _> = connection.await;
    });
    seen.take()
}
