//! The other side: servers, connections to them, and passing one exchange through.
//!
//! - [`select`] picks the next server of an upstream.
//! - [`connect`] opens a connection, [`pool`] keeps those that can be used again.
//! - [`connection`] speaks HTTP/1.1 as a client, strictly.
//! - [`client`] is what it needs of whoever asked.
//! - [`exchange`] moves request and response between a client and a connection, both ways at once.
//! - [`forward`] is the whole: pick, connect or reuse, exchange, retry where nothing was sent.
//!
//! It must not interpret a request: what to send is decided before, in `pipeline` and `edge`.

pub mod client;
pub mod connect;
pub mod connection;
pub mod exchange;
pub mod forward;
pub mod pool;
pub mod select;
