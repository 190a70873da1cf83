//! The thread that watches servers: health checks, names, and whatever only time changes.
//!
//! No worker waits for it, and it waits for no server: what takes long runs beside its tick, at
//! most one check for each server and one look-up for each name at a time. A name that does not
//! resolve keeps the addresses that it had.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::check::check;
use super::group::Group;
use super::member::{Member, MemberId};
use super::news::News;
use super::registry::Registry;
use super::select::{mix, stable_hash};
use crate::config::snapshot::{ServerAddress, ServerId, Upstream};
use crate::telemetry::warn::Warn;

/// How exactly intervals are kept.
const TICK: Duration = Duration::from_millis(100);
const TIDY: Duration = Duration::from_secs(30);
/// Names that are looked up at once.
const LOOK_UPS: usize = 16;
/// Of one name that are used.
const MAX_ADDRESSES: usize = 256;

/// Asks for the addresses of a name; blocks.
pub type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// The running thread; dropping this ends it.
#[derive(Debug)]
pub struct Watch {
    /// Dropped, it says stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// `warn` hears of servers that come to be left alone, and of their return.
    pub fn start(registry: Arc<Registry>, resolve: Resolve, warn: Warn) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOK_UPS)
            .thread_name("resolve")
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("upstreams".into()).spawn(move || {
            runtime.block_on(watch(&registry, resolve, &warn, stopped));
            // A name that is still being resolved is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What the operating system says: its hosts file, its name servers.
#[allow(clippy::disallowed_methods, reason = "runs on a thread that may block")]
pub fn system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(std::net::ToSocketAddrs::to_socket_addrs(&(name, port))?.collect())
}

async fn watch(
    registry: &Registry,
    resolve: Resolve,
    warn: &Warn,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut checks = Agenda::default();
    let mut names = Agenda::default();
    let mut news = News::default();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tidied = Instant::now();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = tick.tick() => {}
        }
        let now = Instant::now();
        for group in registry.live() {
            look_up(&mut names, &group, resolve, now);
            ask(&mut checks, &group, now);
            group.tick(now);
            news.of(&group, now).iter().for_each(|what| warn.say(what));
        }
        news.forget_others();
        checks.forget_others();
        names.forget_others();
        if now.duration_since(tidied) >= TIDY {
            tidied = now;
            registry.tidy(now);
        }
    }
}

fn ask(checks: &mut Agenda<MemberId>, group: &Arc<Group>, now: Instant) {
    let upstream = group.upstream();
    let Some(policy) = &upstream.policy.health else { return };
    for member in group.members() {
        let (group, upstream) = (Arc::clone(group), Arc::clone(&upstream));
        checks.entry(member.id).run(now, jittered(policy.interval, member.identity), || {
            tokio::spawn(async move { report(&group, &member, &upstream).await })
        });
    }
}

async fn report(group: &Group, member: &Member, upstream: &Upstream) {
    let Some(policy) = &upstream.policy.health else { return };
    let is_well = check(member, upstream.policy.protocol, policy).await;
    group.checked(member, is_well, policy, Instant::now());
}

fn look_up(
    names: &mut Agenda<(usize, ServerId)>,
    group: &Arc<Group>,
    resolve: Resolve,
    now: Instant,
) {
    let upstream = group.upstream();
    for server in &upstream.servers {
        let ServerAddress::Name(name, port) = &server.address else { continue };
        let (id, name, port) = (server.id, name.clone(), *port);
        let every = jittered(upstream.policy.resolve_interval, stable_hash(name.as_bytes()));
        let group = Arc::clone(group);
        names.entry((group.number, id)).run(now, every, || {
            tokio::task::spawn_blocking(move || {
                if let Ok(addresses) = resolve(&name, port) {
                    group.resolved(id, &sorted(addresses), Instant::now());
                }
            })
        });
    }
}

/// Each once, in an order that does not depend on the answer's.
fn sorted(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// Up to a tenth shorter, so that servers are not all asked at the same moment for ever.
fn jittered(interval: Duration, of: u64) -> Duration {
    interval.mul_f64(1.0 - (mix(of) % 1000) as f64 / 10_000.0)
}

/// What is done again and again, each at its own time.
#[derive(Debug)]
struct Agenda<K>(HashMap<K, Item>);

#[derive(Debug, Default)]
struct Item {
    last: Option<Instant>,
    running: Option<tokio::task::JoinHandle<()>>,
    is_wanted: bool,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Agenda<K> {
    fn entry(&mut self, key: K) -> &mut Item {
        let item = self.0.entry(key).or_default();
        item.is_wanted = true;
        item
    }

    /// Forgets what was not asked for since the last time.
    fn forget_others(&mut self) {
        self.0.retain(|_, item| std::mem::take(&mut item.is_wanted));
    }
}

impl Item {
    /// Starts what it is about where that is due, and the time before has ended.
    fn run(
        &mut self,
        now: Instant,
        every: Duration,
        start: impl FnOnce() -> tokio::task::JoinHandle<()>,
    ) {
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= every);
        let is_idle = self.running.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        if is_due && is_idle {
            self.last = Some(now);
            self.running = Some(start());
        }
    }
}
