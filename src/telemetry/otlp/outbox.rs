//! What waits to be sent: bounded, and nobody waits to put something in.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

#[derive(Debug)]
pub struct Outbox<T> {
    queue: ArrayQueue<T>,
    /// With so many the sender need not wait for more.
    batch: usize,
    enough: Notify,
    dropped: AtomicU64,
}

impl<T> Outbox<T> {
    pub fn new(room: usize, batch: usize) -> Self {
        let room = room.max(1);
        let batch = batch.clamp(1, room);
        Self {
            queue: ArrayQueue::new(room),
            batch,
            enough: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Puts one in; drops it where there is no room.
    pub fn push(&self, one: T) {
        if self.queue.push(one).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.len() >= self.batch {
            self.enough.notify_one();
        }
    }

    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Waits until there is enough for a batch.
    pub async fn enough(&self) {
        while self.queue.len() < self.batch {
            self.enough.notified().await;
        }
    }

    /// How many found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_drops_and_counts() {
        let outbox = Outbox::new(2, 10);
        (0..5).for_each(|one| outbox.push(one));
        assert_eq!(outbox.dropped(), 3);
        assert_eq!((outbox.pop(), outbox.pop(), outbox.pop()), (Some(0), Some(1), None));
    }

    #[tokio::test]
    async fn the_sender_hears_of_a_batch() {
        let outbox = Outbox::new(8, 2);
        outbox.push(1);
        let waiting = outbox.enough();
        let both = futures_util::future::join(waiting, async { outbox.push(2) });
        both.await;
    }
}
