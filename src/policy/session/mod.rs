//! One launch, one session: an identity in a signed token that the browser carries.
//!
//! Decides what a session is, how long it lives, when it is renewed and what ends it. The server
//! keeps nothing about a living session; it remembers only those that ended early
//! ([`revocation`]). [`keys`] says whose a token is, [`token`] how it is written, [`cookie`] and
//! [`prefix`] how it travels.
//!
//! A token must never be accepted at another persona, for another purpose or after its end, and
//! never reach an app, a log or a referrer.

pub mod cookie;
pub mod keys;
pub mod prefix;
pub mod revocation;
pub mod token;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::identity::{Identity, SessionHash};
use super::metadata::Metadata;
use crate::rejection::{Code, Rejection};
use revocation::RevocationList;

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

/// How often the sessions of a persona were revoked: the sum of its own and its tenant's count.
/// Sessions that were launched under a smaller one have ended. It must never go down while a
/// token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation(pub u32);

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

/// A session, as a token holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub identity: Identity,
    pub launched_at: UnixSeconds,
    pub issued_at: UnixSeconds,
    pub expires_at: UnixSeconds,
    pub generation: Generation,
    pub proof: Option<LaunchProof>,
}

impl Session {
    pub fn start(
        id: SessionId,
        identity: Identity,
        generation: Generation,
        now: UnixSeconds,
        lifetime: Lifetime,
    ) -> Self {
        let expires_at = now.plus(lifetime.token.min(lifetime.session));
        Self { id, identity, launched_at: now, issued_at: now, expires_at, generation, proof: None }
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
        let renewed = self.reissued(now, lifetime);
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

/// A token of ours that has not expired; whether the session was ended early is still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentic(Session);

impl Authentic {
    /// Checks what cannot be read from the token: revocation of all, and of this one.
    /// `revoked` is the tenant's list.
    pub fn alive(
        self,
        generation: Generation,
        revoked: &RevocationList,
    ) -> Result<Session, Rejection> {
        if self.0.generation < generation {
            return Err(Rejection::new(Code::SessionInvalid, "sessions of this age were revoked"));
        }
        if revoked.contains(self.0.id) {
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

/// Decides between going on and starting anew. A bare document never continues an identity that
/// an earlier URL gave.
pub fn succession(
    held: Option<&Session>,
    metadata: &Metadata<'_>,
    device: Option<&str>,
    proof: Option<LaunchProof>,
) -> Succession {
    match held {
        Some(held) if held.identity.continues(metadata, device) => {
            let turned =
                metadata.direction().is_some() && metadata.direction() != held.identity.direction;
            Succession::Continue { reissue: turned || proof.is_some() && proof != held.proof }
        }
        held => Succession::Start { ends: held.map(|held| held.id) },
    }
}
