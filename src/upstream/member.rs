//! One server of an upstream as it is used: an address, how it is doing, and what it is doing.
//!
//! What a request needs of it is in atomics. The rest is behind a lock that is taken when something
//! has changed: a check, a failure, the first success after one.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::affinity::Stay;
use super::condition::Condition;
use super::select::{FULL, stable_hash};
use crate::config::snapshot::{Server, ServerAddress, ServerId};

/// A member for as long as it is one; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberId(pub u64);

#[derive(Debug)]
pub struct Member {
    pub id: MemberId,
    /// A name that was resolved is an address here.
    pub server: Server,
    /// The same wherever and whenever the address is.
    pub identity: u64,
    weight: AtomicU8,
    /// A success would be news.
    troubled: AtomicBool,
    active: AtomicU32,
    condition: Mutex<Condition>,
}

impl Member {
    pub fn new(server: Server, condition: Condition) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let identity = stable_hash(server.address.to_string().as_bytes());
        Self {
            id: MemberId(NEXT.fetch_add(1, Ordering::Relaxed)),
            server,
            identity,
            weight: AtomicU8::new(FULL),
            troubled: AtomicBool::new(false),
            active: AtomicU32::new(0),
            condition: Mutex::new(condition),
        }
    }

    /// How much of its share it gets.
    pub fn weight(&self) -> u8 {
        self.weight.load(Ordering::Relaxed)
    }

    pub fn set_weight(&self, weight: u8) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// Requests under way and open streams.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::SeqCst)
    }

    pub fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Looks at its condition, or changes it.
    pub fn with_condition<T>(&self, with: impl FnOnce(&mut Condition) -> T) -> T {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        let result = with(&mut condition);
        self.troubled.store(condition.is_troubled(), Ordering::Relaxed);
        result
    }

    /// It is this server at this address.
    pub fn is(&self, server: ServerId, address: Option<SocketAddr>) -> bool {
        let own = match self.server.address {
            ServerAddress::Ip(own) => Some(own),
            ServerAddress::Name(..) | ServerAddress::Unix(_) => None,
        };
        self.server.id == server && own == address
    }
}

/// A member that is being used; it counts until this is dropped.
#[derive(Debug)]
pub struct Lease {
    member: Arc<Member>,
    /// The session of a stream.
    stay: Option<Box<Stay>>,
}

impl Lease {
    pub fn new(member: &Arc<Member>) -> Self {
        member.active.fetch_add(1, Ordering::SeqCst);
        Self { member: Arc::clone(member), stay: None }
    }

    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    pub fn stay(&mut self, stay: Stay) {
        self.stay = Some(Box::new(stay));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.active.fetch_sub(1, Ordering::SeqCst);
    }
}

/// As in the configuration, without the scheme.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Ip(address) => address.fmt(f),
            ServerAddress::Name(name, port) => write!(f, "{name}:{port}"),
            ServerAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
