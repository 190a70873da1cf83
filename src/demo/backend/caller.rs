//! Who is asking: what Vestibule says in the `X-Vestibule-*` fields of a request, and nothing else.
//!
//! A URL, a cookie, a message's text and a page's script are the browser's word, and no source
//! here. The fields are believed because nobody but Vestibule reaches this app; one that others can
//! reach would check `X-Vestibule-Assertion`.

use http::HeaderMap;
use serde::Serialize;

use crate::demo::persona::Persona;

/// What stands before every name of Vestibule's, whatever the case and the dashes.
const NAMES: &str = "x-vestibule-";

/// Who Vestibule says is asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caller {
    pub persona: Persona,
    pub tenant: Option<String>,
    pub mode: Option<String>,
    pub user_id: Option<String>,
    /// How much the user id is worth: `asserted`, `generated`, ...
    pub assurance: Option<String>,
    /// A name for the session, with which nobody can act.
    pub session: Option<String>,
    /// `awaiting` until the page around the chat has said who is asking.
    pub state: Option<String>,
}

impl Caller {
    /// None where no Vestibule stands in front, or where a field came twice.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let field = |name: &str| -> Option<Option<String>> {
            let mut values = headers.get_all(format!("{NAMES}{name}")).iter();
            let first = values.next().map(|value| value.to_str().map(str::to_owned)).transpose();
            if values.next().is_some() { None } else { first.ok() }
        };
        Some(Self {
            persona: Persona::of_name(&field("persona")??)?,
            tenant: field("tenant")?,
            mode: field("mode")?,
            user_id: field("user-id")?,
            assurance: field("assurance")?,
            session: field("session")?,
            state: field("identity-state")?,
        })
    }

    pub fn is_awaited(&self) -> bool {
        self.state.is_some()
    }
}

/// Every field that some app could take for one of Vestibule's, as it arrived.
pub fn fields(headers: &HeaderMap) -> Vec<[String; 2]> {
    let named = |name: &str| name.replace('_', "-").starts_with(NAMES);
    headers
        .iter()
        .filter(|(name, _)| named(name.as_str()))
        .map(|(name, value)| {
            [name.as_str(), &String::from_utf8_lossy(value.as_bytes())].map(str::to_owned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_fields_say_who_is_asking() {
        let told = [
            ("x-vestibule-persona", "customer"),
            ("x-vestibule-user-id", "7"),
            ("x-vestibule-assurance", "asserted"),
        ];
        let caller = Caller::of(&headers(&told)).unwrap();
        assert_eq!(caller.persona, Persona::Customer);
        assert_eq!(caller.user_id.as_deref(), Some("7"));
        assert!(caller.mode.is_none() && !caller.is_awaited());
    }

    #[test]
    fn without_them_or_with_one_twice_nobody_is_known() {
        for lines in [
            &[("x-vestibule-user-id", "7")] as &[_],
            &[("x-vestibule-persona", "nobody")],
            &[("x-vestibule-persona", "test"), ("x-vestibule-persona", "test")],
            &[
                ("x-vestibule-persona", "test"),
                ("x-vestibule-user-id", "7"),
                ("x-vestibule-user-id", "8"),
            ],
        ] {
            assert_eq!(Caller::of(&headers(lines)), None, "{lines:?}");
        }
    }

    #[test]
    fn every_spelling_of_a_field_is_noticed() {
        let lines = [("x_vestibule_user_id", "1"), ("x-vestibule-mode", "m"), ("x-other", "")];
        assert_eq!(fields(&headers(&lines)).len(), 2);
    }
}
