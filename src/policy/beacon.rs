//! What the page around a chat tells about its handshake: `POST /.vestibule/beacon`, for host pages.
//!
//! Decides whether a beacon is one, and what it says. The page measures, on one clock, when it showed
//! the frame and when the chat was ready, was sent its configuration and acknowledged it; we see none
//! of that ourselves. How long it took from ready to the acknowledgement goes into a histogram, how the
//! handshake ended into a counter, and where the launch is traced the whole becomes a span of its trace.
//!
//! ```json
//! {"v": 1, "launch": "AQK...", "shown": 8000, "ready": 8412, "config": 8415, "ended": 8603, "outcome": "ack"}
//! ```
//!
//! | member | |
//! | --- | --- |
//! | `v` | 1 |
//! | `launch` | the `launch` of the frame's last message ([`launch`]); absent where it had none |
//! | `shown`, `ready`, `config`, `ended` | milliseconds on one clock of the page, `performance.now()` for one; at most ten minutes in all |
//! | `outcome` | `ack`; `error`, the chat refused; `timeout`, the page has stopped waiting |
//! | `error` | the `code` of the refusal; one that is not ours counts as `other` |
//!
//! `shown` comes first and `ended` last. A chat that was ready before it was shown is ready when it is
//! shown, since nobody waited for it. A configuration may be sent before `ready`: a page that
//! changes the frame's URL talks to two documents, and the second one answers. An acknowledgement
//! needs both, a refusal needs a configuration, a timeout neither.
//!
//! # How it comes
//!
//! From another origin than ours, as what the Fetch standard calls a simple request: `text/plain`, no
//! credentials, no preflight. Nothing may be learned from the answer, so that no CORS is said: 204,
//! or a refusal that the page cannot read. JSON by its own media type would need a preflight for each
//! page, and is refused (415).
//!
//! A page whose `Referrer-Policy` is `no-referrer` or `same-origin` sends `Origin: null` with such a
//! request, unless it asks for `strict-origin`.
//!
//! `Origin` must be one that may embed the persona ([`super::origin::OriginRules::embedder`]): the
//! chat's own pages have no frame around a chat to tell of. Whoever is no browser can forge it, as it
//! can forge everything in here.
//!
//! # What a liar gains
//!
//! A page of an allowed origin can tell what it likes about its own persona. So: times are bounded,
//! words come from closed lists, nothing of it is kept as text. It cannot write into anybody else's
//! trace: the launch is ours by a MAC and the persona's. A launch may be told of twice: who may tell
//! once can make up the second, and a memory of what was told would have to be bounded, which is what
//! the limit does: as many beacons from an address as it may launch, counted apart from its launches.
//!
//! # What must not happen
//!
//! A beacon starts, renews, ends or reads a session; it is charged as a launch; it reaches the app;
//! it says who the user is, or anything in free text.

pub mod launch;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::rejection::{Code, Rejection};
use launch::Launch;

/// Bytes of a beacon.
pub const MAX: usize = 2 * 1024;

/// No page waits longer, in milliseconds.
const LONGEST: f64 = 600_000.0;
/// No page is open for longer: thirty years. Below it a number tells microseconds apart.
const LATEST: f64 = 1e12;

/// A handshake, as the page around it has measured it. Times count from when the frame was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    pub ready: Option<Duration>,
    pub config: Option<Duration>,
    pub ended: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ack,
    /// The chat refused, with this code.
    Error(&'static str),
    Timeout,
}

impl Outcome {
    /// In the order of [`Outcome::place`].
    pub const NAMES: [&'static str; 3] = ["ack", "error", "timeout"];

    pub const fn place(self) -> usize {
        match self {
            Outcome::Ack => 0,
            Outcome::Error(_) => 1,
            Outcome::Timeout => 2,
        }
    }

    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self.place()]
    }
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outcome, self.took()) {
            (_, Some(took)) => write!(f, "ack, {} ms after ready", took.as_millis()),
            (outcome, None) => {
                write!(f, "{}, {} ms after it was shown", outcome.as_str(), self.ended.as_millis())
            }
        }
    }
}

impl Handshake {
    /// From ready to the acknowledgement, where there was one.
    pub fn took(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Ack => Some(self.ended.saturating_sub(self.ready?)),
            Outcome::Error(_) | Outcome::Timeout => None,
        }
    }
}

/// A beacon of a page that may tell of its chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub handshake: Handshake,
    /// Where it was told, and is not too long ago.
    pub launch: Option<Launch>,
}

/// Reads a beacon: the handshake, and the launch as it is written.
pub fn parse(body: &[u8]) -> Result<(Handshake, Option<&str>), Rejection> {
    // An array would be read as the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return refuse("the beacon is no JSON object");
    }
    let Ok(written) = serde_json::from_slice::<Written<'_>>(body) else {
        return refuse("the beacon is no JSON, or has a member that no beacon has");
    };
    if written.v != 1 {
        return refuse("the beacon is of another version");
    }
    Ok((written.handshake()?, written.launch))
}

fn refuse<T>(reason: &'static str) -> Result<T, Rejection> {
    Err(Rejection::new(Code::BeaconInvalid, reason))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'b> {
    v: u8,
    #[serde(borrow)]
    launch: Option<&'b str>,
    shown: f64,
    ready: Option<f64>,
    config: Option<f64>,
    ended: f64,
    outcome: Ending,
    /// Of any page's making; never kept.
    error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ending {
    Ack,
    Error,
    Timeout,
}

impl Written<'_> {
    fn handshake(&self) -> Result<Handshake, Rejection> {
        let times = [Some(self.shown), self.ready, self.config, Some(self.ended)];
        if !times.iter().flatten().all(|time| (0.0..=LATEST).contains(time)) {
            return refuse("a time of the beacon is negative, or of no page's clock");
        }
        if self.ended - self.shown > LONGEST {
            return refuse("the handshake of the beacon took over ten minutes");
        }
        if !times.iter().flatten().all(|time| (self.shown..=self.ended).contains(time)) {
            return refuse("the times of the beacon are not in order");
        }
        let is_whole = match self.outcome {
            Ending::Ack => self.ready.is_some() && self.config.is_some(),
            Ending::Error => self.config.is_some(),
            Ending::Timeout => true,
        };
        if !is_whole || self.error.is_some() != (self.outcome == Ending::Error) {
            return refuse("the beacon lacks what its outcome needs, or has what it cannot have");
        }
        let since =
            |time: f64| Duration::from_micros(((time - self.shown) * 1000.0).round() as u64);
        Ok(Handshake {
            ready: self.ready.map(since),
            config: self.config.map(since),
            ended: since(self.ended),
            outcome: match self.outcome {
                Ending::Ack => Outcome::Ack,
                Ending::Error => Outcome::Error(code(self.error.as_deref().unwrap_or_default())),
                Ending::Timeout => Outcome::Timeout,
            },
        })
    }
}

/// What the bridge finds out by itself, besides our own codes.
const BRIDGES: [&str; 2] = ["answer_invalid", "network_error"];

fn code(said: &str) -> &'static str {
    let ours = Code::ALL.iter().map(|code| code.as_str());
    BRIDGES.into_iter().chain(ours).find(|code| *code == said).unwrap_or("other")
}
