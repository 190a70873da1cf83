//! How a session is written: fixed fields, two short texts, a MAC, in base64url.
//!
//! | bytes | |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 1 | purpose |
//! | 1, 1, 1 | mode, assurance, direction |
//! | 1 | flags: identity awaited, user id, device, proof, launching, bare continues, successor, earlier proofs |
//! | 16 | session id |
//! | 8, 8, 8 | launched, issued, expires: seconds since 1970 |
//! | 16 | proof, where flagged |
//! | 1 + n x 16 | earlier proofs, one to three, where flagged |
//! | 1 + n, 1 + n | user id, device, where flagged |
//! | 32 | HMAC-SHA256 of all before |
//!
//! Integers are big-endian. There is one way to write a session, and nothing else is read: not
//! another alphabet, padding, or bytes at the end.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use smallvec::SmallVec;

use super::{
    Bare, LaunchProof, MAX_EARLIER, Predecessor, Purpose, Session, SessionId, Stage, UnixSeconds,
};
use crate::config::snapshot::Mode;
use crate::policy::identity::{Identity, State};
use crate::policy::metadata::{Assurance, Direction, MAX_USER_ID};

const VERSION: u8 = 1;
const TAG: usize = 32;
/// The longest device slug that a session can name, in bytes.
pub const MAX_DEVICE: usize = 128;
const FIXED: usize = 6 + 16 + 3 * 8;
const PROOFS: usize = 16 + 1 + MAX_EARLIER * 16;
const MAX_BYTES: usize = FIXED + PROOFS + 1 + MAX_USER_ID + 1 + MAX_DEVICE + TAG;
/// The shortest token, in characters.
pub const MIN_TOKEN: usize = ((FIXED + TAG) * 4).div_ceil(3);
/// The longest token, in characters.
pub const MAX_TOKEN: usize = (MAX_BYTES * 4).div_ceil(3);

const AWAITING: u8 = 1;
const HAS_USER_ID: u8 = 2;
const HAS_DEVICE: u8 = 4;
const HAS_PROOF: u8 = 8;
const LAUNCHING: u8 = 16;
const BARE_CONTINUES: u8 = 32;
const SUCCESSOR: u8 = 64;
const HAS_EARLIER: u8 = 128;

/// A session as it travels. Whoever has it is the session: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(super) fn encode(bytes: &[u8]) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(-)")
    }
}

/// Room for the longest token, on the stack.
pub(super) struct Buffer([u8; MAX_BYTES + 3]);

impl Default for Buffer {
    fn default() -> Self {
        Self([0; MAX_BYTES + 3])
    }
}

impl Buffer {
    /// Payload and MAC of a token; not verified.
    pub(super) fn decode(&mut self, token: &[u8]) -> Option<(&[u8], &[u8])> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(token, &mut self.0).ok()?;
        self.0[..length].split_at_checked(length.checked_sub(TAG)?)
    }
}

/// The payload; nothing where a text is too long, which no launch allows.
pub(super) fn write(purpose: Purpose, session: &Session) -> Option<Vec<u8>> {
    let identity = &session.identity;
    let user_id = bounded(identity.user_id.as_deref(), MAX_USER_ID)?;
    let device = bounded(identity.device.as_deref(), MAX_DEVICE)?;
    if session.earlier.len() > MAX_EARLIER {
        return None;
    }
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = flag(identity.state == State::Awaiting, AWAITING)
        | flag(user_id.is_some(), HAS_USER_ID)
        | flag(device.is_some(), HAS_DEVICE)
        | flag(session.proof.is_some(), HAS_PROOF)
        | flag(session.stage == Stage::Launching, LAUNCHING)
        | flag(session.bare == Bare::Continues, BARE_CONTINUES)
        | flag(session.predecessor == Predecessor::Ended, SUCCESSOR)
        | flag(!session.earlier.is_empty(), HAS_EARLIER);
    let mut out = Vec::with_capacity(MAX_BYTES);
    out.extend_from_slice(&[
        VERSION,
        purpose_code(purpose),
        mode_code(identity.mode),
        assurance_code(identity.assurance),
        direction_code(identity.direction),
        flags,
    ]);
    out.extend_from_slice(&session.id.0);
    for moment in [session.launched_at, session.issued_at, session.expires_at] {
        out.extend_from_slice(&moment.0.to_be_bytes());
    }
    if let Some(proof) = session.proof {
        out.extend_from_slice(&proof.0);
    }
    if !session.earlier.is_empty() {
        out.push(session.earlier.len() as u8);
        session.earlier.iter().for_each(|proof| out.extend_from_slice(&proof.0));
    }
    for text in [user_id, device].into_iter().flatten() {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
    Some(out)
}

/// `Some(None)` where there is none, nothing where there is one that does not fit.
fn bounded(text: Option<&str>, most: usize) -> Option<Option<&str>> {
    match text {
        Some(text) if (1..=most).contains(&text.len()) => Some(Some(text)),
        Some(_) => None,
        None => Some(None),
    }
}

/// The session of a payload whose MAC verified.
pub(super) fn read(purpose: Purpose, payload: &[u8]) -> Option<Session> {
    let mut rest = payload;
    let [version, of, mode, assurance, direction, flags] = take(&mut rest)?;
    if version != VERSION || of != purpose_code(purpose) {
        return None;
    }
    let id = SessionId(take(&mut rest)?);
    let mut moment = || Some(UnixSeconds(u64::from_be_bytes(take(&mut rest)?)));
    let (launched_at, issued_at, expires_at) = (moment()?, moment()?, moment()?);
    let has = |bit: u8| flags & bit != 0;
    let proof = if has(HAS_PROOF) { Some(LaunchProof(take(&mut rest)?)) } else { None };
    let earlier = if has(HAS_EARLIER) { proofs(&mut rest)? } else { SmallVec::new() };
    let user_id = if has(HAS_USER_ID) { Some(text(&mut rest)?) } else { None };
    let device = if has(HAS_DEVICE) { Some(text(&mut rest)?) } else { None };
    let identity = Identity {
        device,
        mode: mode_of(mode)?,
        user_id,
        direction: direction_of(direction)?,
        assurance: Assurance::ALL.into_iter().find(|one| assurance_code(*one) == assurance)?,
        state: if has(AWAITING) { State::Awaiting } else { State::Complete },
    };
    let session = Session {
        id,
        identity,
        launched_at,
        issued_at,
        expires_at,
        stage: if has(LAUNCHING) { Stage::Launching } else { Stage::Settled },
        bare: if has(BARE_CONTINUES) { Bare::Continues } else { Bare::StartsAnew },
        predecessor: if has(SUCCESSOR) { Predecessor::Ended } else { Predecessor::None },
        proof,
        earlier,
    };
    rest.is_empty().then_some(session)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn proofs(rest: &mut &[u8]) -> Option<SmallVec<[LaunchProof; 1]>> {
    let [count] = take(rest)?;
    let count = usize::from(count);
    let count = (1..=MAX_EARLIER).contains(&count).then_some(count)?;
    (0..count).map(|_| take(rest).map(LaunchProof)).collect()
}

fn text(rest: &mut &[u8]) -> Option<Box<str>> {
    let [length] = take(rest)?;
    let (text, after) = rest.split_at_checked(usize::from(length))?;
    *rest = after;
    let text = std::str::from_utf8(text).ok()?;
    (!text.is_empty()).then(|| text.into())
}

// The codes are on disk in browsers: never give one another meaning.

fn purpose_code(purpose: Purpose) -> u8 {
    match purpose {
        Purpose::Cookie => 1,
        Purpose::Path => 2,
        Purpose::Api => 3,
    }
}

fn mode_code(mode: Mode) -> u8 {
    match mode {
        Mode::Public => 1,
        Mode::Customer => 2,
        Mode::Employee => 3,
        Mode::Test => 4,
    }
}

fn mode_of(code: u8) -> Option<Mode> {
    [Mode::Public, Mode::Customer, Mode::Employee, Mode::Test]
        .into_iter()
        .find(|mode| mode_code(*mode) == code)
}

fn assurance_code(assurance: Assurance) -> u8 {
    match assurance {
        Assurance::Signed => 1,
        Assurance::Jwt => 2,
        Assurance::Session => 3,
        Assurance::Asserted => 4,
        Assurance::Generated => 5,
    }
}

fn direction_code(direction: Option<Direction>) -> u8 {
    match direction {
        None => 0,
        Some(Direction::Ltr) => 1,
        Some(Direction::Rtl) => 2,
        Some(Direction::Auto) => 3,
    }
}

fn direction_of(code: u8) -> Option<Option<Direction>> {
    [None, Some(Direction::Ltr), Some(Direction::Rtl), Some(Direction::Auto)]
        .into_iter()
        .find(|direction| direction_code(*direction) == code)
}
