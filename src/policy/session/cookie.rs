//! The session cookie: its name, how it is set, how it is found and how it is kept from the app.
//!
//! The name has a hash of tenant and persona, because personas share hosts. What is removed on the
//! way to an app is every cookie of this kind, not only the persona's own: on a shared host the
//! others are other tenants'.

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::token::Token;
use crate::policy::identity::push_hex;

const PREFIX: &str = "__Host-vestibule-";

/// The cookie of one persona: `__Host-vestibule-` and 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCookie {
    name: Box<str>,
}

impl SessionCookie {
    pub fn of(tenant: &str, persona: &str) -> Self {
        let mut digest = Sha256::new_with_prefix(b"vestibule session cookie\0");
        digest.update((tenant.len() as u64).to_be_bytes());
        digest.update(tenant);
        digest.update(persona);
        let mut name = String::from(PREFIX);
        push_hex(&digest.finalize()[..8], &mut name);
        Self { name: name.into() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a Set-Cookie field. `max_age` is in seconds.
    pub fn set(&self, token: &Token, max_age: u64) -> String {
        self.field(token.as_str(), max_age)
    }

    /// The value of a Set-Cookie field that makes the browser forget.
    pub fn clear(&self) -> String {
        self.field("", 0)
    }

    fn field(&self, value: &str, max_age: u64) -> String {
        let mut field = String::with_capacity(self.name.len() + value.len() + 96);
        // Writing to a String cannot fail.
        let _ = write!(
            field,
            "{}={value}; Max-Age={max_age}; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
            self.name
        );
        field
    }

    /// Our values in the Cookie fields of a request, as they were sent but for quotes.
    pub fn values<'c>(
        &self,
        fields: impl Iterator<Item = &'c [u8]>,
    ) -> impl Iterator<Item = &'c [u8]> {
        fields.flat_map(pieces).filter_map(|piece| {
            let (name, value) = halves(piece);
            (name == self.name.as_bytes()).then(|| unquoted(value))
        })
    }
}

/// A Cookie value without sessions; nothing where nothing else is left, and the field goes.
/// Everything else keeps its bytes.
pub fn without_sessions(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut kept: Option<Vec<u8>> = None;
    let mut at = 0;
    for piece in pieces(value) {
        let is_ours = is_session(halves(piece).0);
        match &mut kept {
            None if is_ours => {
                let mut before = Vec::with_capacity(value.len());
                before.extend_from_slice(&value[..at.max(1) - 1]);
                kept = Some(before);
            }
            None => {}
            Some(_) if is_ours => {}
            // The first that is left has no separator before it.
            Some(kept) if kept.is_empty() => kept.extend_from_slice(piece.trim_ascii_start()),
            Some(kept) => {
                kept.push(b';');
                kept.extend_from_slice(piece);
            }
        }
        at += piece.len() + 1;
    }
    match kept {
        None => Some(Cow::Borrowed(value)),
        Some(kept) if kept.trim_ascii().is_empty() => None,
        Some(kept) => Some(Cow::Owned(kept)),
    }
}

/// True for a Set-Cookie value that would set a session: an app's must not pass.
pub fn sets_session(value: &[u8]) -> bool {
    is_session(halves(value.split(|&byte| byte == b';').next().unwrap_or_default()).0)
}

/// In any case: some servers compare names so.
fn is_session(name: &[u8]) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// RFC 6265, section 5.4: pairs stand between semicolons, whatever quotes say.
fn pieces(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(value);
    std::iter::from_fn(move || {
        let all = left?;
        let end = memchr::memchr(b';', all);
        left = end.map(|end| &all[end + 1..]);
        Some(&all[..end.unwrap_or(all.len())])
    })
}

/// Name and value without the space around them; a piece without `=` is all name, so that no
/// spelling of ours slips through.
fn halves(piece: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', piece) {
        Some(at) => (piece[..at].trim_ascii(), piece[at + 1..].trim_ascii()),
        None => (piece.trim_ascii(), b""),
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ours() -> SessionCookie {
        SessionCookie::of("jasser", "customer")
    }

    #[test]
    fn names_are_fixed_and_differ_by_tenant_and_persona() {
        // Written down: browsers hold this name across releases.
        assert_eq!(ours().name(), "__Host-vestibule-990da60bda434256");
        let names: std::collections::HashSet<_> =
            [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("c", "ab")]
                .map(|(tenant, persona)| SessionCookie::of(tenant, persona).name)
                .into();
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn the_cookie_is_for_this_host_and_this_partition_alone() {
        let field = ours().set(&Token::encode(b"abc"), 600);
        let expected = format!(
            "{}=YWJj; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
            ours().name()
        );
        assert_eq!(field, expected);
        assert!(ours().clear().contains("=; Max-Age=0; Path=/; Secure"));
    }

    #[test]
    fn our_cookie_is_found_in_every_allowed_form() {
        fn check(lines: &[&str], expected: &[&str]) {
            let lines = lines.iter().map(|line| line.replace("OURS", ours().name()));
            let lines: Vec<_> = lines.collect();
            let cookie = ours();
            let values: Vec<_> =
                cookie.values(lines.iter().map(String::as_bytes)).map(<[u8]>::to_vec).collect();
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes().to_vec()).collect();
            assert_eq!(values, expected, "{lines:?}");
        }
        check(&["OURS=t"], &["t"]);
        check(&["a=1; OURS=t; b=2"], &["t"]);
        check(&["a=1;OURS=t;b=2"], &["t"]);
        check(&["a=1", "OURS=t"], &["t"]);
        check(&["OURS=t; OURS=u", "OURS=v"], &["t", "u", "v"]);
        check(&[" OURS = t ; b"], &["t"]);
        check(&["OURS=\"t\""], &["t"]);
        check(&["OURS=\"t"], &["\"t"]);
        check(&["OURS=a=b"], &["a=b"]);
        check(&["OURS"], &[""]);
        check(&["xOURS=t; OURSx=t; a=OURS=t"], &[]);
        check(&["", ";", "; ;"], &[]);
    }

    #[test]
    fn apps_receive_every_cookie_but_sessions() {
        fn check(sent: &str, expected: Option<&str>) {
            let sent = sent.replace("OURS", ours().name());
            let left = without_sessions(sent.as_bytes());
            let left = left.as_deref().map(|left| std::str::from_utf8(left).unwrap());
            assert_eq!(left, expected, "{sent}");
        }
        check("a=1", Some("a=1"));
        check(" a=1 ;b ; c=\"x\"", Some(" a=1 ;b ; c=\"x\""));
        check("OURS=t", None);
        check("OURS=t; ", None);
        check("OURS", None);
        check("OURS=t; a=1", Some("a=1"));
        check("a=1; OURS=t", Some("a=1"));
        check("a=1; OURS=t; b=2", Some("a=1; b=2"));
        check("a=1;OURS=t;b=2", Some("a=1;b=2"));
        check("a=1; OURS=t; b=2; OURS=u", Some("a=1; b=2"));
        check("a=1; __Host-vestibule-0123456789abcdef=other; b=2", Some("a=1; b=2"));
        check("__host-VESTIBULE-x=1; a=1", Some("a=1"));
        check("__Host-vestibul=1; a=1", Some("__Host-vestibul=1; a=1"));
    }

    #[test]
    fn an_app_cannot_set_a_session() {
        for (field, expected) in [
            ("__Host-vestibule-0123456789abcdef=x; Path=/", true),
            (" __host-vestibule-x = 1", true),
            ("sid=__Host-vestibule-x=1", false),
            ("sid=1; __Host-vestibule-x=1", false),
        ] {
            assert_eq!(sets_session(field.as_bytes()), expected, "{field}");
        }
    }

    proptest! {
        #[test]
        fn no_session_passes_and_nothing_else_is_lost(
            list in proptest::collection::vec((any::<bool>(), "[a-z]{1,4}", "[ -:<-~]{0,6}"), 0..6)
        ) {
            let line = |only_others: bool| {
                let pieces: Vec<_> = list
                    .iter()
                    .filter(|(session, ..)| !(only_others && *session))
                    .map(|(session, name, value)| {
                        let name = if *session { ours().name().to_owned() } else { name.clone() };
                        format!("{name}={value}")
                    })
                    .collect();
                pieces.join("; ")
            };
            let sent = line(false);
            let left = without_sessions(sent.as_bytes()).unwrap_or_default().into_owned();
            prop_assert_eq!(String::from_utf8(left).unwrap(), line(true));
        }
    }
}
