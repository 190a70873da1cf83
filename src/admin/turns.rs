//! Work that takes a while: a few at once, on threads where that hurts nobody.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::rejection::{Code, Rejection};

/// So many at once; others wait. An operator must not slow a worker.
const AT_ONCE: usize = 2;

#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Does it in its turn, which it keeps until it is done: also where whoever asked has gone.
    pub async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let stopping = || Rejection::new(Code::NotServing, "the server is stopping");
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(|_| stopping())?;
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        working.await.map_err(|_| stopping())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_hangs_up_does_not_make_room_for_more() {
        let turns = Turns::default();
        let mut working = Vec::new();
        for _ in 0..AT_ONCE {
            let (go, may_go) = mpsc::sync_channel::<()>(1);
            let mut asked = Box::pin(turns.take(move || may_go.recv()));
            assert!((&mut asked).now_or_never().is_none());
            // It hangs up here; its work goes on.
            drop(asked);
            working.push(go);
        }
        let mut next = Box::pin(turns.take(|| "done"));
        assert!((&mut next).now_or_never().is_none());
        assert_eq!(turns.0.available_permits(), 0);
        drop(working);
        assert_eq!(next.await.unwrap(), "done");
    }
}
