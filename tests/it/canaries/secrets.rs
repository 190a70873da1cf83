//! What must be seen nowhere, and the search for it.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// In every canary that may hold letters, so that one which nobody listed is found too.
pub const MARK: &str = "canary7Zx";

/// User ids are numbers in some chats.
pub const NUMBERS: [&str; 3] = ["7241904455131313", "7241904455131314", "7241904455131315"];

pub const SESSION_SECRET: &str = "canary7Zx-session-secret-0123456789";
pub const SIGNING: &str = "canary7Zx-signing-secret-0123456789";
pub const PREVIEW: &str = "canary7Zx-preview-token-0123456789";
pub const ADMIN: &str = "canary7Zx-admin-token-0123456789";
pub const PASSWORD: &str = "canary7Zx-password";
pub const COLLECTOR: &str = "canary7Zx-collector-token";

/// What was found, and some of what stands around it.
#[derive(Debug)]
pub struct Found(#[allow(dead_code, reason = "for whoever reads the failure")] String);

/// The search; it learns secrets that the server itself makes.
pub struct Needles(Vec<Vec<u8>>);

impl Needles {
    pub fn new() -> Self {
        let mut needles: Vec<Vec<u8>> = NUMBERS.map(|number| number.as_bytes().to_vec()).into();
        needles.push(MARK.as_bytes().to_vec());
        // As base64, at each of the three places where it can begin.
        for (skip, pad) in [(0, ""), (2, "a"), (3, "aa")] {
            let text = [pad, MARK].concat();
            // The last digits depend on what follows.
            let sure = text.len() * 4 / 3;
            needles.push(BASE64_STANDARD_NO_PAD.encode(&text).as_bytes()[skip..sure].to_vec());
        }
        needles.push(MARK.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        Self(needles)
    }

    pub fn learn(&mut self, secret: &str) {
        assert!(secret.len() >= 16, "{secret:?} is too short to be looked for");
        self.0.push(secret.as_bytes().to_vec());
        self.0.push(BASE64_URL_SAFE_NO_PAD.encode(secret).into_bytes());
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The first canary in `hay`, in whatever case.
    pub fn find(&self, hay: &[u8]) -> Option<Found> {
        let lower = hay.to_ascii_lowercase();
        self.0.iter().find_map(|needle| {
            let needle = needle.to_ascii_lowercase();
            let at = memchr::memmem::find(&lower, &needle)?;
            let around = at.saturating_sub(200)..(at + needle.len() + 100).min(hay.len());
            Some(Found(String::from_utf8_lossy(&hay[around]).into_owned()))
        })
    }
}

#[test]
fn a_canary_is_found_in_every_spelling() {
    let needles = Needles::new();
    for hidden in ["", "a", "ab", "abc"] {
        let text = format!("{hidden}{MARK}-and-more");
        assert!(needles.find(text.to_uppercase().as_bytes()).is_some());
        let base64 = BASE64_STANDARD_NO_PAD.encode(&text);
        assert!(needles.find(format!("x{base64}y").as_bytes()).is_some(), "{text}");
        let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert!(needles.find(hex.as_bytes()).is_some());
    }
    assert!(needles.find(b"canary, canary, can").is_none());
}
