//! A server, upstreams that record or misbehave, and a client that sends exact bytes.

pub mod client;
pub mod collector;
pub mod h2;
pub mod h2_server;
pub mod proxy;
pub mod replica;
pub mod upstream;

use std::time::Duration;

/// Longer than anything takes; a test that waits this long fails.
pub const PATIENCE: Duration = Duration::from_secs(10);
