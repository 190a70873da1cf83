//! A WebSocket that arrived over HTTP/2 (RFC 8441): a stream on one side, a socket on the other.
//!
//! It ends as one over HTTP/1 does, where it is told to ([`crate::edge::ending`]).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::edge::ending::{Ending, Half, Moved, Watch};
use crate::edge::open::Open;
use crate::http1::scratch;
use crate::net::io::Io;
use crate::state::streams::Ended;
use crate::telemetry::access_log::StreamLog;

/// Bytes that one tunnel reads ahead of its stream's window.
const READ: usize = 16 * 1024;
const TURNS: usize = 8;

pub struct H2Tunnel(Stage);

enum Stage {
    Open(Pair),
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
    Closed,
}

struct Pair {
    recv: RecvStream,
    send: SendStream<Bytes>,
    upstream: Io,
    /// From the client, not yet taken by the upstream.
    up: Bytes,
    up_state: Up,
    /// From the upstream, not yet granted by the client's window.
    down: Bytes,
    down_ended: bool,
    moved: Moved,
    watch: Box<Watch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    Open,
    Unflushed,
    Ending,
    Ended,
}

impl H2Tunnel {
    /// Each side with what was already read from it. `open` may end it.
    pub fn new(
        client: (RecvStream, SendStream<Bytes>, Bytes),
        upstream: (Io, Vec<u8>),
        open: Open,
        log: Option<Box<StreamLog>>,
    ) -> Self {
        Self(Stage::Open(Pair {
            recv: client.0,
            send: client.1,
            upstream: upstream.0,
            up: client.2,
            up_state: Up::Open,
            down: upstream.1.into(),
            down_ended: false,
            moved: Moved::new(log),
            watch: Watch::new(open),
        }))
    }
}

impl Pair {
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.up.is_empty() {
                let count = ready!(Pin::new(&mut self.upstream).poll_write(cx, &self.up))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.watch.up.pass(&self.up[..count]);
                self.up.advance(count);
                self.moved.up += count as u64;
                self.up_state = Up::Unflushed;
                let released = self.recv.flow_control().release_capacity(count);
                released.map_err(io::Error::other)?;
            }
            match self.up_state {
                Up::Ended => return Poll::Ready(Ok(())),
                Up::Ending => {
                    ready!(Pin::new(&mut self.upstream).poll_shutdown(cx))?;
                    self.up_state = Up::Ended;
                    continue;
                }
                Up::Open | Up::Unflushed => {}
            }
            match self.recv.poll_data(cx) {
                Poll::Ready(Some(data)) => self.up = data.map_err(io::Error::other)?,
                Poll::Ready(None) => self.up_state = Up::Ending,
                Poll::Pending => {
                    if self.up_state == Up::Unflushed {
                        ready!(Pin::new(&mut self.upstream).poll_flush(cx))?;
                        self.up_state = Up::Open;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..TURNS {
            while !self.down.is_empty() {
                self.send.reserve_capacity(self.down.len());
                while self.send.capacity() == 0 {
                    match ready!(self.send.poll_capacity(cx)) {
                        Some(granted) => granted.map_err(io::Error::other)?,
                        None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                    };
                }
                let count = self.send.capacity().min(self.down.len());
                let data = self.down.split_to(count);
                self.watch.down.pass(&data);
                self.moved.down += count as u64;
                self.send.send_data(data, false).map_err(io::Error::other)?;
            }
            if self.down_ended {
                return Poll::Ready(Ok(()));
            }
            let upstream = Pin::new(&mut self.upstream);
            let read = scratch::with(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch[..READ]);
                let read = upstream.poll_read(cx, &mut buffer)?;
                Ok::<_, io::Error>(read.map(|()| Bytes::copy_from_slice(buffer.filled())))
            })?;
            let Poll::Ready(data) = read else {
                // Nothing to send: hear of a reset all the same.
                return match self.send.poll_reset(cx) {
                    Poll::Ready(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    Poll::Pending => Poll::Pending,
                };
            };
            self.down = data;
            if self.down.is_empty() {
                self.down_ended = true;
                self.send.send_data(Bytes::new(), true).map_err(io::Error::other)?;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let up = self.poll_up(cx);
        let down = self.poll_down(cx);
        match (up, down) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                self.send.send_reset(Reason::CANCEL);
                Poll::Ready(())
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.watch.open.poll_ended(cx)
    }

    fn into_ending(self, why: Ended) -> Ending<Stream> {
        let Watch { open, up, down } = *self.watch;
        let is_open = matches!(self.up_state, Up::Open | Up::Unflushed);
        Ending {
            // What the upstream has not taken is read again, and comes to nothing.
            client: Stream {
                recv: self.recv,
                send: self.send,
                chunk: self.up,
                ended: self.down_ended,
            },
            upstream: self.upstream,
            up: Half { frames: up, left: Vec::new(), is_open },
            down: Half { frames: down, left: self.down.into(), is_open: !self.down_ended },
            moved: self.moved,
            why,
            _open: open,
        }
    }
}

impl Future for H2Tunnel {
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

/// The client's side as a stream of bytes. Dropped before its end, it resets the stream.
struct Stream {
    recv: RecvStream,
    send: SendStream<Bytes>,
    chunk: Bytes,
    ended: bool,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.chunk.is_empty() {
            match ready!(this.recv.poll_data(cx)) {
                Some(data) => this.chunk = data.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = this.chunk.len().min(buffer.remaining());
        buffer.put_slice(&this.chunk.split_to(count));
        let released = this.recv.flow_control().release_capacity(count);
        Poll::Ready(released.map_err(io::Error::other))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.send.reserve_capacity(data.len());
        while this.send.capacity() == 0 {
            match ready!(this.send.poll_capacity(cx)) {
                Some(granted) => granted.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let count = this.send.capacity().min(data.len());
        let sent = this.send.send_data(Bytes::copy_from_slice(&data[..count]), false);
        Poll::Ready(sent.map(|()| count).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task sends what is queued.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        this.ended = true;
        Poll::Ready(this.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

#[cfg(test)]
mod tests;
