//! Which launch a page tells of: what a document was asked for with, in a form that only we can make.
//!
//! The document that carries the bridge is told its own place in its trace, the bridge tells the page,
//! and the page says it again in its beacon. So a beacon finds the log line and the spans of the
//! request that brought the document, whose upstream has the same trace id.
//!
//! A launch holds trace, span and time, and a MAC by a key that is this persona's alone: another
//! persona's launches do not verify, and nobody makes one up. It is no secret and opens nothing; it
//! says nothing about the session or the user. A document that a cache keeps brings its old launch
//! with it, and one that somebody opens long after it has loaded does too: past [`LIFETIME`] it is no
//! longer a part of the trace, but the handshake still counts.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

use crate::policy::session::UnixSeconds;
use crate::policy::session::keys::PersonaKeys;
use crate::rejection::{Code, Rejection};
use crate::telemetry::trace::context::{Flags, SpanId, TraceId};

/// Seconds for which a handshake belongs to the trace of its launch.
pub const LIFETIME: u64 = 3600;

const VERSION: u8 = 1;
const PAYLOAD: usize = 1 + 1 + 8 + 16 + 8;
const TAG: usize = 16;

/// The request that brought the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    pub trace_id: TraceId,
    /// Its span, where it is recorded.
    pub span: Option<SpanId>,
    pub flags: Flags,
    pub at: UnixSeconds,
}

impl Launch {
    /// As it stands in the document.
    pub fn write(&self, keys: &PersonaKeys) -> String {
        let mut bytes = [0; PAYLOAD + TAG];
        bytes[0] = VERSION;
        bytes[1] = self.flags.bits();
        bytes[2..10].copy_from_slice(&self.at.0.to_be_bytes());
        bytes[10..26].copy_from_slice(&self.trace_id.bytes());
        if let Some(span) = self.span {
            bytes[26..PAYLOAD].copy_from_slice(&span.bytes());
        }
        let tag = keys.launch_tag(&bytes[..PAYLOAD]);
        bytes[PAYLOAD..].copy_from_slice(&tag[..TAG]);
        BASE64.encode(bytes)
    }

    /// Reads what [`Launch::write`] wrote for the same persona; nothing for one that is over.
    pub fn read(
        text: &str,
        keys: &PersonaKeys,
        now: UnixSeconds,
    ) -> Result<Option<Self>, Rejection> {
        let refusal = || Rejection::new(Code::BeaconInvalid, "the launch is none of this persona");
        let mut bytes = [0; PAYLOAD + TAG + 1];
        let length = BASE64.decode_slice(text, &mut bytes).map_err(|_| refusal())?;
        if length != PAYLOAD + TAG {
            return Err(refusal());
        }
        let (payload, tag) = bytes[..length].split_at(PAYLOAD);
        if !keys.is_launch(payload, tag) {
            return Err(refusal());
        }
        let launch = Self::of(payload).ok_or_else(refusal)?;
        // Whoever wrote it may be another machine, whose clock is ahead.
        let age = now.0.saturating_sub(launch.at.0);
        Ok((age <= LIFETIME).then_some(launch))
    }

    fn of(payload: &[u8]) -> Option<Self> {
        let (&[VERSION, flags], rest) = payload.split_first_chunk()? else { return None };
        let (at, rest) = rest.split_first_chunk()?;
        let (trace_id, rest) = rest.split_first_chunk()?;
        Some(Self {
            trace_id: TraceId::from_bytes(*trace_id)?,
            span: SpanId::from_bytes(*rest.first_chunk()?),
            flags: Flags::of(flags),
            at: UnixSeconds(u64::from_be_bytes(*at)),
        })
    }
}
