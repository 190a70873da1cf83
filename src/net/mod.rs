//! Sockets as the rest of the crate sees them: one stream type, listeners, a lazy deadline.
//!
//! It decides nothing about HTTP.

pub mod deadline;
pub mod io;
pub mod listener;
pub mod proxy_header;
pub mod service;
