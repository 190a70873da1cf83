//! Vestibule, the front door for embedded chat: a multi-tenant, persona-routing reverse proxy.
//!
//! # The life of a request
//!
//! Read the modules in this order to follow one.
//!
//! 1. [`edge`] accepts a connection, terminates TLS ([`tls`]) and reads HTTP/1 through our own
//!    strict codec ([`http1`]) or HTTP/2 through the `h2` crate.
//! 2. [`pipeline`] admits it: [`gate`] makes one canonical host and path or refuses, [`route`]
//!    finds tenant, persona and device, and [`policy`] decides whether it may pass and as whom.
//! 3. [`upstream`] picks a server, a pooled connection, and passes the stream both ways.
//! 4. [`pipeline`] dresses the answer; [`telemetry`] writes one line about it.
//!
//! Around them: [`config`] turns a TOML file into an immutable [`config::snapshot::Snapshot`],
//! [`reload`] swaps a new one in, [`app`] starts and stops the whole, [`cli`] is what people type,
//! [`demo`] shows it all on loopback.
//!
//! # What must stay true
//!
//! - Raw configuration and the compiled snapshot are different types; a request loads the snapshot
//!   once.
//! - Policy is pure: no sockets, no clock, no randomness of its own.
//! - A later stage takes the earlier stage's witness, so that the wrong order does not compile.
//! - Only `http1`, `edge` and `upstream` touch sockets, httparse and h2.
//! - One [`rejection::Rejection`]; one place turns it into bytes.
//! - What cannot be read in exactly one way does not parse.

pub mod app;
pub mod apps;
pub mod cli;
pub mod config;
pub mod demo;
pub mod edge;
pub mod gate;
pub mod http1;
pub mod net;
pub mod pipeline;
pub mod policy;
pub mod rejection;
pub mod reload;
pub mod route;
pub mod state;
pub mod telemetry;
pub mod tls;
pub mod upstream;
