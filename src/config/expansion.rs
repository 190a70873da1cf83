//! What `${NAME}` has put into a text, so that problems can tell the text without it.
//!
//! What an environment variable holds may be a secret, whatever key it stands at: a problem names
//! the variable, and repeats nothing of its value.

use std::borrow::Cow;

use super::error::Wrong;
use super::schema::Kind;
use super::shown::without_secrets;

/// A text with variables in it.
#[derive(Debug)]
pub(super) struct Expansion {
    /// As it stands in the file.
    pub written: Box<str>,
    /// With the values in place of the variables.
    pub value: Box<str>,
    /// Names and values, in the order of the text.
    pub variables: Vec<(Box<str>, Box<str>)>,
}

/// What is shorter is a word that stands in many sentences, and counts only where it stands alone.
const LONG: usize = 8;

impl Expansion {
    /// What is said where the text cannot be read. Any part of the value may be in the reason, so
    /// that the reason is told only where it is always the same.
    pub fn unreadable(&self, kind: &Kind, wrong: Wrong) -> Wrong {
        if wrong.repeats_nothing() {
            return wrong;
        }
        let mut names: Vec<_> = self.variables.iter().map(|(name, _)| &**name).collect();
        names.dedup();
        let shown = names.iter().map(|name| format!("${{{name}}}")).collect::<Vec<_>>().join(", ");
        let what = format!("with {shown} in it, the value is not {}", kind.meaning());
        let remedy =
            format!("set {} so that it is, such as {}", names.join(" and "), kind.example());
        Wrong::new(what, remedy)
    }

    /// The same, with the text as it is written.
    pub fn hidden(&self, wrong: Wrong) -> Wrong {
        let hide = |text: Cow<'static, str>| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text),
            Cow::Owned(text) => Cow::Owned(self.hidden_in(text)),
        };
        Wrong { what: hide(wrong.what), remedy: hide(wrong.remedy) }
    }

    pub fn hidden_in(&self, text: String) -> String {
        let written = without_secrets(&self.written);
        let public = without_secrets(&self.value);
        let bare = self.value.strip_suffix('*').unwrap_or(&self.value);
        let mut text = text;
        for value in [&*self.value, &*public, bare] {
            text = replaced(&text, value, &written);
        }
        let long = self.variables.iter().filter(|(_, value)| value.len() >= LONG);
        long.fold(text, |text, (name, value)| replaced(&text, value, &format!("${{{name}}}")))
    }
}

/// `text` with `new` in place of `old`, also where that is written with escapes.
fn replaced(text: &str, old: &str, new: &str) -> String {
    let escaped = format!("{old:?}");
    let text = replaced_plainly(text, &escaped[1..escaped.len() - 1], new);
    replaced_plainly(&text, old, new)
}

fn replaced_plainly(text: &str, old: &str, new: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(old).filter(|_| !old.is_empty()) {
        let (before, after) = (&text[..at], &text[at + old.len()..]);
        let is_word =
            before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        if old.len() < LONG && is_word {
            continue;
        }
        made.push_str(&text[done..at]);
        made.push_str(new);
        done = at + old.len();
    }
    made.push_str(&text[done..]);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_the_variable_and_not_its_value() {
        for (written, variable, value, said, expected) in [
            ("${U}", "app", "app", "there is no upstream `app`, app2 is", "`${U}`, app2 is"),
            ("${U}", "a", "a", "there is no upstream `a` at all", "upstream `${U}` at all"),
            ("${U}/x", "/secret-one", "/secret-one/x", "`/secret-one/x` is", "`${U}/x` is"),
            ("${U}/*", "/secret-one", "/secret-one/*", "for /secret-one/x is", "for ${U}/*x is"),
            ("${U}.pem", "se\"cret", "se\"cret.pem", r#"no "se\"cret.pem""#, r#"no "${U}.pem""#),
            ("${U}x", "secret-one", "secret-onex", "in /secret-one is", "in /${U} is"),
            ("${U}", "//a:b@c/d e?f", "//a:b@c/d e?f", "//c/d e?redacted is", "${U} is"),
        ] {
            let expansion = Expansion {
                written: written.into(),
                value: value.into(),
                variables: vec![("U".into(), variable.into())],
            };
            let told = expansion.hidden_in(said.to_owned());
            assert!(told.contains(expected), "{said}: {told}");
        }
    }
}
