//! Idle connections of one worker, by server. They outlive a reload.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::member::MemberId;

/// Idle connections kept for one server.
const PER_SERVER: usize = 128;
/// How long a connection may be idle and still be used for a request that is safe to repeat.
const IDLE_REPEATABLE: Duration = Duration::from_secs(60);
/// The same for any other request. Servers close idle connections without a word after as little
/// as two seconds; a request that raced that could not be sent again, so it takes no such chance.
const IDLE_ONCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Pool {
    idle: Mutex<HashMap<MemberId, Idle, foldhash::fast::RandomState>>,
}

/// Boxed, because a connection is half a kilobyte that is moved twice a request.
#[allow(clippy::vec_box, reason = "moving a pointer is what is wanted")]
type Idle = Vec<Box<Connection>>;

impl Pool {
    /// The most recently used idle connection that is still sound.
    pub fn take(&self, member: MemberId, repeatable: bool) -> Option<Box<Connection>> {
        let longest = if repeatable { IDLE_REPEATABLE } else { IDLE_ONCE };
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let connections = idle.get_mut(&member)?;
        while let Some(mut connection) = connections.pop() {
            let age = now.duration_since(connection.idle_since);
            if age > longest {
                if age <= IDLE_REPEATABLE {
                    connections.push(connection);
                } else {
                    // The others are older still.
                    connections.clear();
                }
                return None;
            }
            if connection.renew() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, mut connection: Box<Connection>, now: Instant) {
        connection.idle_since = now;
        connection.recv.rest();
        connection.send.rest();
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let connections = idle.entry(connection.member).or_default();
        if connections.len() < PER_SERVER {
            connections.push(connection);
        }
    }

    /// Drops what has been idle too long or was closed by its server; called now and then.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain_mut(|connection| {
                now.duration_since(connection.idle_since) <= IDLE_REPEATABLE && connection.renew()
            });
            !connections.is_empty()
        });
    }
}
