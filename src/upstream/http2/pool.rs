//! HTTP/2 connections of one worker, by server. They outlive a reload.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::upstream::member::MemberId;

/// Connections kept for one server: more come only where each of them is full.
const PER_SERVER: usize = 16;
/// How long a connection without streams is kept.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Http2Pool {
    open: Mutex<HashMap<MemberId, Vec<Kept>, foldhash::fast::RandomState>>,
}

#[derive(Debug)]
struct Kept {
    shared: Shared,
    used: Instant,
}

impl Http2Pool {
    /// A connection that can take another stream.
    pub fn take(&self, member: MemberId) -> Option<Shared> {
        let mut open = self.open();
        let connections = open.get_mut(&member)?;
        let mut at = 0;
        while let Some(kept) = connections.get_mut(at) {
            match kept.shared.has_room() {
                Some(true) => {
                    kept.used = Instant::now();
                    return Some(Shared { reused: true, ..kept.shared.clone() });
                }
                Some(false) => at += 1,
                None => drop(connections.swap_remove(at)),
            }
        }
        None
    }

    /// Keeps a connection that has just been opened, for others besides whoever opened it.
    pub fn put(&self, member: MemberId, shared: &Shared) {
        let mut open = self.open();
        let connections = open.entry(member).or_default();
        if connections.len() < PER_SERVER {
            connections.push(Kept { shared: shared.clone(), used: Instant::now() });
        }
    }

    /// Drops what nobody has used for long, or has ended; called now and then.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.open().retain(|_, connections| {
            connections.retain_mut(|kept| {
                if !kept.shared.is_idle() {
                    kept.used = now;
                }
                now.duration_since(kept.used) <= IDLE && kept.shared.has_room().is_some()
            });
            !connections.is_empty()
        });
    }

    fn open(&self) -> MutexGuard<'_, HashMap<MemberId, Vec<Kept>, foldhash::fast::RandomState>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
