//! What may end a stream before its own end: its session, and whoever drains or reloads the server.
//!
//! Only asks; how a stream is ended in its protocol's own words is [`super::ending`]'s for WebSockets
//! and [`super::handle`]'s for answers.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use crate::state::sessions::StreamGuard;
use crate::state::streams::{Ended, Kind, OpenStream};

/// Held as long as the stream. Neither: nothing ends it.
#[derive(Debug, Default)]
pub struct Open {
    /// Where it belongs to a session.
    pub session: Option<StreamGuard>,
    /// Its place among all that is open.
    pub place: Option<OpenStream>,
}

impl Open {
    /// Ready once it is to end. One task asks; see [`Open::becomes_websocket`].
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Some(Poll::Ready(why)) = self.session.as_ref().map(|guard| guard.poll_ended(cx)) {
            return Poll::Ready(why);
        }
        self.place.as_mut().map_or(Poll::Pending, |place| place.poll_ended(cx))
    }

    /// From here on the tunnel asks, in a task of its own.
    pub fn becomes_websocket(&mut self) {
        if let Some(place) = &mut self.place {
            place.becomes(Kind::WebSocket);
            place.moves();
        }
    }

    /// Runs the exchange that passes an answer until it is done or is to end. `is_events` becomes
    /// true on the way where the answer is an event stream.
    pub async fn run<F: Future>(
        &mut self,
        is_events: &AtomicBool,
        exchange: F,
    ) -> Result<F::Output, Ended> {
        let mut exchange = pin!(exchange);
        poll_fn(|cx| {
            // First: not another byte for a session that has ended.
            if let Poll::Ready(why) = self.poll_ended(cx) {
                return Poll::Ready(Err(why));
            }
            let polled = exchange.as_mut().poll(cx);
            if polled.is_pending()
                && is_events.load(Ordering::Relaxed)
                && let Some(place) = &mut self.place
            {
                place.becomes(Kind::Events);
            }
            polled.map(Ok)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::session::{SessionId, UnixSeconds};
    use crate::state::sessions::Sessions;

    const ID: SessionId = SessionId([1; 16]);

    #[tokio::test]
    async fn an_exchange_runs_while_its_session_does() {
        let events = AtomicBool::new(false);
        let ready = || std::future::ready(1);
        assert_eq!(Open::default().run(&events, ready()).await, Ok(1));
        let sessions = Sessions::default();
        let session = sessions.open("a", &Arc::from("chat"), ID, UnixSeconds(0));
        let mut open = Open { session: Some(session), place: None };
        assert_eq!(open.run(&events, ready()).await, Ok(1));
        let endless = open.run(&events, std::future::pending::<()>());
        let (result, ()) = tokio::join!(endless, async {
            sessions.revoke("a", ID, UnixSeconds(9), UnixSeconds(1)).unwrap();
        });
        assert_eq!(result, Err(Ended::Revoked));
        assert_eq!(open.run(&events, ready()).await, Err(Ended::Revoked), "not another byte");
    }
}
