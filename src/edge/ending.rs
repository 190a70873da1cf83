//! The end of a WebSocket that is told to end, said in WebSocket's own words.
//!
//! No byte of a new frame passes either way. The frame that the client is being sent is completed,
//! because only between two frames can we say something of our own; then the client gets a Close
//! with the reason, and a moment to answer it. The upstream gets a Close too, where its direction
//! stands between two frames; else its connection just ends. Nobody is waited for longer than
//! [`PATIENCE`], twice: a frame that does not end is cut, which is a broken connection to the
//! client; one that got its Close and does not answer gets a proper end all the same.
//!
//! This is rare, so it lives in a box of its own and costs an open tunnel nothing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::frames::{self, Frames};
use super::open::Open;
use crate::http1::scratch;
use crate::net::deadline::Deadline;
use crate::net::io::Io;
use crate::state::streams::Ended;
use crate::telemetry::access_log::StreamLog;

/// For the rest of a frame, and for the answer to our Close.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Of the upstream, after our Close.
const LINGER_BYTES: usize = 1024 * 1024;

/// The upstream's Close: "going away", the client has left.
const GOING_AWAY: u16 = 1001;

/// What a tunnel has that can be told to end.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) open: Open,
    /// What the upstream has been sent, and what the client has been sent.
    pub(super) up: Frames,
    pub(super) down: Frames,
}

impl Watch {
    pub(super) fn new(mut open: Open) -> Box<Self> {
        open.becomes_websocket();
        Box::new(Self { open, up: Frames::default(), down: Frames::default() })
    }
}

/// Bytes from the client and to the client, for the log line that is written at the end.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) up: u64,
    pub(super) down: u64,
    log: Option<Box<StreamLog>>,
}

impl Moved {
    pub(super) fn new(log: Option<Box<StreamLog>>) -> Self {
        Self { up: 0, down: 0, log }
    }

    pub(super) fn ends_early(&mut self, why: Ended) {
        if let Some(log) = &mut self.log {
            log.cut(why.reason());
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.end(self.up, self.down);
        }
    }
}

/// One direction as its tunnel left it.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) frames: Frames,
    /// Read, and not taken by the other side.
    pub(super) left: Vec<u8>,
    /// The other side has not been told of an end.
    pub(super) is_open: bool,
}

/// A tunnel that was told to end.
#[derive(Debug)]
pub(super) struct Ending<C> {
    pub(super) client: C,
    pub(super) upstream: Io,
    pub(super) up: Half,
    pub(super) down: Half,
    pub(super) moved: Moved,
    pub(super) why: Ended,
    /// It is open until it has ended.
    pub(super) _open: Open,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Ending<C> {
    /// Ends it, one way or the other.
    pub(super) async fn run(mut self) {
        self.moved.ends_early(self.why);
        let mut deadline = Deadline::default();
        let by = Instant::now() + PATIENCE;
        if !matches!(deadline.run(by, self.complete_frame()).await, Ok(Ok(true))) {
            return;
        }
        self.say_goodbye(Instant::now() + PATIENCE).await;
    }

    /// Sends the rest of the frame that the client is in, and nothing after it. False where it
    /// cannot be had.
    async fn complete_frame(&mut self) -> io::Result<bool> {
        let down = &mut self.down;
        if !down.is_open {
            return Ok(false);
        }
        while !down.frames.at_boundary() {
            if down.left.is_empty() {
                let frames = down.frames;
                let rest = |data: &[u8]| data[..frames.rest_of_frame(data)].to_vec();
                down.left = read(&mut self.upstream, rest).await?;
            }
            if down.left.is_empty() {
                return Ok(false);
            }
            let rest = down.frames.rest_of_frame(&down.left);
            self.client.write_all(&down.left[..rest]).await?;
            down.frames.pass(&down.left[..rest]);
            self.moved.down += rest as u64;
            down.left.clear();
        }
        Ok(true)
    }

    /// Whoever has not done its part by then is left.
    async fn say_goodbye(&mut self, by: Instant) {
        let Self { client, upstream, up, down, moved, why, .. } = self;
        let up = &*up;
        let to_client = close_client(client, up, down.frames, *why, by);
        let (told, _) = tokio::join!(to_client, timeout_at(by, close_upstream(upstream, up)));
        moved.down += told.unwrap_or(0);
    }
}

/// Sends Close, waits for the client's, or for its end, and ends our side, which a client leaves to
/// us. The bytes that were sent.
async fn close_client<C: AsyncRead + AsyncWrite + Unpin>(
    client: &mut C,
    up: &Half,
    down: Frames,
    why: Ended,
    by: Instant,
) -> io::Result<u64> {
    // After a Close of the upstream's own there is nothing more to say.
    let close = if down.is_closed() { Vec::new() } else { frames::close(why.code(), why.reason()) };
    let tell = async {
        client.write_all(&close).await?;
        client.flush().await
    };
    timeout_at(by, tell).await??;
    let mut said = up.frames;
    said.pass(&up.left);
    let hear = async {
        while !said.is_closed() {
            let is_end = read(client, |data| {
                said.pass(data);
                data.is_empty()
            });
            if is_end.await? {
                break;
            }
        }
        Ok(())
    };
    // It was told: that it does not answer breaks nothing.
    timeout_at(by, hear).await.unwrap_or(Ok::<_, io::Error>(()))?;
    // After the time is up this is tried once.
    timeout_at(by, client.shutdown()).await??;
    Ok(close.len() as u64)
}

/// Sends Close where it can be read as one, and waits for the end.
async fn close_upstream(upstream: &mut Io, up: &Half) -> io::Result<()> {
    if up.is_open && up.frames.at_boundary() && !up.frames.is_closed() {
        // Where randomness fails, which it does not: the payload is ours, a known mask hides
        // nothing from anybody.
        let mut mask = [0; 4];
        let _ = getrandom::fill(&mut mask);
        upstream.write_all(&frames::masked_close(GOING_AWAY, mask)).await?;
        upstream.flush().await?;
    }
    upstream.shutdown().await?;
    // Closing over unread bytes would be a reset, which could overtake our Close. An upstream that
    // goes on talking gets it all the same.
    let mut dropped = 0;
    while dropped < LINGER_BYTES {
        match read(upstream, <[u8]>::len).await? {
            0 => break,
            count => dropped += count,
        }
    }
    Ok(())
}

/// Reads once, through the thread's buffer; at the end of the stream, nothing.
async fn read<R: AsyncRead + Unpin, T>(
    from: &mut R,
    mut use_it: impl FnMut(&[u8]) -> T,
) -> io::Result<T> {
    poll_fn(|cx| {
        scratch::with(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(use_it(buffer.filled())))
        })
    })
    .await
}
