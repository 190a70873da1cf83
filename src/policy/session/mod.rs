//! One launch, one session: an identity in a signed token that the browser carries.
//!
//! Decides what a session is, how long it lives, when it is renewed and what ends it. The server
//! keeps nothing about a living session; it remembers only those that ended early
//! ([`revocation`]). [`keys`] says whose a token is, [`token`] how it is written, [`cookie`] and
//! [`prefix`] how it travels.
//!
//! A token must never be accepted at another persona, for another purpose or after its end, and
//! never reach an app's server in a header or path, a log or a referrer. (A script of the app's own
//! page can read a token in its path, and Streamlit's tells its server in `st.context.url`.)

pub mod cookie;
pub mod keys;
pub mod prefix;
pub mod revocation;
pub mod token;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use super::identity::{Identity, SessionHash};
use super::metadata::Metadata;
use crate::rejection::{Code, Rejection};

/// A moment, in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// Zero where `earlier` is later: clocks of several machines differ.
    fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<SystemTime> for UnixSeconds {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

/// 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    pub fn hash(&self) -> SessionHash {
        SessionHash::of(&self.0)
    }
}

/// What a token is for. Each purpose has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The `__Host-` cookie.
    Cookie,
    /// `/.v/TOKEN/`, where cookies are refused. It stands in a URL: short-lived, and refused for
    /// `Sec-Fetch-Dest: document`.
    Path,
    /// `X-Session-Token` and the WebSocket subprotocol of the session API.
    Api,
}

impl Purpose {
    pub const ALL: [Purpose; 3] = [Purpose::Cookie, Purpose::Path, Purpose::Api];

    /// How long tokens live. A working day and a half-day's pause for the cookie; a token in a URL
    /// cannot be replaced under an open page, so an hour is as short as is bearable.
    pub const fn lifetime(self) -> Lifetime {
        const HOUR: u64 = 60 * 60;
        const LONGEST: Duration = Duration::from_secs(7 * 24 * HOUR);
        let token = match self {
            Purpose::Cookie => 12 * HOUR,
            Purpose::Path | Purpose::Api => HOUR,
        };
        Lifetime { token: Duration::from_secs(token), session: LONGEST }
    }
}

/// How long a token lives without use, and a session with use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub token: Duration,
    /// Counted from the launch; no renewal goes beyond.
    pub session: Duration,
}

/// What started a session: the first half of the launch's signature. The session vouches for that
/// signature after its `max_age`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchProof(pub [u8; 16]);

/// How far a launch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The browser was sent on, and its document has not been served yet: the next request for it
    /// is part of the same launch.
    Launching,
    Settled,
}

/// What a bare document does under a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// It starts anew: what an earlier URL said is not inherited.
    StartsAnew,
    /// It goes on: the launch left nothing in the URL (a form), or was vouched for.
    Continues,
}

/// Whether a session took another's place in its browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predecessor {
    None,
    /// Pages of the session before may still be open, and will call with this one's cookie.
    Ended,
}

/// A session, as a token holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub identity: Identity,
    pub launched_at: UnixSeconds,
    pub issued_at: UnixSeconds,
    pub expires_at: UnixSeconds,
    pub stage: Stage,
    pub bare: Bare,
    pub predecessor: Predecessor,
    /// The signature of its last launch.
    pub proof: Option<LaunchProof>,
    /// Those of its launches before, the latest first: documents to which the browser goes back.
    pub earlier: SmallVec<[LaunchProof; 1]>,
}

/// How many signatures before the last one a session vouches for: they travel with every request.
pub const MAX_EARLIER: usize = 3;

/// For how long a launch may still be on its way through our redirects.
const LAUNCHING: u64 = 30;

impl Session {
    pub fn start(id: SessionId, identity: Identity, now: UnixSeconds, lifetime: Lifetime) -> Self {
        Self {
            id,
            identity,
            launched_at: now,
            issued_at: now,
            expires_at: now.plus(lifetime.token.min(lifetime.session)),
            stage: Stage::Settled,
            bare: Bare::StartsAnew,
            predecessor: Predecessor::None,
            proof: None,
            earlier: SmallVec::new(),
        }
    }

    /// Launched once more, by this signature.
    pub fn proven(mut self, proof: LaunchProof) -> Self {
        if self.proof == Some(proof) {
            return self;
        }
        self.earlier.retain(|earlier| *earlier != proof);
        if let Some(last) = self.proof.replace(proof) {
            self.earlier.truncate(MAX_EARLIER - 1);
            self.earlier.insert(0, last);
        }
        self
    }

    /// The signatures that it vouches for.
    pub fn proofs(&self) -> impl Iterator<Item = LaunchProof> + '_ {
        self.proof.into_iter().chain(self.earlier.iter().copied())
    }

    /// The document of the launch has not been served yet.
    pub fn is_launching(&self, now: UnixSeconds) -> bool {
        self.stage == Stage::Launching && now.since(self.issued_at) < LAUNCHING
    }

    /// The same session in a token from now on: renewed, for another purpose, or with a new
    /// direction. Never longer than the session may live.
    pub fn reissued(&self, now: UnixSeconds, lifetime: Lifetime) -> Self {
        let end = self.launched_at.plus(lifetime.session);
        Self { issued_at: now, expires_at: now.plus(lifetime.token).min(end), ..self.clone() }
    }

    /// The session anew, once half of the token's life is over and renewal gives it more: a busy
    /// page sets a cookie twice a day, not with every answer.
    pub fn renewal(&self, now: UnixSeconds, lifetime: Lifetime) -> Option<Self> {
        let life = self.expires_at.since(self.issued_at);
        if now.since(self.issued_at) < life.div_ceil(2) {
            return None;
        }
        // However a launch went on, by now it is over.
        let renewed = Self { stage: Stage::Settled, ..self.reissued(now, lifetime) };
        (renewed.expires_at > self.expires_at).then_some(renewed)
    }

    /// How long a revocation of this session is to be remembered: no token of it, of any purpose,
    /// renewed elsewhere or not, lives beyond.
    pub fn remembered_until(&self, now: UnixSeconds) -> UnixSeconds {
        let ends = Purpose::ALL.map(|purpose| self.reissued(now, purpose.lifetime()).expires_at);
        ends.into_iter().fold(self.expires_at, UnixSeconds::max)
    }

    /// Seconds that the token has to live: the cookie's `Max-Age`.
    pub fn max_age(&self, now: UnixSeconds) -> u64 {
        self.expires_at.since(now)
    }
}

/// For people: never the token, and the id by its hash.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Launching => ", launching",
            Stage::Settled => "",
        };
        write!(f, "{}: {}{stage}", self.id.hash().as_str(), self.identity)
    }
}

/// A token of ours that has not expired; whether the session was ended early is still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentic(Session);

impl Authentic {
    /// Checks what cannot be read from the token: revocation of all that were launched before a
    /// moment, and of this one.
    pub fn alive(
        self,
        revoked_before: Option<UnixSeconds>,
        is_revoked: impl FnOnce(SessionId) -> bool,
    ) -> Result<Session, Rejection> {
        if revoked_before.is_some_and(|moment| self.0.launched_at < moment) {
            return Err(Rejection::new(Code::SessionInvalid, "sessions of this age were revoked"));
        }
        if is_revoked(self.0.id) {
            return Err(Rejection::new(Code::SessionInvalid, "the session was revoked"));
        }
        Ok(self.0)
    }
}

/// What a launch does to the session that the browser holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// The same identity asks again: a reload, the shell's inner frame, a 303's target.
    Continue {
        /// The direction or the proof changed: the token is to be written anew.
        reissue: bool,
    },
    /// A new session begins; the one named ends: it is revoked, and its streams are closed.
    Start { ends: Option<SessionId> },
}

/// What a launch brings along besides its metadata.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    pub device: Option<&'a str>,
    pub proof: Option<LaunchProof>,
    /// It says nothing about identity.
    pub is_bare: bool,
    /// The document itself navigates, not the page around it (`Sec-Fetch-Site`).
    pub by_itself: bool,
    pub now: UnixSeconds,
}

/// Decides between going on and starting anew. A bare document never continues an identity that
/// an earlier URL gave, but it is where our own redirects of a form launch and the bridge lead.
pub fn succession(
    held: Option<&Session>,
    metadata: &Metadata<'_>,
    arrival: &Arrival<'_>,
) -> Succession {
    match held {
        Some(held) if goes_on(held, metadata, arrival) => {
            let turned =
                metadata.direction().is_some() && metadata.direction() != held.identity.direction;
            let proven = arrival.proof.is_some() && arrival.proof != held.proof;
            Succession::Continue { reissue: turned || proven }
        }
        held => Succession::Start { ends: held.map(|held| held.id) },
    }
}

fn goes_on(held: &Session, metadata: &Metadata<'_>, arrival: &Arrival<'_>) -> bool {
    let is_target = arrival.is_bare
        && held.identity.device.as_deref() == arrival.device
        && (held.bare == Bare::Continues || arrival.by_itself && held.is_launching(arrival.now));
    is_target || held.identity.continues(metadata, arrival.device)
}
