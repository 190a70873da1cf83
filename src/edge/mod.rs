//! The edge: connections in, answers out.
//!
//! [`worker`] is one thread with its own listeners; [`accept`] makes a connection of a socket
//! (PROXY header, TLS, protocol); [`h1`] and [`h2`] read requests; [`handle`] takes each through
//! the pipeline; [`headers`] applies what the stages decided; [`respond`] is the only place that
//! turns a refusal into bytes; `beacon` counts what pages tell of their handshakes; [`tunnel`]
//! carries WebSockets, whose [`frames`] it follows where a session may end them.

use std::time::Duration;

pub mod accept;
mod beacon;
mod coding;
mod collect;
pub mod ending;
mod files;
pub mod frames;
pub mod h1;
pub mod h2;
pub mod handle;
pub mod headers;
mod open;
mod password;
mod prepare;
pub mod pulse;
pub mod respond;
pub mod tunnel;
pub mod worker;

/// How long, and over how many bytes, a client may go on sending that was told of the end: closing
/// at once would reset the connection, and what it has not read could be lost with it.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 1024 * 1024;
