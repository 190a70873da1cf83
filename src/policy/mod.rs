//! The rules: one file a stage. Each takes borrowed facts, its own compiled settings and a clock
//! value, and answers with a witness or a [`crate::rejection::Rejection`].
//!
//! Nothing in here opens a socket, reads a clock or makes a random number.

pub mod assertion;
pub mod identity;
pub mod metadata;
pub mod query;
pub mod secret;
pub mod session;
