//! Bytes, TLS, time and reload against a running server, in this process and on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; its threads are its own"
)]

mod harness;

mod admin;
mod canaries;
mod compression;
mod endurance;
mod errors;
mod exchange;
mod firewall;
mod fleet;
mod folders;
mod framing;
mod front;
mod fronts;
mod fuzz_upstream;
mod gate;
mod http2;
mod http2_websocket;
mod life;
mod logs;
mod messages;
mod metrics;
mod passwords;
mod traces;
mod upgrade;
mod websocket;
