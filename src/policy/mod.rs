//! Policy: one file a stage, each pure. A stage takes borrowed facts about a request or an answer
//! and its own compiled part of the snapshot, and returns a witness, header edits as data, or a
//! [`crate::rejection::Rejection`]. It opens no socket, reads no clock and draws no random number.

pub mod csp;
pub mod origin;
