//! The other side: servers, connections to them, and passing one exchange through.
//!
//! - [`policy`] is what the configuration says of that, [`registry`] all upstreams by name, and
//!   what is known of them, which outlives snapshots.
//! - [`group`] is one upstream: its servers ([`member`]), how each is doing ([`condition`]), how much
//!   it is asked to bear ([`circuit`]), who stays where ([`affinity`]); [`select`] picks the next.
//! - [`watch`] is the thread that asks servers how they are ([`check`]) and names for addresses, and [`news`]
//!   what operators are told of that.
//! - [`fleet`] is what a worker lends to a request; [`connect`] opens a connection, [`pool`] keeps those that can be used again.
//! - [`connection`] speaks HTTP/1.1 as a client, strictly, and [`http2`] HTTP/2; [`server`] is what
//!   an exchange needs of either, [`client`] what it needs of whoever asked.
//! - [`exchange`] moves request and response between a client and a connection, both ways at once.
//! - [`forward`] is the whole: pick, connect or reuse, exchange, retry where nothing was sent.
//!
//! Membership and health are our own. `pingora-load-balancing` (0.9.1) would bring them, but needs
//! `pingora-core`, which asks for `flate2` with `zlib-ng` whatever its features: `libz-ng-sys` builds
//! with cmake only, and the first command of the README must work on a machine without it. (It would
//! also add fifty crates, and knows no stickiness, no least-connections, no ejection, no slow start.)
//!
//! It must not interpret a request: what to send is decided before, in `pipeline` and `edge`.

pub mod affinity;
pub mod check;
pub mod circuit;
pub mod client;
pub mod condition;
pub mod connect;
pub mod connection;
pub mod exchange;
pub mod fleet;
pub mod forward;
pub mod group;
pub mod http2;
pub mod member;
pub mod news;
mod on_server;
pub mod passage;
pub mod policy;
pub mod pool;
pub mod registry;
pub mod select;
pub mod server;
pub mod watch;
