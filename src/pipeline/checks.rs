//! What any request must be, before it is asked whose it is.

use std::sync::Arc;

use http::Method;

use super::facts::{Ambient, ConnectionFacts};
use super::outcome::{Action, AnswerField, Dress, FileAction, Handshake, Owner};
use super::with_query;
use crate::config::snapshot::Snapshot;
use crate::gate::target::Address;
use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, Version};
use crate::policy::front::folders::{self, Folder, Links, Wanted};
use crate::rejection::{Code, Methods, Rejection};

pub(super) fn expectation(head: &RequestHead) -> Result<(), Rejection> {
    let mut expectations = head.fields.all(Known::Expect);
    let known = expectations.next().is_none_or(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if known && expectations.next().is_none() {
        return Ok(());
    }
    Err(Rejection::new(Code::ExpectationFailed, "an Expect other than 100-continue"))
}

pub(super) fn redirect_to_https(
    snapshot: &Snapshot,
    address: &Address<'_>,
) -> Result<Action, Rejection> {
    if !snapshot.routes.knows_host(&address.host.name) {
        return Err(Rejection::new(Code::NotFound, "no persona or site has this host"));
    }
    let port = match snapshot.server.https.first().map(std::net::SocketAddr::port) {
        None | Some(443 | 0) => String::new(),
        Some(port) => format!(":{port}"),
    };
    let origin = format!("https://{}{port}", address.host.name);
    Ok(Action::Redirect(with_query(&format!("{origin}{}", address.path), address.query)))
}

/// A connection whose certificate is not this host's must not speak for it (RFC 9110, 7.4).
pub(super) fn certificate(
    snapshot: &Snapshot,
    connection: &ConnectionFacts,
    address: &Address<'_>,
) -> Result<(), Rejection> {
    let Some(server_name) = &connection.server_name else { return Ok(()) };
    if **server_name == *address.host.name {
        return Ok(());
    }
    let id = |name: &str| snapshot.certificates.find(name).map(|certificate| certificate.id);
    if id(server_name).is_some() && id(server_name) == id(&address.host.name) {
        return Ok(());
    }
    Err(Rejection::new(Code::Misdirected, "SNI and host have different certificates"))
}

pub(super) fn handshake(head: &RequestHead) -> Result<Option<Handshake>, Rejection> {
    if head.version == Version::Http2 {
        return Ok(head.protocol.as_ref().map(|_| Handshake::Connect));
    }
    let asks = head.version == Version::Http11
        && head.connection.upgrade
        && head.fields.all(Known::Upgrade).any(|value| value.eq_ignore_ascii_case(b"websocket"));
    if !asks {
        return Ok(None);
    }
    let key = head.fields.single(Known::SecWebSocketKey);
    // 16 bytes in base64: 22 characters and "==".
    let sound = head.method == Method::GET
        && head.fields.single(Known::Upgrade).is_some()
        && head.fields.single(Known::SecWebSocketVersion).is_some()
        && key.is_some_and(|key| key.len() == 24 && key.ends_with(b"=="));
    if sound {
        Ok(Some(Handshake::Upgrade))
    } else {
        Err(Rejection::new(Code::UpgradeInvalid, "a malformed WebSocket handshake"))
    }
}

pub(super) fn body_limit(snapshot: &Snapshot, head: &RequestHead) -> Result<(), Rejection> {
    match head.framing {
        Framing::Length(length) if length > snapshot.server.limits.body_bytes => {
            Err(Rejection::new(Code::BodyTooLarge, "Content-Length exceeds body_bytes"))
        }
        _ => Ok(()),
    }
}

/// A request that may not pass without a password.
pub(super) struct Locked {
    refusal: Rejection,
    challenge: String,
}

impl Locked {
    pub fn of(owner: &Owner, head: &RequestHead, ambient: &Ambient<'_>) -> Option<Self> {
        let password = owner.front().password.as_ref()?;
        let is_verified = |attempt: &_| ambient.passwords.is_verified(attempt, ambient.now);
        let refusal = password.check(head, is_verified).err()?;
        Some(Self { refusal, challenge: password.challenge() })
    }

    /// The answer asks for a password.
    pub fn refuse(&self, fields: &mut Vec<AnswerField>) -> Rejection {
        fields.push(("WWW-Authenticate", self.challenge.clone()));
        self.refusal.clone()
    }
}

/// What an ACME client left for its authority, which asks by plain HTTP and by any name.
pub(super) fn challenge(
    snapshot: &Snapshot,
    head: &RequestHead,
    address: &Address<'_>,
) -> Option<Action> {
    let folder = snapshot.server.acme_webroot.as_ref()?;
    folders::challenge(&address.path)?;
    if !is_read(&head.method) {
        return None;
    }
    let file = address.path[1..].to_owned();
    Some(Action::File(Box::new(FileAction {
        wanted: Wanted {
            folder: Folder { path: Arc::clone(folder), links: Links::Followed },
            file,
        },
        media_type: Some("text/plain"),
        as_folder: None,
        dress: Dress::default(),
    })))
}

/// A site's file.
pub(super) fn file(
    wanted: Wanted,
    head: &RequestHead,
    address: &Address<'_>,
    dress: Dress,
) -> Result<Action, Rejection> {
    if !is_read(&head.method) {
        let refusal = Rejection::new(Code::MethodNotAllowed, "files are only read");
        return Err(refusal.allowing(Methods::Read));
    }
    let as_folder = !address.path.ends_with('/');
    let as_folder = as_folder.then(|| with_query(&format!("{}/", address.path), address.query));
    Ok(Action::File(Box::new(FileAction { wanted, media_type: None, as_folder, dress })))
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Navigations, form posts among them. A CORS preflight would not follow.
pub(super) fn may_redirect(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
}
