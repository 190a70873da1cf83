//! What an explanation comes to, for people: the answer in a word, and what to do about it.

use std::borrow::Cow;

use crate::rejection::{Code, Rejection};

/// What becomes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    /// None where the app decides.
    pub status: Option<u16>,
    /// Of a refusal.
    pub code: Option<Code>,
    /// What is decided, in words; of a refusal the reason that its sender is not told.
    pub detail: Option<Cow<'static, str>>,
    /// What to do, where something can be done.
    pub remedy: Option<Cow<'static, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its app receives it.
    Forwarded,
    Refused,
    /// Somewhere else.
    Redirected,
    /// By us.
    Answered,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::Answered => "answered",
        }
    }
}

impl Verdict {
    pub(super) const fn nothing() -> Self {
        Self { state: State::Answered, status: None, code: None, detail: None, remedy: None }
    }

    pub(super) fn refused(rejection: &Rejection) -> Self {
        let code = rejection.code;
        Self {
            state: State::Refused,
            status: Some(code.status_u16()),
            code: Some(code),
            detail: Some(rejection.reason.into()),
            remedy: rejection.detail.clone().or_else(|| remedy(code).map(Cow::from)),
        }
    }

    pub(super) fn forwarded(upstream: &str) -> Self {
        let detail = format!("the upstream {upstream} receives it");
        Self { state: State::Forwarded, detail: Some(detail.into()), ..Self::nothing() }
    }

    pub(super) fn redirected(status: u16, to: &str) -> Self {
        let (status, detail) = (Some(status), Some(format!("to {to}").into()));
        Self { state: State::Redirected, status, detail, ..Self::nothing() }
    }

    pub(super) fn answered(status: u16, what: String) -> Self {
        Self { status: Some(status), detail: Some(what.into()), ..Self::nothing() }
    }

    pub(super) fn file(what: String) -> Self {
        Self { detail: Some(what.into()), ..Self::nothing() }
    }
}

/// For the operator, who can change the configuration and the host page.
const fn remedy(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::NotFound => "give a persona or a site this host and path",
        Code::HostInvalid => "write one host name, as a browser sends it",
        Code::PathAmbiguous => {
            "write the path in its one canonical form: no //, dot segments or encoded slashes"
        }
        Code::ModeMismatch => "let the host page send the persona's own mode, or none",
        Code::UserIdMissing => "let the host page send user_id, or set user_id = \"optional\"",
        Code::UserIdInvalid => "send a user id of the persona's user_id_format",
        Code::IdentityUnproven => {
            "sign the launch, or say trust_asserted = true where anyone may claim anything"
        }
        Code::IdentityIncomplete => {
            "let the host page send its configuration, or set strict_config = false"
        }
        Code::SignatureMissing => {
            "open it with a link of `vestibule sign`, or of the host page's server"
        }
        Code::SignatureInvalid => "`vestibule verify` shows the text that must be signed",
        Code::TimestampMissing | Code::TimestampInvalid => {
            "sign the moment in milliseconds as `timestamp`"
        }
        Code::TimestampStale => {
            "sign a new link for each launch; see signing.max_age and the signer's clock"
        }
        Code::SignatureReplayed => "sign a new link for each launch, or see signing.replay",
        Code::SessionMissing | Code::SessionInvalid | Code::SessionExpired => {
            "open the chat's page first: here, say what was launched"
        }
        Code::CookiesRequired => {
            "let the browser keep cookies for the chat, or open it in a tab of its own"
        }
        Code::OriginNotAllowed => "add the page's origin to the tenant's embed_origins",
        Code::FrameOnly => "open it in a frame of the host page, or set frame_only = false",
        Code::InjectionNotAllowed => {
            "set injection.enabled = true and injection.persona = \"custom\""
        }
        Code::AddressDenied => "see allow_addresses and deny_addresses",
        Code::PathClosed => "nothing: it is closed on purpose",
        Code::RateLimited => "see the tenant's limits",
        Code::TokenMissing | Code::TokenInvalid => {
            "bring the page's token, as preview.token has it"
        }
        Code::PasswordMissing | Code::PasswordWrong => {
            "bring the name and the password of basic_auth.users"
        }
        Code::Misdirected => {
            "ask for a host of the certificate that the connection was opened with"
        }
        Code::TenantHeldBack => "mend the tenant's file: `vestibule check` says what is wrong",
        _ => return None,
    })
}
