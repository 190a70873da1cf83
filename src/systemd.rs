//! What a service manager is told (`sd_notify`), and the sockets that it may have bound for us
//! (`LISTEN_FDS`).
//!
//! Where there is none, every call does nothing. Nothing here decides anything about serving.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::{NotifyState, notify};

use crate::edge::pulse::BEAT;
use crate::edge::worker::Shared;
use crate::net::inherited::Inherited;

/// Takes the sockets that were passed. It changes the environment, so that nobody takes them twice:
/// for the very start, before there is another thread.
pub fn sockets() -> Result<Inherited, String> {
    let mut passed = ListenFd::from_env();
    let mut inherited = Inherited::default();
    for index in 0..passed.len() {
        let socket = passed.take_tcp_listener(index).and_then(|socket| match socket {
            Some(socket) => inherited.add(socket, None).map(drop),
            None => Ok(()),
        });
        socket.map_err(|error| {
            format!("socket {index} of LISTEN_FDS is no TCP listener: {error}; write ListenStream=")
        })?;
    }
    Ok(inherited)
}

/// The server serves, or has finished what [`reloading`] announced.
pub fn ready(status: impl Display) {
    tell(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
}

/// The server has taken the place of its predecessor, whose process was the service so far.
pub fn ready_instead(status: impl Display) {
    let main = NotifyState::MainPid(std::process::id());
    tell(&[main, NotifyState::Ready, NotifyState::Status(&line(status))]);
}

/// The configuration is being loaded again; [`ready`] follows.
pub fn reloading() {
    // `Type=notify-reload` takes it for an answer to its signal by this time alone.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// From now on the service is that process; what this one still says is not heard by everybody.
pub fn succeeded_by(pid: i32) {
    if let Ok(pid) = u32::try_from(pid) {
        tell(&[NotifyState::MainPid(pid)]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Whoever does not listen misses nothing that the log does not say.
    let _ = notify(state);
}

/// A status is one line.
fn line(status: impl Display) -> String {
    status.to_string().lines().next().unwrap_or_default().to_owned()
}

/// How often systemd wants to hear from this process; nothing where it does not.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
}

/// Says that the server is alive, as long as every worker is. Stops when it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// `interval` is after what time without a word the server counts as dead.
    pub fn start(interval: Duration, shared: Arc<Shared>) -> io::Result<Self> {
        let (stop, stopped) = sync_channel::<()>(1);
        let patience = (interval / 2).max(BEAT * 3);
        let run = move || {
            loop {
                if shared.pulse.is_alive(patience) {
                    tell(&[NotifyState::Watchdog]);
                }
                if stopped.recv_timeout(interval / 3) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
