//! Basic authentication (RFC 7617): a name and a password before anything else.
//!
//! Decides who has to show one, and what a request shows. Hashes are bcrypt's, as `htpasswd -B` makes
//! them, and cost too much to be computed here: whoever asks says whether this pair was verified
//! ([`crate::state::passwords`]), and it is verified before the request is decided about.
//!
//! Two kinds of request are let through to the persona's own rules without a password, because
//! browsers send none with them: CORS preflights, which are answered here, and WebSocket handshakes
//! (Safari), which then need the session that a launch with the password began.
//!
//! What must not happen: a password or a hash is printed; a name that nobody has is told from a
//! wrong password, by words or by time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::http1::fields::Known;
use crate::http1::head::RequestHead;
use crate::policy::limits::Rules;
use crate::rejection::{Code, Rejection};

/// One persona's or site's.
pub struct Password {
    pub realm: Box<str>,
    users: BTreeMap<Box<str>, Arc<str>>,
    /// The app sees the header.
    pub forwards: bool,
    pub tenant: Arc<str>,
    /// What a wrong one costs its address.
    pub rules: Arc<Rules>,
}

/// A pair to be verified.
#[derive(Clone)]
pub struct Attempt {
    pub user: Box<str>,
    pub password: Box<[u8]>,
    /// Somebody's, where nobody has that name.
    pub hash: Arc<str>,
    pub is_known: bool,
}

/// How much a hash costs: bcrypt's 2^15 rounds take seconds.
const COSTS: std::ops::RangeInclusive<u8> = 4..=14;
/// Of the encoded pair.
const LONGEST: usize = 1024;

impl Password {
    /// Nothing where there is no user.
    pub fn new(
        realm: &str,
        users: BTreeMap<Box<str>, Arc<str>>,
        forwards: bool,
        (tenant, rules): (Arc<str>, Arc<Rules>),
    ) -> Option<Self> {
        (!users.is_empty()).then(|| Self { realm: realm.into(), users, forwards, tenant, rules })
    }

    /// Whether the same pairs are good.
    pub fn admits_like(&self, other: &Password) -> bool {
        self.users == other.users
    }

    /// What the request shows, if it is one pair.
    pub fn attempt(&self, head: &RequestHead) -> Option<Attempt> {
        let value = head.fields.single(Known::Authorization)?;
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") || rest.len() > LONGEST {
            return None;
        }
        let pair = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
        let colon = memchr::memchr(b':', &pair)?;
        let user = std::str::from_utf8(&pair[..colon]).ok()?;
        let known = self.users.get(user);
        // The same work for a name that nobody has.
        let hash = known.or_else(|| self.users.values().next())?;
        Some(Attempt {
            user: user.into(),
            password: pair[colon + 1..].into(),
            hash: Arc::clone(hash),
            is_known: known.is_some(),
        })
    }

    /// Whether the request may pass.
    pub fn check(
        &self,
        head: &RequestHead,
        is_verified: impl FnOnce(&Attempt) -> bool,
    ) -> Result<(), Rejection> {
        let Some(attempt) = self.attempt(head) else {
            return Err(Rejection::new(Code::PasswordMissing, "no name and password were sent"));
        };
        if attempt.is_known && is_verified(&attempt) {
            return Ok(());
        }
        Err(Rejection::new(Code::PasswordWrong, "the name or the password is wrong"))
    }

    /// The value of WWW-Authenticate.
    pub fn challenge(&self) -> String {
        format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.realm)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users: Vec<_> = self.users.keys().collect();
        f.debug_struct("Password").field("realm", &self.realm).field("users", &users).finish()
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a line of a password file is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    NoColon,
    NoName,
    Twice,
    /// Not bcrypt's.
    Hash,
    Cost,
}

/// The users of a file as `htpasswd -B` writes it; the error has the line's number.
pub fn users(text: &str) -> Result<BTreeMap<Box<str>, Arc<str>>, (usize, BadLine)> {
    let mut users = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |why| Err((index + 1, why));
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, hash)) = line.split_once(':') else { return wrong(BadLine::NoColon) };
        if name.is_empty() {
            return wrong(BadLine::NoName);
        }
        match cost(hash) {
            None => return wrong(BadLine::Hash),
            Some(cost) if !COSTS.contains(&cost) => return wrong(BadLine::Cost),
            Some(_) => {}
        }
        if users.insert(name.into(), hash.into()).is_some() {
            return wrong(BadLine::Twice);
        }
    }
    Ok(users)
}

/// Of `$2y$10$` and 53 characters.
fn cost(hash: &str) -> Option<u8> {
    let begins = ["$2y$", "$2b$", "$2a$"].into_iter().find_map(|it| hash.strip_prefix(it));
    let (cost, rest) = begins?.split_once('$')?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    let is_hash = cost.len() == 2 && rest.len() == 53 && rest.bytes().all(good);
    cost.parse().ok().filter(|_| is_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuQ2yJ5Zr0X7cV8nB9mA1sD3fG5hJ7k12";

    fn password() -> Password {
        let users = users(&format!("# staff\nann:{HASH}\n\nbob:{HASH}\n")).unwrap();
        let of = ("acme".into(), Arc::new(Rules::default()));
        Password::new("Staff", users, false, of).unwrap()
    }

    fn request(value: &str) -> RequestHead {
        let mut head = RequestHead::default();
        head.fields.push(b"Authorization", value.as_bytes());
        head
    }

    fn basic(pair: &str) -> RequestHead {
        request(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }

    #[test]
    fn only_what_was_verified_passes() {
        let password = password();
        let check = |head: &RequestHead, verified: bool| {
            password.check(head, |_| verified).map_err(|rejection| rejection.code)
        };
        assert_eq!(check(&basic("ann:secret"), true), Ok(()));
        assert_eq!(check(&basic("ann:secret"), false), Err(Code::PasswordWrong));
        assert_eq!(check(&basic("eve:secret"), true), Err(Code::PasswordWrong));
        for none in ["Bearer abc", "Basic", "Basic !!!", "Basic YW5u", &"Basic YWE".repeat(300)] {
            assert_eq!(check(&request(none), true), Err(Code::PasswordMissing), "{none}");
        }
        let mut twice = basic("ann:secret");
        twice.fields.push(b"Authorization", b"Basic YTpi");
        assert_eq!(check(&twice, true), Err(Code::PasswordMissing));
    }

    #[test]
    fn a_pair_is_cut_at_its_first_colon_and_never_printed() {
        let attempt = password().attempt(&basic("ann:se:cr:et")).unwrap();
        assert_eq!((&*attempt.user, &*attempt.password), ("ann", &b"se:cr:et"[..]));
        let printed = format!("{attempt:?} {:?}", password());
        assert!(!printed.contains("se:cr") && !printed.contains("$2y"), "{printed}");
        let unknown = password().attempt(&basic("eve:x")).unwrap();
        assert!(!unknown.is_known && *unknown.hash == *HASH, "it costs as much");
    }

    #[test]
    fn only_bcrypt_is_taken_at_a_bearable_cost() {
        for (line, expected) in [
            (format!("ann:{HASH}"), Ok(1)),
            ("ann".into(), Err((1, BadLine::NoColon))),
            (format!(":{HASH}"), Err((1, BadLine::NoName))),
            ("ann:secret".into(), Err((1, BadLine::Hash))),
            ("ann:$apr1$abc$def".into(), Err((1, BadLine::Hash))),
            ("ann:{SHA}abc".into(), Err((1, BadLine::Hash))),
            (format!("ann:{}", HASH.replace("$05$", "$31$")), Err((1, BadLine::Cost))),
            (format!("ann:{HASH}\nann:{HASH}"), Err((2, BadLine::Twice))),
        ] {
            assert_eq!(users(&line).map(|users| users.len()), expected, "{line}");
        }
    }
}
