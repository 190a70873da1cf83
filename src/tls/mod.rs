//! TLS: which certificate is shown, and what is made for development.
//!
//! `store` is the compiled part of the snapshot, `resolver` reads it live for each handshake, `dev`
//! makes a throw-away authority and leaves. A certificate is never shown for a name that it does
//! not cover: a handshake without a matching name fails.

pub mod dev;
pub mod resolver;
pub mod store;
