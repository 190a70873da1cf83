//! The edge: connections in, answers out.
//!
//! [`worker`] is one thread with its own listeners; [`accept`] makes a connection of a socket
//! (PROXY header, TLS, protocol); [`h1`] and [`h2`] read requests; [`handle`] takes each through
//! the pipeline; [`headers`] applies what the stages decided; [`respond`] is the only place that
//! turns a refusal into bytes; what pages tell of their handshakes goes into numbers and traces here; [`tunnel`] carries WebSockets, whose [`frames`] it follows where a
//! session may end them.

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
