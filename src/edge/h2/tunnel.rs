//! A WebSocket that arrived over HTTP/2 (RFC 8441): a stream on one side, a socket on the other.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::scratch;
use crate::net::io::Io;
use crate::telemetry::access_log::StreamLog;

/// Bytes that one tunnel reads ahead of its stream's window.
const READ: usize = 16 * 1024;
const TURNS: usize = 8;

pub struct H2Tunnel {
    recv: RecvStream,
    send: SendStream<Bytes>,
    upstream: Io,
    /// From the client, not yet taken by the upstream.
    up: Bytes,
    up_state: Up,
    /// From the upstream, not yet granted by the client's window.
    down: Bytes,
    down_ended: bool,
    moved: (u64, u64),
    log: Option<Box<StreamLog>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    Open,
    Unflushed,
    Ending,
    Ended,
}

impl H2Tunnel {
    /// Each side with what was already read from it.
    pub fn new(
        client: (RecvStream, SendStream<Bytes>, Bytes),
        upstream: (Io, Vec<u8>),
        log: Option<Box<StreamLog>>,
        _guard: Option<crate::state::sessions::StreamGuard>,
    ) -> Self {
        Self {
            recv: client.0,
            send: client.1,
            upstream: upstream.0,
            up: client.2,
            up_state: Up::Open,
            down: upstream.1.into(),
            down_ended: false,
            moved: (0, 0),
            log,
        }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.up.is_empty() {
                let count = ready!(Pin::new(&mut self.upstream).poll_write(cx, &self.up))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.up.advance(count);
                self.moved.0 += count as u64;
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
                self.moved.1 += count as u64;
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
}

impl Drop for H2Tunnel {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.end(self.moved.0, self.moved.1);
        }
    }
}

impl Future for H2Tunnel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let up = this.poll_up(cx);
        let down = this.poll_down(cx);
        match (up, down) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                this.send.send_reset(Reason::CANCEL);
                Poll::Ready(())
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}
