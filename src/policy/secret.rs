//! Key material: never printed, never compared but by a MAC.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA256 with its key in place: both inner states are computed once.
pub(super) type HmacSha256 = Hmac<Sha256>;

/// Bytes that only we, or we and a tenant, know. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Nothing for an empty one: everybody knows it.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether somebody knows it; the time that it takes tells nothing.
    pub fn is(&self, said: &[u8]) -> bool {
        let tag = keyed(said).chain_update(b"said").finalize().into_bytes();
        self.hmac().chain_update(b"said").verify_slice(&tag).is_ok()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes themselves, for a successor process and nobody else.
    pub(crate) fn exposed(&self) -> &[u8] {
        &self.0
    }

    /// As a Bearer token: the only way in which it leaves the process. Nothing where no header can
    /// carry it.
    pub fn bearer(&self) -> Option<http::HeaderValue> {
        let mut value = http::HeaderValue::from_bytes(&[b"Bearer ", &*self.0].concat()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(super) fn hmac(&self) -> HmacSha256 {
        keyed(&self.0)
    }

    /// A key for one use, from which neither this secret nor another use's key can be computed.
    /// Parts are told apart by their lengths: `("ab", "c")` is not `("a", "bc")`.
    pub(super) fn derive(&self, label: &str, parts: &[&str]) -> HmacSha256 {
        let mut mac = self.hmac();
        for part in std::iter::once(&label).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        keyed(&mac.finalize().into_bytes())
    }

    /// 32 bytes for one use, told apart as in [`Secret::derive`]: what a key pair is made from.
    pub(crate) fn seed(&self, label: &str, parts: &[&str]) -> [u8; 32] {
        self.derive(label, parts).finalize().into_bytes().into()
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of every length")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(-)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new(*b"swordfish").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(-)");
        assert!(Secret::new(*b"").is_none());
    }

    #[test]
    fn a_secret_is_known_whole_or_not_at_all() {
        let secret = Secret::new(*b"swordfish").unwrap();
        assert!(secret.is(b"swordfish"));
        for said in [&b""[..], b"swordfis", b"swordfish ", b"Swordfish"] {
            assert!(!secret.is(said), "{said:?}");
        }
    }

    #[test]
    fn keys_differ_by_secret_label_and_every_part() {
        let one = Secret::new(*b"one").unwrap();
        let two = Secret::new(*b"two").unwrap();
        let derived = [
            one.derive("a", &["b", "c"]),
            one.derive("a", &["bc", ""]),
            one.derive("a", &["", "bc"]),
            one.derive("a", &["bc"]),
            one.derive("ab", &["", "c"]),
            two.derive("a", &["b", "c"]),
        ];
        let mut tags: Vec<_> =
            derived.map(|key| key.chain_update(b"x").finalize().into_bytes()).to_vec();
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 6);
    }
}
