//! One timer for a connection, re-armed lazily.
//!
//! A connection moves through many deadlines (idle, head, body, response) and meets few of them.
//! Re-arming a timer for each costs more than the request's parsing, so the timer is armed for a
//! short while, and what it should mean is looked at only when it fires.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The longest time for which the timer is armed at once. A new deadline that is further away
/// than this never needs the timer moved.
const QUANTUM: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
pub struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
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
        }
        while sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if at <= now {
                // Left fired: the next deadline is later and re-arms it.
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at.min(now + QUANTUM));
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
}
