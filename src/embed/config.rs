//! The configuration that the bridge script posts, read into launch parameters.
//!
//! Decides what the JSON says, not whether it is allowed: [`crate::policy::metadata`] decides that,
//! by the rules of any launch. The body is the host page's payload, or `{"payload": {...}}`:
//!
//! ```json
//! {"mode": "customer", "user_id": 12345, "require_user_id": true, "allow_generated_id": false,
//!  "direction": "rtl"}
//! ```
//!
//! | name | values |
//! | --- | --- |
//! | `user_id` | a string, or a number, which is passed on exactly as it is written |
//! | `require_user_id`, `allow_generated_id` | `true`, `false`, or a string, as in a query |
//! | `mode`, `direction` | a string |
//!
//! `null` is as good as absent. Other names are nobody's business here, whatever they hold.
//!
//! What must not happen: a text that two parsers read differently (a name of ours twice, or beside
//! `payload` as well as in it) is taken; a number is changed on its way (`1e3` is not `1000`).
//! Nesting costs no stack: what is not ours is skipped, what is ours is never nested. The caller
//! bounds the size.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::policy::metadata::Parameters;
use crate::rejection::{Code, Rejection};

/// Reads a posted configuration; texts without escapes are borrowed.
pub fn parse(body: &[u8]) -> Result<Parameters<'_>, Rejection> {
    let outer = object(serde_json::from_slice(body))?;
    let Some(payload) = outer.payload else { return outer.parameters() };
    match payload.get() {
        "null" => outer.parameters(),
        _ if outer.names_ours() => refuse(TWICE, "a parameter beside the payload"),
        text => object(serde_json::from_str(text))?.parameters(),
    }
}

const TWICE: Code = Code::ParameterDuplicate;

fn object(read: serde_json::Result<Object<'_>>) -> Result<Object<'_>, Rejection> {
    match read {
        Ok(Object { twice: true, .. }) => refuse(TWICE, "a name of the configuration is repeated"),
        Ok(object) => Ok(object),
        Err(_) => refuse(Code::ParameterInvalid, "the configuration is no JSON object"),
    }
}

/// What we look for in an object, as it is written there.
#[derive(Default)]
struct Object<'b> {
    mode: Option<&'b RawValue>,
    user_id: Option<&'b RawValue>,
    require_user_id: Option<&'b RawValue>,
    allow_generated_id: Option<&'b RawValue>,
    direction: Option<&'b RawValue>,
    payload: Option<&'b RawValue>,
    /// Some name is repeated.
    twice: bool,
}

impl<'b> Object<'b> {
    fn names_ours(&self) -> bool {
        let flags = [self.require_user_id, self.allow_generated_id];
        [self.mode, self.user_id, self.direction].iter().chain(&flags).any(Option::is_some)
    }

    fn parameters(&self) -> Result<Parameters<'b>, Rejection> {
        Ok(Parameters {
            mode: text(self.mode, Takes::Text)?,
            user_id: text(self.user_id, Takes::Number)?,
            require_user_id: text(self.require_user_id, Takes::Flag)?,
            allow_generated_id: text(self.allow_generated_id, Takes::Flag)?,
            direction: text(self.direction, Takes::Text)?,
        })
    }

    fn place(&mut self, name: Name) -> Option<&mut Option<&'b RawValue>> {
        match name {
            Name::Mode => Some(&mut self.mode),
            Name::UserId => Some(&mut self.user_id),
            Name::RequireUserId => Some(&mut self.require_user_id),
            Name::AllowGeneratedId => Some(&mut self.allow_generated_id),
            Name::Direction => Some(&mut self.direction),
            Name::Payload => Some(&mut self.payload),
            Name::Other => None,
        }
    }
}

/// What a parameter may be besides a string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Number,
    Flag,
}

fn text(value: Option<&RawValue>, takes: Takes) -> Result<Option<Cow<'_, str>>, Rejection> {
    let Some(value) = value.map(RawValue::get) else { return Ok(None) };
    match value.as_bytes() {
        b"null" => Ok(None),
        b"true" | b"false" if takes == Takes::Flag => Ok(Some(Cow::Borrowed(value))),
        [b'-' | b'0'..=b'9', ..] if takes == Takes::Number => Ok(Some(Cow::Borrowed(value))),
        [b'"', ..] => match string(value) {
            Ok(text) => Ok(Some(text)),
            Err(_) => refuse(Code::ParameterInvalid, "a parameter is no text"),
        },
        _ => refuse(Code::ParameterInvalid, "a parameter of the wrong type"),
    }
}

fn string(json: &str) -> serde_json::Result<Cow<'_, str>> {
    if json.contains('\\') {
        return serde_json::from_str(json).map(Cow::Owned);
    }
    serde_json::from_str(json).map(Cow::Borrowed)
}

const fn refuse<T>(code: Code, reason: &'static str) -> Result<T, Rejection> {
    Err(Rejection::new(code, reason))
}

impl<'b> Deserialize<'b> for Object<'b> {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'b> Visitor<'b> for ObjectVisitor {
    type Value = Object<'b>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Object<'b>, A::Error> {
        let mut object = Object::default();
        while let Some(name) = map.next_key::<Name>()? {
            let Some(place) = object.place(name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let repeats = place.replace(map.next_value()?).is_some();
            object.twice |= repeats;
        }
        Ok(object)
    }
}

/// A name in the object, with its escapes resolved.
#[derive(Clone, Copy)]
enum Name {
    Mode,
    UserId,
    RequireUserId,
    AllowGeneratedId,
    Direction,
    Payload,
    Other,
}

impl<'b> Deserialize<'b> for Name {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match name {
            "mode" => Name::Mode,
            "user_id" => Name::UserId,
            "require_user_id" => Name::RequireUserId,
            "allow_generated_id" => Name::AllowGeneratedId,
            "direction" => Name::Direction,
            "payload" => Name::Payload,
            _ => Name::Other,
        })
    }
}
