//! Reads what the app was told about who is asking.

use serde_json::Value;

use super::{Outcome, expect};
use crate::demo::persona::{Persona, TENANT};

/// An identity as a launch establishes it.
pub struct Expected<'a> {
    pub persona: Persona,
    pub user_id: &'a str,
    pub assurance: &'a str,
}

/// The fields that arrived say this and nothing else, each once; the answer is the session's name.
/// `fields` are pairs of name and value; those of other names do not matter.
pub fn identity<'v>(fields: &'v Value, expected: &Expected<'_>) -> Result<&'v str, String> {
    let name = expected.persona.name();
    let mut wanted = vec![
        ("x-vestibule-tenant", Some(TENANT)),
        ("x-vestibule-persona", Some(name)),
        ("x-vestibule-mode", Some(name)),
        ("x-vestibule-user-id", Some(expected.user_id)),
        ("x-vestibule-assurance", Some(expected.assurance)),
        ("x-vestibule-session", None),
    ];
    let mut session = None;
    for pair in fields.as_array().ok_or("no fields were seen")? {
        let (Some(name), Some(value)) = (pair[0].as_str(), pair[1].as_str()) else { continue };
        if !name.to_ascii_lowercase().replace('_', "-").starts_with("x-vestibule-") {
            continue;
        }
        let place = wanted.iter().position(|(other, _)| *other == name);
        let place = place.ok_or_else(|| format!("the app was told {name}: {value}"))?;
        let (_, known) = wanted.swap_remove(place);
        expect(known.is_none_or(|known| known == value), || format!("{name}: {value}"))?;
        session = if known.is_none() { Some(value) } else { session };
    }
    expect(wanted.is_empty(), || format!("the app was not told {}", wanted[0].0))?;
    let session = session.unwrap_or_default();
    expect(session.len() >= 16, || format!("the short session {session}"))?;
    Ok(session)
}

/// Who is asking, by the answer of a chat endpoint.
pub fn is(seen: &Value, key: &str, expected: &str) -> Outcome {
    expect(seen[key] == expected, || format!("{key} is {}, not {expected}", seen[key]))
}
