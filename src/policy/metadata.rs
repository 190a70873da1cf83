//! What a launch says about its user, held against what the persona allows.
//!
//! Decides whether `mode`, `user_id`, `require_user_id`, `allow_generated_id` and `direction` fit
//! the persona, which user id the session gets, and how much that is worth. `v` (a cache buster)
//! and unknown names are nobody's business here. A wrong value is refused, never repaired, and no
//! answer repeats it.
//!
//! The order of the checks fixes the code where several things are wrong: duplicates, proof, mode,
//! spelling of flags and direction, contradictions, user id.
//!
//! # A bare document
//!
//! is one whose launch has none of `mode`, `user_id`, `require_user_id` and `allow_generated_id`:
//! they are what identity is made of. `direction` and `v` are presentation: a page may know them
//! before it knows its user, and the document stays bare. A persona that requires a user id serves
//! its bare document as *awaiting*, and a launch that says anything about identity must say all.

use std::borrow::Cow;
use std::fmt;

use super::query::{Pair, RawPair};
use crate::config::snapshot::Mode;
use crate::rejection::{Code, Rejection};

#[cfg(test)]
mod tests;

/// The persona's part of the configuration, compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataPolicy {
    pub mode: Mode,
    pub user_id: UserIdRule,
    pub format: UserIdFormat,
    /// A missing user id is made up, so that nothing is missing.
    pub allow_generated_id: bool,
    /// A required user id may rest on the browser's word.
    pub trust_asserted: bool,
    /// Nothing behind a bare document opens until the identity is complete.
    pub strict_config: bool,
    /// Our script completes the identity before the app's stream opens.
    pub bridge: bool,
    /// Launches carry signatures; nothing unsigned is one, a bare document neither.
    pub signed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserIdRule {
    Required,
    Optional,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserIdFormat {
    /// `[1-9][0-9]{0,15}`, at most 2^53-1: what JavaScript counts exactly.
    Integer,
    /// 1 to 128 of `[A-Za-z0-9._:-]`.
    Token,
}

impl UserIdFormat {
    pub fn admits(self, id: &str) -> bool {
        match self {
            UserIdFormat::Integer => is_integer(id),
            UserIdFormat::Token => is_token(id),
        }
    }
}

/// The longest user id, in bytes.
pub const MAX_USER_ID: usize = 128;

fn is_integer(id: &str) -> bool {
    const MAX_SAFE: u64 = (1 << 53) - 1;
    // `parse` alone would take "+7" and "007".
    matches!(id.as_bytes(), [b'1'..=b'9', rest @ ..]
        if rest.len() <= 15 && rest.iter().all(u8::is_ascii_digit))
        && id.parse::<u64>().is_ok_and(|number| number <= MAX_SAFE)
}

fn is_token(id: &str) -> bool {
    (1..=MAX_USER_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

/// Whose word the launch's parameters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voucher {
    /// Nobody but the browser.
    Browser,
    /// A signature over the query or form verified.
    Signature,
    /// A JWT verified; the parameters are its claims.
    Token,
    /// The tenant's own server asked for the session.
    SessionApi,
}

/// How much an identity is worth, as the app is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assurance {
    Signed,
    Jwt,
    Session,
    /// The browser said so; nothing is proved.
    Asserted,
    /// We made the user id up.
    Generated,
}

impl Assurance {
    pub const ALL: [Assurance; 5] = [
        Assurance::Signed,
        Assurance::Jwt,
        Assurance::Session,
        Assurance::Asserted,
        Assurance::Generated,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Assurance::Signed => "signed",
            Assurance::Jwt => "jwt",
            Assurance::Session => "session",
            Assurance::Asserted => "asserted",
            Assurance::Generated => "generated",
        }
    }
}

impl From<Voucher> for Assurance {
    fn from(voucher: Voucher) -> Self {
        match voucher {
            Voucher::Browser => Assurance::Asserted,
            Voucher::Signature => Assurance::Signed,
            Voucher::Token => Assurance::Jwt,
            Voucher::SessionApi => Assurance::Session,
        }
    }
}

/// The direction of text that the host page asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    Ltr,
    Rtl,
    Auto,
}

impl Direction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Ltr => "ltr",
            Direction::Rtl => "rtl",
            Direction::Auto => "auto",
        }
    }
}

/// The parameter that says who is asking.
pub const USER_ID: &str = "user_id";

/// The names of a launch's parameters.
pub const NAMES: [&str; 5] =
    ["mode", USER_ID, "require_user_id", "allow_generated_id", "direction"];

/// The parameters as they were given, each at most once. A JWT's claims are filled in by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters<'q> {
    pub mode: Option<Cow<'q, str>>,
    pub user_id: Option<Cow<'q, str>>,
    pub require_user_id: Option<Cow<'q, str>>,
    pub allow_generated_id: Option<Cow<'q, str>>,
    pub direction: Option<Cow<'q, str>>,
}

impl<'q> Parameters<'q> {
    /// Picks ours out of a query, or out of query and form chained. Only what is ours is decoded.
    pub fn from_raw(pairs: impl IntoIterator<Item = RawPair<'q>>) -> Result<Self, Rejection> {
        let mut found = Self::default();
        for pair in pairs {
            if let Some(place) = found.place(&pair.decoded_name()) {
                fill(place, pair.decoded_value())?;
            }
        }
        Ok(found)
    }

    /// Picks ours out of pairs that a stage before has decoded.
    pub fn from_pairs<'p: 'q>(
        pairs: impl IntoIterator<Item = &'q Pair<'p>>,
    ) -> Result<Self, Rejection> {
        let mut found = Self::default();
        for pair in pairs {
            if let Some(place) = found.place(&pair.name) {
                fill(place, Cow::Borrowed(&pair.value))?;
            }
        }
        Ok(found)
    }

    fn place(&mut self, name: &str) -> Option<&mut Option<Cow<'q, str>>> {
        match name {
            "mode" => Some(&mut self.mode),
            USER_ID => Some(&mut self.user_id),
            "require_user_id" => Some(&mut self.require_user_id),
            "allow_generated_id" => Some(&mut self.allow_generated_id),
            "direction" => Some(&mut self.direction),
            _ => None,
        }
    }

    /// Nothing is said about identity.
    pub fn is_bare(&self) -> bool {
        let said = [&self.mode, &self.user_id, &self.require_user_id, &self.allow_generated_id];
        said.iter().all(|parameter| parameter.is_none())
    }
}

fn fill<'q>(place: &mut Option<Cow<'q, str>>, value: Cow<'q, str>) -> Result<(), Rejection> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => refuse(Code::ParameterDuplicate, "a launch parameter is repeated"),
    }
}

/// Witness: these parameters are allowed at this persona.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata<'q> {
    mode: Mode,
    user_id: UserId<'q>,
    direction: Option<Direction>,
    assurance: Assurance,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserId<'q> {
    Given(Cow<'q, str>),
    /// To be made up, once for the session.
    ToGenerate,
    None,
    /// A bare document of a persona that requires one.
    Awaiting,
}

impl<'q> Metadata<'q> {
    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn user_id(&self) -> &UserId<'q> {
        &self.user_id
    }

    pub fn direction(&self) -> Option<Direction> {
        self.direction
    }

    /// Of the whole launch; where no user id is given, that is at most what the browser says.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }
}

impl fmt::Display for Metadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, assurance) = (mode_name(self.mode), self.assurance.as_str());
        match &self.user_id {
            UserId::Given(id) => write!(f, "mode {mode}, user_id {id} ({assurance})"),
            UserId::ToGenerate => write!(f, "mode {mode}, a user_id is made up"),
            UserId::None => write!(f, "mode {mode}, no user_id"),
            UserId::Awaiting => write!(f, "mode {mode}, a user_id is awaited"),
        }
    }
}

/// Decides about the parameters of one launch.
pub fn decide<'q>(
    policy: &MetadataPolicy,
    parameters: Parameters<'q>,
    voucher: Voucher,
) -> Result<Metadata<'q>, Rejection> {
    if policy.signed && voucher == Voucher::Browser {
        return refuse(Code::IdentityUnproven, "an unsigned launch of a signed persona");
    }
    if parameters.mode.as_deref().is_some_and(|mode| mode != mode_name(policy.mode)) {
        return refuse(Code::ModeMismatch, "mode is not the persona's");
    }
    let direction = parameters.direction.as_deref().map(direction).transpose()?;
    let needs = needs(policy, &parameters)?;
    let user_id = user_id(policy, parameters, voucher, needs)?;
    let assurance = match user_id {
        UserId::ToGenerate => Assurance::Generated,
        _ => voucher.into(),
    };
    Ok(Metadata { mode: policy.mode, user_id, direction, assurance })
}

/// What the persona demands of this launch, after the launch's own flags.
#[derive(Clone, Copy)]
struct Needs {
    user_id: bool,
    may_generate: bool,
}

fn needs(policy: &MetadataPolicy, parameters: &Parameters<'_>) -> Result<Needs, Rejection> {
    let required = policy.user_id == UserIdRule::Required;
    let require = parameters.require_user_id.as_deref().map(flag).transpose()?;
    let generate = parameters.allow_generated_id.as_deref().map(flag).transpose()?;
    if policy.mode == Mode::Test {
        // The test persona stands in for every other: the launch says which rules it wants.
        let asks = require.unwrap_or(required);
        if asks && policy.user_id == UserIdRule::None {
            return refuse(CONTRADICTION, "require_user_id at a persona without user ids");
        }
        let may_generate = generate.unwrap_or(policy.allow_generated_id);
        return Ok(Needs { user_id: asks, may_generate });
    }
    if require.is_some_and(|require| require != required) {
        return refuse(CONTRADICTION, "require_user_id is not what the persona says");
    }
    if generate.is_some_and(|generate| generate != policy.allow_generated_id) {
        return refuse(CONTRADICTION, "allow_generated_id is not what the persona says");
    }
    Ok(Needs { user_id: required, may_generate: policy.allow_generated_id })
}

const CONTRADICTION: Code = Code::MetadataContradiction;

fn user_id<'q>(
    policy: &MetadataPolicy,
    parameters: Parameters<'q>,
    voucher: Voucher,
    needs: Needs,
) -> Result<UserId<'q>, Rejection> {
    let is_bare = parameters.is_bare();
    let Some(id) = parameters.user_id else {
        return match policy.user_id {
            UserIdRule::None => Ok(UserId::None),
            _ if needs.may_generate => Ok(UserId::ToGenerate),
            // Somebody vouched for this launch, so that nothing else will come.
            _ if needs.user_id && is_bare && voucher == Voucher::Browser => Ok(UserId::Awaiting),
            _ if needs.user_id => refuse(Code::UserIdMissing, "no user_id where one is required"),
            _ => Ok(UserId::None),
        };
    };
    if policy.user_id == UserIdRule::None {
        return refuse(CONTRADICTION, "user_id at a persona without user ids");
    }
    // Every integer is a token, so that the test persona takes both.
    let format = if policy.mode == Mode::Test { UserIdFormat::Token } else { policy.format };
    if !format.admits(&id) {
        return refuse(Code::UserIdInvalid, "user_id is not of the persona's format");
    }
    let is_word = voucher == Voucher::Browser && policy.user_id == UserIdRule::Required;
    if is_word && !policy.trust_asserted {
        return refuse(Code::IdentityUnproven, "a required user_id with nothing to prove it");
    }
    Ok(UserId::Given(id))
}

fn flag(value: &str) -> Result<bool, Rejection> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => refuse(Code::ParameterInvalid, "a flag is neither true nor false"),
    }
}

fn direction(value: &str) -> Result<Direction, Rejection> {
    match value {
        "ltr" => Ok(Direction::Ltr),
        "rtl" => Ok(Direction::Rtl),
        "auto" => Ok(Direction::Auto),
        _ => refuse(Code::ParameterInvalid, "direction is not ltr, rtl or auto"),
    }
}

/// As it stands in the configuration, in launches and in headers.
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Public => "public",
        Mode::Customer => "customer",
        Mode::Employee => "employee",
        Mode::Test => "test",
    }
}

const fn refuse<T>(code: Code, reason: &'static str) -> Result<T, Rejection> {
    Err(Rejection::new(code, reason))
}
