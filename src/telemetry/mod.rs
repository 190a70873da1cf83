//! What an operator can see. It must never see a query value, a token or a cookie.
//!
//! There are no log levels. Standard error has a few sentences about the process, the access log has
//! a line a request, and both are written here and in [`crate::cli`], word by word. What the program
//! is built of would log headers and frames as it pleases: `log` and `tracing` are compiled without
//! any level (Cargo.toml), which costs nothing either, and nothing that prints for them may be in the
//! build (tests/layers.py).

pub mod access_log;
pub mod metrics;
pub mod otlp;
pub mod recent;
pub mod request_id;
pub mod trace;
pub mod warn;
