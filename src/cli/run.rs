//! `vestibule run`: serve until a signal says stop, and follow the configuration file.

mod succeed;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::voice::{self, say};
use crate::app::{App, Options, Urge};
use crate::config::snapshot::HeldBack;
use crate::config::{History, Loaded, Sources};
use crate::net::intake::Begin;
use crate::reload::{INTERVAL, Reloader, Watcher};
use crate::state::streams::Counts;
use crate::systemd::{self, Watchdog};
use crate::telemetry::access_log::Log;
use crate::telemetry::warn::Warn;
use crate::upgrade::give::{Event, Host};
use succeed::{Origin, origin};

/// Whether there is a process whose place is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Alone,
    Upgrade,
}

/// Serves until it is told to end, and says how that went.
pub fn run(file: &Path, start: Start) -> ExitCode {
    let code = serve_or_say_why(file, start);
    voice::finish();
    code
}

fn serve_or_say_why(file: &Path, start: Start) -> ExitCode {
    // Before there is another thread: it takes what systemd says out of the environment.
    let passed = systemd::sockets();
    let loaded = crate::config::follow(file, &History::default());
    for problem in &loaded.problems {
        say(format_args!("{problem}"));
    }
    let served = passed
        .map_err(Failure::Server)
        .and_then(|passed| origin(file, loaded, (start, passed)))
        .and_then(|(origin, loaded)| serve(file, origin, loaded));
    let upgrade = match start {
        Start::Alone => "",
        Start::Upgrade => "; if another process served, it serves on",
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration) => {
            say(format_args!("vestibule: {} is not usable, see above{upgrade}", file.display()));
            ExitCode::FAILURE
        }
        Err(Failure::Server(error)) => {
            say(format_args!("vestibule: {error}{upgrade}"));
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Configuration,
    Server(String),
}

fn serve(file: &Path, origin: Origin, loaded: Loaded) -> Result<(), Failure> {
    let Loaded { snapshot: Some(snapshot), sources, history, .. } = loaded else {
        return Err(Failure::Configuration);
    };
    let failed = |what: &str, error: std::io::Error| Failure::Server(format!("{what}: {error}"));
    // Before anything is bound: a signal that arrives while the server starts must not be lost.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("cannot start a runtime", error))?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen().map_err(|error| failed("cannot listen for signals", error))?
    };
    raise_descriptor_limit();
    let wanted = snapshot.server.limits.connections;
    let Origin { mut inherited, predecessor, watchdog } = origin;
    voice::start().map_err(|error| failed("cannot start a thread", error))?;
    let warn = Warn::new(|what| say(format_args!("vestibule: {what}")));
    let options = Options { warn, ..Options::default() };
    let app = App::start_with(snapshot, options, &mut inherited, Begin::Held)
        .map_err(|error| Failure::Server(error.to_string()))?;
    let watcher = follow(file, &app, (sources, history))
        .map_err(|error| failed("cannot watch the configuration", error))?;
    let fed = watchdog.map(|interval| Watchdog::start(interval, Arc::clone(app.shared())));
    let fed = fed.transpose().map_err(|error| failed("cannot feed the watchdog", error))?;
    // The last that can fail: once it is done there may be no other process that serves.
    let (tell, mut told) = mpsc::channel(4);
    let host = succeed::begin(&app, (inherited, predecessor), watchdog, move |event| {
        // The last one is for a process that has ended.
        let _ = tell.blocking_send(event);
    });
    let host: Option<Host> = host.map_err(Failure::Server)?;
    announce(&app, wanted);
    let end = wait(&runtime, (&mut signals, &mut told), &watcher, &app);
    // Whoever reports now is not waited for.
    told.close();
    drop(fed);
    let _listening = match end {
        End::Cut => return Ok(()),
        // What a reload revokes, and which sessions end at a successor, ends streams here too, as
        // long as there are any.
        End::Succeeded => Some((watcher, host)),
        End::Stopped => {
            // Whoever is about to take over is too late, and must not keep those who wait from us.
            drop(host);
            app.turn_away();
            systemd::stopping();
            // After a reload that is under way.
            drop(watcher);
            None
        }
    };
    drain(app, &runtime, &mut signals);
    Ok(())
}

/// Follows the files that the server was configured with, from now on.
fn follow(file: &Path, app: &App, known: (Sources, History)) -> std::io::Result<Arc<Watcher>> {
    let install = Box::new(app.installer());
    let mut reloader = Reloader::new(file.into(), &app.snapshot(), known, install);
    for tenant in &app.snapshot().held_back {
        // What is wrong was printed when the files were read.
        let HeldBack { tenant, serves, .. } = tenant;
        say(format_args!("vestibule: the tenant {tenant} is held back, {serves}"));
    }
    if let Some(problem) = reloader.keep() {
        say(format_args!("{problem}"));
    }
    let shared = Arc::clone(app.shared());
    let watcher = Arc::new(Watcher::spawn(reloader, INTERVAL, move |outcome| {
        shared.metrics.server.reloaded(outcome, SystemTime::now());
        shared.recent.reloaded(outcome, SystemTime::now());
        // A successor says it itself.
        if !shared.custody.is_given() {
            say(format_args!("vestibule: {outcome}"));
            systemd::ready(outcome);
        }
    })?);
    let asked = Arc::downgrade(&watcher);
    app.reload_with(Box::new(move || {
        let watcher = asked.upgrade()?;
        systemd::reloading();
        watcher.reload()
    }));
    Ok(watcher)
}

/// Does what signals say, until the server is to end.
fn wait(
    runtime: &tokio::runtime::Runtime,
    (signals, told): (&mut Signals, &mut mpsc::Receiver<Event>),
    watcher: &Watcher,
    app: &App,
) -> End {
    loop {
        let next = runtime.block_on(async {
            tokio::select! {
                signal = signals.next() => Next::Signal(signal),
                Some(event) = told.recv() => Next::Upgrade(event),
            }
        });
        match next {
            Next::Signal(Received::Hangup) => {
                systemd::reloading();
                watcher.trigger();
            }
            Next::Signal(Received::Reopen) => reopen(&app.shared().access_log),
            Next::Signal(Received::Upgrade) => succeed::call(app),
            Next::Signal(Received::Terminate) => return End::Stopped,
            Next::Signal(Received::Interrupt) => return End::Cut,
            Next::Upgrade(event) => {
                say(format_args!("vestibule: {event}"));
                if let Event::HandedOver { pid } = event {
                    systemd::succeeded_by(pid);
                    return End::Succeeded;
                }
            }
        }
    }
}

enum Next {
    Signal(Received),
    Upgrade(Event),
}

/// Why the server ends.
enum End {
    Stopped,
    Cut,
    /// Another process serves in its place.
    Succeeded,
}

fn announce(app: &App, wanted: usize) {
    let allowed = app.allowed_connections();
    if allowed < wanted {
        say(format_args!(
            "vestibule: at most {allowed} connections instead of {wanted}: the limit on open files \
             is too low; raise it (LimitNOFILE= in systemd, `ulimit -n`) to {}",
            wanted * 2 + 64
        ));
    }
    for address in app.https() {
        say(format_args!("vestibule: listening on https://{address}"));
    }
    for address in app.http() {
        say(format_args!("vestibule: listening on http://{address}"));
    }
    if let Some(address) = app.internal() {
        say(format_args!("vestibule: listening for the apps on http://{address}"));
    }
    if let Some(address) = app.admin() {
        say(format_args!("vestibule: listening for operators on http://{address}"));
    }
}

fn drain(app: App, runtime: &tokio::runtime::Runtime, signals: &mut Signals) {
    let Counts { requests, events, websockets } = app.streams();
    say(format_args!(
        "vestibule: draining; open: {requests} requests, {events} event streams, {websockets} \
         WebSockets; SIGTERM again ends them now, SIGINT cuts them"
    ));
    let log = app.shared().access_log.clone();
    let cut = app.drain_while(|time| {
        let signal = runtime.block_on(async { tokio::time::timeout(time, signals.next()).await });
        match signal {
            Ok(Received::Terminate) => Urge::Hurry,
            Ok(Received::Interrupt) => Urge::Stop,
            Ok(Received::Reopen) => {
                reopen(&log);
                Urge::None
            }
            Ok(Received::Hangup | Received::Upgrade) | Err(_) => Urge::None,
        }
    });
    if cut > 0 {
        say(format_args!("vestibule: cut {cut} streams"));
    }
}

/// After the log was moved away.
fn reopen(log: &Log) {
    match log.reopen() {
        Ok(true) => say(format_args!("vestibule: the access log was opened anew")),
        Ok(false) => {
            say(format_args!("vestibule: the access log is no file: nothing to open anew"));
        }
        Err(error) => say(format_args!("vestibule: the access log cannot be opened anew: {error}")),
    }
}

/// Takes all the descriptors that the system grants; the usual soft limit of 1024 is historical.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, the bound on connections is what remains, and is told.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    reopen: tokio::signal::unix::Signal,
    upgrade: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

enum Received {
    Hangup,
    Reopen,
    /// SIGUSR2, as other servers have it.
    Upgrade,
    Terminate,
    Interrupt,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.hangup.recv() => Received::Hangup,
            _ = self.reopen.recv() => Received::Reopen,
            _ = self.upgrade.recv() => Received::Upgrade,
            _ = self.terminate.recv() => Received::Terminate,
            _ = self.interrupt.recv() => Received::Interrupt,
        }
    }
}
