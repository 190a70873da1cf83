//! Takes a template apart: text, and the places where something else goes.

use std::ops::Range;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use super::Fault;

/// What a template is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    Slot(Slot),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Our script, before everything else in the head.
    Script,
    Frame,
    Slug,
    Name,
}

const TOKENS: [(&str, Slot); 4] = [
    ("RAGTIME_IFRAME", Slot::Frame),
    ("VESTIBULE_IFRAME", Slot::Frame),
    ("DEVICE_SLUG", Slot::Slug),
    ("DEVICE_NAME", Slot::Name),
];

/// Elements whose content is no markup: what escaping does there helps nobody.
const RAW: [&str; 7] = ["iframe", "noembed", "noframes", "plaintext", "script", "style", "xmp"];

/// Elements in which a frame vanishes, or never shows.
const FRAMELESS: [&str; 13] = [
    "audio", "button", "canvas", "math", "noscript", "object", "option", "select", "svg",
    "template", "textarea", "title", "video",
];

/// Attributes that a browser follows as a URL.
const URLS: [&str; 14] = [
    "action",
    "background",
    "cite",
    "data",
    "formaction",
    "href",
    "longdesc",
    "manifest",
    "ping",
    "poster",
    "profile",
    "src",
    "usemap",
    "xlink:href",
];

/// Where the bytes of a template are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Context {
    Text,
    /// Content of one of [`RAW`].
    Raw(String),
    /// The value of this attribute; `quoted` tells what it begins with.
    Value {
        attribute: String,
        quoted: bool,
    },
    Comment,
}

#[derive(Debug)]
struct Region {
    bytes: Range<usize>,
    context: Context,
    /// The innermost of [`FRAMELESS`] around it.
    frameless: Option<String>,
}

/// The regions in which a token may stand, and where our script goes.
struct Map {
    regions: Vec<Region>,
    script: usize,
}

/// All pieces, and all that is wrong.
pub(super) fn read(text: &str) -> (Vec<Piece>, Vec<Fault>) {
    let map = map(text);
    let mut faults = Vec::new();
    let mut slots = vec![(map.script..map.script, Slot::Script)];
    for (range, slot) in tokens(text, &mut faults) {
        let token = &text[range.clone()];
        let region = map
            .regions
            .iter()
            .find(|it| it.bytes.start <= range.start && range.end <= it.bytes.end);
        if region.is_some_and(|it| it.context == Context::Comment) {
            continue;
        }
        match misplaced(text, slot, range.start, region) {
            None => slots.push((range, slot)),
            Some((place, remedy)) => {
                faults.push(fault(text, range.start, format!("{token} stands {place}"), remedy));
            }
        }
    }
    frames(text, &slots, &mut faults);
    // Our script comes before whatever begins at the same place.
    slots.sort_by_key(|(range, _)| range.start);
    faults.sort_by_key(|fault| (fault.line, fault.column));
    (pieces(text, &slots), faults)
}

fn pieces(text: &str, slots: &[(Range<usize>, Slot)]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(slots.len() * 2 + 1);
    let mut at = 0;
    for (range, slot) in slots {
        pieces.push(Piece::Text(text[at..range.start].into()));
        pieces.push(Piece::Slot(*slot));
        at = range.end;
    }
    pieces.push(Piece::Text(text[at..].into()));
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    pieces
}

/// The chat has one frame.
fn frames(text: &str, slots: &[(Range<usize>, Slot)], faults: &mut Vec<Fault>) {
    let mut frames = slots.iter().filter(|(_, slot)| *slot == Slot::Frame);
    let is_misplaced = |fault: &Fault| fault.what.contains("_IFRAME}}");
    match (frames.next(), frames.next()) {
        (Some(_), None) => {}
        (Some(_), Some((second, _))) => {
            let what = format!("{} is the second frame", &text[second.clone()]);
            faults.push(fault(text, second.start, what, "keep one of them: a page has one chat"));
        }
        (None, _) if faults.iter().any(is_misplaced) => {}
        (None, _) => {
            let remedy = "write {{RAGTIME_IFRAME}} where the chat goes";
            faults.push(fault(text, 0, "the chat has no place in it".to_owned(), remedy));
        }
    }
}

/// Where a token stands, if it may not stand there, and what to do.
fn misplaced(
    text: &str,
    slot: Slot,
    at: usize,
    region: Option<&Region>,
) -> Option<(String, &'static str)> {
    const TEXT: &str = "put it into a data- attribute, \"in quotes\", and read it from there";
    const FRAME: &str = "put it between elements of the body";
    let Some(region) = region else {
        return Some(("inside a tag".to_owned(), if slot == Slot::Frame { FRAME } else { TEXT }));
    };
    match &region.context {
        Context::Comment => None,
        Context::Raw(element) => {
            let remedy = if slot == Slot::Frame { FRAME } else { TEXT };
            Some((format!("inside <{element}>, where escaping does not help"), remedy))
        }
        Context::Text => {
            if slot != Slot::Frame && makes_a_tag(&text[region.bytes.start..at]) {
                let what = "right behind `<`, where it would become a tag".to_owned();
                return Some((what, "write &lt; for a bracket that is text"));
            }
            let element = region.frameless.as_ref().filter(|_| slot == Slot::Frame)?;
            Some((format!("inside <{element}>, where no frame shows"), FRAME))
        }
        Context::Value { attribute, .. } if slot == Slot::Frame => {
            Some((format!("in the attribute `{attribute}`"), FRAME))
        }
        Context::Value { attribute, quoted: false } => {
            let remedy = "put the value \"in quotes\"";
            Some((format!("in the attribute `{attribute}` without quotes"), remedy))
        }
        Context::Value { attribute, quoted: true } => {
            let attribute = &**attribute;
            if attribute.starts_with("on") || matches!(attribute, "style" | "srcdoc" | "srcset") {
                let what = format!("in the attribute `{attribute}`, where escaping does not help");
                return Some((what, TEXT));
            }
            let before = text[region.bytes.start..at].trim_start_matches(|it: char| it <= ' ');
            if URLS.contains(&attribute) && is_code(before) {
                let what = format!("in the code that `{attribute}` holds");
                return Some((what, TEXT));
            }
            if slot == Slot::Name && URLS.contains(&attribute) && before.is_empty() {
                let what = format!("at the beginning of the URL in `{attribute}`");
                return Some((what, "begin the URL with a path or a scheme of your own"));
            }
            None
        }
    }
}

/// A URL that is itself a program or a document; browsers overlook tabs and line ends in its scheme.
fn is_code(url: &str) -> bool {
    let written: String = url.chars().filter(|it| !matches!(it, '\t' | '\r' | '\n')).collect();
    let written = written.to_ascii_lowercase();
    ["javascript:", "data:", "vbscript:"].iter().any(|scheme| written.starts_with(scheme))
}

/// Whether letters after this text would go into a tag's name.
fn makes_a_tag(before: &str) -> bool {
    let word = before.rsplit(|it: char| it == '>' || it.is_ascii_whitespace()).next();
    word.is_some_and(|word| word.contains('<'))
}

/// Every token of ours, and a warning for each that seems to be meant as one.
fn tokens(text: &str, faults: &mut Vec<Fault>) -> Vec<(Range<usize>, Slot)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("{{").map(|at| from + at) {
        from = at + 1;
        let inside = &text[at + 2..];
        if let Some((name, slot)) = TOKENS
            .iter()
            .find(|(name, _)| inside.strip_prefix(name).is_some_and(|rest| rest.starts_with("}}")))
        {
            from = at + 2 + name.len() + 2;
            found.push((at..from, *slot));
            continue;
        }
        let written = inside.split_once("}}").map(|(written, _)| written);
        if let Some(meant) = written.and_then(meant) {
            let what = format!("{{{{{}}}}} is not a token", written.unwrap_or_default());
            let mut fault = fault(text, at, what, meant);
            fault.is_warning = true;
            faults.push(fault);
        }
    }
    found
}

/// What somebody meant who wrote this; other software has braces too.
fn meant(written: &str) -> Option<&'static str> {
    const REMEDIES: [(&str, &str); 4] = [
        ("RAGTIME_IFRAME", "write {{RAGTIME_IFRAME}}, or leave it if it is for other software"),
        ("VESTIBULE_IFRAME", "write {{VESTIBULE_IFRAME}}, or leave it if it is for other software"),
        ("DEVICE_SLUG", "write {{DEVICE_SLUG}}, or leave it if it is for other software"),
        ("DEVICE_NAME", "write {{DEVICE_NAME}}, or leave it if it is for other software"),
    ];
    if written.len() > 40 || written.contains('{') {
        return None;
    }
    let written = written.trim().to_ascii_uppercase();
    let close = |name: &str| strsim::osa_distance(&written, name) <= 2;
    REMEDIES.iter().find(|(name, _)| close(name)).map(|(_, remedy)| *remedy)
}

fn fault(text: &str, at: usize, what: String, remedy: &'static str) -> Fault {
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Fault {
        line: before.matches('\n').count() + 1,
        column: before[start..].chars().count() + 1,
        what,
        remedy,
        is_warning: false,
    }
}

fn map(text: &str) -> Map {
    let mut reader = Reader {
        text,
        map: Map { regions: Vec::new(), script: text.len() },
        has_script: false,
        tag: String::new(),
        tag_start: 0,
        attribute: String::new(),
        raw: None,
        frameless: Vec::new(),
    };
    let mut emitter =
        CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| -> Option<()> {
            reader.event(event, span.start..span.end);
            None
        });
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(text, emitter) {
        let Ok(()) = token;
    }
    reader.map
}

/// What has been read of the element that we are in.
struct Reader<'t> {
    text: &'t str,
    map: Map,
    has_script: bool,
    tag: String,
    tag_start: usize,
    attribute: String,
    /// Inside one of [`RAW`].
    raw: Option<String>,
    /// Those of [`FRAMELESS`] that are open.
    frameless: Vec<String>,
}

impl Reader<'_> {
    fn event(&mut self, event: CallbackEvent<'_>, bytes: Range<usize>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = lossy(name);
                self.tag_start = bytes.start;
            }
            CallbackEvent::AttributeName { name } => self.attribute = lossy(name),
            CallbackEvent::AttributeValue { .. } => {
                let before = bytes.start.checked_sub(1).and_then(|at| self.text.as_bytes().get(at));
                let quoted = matches!(before, Some(b'"' | b'\''));
                let context = Context::Value { attribute: self.attribute.clone(), quoted };
                self.region(bytes, context);
            }
            CallbackEvent::CloseStartTag { .. } => self.opened(bytes.end),
            CallbackEvent::EndTag { name } => {
                let name = lossy(name);
                self.place_script(bytes.start);
                self.raw = None;
                if let Some(at) = self.frameless.iter().rposition(|open| *open == name) {
                    self.frameless.truncate(at);
                }
            }
            CallbackEvent::String { value } => {
                if !value.trim_ascii().is_empty() {
                    self.place_script(bytes.start);
                }
                let context = self.raw.clone().map_or(Context::Text, Context::Raw);
                self.region(bytes, context);
            }
            CallbackEvent::Comment { .. } => self.region(bytes, Context::Comment),
            CallbackEvent::Doctype { .. } | CallbackEvent::Error(_) => {}
        }
    }

    fn opened(&mut self, end: usize) {
        match &*self.tag {
            "html" => {}
            "head" => self.place_script(end),
            _ => self.place_script(self.tag_start),
        }
        if RAW.contains(&&*self.tag) {
            self.raw = Some(self.tag.clone());
        } else if FRAMELESS.contains(&&*self.tag) {
            self.frameless.push(self.tag.clone());
        }
    }

    /// Once: where the head begins.
    fn place_script(&mut self, at: usize) {
        if !self.has_script {
            self.has_script = true;
            self.map.script = at;
        }
    }

    fn region(&mut self, bytes: Range<usize>, context: Context) {
        let frameless = self.frameless.last().cloned();
        self.map.regions.push(Region { bytes, context, frameless });
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
