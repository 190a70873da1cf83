//! One thread: its own runtime, listeners, upstream connections. Workers share only the snapshot,
//! the log, the connection count and the order to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore};

use super::accept;
use super::password;
use super::pulse::{BEAT, Pulse};
use crate::compress::Compressor;
use crate::config::snapshot::{Limits, Serves, Snapshot};
use crate::net::intake::{Begin, Door, Intake};
use crate::pipeline::Scheme;
use crate::policy::assertion::store::AssertionStore;
use crate::policy::limits::Moment;
use crate::policy::session::UnixSeconds;
use crate::state::clock::Clock;
use crate::state::custody::Custody;
use crate::state::jar::Jars;
use crate::state::limits::Limiter;
use crate::state::parked::Parked;
use crate::state::passwords::Passwords;
use crate::state::replay::Replays;
use crate::state::sessions::Sessions;
use crate::state::streams::{Shard, Streams};
use crate::telemetry::access_log::{Log, LogHandle};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::family::Family;
use crate::telemetry::metrics::gather::{Sources, gather};
use crate::telemetry::recent::Recent;
use crate::telemetry::request_id::{Generator, Random};
use crate::telemetry::trace::sampler::Sampler;
use crate::telemetry::trace::{Sink, Tracer};
use crate::upstream::fleet::Fleet;
use crate::upstream::registry::Registry;

/// After a failed accept (no descriptors, mostly) trying at once would only burn the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Looks at the disk at once, for one worker.
const LOOKS: usize = 16;
const SWEEP: Duration = Duration::from_secs(5);

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub tls: Arc<rustls::ServerConfig>,
    pub access_log: Log,
    pub tracer: Tracer,
    pub limiter: Limiter,
    pub sessions: Sessions,
    pub streams: Streams,
    pub jars: Arc<Jars>,
    pub parked: Parked,
    pub replays: Replays,
    pub compressor: Arc<Compressor>,
    pub passwords: Passwords,
    pub upstreams: Arc<Registry>,
    pub metrics: Metrics,
    pub recent: Recent,
    pub custody: Custody,
    pub intake: Intake,
    pub pulse: Pulse,
    clock: Arc<Clock>,
    /// The minute of the clock in which memory was last given back.
    tidied: AtomicU64,
    connections: AtomicUsize,
    /// As many connections as the process has descriptors for, two each.
    most_connections: usize,
    room: Notify,
    draining: AtomicBool,
    stop_accepting: Notify,
    stop: Notify,
}

impl Shared {
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        tls: Arc<rustls::ServerConfig>,
        (access_log, spans): (Log, Option<Sink>),
        begin: Begin,
    ) -> Self {
        let clock = Arc::<Clock>::default();
        let shared = Self {
            snapshot,
            tls,
            access_log,
            tracer: Tracer::new(Sampler::never(), spans),
            limiter: Limiter::default(),
            sessions: Sessions::default(),
            streams: Streams::new(Arc::clone(&clock)),
            jars: Arc::default(),
            parked: Parked::default(),
            replays: Replays::default(),
            compressor: Arc::default(),
            passwords: Passwords::new(&unpredictable()),
            custody: Custody::default(),
            intake: Intake::new(begin),
            pulse: Pulse::default(),
            upstreams: Arc::default(),
            metrics: Metrics::default(),
            recent: Recent::default(),
            clock,
            tidied: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            most_connections: affordable_connections(),
            room: Notify::new(),
            draining: AtomicBool::new(false),
            stop_accepting: Notify::new(),
            stop: Notify::new(),
        };
        shared.metrics.follow(&shared.snapshot.load(), Instant::now());
        shared.follow(&shared.snapshot.load());
        shared
    }

    /// Swaps in a new snapshot and gives the old one back. What outlives snapshots follows it:
    /// limits and sessions of tenants that are gone are forgotten, and streams end whose sessions
    /// it revokes.
    pub fn install(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        // First: a new persona is counted from its first request on.
        self.metrics.follow(&snapshot, Instant::now());
        let old = self.snapshot.swap(Arc::new(snapshot));
        self.follow(&self.snapshot.load());
        old
    }

    fn follow(&self, snapshot: &Snapshot) {
        self.tracer.follow(snapshot.telemetry.otlp.sampler);
        self.access_log.call_users(&snapshot.telemetry.user_ids);
        self.streams.follow(snapshot, self.moment());
        // Who is held back comes again.
        let held_back = snapshot.held_back.iter().filter(|it| it.serves == Serves::Nothing);
        let held_back = held_back.map(|it| &*it.tenant);
        let names = || snapshot.tenants.keys().map(|name| &**name).chain(held_back.clone());
        self.limiter.follow(names());
        self.sessions.follow(names());
        self.jars.follow(names());
        self.parked.follow(names());
        self.replays.follow(names());
        self.compressor.kept.follow(names());
        self.upstreams.follow(snapshot.upstreams.values(), Instant::now());
        for persona in snapshot.tenants.values().flat_map(|tenant| &tenant.personas) {
            if let Some(moment) = persona.revoked_before {
                self.sessions.end_launched_before(&persona.tenant, &persona.name, moment);
            }
        }
    }

    /// Now, for limits.
    pub fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// The same for a moment that the other clock has told already.
    pub fn moment_at(&self, now: tokio::time::Instant) -> Moment {
        self.clock.at(now.into_std())
    }

    /// Goes on with the clock that stands at `now` in the process before. For the start, before
    /// anything is limited.
    pub fn inherit_clock(&self, now: Moment) {
        self.clock.inherit(now);
    }

    /// Gives memory back that limits, sessions and cookies no longer need, once in a while.
    fn tidy(&self) {
        let minute = self.clock.minute();
        if self.tidied.swap(minute, Ordering::Relaxed) == minute {
            return;
        }
        let now = UnixSeconds::from(SystemTime::now());
        self.limiter.tidy(self.moment());
        self.sessions.tidy(now);
        self.streams.tidy();
        self.jars.tidy(now);
        self.parked.tidy(now);
        self.replays.tidy(now);
        self.compressor.kept.tidy(now);
        self.metrics.tidy(Instant::now());
    }

    /// All numbers, as they are now.
    pub fn families(&self) -> Vec<Family> {
        gather(&Sources {
            metrics: &self.metrics,
            snapshot: &self.snapshot.load(),
            limiter: &self.limiter,
            replays: &self.replays,
            parked: &self.parked,
            jars: &self.jars,
            sessions: &self.sessions,
            upstreams: &self.upstreams,
            connections: (self.connections(), self.allowed_connections()),
            is_draining: self.is_draining(),
            dropped: self.access_log.dropped(),
            moment: self.moment(),
        })
    }

    /// Client connections and tunnels that are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// How many client connections may be open: what is configured, or what descriptors allow.
    pub fn allowed_connections(&self) -> usize {
        self.snapshot.load().server.limits.connections.min(self.most_connections)
    }

    /// Closes the listeners; connections end after the answer they are in.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.intake.close();
        self.stop_accepting.notify_waiters();
        self.room.notify_waiters();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends every worker's runtime, and with it all that is still open.
    pub fn stop(&self) {
        self.drain();
        self.stop.notify_waiters();
    }
}

/// Of this process alone.
fn unpredictable() -> [u8; 32] {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system gives randomness");
    key
}

#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    pub fleet: Fleet,
    /// What this worker has open.
    pub shard: Arc<Shard>,
    /// Looks at the disk that may be under way: the disk's slowness must not take every thread.
    pub disk: Semaphore,
    /// Passwords that may be verified at once.
    pub hashing: Semaphore,
    pub log: LogHandle,
    names: Generator,
    /// Of this thread alone: the lock is never waited for.
    assertions: Mutex<AssertionStore>,
}

impl std::ops::Deref for Worker {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Worker {
    pub fn new(shared: Arc<Shared>, seed: [u8; 16]) -> Self {
        // Workers that begin at different servers do not all meet at the same one.
        let turn = u64::from(seed[0]);
        Self {
            shard: shared.streams.shard(),
            fleet: Fleet::new(Arc::clone(&shared.upstreams), turn),
            log: shared.access_log.handle(),
            shared,
            disk: Semaphore::new(LOOKS),
            hashing: Semaphore::new(password::AT_ONCE),
            names: Generator::seeded(seed),
            assertions: Mutex::default(),
        }
    }

    pub fn limits(&self) -> Limits {
        self.snapshot.load().server.limits
    }

    pub fn assertions(&self) -> MutexGuard<'_, AssertionStore> {
        // Half a store is a store: what is missing is minted anew.
        self.assertions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        self.fleet.sweep();
        self.shared.tidy();
    }

    pub fn random(&self) -> Random {
        self.names.next()
    }

    /// Runs a tunnel in a task of its own, counted like a connection. `kept` is dropped after it;
    /// it is no part of the tunnel, because a future that awaits another is twice as large.
    pub fn spawn_tunnel(
        &self,
        tunnel: Pin<Box<dyn Future<Output = ()> + Send>>,
        kept: impl Send + 'static,
    ) {
        let open = Open::new(Arc::clone(&self.shared));
        tokio::spawn(async move {
            tunnel.await;
            drop((open, kept));
        });
    }

    /// Serves `listeners` until the server stops; runs on the worker's own thread.
    pub fn run(
        self,
        listeners: Vec<(std::net::TcpListener, Scheme)>,
        ready: impl FnOnce(io::Result<()>),
    ) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return ready(Err(error)),
        };
        runtime.block_on(async {
            let worker = Arc::new(self);
            let stop = worker.stop.notified();
            let mut stop = std::pin::pin!(stop);
            stop.as_mut().enable();
            for (listener, scheme) in listeners {
                let door = worker.intake.door(listener);
                tokio::spawn(accept_all(Arc::clone(&worker), door, scheme));
            }
            tokio::spawn(end_due(Arc::clone(&worker)));
            ready(Ok(()));
            let mut sweep = tokio::time::interval(SWEEP);
            let (beat, mut pulse) = (worker.pulse.join(), tokio::time::interval(BEAT));
            loop {
                tokio::select! {
                    () = &mut stop => return,
                    _ = sweep.tick() => worker.sweep(),
                    _ = pulse.tick() => beat.beat(),
                }
            }
        });
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
    }
}

/// Descriptors for listeners, logs, idle upstream connections.
const RESERVED: u64 = 64;

/// A client connection needs a second descriptor, to its upstream. Without this bound a crowd of
/// idle strangers would leave none for the upstreams of those who are being served.
fn affordable_connections() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX).max(1)
}

async fn accept_all(worker: Arc<Worker>, mut door: Door, scheme: Scheme) {
    let stop = worker.stop_accepting.notified();
    let mut stop = std::pin::pin!(stop);
    stop.as_mut().enable();
    loop {
        // At the limit new connections wait in the kernel's queue, as they would for a busy peer.
        while worker.connections() >= worker.allowed_connections() && !worker.is_draining() {
            let pause = async {
                let _ = tokio::time::timeout(ACCEPT_PAUSE, worker.room.notified()).await;
                // A successor has room, and waits for us to stop.
                let _ = door.obey().await;
            };
            tokio::select! {
                () = &mut stop => break,
                () = pause => {}
            }
        }
        if worker.is_draining() {
            break;
        }
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = door.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => serve(&worker, stream, peer, scheme),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    // The kernel has accepted those who wait: closing the listener would reset them. Where a successor
    // has the listener too, the door is held, and they are the successor's.
    while worker.connections() < worker.allowed_connections()
        && let Some(Ok((stream, peer))) = door.accept().now_or_never()
    {
        serve(&worker, stream, peer, scheme);
    }
}

/// Ends streams when their time has come, for ever.
async fn end_due(worker: Arc<Worker>) {
    loop {
        match worker.shard.end_due(worker.moment()) {
            None => worker.shard.sooner().await,
            Some(next) => _ = tokio::time::timeout(next, worker.shard.sooner()).await,
        }
    }
}

fn serve(worker: &Arc<Worker>, stream: tokio::net::TcpStream, peer: SocketAddr, scheme: Scheme) {
    let open = Open::new(Arc::clone(&worker.shared));
    let worker = Arc::clone(worker);
    tokio::spawn(async move {
        accept::connection(worker, stream, peer, scheme).await;
        drop(open);
    });
}

/// Counts as one connection while it lives.
#[derive(Debug)]
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
        self.0.room.notify_one();
    }
}
