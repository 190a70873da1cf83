use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What a stream does next with a write.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Takes as much as this.
    Takes(usize),
    Waits,
    Fails,
}

/// A stream that does as it is told, and takes everything where it is told nothing.
#[derive(Debug, Default)]
struct Told {
    does: VecDeque<Does>,
    /// What each write brought.
    writes: Vec<Vec<u8>>,
    flushes: usize,
    is_shut: bool,
}

impl AsyncRead for Told {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(b"read");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Told {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = match self.does.pop_front() {
            None => data.len(),
            Some(Does::Takes(most)) => data.len().min(most),
            Some(Does::Waits) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Does::Fails) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        };
        self.writes.push(data[..count].to_vec());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(cx, &slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug, Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Both sides, over a stream that does this, and how often it woke.
struct Both {
    gather: Gather<Told>,
    flush: Flush<Told>,
    woken: Arc<Woken>,
    waker: Waker,
}

impl Both {
    fn new(does: impl IntoIterator<Item = Does>) -> Self {
        let stream = Told { does: does.into_iter().collect(), ..Told::default() };
        let (gather, flush) = gather(stream);
        let woken = Arc::<Woken>::default();
        Self { gather, flush, waker: Arc::clone(&woken).into(), woken }
    }

    fn write(&mut self, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.gather).poll_write(&mut Context::from_waker(&self.waker), data)
    }

    /// As `h2` does after each frame.
    fn flush_frame(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.gather).poll_flush(&mut Context::from_waker(&self.waker))
    }

    fn shut_down(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.gather).poll_shutdown(&mut Context::from_waker(&self.waker))
    }

    fn send(&self) {
        self.flush.poll(&mut Context::from_waker(&self.waker));
    }

    fn stream<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&lock(&self.flush.0).stream)
    }
}

fn taken(written: Poll<io::Result<usize>>) -> usize {
    let Poll::Ready(Ok(count)) = written else { panic!("{written:?}") };
    count
}

#[test]
fn frames_of_one_poll_are_sent_as_one() {
    let mut both = Both::new([]);
    for frame in [&b"one"[..], b"two", b"three"] {
        assert_eq!(taken(both.write(frame)), frame.len());
        assert!(both.flush_frame().is_ready());
    }
    assert_eq!(both.stream(|it| (it.writes.len(), it.flushes)), (0, 0));
    both.send();
    both.send();
    assert_eq!(both.stream(|it| (it.writes.clone(), it.flushes)), (vec![b"onetwothree".into()], 1));
    assert_eq!(lock(&both.flush.0).bytes.capacity(), 0, "an idle connection keeps memory");
}

#[test]
fn what_is_large_is_not_copied_and_flushed_all_the_same() {
    let mut both = Both::new([]);
    let large = vec![b'x'; LARGE];
    assert_eq!(taken(both.write(&large)), LARGE);
    assert_eq!(both.stream(|it| (it.writes.len(), it.flushes)), (1, 0));
    both.send();
    assert_eq!(both.stream(|it| (it.writes.len(), it.flushes)), (1, 1));
}

#[test]
fn what_is_large_waits_its_turn() {
    let mut both = Both::new([]);
    assert_eq!(taken(both.write(b"head")), 4);
    assert_eq!(taken(both.write(&vec![b'x'; 2 * ROOM])), ROOM - 4);
    assert_eq!(taken(both.write(b"tail")), 4);
    both.send();
    let lengths = both.stream(|it| it.writes.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(lengths, [ROOM, 4]);
}

#[test]
fn a_peer_that_does_not_read_is_felt() {
    let mut both = Both::new([Does::Takes(100), Does::Waits, Does::Waits]);
    let mut held = 0;
    while let Poll::Ready(written) = both.write(&[b'x'; 1000]) {
        held += written.unwrap();
        assert!(both.flush_frame().is_ready());
    }
    assert_eq!(held, ROOM);
    assert_eq!(both.woken.0.load(Ordering::Relaxed), 1);
    both.send();
    assert_eq!(both.woken.0.load(Ordering::Relaxed), 2);
    both.send();
    assert_eq!(both.stream(|it| it.writes.concat().len()), ROOM);
}

#[test]
fn a_failure_is_told_at_the_next_call_which_is_asked_for() {
    let mut both = Both::new([Does::Fails]);
    assert!(both.write(b"lost").is_ready());
    both.send();
    assert_eq!(both.woken.0.load(Ordering::Relaxed), 1);
    let reset = |kind: io::ErrorKind| assert_eq!(kind, io::ErrorKind::ConnectionReset);
    let Poll::Ready(Err(error)) = both.write(b"more") else { panic!() };
    reset(error.kind());
    let Poll::Ready(Err(error)) = both.flush_frame() else { panic!() };
    reset(error.kind());
    let Poll::Ready(Err(error)) = both.shut_down() else { panic!() };
    reset(error.kind());
    let (mut cx, mut buf) = (Context::from_waker(&both.waker), [0; 4]);
    let read = Pin::new(&mut both.gather).poll_read(&mut cx, &mut ReadBuf::new(&mut buf));
    assert!(matches!(read, Poll::Ready(Err(_))));
    // It is not told again and again.
    both.send();
    assert_eq!(both.woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn the_end_comes_after_what_was_written() {
    let mut both = Both::new([Does::Waits]);
    assert!(both.write(b"goodbye").is_ready());
    assert!(both.shut_down().is_pending());
    assert!(!both.stream(|it| it.is_shut));
    assert!(both.shut_down().is_ready());
    assert!(both.stream(|it| it.is_shut && it.writes.concat() == b"goodbye"));
}

#[test]
fn what_a_peer_still_sends_is_dropped_to_its_end_or_a_limit() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (mut gather, flush) = gather(near);
        far.write_all(&[b'x'; 10_000]).await.unwrap();
        // No end, and none is needed.
        flush.discard(10_000).await;
        far.write_all(b"more").await.unwrap();
        drop(far);
        flush.discard(usize::MAX).await;
        assert_eq!(gather.read(&mut [0; 4]).await.unwrap(), 0);
    });
}

proptest! {
    #[test]
    fn whatever_is_written_arrives_once_and_in_order(
        writes in proptest::collection::vec((0..20_000_usize, any::<bool>()), 0..20),
        does in proptest::collection::vec(
            prop_oneof![(1..9000_usize).prop_map(Does::Takes), Just(Does::Waits)], 0..40,
        ),
    ) {
        let mut both = Both::new(does);
        let bytes = |from: usize, length| (from..from + length).map(|at| (at % 251) as u8);
        let mut written = 0;
        for (length, is_sent) in writes {
            let data: Vec<u8> = bytes(written, length).collect();
            let mut rest = &data[..];
            while !rest.is_empty() {
                if let Poll::Ready(count) = both.write(rest) {
                    let count = count.unwrap();
                    prop_assert!(count > 0);
                    rest = &rest[count..];
                }
                prop_assert!(lock(&both.flush.0).bytes.len() <= ROOM);
            }
            written += length;
            if is_sent {
                both.send();
            }
        }
        while both.shut_down().is_pending() {}
        prop_assert_eq!(both.stream(|it| it.writes.concat()), bytes(0, written).collect::<Vec<_>>());
    }
}
