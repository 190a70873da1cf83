//! The name of a request: 128 random bits in hexadecimal, or what a trusted proxy called it.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; MAX],
    length: u8,
}

impl RequestId {
    pub fn new(random: Random) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; MAX];
        for (index, byte) in random.0.iter().enumerate() {
            bytes[index * 2] = DIGITS[usize::from(byte >> 4)];
            bytes[index * 2 + 1] = DIGITS[usize::from(byte & 15)];
        }
        Self { bytes, length: 32 }
    }

    /// Keeps a name that somebody else gave, where it can stand in a header and a log.
    pub fn keep(name: &[u8]) -> Option<Self> {
        let sound = !name.is_empty()
            && name.len() <= MAX
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(byte));
        if !sound {
            return None;
        }
        let mut bytes = [0; MAX];
        bytes[..name.len()].copy_from_slice(name);
        Some(Self { bytes, length: name.len() as u8 })
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// For the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self { bytes: [0; MAX], length: 0 }
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 128 bits to name things with. Unique, not unpredictable: never a secret.
#[derive(Debug, Clone, Copy)]
pub struct Random([u8; 16]);

impl Random {
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// A `Sec-WebSocket-Key`.
    pub fn websocket_key(self) -> String {
        BASE64_STANDARD.encode(self.0)
    }
}

/// A seeded counter, whitened (SplitMix64): a few nanoseconds a name.
#[derive(Debug)]
pub struct Generator {
    high: u64,
    state: AtomicU64,
}

impl Generator {
    pub fn seeded(seed: [u8; 16]) -> Self {
        let half = |at: usize| {
            let mut half = [0; 8];
            half.copy_from_slice(&seed[at..at + 8]);
            u64::from_ne_bytes(half)
        };
        Self { high: half(0), state: AtomicU64::new(half(8)) }
    }

    pub fn next(&self) -> Random {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&mix(state ^ self.high).to_be_bytes());
        bytes[8..].copy_from_slice(&mix(state).to_be_bytes());
        Random(bytes)
    }
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_hexadecimal() {
        let generator = Generator::seeded([7; 16]);
        let (one, two) = (RequestId::new(generator.next()), RequestId::new(generator.next()));
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 32);
        assert!(one.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn only_plain_names_are_kept() {
        for (name, kept) in [("abc-1", true), ("", false), ("a b", false), ("a\"b", false)] {
            assert_eq!(RequestId::keep(name.as_bytes()).is_some(), kept, "{name}");
        }
        assert!(RequestId::keep(&[b'a'; 65]).is_none());
    }
}
