//! Bytes, TLS, time and reload against a running server, in this process and on loopback.

mod harness;

mod exchange;
mod front;
mod fuzz_upstream;
mod gate;
mod http2;
mod http2_websocket;
mod messages;
mod websocket;
