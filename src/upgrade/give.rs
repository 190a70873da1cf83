//! The process that serves: waits for a successor, and hands over to it or goes on.

use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::elders::Elders;
use super::link::{Link, LinkError, Peer};
use super::socket::{self, Living, Private};
use super::state;
use super::wire::{Message, NEWEST, OLDEST};
use crate::config::process_secret;
use crate::edge::worker::Shared;
use crate::policy::session::UnixSeconds;

/// For a message that needs no thought.
const AT_ONCE: Duration = Duration::from_secs(5);
/// For a successor to set itself up. Nobody waits meanwhile but the next successor.
const SET_UP: Duration = Duration::from_secs(60);
/// For every worker to stop polling.
const HOLD: Duration = Duration::from_secs(2);

/// What a hand-over came to.
#[derive(Debug)]
pub enum Event {
    /// This process serves on.
    Failed { peer: Option<Peer>, why: String },
    /// The successor accepts; this process is to end once its connections have.
    HandedOver { pid: i32 },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { peer: None, why } => write!(f, "upgrade failed, serving on: {why}"),
            Self::Failed { peer: Some(peer), why } => {
                write!(f, "upgrade to process {} failed, serving on: {why}", peer.pid)
            }
            Self::HandedOver { pid } => write!(f, "process {pid} has taken over"),
        }
    }
}

/// What is handed over.
#[derive(Debug, Clone)]
pub struct Server {
    pub shared: Arc<Shared>,
    pub elders: Elders,
    /// How often systemd wants to hear from this process, in microseconds; zero for never.
    pub watchdog: u64,
}

/// Waits at the socket, on a thread of its own, until it is dropped or has handed over.
#[derive(Debug)]
pub struct Host {
    waiting: Arc<Waiting>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Waiting {
    socket: Private,
    stops: AtomicBool,
    /// The successor that is being talked to.
    talk: Mutex<Option<UnixStream>>,
}

impl Host {
    /// `report` hears of every attempt.
    pub fn start(
        path: &Path,
        living: Living,
        server: Server,
        report: impl Fn(Event) + Send + 'static,
    ) -> Result<Self, String> {
        let socket = socket::bind(path, living)?;
        let stops = AtomicBool::new(false);
        let waiting = Arc::new(Waiting { socket, stops, talk: Mutex::new(None) });
        let here = Arc::clone(&waiting);
        let run = move || wait(&here, &server, report);
        let thread = std::thread::Builder::new().name("upgrade".into()).spawn(run);
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self { waiting, thread: Some(thread) })
    }
}

impl Drop for Host {
    /// Gives up a hand-over that is under way; one that is done stays done.
    fn drop(&mut self) {
        self.waiting.stops.store(true, Ordering::Release);
        let _ = rustix::net::shutdown(&self.waiting.socket.listener, rustix::net::Shutdown::Both);
        if let Some(talk) = &*self.waiting.talk() {
            let _ = talk.shutdown(std::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Waiting {
    fn talk(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stops(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }
}

fn wait(waiting: &Waiting, server: &Server, report: impl Fn(Event)) {
    while !waiting.stops() {
        let Ok((stream, _)) = waiting.socket.listener.accept() else {
            std::thread::park_timeout(Duration::from_millis(50));
            continue;
        };
        let mut peer = None;
        match talk(waiting, server, stream, &mut peer) {
            Ok((link, pid)) => {
                report(Event::HandedOver { pid });
                follow(link, &server.shared);
                return;
            }
            // Somebody who looks whether anybody is there is no successor.
            Err(LinkError::Closed) if peer.is_none() => {}
            Err(error) => report(Event::Failed { peer, why: error.to_string() }),
        }
        *waiting.talk() = None;
    }
}

/// One successor, from its first word on. `peer` is set once it has said that it is one.
fn talk(
    waiting: &Waiting,
    server: &Server,
    stream: UnixStream,
    peer: &mut Option<Peer>,
) -> Result<(Link, i32), LinkError> {
    let mut link = Link::new(stream)?;
    *waiting.talk() = Some(link.handle()?);
    let who = link.peer()?;
    if !who.is_one_of_us() {
        *peer = Some(who);
        let why = format!("user {} may not take over from this process", who.uid);
        let _ = link.send(&Message::Refused(why.clone().into()));
        return Err(LinkError::System(std::io::Error::other(why)));
    }
    let hello = link.receive(Instant::now() + AT_ONCE)?;
    *peer = Some(who);
    welcome(&mut link, &hello, server)?;
    expect(&mut link, &Message::Ready, SET_UP)?;
    hand_over(&mut link, &server.shared, waiting)?;
    server.elders.leave();
    Ok((link, who.pid))
}

/// The version that both speak, every listener, and every process that still has streams.
fn welcome(link: &mut Link, hello: &Message, server: &Server) -> Result<(), LinkError> {
    let Message::Hello { oldest, newest } = *hello else {
        return Err(LinkError::Unexpected(hello.name()));
    };
    let version = newest.min(NEWEST);
    if version < oldest.max(OLDEST) {
        let why = format!(
            "the process that serves hands over in versions {OLDEST} to {NEWEST}, the successor \
             takes {oldest} to {newest}: restart instead"
        );
        let _ = link.send(&Message::Refused(why.clone().into()));
        return Err(LinkError::System(std::io::Error::other(why)));
    }
    let (kept, others) = (server.shared.intake.kept()?, server.elders.handles()?);
    let listeners = u16::try_from(kept.len()).map_err(|_| LinkError::Malformed)?;
    let elders = u16::try_from(others.len()).map_err(|_| LinkError::Malformed)?;
    let (secret, watchdog) = (process_secret::known(), server.watchdog);
    link.send(&Message::Welcome { version, secret, watchdog, listeners, elders })?;
    for kept in &kept {
        let message = Message::Listener { configured: kept.configured };
        link.send_with(&message, kept.listener.as_fd())?;
    }
    others.iter().try_for_each(|elder| link.send_with(&Message::Elder, elder.as_fd()))
}

/// From the moment on that nothing is accepted here. Whatever fails, it is accepted again.
fn hand_over(link: &mut Link, shared: &Shared, waiting: &Waiting) -> Result<(), LinkError> {
    state::send_limits(shared, &mut |message| link.send(message))?;
    let held = Held { shared, is_given: false };
    shared.custody.begin();
    if !shared.intake.hold(HOLD) {
        let why = "a worker does not stop accepting: it is stuck";
        return Err(LinkError::System(std::io::Error::other(why)));
    }
    // Every worker has looked up since `begin`: no decision is half way.
    state::send_rest(shared, &mut |message| link.send(message))?;
    link.send(&Message::Go)?;
    expect(link, &Message::Accepting, AT_ONCE)?;
    if waiting.stops() {
        let why = "this process was told to stop";
        return Err(LinkError::System(std::io::Error::other(why)));
    }
    link.send(&Message::Yours)?;
    held.give();
    Ok(())
}

fn expect(link: &mut Link, expected: &Message, within: Duration) -> Result<(), LinkError> {
    let message = link.receive(Instant::now() + within)?;
    if message == *expected { Ok(()) } else { Err(LinkError::Unexpected(message.name())) }
}

/// As long as it lives, this process accepts nothing and keeps its state as it is. Dropped before
/// it is given, everything goes on.
struct Held<'s> {
    shared: &'s Shared,
    is_given: bool,
}

impl Held<'_> {
    /// Draining first: who is sent to the successor must not come back on the same connection.
    fn give(mut self) {
        self.is_given = true;
        self.shared.drain();
        self.shared.intake.leave();
        self.shared.custody.give();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.is_given {
            self.shared.custody.keep();
            self.shared.intake.open();
        }
    }
}

/// Ends the streams here whose sessions end at the successor, as long as it says so.
fn follow(mut link: Link, shared: &Shared) {
    const A_LONG_TIME: Duration = Duration::from_secs(3600);
    loop {
        match link.receive(Instant::now() + A_LONG_TIME) {
            Ok(Message::Ended { tenant, session }) => {
                let now = UnixSeconds::from(SystemTime::now());
                // A full list: its streams end with this process.
                let _ = shared.sessions.revoke(&tenant, session.id, session.until, now);
            }
            Ok(_) | Err(LinkError::Late) => {}
            Err(_) => return,
        }
    }
}
