//! One host, one path, or a refusal.
//!
//! What cannot be read in exactly one way stops here, before any routing: a proxy that matches one
//! reading and forwards another is a hole. Pure functions over borrowed text.

pub mod host;
pub mod path;
pub mod target;
