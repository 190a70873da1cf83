//! A body that is read whole before anything is decided: a form that launches, the bridge's word.

use std::future::poll_fn;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::http1::BodyError;
use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::{ResponseHead, Version};
use crate::net::deadline::Deadline;
use crate::pipeline::Whole;
use crate::rejection::{Code, Rejection};
use crate::state::limits::FormMemory;
use crate::upstream::client::{Client, ClientError};
use crate::upstream::connection::Incoming;
use crate::upstream::exchange::Tally;

/// In how many times its patience a body must be here: what is held for somebody who sends a byte
/// now and then is not held for long.
const TIMES: u32 = 4;

/// At most as much as `whole` says, counted in `memory`; each piece must come within `patience`. No rejection where nobody is left
/// to be told.
pub async fn collect<C: Client>(
    client: &mut C,
    deadline: &mut Deadline,
    whole: Whole,
    patience: Duration,
    mut memory: Option<FormMemory>,
    tally: &mut Tally,
) -> Result<Vec<u8>, Option<Rejection>> {
    let too_large = || Some(Rejection::new(Code::BodyTooLarge, whole.beyond));
    if matches!(client.request().framing, Framing::Length(length) if length > whole.most as u64) {
        return Err(too_large());
    }
    go_ahead(client, deadline, patience).await?;
    let until = Instant::now() + patience * TIMES;
    let mut body = Vec::new();
    loop {
        let piece = poll_fn(|cx| {
            client.poll_body(cx).map_ok(|piece| match piece {
                Incoming::Data(data) => {
                    body.extend_from_slice(data);
                    Some(data.len())
                }
                Incoming::End(_) => None,
            })
        });
        let read = match deadline.run(until.min(Instant::now() + patience), piece).await {
            Ok(Ok(read)) => read,
            Ok(Err(ClientError::Gone | ClientError::Body(BodyError::Truncated))) => {
                return Err(None);
            }
            Ok(Err(ClientError::Body(_))) => {
                let why = "the chunked body is malformed";
                return Err(Some(Rejection::new(Code::FramingAmbiguous, why)));
            }
            Err(_) => {
                let why = "the body made no progress";
                return Err(Some(Rejection::new(Code::RequestTimeout, why)));
            }
        };
        let Some(count) = read else { return Ok(body) };
        client.consume(count);
        tally.request_bytes += count as u64;
        if body.len() > whole.most {
            return Err(too_large());
        }
        if memory.as_mut().is_some_and(|memory| !memory.take(count)) {
            let why = "the tenant's launches hold all the memory that forms may";
            return Err(Some(Rejection::new(Code::CapacityExhausted, why)));
        }
    }
}

/// Whoever waits for a 100 before it sends its body gets one.
async fn go_ahead<C: Client>(
    client: &mut C,
    deadline: &mut Deadline,
    patience: Duration,
) -> Result<(), Option<Rejection>> {
    let head = client.request();
    if head.fields.get(Known::Expect).is_none() || head.version == Version::Http10 {
        return Ok(());
    }
    let interim = ResponseHead { status: StatusCode::CONTINUE, ..ResponseHead::default() };
    client.send_interim(&interim).map_err(|_| None)?;
    let flush = poll_fn(|cx| client.poll_flush(cx));
    match deadline.run(Instant::now() + patience, flush).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(None),
    }
}
