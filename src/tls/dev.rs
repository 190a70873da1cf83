//! A development certificate authority and its leaves, made with rcgen and never committed.
