//! Who is asking, and the headers that tell the app.
//!
//! Decides what a launch's metadata becomes for the life of its session, what may open while an
//! identity is still awaited, and the values of `X-Vestibule-*`. Every header here is set or
//! absent, never passed on: `edge` removes a client's own first. A value is what was given;
//! only its spelling changes, so that it can stand in a header. Nothing asserted or generated
//! may leave under another name than that.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest, Sha256};

use super::metadata::{
    Assurance, Direction, Metadata, MetadataPolicy, Parameters, UserId, UserIdFormat, UserIdRule,
    mode_name,
};
use crate::config::snapshot::Mode;
use crate::rejection::{Code, Rejection};

/// Whose persona it is; the other half of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub tenant: &'a str,
    pub persona: &'a str,
}

/// Who is asking, as a session keeps it. Tenant and persona are not in here: a session's key
/// belongs to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The slug of the device.
    pub device: Option<Box<str>>,
    pub mode: Mode,
    pub user_id: Option<Box<str>>,
    pub direction: Option<Direction>,
    pub assurance: Assurance,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Complete,
    /// The persona requires a user id, and the host page has not said one yet.
    Awaiting,
}

impl Identity {
    /// What a launch establishes. `random` becomes the user id where one is to be made up: 128
    /// bits that nobody can guess.
    pub fn settle(metadata: &Metadata<'_>, device: Option<&str>, random: [u8; 16]) -> Self {
        let user_id = match metadata.user_id() {
            UserId::Given(id) => Some(Box::from(&**id)),
            UserId::ToGenerate => Some(generated_id(random)),
            UserId::None | UserId::Awaiting => None,
        };
        let state = match metadata.user_id() {
            UserId::Awaiting => State::Awaiting,
            _ => State::Complete,
        };
        Self {
            device: device.map(Box::from),
            mode: metadata.mode(),
            user_id,
            direction: metadata.direction(),
            assurance: metadata.assurance(),
            state,
        }
    }

    /// Of a request without a session, where the persona demands none.
    pub fn anonymous(mode: Mode, device: Option<&str>) -> Self {
        Self {
            device: device.map(Box::from),
            mode,
            user_id: None,
            direction: None,
            assurance: Assurance::Asserted,
            state: State::Complete,
        }
    }

    /// Whether a launch could still establish it: a reload may have changed the rules under a
    /// session, and the app must not be told what they no longer allow.
    pub fn is_of(&self, policy: &MetadataPolicy) -> bool {
        let is_test = policy.mode == Mode::Test;
        let is_proven =
            matches!(self.assurance, Assurance::Signed | Assurance::Jwt | Assurance::Session);
        let format = if is_test { UserIdFormat::Token } else { policy.format };
        let has_its_user = match (&self.user_id, policy.user_id) {
            (Some(_), UserIdRule::None) => false,
            (Some(_), _) if self.assurance == Assurance::Generated => {
                policy.allow_generated_id || is_test
            }
            (Some(id), rule) => {
                let is_word = !is_proven && rule == UserIdRule::Required;
                format.admits(id) && (!is_word || policy.trust_asserted)
            }
            (None, UserIdRule::Required) => is_test || self.state == State::Awaiting,
            (None, _) => self.state == State::Complete,
        };
        self.mode == policy.mode && has_its_user && (is_proven || !policy.signed)
    }

    /// These parameters say nothing but what is known already.
    pub fn is_said_by(&self, parameters: &Parameters<'_>) -> bool {
        let mode = parameters.mode.as_deref().is_none_or(|mode| mode == mode_name(self.mode));
        mode && self.state == State::Complete
            && parameters.user_id.as_deref() == self.user_id.as_deref()
    }

    /// A launch with this metadata asks for the very identity that this is. A generated one is
    /// kept: nobody gave it, and it is to be stable. One that a URL gave is not inherited by a
    /// launch that gives none. Direction is not identity.
    pub fn continues(&self, metadata: &Metadata<'_>, device: Option<&str>) -> bool {
        let same_user = match metadata.user_id() {
            UserId::Given(id) => self.user_id.as_deref() == Some(&**id),
            UserId::ToGenerate => self.user_id.is_some(),
            UserId::None => self.user_id.is_none() && self.state == State::Complete,
            UserId::Awaiting => self.user_id.is_none() && self.state == State::Awaiting,
        };
        same_user
            && self.mode == metadata.mode()
            && self.assurance == metadata.assurance()
            && self.device.as_deref() == device
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user_id.as_deref().unwrap_or("nobody in particular");
        let state = match self.state {
            State::Complete => "",
            State::Awaiting => ", awaited",
        };
        write!(f, "{user} ({}), mode {}{state}", self.assurance.as_str(), mode_name(self.mode))
    }
}

/// `gen-` and 32 hexadecimal digits: a token, never an integer, so that no account has it.
fn generated_id(random: [u8; 16]) -> Box<str> {
    let mut id = String::from("gen-");
    push_hex(&random, &mut id);
    id.into()
}

/// What a request wants of the app behind a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// What a document needs to be shown.
    Asset,
    /// Where the app talks and acts: a WebSocket, an event stream, a message.
    Stream,
}

/// Decides whether a session in this state may open this. `/.vestibule/` is ours and not concerned.
pub fn may_open(policy: &MetadataPolicy, state: State, what: Behind) -> Result<(), Rejection> {
    let waits = match what {
        _ if policy.strict_config => true,
        Behind::Asset => false,
        // Without our script nobody completes an identity later: the app is told instead.
        Behind::Stream => policy.bridge,
    };
    if state == State::Awaiting && waits {
        return Err(Rejection::new(Code::IdentityIncomplete, "the identity is still awaited"));
    }
    Ok(())
}

/// True where a sub-request without a session is refused.
pub fn needs_session(policy: &MetadataPolicy) -> bool {
    policy.signed || policy.user_id == UserIdRule::Required
}

/// A session's name towards apps and logs: whoever has it cannot act with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionHash([u8; 32]);

impl SessionHash {
    pub fn of(id: &[u8; 16]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digest =
            Sha256::new_with_prefix(b"vestibule session hash\0").chain_update(id).finalize();
        let mut text = [0; 32];
        for (at, byte) in digest.iter().take(16).enumerate() {
            text[at * 2] = DIGITS[usize::from(byte >> 4)];
            text[at * 2 + 1] = DIGITS[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// One that was printed.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits: [u8; 32] = text.as_bytes().try_into().ok()?;
        digits.iter().all(is_digit).then_some(Self(digits))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for SessionHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The identity headers of one request, in the order of the contract; what is absent has none.
/// `X-Vestibule-Assertion` is not among them: it is minted and kept per session.
pub fn headers<'a>(
    place: Place<'a>,
    identity: &'a Identity,
    session: Option<&'a SessionHash>,
) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
    let state = match identity.state {
        State::Complete => None,
        State::Awaiting => Some("awaiting"),
    };
    // Words of ours need no escaping.
    [
        ("X-Vestibule-Tenant", Some(header_value(place.tenant))),
        ("X-Vestibule-Persona", Some(header_value(place.persona))),
        ("X-Vestibule-Device", identity.device.as_deref().map(header_value)),
        ("X-Vestibule-Mode", Some(mode_name(identity.mode).into())),
        ("X-Vestibule-User-Id", identity.user_id.as_deref().map(header_value)),
        ("X-Vestibule-Assurance", Some(identity.assurance.as_str().into())),
        ("X-Vestibule-Session", session.map(|session| session.as_str().into())),
        ("X-Vestibule-Identity-State", state.map(Cow::Borrowed)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// Visible ASCII but for `%` stays; every other byte of the UTF-8 is escaped, and so is `%`: what
/// an app decodes is what was given.
pub fn header_value(value: &str) -> Cow<'_, str> {
    let stays = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if value.bytes().all(stays) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        if stays(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(text)
}

pub(super) fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        out.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        out.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::fields::Known;
    use crate::policy::metadata::{Parameters, Voucher, decide};
    use crate::policy::query::{pairs, raw_pairs};
    use proptest::prelude::*;

    const PLACE: Place<'static> = Place { tenant: "jasser", persona: "customer" };

    fn policy(mode: Mode, user_id: UserIdRule) -> MetadataPolicy {
        MetadataPolicy {
            mode,
            user_id,
            format: UserIdFormat::Token,
            allow_generated_id: mode == Mode::Public,
            trust_asserted: true,
            strict_config: false,
            bridge: true,
            signed: false,
        }
    }

    fn launched(policy: &MetadataPolicy, query: &str) -> Metadata<'static> {
        let query: &'static str = String::leak(query.to_owned());
        let parameters = Parameters::from_raw(raw_pairs(query.as_bytes())).unwrap();
        decide(policy, parameters, Voucher::Browser).unwrap()
    }

    fn shown(identity: &Identity, session: Option<&SessionHash>) -> Vec<String> {
        headers(PLACE, identity, session).map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn a_complete_identity_has_every_header_but_the_state() {
        let customer = policy(Mode::Customer, UserIdRule::Required);
        let metadata = launched(&customer, "user_id=12345&direction=rtl");
        let identity = Identity::settle(&metadata, Some("lobby"), [1; 16]);
        let hash = SessionHash::of(&[7; 16]);
        assert_eq!(
            shown(&identity, Some(&hash)),
            [
                "X-Vestibule-Tenant: jasser",
                "X-Vestibule-Persona: customer",
                "X-Vestibule-Device: lobby",
                "X-Vestibule-Mode: customer",
                "X-Vestibule-User-Id: 12345",
                "X-Vestibule-Assurance: asserted",
                &format!("X-Vestibule-Session: {hash:?}"),
            ]
        );
    }

    #[test]
    fn an_awaited_identity_says_so_and_has_no_user_id() {
        let metadata = launched(&policy(Mode::Customer, UserIdRule::Required), "");
        let lines = shown(&Identity::settle(&metadata, None, [1; 16]), None);
        assert!(lines.contains(&"X-Vestibule-Identity-State: awaiting".to_owned()));
        assert!(!lines.iter().any(|line| line.starts_with("X-Vestibule-User-Id")));
    }

    #[test]
    fn a_made_up_id_is_called_generated_and_is_no_integer() {
        let metadata = launched(&policy(Mode::Public, UserIdRule::Optional), "");
        let identity = Identity::settle(&metadata, None, [0xab; 16]);
        let id = identity.user_id.as_deref().unwrap();
        assert_eq!(id, "gen-abababababababababababababababab");
        assert!(UserIdFormat::Token.admits(id) && !UserIdFormat::Integer.admits(id));
        assert_eq!(identity.assurance, Assurance::Generated);
    }

    #[test]
    fn every_header_is_one_that_a_client_cannot_send() {
        let mut identity = Identity::anonymous(Mode::Test, Some("d"));
        identity.user_id = Some("1".into());
        identity.state = State::Awaiting;
        for (name, _) in headers(PLACE, &identity, Some(&SessionHash::of(&[0; 16]))) {
            assert_eq!(Known::classify(name.as_bytes()), Known::Identity, "{name}");
        }
    }

    #[test]
    fn a_launch_continues_only_the_identity_that_it_asks_for() {
        let optional = policy(Mode::Public, UserIdRule::Optional);
        let required = policy(Mode::Customer, UserIdRule::Required);
        let none = policy(Mode::Employee, UserIdRule::None);
        for (policy, before, device, after, other_device, expected) in [
            (&required, "user_id=1", None, "user_id=1", None, true),
            (&required, "user_id=1&direction=ltr", None, "user_id=1&direction=rtl", None, true),
            (&required, "user_id=1", None, "user_id=2", None, false),
            (&required, "user_id=1", None, "", None, false),
            (&required, "", None, "", None, true),
            (&required, "", None, "user_id=1", None, false),
            (&required, "user_id=1", Some("a"), "user_id=1", Some("b"), false),
            (&required, "user_id=1", Some("a"), "user_id=1", None, false),
            (&optional, "", None, "", None, true),
            (&optional, "user_id=1", None, "", None, false),
            (&optional, "", None, "user_id=1", None, false),
            (&none, "", None, "mode=employee", None, true),
        ] {
            let held = Identity::settle(&launched(policy, before), device, [5; 16]);
            let continues = held.continues(&launched(policy, after), other_device);
            assert_eq!(continues, expected, "{before:?} then {after:?}");
        }
    }

    #[test]
    fn an_identity_of_other_worth_is_another() {
        let policy = policy(Mode::Customer, UserIdRule::Required);
        let held = Identity::settle(&launched(&policy, "user_id=1"), None, [0; 16]);
        let parameters = Parameters::from_raw(raw_pairs(b"user_id=1")).unwrap();
        let signed = decide(&policy, parameters, Voucher::Signature).unwrap();
        assert!(!held.continues(&signed, None));
    }

    #[test]
    fn what_opens_before_the_identity_is_complete() {
        use Behind::*;
        for (strict_config, bridge, what, opens) in [
            (false, false, Asset, true),
            (false, false, Stream, true),
            (false, true, Asset, true),
            (false, true, Stream, false),
            (true, false, Asset, false),
            (true, false, Stream, false),
            (true, true, Asset, false),
            (true, true, Stream, false),
        ] {
            let rule = MetadataPolicy {
                strict_config,
                bridge,
                ..policy(Mode::Customer, UserIdRule::Required)
            };
            let awaited = may_open(&rule, State::Awaiting, what);
            assert_eq!(awaited.is_ok(), opens, "strict {strict_config}, bridge {bridge}, {what:?}");
            assert!(may_open(&rule, State::Complete, what).is_ok());
        }
    }

    proptest! {
        #[test]
        fn header_values_are_visible_and_decode_to_what_was_given(value in "\\PC{0,24}|[ -~]{0,24}") {
            let sent = header_value(&value);
            prop_assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()));
            // What a form reads otherwise than percent-decoding does.
            let form = format!("v={}", sent.replace('+', "%2B").replace('&', "%26"));
            let read = pairs(form.as_bytes()).next().unwrap().value.into_owned();
            prop_assert_eq!(read, value.clone());
        }
    }
}
