//! How a server stops: what is awaited, for how long, and when streams are told.
//!
//! 1. Everything may go on for `drain_timeout`. The server is done when nothing is open; idle
//!    connections, whose clients are told to come elsewhere, hold it up for [`IDLE`] at most.
//! 2. Then streams are ended, spread over `close_within`: WebSockets with 1012. Together the two
//!    are how long an orderly stop takes, and [`GOODBYES`] is what clients get to answer.
//! 3. Then whatever is left is cut.
//!
//! Whoever is in a hurry goes on to the next step at once, and without spreading. Pure: time is an
//! argument.

use std::time::{Duration, Instant};

use crate::edge::ending;
use crate::state::streams::Pace;

/// For a WebSocket to complete its frame, and for its client to answer Close.
const GOODBYES: Duration = Duration::from_secs(ending::PATIENCE.as_secs() * 2 + 1);
/// For connections without a request to notice, and for a request that was on its way.
const IDLE: Duration = Duration::from_secs(8);

/// What is still open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub connections: usize,
    /// Requests, event streams, WebSockets.
    pub streams: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// Tell every stream to end.
    End(Pace),
    Done,
}

#[derive(Debug)]
pub(super) struct Stopping {
    phase: Phase,
    until: Instant,
    close_within: Duration,
    /// Since when no stream is open.
    quiet_since: Option<Instant>,
    is_hurried: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Streams run.
    Running,
    /// They are being ended.
    Ending,
    /// They have all been told.
    Leaving,
}

impl Stopping {
    pub(super) fn new(now: Instant, drain_timeout: Duration, close_within: Duration) -> Self {
        let until = now + drain_timeout;
        let phase = Phase::Running;
        Self { phase, until, close_within, quiet_since: None, is_hurried: false }
    }

    /// To be asked again and again. `hurry`: somebody has just said so.
    pub(super) fn step(&mut self, now: Instant, left: Left, hurry: bool) -> Step {
        self.is_hurried |= hurry;
        if self.is_done(now, left) {
            return Step::Done;
        }
        if now < self.until && !hurry {
            return Step::Wait;
        }
        match self.phase {
            Phase::Running if !hurry => {
                self.phase = Phase::Ending;
                self.until = now + self.close_within;
                Step::End(Pace::Spread(self.close_within))
            }
            // Also what began since the last time.
            Phase::Running | Phase::Ending => {
                self.phase = Phase::Leaving;
                self.until = now + GOODBYES;
                Step::End(Pace::AtOnce)
            }
            Phase::Leaving if now < self.until => Step::Wait,
            Phase::Leaving => Step::Done,
        }
    }

    fn is_done(&mut self, now: Instant, left: Left) -> bool {
        if left.streams > 0 {
            self.quiet_since = None;
            return false;
        }
        let since = *self.quiet_since.get_or_insert(now);
        left.connections == 0 || self.is_hurried || now >= since + IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Left = Left { connections: 2, streams: 1 };
    const IDLING: Left = Left { connections: 1, streams: 0 };
    const NOTHING: Left = Left { connections: 0, streams: 0 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// At each second, what is left and whether somebody hurries; what is done about it.
    fn check(story: &[(u64, Left, bool, Step)]) {
        let start = Instant::now();
        let mut stopping = Stopping::new(start, seconds(60), seconds(10));
        for &(at, left, hurry, expected) in story {
            let step = stopping.step(start + seconds(at), left, hurry);
            assert_eq!(step, expected, "at {at} s of {story:?}");
        }
    }

    #[test]
    fn streams_run_then_are_ended_then_cut() {
        let spread = Step::End(Pace::Spread(seconds(10)));
        check(&[
            (0, BUSY, false, Step::Wait),
            (59, BUSY, false, Step::Wait),
            (60, BUSY, false, spread),
            (61, BUSY, false, Step::Wait),
            (70, BUSY, false, Step::End(Pace::AtOnce)),
            (80, BUSY, false, Step::Wait),
            (81, BUSY, false, Step::Done),
        ]);
    }

    #[test]
    fn it_is_done_when_the_last_stream_has_ended() {
        check(&[(0, NOTHING, false, Step::Done)]);
        check(&[(0, BUSY, false, Step::Wait), (3, NOTHING, false, Step::Done)]);
        check(&[
            (61, BUSY, false, Step::End(Pace::Spread(seconds(10)))),
            (62, NOTHING, false, Step::Done),
        ]);
    }

    #[test]
    fn idle_connections_get_a_while_from_the_last_stream_on() {
        check(&[
            (0, IDLING, false, Step::Wait),
            (5, BUSY, false, Step::Wait),
            (6, IDLING, false, Step::Wait),
            (13, IDLING, false, Step::Wait),
            (14, IDLING, false, Step::Done),
        ]);
    }

    #[test]
    fn hurry_ends_streams_at_once_and_waits_for_their_goodbyes() {
        check(&[
            (1, BUSY, true, Step::End(Pace::AtOnce)),
            (2, BUSY, false, Step::Wait),
            (3, IDLING, false, Step::Done),
        ]);
        check(&[(1, BUSY, true, Step::End(Pace::AtOnce)), (2, BUSY, true, Step::Wait)]);
        check(&[(1, BUSY, true, Step::End(Pace::AtOnce)), (12, BUSY, false, Step::Done)]);
        check(&[
            (60, BUSY, false, Step::End(Pace::Spread(seconds(10)))),
            (61, BUSY, true, Step::End(Pace::AtOnce)),
        ]);
        check(&[(1, IDLING, true, Step::Done)]);
    }
}
