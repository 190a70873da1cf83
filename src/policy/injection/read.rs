//! The two documents, read strictly: the shape that is documented, each name once and no other.
//!
//! An error names the place, as in `prefillMessages[3].role`, and never what stands there. Nesting
//! costs no stack, since what is not ours is skipped and what is ours has a fixed depth; a list
//! costs no more memory than the messages that are kept of it.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{MAX_CONTENT, MAX_CUSTOM, MAX_MESSAGES, MAX_OPENING, OVERRIDES, PREFILL};
use crate::rejection::{Code, Rejection};

/// `instructionOverrides`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Overrides<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_instructions: Option<Instructions<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opening_instructions: Option<Instructions<'t>>,
}

#[derive(Serialize)]
struct Instructions<'t> {
    value: Cow<'t, str>,
    mode: Mode,
}

/// What becomes of the instructions that the app has already.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Replace,
    Append,
}

/// `prefillMessages`.
pub(super) struct Messages<'t> {
    /// At most [`MAX_MESSAGES`]; those of an unknown type are not among them.
    pub kept: Vec<Message<'t>>,
    count: usize,
    /// The first message of another type than `message`.
    unknown: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct Message<'t> {
    r#type: &'static str,
    role: Role,
    content: Cow<'t, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

pub(super) fn overrides(json: &str) -> Result<Overrides<'_>, Rejection> {
    let at = At::top(OVERRIDES);
    let names = ["customInstructions", "openingInstructions"];
    let object = object(document(json, at)?, at, names)?;
    object.refuse_unknown(at)?;
    let read = |index: usize| {
        object.fields[index].map(|value| instructions(value, at.name(names[index]))).transpose()
    };
    Ok(Overrides { custom_instructions: read(0)?, opening_instructions: read(1)? })
}

fn instructions<'t>(json: &'t RawValue, at: At<'_>) -> Result<Instructions<'t>, Rejection> {
    let object = object(json, at, ["value", "mode"])?;
    object.refuse_unknown(at)?;
    let value = object.text(0, at.name("value"))?;
    let at = at.name("mode");
    let mode = match &*object.text(1, at)? {
        "replace" => Mode::Replace,
        "append" => Mode::Append,
        _ => return Err(at.is("is neither replace nor append")),
    };
    Ok(Instructions { value, mode })
}

pub(super) fn messages(json: &str) -> Result<Messages<'_>, Rejection> {
    let at = At::top(PREFILL);
    let mut messages = Messages { kept: Vec::new(), count: 0, unknown: None };
    each(document(json, at)?, at, |index, json| {
        messages.count += 1;
        match message(json, at.index(index))? {
            None => messages.unknown = messages.unknown.or(Some(index)),
            Some(message) if messages.kept.len() < MAX_MESSAGES => messages.kept.push(message),
            Some(_) => {}
        }
        Ok(())
    })?;
    Ok(messages)
}

/// Nothing for one of another type: which fields that has is not known here.
fn message<'t>(json: &'t RawValue, at: At<'_>) -> Result<Option<Message<'t>>, Rejection> {
    const TYPE: &str = "message";
    let object = object(json, at, ["type", "role", "content"])?;
    if *object.text(0, at.name("type"))? != *TYPE {
        return Ok(None);
    }
    object.refuse_unknown(at)?;
    let content = object.text(2, at.name("content"))?;
    let at = at.name("role");
    let role = match &*object.text(1, at)? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(at.is("is neither user nor assistant")),
    };
    Ok(Some(Message { r#type: TYPE, role, content }))
}

impl Overrides<'_> {
    pub fn within_limits(self) -> Result<Self, Rejection> {
        let at = At::top(OVERRIDES);
        for (name, instructions, most) in [
            ("customInstructions", &self.custom_instructions, MAX_CUSTOM),
            ("openingInstructions", &self.opening_instructions, MAX_OPENING),
        ] {
            let length = instructions.as_ref().map_or(0, |one| units(&one.value));
            if length > most {
                let at = at.name(name);
                let detail = format_args!(
                    "{} has {length} characters and may have {most}.",
                    at.name("value")
                );
                return Err(over("instructions are over their limit", detail));
            }
        }
        Ok(self)
    }
}

impl Messages<'_> {
    /// What is beyond the limit of a message is cut off.
    pub fn within_limits(mut self) -> Result<Self, Rejection> {
        if self.count > MAX_MESSAGES {
            let detail =
                format_args!("{PREFILL} has {} messages and may have {MAX_MESSAGES}.", self.count);
            return Err(over("too many messages", detail));
        }
        if let Some(index) = self.unknown {
            let reason = "a message of a type that is not known";
            let at = At::top(PREFILL);
            let detail = format!("{} is not known.", at.index(index).name("type"));
            return Err(Rejection::new(Code::MessageTypeUnknown, reason).with_detail(detail));
        }
        for message in &mut self.kept {
            if let Some(end) = cut(&message.content) {
                message.content.to_mut().truncate(end);
            }
        }
        Ok(self)
    }
}

fn over(reason: &'static str, detail: fmt::Arguments<'_>) -> Rejection {
    Rejection::new(Code::ContentOverLimit, reason).with_detail(detail.to_string())
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Where a message that is too long ends: before a character that needs two units and has room
/// for one.
fn cut(text: &str) -> Option<usize> {
    let mut units = 0;
    // A text has at least as many bytes as units.
    let mut characters = (text.len() > MAX_CONTENT).then(|| text.char_indices())?;
    characters
        .find(|(_, character)| {
            units += character.len_utf16();
            units > MAX_CONTENT
        })
        .map(|(end, _)| end)
}

/// Where something stands.
#[derive(Clone, Copy)]
struct At<'p> {
    parent: Option<&'p At<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl<'p> At<'p> {
    const fn top(name: &'p str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    fn name(&'p self, name: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Name(name) }
    }

    fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    fn is(self, what: &str) -> Rejection {
        malformed(format_args!("{self} {what}"))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.parent, self.step) {
            (None, Step::Name(name)) => f.write_str(name),
            (Some(parent), Step::Name(name)) => write!(f, "{parent}.{name}"),
            (None, Step::Index(index)) => write!(f, "[{index}]"),
            (Some(parent), Step::Index(index)) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Says where, and never what.
pub(super) fn malformed(detail: fmt::Arguments<'_>) -> Rejection {
    let reason = "what is injected is not of the documented shape";
    Rejection::new(Code::InjectionMalformed, reason).with_detail(format!("{detail}."))
}

/// The whole text as one JSON value, none of its strings decoded yet.
fn document<'t>(json: &'t str, at: At<'_>) -> Result<&'t RawValue, Rejection> {
    serde_json::from_str(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        malformed(format_args!("{at} is not JSON (line {line}, column {column})"))
    })
}

/// An object's fields of these names, as they are written.
struct Object<'t, const N: usize> {
    fields: [Option<&'t RawValue>; N],
    unknown: Option<Cow<'t, str>>,
    repeated: Option<usize>,
}

fn object<'t, const N: usize>(
    json: &'t RawValue,
    at: At<'_>,
    names: [&'static str; N],
) -> Result<Object<'t, N>, Rejection> {
    let mut json = serde_json::Deserializer::from_str(json.get());
    let Ok(object) = json.deserialize_map(Fields(names)) else {
        return Err(at.is("is no object"));
    };
    match object.repeated {
        Some(index) => Err(at.name(names[index]).is("is given more than once")),
        None => Ok(object),
    }
}

impl<'t, const N: usize> Object<'t, N> {
    fn refuse_unknown(&self, at: At<'_>) -> Result<(), Rejection> {
        let Some(name) = &self.unknown else { return Ok(()) };
        // A name is said where it looks like one, and not where it may be anything.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.len() <= 32 && !name.is_empty() && name.bytes().all(is_name) {
            return Err(at.name(name).is("is not a field"));
        }
        Err(at.is("has a field that is not one"))
    }

    fn text(&self, index: usize, at: At<'_>) -> Result<Cow<'t, str>, Rejection> {
        let Some(json) = self.fields[index].map(RawValue::get) else {
            return Err(at.is("is missing"));
        };
        if !json.starts_with('"') {
            return Err(at.is("is no text"));
        }
        let read = match json.contains('\\') {
            true => serde_json::from_str(json).map(Cow::Owned),
            false => serde_json::from_str(json).map(Cow::Borrowed),
        };
        // Half of a surrogate pair is written down by JavaScript, and is no character.
        read.map_err(|_| at.is("is a text with half a character in it"))
    }
}

struct Fields<const N: usize>([&'static str; N]);

impl<'t, const N: usize> Visitor<'t> for Fields<N> {
    type Value = Object<'t, N>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Object<'t, N>, A::Error> {
        let mut object = Object { fields: [None; N], unknown: None, repeated: None };
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value()?;
            match self.0.iter().position(|known| **known == *name) {
                Some(index) if object.fields[index].replace(value).is_some() => {
                    object.repeated.get_or_insert(index);
                }
                Some(_) => {}
                None => {
                    object.unknown.get_or_insert(name);
                }
            }
        }
        Ok(object)
    }
}

/// With its escapes resolved.
#[derive(serde::Deserialize)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

/// Takes the elements of an array in turn, until one is refused.
fn each<'t>(
    json: &'t RawValue,
    at: At<'_>,
    take: impl FnMut(usize, &'t RawValue) -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    let mut refused = None;
    let elements = Elements { take, refused: &mut refused };
    let read = serde_json::Deserializer::from_str(json.get()).deserialize_seq(elements);
    match (refused, read) {
        (Some(rejection), _) => Err(rejection),
        (None, Err(_)) => Err(at.is("is no list")),
        (None, Ok(())) => Ok(()),
    }
}

struct Elements<'r, F> {
    take: F,
    refused: &'r mut Option<Rejection>,
}

impl<'t, F: FnMut(usize, &'t RawValue) -> Result<(), Rejection>> Visitor<'t> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'t>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(element) = list.next_element()? {
            if let Err(rejection) = (self.take)(index, element) {
                *self.refused = Some(rejection);
                return Err(A::Error::custom("refused"));
            }
            index += 1;
        }
        Ok(())
    }
}
