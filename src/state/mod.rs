//! What is remembered between requests. It lives outside the snapshot, survives a reload, and
//! every map in it is bounded.

pub mod custody;
pub mod encoded;
pub mod jar;
pub mod limits;
mod names;
pub mod parked;
pub mod passwords;
pub mod replay;
pub mod sessions;
pub mod streams;
