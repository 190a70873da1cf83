//! Pairs of name and password that were verified a while ago.
//!
//! A bcrypt hash is made to be slow; a page asks for sixty things. What was verified is remembered
//! for [`UNUSED`] after its last use and [`LONGEST`] in all, as a MAC under a key that this process
//! made for itself: no password is kept, and comparing tells nothing. The hash is part of what is
//! remembered, so that a changed password is a stranger at once. Wrong pairs are not remembered:
//! each costs its address a launch ([`crate::edge`]).
//!
//! Bounded: the longest unused goes first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use foldhash::fast;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::policy::front::password::Attempt;
use crate::policy::session::UnixSeconds;

/// Seconds.
const UNUSED: u64 = 600;
const LONGEST: u64 = 12 * 3600;
/// Pairs.
const MOST: usize = 4096;

type Digest = [u8; 32];

/// One of it is made at the start and outlives every snapshot.
pub struct Passwords {
    key: Hmac<Sha256>,
    verified: Mutex<HashMap<Digest, Verified, fast::RandomState>>,
}

#[derive(Debug, Clone, Copy)]
struct Verified {
    since: UnixSeconds,
    used: UnixSeconds,
}

impl Verified {
    fn holds(self, now: UnixSeconds) -> bool {
        now.0.saturating_sub(self.used.0) < UNUSED && now.0.saturating_sub(self.since.0) < LONGEST
    }
}

impl Passwords {
    /// `key` must be nobody else's.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = Hmac::new_from_slice(key).expect("HMAC takes keys of every length");
        Self { key, verified: Mutex::default() }
    }

    pub fn is_verified(&self, attempt: &Attempt, now: UnixSeconds) -> bool {
        let digest = self.digest(attempt);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = verified.get_mut(&digest).filter(|entry| entry.holds(now)) else {
            return false;
        };
        entry.used = now;
        true
    }

    /// Remembers a pair that was verified.
    pub fn verified(&self, attempt: &Attempt, now: UnixSeconds) {
        let digest = self.digest(attempt);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MOST {
            verified.retain(|_, entry| entry.holds(now));
        }
        if verified.len() >= MOST
            && let Some(oldest) = verified.iter().min_by_key(|(_, entry)| entry.used.0)
        {
            let oldest = *oldest.0;
            verified.remove(&oldest);
        }
        verified.insert(digest, Verified { since: now, used: now });
    }

    fn digest(&self, attempt: &Attempt) -> Digest {
        let mut mac = self.key.clone();
        for part in [attempt.user.as_bytes(), &attempt.password, attempt.hash.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(user: &str, password: &str, hash: &str) -> Attempt {
        Attempt {
            user: user.into(),
            password: password.as_bytes().into(),
            hash: hash.into(),
            is_known: true,
        }
    }

    #[test]
    fn only_the_very_same_pair_and_hash_is_known() {
        let passwords = Passwords::new(&[7; 32]);
        let now = UnixSeconds(1000);
        passwords.verified(&attempt("ann", "secret", "h"), now);
        assert!(passwords.is_verified(&attempt("ann", "secret", "h"), now));
        for other in [
            attempt("bob", "secret", "h"),
            attempt("ann", "Secret", "h"),
            attempt("ann", "secret", "changed"),
            attempt("anns", "ecret", "h"),
        ] {
            assert!(!passwords.is_verified(&other, now), "{other:?}");
        }
    }

    #[test]
    fn what_is_unused_or_old_is_verified_again() {
        let passwords = Passwords::new(&[7; 32]);
        let ann = attempt("ann", "secret", "h");
        passwords.verified(&ann, UnixSeconds(0));
        assert!(passwords.is_verified(&ann, UnixSeconds(UNUSED - 1)));
        assert!(passwords.is_verified(&ann, UnixSeconds(2 * UNUSED - 2)));
        assert!(!passwords.is_verified(&ann, UnixSeconds(3 * UNUSED)));
        passwords.verified(&ann, UnixSeconds(0));
        for second in (0..LONGEST).step_by(100) {
            assert!(passwords.is_verified(&ann, UnixSeconds(second)));
        }
        assert!(!passwords.is_verified(&ann, UnixSeconds(LONGEST)));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let passwords = Passwords::new(&[7; 32]);
        for index in 0..MOST + 10 {
            let ann = attempt("ann", &index.to_string(), "h");
            passwords.verified(&ann, UnixSeconds(index as u64 / 10));
        }
        assert_eq!(passwords.verified.lock().unwrap().len(), MOST);
        let now = UnixSeconds(MOST as u64 / 10);
        assert!(passwords.is_verified(&attempt("ann", &(MOST + 9).to_string(), "h"), now));
    }
}
