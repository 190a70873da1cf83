//! The stages of a decision, one file each.
//!
//! A stage takes facts about the request, its part of the snapshot and a clock value, and returns
//! a witness or a refusal. It must not touch sockets, read a clock or make randomness.

pub mod assertion;
pub mod beacon;
pub mod csp;
pub mod front;
pub mod identity;
pub mod injection;
pub mod launch;
pub mod limits;
pub mod metadata;
pub mod origin;
pub mod pseudonym;
pub mod query;
pub mod secret;
pub mod session;
pub mod shared_host;
pub mod signature;
pub mod variables;
