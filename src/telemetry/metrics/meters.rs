//! What is counted while requests are served: of one persona or site, of one upstream, of the server.
//!
//! Everything here is a relaxed atomic behind a shared handle; recording takes no lock. A histogram
//! comes into being with the first request that needs it, so that an idle persona costs a page of
//! memory at most and an unused combination of labels nothing.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::histogram::{Bounds, Counted, HANDSHAKE, Histogram, NEAR, RELOAD, REQUEST, STREAM};
use super::roster::OwnerKey;
use crate::http1::head::Version;
use crate::policy::beacon::Outcome;
use crate::policy::limits::BucketName;
use crate::rejection::{Code, Rejection};
use crate::reload::ReloadOutcome;
use crate::state::streams::Kind;
use crate::upstream::exchange::Tally;

/// OpenTelemetry's `http.request.method`: what is no common method is `_OTHER`.
pub const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "_OTHER"];

/// `none`: nobody was there to be answered.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// OpenTelemetry's `network.protocol.version`.
pub const VERSIONS: [Version; 3] = [Version::Http10, Version::Http11, Version::Http2];

const REQUESTS: usize = METHODS.len() * CLASSES.len() * VERSIONS.len();

/// In the order in which [`bucket`] counts them.
pub const BUCKETS: [BucketName; 5] = [
    BucketName::Ip,
    BucketName::Tenant,
    BucketName::Launcher,
    BucketName::Share,
    BucketName::Beacon,
];

/// In the order of their numbers.
pub const KINDS: [Kind; 3] = [Kind::Request, Kind::Events, Kind::WebSocket];

/// A histogram that may never be needed.
#[derive(Debug, Default)]
struct Lazy(OnceLock<Box<Histogram>>);

impl Lazy {
    fn record(&self, bounds: &'static Bounds, took: Duration) {
        self.0.get_or_init(|| Box::new(Histogram::new(bounds))).record(took);
    }

    fn read(&self) -> Option<Counted> {
        self.0.get().map(|histogram| histogram.read())
    }
}

/// Of one persona or site; of several, where they share.
#[derive(Debug)]
pub struct OwnerMeters {
    pub key: OwnerKey,
    requests: [Lazy; REQUESTS],
    rejections: [AtomicU64; Code::ALL.len()],
    limited: [AtomicU64; BUCKETS.len()],
    open: [AtomicI64; KINDS.len()],
    lives: [Lazy; KINDS.len()],
    handshakes: Lazy,
    /// In the order of [`Outcome::NAMES`].
    handshakes_ended: [AtomicU64; Outcome::NAMES.len()],
}

impl OwnerMeters {
    pub fn new(key: OwnerKey) -> Self {
        Self {
            key,
            requests: std::array::from_fn(|_| Lazy::default()),
            rejections: [const { AtomicU64::new(0) }; Code::ALL.len()],
            limited: Default::default(),
            open: Default::default(),
            lives: Default::default(),
            handshakes: Lazy::default(),
            handshakes_ended: Default::default(),
        }
    }

    pub fn rejected(&self, rejection: &Rejection) {
        self.refused(rejection.code);
        if let Some(limited) = &rejection.limited {
            self.limited[bucket(limited.bucket)].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn refused(&self, code: Code) {
        self.rejections[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The page around a chat has told how the handshake ended, and how long it was from the frame's
    /// "ready" to the chat's acknowledgement.
    pub fn handshake(&self, outcome: Outcome, took: Option<Duration>) {
        self.handshakes_ended[outcome.place()].fetch_add(1, Ordering::Relaxed);
        if let Some(took) = took {
            self.handshakes.record(HANDSHAKE, took);
        }
    }

    /// A request goes to its app.
    pub fn opens(&self) {
        self.open[Kind::Request as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// It is a stream.
    pub fn becomes(&self, from: Kind, to: Kind) {
        self.open[to as usize].fetch_add(1, Ordering::Relaxed);
        self.open[from as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// It has ended. How long it lived is asked for streams alone.
    pub fn closes(&self, kind: Kind, life: impl FnOnce() -> Duration) {
        self.open[kind as usize].fetch_sub(1, Ordering::Relaxed);
        if kind != Kind::Request {
            self.lives[kind as usize].record(STREAM, life());
        }
    }

    /// Method, class, version, and how long.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, Version, Counted)> {
        self.requests.iter().enumerate().filter_map(|(place, lazy)| {
            let (rest, version) = (place / VERSIONS.len(), place % VERSIONS.len());
            let (method, class) = (rest / CLASSES.len(), rest % CLASSES.len());
            Some((METHODS[method], CLASSES[class], VERSIONS[version], lazy.read()?))
        })
    }

    /// Those that happened.
    pub fn rejections(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = self.rejections.iter().map(|count| count.load(Ordering::Relaxed));
        Code::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Those that happened.
    pub fn limited(&self) -> impl Iterator<Item = (BucketName, u64)> {
        let counts = self.limited.iter().map(|count| count.load(Ordering::Relaxed));
        BUCKETS.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    pub fn open(&self, kind: Kind) -> i64 {
        self.open[kind as usize].load(Ordering::Relaxed)
    }

    /// How long its streams of that kind lived that have ended.
    pub fn lives(&self, kind: Kind) -> Option<Counted> {
        self.lives[kind as usize].read()
    }

    pub fn handshakes(&self) -> Option<Counted> {
        self.handshakes.read()
    }

    /// How many ended in which way, of those that pages told of.
    pub fn handshakes_ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.handshakes_ended.iter().map(|count| count.load(Ordering::Relaxed));
        Outcome::NAMES.into_iter().zip(counts)
    }
}

fn bucket(name: BucketName) -> usize {
    match name {
        BucketName::Ip => 0,
        BucketName::Tenant => 1,
        BucketName::Launcher => 2,
        BucketName::Share => 3,
        BucketName::Beacon => 4,
    }
}

fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        Method::CONNECT => 7,
        _ => 8,
    }
}

fn class(status: Option<StatusCode>) -> usize {
    status.map_or(0, |status| usize::from(status.as_u16() / 100)).min(CLASSES.len() - 1)
}

fn version(version: Version) -> usize {
    match version {
        Version::Http10 => 0,
        Version::Http11 => 1,
        Version::Http2 => 2,
    }
}

/// One request whose owner is known, until its end.
#[derive(Debug)]
pub struct Measured {
    meters: Arc<OwnerMeters>,
    /// Of the first class.
    place: usize,
}

impl Measured {
    pub fn new(meters: &Arc<OwnerMeters>, method: &Method, version: Version) -> Self {
        let place = self::method(method) * CLASSES.len() * VERSIONS.len() + self::version(version);
        Self { meters: Arc::clone(meters), place }
    }

    /// It is refused before anything is forwarded.
    pub fn rejected(&self, rejection: &Rejection) {
        self.meters.rejected(rejection);
    }

    /// It has been answered, or not. A stream is counted with what was waited for, until its first
    /// byte: its life is counted apart.
    pub fn ends(self, started: Instant, tally: &Tally) {
        if let Some(code) = tally.rejected {
            self.meters.refused(code);
        }
        let first_byte = tally.first_byte.filter(|_| tally.is_stream);
        let ended = first_byte.or(tally.ended).unwrap_or_else(Instant::now);
        let place = self.place + class(tally.status) * VERSIONS.len();
        self.meters.requests[place].record(REQUEST, ended.saturating_duration_since(started));
    }
}

/// What an upstream's part of a request came to: the class of its answer, or a failure of it.
pub const ANSWERS: [&str; 6] = ["error", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Of one upstream.
#[derive(Debug)]
pub struct UpstreamMeters {
    pub name: Arc<str>,
    answers: [Lazy; ANSWERS.len()],
}

impl UpstreamMeters {
    pub fn new(name: &Arc<str>) -> Self {
        Self { name: Arc::clone(name), answers: Default::default() }
    }

    /// A request was with it since then; `failed` where there was no answer. What the client brought
    /// about itself, by going away or by a body that is none, says nothing about the upstream.
    pub fn ends(&self, since: Instant, tally: &Tally, failed: Option<Code>) {
        match (tally.first_byte, failed) {
            (Some(at), _) => {
                let took = at.saturating_duration_since(since);
                self.answers[class(tally.status)].record(NEAR, took);
            }
            (None, Some(code)) if is_the_upstreams(code) => {
                self.answers[0].record(NEAR, since.elapsed());
            }
            (None, _) => {}
        }
    }

    /// Class, or failure, and how long.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, Counted)> {
        let read = self.answers.iter().map(Lazy::read);
        ANSWERS.into_iter().zip(read).filter_map(|(class, read)| Some((class, read?)))
    }
}

/// At its limit it was not even asked.
const fn is_the_upstreams(code: Code) -> bool {
    matches!(
        code,
        Code::UpstreamUnreachable
            | Code::UpstreamInvalid
            | Code::UpstreamClosed
            | Code::UpstreamUnavailable
            | Code::UpstreamTimeout
    )
}

/// How a TLS handshake went. It failed where it was not finished: the client went away, asked for
/// something that we have not, or took too long.
pub const TLS: [&str; 3] = ["full", "resumed", "failed"];

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    PlainHttp1,
    Http1,
    Http2,
}

/// Scheme and version, in the order of [`Spoken`].
pub const SPOKEN: [(&str, &str); 3] = [("http", "1.1"), ("https", "1.1"), ("https", "2")];

pub const RELOADS: [&str; 3] = ["applied", "unchanged", "refused"];

/// Of the server as a whole.
#[derive(Debug)]
pub struct ServerMeters {
    connections: [AtomicU64; SPOKEN.len()],
    tls: [AtomicU64; TLS.len()],
    pub tls_time: Histogram,
    reloads: [AtomicU64; RELOADS.len()],
    pub reload_time: Histogram,
    /// The files as they are now cannot serve.
    refused: AtomicBool,
    /// Milliseconds since 1970.
    applied: AtomicU64,
    pub started: SystemTime,
}

impl Default for ServerMeters {
    fn default() -> Self {
        let now = SystemTime::now();
        Self {
            connections: Default::default(),
            tls: Default::default(),
            tls_time: Histogram::new(NEAR),
            reloads: Default::default(),
            reload_time: Histogram::new(RELOAD),
            refused: AtomicBool::new(false),
            applied: AtomicU64::new(millis(now)),
            started: now,
        }
    }
}

impl ServerMeters {
    /// A connection is about to say what it wants.
    pub fn connected(&self, spoken: Spoken) {
        self.connections[spoken as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn tls_done(&self, is_resumed: bool, took: Duration) {
        self.tls[usize::from(is_resumed)].fetch_add(1, Ordering::Relaxed);
        self.tls_time.record(took);
    }

    pub fn tls_failed(&self) {
        self.tls[2].fetch_add(1, Ordering::Relaxed);
    }

    pub fn reloaded(&self, outcome: &ReloadOutcome, now: SystemTime) {
        let place = match outcome {
            ReloadOutcome::Applied { took, .. } => {
                self.reload_time.record(*took);
                self.applied.store(millis(now), Ordering::Relaxed);
                self.refused.store(false, Ordering::Relaxed);
                0
            }
            // The files say again what serves.
            ReloadOutcome::Unchanged => {
                self.refused.store(false, Ordering::Relaxed);
                1
            }
            ReloadOutcome::Refused { .. } => {
                self.refused.store(true, Ordering::Relaxed);
                2
            }
        };
        self.reloads[place].fetch_add(1, Ordering::Relaxed);
    }

    pub fn connections(&self) -> [u64; SPOKEN.len()] {
        self.connections.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub fn handshakes(&self) -> [u64; TLS.len()] {
        self.tls.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub fn reloads(&self) -> [u64; RELOADS.len()] {
        self.reloads.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// When what serves began to serve, in seconds since 1970.
    pub fn applied(&self) -> f64 {
        self.applied.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
