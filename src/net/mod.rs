//! Sockets as the rest of the crate sees them: one stream type, listeners, a lazy deadline, writes
//! that wait for each other ([`gather`]).
//!
//! It decides nothing about HTTP. Listeners may be another process's ([`inherited`]), and are polled
//! only while the process is to accept ([`intake`]).

pub mod address;
pub mod deadline;
pub mod gather;
pub mod inherited;
pub mod intake;
pub mod io;
pub mod listener;
pub mod proxy_header;
pub mod service;
