//! The assertions of a worker's sessions, kept while at least half of their life remains: an app
//! that takes its time with a request finds its assertion valid still, and a busy session costs two
//! signatures a minute.
//!
//! Decides what is answered again. That is an assertion that says, but for its times, exactly what
//! would be minted now: everything that goes into one is kept beside it and compared. A reload
//! that changes key, issuer, audience or life, a launch with another identity, a clock that was set
//! back: each mints anew. Nobody is ever answered with what was said of somebody else.
//!
//! The store is a table of fixed size. An assertion has two places in it, by its hash, and takes
//! the one that is free, past its time or older; so a crowd of new sessions costs the others a
//! signature now and then, never memory.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::{AssertionPolicy, mint};
use crate::policy::identity::{Identity, Place, SessionHash};
use crate::policy::session::UnixSeconds;

const SETS: usize = 512;
const WAYS: usize = 2;
/// An assertion is some 600 bytes, and with what is kept beside it 1 KiB. A longer one than this
/// is minted each time: the table as a whole stays about 1 MiB, and 3 MiB at the very most.
const LONGEST_KEPT: usize = 2048;

/// One for all sessions of a worker.
pub struct AssertionStore {
    /// The places of a set stand side by side.
    places: Box<[Option<Box<Kept>>]>,
    hasher: RandomState,
}

/// An assertion and all that it was made of.
struct Kept {
    token: Arc<str>,
    minted_at: UnixSeconds,
    ttl: Duration,
    session: Option<SessionHash>,
    identity: Identity,
    tenant: Box<str>,
    persona: Box<str>,
    issuer: Box<str>,
    audience: Box<str>,
    key_id: Box<str>,
}

impl Kept {
    fn says(
        &self,
        policy: &AssertionPolicy,
        place: Place<'_>,
        identity: &Identity,
        session: Option<&SessionHash>,
    ) -> bool {
        self.session.as_ref() == session
            && *self.key_id == *policy.key.id()
            && self.audience == policy.audience
            && self.issuer == policy.issuer
            && self.ttl == policy.ttl
            && Place { tenant: &self.tenant, persona: &self.persona } == place
            && self.identity == *identity
    }

    fn is_good(&self, now: UnixSeconds) -> bool {
        // A clock that was set back makes it older than it says.
        let age = now.0.checked_sub(self.minted_at.0);
        age.is_some_and(|age| age <= self.ttl.as_secs() / 2)
    }
}

impl Default for AssertionStore {
    fn default() -> Self {
        let places = std::iter::repeat_with(|| None).take(SETS * WAYS).collect();
        Self { places, hasher: RandomState::default() }
    }
}

impl AssertionStore {
    /// The assertion to send now.
    pub fn get(
        &mut self,
        policy: &AssertionPolicy,
        place: Place<'_>,
        identity: &Identity,
        session: Option<&SessionHash>,
        now: UnixSeconds,
    ) -> Arc<str> {
        let set = self.set(policy, place, identity, session);
        let found = set
            .iter()
            .flatten()
            .find(|kept| kept.is_good(now) && kept.says(policy, place, identity, session));
        if let Some(kept) = found {
            return Arc::clone(&kept.token);
        }
        let token: Arc<str> = mint(policy, place, identity, session, now).into();
        if token.len() > LONGEST_KEPT {
            return token;
        }
        // Nothing sorts before something: what is not good goes first, then what is oldest.
        let worth = |slot: &&mut Option<Box<Kept>>| {
            slot.as_ref().filter(|kept| kept.is_good(now)).map(|kept| kept.minted_at)
        };
        if let Some(slot) = set.iter_mut().min_by_key(worth) {
            *slot = Some(Box::new(Kept {
                token: Arc::clone(&token),
                minted_at: now,
                ttl: policy.ttl,
                session: session.copied(),
                identity: identity.clone(),
                tenant: place.tenant.into(),
                persona: place.persona.into(),
                issuer: policy.issuer.clone(),
                audience: policy.audience.clone(),
                key_id: policy.key.id().into(),
            }));
        }
        token
    }

    /// Where an assertion may stand. A session has one identity, so its hash tells enough; without
    /// a session the device tells most of what differs.
    fn set(
        &mut self,
        policy: &AssertionPolicy,
        place: Place<'_>,
        identity: &Identity,
        session: Option<&SessionHash>,
    ) -> &mut [Option<Box<Kept>>] {
        let key = (&*policy.audience, policy.key.id());
        let hash = match session {
            Some(session) => self.hasher.hash_one((session, key)),
            None => self.hasher.hash_one((place.tenant, place.persona, &identity.device, key)),
        };
        // The remainder is below 512.
        let set = (hash % SETS as u64) as usize;
        &mut self.places[set * WAYS..(set + 1) * WAYS]
    }
}

impl fmt::Debug for AssertionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.places.iter().flatten().count();
        f.debug_struct("AssertionStore").field("kept", &kept).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
