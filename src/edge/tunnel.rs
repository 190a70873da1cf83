//! Bytes both ways after a WebSocket handshake.
//!
//! The future is small and owns no read buffers: all tunnels of a worker read through the thread's
//! scratch buffer, because a read is always followed by its write before anything else happens. Only what
//! the other side did not take is kept. Each direction closes on its own (half-close). There is no
//! timeout: an open stream is never cut for being silent; dead peers are found by TCP keep-alive.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::scratch;
use crate::net::io::Io;
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
    moved: u64,
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
        Self { left: first.into_boxed_slice(), left_at: 0, state, moved: 0 }
    }

    /// Moves what can be moved; ready at the end of this direction.
    fn poll(&mut self, from: &mut Io, to: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..TURNS {
            self.poll_left(to, cx)?;
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
            if self.poll_move(from, to, cx)?.is_pending() {
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

    fn poll_left(&mut self, to: &mut Io, cx: &mut Context<'_>) -> io::Result<()> {
        while self.left_at < self.left.len() {
            match Pin::new(&mut *to).poll_write(cx, &self.left[self.left_at..])? {
                Poll::Pending => return Ok(()),
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.left_at += count;
                    self.moved += count as u64;
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
                        self.moved += count as u64;
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
}

/// A WebSocket between two HTTP/1 connections.
#[derive(Debug)]
pub struct Tunnel {
    client: Io,
    upstream: Io,
    up: Flow,
    down: Flow,
    log: Option<Box<StreamLog>>,
}

impl Tunnel {
    /// Each side with what was already read from it.
    pub fn new(
        client: (Io, Vec<u8>),
        upstream: (Io, Vec<u8>),
        log: Option<Box<StreamLog>>,
        _guard: Option<crate::state::sessions::StreamGuard>,
    ) -> Self {
        Self {
            client: client.0,
            upstream: upstream.0,
            up: Flow::new(client.1),
            down: Flow::new(upstream.1),
            log,
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.end(self.up.moved, self.down.moved);
        }
    }
}

impl Future for Tunnel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let up = this.up.poll(&mut this.client, &mut this.upstream, cx);
        let down = this.down.poll(&mut this.upstream, &mut this.client, cx);
        match (up, down) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}
