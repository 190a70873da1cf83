//! The body of an answer on its way: with what joins it, and through an encoder, where it has them.
//!
//! A piece is read only when everything before it was taken.

use std::task::{Context, Poll};

use super::{Exchange, Failure, Waiting};
use crate::apps::engineio::BEGINNING;
use crate::embed::splice::Look;
use crate::upstream::client::Client;
use crate::upstream::connection::Incoming;
use crate::upstream::passage::{NOT_ENCODED, SLICE, drain, put};
use crate::upstream::server::Server;

impl<C: Client, S: Server> Exchange<'_, C, S> {
    pub(super) fn poll_response_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        loop {
            if self.poll_own(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            if self.encoded > SLICE {
                // The worker's other connections come first.
                cx.waker().wake_by_ref();
                self.waiting = Waiting::Stream;
                return Ok(Poll::Pending);
            }
            let incoming = match self.upstream.poll_body(cx) {
                Poll::Pending => {
                    // An open stream: what came so far must not wait for the rest.
                    if self.poll_encoded(cx, false)?.is_pending() {
                        return Ok(Poll::Pending);
                    }
                    self.waiting = match self.client.poll_flush(cx) {
                        Poll::Pending => Waiting::ClientTakes,
                        Poll::Ready(Ok(())) => Waiting::Stream,
                        Poll::Ready(Err(_)) => return Err(Failure::ClientGone),
                    };
                    return Ok(Poll::Pending);
                }
                Poll::Ready(incoming) => incoming.map_err(Failure::Upstream)?,
            };
            let data = match (incoming, &mut self.splice) {
                (Incoming::End(_), splice) => {
                    if let Some(splice) = splice {
                        splice.end();
                    }
                    return Ok(Poll::Ready(()));
                }
                (Incoming::Data(data), None) => data,
                (Incoming::Data(data), Some(splice)) => match splice.look(data) {
                    Look::Own => continue,
                    Look::Took(count) => {
                        self.upstream.consume(count);
                        continue;
                    }
                    Look::Pass(count) => &data[..count],
                },
            };
            let Poll::Ready(sent) = put(self.client, &mut self.encoder, self.tally, cx, data)?
            else {
                self.waiting = Waiting::ClientTakes;
                return Ok(Poll::Pending);
            };
            self.encoded += if self.encoder.is_some() { sent } else { 0 };
            let count = sent;
            if let Some(beginning) = &mut self.tally.beginning {
                let wanted = BEGINNING.saturating_sub(beginning.len()).min(count);
                beginning.extend_from_slice(&data[..wanted]);
            }
            if let Some(splice) = &mut self.splice {
                splice.passed(count);
            }
            self.upstream.consume(count);
            self.moved += count as u64;
        }
    }

    /// Sends what is ours in the body and comes next.
    pub(super) fn poll_own(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let Some(splice) = &mut self.splice else { return Ok(Poll::Ready(())) };
        while !splice.own().is_empty() {
            let own = splice.own();
            let Poll::Ready(count) = put(self.client, &mut self.encoder, self.tally, cx, own)?
            else {
                self.waiting = Waiting::ClientTakes;
                return Ok(Poll::Pending);
            };
            splice.sent(count);
            self.moved += count as u64;
        }
        if splice.is_over() {
            self.splice = None;
        }
        Ok(Poll::Ready(()))
    }

    /// Brings out what the encoder holds: the stream pauses, or has ended.
    pub(super) fn poll_encoded(
        &mut self,
        cx: &mut Context<'_>,
        is_end: bool,
    ) -> Result<Poll<()>, Failure> {
        let Some(encoder) = &mut self.encoder else { return Ok(Poll::Ready(())) };
        let brought = if is_end { encoder.finish() } else { encoder.flush() };
        brought.map_err(|_| Failure::UpstreamProtocol(NOT_ENCODED))?;
        let before = encoder.own().len();
        let drained = drain(self.client, encoder, self.tally, cx)?;
        self.moved += (before - encoder.own().len()) as u64;
        if drained.is_pending() {
            self.waiting = Waiting::ClientTakes;
        }
        Ok(drained)
    }
}
