//! The streams of one worker, and those of them that are to end.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::fast;
use slab::Slab;
use tokio::sync::Notify;

use super::{Counts, Ended, FEW, Fate, Holder, Kind, Pace};
use crate::policy::limits::Moment;
use crate::state::clock::Clock;
use crate::telemetry::metrics::meters::OwnerMeters;

/// Places that are kept, however few streams there are.
const KEPT: usize = 256;

/// One worker's.
#[derive(Debug, Default)]
pub struct Shard {
    clock: Arc<Clock>,
    /// Counts the streams that were told to end: who has seen this number has not been told since.
    ended: AtomicU32,
    open: Mutex<Open>,
    /// Something is to end sooner than what was next.
    sooner: Notify,
    jitter: fast::RandomState,
}

#[derive(Debug, Default)]
struct Open {
    entries: Slab<Entry>,
    /// How many there ever were; numbers them.
    opened: u64,
    /// By moment and number: the place.
    due: BTreeMap<(Moment, u64), (usize, Ended)>,
}

#[derive(Debug)]
struct Entry {
    holder: Holder,
    since: Moment,
    number: u64,
    kind: Kind,
    /// When it is to end.
    due: Option<Moment>,
    ended: Option<Ended>,
    waker: Option<Waker>,
    /// Where it counts as open, if anywhere.
    counted: Option<Arc<OwnerMeters>>,
}

/// There is one for each idle WebSocket.
const _: () = assert!(size_of::<Entry>() <= 80);

impl Shard {
    pub fn new(clock: Arc<Clock>) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Registers what begins. The caller asks for the live snapshot afterwards, and ends the stream
    /// where it is another one than it was admitted with and says so ([`OpenStream::judge`]).
    pub fn open(
        self: &Arc<Self>,
        holder: Holder,
        since: Moment,
        counted: Option<Arc<OwnerMeters>>,
    ) -> OpenStream {
        if let Some(counted) = &counted {
            counted.opens();
        }
        let mut open = self.lock();
        open.opened += 1;
        let number = open.opened;
        let place = open.entries.insert(Entry {
            holder,
            since,
            number,
            kind: Kind::Request,
            due: None,
            ended: None,
            waker: None,
            counted,
        });
        drop(open);
        let seen = self.ended.load(Ordering::Acquire);
        OpenStream { shard: Arc::clone(self), place, seen, kind: Kind::Request, is_armed: false }
    }

    /// Tells streams what is to become of them. How many were told to end, and had not been told to
    /// end sooner.
    pub fn order(&self, now: Moment, judge: impl Fn(&Holder) -> Fate) -> Counts {
        let mut told = Counts::default();
        let mut open = self.lock();
        let mut spread: Vec<(usize, Ended, Duration)> = Vec::new();
        let Open { entries, due, .. } = &mut *open;
        for (place, entry) in &mut *entries {
            match judge(&entry.holder) {
                Fate::Stays => continue,
                Fate::Moves(holder) => {
                    entry.holder = holder;
                    continue;
                }
                Fate::Ends(why, Pace::Spread(within)) if entry.kind != Kind::Request => {
                    spread.push((place, why, within));
                    continue;
                }
                Fate::Ends(why, pace) => {
                    let after = match pace {
                        Pace::AtOnce => Duration::ZERO,
                        Pace::Spread(within) => within,
                    };
                    if entry.end_at(place, now.plus(after), why, due) {
                        told.add(entry.kind);
                    }
                }
            }
        }
        for (index, &(place, why, within)) in spread.iter().enumerate() {
            let Some(entry) = entries.get_mut(place) else { continue };
            let share = within.min(FEW.saturating_mul(spread.len() as u32)) / spread.len() as u32;
            // Somewhere in its own part of the time, so that no two servers keep step.
            let random = self.jitter.hash_one(entry.number) as u32;
            let after = share * index as u32 + share.mul_f64(f64::from(random) / 2_f64.powi(32));
            if entry.end_at(place, now.plus(after), why, due) {
                told.add(entry.kind);
            }
        }
        drop(open);
        self.sooner.notify_one();
        told
    }

    /// Ends what is due. For how long nothing more is; none where nothing is to end.
    pub fn end_due(&self, now: Moment) -> Option<Duration> {
        let mut wakers = Vec::new();
        let mut open = self.lock();
        let next = loop {
            let Open { entries, due, .. } = &mut *open;
            let Some(first) = due.first_entry() else { break None };
            let at = first.key().0;
            if at > now {
                break Some(at.duration_since(now));
            }
            let (place, why) = first.remove();
            if let Some(entry) = entries.get_mut(place) {
                entry.due = None;
                entry.ended = entry.ended.or(Some(why));
                self.ended.fetch_add(1, Ordering::Release);
                wakers.extend(entry.waker.take());
            }
        };
        drop(open);
        // A waker may run code of its own: not under the lock.
        wakers.into_iter().for_each(Waker::wake);
        next
    }

    /// Waits until something is to end sooner than what [`Shard::end_due`] has named.
    pub async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// Each holder once.
    pub(super) fn holders(&self) -> Vec<Holder> {
        let mut seen: HashMap<usize, Holder, fast::RandomState> = HashMap::default();
        for (_, entry) in &self.lock().entries {
            seen.entry(entry.holder.address()).or_insert_with(|| entry.holder.clone());
        }
        seen.into_values().collect()
    }

    /// Holder, kind, since when, and whether it is to end.
    pub(super) fn each(&self, mut tell: impl FnMut(&Holder, Kind, Moment, bool)) {
        for (_, entry) in &self.lock().entries {
            let is_ending = entry.due.is_some() || entry.ended.is_some();
            tell(&entry.holder, entry.kind, entry.since, is_ending);
        }
    }

    fn closed(&self, entry: &Entry) {
        let Some(counted) = &entry.counted else { return };
        let life = || self.clock.moment().duration_since(entry.since);
        counted.closes(entry.kind, life);
    }

    pub(super) fn tidy(&self) {
        let mut open = self.lock();
        if open.entries.capacity() > KEPT.max(open.entries.len() * 4) {
            open.entries.shrink_to_fit();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics under this lock half way through a change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// False where it was to end by then already.
    fn end_at(
        &mut self,
        place: usize,
        at: Moment,
        why: Ended,
        due: &mut BTreeMap<(Moment, u64), (usize, Ended)>,
    ) -> bool {
        if self.ended.is_some() || self.due.is_some_and(|due| due <= at) {
            return false;
        }
        if let Some(later) = self.due.replace(at) {
            due.remove(&(later, self.number));
        }
        due.insert((at, self.number), (place, why));
        true
    }
}

/// A place in a shard, for as long as it lives.
#[derive(Debug)]
pub struct OpenStream {
    shard: Arc<Shard>,
    place: usize,
    /// Of [`Shard::ended`].
    seen: u32,
    kind: Kind,
    /// The shard has the waker of the task that asks.
    is_armed: bool,
}

impl OpenStream {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it has become.
    pub fn becomes(&mut self, kind: Kind) {
        if kind != self.kind {
            self.kind = kind;
            if let Some(entry) = self.shard.lock().entries.get_mut(self.place) {
                if let Some(counted) = &entry.counted {
                    counted.becomes(entry.kind, kind);
                }
                entry.kind = kind;
            }
        }
    }

    /// Another task asks from now on.
    pub fn moves(&mut self) {
        self.is_armed = false;
    }

    /// Ends it where its holder is not what it was.
    pub fn judge(&mut self, judge: impl FnOnce(&Holder) -> Fate) {
        if let Some(entry) = self.shard.lock().entries.get_mut(self.place) {
            match judge(&entry.holder) {
                Fate::Stays => {}
                Fate::Moves(holder) => entry.holder = holder,
                Fate::Ends(why, _) => entry.ended = Some(why),
            }
        }
    }

    /// Ready once it is to end, and from then on. One task asks, until [`OpenStream::moves`].
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let ended = self.shard.ended.load(Ordering::Acquire);
        if self.is_armed && ended == self.seen {
            return Poll::Pending;
        }
        self.seen = ended;
        let mut open = self.shard.lock();
        let Some(entry) = open.entries.get_mut(self.place) else { return Poll::Pending };
        if let Some(why) = entry.ended {
            // Asked again it says the same.
            self.is_armed = false;
            return Poll::Ready(why);
        }
        if !self.is_armed {
            entry.waker = Some(cx.waker().clone());
            self.is_armed = true;
        }
        Poll::Pending
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.shard.lock();
        if let Some(entry) = open.entries.try_remove(self.place) {
            if let Some(due) = entry.due {
                open.due.remove(&(due, entry.number));
            }
            // The holder may be the last of its snapshot's: not under the lock.
            drop(open);
            self.shard.closed(&entry);
        }
    }
}
