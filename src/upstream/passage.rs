//! The last step of an answer's body: to the client, or through an encoder to the client.

use std::task::{Context, Poll};

use super::client::Client;
use super::exchange::{Failure, Tally};
use crate::compress::Encoder;

/// Compressing so much of one answer is enough for one turn of its worker: a few milliseconds.
pub const SLICE: usize = 128 * 1024;

pub const NOT_ENCODED: &str = "the answer could not be compressed";

/// Gives the client data, or the encoder in its place; answers how much was taken.
pub fn put<C: Client>(
    client: &mut C,
    encoder: &mut Option<Box<Encoder>>,
    tally: &mut Tally,
    cx: &mut Context<'_>,
    data: &[u8],
) -> Result<Poll<usize>, Failure> {
    let Some(encoder) = encoder else {
        let Poll::Ready(sent) = client.poll_data(cx, data) else { return Ok(Poll::Pending) };
        let count = sent.map_err(|_| Failure::ClientGone)?;
        tally.response_bytes += count as u64;
        return Ok(Poll::Ready(count));
    };
    if drain(client, encoder, tally, cx)?.is_pending() {
        return Ok(Poll::Pending);
    }
    encoder.write(data).map_err(|_| Failure::UpstreamProtocol(NOT_ENCODED))?;
    Ok(Poll::Ready(data.len()))
}

/// Sends what is compressed and ready.
pub fn drain<C: Client>(
    client: &mut C,
    encoder: &mut Encoder,
    tally: &mut Tally,
    cx: &mut Context<'_>,
) -> Result<Poll<()>, Failure> {
    while !encoder.own().is_empty() {
        let Poll::Ready(sent) = client.poll_data(cx, encoder.own()) else {
            return Ok(Poll::Pending);
        };
        let count = sent.map_err(|_| Failure::ClientGone)?;
        encoder.sent(count);
        tally.response_bytes += count as u64;
    }
    Ok(Poll::Ready(()))
}
