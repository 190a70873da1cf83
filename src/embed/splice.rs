//! Where our script element goes in a document that streams past.
//!
//! Decides one place in the bytes of an HTML document, as a browser's tokenizer reads them:
//!
//! - right after the first `<head ...>` start tag;
//! - right before whatever else makes a browser open the head by itself: `<body>`, any other
//!   element, an end tag, text;
//! - at the end, where the document is over before that.
//!
//! White space, comments, the doctype, processing instructions and `<html ...>` come before the
//! head and decide nothing. So our script runs before any script of the page, and cannot land in a
//! comment, a title or a script.
//!
//! What must not happen: a byte of the document is lost, changed, repeated or held back without
//! need. At most five bytes wait for what follows them (`<head`); only they are copied.
//!
//! Bytes are read as ASCII, which UTF-8 and the single-byte encodings of the web extend. A document
//! that begins with the mark of UTF-16 gets the tag at its end: there it breaks nothing, and does
//! nothing. [`Splice::fits`] excludes those that say so.

mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::StatusCode;

use crate::http1::fields::{Fields, Known};
use crate::http1::framing::Framing;
use crate::http1::head::ResponseHead;
use scan::{Found, Opening, Scan, TOKEN};

/// One document on its way, and the tag that joins it.
///
/// Whoever moves the document sends [`Splice::own`] first, whenever there is any, and else does
/// with the next piece what [`Splice::look`] says. Once [`Splice::is_over`], every byte passes.
#[derive(Debug)]
pub struct Splice {
    tag: Arc<[u8]>,
    place: Place,
    scan: Scan,
    /// Bytes at the front of the piece that were looked at and pass before anything of ours.
    clear: usize,
    held: Held,
}

/// What to do with the front of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// This many bytes go out from where they lie; say with [`Splice::passed`] how many did.
    Pass(usize),
    /// This many bytes were copied, to go out with [`Splice::own`]: consume them.
    Took(usize),
    /// Something of [`Splice::own`] comes first, or all is over.
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unknown,
    /// Here; this much of the tag was sent.
    Here(usize),
    Behind,
}

/// The beginning of a token that the pieces cut in two.
#[derive(Debug, Default)]
struct Held {
    bytes: [u8; TOKEN],
    len: usize,
    sent: usize,
    /// It is decided about.
    leaves: bool,
}

impl Held {
    fn left(&self) -> &[u8] {
        &self.bytes[self.sent..self.len]
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl Splice {
    pub fn new(tag: Arc<[u8]>) -> Self {
        let place = if tag.is_empty() { Place::Behind } else { Place::Unknown };
        Self { tag, place, scan: Scan::default(), clear: 0, held: Held::default() }
    }

    /// Whether an answer can take a tag: it has a body, that body is whole, and we can read it.
    pub fn fits(head: &ResponseHead) -> bool {
        head.framing.has_body()
            && head.status != StatusCode::PARTIAL_CONTENT
            && !is_encoded(&head.fields)
            && !is_wide(&head.fields)
    }

    /// How the answer is framed with the tag in it.
    pub fn framing(&self, framing: Framing) -> Framing {
        match framing {
            Framing::Length(length) => Framing::Length(length + self.tag.len() as u64),
            framing => framing,
        }
    }

    /// What goes out before anything more of the document.
    pub fn own(&self) -> &[u8] {
        match self.place {
            _ if self.clear > 0 => &[],
            Place::Here(sent) => &self.tag[sent..],
            _ if self.held.leaves => self.held.left(),
            _ => &[],
        }
    }

    /// Tells how many bytes of [`Splice::own`] went out.
    pub fn sent(&mut self, bytes: usize) {
        match &mut self.place {
            Place::Here(sent) => {
                *sent += bytes;
                if *sent >= self.tag.len() {
                    self.place = Place::Behind;
                }
            }
            Place::Unknown | Place::Behind => {
                self.held.sent += bytes;
                if self.held.left().is_empty() {
                    self.held = Held::default();
                }
            }
        }
    }

    /// Looks at the document's next bytes, at least one.
    pub fn look(&mut self, piece: &[u8]) -> Look {
        if self.clear > 0 {
            return Look::Pass(self.clear.min(piece.len()));
        }
        if !self.own().is_empty() || self.is_over() {
            return Look::Own;
        }
        if self.held.len > 0 {
            return self.look_on(piece);
        }
        let (passes, found) = self.scan.run(piece);
        self.clear = passes;
        match found {
            Found::Place => self.place = Place::Here(0),
            Found::Cut if passes == 0 => {
                self.held.add(piece);
                return Look::Took(piece.len());
            }
            // A token that is cut is looked at again, once what stands before it has passed.
            Found::Cut | Found::Nothing => {}
        }
        if passes > 0 { Look::Pass(passes) } else { Look::Own }
    }

    /// Looks at what follows the beginning of a token.
    fn look_on(&mut self, piece: &[u8]) -> Look {
        let mut window = [0; TOKEN + 1];
        let held = self.held.len;
        let seen = piece.len().min(window.len() - held);
        window[..held].copy_from_slice(&self.held.bytes[..held]);
        window[held..held + seen].copy_from_slice(&piece[..seen]);
        let takes = match self.scan.open(&window[..held + seen]) {
            Opening::Cut => seen,
            Opening::Token(len) => {
                self.held.leaves = true;
                len - held
            }
            Opening::Place => {
                self.held.leaves = true;
                self.place = Place::Here(0);
                0
            }
        };
        self.held.add(&piece[..takes]);
        if takes > 0 { Look::Took(takes) } else { Look::Own }
    }

    /// Tells how many bytes that may pass did.
    pub fn passed(&mut self, bytes: usize) {
        self.clear = self.clear.saturating_sub(bytes);
    }

    /// The document has ended, and nothing of [`Splice::own`] is left: a tag without a place goes
    /// here.
    pub fn end(&mut self) {
        if self.place == Place::Unknown {
            self.place = Place::Here(0);
            // Before a tag that was cut off: behind it, ours would be its attributes.
            self.held.leaves = true;
        }
    }

    /// The tag is out and nothing is held.
    pub fn is_over(&self) -> bool {
        self.place == Place::Behind && self.held.len == 0 && self.clear == 0
    }
}

fn is_encoded(fields: &Fields) -> bool {
    fields.all(Known::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Whether its characters are said to be pairs of bytes (the labels of UTF-16 in the Encoding
/// standard, section 4.2).
fn is_wide(fields: &Fields) -> bool {
    const LABELS: [&[u8]; 7] = [
        b"utf-16", // Little and big endian, which follow the name, too.
        b"unicode",
        b"ucs-2",
        b"iso-10646-ucs-2",
        b"csunicode",
        b"unicodefeff",
        b"unicodefffe",
    ];
    fields.all(Known::ContentType).any(|value| {
        value.split(|&byte| byte == b';').skip(1).any(|parameter| {
            let mut halves = parameter.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
            let is_charset = halves.next().is_some_and(|it| it.eq_ignore_ascii_case(b"charset"));
            let label = halves.next().unwrap_or_default();
            let label = label.strip_prefix(b"\"").unwrap_or(label).trim_ascii_start();
            let begins = |name: &&[u8]| {
                label.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name))
            };
            is_charset && LABELS.iter().any(begins)
        })
    })
}
