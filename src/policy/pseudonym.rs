//! What users are called where they may be told apart and not be known, such as in logs.
//!
//! A pseudonym is a keyed hash: who lacks the session secrets can neither turn it back nor try out
//! user ids, few and guessable as those are. The key is a tenant's own, so that equal user ids of two
//! tenants have nothing in common, and is good for nothing else. A new session secret makes new
//! pseudonyms; those of the old ones can be computed as long as those stand in the configuration.

use std::fmt;

use hmac::Mac;

use super::secret::{HmacSha256, Secret};
use super::session::keys::SessionSecrets;

const LABEL: &str = "vestibule pseudonym 1 user id";
/// Half of it in bytes: in a tenant with a hundred million users two have the same one with a
/// probability of one in four thousand.
const DIGITS: usize = 16;

/// What pseudonyms are made with.
#[derive(Debug, Clone)]
pub struct Pseudonyms(SessionSecrets);

/// Hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pseudonym([u8; DIGITS]);

/// What a tenant's users are called with.
#[derive(Clone)]
pub struct TenantPseudonyms(HmacSha256);

impl Pseudonyms {
    pub fn new(secrets: &SessionSecrets) -> Self {
        Self(secrets.clone())
    }

    /// With the secret that is in use.
    pub fn of(&self, tenant: &str) -> TenantPseudonyms {
        TenantPseudonyms::new(self.0.signs(), tenant)
    }

    /// What a user is called, and was with the secrets that are on their way out.
    pub fn all(&self, tenant: &str, user_id: &str) -> Vec<Pseudonym> {
        let each = |secret| TenantPseudonyms::new(secret, tenant).call(user_id);
        self.0.iter().map(each).collect()
    }
}

impl TenantPseudonyms {
    fn new(secret: &Secret, tenant: &str) -> Self {
        Self(secret.derive(LABEL, &[tenant]))
    }

    pub fn call(&self, user_id: &str) -> Pseudonym {
        let tag = self.0.clone().chain_update(user_id).finalize().into_bytes();
        let mut digits = [0; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(&tag) {
            pair[0] = hex(byte >> 4);
            pair[1] = hex(byte & 0xf);
        }
        Pseudonym(digits)
    }
}

fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 0xf)]
}

impl Pseudonym {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TenantPseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantPseudonyms(-)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonyms(signs: &[u8], old: &[&[u8]]) -> Pseudonyms {
        let secret = |bytes: &[u8]| Secret::new(bytes).unwrap();
        let old = old.iter().map(|bytes| secret(bytes)).collect();
        Pseudonyms::new(&SessionSecrets::new(secret(signs), old))
    }

    #[test]
    fn a_user_is_called_the_same_by_whoever_has_the_secret() {
        let one = pseudonyms(b"one", &[]);
        assert_eq!(one.of("acme").call("4711"), pseudonyms(b"one", &[]).of("acme").call("4711"));
        let text = one.of("acme").call("4711");
        assert_eq!(text.as_str().len(), DIGITS);
        assert!(text.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()), "{text:?}");
    }

    #[test]
    fn another_user_tenant_or_secret_makes_another_pseudonym() {
        let (one, two) = (pseudonyms(b"one", &[]), pseudonyms(b"two", &[]));
        let mut all = vec![
            one.of("acme").call("4711"),
            one.of("acme").call("4712"),
            one.of("acme").call(""),
            one.of("shop").call("4711"),
            two.of("acme").call("4711"),
        ];
        all.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        all.dedup();
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn what_a_user_was_called_before_the_secret_was_replaced_can_still_be_said() {
        let old = pseudonyms(b"old", &[]).of("acme").call("4711");
        let both = pseudonyms(b"new", &[b"old"]);
        assert_eq!(both.all("acme", "4711"), [both.of("acme").call("4711"), old]);
    }
}
