//! Whose a token is: keys for every persona and purpose, from the configured secrets.
//!
//! Tenant, persona and purpose are part of the key and not of the token, so that a token says
//! nothing about them and verifies nowhere else. The first secret signs; all verify, so that a
//! secret is replaced by putting a new one in front and removing the old one a session's life
//! later. Without a configured secret the caller makes a random one, and sessions end with it.
//!
//! A persona's keys are derived when they are first used: 21 blocks of SHA-256 and half a kilobyte
//! for each secret, which a hundred thousand personas would otherwise pay at every reload, most of
//! them in vain. Whoever comes first derives the same.

use std::fmt;
use std::sync::{Arc, OnceLock};

use hmac::Mac;
use smallvec::SmallVec;

use super::cookie::SessionCookie;
use super::token::{self, Token};
use super::{Authentic, Purpose, Session, UnixSeconds};
use crate::policy::secret::{HmacSha256, Secret};
use crate::rejection::{Code, Rejection};

/// The secrets that sign sessions, the first of them new ones; never none.
#[derive(Debug, Clone)]
pub struct SessionSecrets(Arc<[Secret]>);

impl SessionSecrets {
    /// `verify_too` are secrets on their way out.
    pub fn new(signs: Secret, verify_too: Vec<Secret>) -> Self {
        Self(std::iter::once(signs).chain(verify_too).collect())
    }

    pub fn signs(&self) -> &Secret {
        // Never none, as it is made.
        &self.0[0]
    }

    /// The one that signs, then those on their way out.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    /// Done once when a configuration is compiled.
    pub fn persona(
        &self,
        tenant: impl Into<Arc<str>>,
        persona: impl Into<Arc<str>>,
    ) -> PersonaKeys {
        let (tenant, persona) = (tenant.into(), persona.into());
        PersonaKeys {
            cookie: SessionCookie::of(&tenant, &persona),
            secrets: self.clone(),
            tenant,
            persona,
            rings: Default::default(),
            launches: OnceLock::new(),
        }
    }
}

fn label(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Cookie => "vestibule session 1 cookie",
        Purpose::Path => "vestibule session 1 path",
        Purpose::Api => "vestibule session 1 api",
    }
}

/// What signs and verifies the sessions of one persona.
#[derive(Clone)]
pub struct PersonaKeys {
    pub cookie: SessionCookie,
    secrets: SessionSecrets,
    tenant: Arc<str>,
    persona: Arc<str>,
    /// In the order of `Purpose::ALL`, each from its first use on.
    rings: [OnceLock<Box<Ring>>; 3],
    /// What documents are told of their launch is no token: it has keys of its own.
    launches: OnceLock<Box<Ring>>,
}

/// Never empty: the first signs.
#[derive(Clone)]
struct Ring(SmallVec<[HmacSha256; 1]>);

impl PersonaKeys {
    /// Writes a session down. It fails only for an identity that no launch can have.
    pub fn mint(&self, purpose: Purpose, session: &Session) -> Result<Token, Rejection> {
        let Some(mut bytes) = token::write(purpose, session) else {
            return Err(Rejection::new(Code::Internal, "the identity does not fit into a token"));
        };
        let tag = self.ring(purpose).0[0].clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
        Ok(Token::encode(&bytes))
    }

    /// Reads a token that was minted for this persona and purpose and has not expired.
    pub fn verify(
        &self,
        purpose: Purpose,
        token: &[u8],
        now: UnixSeconds,
    ) -> Result<Authentic, Rejection> {
        let mut buffer = token::Buffer::default();
        let Some((payload, tag)) = buffer.decode(token) else {
            return Err(Rejection::new(Code::SessionInvalid, "the session token is malformed"));
        };
        let is_ours = self
            .ring(purpose)
            .0
            .iter()
            .any(|key| key.clone().chain_update(payload).verify_slice(tag).is_ok());
        if !is_ours {
            return Err(Rejection::new(Code::SessionInvalid, "the session token is not ours"));
        }
        let Some(session) = token::read(purpose, payload) else {
            return Err(Rejection::new(Code::SessionInvalid, "the token is of another version"));
        };
        if session.expires_at <= now {
            return Err(Rejection::new(Code::SessionExpired, "the session token has expired"));
        }
        Ok(Authentic(session))
    }

    /// The session in a request's Cookie fields. Browsers may hold two of the name, one of them
    /// from before they knew `Partitioned`: the one issued last counts.
    pub fn from_cookies<'c>(
        &self,
        fields: impl Iterator<Item = &'c [u8]>,
        now: UnixSeconds,
    ) -> Result<Authentic, Rejection> {
        /// Every further one would be work for a stranger.
        const MOST: usize = 4;
        let mut best: Option<Authentic> = None;
        let mut failure = Rejection::new(Code::SessionMissing, "no session cookie");
        for value in self.cookie.values(fields).take(MOST) {
            match self.verify(Purpose::Cookie, value, now) {
                Ok(found) => {
                    if best.as_ref().is_none_or(|best| best.0.issued_at < found.0.issued_at) {
                        best = Some(found);
                    }
                }
                Err(rejection) => failure = rejection,
            }
        }
        best.ok_or(failure)
    }

    /// The MAC of a launch, for [`crate::policy::beacon::launch`].
    pub(in crate::policy) fn launch_tag(&self, payload: &[u8]) -> [u8; 32] {
        self.launches().0[0].clone().chain_update(payload).finalize().into_bytes().into()
    }

    /// Whether that is the beginning of the MAC of this launch.
    pub(in crate::policy) fn is_launch(&self, payload: &[u8], tag: &[u8]) -> bool {
        let is_of =
            |key: &HmacSha256| key.clone().chain_update(payload).verify_truncated_left(tag).is_ok();
        self.launches().0.iter().any(is_of)
    }

    fn launches(&self) -> &Ring {
        self.launches.get_or_init(|| self.derive("vestibule launch 1"))
    }

    fn derive(&self, label: &str) -> Box<Ring> {
        let parts: [&str; 2] = [&self.tenant, &self.persona];
        Box::new(Ring(self.secrets.iter().map(|secret| secret.derive(label, &parts)).collect()))
    }

    fn ring(&self, purpose: Purpose) -> &Ring {
        let place = match purpose {
            Purpose::Cookie => &self.rings[0],
            Purpose::Path => &self.rings[1],
            Purpose::Api => &self.rings[2],
        };
        place.get_or_init(|| self.derive(label(purpose)))
    }
}

impl fmt::Debug for PersonaKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonaKeys").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}
