//! `GET /events`: whoever watches hears every second how the server is.
//!
//! One task looks for all of them, and only while there is somebody. A watcher that is slow finds
//! the newest event when it comes for it, and nothing of what it has missed; all of them are given
//! the same bytes. Who was let in is let go when a reload changes who may ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::MissedTickBehavior;

use super::Operations;
use super::content::Content;
use crate::config::snapshot::AdminSettings;
use crate::rejection::{Code, Rejection};

/// Between two events.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// At once.
pub(super) const WATCHERS: usize = 16;

/// Those who watch.
#[derive(Debug)]
pub(super) struct Hub {
    event: watch::Sender<Option<Bytes>>,
    room: Arc<Semaphore>,
    /// Somebody looks for the watchers.
    is_running: Mutex<bool>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            event: watch::Sender::new(None),
            room: Arc::new(Semaphore::new(WATCHERS)),
            is_running: Mutex::new(false),
        }
    }
}

impl Hub {
    pub(super) fn watchers(&self) -> usize {
        self.event.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody watches any more: whoever comes from now on begins anew.
    fn rests(&self) -> bool {
        let mut is_running = self.lock();
        if self.watchers() > 0 {
            return false;
        }
        *is_running = false;
        self.event.send_replace(None);
        true
    }
}

/// One who watches.
struct Watcher {
    operations: Arc<Operations>,
    event: watch::Receiver<Option<Bytes>>,
    /// As it was when it was let in.
    admitted: AdminSettings,
    _room: OwnedSemaphorePermit,
}

impl Watcher {
    /// None where it is to end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.event.changed().await.ok()?;
            if self.operations.shared.snapshot.load().admin != self.admitted {
                return None;
            }
            if let Some(event) = &*self.event.borrow_and_update() {
                return Some(event.clone());
            }
        }
    }
}

/// Events from now on, the first at once.
pub(super) fn watch(operations: &Arc<Operations>) -> Result<Content, Rejection> {
    let hub = &operations.hub;
    let Ok(room) = Arc::clone(&hub.room).try_acquire_owned() else {
        let full = Rejection::new(Code::CapacityExhausted, "too many watch the events");
        return Err(full.with_detail("16 watch already: close a page, or ask for /overview"));
    };
    let mut is_running = hub.lock();
    let mut event = hub.event.subscribe();
    // What is there is at most a second old.
    event.mark_changed();
    if !std::mem::replace(&mut *is_running, true) {
        tokio::spawn(look(Arc::clone(operations)));
    }
    drop(is_running);
    let admitted = operations.shared.snapshot.load().admin.clone();
    let watcher = Watcher { operations: Arc::clone(operations), event, admitted, _room: room };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((event, watcher))
    });
    Ok(Content::Live(Box::pin(events)))
}

/// Looks every second, as long as somebody watches.
async fn look(operations: Arc<Operations>) {
    let mut second = tokio::time::interval(PERIOD);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        if operations.hub.rests() {
            return;
        }
        let looking = Arc::clone(&operations);
        // Thousands of personas take a while to be read, and others ask meanwhile.
        let seen = tokio::task::spawn_blocking(move || looking.look().to_string()).await;
        if let Ok(document) = seen {
            operations.hub.event.send_replace(Some(event(&document)));
        }
    }
}

/// JSON has no line breaks of its own.
fn event(document: &str) -> Bytes {
    format!("event: overview\ndata: {document}\n\n").into()
}

/// The newest overview there is: what the watchers are told, or what two looks tell of the time
/// between them.
pub(super) async fn overview(operations: &Arc<Operations>) -> Option<Arc<Value>> {
    if let Some(known) = operations.seen(PERIOD * 2) {
        return Some(known);
    }
    let look = |operations: Arc<Operations>| tokio::task::spawn_blocking(move || operations.look());
    let first = look(Arc::clone(operations)).await.ok()?;
    if first["interval_s"].as_f64().is_some_and(|interval| interval > 0.0) {
        return Some(first);
    }
    tokio::time::sleep(PERIOD).await;
    // Somebody else may have looked meanwhile.
    match operations.seen(PERIOD / 2) {
        Some(known) if known["interval_s"].as_f64() > Some(0.0) => Some(known),
        _ => look(Arc::clone(operations)).await.ok(),
    }
}
