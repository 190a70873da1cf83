//! What is told of an exchange: in the log, in numbers, in spans.

use http::StatusCode;
use tokio::time::Instant;

use crate::rejection::Code;
use crate::telemetry::trace::Spans;

/// What is known about an exchange, however it ended.
#[derive(Debug, Default)]
pub struct Tally {
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub status: Option<StatusCode>,
    pub first_byte: Option<Instant>,
    /// When all was over, where somebody has looked at the clock.
    pub ended: Option<Instant>,
    /// The first bytes of the response body, where somebody wants to know them.
    pub beginning: Option<Vec<u8>>,
    /// The answer is a stream of events.
    pub is_stream: bool,
    /// Why there was no answer to pass.
    pub rejected: Option<Code>,
    /// Where its trace is recorded.
    pub spans: Option<Box<Spans>>,
}

/// Whether an answer is an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Events {
    Yes,
    No,
}

impl Tally {
    /// All is over now, if it was not before.
    pub fn ends(&mut self) -> Instant {
        *self.ended.get_or_insert_with(Instant::now)
    }

    /// The head of the answer is here.
    pub(super) fn answered(&mut self, status: StatusCode, events: Events) {
        let now = Instant::now();
        self.first_byte = Some(now);
        self.is_stream = events == Events::Yes;
        if let Some(spans) = &mut self.spans {
            spans.answered(status, now, events == Events::Yes);
        }
    }
}
