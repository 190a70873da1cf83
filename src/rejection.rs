//! Why a request is refused, and what its sender may know about it.
//!
//! One type for every refusal: a stable public [`Code`] (which fixes the status) and a private
//! reason for the log. The public text never tells which secret, key or tenant was involved.

use std::borrow::Cow;

use http::StatusCode;

use crate::policy::limits::Limited;

/// A refusal: what the client is told, and what only we are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: Code,
    /// For the log; may name configuration, never a secret.
    pub reason: &'static str,
    /// Which limit it was, and when to come back.
    pub limited: Option<Limited>,
    /// A sentence for whoever sent it, which helps to send it better. It repeats no value.
    pub detail: Option<Cow<'static, str>>,
    /// For `Allow`.
    pub methods: Methods,
}

/// The methods that are allowed where one is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Methods {
    #[default]
    Any,
    /// Files and what else is only read.
    Read,
    /// What is only told.
    Post,
}

impl Methods {
    pub const fn as_str(self) -> &'static str {
        match self {
            Methods::Any => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            Methods::Read => "GET, HEAD",
            Methods::Post => "POST",
        }
    }
}

impl Rejection {
    pub const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason, limited: None, detail: None, methods: Methods::Any }
    }

    pub fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub fn allowing(self, methods: Methods) -> Self {
        Self { methods, ..self }
    }

    pub fn limited(limited: Limited) -> Self {
        let reason = limited.reason();
        Self { limited: Some(limited), ..Self::new(Code::RateLimited, reason) }
    }

    pub fn status(&self) -> StatusCode {
        self.code.status()
    }
}

macro_rules! codes {
    ($($variant:ident $status:literal $name:literal $title:literal;)*) => {
        /// The stable `code` of a problem document. The order is the order of the table in the docs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            pub const fn status_u16(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }
            /// As it stands in the problem document and the access log.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }
            /// The sentence for people.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }
        }
    };
}

codes! {
    RequestMalformed 400 "request_malformed" "The request is not valid HTTP.";
    FramingAmbiguous 400 "framing_ambiguous" "The length of the request body can be read in more than one way.";
    HostInvalid 400 "host_invalid" "The request needs exactly one valid host.";
    PathAmbiguous 400 "path_ambiguous" "The path can be read in more than one way.";
    TargetInvalid 400 "target_invalid" "The request target is not valid.";
    UpgradeInvalid 400 "upgrade_invalid" "The upgrade request is not a valid WebSocket handshake.";
    ParameterDuplicate 400 "parameter_duplicate" "A launch parameter is given more than once.";
    ParameterInvalid 400 "parameter_invalid" "A launch parameter has a value that it cannot have.";
    MetadataContradiction 400 "metadata_contradiction" "The launch parameters contradict what this chat is set up for.";
    UserIdMissing 400 "user_id_missing" "This chat needs a user id.";
    UserIdInvalid 400 "user_id_invalid" "The user id is not one that this chat takes.";
    InjectionMalformed 400 "injection_malformed" "What this launch injects is not written as documented.";
    BeaconInvalid 400 "beacon_invalid" "What the page tells about this chat is not written as documented.";
    SignatureMissing 401 "signature_missing" "This chat opens only with a signed link.";
    SignatureInvalid 401 "signature_invalid" "The signature does not fit what was sent.";
    TimestampMissing 401 "timestamp_missing" "A signed launch needs a timestamp.";
    TimestampInvalid 401 "timestamp_invalid" "The timestamp is not one moment in milliseconds.";
    TimestampStale 401 "timestamp_stale" "The link has expired: open the chat from its page.";
    IdentityUnproven 401 "identity_unproven" "This chat needs a signature or a token that proves who is asking.";
    IdentityIncomplete 401 "identity_incomplete" "This opens once the page has said who is asking.";
    SessionMissing 401 "session_missing" "This needs a session: open the chat from its page.";
    SessionInvalid 401 "session_invalid" "The session is not valid: open the chat from its page.";
    SessionExpired 401 "session_expired" "The session has ended: open the chat from its page.";
    TokenMissing 401 "token_missing" "This opens only with its token.";
    TokenInvalid 401 "token_invalid" "The token is not valid.";
    PasswordMissing 401 "password_missing" "This needs a name and a password.";
    PasswordWrong 401 "password_wrong" "The name or the password is wrong.";
    AssertionInvalid 401 "assertion_invalid" "This needs a valid assertion as its Bearer token.";
    SignatureReplayed 403 "signature_replayed" "This link was used already: open the chat from its page.";
    ModeMismatch 403 "mode_mismatch" "This chat is for another kind of user.";
    InjectionNotAllowed 403 "injection_not_allowed" "Launches of this chat may not inject instructions or messages.";
    OriginNotAllowed 403 "origin_not_allowed" "Pages of this origin may not call this chat.";
    CookiesRequired 403 "cookies_required" "This chat needs cookies, and the browser keeps none for it.";
    FrameOnly 403 "frame_only" "This chat opens only inside a page that embeds it.";
    AddressDenied 403 "address_denied" "This is not open to your address.";
    PathClosed 403 "path_closed" "This path is closed.";
    NotFound 404 "not_found" "Nothing is served at this address.";
    MethodNotAllowed 405 "method_not_allowed" "This method is not allowed here.";
    RequestTimeout 408 "request_timeout" "The request did not arrive in time.";
    BodyTooLarge 413 "body_too_large" "The request body is too large.";
    MediaTypeUnsupported 415 "media_type_unsupported" "The request body is of a type that is not accepted here.";
    ExpectationFailed 417 "expectation_failed" "The expectation is not supported.";
    Misdirected 421 "misdirected_request" "This connection is not for that host.";
    ContentOverLimit 422 "content_over_limit" "Something that this launch brings is over its limit.";
    MessageTypeUnknown 422 "message_type_unknown" "This launch brings a message of a type that is not known.";
    RateLimited 429 "rate_limited" "Too many requests: try again later.";
    HeadersTooLarge 431 "headers_too_large" "The request headers are too large.";
    Internal 500 "internal_error" "The server could not answer.";
    MethodNotImplemented 501 "method_not_implemented" "This method is not implemented.";
    TransferCodingUnsupported 501 "transfer_coding_unsupported" "This transfer coding is not implemented.";
    UpstreamUnreachable 502 "upstream_unreachable" "The application cannot be reached.";
    UpstreamInvalid 502 "upstream_invalid" "The application gave an invalid answer.";
    UpstreamClosed 502 "upstream_closed" "The application closed the connection without an answer.";
    PrefetchRefused 503 "prefetch_refused" "A chat does not open in advance.";
    UpstreamUnavailable 503 "upstream_unavailable" "The application is not available.";
    UpstreamOverloaded 503 "upstream_overloaded" "The application has enough to do: try again soon.";
    CapacityExhausted 503 "capacity_exhausted" "The server cannot start another session now.";
    ReplayMemoryFull 503 "replay_memory_full" "No further signed launch can be taken now.";
    NotServing 503 "not_serving" "The server is starting or stopping.";
    TenantHeldBack 503 "tenant_held_back" "This chat is being set up again.";
    UpstreamTimeout 504 "upstream_timeout" "The application did not answer in time.";
    VersionUnsupported 505 "version_unsupported" "This HTTP version is not supported.";
}

impl Code {
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_u16()).expect("the table holds valid statuses")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_code() {
        let rows: Vec<String> = Code::ALL
            .iter()
            .map(|code| {
                format!("| {} | `{}` | {} |", code.status_u16(), code.as_str(), code.title())
            })
            .collect();
        let readme = include_str!("../README.md");
        assert!(readme.contains(&rows.join("\n")), "the table should be:\n{}", rows.join("\n"));
    }

    #[test]
    fn codes_are_unique_and_ordered_by_status() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.is_sorted_by_key(|code| code.status_u16()));
    }
}
