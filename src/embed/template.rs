//! Templates: the page that a customer writes around the chat.
//!
//! Decides what in a template is a token, whether it may stand where it stands, and what the page
//! is for one device. A template is read once, when the configuration is; what is left to do for a
//! request is to put the chat's address in its place.
//!
//! | token | becomes | may stand |
//! | --- | --- | --- |
//! | `{{RAGTIME_IFRAME}}`, `{{VESTIBULE_IFRAME}}` | the chat's frame; exactly one of them, once | between elements |
//! | `{{DEVICE_SLUG}}`, `{{DEVICE_NAME}}` | the device's segment and name, escaped | in text, and in quoted attributes |
//!
//! Escaping makes text harmless in text and in quoted attributes, and nowhere else: a token in a
//! script, a style, an event handler, an unquoted attribute, or at the beginning of a URL is
//! refused. Comments stay as they are. What was put in is never looked at again.
//!
//! The template is read by a tokenizer of the WHATWG's rules, as a browser reads it. Browsers also
//! move things about while they build a tree (a frame inside `<select>` vanishes); the elements in
//! which a frame cannot live are refused by name.
//!
//! What must not happen: a device's name becomes markup or script.

mod read;
#[cfg(test)]
mod tests;

use super::escape;
use read::{Piece, Slot};

/// More than any page that a person writes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The template of those that have none.
pub const PLAIN: &str = include_str!("template/plain.html");

/// Where the frame goes in a page that shows the chat beside itself.
const PLACE: &str = "<div data-vestibule-place style=\"width:100%;height:100%\"></div>";

/// A template that was read without a fault.
#[derive(Debug, Clone)]
pub struct Template(Vec<Piece>);

/// Something that stands wrong in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line and column, both from one.
    pub line: usize,
    pub column: usize,
    pub what: String,
    pub remedy: &'static str,
    /// The template can be used in spite of it.
    pub is_warning: bool,
}

/// What the device is called in a page.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    pub slug: &'a str,
    pub name: &'a str,
}

/// How the page runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// As a page of the host's own origin.
    None,
    /// In a sandbox with an opaque origin, beside the chat: the host is other tenants' too.
    Sandbox,
}

/// A page that lacks nothing but the chat's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    before: Box<str>,
    after: Box<str>,
}

impl Template {
    /// Reads a template. Nothing but faults where one of them is more than a warning.
    pub fn parse(text: &str) -> (Option<Template>, Vec<Fault>) {
        let (pieces, faults) = read::read(text);
        let is_usable = faults.iter().all(|fault| fault.is_warning);
        (is_usable.then_some(Template(pieces)), faults)
    }

    /// The page of one device. `script` is where our script is, `origins` who may talk with it.
    pub fn shell(&self, named: Named<'_>, isolation: Isolation, script: &Script<'_>) -> Shell {
        match isolation {
            Isolation::None => self.page(named, &script.tag("shell")),
            Isolation::Sandbox => self.stage(named, script),
        }
    }

    /// The template itself, with the frame in it.
    fn page(&self, named: Named<'_>, tag: &str) -> Shell {
        let mut shell = Shell { before: Box::default(), after: Box::default() };
        let mut page = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => page.push_str(text),
                Piece::Slot(Slot::Script) => page.push_str(tag),
                Piece::Slot(Slot::Slug) => escape(named.slug, &mut page),
                Piece::Slot(Slot::Name) => escape(named.name, &mut page),
                Piece::Slot(Slot::Frame) => {
                    page.push_str(FRAME_BEFORE);
                    shell.before = std::mem::take(&mut page).into();
                    page.push_str(FRAME_AFTER);
                }
            }
        }
        shell.after = page.into();
        shell
    }

    /// A page of ours with the template in one frame and the chat in another, which our script lays
    /// over its place in the template. A frame inside a sandbox would be sandboxed as well, whatever
    /// it shows: the chat cannot live there.
    fn stage(&self, named: Named<'_>, script: &Script<'_>) -> Shell {
        let mut inside = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => inside.push_str(text),
                Piece::Slot(Slot::Script) => inside.push_str(&script.tag("template")),
                Piece::Slot(Slot::Slug) => escape(named.slug, &mut inside),
                Piece::Slot(Slot::Name) => escape(named.name, &mut inside),
                Piece::Slot(Slot::Frame) => inside.push_str(PLACE),
            }
        }
        let mut before = String::from(STAGE_HEAD);
        before.push_str(&script.tag("stage"));
        before.push_str(STAGE_BODY);
        escape(&inside, &mut before);
        before.push_str("\"></iframe>\n");
        before.push_str(FRAME_BEFORE);
        let after = [FRAME_AFTER, "\n</body>\n</html>\n"].concat();
        Shell { before: before.into(), after: after.into() }
    }
}

const FRAME_BEFORE: &str = "<iframe name=\"ragtime-chat\" title=\"Chat\" data-vestibule-chat allow=\"microphone\" \
     width=\"100%\" height=\"100%\" style=\"border:0\" src=\"";
const FRAME_AFTER: &str = "\"></iframe>";

const STAGE_HEAD: &str = "<!doctype html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Chat</title>\n\
    <style>html,body{height:100%;margin:0;overflow:hidden}iframe{border:0;display:block}\
    [data-vestibule-template]{width:100%;height:100%}\
    [data-vestibule-chat]{position:fixed;visibility:hidden}</style>\n";
const STAGE_BODY: &str = "\n</head>\n<body>\n<iframe data-vestibule-template title=\"Page\" \
    sandbox=\"allow-scripts allow-forms allow-modals allow-popups allow-popups-to-escape-sandbox \
    allow-downloads\" srcdoc=\"";

impl Shell {
    /// The page with the chat's address.
    pub fn with(&self, address: &str) -> String {
        let length = self.before.len() + address.len() + self.after.len() + 64;
        let mut page = String::with_capacity(length);
        page.push_str(&self.before);
        escape(address, &mut page);
        page.push_str(&self.after);
        page
    }
}

/// The element that loads our script into a shell.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// The persona's path without its last slash.
    pub base: &'a str,
    /// The pages around the shell that may talk with the chat, separated by spaces.
    pub origins: &'a str,
}

impl Script<'_> {
    fn tag(&self, part: &str) -> String {
        let mut tag = String::from("<script src=\"");
        escape(self.base, &mut tag);
        tag.push_str("/.vestibule/shell.js\" data-part=\"");
        tag.push_str(part);
        // Who the template may talk to is the stage's business.
        if part != "template" {
            tag.push_str("\" data-origins=\"");
            escape(self.origins, &mut tag);
        }
        tag.push_str("\"></script>");
        tag
    }
}
