//! Bytes, TLS, time and reload against a running server, in this process and on loopback.

mod harness;

mod exchange;
mod front;
mod gate;
mod websocket;
