//! What a launch injects: `instructionOverrides`, which the app adds to its instructions, and
//! `prefillMessages`, which it only shows.
//!
//! | where it comes from | how it is written |
//! | --- | --- |
//! | a form | JSON text |
//! | a query | base64 of JSON text: standard or URL alphabet, padded or not; UTF-8, else Latin-1, which is what `btoa` makes |
//!
//! Decides in this order: may this persona be injected at all (403); is it JSON of the shape that
//! is documented, each name once and no other (400); is it within its limits (422). The first group
//! in which anything is wrong answers, whichever of the two parameters it is. Lengths are UTF-16
//! units, as the browser's `length` counts. A message that is too long is cut, not refused.
//!
//! What comes out is JSON that we wrote: what was checked is what the app reads, whatever its
//! parser makes of repeated names or odd spellings. No text of it may reach a log, an error or a
//! `Debug`.

mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::query::{Pair, RawPair, raw_pairs, serialise};
use crate::rejection::{Code, Rejection};
use read::{Messages, Overrides};

/// UTF-16 units of `customInstructions.value`.
pub const MAX_CUSTOM: usize = 7_500;
/// UTF-16 units of `openingInstructions.value`.
pub const MAX_OPENING: usize = 2_000;
pub const MAX_MESSAGES: usize = 50;
/// UTF-16 units of a message's `content`; what is beyond is cut off.
pub const MAX_CONTENT: usize = 2_000;

/// The names of the parameters.
pub const NAMES: [&str; 2] = [OVERRIDES, PREFILL];
const OVERRIDES: &str = "instructionOverrides";
const PREFILL: &str = "prefillMessages";

/// The persona's part of the configuration, where injection is enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectionPolicy {
    Custom,
    /// The app answers from a template that takes no instructions: everything is refused.
    Preset,
}

/// Witness: this may be injected. Both parts are JSON in its one canonical spelling.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Injection {
    overrides: Option<Box<str>>,
    prefill: Option<Box<str>>,
}

impl Injection {
    /// What a launch of the process before has brought: it was decided about there.
    pub fn from_parts(overrides: Option<Box<str>>, prefill: Option<Box<str>>) -> Self {
        Self { overrides, prefill }
    }

    /// A JSON object, where the launch brought one.
    pub fn instruction_overrides(&self) -> Option<&str> {
        self.overrides.as_deref()
    }

    /// A JSON array, where the launch brought one.
    pub fn prefill_messages(&self) -> Option<&str> {
        self.prefill.as_deref()
    }

    pub fn is_empty(&self) -> bool {
        self.overrides.is_none() && self.prefill.is_none()
    }

    pub fn bytes(&self) -> usize {
        [&self.overrides, &self.prefill].into_iter().flatten().map(|json| json.len()).sum()
    }

    /// What stands in a query that is forwarded, for one of [`NAMES`]: padded standard base64 of
    /// JSON in ASCII, so that every decoder reads the same, whatever it takes the bytes for.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let json = match name {
            OVERRIDES => self.overrides.as_deref(),
            PREFILL => self.prefill.as_deref(),
            _ => None,
        };
        json.map(|json| BASE64_STANDARD.encode(ascii(json)))
    }

    /// A query with what was checked in the place of what was sent. Everything else stays byte for
    /// byte.
    pub fn rewritten<'q>(&self, query: &'q str) -> Cow<'q, str> {
        let ours = |piece: &'q str| {
            let pair = raw_pairs(piece.as_bytes()).next()?;
            let name = NAMES.into_iter().find(|name| pair.is(name))?;
            Some((name, self.query_value(name)?))
        };
        if self.is_empty() || !raw_pairs(query.as_bytes()).any(is_ours) {
            return Cow::Borrowed(query);
        }
        let mut out = String::with_capacity(query.len());
        for (index, piece) in query.split('&').enumerate() {
            if index > 0 {
                out.push('&');
            }
            match ours(piece) {
                Some((name, value)) => {
                    serialise([&Pair { name: name.into(), value: value.into() }], &mut out);
                }
                None => out.push_str(piece),
            }
        }
        Cow::Owned(out)
    }
}

/// One of [`NAMES`], in any spelling.
pub fn is_ours(pair: RawPair<'_>) -> bool {
    NAMES.into_iter().any(|name| pair.is(name))
}

/// Sizes only.
impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.overrides, &self.prefill) {
            (None, None) => f.write_str("nothing"),
            (Some(json), None) => write!(f, "{OVERRIDES} ({} bytes)", json.len()),
            (None, Some(json)) => write!(f, "{PREFILL} ({} bytes)", json.len()),
            (Some(one), Some(other)) => {
                write!(f, "{OVERRIDES} ({} bytes), {PREFILL} ({} bytes)", one.len(), other.len())
            }
        }
    }
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Injection({self})")
    }
}

/// Decides about what one launch injects. `policy` is none where injection is not enabled; `form`
/// is empty where the launch is a GET.
pub fn decide<'q>(
    policy: Option<InjectionPolicy>,
    query: impl IntoIterator<Item = Pair<'q>>,
    form: impl IntoIterator<Item = Pair<'q>>,
) -> Result<Injection, Rejection> {
    let Some(given) = Given::pick(query, form) else { return Ok(Injection::default()) };
    let refused = |detail| {
        let reason = "the persona takes nothing that is injected";
        Err(Rejection::new(Code::InjectionNotAllowed, reason).with_detail(detail))
    };
    match policy {
        None => return refused("Injection is not enabled for this chat."),
        Some(InjectionPolicy::Preset) => {
            return refused("This chat is a preset, which takes no instructions.");
        }
        Some(InjectionPolicy::Custom) => {}
    }
    if let Some(name) = given.repeated {
        let reason = "something injected is given more than once";
        return Err(Rejection::new(Code::ParameterDuplicate, reason)
            .with_detail(format!("{name} is given more than once.")));
    }
    let overrides = given.overrides.map(|one| one.json(OVERRIDES)).transpose()?;
    let prefill = given.prefill.map(|one| one.json(PREFILL)).transpose()?;
    let overrides = overrides.as_deref().map(read::overrides).transpose()?;
    let prefill = prefill.as_deref().map(read::messages).transpose()?;
    // Only now: nothing is over a limit while anything is malformed.
    let overrides = overrides.map(Overrides::within_limits).transpose()?;
    let prefill = prefill.map(Messages::within_limits).transpose()?;
    Ok(Injection {
        overrides: overrides.as_ref().map(json),
        prefill: prefill.as_ref().map(|messages| json(&messages.kept)),
    })
}

fn json(value: &impl Serialize) -> Box<str> {
    serde_json::to_string(value).expect("texts and words are JSON").into()
}

/// The parameters as they were sent.
#[derive(Default)]
struct Given<'q> {
    overrides: Option<Sent<'q>>,
    prefill: Option<Sent<'q>>,
    repeated: Option<&'static str>,
}

struct Sent<'q> {
    value: Cow<'q, str>,
    by: Delivery,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Query,
    Form,
}

impl<'q> Given<'q> {
    /// Nothing where there is nothing.
    fn pick(
        query: impl IntoIterator<Item = Pair<'q>>,
        form: impl IntoIterator<Item = Pair<'q>>,
    ) -> Option<Self> {
        let mut given = Self::default();
        let query = query.into_iter().map(|pair| (pair, Delivery::Query));
        for (pair, by) in query.chain(form.into_iter().map(|pair| (pair, Delivery::Form))) {
            let (name, place) = match &*pair.name {
                OVERRIDES => (OVERRIDES, &mut given.overrides),
                PREFILL => (PREFILL, &mut given.prefill),
                _ => continue,
            };
            if place.replace(Sent { value: pair.value, by }).is_some() {
                given.repeated.get_or_insert(name);
            }
        }
        (given.overrides.is_some() || given.prefill.is_some()).then_some(given)
    }
}

impl<'q> Sent<'q> {
    fn json(self, name: &'static str) -> Result<Cow<'q, str>, Rejection> {
        match self.by {
            Delivery::Form => Ok(self.value),
            Delivery::Query => from_base64(&self.value, name).map(Cow::Owned),
        }
    }
}

fn from_base64(text: &str, name: &'static str) -> Result<String, Rejection> {
    const EITHER_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const OF_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, EITHER_PADDING);
    const OF_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, EITHER_PADDING);
    let engine = if text.contains(['-', '_']) { OF_URLS } else { OF_STANDARD };
    let bytes = engine.decode(text).map_err(|_| {
        let what = match text.contains(' ') {
            true => "is not base64: a `+` of it was not escaped as %2B",
            false => "is not base64, which it is in a query",
        };
        read::malformed(format_args!("{name} {what}"))
    })?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| error.as_bytes().iter().map(|&byte| char::from(byte)).collect()))
}

/// The same JSON in ASCII: beyond it stand only characters of texts, and those can be escaped.
fn ascii(json: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}
