//! Origin: which pages may call a persona.
//!
//! A browser attaches the session's cookie to whatever any page sends here. What changes something,
//! or opens a stream, therefore says where it comes from, and that must be the persona's own origin
//! or, for apps that are called across origins, one that may embed the tenant's personas.
//!
//! | `Origin` | GET, HEAD, OPTIONS | launch by POST | other POST, PUT, ...; WebSocket |
//! | --- | --- | --- | --- |
//! | absent | passes | with a signature, token or key; on an unsigned public persona | with a token or key; without a session, where none is needed; never for a cookie alone |
//! | the persona's own | passes | passes | passes |
//! | one that may embed | where called across origins | passes | where called across origins |
//! | `null` | as on the right | with a signature, token or key; on an unsigned public persona | from a same-origin form of a page without referrer; with a token or key where `file:` may embed |
//! | any other, repeated, malformed | refused | refused | refused |
//!
//! Whoever sends no `Origin` with such a request is no browser, and without a cookie has nothing that
//! another could have borrowed.
//!
//! `Sec-Fetch-Site` cannot be forged by a page. It speaks for `null` where it says `same-origin`,
//! and refutes an `Origin` of ours where it says `cross-site`; alone it admits nothing. A navigation
//! by GET has no `Origin`: who may frame the document is said by [`super::csp`].
//!
//! What must not happen: a cookie alone carries a request of a foreign page; an answer with
//! credentials names an origin that was not configured, or `null`; two spellings of one origin
//! are judged differently.

mod address;
mod cors;
#[cfg(test)]
mod tests;

use http::Method;

use crate::config::snapshot::AppKind;
use crate::http1::fields::{Field, Fields, Known};
use crate::rejection::{Code, Rejection};
pub use address::{Address, AllowedOrigin, OriginField};
pub use cors::{Cors, Preflight};

/// A persona's part of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginRules {
    /// Who may embed the tenant's personas.
    pub embed: Box<[AllowedOrigin]>,
    pub opens: Opens,
    pub opaque_launch: OpaqueLaunch,
}

/// Where a persona's documents may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opens {
    #[default]
    Anywhere,
    /// Never as a page of its own.
    InFrames,
}

/// What a launch by POST from a page that hides its origin needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpaqueLaunch {
    /// A signature, token or key.
    #[default]
    Proven,
    /// Nothing: the persona is public and unsigned, anyone may launch it.
    Free,
}

/// From where an endpoint may be called by scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    OwnOrigin,
    /// Across origins, with CORS: by every page that may embed.
    EmbedOrigins,
}

impl Reach {
    /// Of an app's own endpoints. Ours, such as the beacon of `embed.js`, are called across origins.
    pub fn of(app: AppKind) -> Self {
        match app {
            AppKind::Rasa | AppKind::SocketIo | AppKind::Sse => Self::EmbedOrigins,
            AppKind::Streamlit | AppKind::Generic => Self::OwnOrigin,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Launch,
    /// Whatever a document asks for.
    Request,
    WebSocket,
}

/// What the request brings along that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    None,
    /// A session cookie: browsers attach it by themselves.
    Cookie,
    /// A signature, token or key that the caller had to know and put there.
    Explicit,
}

/// What the stage looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'r> {
    pub method: &'r Method,
    pub kind: Kind,
    /// Scheme, host and port that the browser used.
    pub own: &'r Address<'r>,
    pub headers: &'r Headers<'r>,
}

/// The header fields that browsers set about a request's origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers<'r> {
    pub origin: OriginField<'r>,
    /// `Sec-Fetch-Site`.
    pub site: Option<&'r [u8]>,
    /// `Sec-Fetch-Dest` is `document`.
    pub is_document: bool,
    /// `Access-Control-Request-Method`.
    pub asked_method: Option<&'r [u8]>,
    /// `Access-Control-Request-Headers`.
    pub asked_headers: Option<&'r [u8]>,
}

impl<'r> Headers<'r> {
    pub fn read(fields: &'r Fields) -> Self {
        let mut headers = Self::default();
        for field in fields.iter() {
            match field.known {
                Known::Origin => headers.origin = headers.origin.and(field.value),
                Known::SecFetchSite => headers.site = Some(field.value),
                Known::SecFetchDest => headers.is_document |= field.value == b"document",
                Known::AccessControl => headers.read_preflight(&field),
                _ => {}
            }
        }
        headers
    }

    fn read_preflight(&mut self, field: &Field<'r>) {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        if is("access-control-request-method") {
            self.asked_method = Some(field.value);
        } else if is("access-control-request-headers") {
            self.asked_headers = Some(field.value);
        }
    }
}

/// Proof that [`OriginRules::check`] let the request pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginChecked<'r> {
    caller: Caller,
    cors: Cors<'r>,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// It did not say.
    Unknown,
    Own,
    Embedder,
    /// A page without an origin of its own: sandboxed, from a file, or without referrer.
    Opaque,
}

impl<'r> OriginChecked<'r> {
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// What CORS adds to the answer, whether it is the app's or a refusal of ours.
    pub fn cors(&self) -> &Cors<'r> {
        &self.cors
    }
}

impl OriginRules {
    /// Answers a CORS preflight, which carries no credentials: to be asked before anything that
    /// needs them. `None` for any other request.
    pub fn preflight<'r>(
        &self,
        reach: Reach,
        facts: &Facts<'r>,
    ) -> Result<Option<Preflight<'r>>, Rejection> {
        let headers = facts.headers;
        let Some(method) = headers.asked_method.filter(|_| facts.method == Method::OPTIONS) else {
            return Ok(None);
        };
        match &headers.origin {
            OriginField::Absent => return Ok(None),
            OriginField::Address(address, _) if address == facts.own => return Ok(None),
            _ => {}
        }
        let refusal = Rejection::new(Code::OriginNotAllowed, "a preflight for another origin");
        let cors = self.cors(reach, facts);
        let preflight = Preflight::new(cors, method, headers.asked_headers);
        preflight.map(Some).ok_or(refusal)
    }

    /// What CORS adds to any answer to this request, a refusal by an earlier stage among them.
    pub fn cors<'r>(&self, reach: Reach, facts: &Facts<'r>) -> Cors<'r> {
        if reach == Reach::OwnOrigin || facts.kind != Kind::Request {
            return Cors::none();
        }
        match &facts.headers.origin {
            OriginField::Address(address, text) if self.embeds(address) => Cors::named(text),
            OriginField::Opaque(text) if self.embeds_files() => Cors::opaque(text),
            _ => Cors::varying(),
        }
    }

    /// Decides whether the request may come from where it says it does.
    pub fn check<'r>(
        &self,
        reach: Reach,
        facts: &Facts<'r>,
        credential: Credential,
    ) -> Result<OriginChecked<'r>, Rejection> {
        if self.opens == Opens::InFrames && facts.headers.is_document {
            return Err(Rejection::new(Code::FrameOnly, "a frame-only persona in a tab"));
        }
        let caller = self.caller(reach, facts, credential)?;
        Ok(OriginChecked { caller, cors: self.cors(reach, facts) })
    }

    /// Decides whether the request comes from a page that may be around the chat, for what only such
    /// a page has to tell. The chat's own pages are none, unless they may embed it too.
    pub fn embedder(&self, headers: &Headers<'_>) -> Result<Caller, Rejection> {
        let refuse = |reason| Err(Rejection::new(Code::OriginNotAllowed, reason));
        match &headers.origin {
            OriginField::Address(address, _) if self.embeds(address) => Ok(Caller::Embedder),
            OriginField::Opaque(_) if self.embeds_files() => Ok(Caller::Opaque),
            OriginField::Address(..) => refuse("an origin that may not embed the chat"),
            OriginField::Opaque(_) => refuse("Origin is null"),
            OriginField::Absent => refuse("no Origin: a page around the chat has one"),
            OriginField::Invalid => refuse("Origin is repeated or malformed"),
        }
    }

    fn caller(
        &self,
        reach: Reach,
        facts: &Facts<'_>,
        credential: Credential,
    ) -> Result<Caller, Rejection> {
        let refuse = |reason| Err(Rejection::new(Code::OriginNotAllowed, reason));
        let is_proven = credential == Credential::Explicit;
        let is_launch = facts.kind == Kind::Launch;
        let is_free = is_launch && self.opaque_launch == OpaqueLaunch::Free;
        let site = facts.headers.site.unwrap_or_default();
        match &facts.headers.origin {
            OriginField::Absent if is_proven || is_free || !facts.asks() => Ok(Caller::Unknown),
            OriginField::Absent if !is_launch && credential == Credential::None => {
                Ok(Caller::Unknown)
            }
            OriginField::Absent => refuse("no Origin, and no token or key"),
            OriginField::Opaque(_) if is_launch && (is_proven || is_free) => Ok(Caller::Opaque),
            OriginField::Opaque(_)
                if facts.kind != Kind::WebSocket && site.eq_ignore_ascii_case(b"same-origin") =>
            {
                Ok(Caller::Own)
            }
            OriginField::Opaque(_)
                if is_proven && reach == Reach::EmbedOrigins && self.embeds_files() =>
            {
                Ok(Caller::Opaque)
            }
            OriginField::Opaque(_) => refuse("Origin is null"),
            OriginField::Address(address, _) if address == facts.own => {
                if site.eq_ignore_ascii_case(b"cross-site") {
                    return refuse("Sec-Fetch-Site contradicts Origin");
                }
                Ok(Caller::Own)
            }
            OriginField::Address(address, _) if self.embeds(address) => {
                if is_launch || reach == Reach::EmbedOrigins {
                    return Ok(Caller::Embedder);
                }
                refuse("an embed origin calls an app that is not called across origins")
            }
            OriginField::Address(..) => refuse("an origin that is not configured"),
            OriginField::Invalid => refuse("Origin is repeated or malformed"),
        }
    }

    fn embeds(&self, address: &Address<'_>) -> bool {
        self.embed.iter().any(|allowed| allowed.admits(address))
    }

    fn embeds_files(&self) -> bool {
        self.embed.iter().any(AllowedOrigin::is_file)
    }
}

impl Facts<'_> {
    /// Whether the request changes something or opens a stream that can.
    fn asks(&self) -> bool {
        let is_safe = matches!(*self.method, Method::GET | Method::HEAD | Method::OPTIONS);
        self.kind == Kind::WebSocket || !is_safe
    }
}
