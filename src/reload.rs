//! Notices that the configuration has changed, and swaps a new snapshot in.
//!
//! Decides when to load again and whether the result may take the place of the old one: a main file
//! with an error never does, nor one that changes what only a restart can change. A tenant's file
//! with an error holds that tenant back and nobody else. What serves is kept on disk afterwards, so
//! that a process that is killed at any moment starts again with something good.
//! Files are looked at once a second (`stat`, symbolic links followed), so that an edit in place,
//! an atomic rename and a Kubernetes ConfigMap's swap of a symbolic link are all noticed, on any
//! file system. Everything happens on one plain thread, one reload after the other; no worker
//! waits for it, nor pays for dropping an old snapshot.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::config::snapshot::{HeldBack, Snapshot};
use crate::config::{self, History, Keeper, Loaded, Place, Problem, Severity, Sources};

/// How often files are looked at.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Reloads that may be asked for while one is under way.
const WAITING: usize = 16;

/// What came of one attempt to reload.
#[derive(Debug, Clone)]
pub enum ReloadOutcome {
    /// The files say what they said before.
    Unchanged,
    /// The new configuration serves.
    Applied {
        /// What `check` would say about it.
        warnings: Vec<Problem>,
        personas: usize,
        /// Tenants whose own file does not serve.
        held_back: Vec<HeldBack>,
        /// From noticing to serving.
        took: Duration,
    },
    /// The old configuration goes on serving.
    Refused { problems: Vec<Problem> },
}

impl fmt::Display for ReloadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("the configuration is unchanged"),
            Self::Applied { warnings, personas, held_back, took } => {
                write!(f, "the new configuration serves; personas: {personas}, ")?;
                write!(f, "warnings: {}, {} ms", warnings.len(), took.as_millis())?;
                if !held_back.is_empty() {
                    write!(f, ", tenants held back: {}", held_back.len())?;
                }
                held_back.iter().try_for_each(|tenant| write!(f, "\n{tenant}"))
            }
            Self::Refused { problems } => {
                f.write_str("the new configuration is refused, the old one goes on serving")?;
                let errors = problems.iter().filter(|it| it.severity == Severity::Error);
                errors.into_iter().try_for_each(|problem| write!(f, "\n{problem}"))
            }
        }
    }
}

/// Installs a snapshot and gives back the one it has replaced.
pub type Install = Box<dyn FnMut(Snapshot) -> Arc<Snapshot> + Send>;

/// Loads and swaps, when told to. [`Watcher`] runs one on a thread.
pub struct Reloader {
    path: PathBuf,
    sources: Sources,
    /// What served last, tenant by tenant.
    history: History,
    keeper: Keeper,
    fixed: Fixed,
    install: Install,
    /// Why the last attempt was refused, as long as the files stay as they are.
    refused: Option<Vec<Problem>>,
    /// Replaced snapshots that a request still holds.
    retired: Vec<Arc<Snapshot>>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reloader {
    /// `serving` was loaded from `path`, by [`config::follow`]: `sources` are the files it was made
    /// from, and `history` is what it is made of.
    pub fn new(
        path: PathBuf,
        serving: &Snapshot,
        (sources, history): (Sources, History),
        install: Install,
    ) -> Self {
        let (fixed, keeper) = (Fixed::of(serving), Keeper::default());
        Self { path, sources, history, keeper, fixed, install, refused: None, retired: Vec::new() }
    }

    /// Keeps what serves for the next process; a warning where that cannot be.
    pub fn keep(&mut self) -> Option<Problem> {
        let error = self.keeper.keep(&self.history).err()?;
        Some(Problem {
            severity: Severity::Warning,
            file: self.path.display().to_string().into(),
            line: 1,
            column: 1,
            key: "state.folder".into(),
            what: format!("the last good files of tenants cannot be kept: {error}").into(),
            remedy: "let the user that runs Vestibule write there, or name another folder".into(),
        })
    }

    /// Reloads where a file has changed since the last attempt. A configuration that was refused
    /// is not refused again until it changes.
    pub fn poll(&mut self) -> ReloadOutcome {
        // Dropping a large snapshot takes a while: it happens here, not in a worker.
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        match self.sources.changed() {
            true => self.load(),
            false => ReloadOutcome::Unchanged,
        }
    }

    /// [`Reloader::poll`] for someone who asks: a configuration that was refused and has not
    /// changed is refused again, with the same reasons.
    pub fn reload(&mut self) -> ReloadOutcome {
        match (self.poll(), &self.refused) {
            (ReloadOutcome::Unchanged, Some(problems)) => {
                ReloadOutcome::Refused { problems: problems.clone() }
            }
            (outcome, _) => outcome,
        }
    }

    fn load(&mut self) -> ReloadOutcome {
        let start = Instant::now();
        let Loaded { snapshot, problems, sources, places, history, .. } =
            config::follow(&self.path, &self.history);
        self.sources = sources;
        let Some(snapshot) = snapshot else { return self.refuse(problems) };
        let fixed = Fixed::of(&snapshot);
        let changed = self.fixed.problems(&fixed, &self.path, |key| places.get(key).cloned());
        if !changed.is_empty() {
            return self.refuse([changed, problems].concat());
        }
        self.refused = None;
        let personas = snapshot.tenants.values().map(|tenant| tenant.personas.len()).sum();
        let held_back = snapshot.held_back.clone();
        let replaced = (self.install)(snapshot);
        let took = start.elapsed();
        self.retired.push(replaced);
        self.history = history;
        let of_all = problems.into_iter().filter(|problem| problem.severity == Severity::Warning);
        let warnings = of_all.chain(self.keep()).collect();
        ReloadOutcome::Applied { warnings, personas, held_back, took }
    }

    fn refuse(&mut self, problems: Vec<Problem>) -> ReloadOutcome {
        self.refused = Some(problems.clone());
        ReloadOutcome::Refused { problems }
    }
}

/// The settings that differ and that only a restart can change: key, old and new.
pub fn needs_restart(old: &Snapshot, new: &Snapshot) -> Vec<(&'static str, String, String)> {
    let changed = Fixed::of(old).0.into_iter().zip(Fixed::of(new).0);
    let changed = changed.filter(|(old, new)| old != new);
    changed.map(|((key, old), (_, new))| (key, old, new)).collect()
}

/// What only a restart can change, as it would be written.
#[derive(Debug)]
struct Fixed([(&'static str, String); 9]);

impl Fixed {
    fn of(snapshot: &Snapshot) -> Self {
        let server = &snapshot.server;
        let address = |listen: Option<SocketAddr>| {
            listen.map_or_else(|| "none".into(), |address| address.to_string())
        };
        Self([
            ("server.https", format!("{:?}", server.https)),
            ("server.http", format!("{:?}", server.http)),
            ("server.workers", server.workers.to_string()),
            ("server.proxy_protocol", server.proxy_protocol.to_string()),
            ("server.upgrade_socket", format!("{:?}", server.upgrade_socket)),
            ("admin.listen", address(snapshot.admin.listen)),
            ("internal.listen", address(snapshot.internal.listen)),
            ("telemetry.otlp_endpoint", collector(snapshot)),
            ("tls.min_version", format!("{:?}", snapshot.tls.min_version)),
        ])
    }

    fn problems(
        &self,
        new: &Fixed,
        path: &std::path::Path,
        place: impl Fn(&str) -> Option<Place>,
    ) -> Vec<Problem> {
        let changed = self.0.iter().zip(&new.0).filter(|(old, new)| old != new);
        let problem = |((key, old), (_, new)): (&(&'static str, String), &(_, String))| {
            let file = path.display().to_string().into();
            let place = place(key).unwrap_or(Place { file, line: 1, column: 1 });
            Problem {
                severity: Severity::Error,
                file: place.file,
                line: place.line,
                column: place.column,
                key: (*key).into(),
                what: format!("a reload cannot change {old} to {new}").into(),
                remedy: "restart Vestibule, by `run --upgrade` for one, or put the old value back"
                    .into(),
            }
        };
        changed.map(problem).collect()
    }
}

/// Where traces go; of a path, which may hold a key, only whether it is another one.
fn collector(snapshot: &Snapshot) -> String {
    let target =
        snapshot.telemetry.otlp.traces.as_ref().or(snapshot.telemetry.otlp.metrics.as_ref());
    target.map_or_else(
        || "none".into(),
        |target| {
            let path = crate::upstream::select::stable_hash(target.path.as_bytes()) as u16;
            format!("{target} (path {path:04x})")
        },
    )
}

enum Message {
    Reload(Option<SyncSender<ReloadOutcome>>),
    Stop,
}

/// A [`Reloader`] on a thread of its own; stops when dropped.
#[derive(Debug)]
pub struct Watcher {
    sender: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Looks at the files every `interval`. `report` hears every outcome but the
    /// [`ReloadOutcome::Unchanged`] that nobody asked for.
    pub fn spawn(
        reloader: Reloader,
        interval: Duration,
        report: impl FnMut(&ReloadOutcome) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = thread::Builder::new()
            .name("reload".into())
            .spawn(move || watch(reloader, interval, &receiver, report))?;
        Ok(Self { sender, thread: Some(thread) })
    }

    /// Asks for a reload and does not wait: for a signal.
    pub fn trigger(&self) {
        // Nobody to tell after it has stopped; with many waiting, one of them is this one.
        let _ = self.sender.try_send(Message::Reload(None));
    }

    /// Asks for a reload and waits for what comes of it; None after the watcher has stopped.
    pub fn reload(&self) -> Option<ReloadOutcome> {
        let (answer, outcome) = sync_channel(1);
        self.sender.send(Message::Reload(Some(answer))).ok()?;
        outcome.recv().ok()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(
    mut reloader: Reloader,
    interval: Duration,
    receiver: &Receiver<Message>,
    mut report: impl FnMut(&ReloadOutcome),
) {
    loop {
        match receiver.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {
                let outcome = reloader.poll();
                if !matches!(outcome, ReloadOutcome::Unchanged) {
                    report(&outcome);
                }
            }
            Ok(Message::Reload(answer)) => {
                let outcome = reloader.reload();
                report(&outcome);
                if let Some(answer) = answer {
                    let _ = answer.send(outcome);
                }
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
