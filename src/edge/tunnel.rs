//! Bytes both ways after a WebSocket handshake.
//!
//! The future is small and owns no read buffers: all tunnels of a worker read through the thread's
//! scratch buffer, because a read is always followed by its write before anything else happens. Only what
//! the other side did not take is kept. Each direction closes on its own (half-close). There is no
//! timeout: an open stream is never cut for being silent; dead peers are found by TCP keep-alive.
//!
//! It follows where frames end, so that it can be closed in WebSocket's words when it is told to end
//! ([`super::ending`]).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ending::{Ending, Half, Moved, Watch};
use super::frames::Frames;
use super::open::Open;
use crate::http1::scratch;
use crate::net::io::Io;
use crate::state::streams::Ended;
use crate::telemetry::access_log::StreamLog;

/// Reads of one direction before the other has its turn.
const TURNS: usize = 8;

/// One direction.
#[derive(Debug)]
struct Flow {
    /// Read, and not yet taken by the other side.
    left: Box<[u8]>,
    left_at: usize,
    state: State,
}

/// What is noted of the bytes that the other side has taken.
struct Track<'t> {
    moved: &'t mut u64,
    frames: &'t mut Frames,
}

impl Track<'_> {
    fn pass(&mut self, data: &[u8]) {
        *self.moved += data.len() as u64;
        self.frames.pass(data);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Something was written and not yet flushed.
    Unflushed,
    /// The source has ended; the other side must be told.
    Ending,
    Ended,
}

impl Flow {
    fn new(first: Vec<u8>) -> Self {
        let state = if first.is_empty() { State::Open } else { State::Unflushed };
        Self { left: first.into_boxed_slice(), left_at: 0, state }
    }

    /// Moves what can be moved; ready at the end of this direction.
    fn poll(
        &mut self,
        from: &mut Io,
        to: &mut Io,
        mut track: Track<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        for _ in 0..TURNS {
            self.poll_left(to, &mut track, cx)?;
            if self.left_at < self.left.len() {
                return Poll::Pending;
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                    return Poll::Ready(Ok(()));
                }
                State::Open | State::Unflushed => {}
            }
            if self.poll_move(from, to, &mut track, cx)?.is_pending() {
                if self.state == State::Unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.state = State::Open;
                }
                return Poll::Pending;
            }
        }
        // Others have waited long enough.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_left(
        &mut self,
        to: &mut Io,
        track: &mut Track<'_>,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        while self.left_at < self.left.len() {
            match Pin::new(&mut *to).poll_write(cx, &self.left[self.left_at..])? {
                Poll::Pending => return Ok(()),
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    track.pass(&self.left[self.left_at..self.left_at + count]);
                    self.left_at += count;
                    if self.state == State::Open {
                        self.state = State::Unflushed;
                    }
                }
            }
        }
        if !self.left.is_empty() {
            self.left = Box::default();
            self.left_at = 0;
        }
        Ok(())
    }

    /// One read and its write.
    fn poll_move(
        &mut self,
        from: &mut Io,
        to: &mut Io,
        track: &mut Track<'_>,
        cx: &mut Context<'_>,
    ) -> io::Result<Poll<()>> {
        scratch::with(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            if Pin::new(from).poll_read(cx, &mut buffer)?.is_pending() {
                return Ok(Poll::Pending);
            }
            let mut data = buffer.filled();
            if data.is_empty() {
                self.state = State::Ending;
                return Ok(Poll::Ready(()));
            }
            while !data.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, data)? {
                    Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(count) => {
                        self.state = State::Unflushed;
                        track.pass(&data[..count]);
                        data = &data[count..];
                    }
                    Poll::Pending => {
                        self.left = data.into();
                        self.left_at = 0;
                        break;
                    }
                }
            }
            Ok(Poll::Ready(()))
        })
    }

    /// What is left of it for [`Ending`].
    fn into_half(self, frames: Frames) -> Half {
        let is_open = matches!(self.state, State::Open | State::Unflushed);
        Half { frames, left: self.left[self.left_at..].to_vec(), is_open }
    }
}

/// A WebSocket between two HTTP/1 connections.
pub struct Tunnel(Stage);

enum Stage {
    Open(Pair),
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
    Closed,
}

struct Pair {
    client: Io,
    upstream: Io,
    up: Flow,
    down: Flow,
    moved: Moved,
    watch: Box<Watch>,
}

impl Tunnel {
    /// Each side with what was already read from it. `open` may end it.
    pub fn new(
        client: (Io, Vec<u8>),
        upstream: (Io, Vec<u8>),
        open: Open,
        log: Option<Box<StreamLog>>,
    ) -> Self {
        Self(Stage::Open(Pair {
            client: client.0,
            upstream: upstream.0,
            up: Flow::new(client.1),
            down: Flow::new(upstream.1),
            moved: Moved::new(log),
            watch: Watch::new(open),
        }))
    }
}

impl Pair {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { client, upstream, up, down, moved, watch } = self;
        let track = Track { moved: &mut moved.up, frames: &mut watch.up };
        let up = up.poll(client, upstream, track, cx);
        let track = Track { moved: &mut moved.down, frames: &mut watch.down };
        let down = down.poll(upstream, client, track, cx);
        match (up, down) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.watch.open.poll_ended(cx)
    }

    fn into_ending(self, why: Ended) -> Ending<Io> {
        let Watch { open, up, down } = *self.watch;
        Ending {
            client: self.client,
            upstream: self.upstream,
            up: self.up.into_half(up),
            down: self.down.into_half(down),
            moved: self.moved,
            why,
            _open: open,
        }
    }
}

impl Future for Tunnel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stage = &mut self.get_mut().0;
        if let Stage::Open(pair) = stage {
            let Poll::Ready(why) = pair.poll_ended(cx) else { return pair.poll(cx) };
            if let Stage::Open(pair) = std::mem::replace(stage, Stage::Closed) {
                *stage = Stage::Closing(Box::pin(pair.into_ending(why).run()));
            }
        }
        match stage {
            Stage::Closing(ending) => ending.as_mut().poll(cx),
            Stage::Open(_) | Stage::Closed => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests;
