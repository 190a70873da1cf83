//! The processes before this one that still have streams.
//!
//! Whoever serves tells them which sessions end. Each is told directly: the process in between may
//! have ended long before. So their sockets go over to a successor too, and are its own from then
//! on.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::link::Link;
use super::wire::Message;
use crate::edge::worker::Shared;
use crate::state::sessions::NewsItem;

/// As many live at once; of those before them, streams outlive their sessions.
pub const MOST: usize = 32;

/// Their sockets, the youngest last.
#[derive(Debug, Clone, Default)]
pub struct Elders(Arc<Mutex<Vec<Link>>>);

impl Elders {
    pub fn new(mut links: Vec<Link>) -> Self {
        links.drain(..links.len().saturating_sub(MOST));
        Self(Arc::new(Mutex::new(links)))
    }

    /// Handles of their sockets, for a successor.
    pub fn handles(&self) -> io::Result<Vec<UnixStream>> {
        let mut links = self.links();
        links.retain(|link| !link.is_closed());
        links.iter().map(Link::handle).collect()
    }

    /// From now on somebody else tells them.
    pub fn leave(&self) {
        self.links().clear();
    }

    /// Tells them what ends here, as long as there is one; on a thread of its own. `all` that has
    /// ended already, first, where they may not know it.
    pub fn keep_told(&self, shared: Arc<Shared>, all: bool) -> io::Result<()> {
        let Some(news) = shared.sessions.news() else { return Ok(()) };
        let elders = self.clone();
        let tell = move || {
            if all {
                elders.tell_all(&shared);
            }
            while !elders.links().is_empty() {
                match news.next(Duration::from_secs(1)) {
                    NewsItem::Ended(tenant, session) => {
                        elders.tell(&Message::Ended { tenant, session });
                    }
                    NewsItem::All => elders.tell_all(&shared),
                    NewsItem::Nothing => elders.links().retain(|link| !link.is_closed()),
                    NewsItem::Over => return,
                }
            }
        };
        std::thread::Builder::new().name("elders".into()).spawn(tell).map(drop)
    }

    fn tell(&self, message: &Message) {
        self.links().retain_mut(|link| link.send(message).is_ok());
    }

    fn tell_all(&self, shared: &Shared) {
        for name in shared.sessions.tenants() {
            for session in shared.sessions.export(&name) {
                self.tell(&Message::Ended { tenant: (&*name).into(), session });
            }
        }
    }

    fn links(&self) -> MutexGuard<'_, Vec<Link>> {
        // What is there is whole: a frame is sent under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
