//! What an operator puts in front of an app, whichever app it is: who may come at all, where old
//! addresses lead, what every answer says, how it is compressed, and which way its pages read.
//!
//! Each part decides from borrowed facts and keeps nothing. A persona and a site have one
//! [`Front`] each; most of them are empty and cost nothing.

pub mod addresses;
pub mod compression;
pub mod files;
pub mod folders;
pub mod headers;
pub mod password;
pub mod redirects;

use std::sync::Arc;

use crate::policy::metadata::Direction;
use addresses::Addresses;
use compression::Compression;
use headers::Headers;
use password::Password;
use redirects::Redirects;

/// One persona's or site's.
#[derive(Debug, Default)]
pub struct Front {
    /// Of pages of ours, where the launch says nothing.
    pub direction: Option<Direction>,
    pub addresses: Addresses,
    pub redirects: Redirects,
    /// Present where a name and a password come first.
    pub password: Option<Password>,
    pub headers: Headers,
    /// Present where answers may be compressed.
    pub compression: Option<Arc<Compression>>,
}

impl Front {
    /// Whether the same may come: by address, and by name and password.
    pub fn admits_like(&self, other: &Front) -> bool {
        let passwords = match (&self.password, &other.password) {
            (None, None) => true,
            (Some(one), Some(other)) => one.admits_like(other),
            (None, Some(_)) | (Some(_), None) => false,
        };
        passwords && self.addresses == other.addresses
    }
}
