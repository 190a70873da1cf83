//! One timer for a connection, re-armed lazily.
//!
//! A connection moves through many deadlines (idle, head, body, response) and meets few of them.
//! Re-arming a timer for each costs more than the request's parsing, so the timer is armed for a
//! short while, and what it should mean is looked at only when it fires.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest time for which the timer is armed at once. A new deadline that is further away
/// than this never needs the timer moved.
const QUANTUM: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
pub struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes, as it is armed.
    wakes: Option<Waker>,
}

impl Deadline {
    /// Ready once `at` has passed; `None` never is.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(at.min(Instant::now() + QUANTUM))));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
            self.wakes = None;
        }
        // Telling the timer what it knows costs four atomics, and is done twice a request.
        let is_told = self.wakes.as_ref().is_some_and(|told| told.will_wake(cx.waker()));
        if is_told && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        // At the end of a turn's budget a timer hears nothing, and says that it is not due.
        let mut hears = has_budget_remaining();
        // Whether it has fired can be asked without a budget.
        while sleep.is_elapsed() || sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if at <= now {
                // Left fired: the next deadline is later and re-arms it.
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at.min(now + QUANTUM));
            hears = has_budget_remaining();
        }
        match hears {
            true if is_told => {}
            true => self.wakes = Some(cx.waker().clone()),
            false => self.wakes = None,
        }
        Poll::Pending
    }

    /// Runs `future` until it ends or `at` has passed.
    pub async fn run<F: Future>(&mut self, at: Instant, future: F) -> Result<F::Output, Elapsed> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            self.poll(cx, Some(at)).map(|()| Err(Elapsed))
        })
        .await
    }
}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_later_deadline_never_fires_early_and_an_earlier_one_never_late() {
        let mut deadline = Deadline::default();
        let start = Instant::now();
        for (seconds, waits) in [(75, false), (10, true), (1, true), (30, true), (2, true)] {
            let at = Instant::now() + Duration::from_secs(seconds);
            let outcome = if waits {
                deadline.run(at, std::future::pending::<()>()).await
            } else {
                deadline.run(at, std::future::ready(())).await
            };
            assert_eq!(outcome.is_err(), waits);
            if waits {
                let late = Instant::now().duration_since(at);
                assert!(late < Duration::from_millis(5), "{seconds} s: {late:?} late");
            }
        }
        assert_eq!(start.elapsed().as_secs(), 43);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_comes_that_was_set_when_the_turn_was_over() {
        let (mut deadline, start) = (Deadline::default(), Instant::now());
        let (at, mut is_busy) = (start + Duration::from_secs(1), true);
        std::future::poll_fn(|cx| {
            while std::mem::take(&mut is_busy) {
                while let Poll::Ready(step) = tokio::task::coop::poll_proceed(cx) {
                    step.made_progress();
                }
            }
            deadline.poll(cx, Some(at))
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_comes_to_whoever_uses_up_every_turn() {
        let mut deadline = Deadline::default();
        let at = Instant::now() + Duration::from_secs(1);
        tokio::spawn(tokio::time::advance(Duration::from_secs(2)));
        let mut turns = 0..1000;
        let has_come = std::future::poll_fn(|cx| {
            if turns.start > 0 {
                while let Poll::Ready(step) = tokio::task::coop::poll_proceed(cx) {
                    step.made_progress();
                }
            }
            if deadline.poll(cx, Some(at)).is_ready() {
                return Poll::Ready(true);
            }
            cx.waker().wake_by_ref();
            match turns.next() {
                Some(_) => Poll::Pending,
                None => Poll::Ready(false),
            }
        });
        assert!(has_come.await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_last_is_woken() {
        let (mut deadline, start) = (Deadline::default(), Instant::now());
        let at = start + Duration::from_secs(9);
        let mut noop = Context::from_waker(Waker::noop());
        assert!(deadline.poll(&mut noop, Some(at)).is_pending());
        assert!(deadline.poll(&mut noop, Some(at)).is_pending());
        let late = deadline.run(at, std::future::pending::<()>()).await;
        assert_eq!((late, start.elapsed().as_secs()), (Err(Elapsed), 9));
    }
}
