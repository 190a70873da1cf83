//! Which server of an upstream is asked next.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::snapshot::{Server, Upstream};

/// Round-robin over one worker. The count is shared by all upstreams: what matters is that
/// requests that follow each other go to different servers.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl RoundRobin {
    /// The servers of `upstream`, each once, in the order in which they should be tried.
    pub fn order<'u>(&self, upstream: &'u Upstream) -> impl Iterator<Item = &'u Server> + use<'u> {
        let servers = &upstream.servers;
        let start = match servers.len() {
            0 | 1 => 0,
            count => self.next.fetch_add(1, Ordering::Relaxed) % count,
        };
        servers[start..].iter().chain(&servers[..start])
    }
}
