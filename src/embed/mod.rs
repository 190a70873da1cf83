//! What we add to the documents of an app.

pub mod config;
pub mod splice;
