//! The whole server as a value: start it, ask it where it listens, reload it, stop it.
//!
//! The binary, the demo and the tests all start the server through [`App`]. It must not install
//! signal handlers or print: that is the command line's business.

mod stopping;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::admin::{self, Operations, Reload};
use crate::config::snapshot::{AccessLog, Snapshot};
use crate::edge::worker::{Shared, Worker};
use crate::internal::{self, InternalServer};
use crate::net::inherited::{self, Inherited};
use crate::net::intake::{Begin, Intake};
use crate::net::listener;
use crate::net::service::Service;
use crate::pipeline::Scheme;
use crate::policy::session::UnixSeconds;
use crate::state::streams::{Counts, Ended, Whose};
use crate::telemetry::access_log::{self, LogWriter};
use crate::telemetry::metrics::family::Family;
use crate::telemetry::otlp::Otlp;
use crate::telemetry::warn::Warn;
use crate::upstream::registry::UpstreamStatus;
use crate::upstream::watch::{self, Resolve, Watch};
use stopping::{Left, Step, Stopping};

/// How often a drain looks whether everything has ended.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// A running server. Dropping it stops the workers without draining.
#[derive(Debug)]
pub struct App {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    internal: Option<InternalServer>,
    operations: Arc<Operations>,
    /// It answers until everything else has ended.
    admin: Option<Service>,
    /// Checks the upstreams' servers.
    _watch: Watch,
    /// Writes what is queued when it is dropped, after the workers.
    _log: LogWriter,
    /// Sends what is left when it is dropped, after the workers.
    otlp: Otlp,
}

/// Why the server could not start.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// What is not in the configuration file.
#[derive(Debug, Default)]
pub struct Options {
    /// Where access log lines go instead of what the snapshot says; for tests and the demo.
    pub access_log: Option<PathBuf>,
    /// Where the addresses of upstreams' names come from instead of the system; for tests.
    pub resolve: Option<Resolve>,
    /// Hears of what goes wrong, and right again, while the server runs.
    pub warn: Warn,
}

impl App {
    /// Binds every listener of `snapshot` and starts the workers; returns when they accept.
    /// Port 0 is allowed: see [`App::https`].
    pub fn start(snapshot: Snapshot, options: Options) -> Result<App, StartError> {
        Self::start_with(snapshot, options, &mut Inherited::default(), Begin::Open)
    }

    /// [`App::start`] with listeners that somebody else has bound; those that the configuration
    /// does not name are left. Where it begins held, nothing is accepted before
    /// [`Intake::open`].
    pub fn start_with(
        snapshot: Snapshot,
        options: Options,
        inherited: &mut Inherited,
        begin: Begin,
    ) -> Result<App, StartError> {
        let workers = snapshot.server.workers.max(1);
        let log = match options.access_log {
            Some(path) => AccessLog::File(path),
            None => snapshot.telemetry.access_log.clone(),
        };
        let (log, log_writer) = access_log::start(&log)
            .map_err(|error| StartError(format!("cannot open the access log {log:?}: {error}")))?;
        let otlp = Otlp::start(snapshot.telemetry.otlp.clone(), options.warn.clone())
            .map_err(|error| StartError(format!("cannot start sending telemetry: {error}")))?;
        let mut sockets: Vec<Vec<(std::net::TcpListener, Scheme)>> =
            (0..workers).map(|_| Vec::new()).collect();
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let tls = crate::tls::resolver::server_config(Arc::clone(&snapshot))
            .map_err(|error| StartError(format!("cannot set up TLS: {error}")))?;
        let shared = Arc::new(Shared::new(snapshot, tls, (log, otlp.traces()), begin));
        let read = Arc::clone(&shared);
        otlp.observe(Box::new(move || {
            let since = read.metrics.server.started;
            crate::telemetry::metrics::otlp::metrics(&read.families(), since, SystemTime::now())
        }));
        let live = shared.snapshot.load_full();
        let mut listeners = Listeners { inherited, intake: &shared.intake, sockets: &mut sockets };
        let https = listeners.bind(&live.server.https, Scheme::Https)?;
        let http = listeners.bind(&live.server.http, Scheme::Http)?;
        // Before anything is served, so that a port that is taken is told; answered afterwards.
        let mut alone = |listen: Option<SocketAddr>| {
            listen.map(|listen| listeners.bind_alone(listen)).transpose()
        };
        let (socket, admin) = (alone(live.internal.listen)?, alone(live.admin.listen)?);
        let internal = socket.map(|socket| internal(&shared, socket)).transpose()?;
        let operations = Operations::new(Arc::clone(&shared), otlp.view())
            .map_err(|error| StartError(format!("the system gives no randomness: {error}")))?;
        let resolve = options.resolve.unwrap_or(watch::system);
        let watch = Watch::start(Arc::clone(&shared.upstreams), resolve, options.warn)
            .map_err(|error| StartError(format!("cannot watch the upstreams: {error}")))?;
        let mut app = App {
            shared,
            workers: Vec::new(),
            https,
            http,
            internal,
            operations,
            admin: None,
            _watch: watch,
            _log: log_writer,
            otlp,
        };
        for (index, listeners) in sockets.into_iter().enumerate() {
            app.start_worker(index, listeners)?;
        }
        let serve = |socket| {
            admin::serve(app.shared.intake.door(socket), Arc::clone(&app.operations))
                .map_err(|error| StartError(format!("cannot start the admin listener: {error}")))
        };
        app.admin = admin.map(serve).transpose()?;
        Ok(app)
    }

    fn start_worker(
        &mut self,
        index: usize,
        listeners: Vec<(std::net::TcpListener, Scheme)>,
    ) -> Result<(), StartError> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed)
            .map_err(|error| StartError(format!("the system gives no randomness: {error}")))?;
        let worker = Worker::new(Arc::clone(&self.shared), seed);
        let (tell, told) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                worker.run(listeners, |ready| {
                    // Nobody listens only where the start was given up.
                    let _ = tell.send(ready);
                });
            })
            .map_err(|error| StartError(format!("cannot start a worker thread: {error}")))?;
        self.workers.push(thread);
        match told.recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StartError(format!("a worker cannot start: {error}"))),
            Err(_) => Err(StartError("a worker ended while it started".to_owned())),
        }
    }

    /// The bound addresses of the TLS listeners, ports resolved.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// The bound addresses of the plain listeners, ports resolved.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The bound address of the listener for the apps.
    pub fn internal(&self) -> Option<SocketAddr> {
        self.internal.as_ref().map(InternalServer::address)
    }

    /// The bound address of the listener for operators.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Service::address)
    }

    /// How operators reload; until this is said they cannot.
    pub fn reload_with(&self, reload: Reload) {
        self.operations.reload_with(reload);
    }

    /// All numbers, as they are now.
    pub fn families(&self) -> Vec<Family> {
        self.shared.families()
    }

    /// What is open: requests, event streams, WebSockets.
    pub fn streams(&self) -> Counts {
        self.shared.streams.counts()
    }

    /// What goes out over OTLP.
    pub fn otlp(&self) -> &Otlp {
        &self.otlp
    }

    /// Client connections and tunnels that are open.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// How many client connections may be open: less than configured where the process may not
    /// open enough files.
    pub fn allowed_connections(&self) -> usize {
        self.shared.allowed_connections()
    }

    /// The live upstreams, and how their servers are.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.shared.upstreams.status(Instant::now())
    }

    /// The live snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Swaps in a new snapshot and gives the old one back; requests under way keep what they
    /// decided with that one. Whoever calls this pays for dropping it, no worker does.
    pub fn replace(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        self.shared.install(snapshot)
    }

    /// [`App::replace`], for a thread of its own.
    pub fn installer(&self) -> impl Fn(Snapshot) -> Arc<Snapshot> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |snapshot| shared.install(snapshot)
    }

    /// What a hand-over to a successor works on.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The first step of [`App::drain`]: no longer ready, listeners closed, clients told to come
    /// elsewhere.
    pub fn turn_away(&self) {
        self.shared.drain();
    }

    /// Stops accepting, lets streams end for at most `drain_timeout`, then ends them within
    /// `close_within`; blocks. The number of those that had to be cut.
    #[allow(clippy::disallowed_methods, reason = "the main thread waits here, no worker does")]
    pub fn drain(self) -> usize {
        self.drain_while(|time| {
            std::thread::sleep(time);
            Urge::None
        })
    }

    /// [`App::drain`], where `wait` waits for that time and hears what is wanted meanwhile.
    pub fn drain_while(self, mut wait: impl FnMut(Duration) -> Urge) -> usize {
        self.turn_away();
        let server = &self.snapshot().server;
        let mut stopping = Stopping::new(Instant::now(), server.drain_timeout, server.close_within);
        let mut hurry = false;
        loop {
            let left = Left { connections: self.connections(), streams: self.streams().all() };
            match stopping.step(Instant::now(), left, hurry) {
                Step::Done => return left.streams,
                Step::Wait => {}
                Step::End(pace) => {
                    let (streams, now) = (&self.shared.streams, self.shared.moment());
                    streams.end(Whose::Everybody, Ended::Drained, pace, now);
                }
            }
            match wait(DRAIN_TICK) {
                Urge::None => hurry = false,
                Urge::Hurry => hurry = true,
                Urge::Stop => return self.streams().all(),
            }
        }
    }
}

/// What somebody wants of a server that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urge {
    None,
    /// Streams end now.
    Hurry,
    /// Everything is cut now.
    Stop,
}

impl Drop for App {
    fn drop(&mut self) {
        self.shared.stop();
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so already.
            let _ = worker.join();
        }
    }
}

fn internal(
    shared: &Arc<Shared>,
    socket: std::net::TcpListener,
) -> Result<InternalServer, StartError> {
    let (of_keys, of_launches) = (Arc::clone(shared), Arc::clone(shared));
    let keys = move |tenant: Option<&str>| internal::key_set(&of_keys.snapshot.load(), tenant);
    let launch = move |assertion: &str| {
        let now = UnixSeconds::from(SystemTime::now());
        internal::launch(&of_launches.snapshot.load(), &of_launches.parked, assertion, now)
    };
    internal::start(shared.intake.door(socket), keys, launch)
        .map_err(|error| StartError(format!("cannot serve the apps: {error}")))
}

/// Where the workers' listeners come from, and where they go.
struct Listeners<'a> {
    inherited: &'a mut Inherited,
    intake: &'a Intake,
    /// By worker.
    sockets: &'a mut [Vec<(std::net::TcpListener, Scheme)>],
}

impl Listeners<'_> {
    /// Takes over what is there of each address, or binds it once a worker; port 0 becomes the same
    /// port for all.
    fn bind(
        &mut self,
        addresses: &[SocketAddr],
        scheme: Scheme,
    ) -> Result<Vec<SocketAddr>, StartError> {
        let each = |&address: &SocketAddr| {
            let taken = self.inherited.take(address);
            let bound = if taken.is_empty() {
                self.bind_new(address, scheme)
            } else {
                self.take_over(address, &taken, scheme)
            };
            bound.map_err(|error| refused(address, &error))
        };
        addresses.iter().map(each).collect()
    }

    fn bind_new(&mut self, address: SocketAddr, scheme: Scheme) -> io::Result<SocketAddr> {
        if listener::is_taken(address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let mut actual = address;
        for listeners in self.sockets.iter_mut() {
            let socket = listener::bind(actual)?;
            actual = socket.local_addr()?;
            self.intake.keep(&socket, address)?;
            listeners.push((socket, scheme));
        }
        Ok(actual)
    }

    fn take_over(
        &mut self,
        address: SocketAddr,
        taken: &[std::net::TcpListener],
        scheme: Scheme,
    ) -> io::Result<SocketAddr> {
        for socket in taken {
            self.intake.keep(socket, address)?;
        }
        for (worker, socket) in inherited::deal(taken.len(), self.sockets.len()) {
            self.sockets[worker].push((taken[socket].try_clone()?, scheme));
        }
        taken[0].local_addr()
    }

    /// A listener that no worker has.
    fn bind_alone(&mut self, address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
        let taken = self.inherited.take(address).into_iter().next();
        let socket = taken.map_or_else(|| internal::bind(address), Ok);
        let kept = socket.and_then(|socket| self.intake.keep(&socket, address).map(|()| socket));
        kept.map_err(|error| refused(address, &error))
    }
}

fn refused(address: SocketAddr, error: &io::Error) -> StartError {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE or a higher port"
        }
        _ => "",
    };
    StartError(format!("cannot listen on {address}: {error}{hint}"))
}
