//! A launch that the tenant's server has signed.
//!
//! Decides whether a query, or a query and a form, is what somebody signed who knows one of the
//! persona's secrets, and whether it is still fresh. The signature is HMAC-SHA256 over all
//! parameters as `URLSearchParams` prints them after `sort()`, without `signature` itself: the
//! request is parsed first and printed again ([`super::query`]), and what was printed is what goes
//! to the app. So the app cannot read anything that was not checked.
//!
//! - A name in the query and in the form is refused: who reads which is not known.
//! - Browsers send a line end of a form value as CRLF. Such values are tried as they came, then
//!   with LF; what verified is what counts from then on.
//! - Parameters that the persona ignores are in nothing: not signed, not forwarded.
//! - Age is judged last, so that only whoever holds a signature learns that it is merely old.
//!
//! # The session afterwards
//!
//! A session that a signature began vouches for that signature after its `max_age`
//! ([`SigningPolicy::vouched`]), and opens the persona's documents where the URL claims nothing
//! ([`basis`]). Whether somebody else used the signature before is [`crate::state::replay`]'s.
//!
//! What must not happen: an unsigned claim passes beside a signed one; an answer, or the time that
//! it takes, tells which secret it was or how much of a signature is right.

mod diagnosis;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use hmac::Mac;
use smallvec::SmallVec;

use super::query::{Pair, pairs, raw_pairs, serialise};
use super::secret::{HmacSha256, Secret};
use super::session::{LaunchProof, Session, UnixSeconds};
use crate::rejection::{Code, Rejection};
pub use diagnosis::{Guess, Shown, guesses, shown};
pub use read::Part;
use read::{Read, Sent, printed, push_signature, sorted, with_line_feeds};

/// The names that carry a signature and its moment.
pub const SIGNATURE: &str = "signature";
pub const TIMESTAMP: &str = "timestamp";

/// More parameters than any form has: what a stranger sends is not held decoded without a bound.
pub const MAX_PARAMETERS: usize = 1000;

/// How far the signer's clock may be ahead of ours, in milliseconds.
const AHEAD: u64 = 60_000;

/// Who may use a signature again, while it is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Whoever holds the session that it began.
    Bind,
    /// Nobody.
    Once,
    /// Anybody.
    Off,
}

/// A persona's part of the snapshot.
#[derive(Clone)]
pub struct SigningPolicy {
    /// Never none. The first signs, for our own tools; all verify.
    keys: SmallVec<[HmacSha256; 2]>,
    max_age: Duration,
    replay: Replay,
    /// Names of parameters that are neither signed nor forwarded.
    ignore: Box<[Box<str>]>,
    /// Names that mean something only where they are signed.
    claims: Box<[Box<str>]>,
    forward_signature: bool,
}

/// What a [`SigningPolicy`] is made of, besides its secrets.
#[derive(Debug, Clone)]
pub struct Terms {
    pub max_age: Duration,
    pub replay: Replay,
    pub ignore: Box<[Box<str>]>,
    pub claims: Box<[Box<str>]>,
    pub forward_signature: bool,
}

impl SigningPolicy {
    /// Nothing without a secret.
    pub fn new(secrets: &[Secret], terms: Terms) -> Option<Self> {
        let Terms { max_age, replay, ignore, claims, forward_signature } = terms;
        let keys: SmallVec<_> = secrets.iter().map(Secret::hmac).collect();
        let policy = Self { keys, max_age, replay, ignore, claims, forward_signature };
        (!policy.keys.is_empty()).then_some(policy)
    }

    pub fn replay(&self) -> Replay {
        self.replay
    }

    /// Whether whatever one of the two admits is admitted by the other.
    pub fn admits_like(&self, other: &Self) -> bool {
        // Keys are compared by what they make of the same text.
        let marks = |policy: &Self| -> Vec<_> {
            let mark = |key: &HmacSha256| key.clone().chain_update("alike").finalize().into_bytes();
            policy.keys.iter().map(mark).collect()
        };
        self.max_age == other.max_age
            && self.replay == other.replay
            && self.ignore == other.ignore
            && self.claims == other.claims
            && marks(self) == marks(other)
    }

    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Which signatures the session vouches for, however old they are. With `once` that is the launch
    /// under way alone: the redirects that are part of it.
    pub fn vouched(
        &self,
        held: Option<&Session>,
        now: UnixSeconds,
    ) -> impl Iterator<Item = LaunchProof> {
        let held = held.filter(|held| match self.replay {
            Replay::Bind | Replay::Off => true,
            Replay::Once => held.is_launching(now),
        });
        let most = if self.replay == Replay::Once { 1 } else { usize::MAX };
        held.into_iter().flat_map(Session::proofs).take(most)
    }

    /// Signs a query: without the signature it may have, with `now_ms` where it has no timestamp.
    /// What is ignored follows the signature.
    pub fn sign(&self, query: &str, now_ms: u64) -> Result<String, Rejection> {
        let mut read = Read::of(self, Some(query), None)?;
        match read.timestamps.as_slice() {
            [] => {
                let pair = Pair { name: TIMESTAMP.into(), value: now_ms.to_string().into() };
                read.sent.push(Sent { pair, part: Part::Query });
            }
            _ => _ = read.timestamp()?,
        }
        let sent = sorted(read.sent)?;
        let mut signed = printed(&sent);
        let key = self.keys.first().expect("a policy has a secret");
        let mac = key.clone().chain_update(&signed).finalize().into_bytes();
        push_signature(&mac, &mut signed);
        for pair in pairs(query.as_bytes()).filter(|pair| self.ignores(&pair.name)) {
            signed.push('&');
            serialise([&pair], &mut signed);
        }
        Ok(signed)
    }

    fn ignores(&self, name: &str) -> bool {
        self.ignore.iter().any(|ignored| **ignored == *name)
    }

    /// Every secret is tried, and each is compared whole.
    fn matches(&self, canonical: &str, signature: &[u8; 32]) -> bool {
        self.keys.iter().fold(false, |found, key| {
            found | key.clone().chain_update(canonical).verify_slice(signature).is_ok()
        })
    }
}

impl fmt::Debug for SigningPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningPolicy")
            .field("secrets", &self.keys.len())
            .field("max_age", &self.max_age)
            .field("replay", &self.replay)
            .field("ignore", &self.ignore)
            .field("claims", &self.claims)
            .field("forward_signature", &self.forward_signature)
            .finish()
    }
}

/// What a launch of a signed persona rests on.
#[derive(Debug)]
pub enum Basis<'r> {
    Signature(Verified<'r>),
    /// The session that a signature began: another of the persona's documents, which claims nothing.
    Session,
}

/// Decides what a launch rests on. `held` is the session that the browser shows, alive.
pub fn basis<'r>(
    policy: &SigningPolicy,
    query: Option<&'r str>,
    form: Option<&'r [u8]>,
    now_ms: u64,
    held: Option<&Session>,
) -> Result<Basis<'r>, Rejection> {
    let claims = |query: &str| {
        let is_claim = |name: &str| {
            matches!(name, SIGNATURE | TIMESTAMP) || policy.claims.iter().any(|it| **it == *name)
        };
        raw_pairs(query.as_bytes()).any(|pair| is_claim(&pair.decoded_name()))
    };
    let is_signed = held.is_some_and(|held| held.proof.is_some());
    if is_signed && form.is_none() && !query.is_some_and(claims) {
        return Ok(Basis::Session);
    }
    let vouched = policy.vouched(held, UnixSeconds(now_ms / 1000));
    verify(policy, query, form, now_ms, vouched).map(Basis::Signature)
}

/// Witness: somebody who knows a secret of the persona has signed these parameters.
#[derive(Debug)]
pub struct Verified<'r> {
    /// In the order of the canonical form, without the signature and what is ignored.
    sent: Vec<Sent<'r>>,
    canonical: String,
    /// What a `signature` in the query was, where it is to be forwarded.
    signature: Option<[u8; 32]>,
    proof: LaunchProof,
    timestamp: u64,
    fresh_until: UnixSeconds,
}

impl<'r> Verified<'r> {
    /// All that was signed.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair<'r>> + Clone {
        self.sent.iter().map(|sent| &sent.pair)
    }

    /// What was signed of one part.
    pub fn pairs_of(&self, part: Part) -> impl Iterator<Item = &Pair<'r>> + Clone {
        self.sent.iter().filter(move |sent| sent.part == part).map(|sent| &sent.pair)
    }

    /// The text that was signed.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// What this launch is remembered by; the session that it begins carries it.
    pub fn proof(&self) -> LaunchProof {
        self.proof
    }

    /// When it was signed, in milliseconds since 1970.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// After this nobody else can use the signature.
    pub fn fresh_until(&self) -> UnixSeconds {
        self.fresh_until
    }

    /// The query for the app: what was signed of it, and the signature where that is wanted.
    /// Nothing where nothing of it is left.
    pub fn forward_query(&self) -> Option<Cow<'_, str>> {
        let is_whole = self.sent.iter().all(|sent| sent.part == Part::Query);
        if is_whole && self.signature.is_none() {
            return Some(Cow::Borrowed(&self.canonical));
        }
        let mut query = String::with_capacity(self.canonical.len() + 80);
        match is_whole {
            true => query.push_str(&self.canonical),
            false => serialise(self.pairs_of(Part::Query), &mut query),
        }
        if let Some(signature) = &self.signature {
            push_signature(signature, &mut query);
        }
        (!query.is_empty()).then_some(Cow::Owned(query))
    }
}

/// Verifies a launch. `vouched` are the signatures that a session vouches for: their age is no
/// matter.
pub fn verify<'r>(
    policy: &SigningPolicy,
    query: Option<&'r str>,
    form: Option<&'r [u8]>,
    now_ms: u64,
    vouched: impl IntoIterator<Item = LaunchProof>,
) -> Result<Verified<'r>, Rejection> {
    let read = Read::of(policy, query, form)?;
    let signature = read.signature()?;
    let timestamp = read.timestamp()?;
    let is_in_query = read.signatures.iter().all(|(_, part)| *part == Part::Query);
    let (sent, canonical) = authentic(policy, read.sent, &signature)?;
    let proof = LaunchProof(*signature.first_chunk().expect("16 bytes are half of 32"));
    if !vouched.into_iter().any(|vouched| vouched == proof) {
        fresh(policy, timestamp, now_ms)?;
    }
    let max_age = u64::try_from(policy.max_age.as_millis()).unwrap_or(u64::MAX);
    Ok(Verified {
        sent,
        canonical,
        signature: (policy.forward_signature && is_in_query).then_some(signature),
        proof,
        timestamp,
        fresh_until: UnixSeconds(timestamp.saturating_add(max_age) / 1000),
    })
}

/// The parameters, and their canonical form, in the one reading that was signed.
fn authentic<'r>(
    policy: &SigningPolicy,
    sent: Vec<Sent<'r>>,
    signature: &[u8; 32],
) -> Result<(Vec<Sent<'r>>, String), Rejection> {
    let mut sent = sorted(sent)?;
    let canonical = printed(&sent);
    if policy.matches(&canonical, signature) {
        return Ok((sent, canonical));
    }
    if with_line_feeds(&mut sent) {
        let canonical = printed(&sent);
        if policy.matches(&canonical, signature) {
            return Ok((sent, canonical));
        }
    }
    let why = "the signature is not one of the canonical form";
    Err(Rejection::new(Code::SignatureInvalid, why).with_detail(
        "Sign every parameter, sorted by name and printed as URLSearchParams does, and change \
         nothing afterwards; `vestibule verify` says what differs.",
    ))
}

fn fresh(policy: &SigningPolicy, timestamp: u64, now_ms: u64) -> Result<(), Rejection> {
    let stale =
        |reason, detail| Err(Rejection::new(Code::TimestampStale, reason).with_detail(detail));
    let (old, ahead) = (now_ms.saturating_sub(timestamp), timestamp.saturating_sub(now_ms));
    if ahead > AHEAD {
        let detail = format!(
            "The timestamp is {} seconds ahead of this server's clock; {} are allowed.",
            ahead.div_ceil(1000),
            AHEAD / 1000
        );
        return stale("a signature from the future", detail);
    }
    if u128::from(old) > policy.max_age.as_millis() {
        let detail = format!(
            "The timestamp is {} seconds old; {} are allowed.",
            old.div_ceil(1000),
            policy.max_age.as_secs()
        );
        return stale("a signature older than max_age", detail);
    }
    Ok(())
}
