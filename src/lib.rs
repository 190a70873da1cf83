//! Vestibule, the front door for embedded chat: a multi-tenant, persona-routing reverse proxy.
//!
//! # The life of a request
//!
//! Read the modules in this order to follow one.
//!
//! 1. [`edge`] accepts a connection ([`edge::accept`]: PROXY header, TLS by [`tls`]) and reads
//!    HTTP/1 through our own strict codec ([`http1`]) or HTTP/2 through the `h2` crate.
//! 2. [`edge::handle`] takes each request through [`pipeline::admit`]: [`gate`] makes one canonical
//!    host and path or refuses, [`route`] finds tenant, persona and device, [`apps`] knows what a
//!    path means to the app behind it, and [`policy`] decides who may pass and as whom: limits,
//!    metadata, session, origin. The answer is data: forward this there, redirect, answer, refuse.
//! 3. [`upstream::forward`] picks a server that is well ([`upstream::group`]) and a pooled
//!    connection, and [`upstream::exchange`] moves request and response both ways at once. A WebSocket leaves it for a tunnel
//!    ([`edge::tunnel`]), a small future of its own, which ends with its session.
//! 4. [`edge::headers`] dresses what comes back: framing policies ([`policy::csp`]), cookies, and
//!    the bridge's script element ([`embed`]), and compresses it ([`compress`]); [`telemetry`] writes one line about it
//!    and counts it.
//!
//! Around them: [`config`] turns a TOML file into an immutable [`config::snapshot::Snapshot`],
//! [`reload`] swaps a new one in, [`state`] keeps what outlives snapshots (limits, ended sessions,
//! what is open, cookies kept for browsers that keep none, what launches left for the apps),
//! [`internal`] tells the apps that, and the keys of assertions, [`admin`] is for operators, [`app`]
//! starts and stops the whole, [`upgrade`] puts a new process in its place, [`systemd`] is told about
//! all that, [`cli`] is what people type, [`explain`] shows a decision without a request, [`diff`]
//! what a reload would change, [`demo`] shows it all on loopback.
//!
//! # What is open
//!
//! Every request, event stream and WebSocket has a place in [`state::streams`], with the persona or
//! site that it belongs to. A reload that takes a persona away, a drain and a stop tell streams to
//! end, one after the other; [`edge`] ends them in their own words.
//!
//! Not wired yet: tokens (`jwt`), the session API, and what Rasa and Socket.IO need beyond a proxy.
//!
//! # Threads
//!
//! Each worker is one thread with one current-thread runtime, its own `SO_REUSEPORT` listeners and
//! its own upstream connections and kept assertions. Workers share the snapshot, the connection
//! count, the order to stop, and [`state`], whose locks are a tenant's own and held for one
//! look-up. What a worker has open is in a shard of its own. Reloading, writing the access log,
//! sending traces and metrics ([`telemetry::otlp`]), watching the upstreams' servers
//! ([`upstream::watch`]), the internal listener and the one for operators have a thread each; a
//! worker waits for none of them.
//!
//! # Memory
//!
//! A connection that waits holds no buffer: reads go through one scratch buffer a thread
//! ([`http1::scratch`]) and only what arrived is kept. A stream's buffers are bounded on both
//! sides, and one side is read only while the other takes.
//!
//! # What must stay true
//!
//! - Raw configuration and the compiled snapshot are different types; a request decides with one
//!   snapshot.
//! - Policy is pure: no sockets, no clock, no randomness of its own.
//! - A later stage takes the earlier stage's witness, so that the wrong order does not compile.
//! - Only `http1`, `net`, `edge` and `upstream` touch sockets, httparse and h2.
//! - One [`rejection::Rejection`]; one place turns it into bytes.
//! - What cannot be read in exactly one way does not parse.
//! - Trusted headers are always set or removed, on every path, upgrades included.
//! - Every map and every queue is bounded.

pub mod admin;
pub mod app;
pub mod apps;
pub mod cli;
pub mod compress;
pub mod config;
pub mod demo;
pub mod diff;
pub mod edge;
pub mod embed;
pub mod explain;
pub mod files;
pub mod gate;
pub mod http1;
pub mod internal;
pub mod net;
pub mod pipeline;
pub mod policy;
pub mod rejection;
pub mod reload;
pub mod route;
pub mod state;
pub mod systemd;
pub mod telemetry;
pub mod tls;
pub mod upgrade;
pub mod upstream;
