//! The successor: asks the process that serves for everything, and accepts once that has stopped.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::elders::Elders;
use super::link::{Link, LinkError};
use super::state;
use super::wire::{Message, NEWEST, OLDEST};
use crate::config::process_secret;
use crate::edge::worker::Shared;
use crate::net::inherited::Inherited;

/// For a message that needs no thought.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A process that has given its listeners, and waits to hear that we could serve.
#[derive(Debug)]
pub struct Predecessor {
    link: Link,
    elders: Vec<Link>,
    pid: i32,
    /// How often systemd wants to hear from it, in microseconds; zero for never.
    pub watchdog: u64,
    /// The configuration was compiled with another random secret than is now in force.
    pub is_compiled_anew: bool,
}

/// Asks at the socket. The predecessor's random secret, if it has one, is this process's afterwards.
pub fn ask(path: &Path) -> Result<(Predecessor, Inherited), String> {
    let stream = UnixStream::connect(path).map_err(|error| nobody(path, &error))?;
    talk(stream).map_err(|error| error.to_string())
}

fn nobody(path: &Path, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "; does the running one have the same upgrade_socket? To start one, leave --upgrade out"
        }
        io::ErrorKind::PermissionDenied => "; only the user of the running one may take over",
        _ => "",
    };
    format!("no process to take over from at {}: {error}{hint}", path.display())
}

fn talk(stream: UnixStream) -> Result<(Predecessor, Inherited), LinkError> {
    let mut link = Link::new(stream)?;
    let peer = link.peer()?;
    if !peer.is_one_of_us() {
        let why = format!("the socket is of user {}, not of this process's", peer.uid);
        return Err(LinkError::System(io::Error::other(why)));
    }
    link.send(&Message::Hello { oldest: OLDEST, newest: NEWEST })?;
    let welcome = link.receive(Instant::now() + AT_ONCE)?;
    let Message::Welcome { version, secret, watchdog, listeners, elders: others } = welcome else {
        return Err(LinkError::Unexpected(welcome.name()));
    };
    if !(OLDEST..=NEWEST).contains(&version) {
        return Err(LinkError::Malformed);
    }
    let mut inherited = Inherited::default();
    for _ in 0..listeners {
        let message = link.receive(Instant::now() + AT_ONCE)?;
        let Message::Listener { configured } = message else {
            return Err(LinkError::Unexpected(message.name()));
        };
        let descriptor = link.descriptor().ok_or(LinkError::Malformed)?;
        inherited.add(TcpListener::from(descriptor), Some(configured))?;
    }
    let mut elders = Vec::new();
    for _ in 0..others {
        let message = link.receive(Instant::now() + AT_ONCE)?;
        if message != Message::Elder {
            return Err(LinkError::Unexpected(message.name()));
        }
        let descriptor = link.descriptor().ok_or(LinkError::Malformed)?;
        elders.push(Link::new(UnixStream::from(descriptor))?);
    }
    let is_compiled_anew = secret.is_some_and(process_secret::adopt);
    Ok((Predecessor { link, elders, pid: peer.pid, watchdog, is_compiled_anew }, inherited))
}

impl Predecessor {
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Takes over everything that is remembered. When it returns, the predecessor accepts nothing
    /// any more, and never will: the caller accepts at once. Where it fails the predecessor serves
    /// on, and this process must never accept.
    pub fn take_over(&mut self, shared: &Shared) -> Result<(), String> {
        self.take(shared).map_err(|error| error.to_string())
    }

    fn take(&mut self, shared: &Shared) -> Result<(), LinkError> {
        self.link.send(&Message::Ready)?;
        loop {
            match self.link.receive(Instant::now() + AT_ONCE)? {
                Message::Clock(nanos) => state::import_clock(shared, nanos),
                Message::State(batch) => {
                    state::import(shared, batch)
                        .map_err(|why| LinkError::System(io::Error::other(why)))?;
                }
                Message::Go => break,
                message => return Err(LinkError::Unexpected(message.name())),
            }
        }
        self.link.send(&Message::Accepting)?;
        match self.link.receive(Instant::now() + AT_ONCE)? {
            Message::Yours => Ok(()),
            message => Err(LinkError::Unexpected(message.name())),
        }
    }

    /// It, and those before it: they are to be told which sessions end here. True where some may
    /// not know what has ended already.
    pub fn into_elders(self) -> (Elders, bool) {
        let Self { mut elders, link, .. } = self;
        let others = !elders.is_empty();
        elders.push(link);
        (Elders::new(elders), others)
    }
}
