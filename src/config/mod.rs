//! From a TOML file to an immutable snapshot, with every problem reported at once.
//!
//! [`raw`] is what the user wrote, [`compile`] checks it and resolves every reference,
//! [`snapshot`] is what a request reads, [`error`] is how a problem is told. A problem is never
//! repaired silently, and no key is accepted without effect unless a warning says so.

pub mod snapshot;
