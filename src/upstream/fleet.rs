//! What a worker lends to every request: idle connections, and its own turn at each upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::condition::Failed;
use super::connect::{connect, connect_http2};
use super::connection::Connection;
use super::forward::Plan;
use super::group::{Group, Refused};
use super::http2::{Http2Pool, Shared};
use super::member::{Lease, Member, MemberId};
use super::pool::Pool;
use super::registry::Registry;
use crate::rejection::{Code, Rejection};

/// Upstreams that take turns of their own; those past it share one with another.
const TURNS: usize = 64;

#[derive(Debug)]
pub struct Fleet {
    pub pool: Pool,
    pub http2: Http2Pool,
    registry: Arc<Registry>,
    /// Of this worker alone: nobody else writes them.
    turns: [AtomicU64; TURNS],
}

/// Why a server gave no connection.
#[derive(Debug)]
pub(super) enum NoConnection {
    /// It cannot be reached; another one may be.
    Unreachable(Rejection),
    /// The upstream has enough to do.
    Overloaded(Rejection),
}

impl Fleet {
    /// `start` is where this worker's turns begin: any number.
    pub fn new(registry: Arc<Registry>, start: u64) -> Self {
        let turns = std::array::from_fn(|_| AtomicU64::new(start));
        Self { pool: Pool::default(), http2: Http2Pool::default(), registry, turns }
    }

    /// A server that the request has not tried.
    pub(super) fn pick(&self, plan: &Plan, tried: &[MemberId]) -> Result<Lease, Refused> {
        self.with(plan, |group| {
            let turn = self.turns[group.number % TURNS].fetch_add(1, Ordering::Relaxed);
            group.pick(&plan.upstream.policy, &plan.key, turn, tried)
        })
    }

    /// Opens a connection; `retries` where another server was tried before.
    pub(super) async fn open(
        &self,
        plan: &Plan,
        member: &Member,
        retries: bool,
    ) -> Result<Box<Connection>, NoConnection> {
        // Boxed: what a handshake needs is not memory of every connection that is idle.
        let opening = connect(member, plan.upstream.connect_timeout);
        Box::pin(self.opened(plan, member, retries, opening)).await
    }

    /// The same for HTTP/2; the connection is there for others too.
    pub(super) async fn open_http2(
        &self,
        plan: &Plan,
        member: &Member,
        retries: bool,
    ) -> Result<Shared, NoConnection> {
        let opening = connect_http2(member, plan.upstream.connect_timeout);
        let shared = self.opened(plan, member, retries, opening).await?;
        self.http2.put(member.id, &shared);
        Ok(shared)
    }

    async fn opened<T>(
        &self,
        plan: &Plan,
        member: &Member,
        retries: bool,
        opening: impl Future<Output = std::io::Result<T>>,
    ) -> Result<T, NoConnection> {
        let waiting = self.with(plan, |group| group.wait(&plan.upstream.policy, retries));
        let _waiting = waiting.map_err(|refused| NoConnection::Overloaded(rejection(refused)))?;
        opening.await.map_err(|error| {
            self.failed(plan, member, Failed::Unreached);
            NoConnection::Unreachable(unreachable(&error))
        })
    }

    /// Drops connections that nobody uses; called now and then.
    pub fn sweep(&self) {
        self.pool.sweep();
        self.http2.sweep();
    }

    pub(super) fn succeeded(&self, plan: &Plan, member: &Member) {
        if member.is_troubled() {
            self.with(plan, |group| group.succeeded(member));
        }
    }

    pub(super) fn failed(&self, plan: &Plan, member: &Member, how: Failed) {
        self.with(plan, |group| group.failed(member, how, Instant::now().into_std()));
    }

    /// The request became a stream: its session stays at that server.
    pub(super) fn streams(&self, plan: &Plan, lease: &mut Lease) {
        let balance = plan.upstream.policy.balance;
        let stay = self.with(plan, |group| group.stream(balance, &plan.key, lease.member()));
        if let Some(stay) = stay {
            lease.stay(stay);
        }
    }

    /// The answer begins with this: it may name an Engine.IO connection.
    pub(super) fn began(&self, plan: &Plan, beginning: &[u8], member: &Member) {
        if let Some(sid) = crate::apps::engineio::sid(beginning) {
            self.with(plan, |group| group.begun(&plan.key, sid, member));
        }
    }

    fn with<T>(&self, plan: &Plan, with: impl FnOnce(&Arc<Group>) -> T) -> T {
        self.registry.with(&plan.upstream, with)
    }
}

pub(super) fn rejection(refused: Refused) -> Rejection {
    match refused {
        Refused::NoServer | Refused::NoRetry => {
            Rejection::new(Code::UpstreamUnavailable, "the upstream has no servers")
        }
        Refused::Overloaded => {
            Rejection::new(Code::UpstreamOverloaded, "the upstream is at its limit")
        }
    }
}

fn unreachable(error: &std::io::Error) -> Rejection {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut => {
            Rejection::new(Code::UpstreamTimeout, "connecting to the upstream took too long")
        }
        ErrorKind::ConnectionRefused => {
            Rejection::new(Code::UpstreamUnreachable, "the upstream refused the connection")
        }
        ErrorKind::InvalidData => {
            Rejection::new(Code::UpstreamUnreachable, "TLS to the upstream failed")
        }
        _ => Rejection::new(Code::UpstreamUnreachable, "connecting to the upstream failed"),
    }
}
