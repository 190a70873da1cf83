//! `vestibule run`: serve until a signal says stop, and follow the configuration file.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Options, Urge};
use crate::config::snapshot::HeldBack;
use crate::config::{History, Loaded};
use crate::reload::{INTERVAL, Reloader, Watcher};
use crate::state::streams::Counts;
use crate::telemetry::otlp::Warn;

pub fn run(file: &Path) -> ExitCode {
    let loaded = crate::config::follow(file, &History::default());
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    match serve(file, loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration) => {
            eprintln!("vestibule: {} is not usable, see above", file.display());
            ExitCode::FAILURE
        }
        Err(Failure::Server(error)) => {
            eprintln!("vestibule: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Configuration,
    Server(String),
}

fn serve(file: &Path, loaded: Loaded) -> Result<(), Failure> {
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
    let warn = Warn::new(|what| eprintln!("vestibule: {what}"));
    let options = Options { warn, ..Options::default() };
    let app = App::start(snapshot, options).map_err(|error| Failure::Server(error.to_string()))?;
    let allowed = app.allowed_connections();
    if allowed < wanted {
        eprintln!(
            "vestibule: at most {allowed} connections instead of {wanted}: the limit on open files \
             is too low; raise it (LimitNOFILE= in systemd, `ulimit -n`) to {}",
            wanted * 2 + 64
        );
    }
    for address in app.https() {
        eprintln!("vestibule: listening on https://{address}");
    }
    for address in app.http() {
        eprintln!("vestibule: listening on http://{address}");
    }
    if let Some(address) = app.internal() {
        eprintln!("vestibule: listening for the apps on http://{address}");
    }
    if let Some(address) = app.admin() {
        eprintln!("vestibule: listening for operators on http://{address}");
    }
    let install = Box::new(app.installer());
    let mut reloader = Reloader::new(file.into(), &app.snapshot(), (sources, history), install);
    for tenant in &app.snapshot().held_back {
        // What is wrong was printed when the files were read.
        let HeldBack { tenant, serves, .. } = tenant;
        eprintln!("vestibule: the tenant {tenant} is held back, {serves}");
    }
    if let Some(problem) = reloader.keep() {
        eprintln!("{problem}");
    }
    let watcher = Watcher::spawn(reloader, INTERVAL, |outcome| eprintln!("vestibule: {outcome}"))
        .map_err(|error| failed("cannot watch the configuration", error))?;
    let watcher = Arc::new(watcher);
    let asked = Arc::downgrade(&watcher);
    app.reload_with(Box::new(move || asked.upgrade()?.reload()));
    loop {
        match runtime.block_on(signals.next()) {
            Received::Hangup => watcher.trigger(),
            Received::Terminate => break,
            Received::Interrupt => return Ok(()),
        }
    }
    app.turn_away();
    // After a reload that is under way.
    drop(watcher);
    drain(app, &runtime, &mut signals);
    Ok(())
}

fn drain(app: App, runtime: &tokio::runtime::Runtime, signals: &mut Signals) {
    let Counts { requests, events, websockets } = app.streams();
    eprintln!(
        "vestibule: draining; open: {requests} requests, {events} event streams, {websockets} \
         WebSockets; SIGTERM again ends them now, SIGINT cuts them"
    );
    let cut = app.drain_while(|time| {
        let signal = runtime.block_on(async { tokio::time::timeout(time, signals.next()).await });
        match signal {
            Ok(Received::Terminate) => Urge::Hurry,
            Ok(Received::Interrupt) => Urge::Stop,
            Ok(Received::Hangup) | Err(_) => Urge::None,
        }
    });
    if cut > 0 {
        eprintln!("vestibule: cut {cut} streams");
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
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

enum Received {
    Hangup,
    Terminate,
    Interrupt,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.hangup.recv() => Received::Hangup,
            _ = self.terminate.recv() => Received::Terminate,
            _ = self.interrupt.recv() => Received::Interrupt,
        }
    }
}
