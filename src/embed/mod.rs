//! What we add to an app so that it can be embedded: the bridge, and pages around its chat.
//!
//! The bridge is a script. It answers the embed handshake in the app's place and completes the
//! identity of the session with Vestibule, so that the app needs no code for either. This module
//! holds the script, the element that loads it, the way of that element into a streaming document
//! ([`splice`]), the reading of what the script posts ([`config`]), the pages of our own that a
//! frame may show ([`pages`]), and the pages of customers around a chat ([`template`], with a script
//! that carries messages through them). It decides nothing about who may pass: that is [`crate::policy`]'s.
//!
//! # The protocol, for whoever writes the page around the frame
//!
//! | from | message | when |
//! | --- | --- | --- |
//! | frame | `{type: "chat-embed-ready"}` | the document begins to load; again at its `load` event, if no configuration has come |
//! | page | `{type: "chat-embed-config", payload}` | whenever it knows its user, before or after `ready`, as often as it likes |
//! | frame | `{type: "chat-embed-ack"}` | the session is that user's; once for each configuration that was the latest when it was answered |
//! | frame | `{type: "chat-embed-error", code, title}` | it was refused; `code` is one of the README's table, `network_error` or `answer_invalid` |
//!
//! Each message of the frame has a `launch` too: which document it is of, for the page to repeat where it
//! tells how the handshake went ([`crate::policy::beacon`]). It is no secret; pages may ignore it.
//!
//! `payload` has `mode`, `user_id`, `require_user_id`, `allow_generated_id` and `direction`, by the
//! rules of a launch's query; [`config`] says which types they may have. Other members stay in the
//! page: the script does not send them.
//!
//! - Post to the frame's origin, not to `"*"`, and look at `event.origin` of what comes back.
//! - The page's origin must be among the tenant's `embed_origins`. The script ignores configurations
//!   of others, with a warning in the console, and of windows that are not its parent.
//! - When several come quickly, the latest counts; those it overtakes are not acknowledged.
//! - A configuration that the session has already is acknowledged. Another one starts a new
//!   session: the frame acknowledges and loads the chat anew by itself.
//! - A configuration that finds no document in the frame, because one gives way to the next, is
//!   lost. Who changes users faster than a chat loads posts the latest at each `ready`.
//! - Changing the frame's `src` at the same time is fine: the script then leaves navigation to the
//!   page, and the next document acknowledges, up to ten seconds later, what this one could not.
//!   Where the browser refuses storage, a document with a `user_id` in its URL acknowledges without
//!   being asked, since it cannot know whether the one before it was.
//!
//! # For whoever writes the app
//!
//! An app behind `bridge = true` should not answer `chat-embed-config` itself. The script runs
//! before any other, sets no globals, and uses `sessionStorage` for ten seconds at most, where it
//! may. A `<meta>` policy of the app must allow `connect-src 'self'`; header policies we extend.
//!
//! # Where it must not fail
//!
//! The script speaks to its parent and to its own origin alone, tells nobody what a configuration
//! held, and acknowledges nothing that the server has not confirmed.

pub mod config;
pub mod pages;
pub mod splice;
pub mod template;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::policy::origin::AllowedOrigin;

/// The bridge script; served as `text/javascript; charset=utf-8` at `BASE/.vestibule/bridge.js`.
pub const BRIDGE_JS: &str = include_str!("bridge.js");

/// How long browsers may keep a script of ours. A document waits for it, so that asking each time would
/// cost a round trip; versions understand each other.
pub const SCRIPT_CACHE_CONTROL: &str = "public, max-age=300";

/// The shells' script; served like the bridge, as `shell.js`.
pub const SHELL_JS: &str = include_str!("shell.js");

/// The strong entity tag of [`BRIDGE_JS`], with its quotes.
pub fn bridge_etag() -> &'static str {
    static ETAG: LazyLock<String> = LazyLock::new(|| etag(BRIDGE_JS));
    &ETAG
}

/// The strong entity tag of [`SHELL_JS`], with its quotes.
pub fn shell_etag() -> &'static str {
    static ETAG: LazyLock<String> = LazyLock::new(|| etag(SHELL_JS));
    &ETAG
}

fn etag(text: &str) -> String {
    let hash = Sha256::digest(text);
    let mut etag = String::from("\"");
    for byte in &hash[..16] {
        let _ = write!(etag, "{byte:02x}");
    }
    etag + "\""
}

/// The element that loads the bridge. `origins`, separated by spaces, are those that may say who is
/// asking; `base` is the persona's path without its last slash.
///
/// It stands at the very start of the head, and browsers look for `<meta charset>` in the first
/// 1024 bytes: an app that does not declare its charset in Content-Type bears few origins.
fn tag(base: &str, origins: &str, own: Own<'_>) -> String {
    let mut tag = String::from("<script src=\"");
    escape(base, &mut tag);
    tag.push_str("/.vestibule/bridge.js\" data-base=\"");
    escape(base, &mut tag);
    tag.push_str("\" data-origins=\"");
    escape(origins, &mut tag);
    for (name, value) in [("\" data-launch=\"", own.launch), ("\" nonce=\"", own.nonce)] {
        if let Some(value) = value {
            tag.push_str(name);
            escape(value, &mut tag);
        }
    }
    tag.push_str("\"></script>");
    tag
}

/// What the element says of one document alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own<'a> {
    /// The request that brought it ([`crate::policy::beacon::launch`]).
    pub launch: Option<&'a str>,
    /// What its own policy asks for ([`crate::policy::csp::OwnScript`]).
    pub nonce: Option<&'a str>,
}

/// Who may be around a document with a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// A page that embeds it.
    Page,
    /// That, or a shell, which passes on what such a page says.
    PageOrShell,
}

/// A persona's bridge: what the elements of all its documents say.
#[derive(Debug, Clone)]
pub struct Bridge {
    base: Box<str>,
    origins: Box<str>,
}

impl Bridge {
    pub fn new(base: &str, embed: &[AllowedOrigin], around: Around) -> Self {
        let own = (around == Around::PageOrShell).then_some("'self'");
        let origins: Vec<_> =
            own.into_iter().chain(embed.iter().map(AllowedOrigin::as_str)).collect();
        let origins = origins.join(" ").into_boxed_str();
        Self { base: base.into(), origins }
    }

    /// The element for a document of the persona, or of its device.
    pub fn element(&self, device: Option<&str>, own: Own<'_>) -> String {
        match device {
            None => tag(&self.base, &self.origins, own),
            Some(device) => tag(&format!("{}/{device}", self.base), &self.origins, own),
        }
    }
}

/// Request fields that ask for less than the whole document as it is: they do not go upstream
/// where a tag joins the answer, and `Accept-Encoding: identity` does.
pub fn asks_for_less(name: &[u8]) -> bool {
    const FIELDS: [&str; 7] = [
        "accept-encoding",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
    ];
    is_one_of(name, &FIELDS)
}

/// Response fields that tell about the document as it was before a tag joined it: they do not
/// reach the client. Without a validator a browser cannot keep a document whose tag has changed.
pub fn tells_of_original(name: &[u8]) -> bool {
    const FIELDS: [&str; 7] = [
        "accept-ranges",
        "content-digest",
        "content-md5",
        "digest",
        "etag",
        "last-modified",
        "repr-digest",
    ];
    is_one_of(name, &FIELDS)
}

fn is_one_of(name: &[u8], fields: &[&str]) -> bool {
    fields.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
}

/// Text as it may stand in an element and in a quoted attribute.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}
