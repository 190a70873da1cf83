//! Responses of an upstream: our codec as a pure function, against hyper's client.

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vestibule::http1::body::{Body, BodyStep};
use vestibule::http1::fields::Fields;
use vestibule::http1::head::{HeadScan, ResponseHead, parse_trailers};

use super::{MAX_INPUT, MAX_TRAILERS, block_on, shown};

/// A final response, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    pub status: StatusCode,
    pub body: Vec<u8>,
    pub whole: bool,
}

/// A response that we pass has the same status and the same body to hyper. The first byte tells
/// the request's method: `H` for HEAD, `P` for POST, else GET; the rest is the connection.
pub fn response_against_hyper(bytes: &[u8]) {
    let Some((method, wire)) = bytes[..bytes.len().min(MAX_INPUT)].split_first() else { return };
    let method = match method {
        b'H' => Method::HEAD,
        b'P' => Method::POST,
        _ => Method::GET,
    };
    let ours = read(wire, wire.len(), &method);
    for piece in [1, 7] {
        if wire.len() / piece < 8 * 1024 {
            assert_eq!(read(wire, piece, &method), ours, "in pieces: {}", shown(bytes));
        }
    }
    let Some(our) = ours else { return };
    let their = block_on(hyper_reads(wire, method));
    let Some(their) = their else { panic!("hyper does not see {our:?}: {}", shown(bytes)) };
    let bodies = match (our.whole, their.whole) {
        (true, _) => their.whole && our.body == their.body,
        (false, true) => their.body.starts_with(&our.body),
        (false, false) => their.body.starts_with(&our.body) || our.body.starts_with(&their.body),
    };
    assert!(our.status == their.status && bodies, "{our:?}, {their:?}: {}", shown(bytes));
}

/// Reads a response as the upstream connection does. `None`: no final response that we accept.
pub fn read(wire: &[u8], piece: usize, method: &Method) -> Option<Message> {
    let (mut at, mut available) = (0, piece.min(wire.len()));
    let mut head = ResponseHead::default();
    loop {
        let mut scan = HeadScan::default();
        let end = loop {
            match scan.end(&wire[at..available]).ok()? {
                Some(end) => break end,
                None if available == wire.len() => return None,
                None => available = (available + piece).min(wire.len()),
            }
        };
        head.parse(&wire[at..at + end], method).ok()?;
        at += end;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        if !head.status.is_informational() {
            break;
        }
    }
    let mut message = Message { status: head.status, ..Message::default() };
    let mut body = Body::new(head.framing, MAX_TRAILERS);
    loop {
        match body.step(&wire[at..available], available == wire.len()) {
            Ok(BodyStep::Data(count)) => {
                message.body.extend_from_slice(&wire[at..at + count]);
                body.took(count);
                at += count;
            }
            Ok(BodyStep::Skip(count)) => at += count,
            Ok(BodyStep::Need) => available = (available + piece).min(wire.len()),
            Ok(BodyStep::End) => break,
            Ok(BodyStep::Trailers(count)) => {
                let trailers = parse_trailers(&wire[at..at + count], &mut Fields::default());
                message.whole = trailers.is_ok();
                return Some(message);
            }
            Err(_) => return Some(message),
        }
    }
    message.whole = true;
    Some(message)
}

async fn hyper_reads(wire: &[u8], method: Method) -> Option<Message> {
    let (client, mut server) = tokio::io::duplex(4 * 1024 * 1024);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(vestibule::http1::head::MAX_FIELDS)
        .max_buf_size(256 * 1024)
        .handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(client))
        .await
        .ok()?;
    let serve = async {
        // An answer before its request would be an error of its own.
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") && server.read(&mut byte).await.is_ok_and(|n| n > 0) {
            request.push(byte[0]);
        }
        // It may have hung up on what it read.
        let _ = server.write_all(wire).await;
        drop(server);
    };
    let request = Request::builder().method(method).uri("/").header("host", "x");
    let request = request.body(Empty::new()).expect("the request is valid");
    let ask = async {
        let response = sender.send_request(request).await.ok()?;
        let mut message = Message { status: response.status(), ..Message::default() };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    message.body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
                Err(_) => return Some(message),
            }
        }
        message.whole = true;
        Some(message)
    };
    let (_, (), message) = tokio::join!(connection, serve, ask);
    message
}
