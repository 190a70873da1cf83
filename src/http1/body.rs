//! One decoder over all framings.

use super::BodyError;
use super::chunk::{self, Decoder};
use super::framing::Framing;
use super::recv::STREAMING;

/// Where we are in a message body.
#[derive(Debug, Clone)]
pub enum Body {
    /// Complete.
    Done,
    /// This many bytes are left, at least one.
    Length(u64),
    Chunked(Decoder),
    UntilClose,
}

/// What the next bytes of the connection are. Counts are from the start of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStep {
    /// Read more.
    Need,
    /// Framing: drop these and ask again.
    Skip(usize),
    /// Data, at least one byte; say with [`Body::took`] how many were taken.
    Data(usize),
    /// The trailer section in this many bytes; drop them, the body is complete.
    Trailers(usize),
    /// The body is complete.
    End,
}

impl Body {
    /// Trailers are bounded by `max_trailers` and by half a receiving buffer.
    pub fn new(framing: Framing, max_trailers: usize) -> Self {
        let max_trailers = max_trailers.min(STREAMING / 2);
        match framing {
            Framing::Empty | Framing::Length(0) => Body::Done,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Decoder::new(max_trailers)),
            Framing::UntilClose => Body::UntilClose,
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Body::Done)
    }

    /// What `bytes` begin with; `eof` tells that no more will come.
    pub fn step(&mut self, bytes: &[u8], eof: bool) -> Result<BodyStep, BodyError> {
        match self {
            Body::Done => Ok(BodyStep::End),
            Body::Length(_) | Body::Chunked(_) if bytes.is_empty() && eof => {
                Err(BodyError::Truncated)
            }
            Body::Length(_) if bytes.is_empty() => Ok(BodyStep::Need),
            Body::Length(left) => {
                Ok(BodyStep::Data(usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len())))
            }
            Body::UntilClose => match (bytes.is_empty(), eof) {
                (false, _) => Ok(BodyStep::Data(bytes.len())),
                (true, false) => Ok(BodyStep::Need),
                (true, true) => {
                    *self = Body::Done;
                    Ok(BodyStep::End)
                }
            },
            Body::Chunked(decoder) => Ok(match decoder.step(bytes)? {
                chunk::Step::Need if eof => return Err(BodyError::Truncated),
                chunk::Step::Need => BodyStep::Need,
                chunk::Step::Skip(count) => BodyStep::Skip(count),
                chunk::Step::Data(count) => BodyStep::Data(count),
                chunk::Step::Trailers(count) => {
                    *self = Body::Done;
                    BodyStep::Trailers(count)
                }
                chunk::Step::Done => {
                    *self = Body::Done;
                    BodyStep::End
                }
            }),
        }
    }

    /// Tells how many of the offered data bytes were taken.
    pub fn took(&mut self, bytes: usize) {
        match self {
            Body::Length(left) => {
                *left = left.saturating_sub(bytes as u64);
                if *left == 0 {
                    *self = Body::Done;
                }
            }
            Body::Chunked(decoder) => decoder.took(bytes),
            Body::Done | Body::UntilClose => {}
        }
    }
}
