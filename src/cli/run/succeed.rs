//! How a server begins: alone, with sockets that systemd has bound, or in the place of another.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::{Failure, Start};
use crate::app::App;
use crate::cli::voice::say;
use crate::config::{History, Loaded};
use crate::net::inherited::Inherited;
use crate::systemd;
use crate::upgrade::elders::Elders;
use crate::upgrade::give::{Event, Host, Server};
use crate::upgrade::socket::Living;
use crate::upgrade::take::{self, Predecessor};

/// What a server begins with.
pub(super) struct Origin {
    pub inherited: Inherited,
    pub predecessor: Option<Predecessor>,
    pub watchdog: Option<Duration>,
}

/// Finds out. A successor has its configuration before it says a word to the process that serves.
pub(super) fn origin(
    file: &Path,
    loaded: Loaded,
    (start, passed): (Start, Inherited),
) -> Result<(Origin, Loaded), Failure> {
    let watchdog = systemd::watchdog();
    if start == Start::Alone {
        return Ok((Origin { inherited: passed, predecessor: None, watchdog }, loaded));
    }
    let snapshot = loaded.snapshot.as_ref().ok_or(Failure::Configuration)?;
    let Some(path) = &snapshot.server.upgrade_socket else {
        let why = "--upgrade needs [server] upgrade_socket, where the process that serves is found";
        return Err(Failure::Server(why.to_owned()));
    };
    let (predecessor, inherited) = take::ask(path).map_err(Failure::Server)?;
    // What the random secret signs must be what the other process's has signed.
    let loaded = if predecessor.is_compiled_anew {
        crate::config::follow(file, &History::default())
    } else {
        loaded
    };
    let theirs = Duration::from_micros(predecessor.watchdog);
    let watchdog = watchdog.or(Some(theirs)).filter(|interval| !interval.is_zero());
    Ok((Origin { inherited, predecessor: Some(predecessor), watchdog }, loaded))
}

/// Begins to accept, once nobody else does; and from then on waits for a successor.
pub(super) fn begin(
    app: &App,
    (inherited, predecessor): (Inherited, Option<Predecessor>),
    watchdog: Option<Duration>,
    report: impl Fn(Event) + Send + 'static,
) -> Result<Option<Host>, String> {
    let shared = app.shared();
    let left: Vec<_> = inherited.left().iter().map(ToString::to_string).collect();
    let path = app.snapshot().server.upgrade_socket.clone();
    let micros = watchdog.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    let host = |path: &Path, living, elders| {
        let server = Server { shared: Arc::clone(shared), elders, watchdog: micros };
        Host::start(path, living, server, report)
    };
    let Some(mut predecessor) = predecessor else {
        if !left.is_empty() {
            let left = left.join(", ");
            return Err(format!(
                "systemd passed sockets that no key names: {left}; write them under [server] https or http, or take them out of the .socket unit"
            ));
        }
        let host = path.map(|path| host(&path, Living::Refuse, Elders::default())).transpose()?;
        shared.intake.open();
        systemd::ready("serving");
        return Ok(host);
    };
    predecessor.take_over(shared)?;
    shared.intake.open();
    say(format_args!("vestibule: took over from process {}", predecessor.pid()));
    for address in left {
        say(format_args!("vestibule: {address} is not configured any more, and closed"));
    }
    systemd::ready_instead("serving");
    // From here on nothing may end this process: there is no other.
    let (elders, may_not_know) = predecessor.into_elders();
    if let Err(error) = elders.keep_told(Arc::clone(shared), may_not_know) {
        say(format_args!(
            "vestibule: streams of the process before outlive their sessions: {error}"
        ));
    }
    let host = path.map(|path| host(&path, Living::Replace, elders)).transpose();
    Ok(host.unwrap_or_else(|error| {
        say(format_args!("vestibule: this process cannot be upgraded: {error}"));
        None
    }))
}

/// Starts a successor: whatever stands now where this program was started from, asked as this one
/// was. It speaks for itself; this process serves on until it is told that it has a successor.
pub(super) fn call(app: &App) {
    if app.snapshot().server.upgrade_socket.is_none() {
        say(format_args!("vestibule: an upgrade needs [server] upgrade_socket; serving on"));
        return;
    }
    let mut typed = std::env::args_os();
    let program = typed.next().unwrap_or_else(|| "vestibule".into());
    let arguments = typed.filter(|it| it != UPGRADE).chain([UPGRADE.into()]);
    // The watchdog's interval is for whoever is the service, whatever its process.
    let started = Command::new(program).args(arguments).env_remove("WATCHDOG_PID").spawn();
    let waited = started.and_then(|mut successor| {
        let wait = move || drop(successor.wait());
        std::thread::Builder::new().name("successor".into()).spawn(wait)
    });
    if let Err(error) = waited {
        say(format_args!("vestibule: cannot start a successor, serving on: {error}"));
    }
}

const UPGRADE: &str = "--upgrade";
