//! What a hundred reloads do to a thousand open WebSockets and to requests under way: nothing.
//!
//! `cargo bench --bench streams_under_reload` keeps the load of `tests/steady` going while other
//! tenants change, personas come and go and certificates rotate, and prints what failed.

use std::time::Duration;

#[path = "../tests/steady/mod.rs"]
mod steady;

use steady::{Outcome, Size, run};

fn main() {
    let pause = Duration::from_millis(500);
    let size = Size { websockets: 1000, clients: 8, reloads: 100, pause };
    let Outcome { requests, messages, failures, slowest } = run(size);
    println!(
        "{} reloads under load, the slowest {slowest:?}: {requests} requests, {} WebSockets with \
         {messages} messages",
        size.reloads, size.websockets
    );
    let lost = failures.iter().filter(|failure| failure.starts_with("WebSocket")).count();
    println!("failed requests: {}, WebSockets lost: {lost}", failures.len() - lost);
    assert!(failures.is_empty(), "{failures:#?}");
}
