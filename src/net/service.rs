//! A small HTTP server on a thread of its own, for those who are not the world: operators and apps.
//!
//! It decides nothing but bounds: how many connections, and how long one may take with all that it
//! does. A connection carries one request; what is asked here is asked once in a while. Nothing
//! here can slow a worker.
//!
//! An answer that says that it is [`Lasting`] may go on for days, as long as somebody takes what it
//! gives: it is cut [`STALL`] after the last piece of it was taken.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::intake::Door;

/// From accept to the end of a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// Open at once; more wait in the kernel's queue.
pub(crate) const CONNECTIONS: usize = 256;
/// Of a request's head.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;
/// After a failed accept (no descriptors, mostly) trying at once would only burn the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A lasting answer of which nobody takes anything for so long is cut. Whoever gives one has
/// something to say more often.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// What the kernel keeps of a lasting answer for a reader that is slow: what is new should reach it
/// soon, not after minutes of what is old.
const LASTING_BYTES: usize = 128 * 1024;

/// A response with this among its extensions goes on for as long as its reader takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lasting;

/// A running server; dropping it closes it and what is open.
pub struct Service {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Where it listens, the port resolved.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves from a thread of that name. A connection has `patience` from accept to the last byte of
/// its answer, or to the first of one that is [`Lasting`].
pub fn serve<A, F, B>(name: &str, door: Door, patience: Duration, answer: A) -> io::Result<Service>
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let address = door.address()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = accept_all(door, Arc::new(answer), patience) => {}
                // Also when the sender is gone: what nobody holds is not wanted.
                _ = stopped => {}
            }
        });
        // What an answer still waits for is not waited for.
        runtime.shutdown_background();
    })?;
    Ok(Service { address, stop: Some(stop), thread: Some(thread) })
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn accept_all<A, F, B>(mut door: Door, answer: Arc<A>, patience: Duration)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = loop {
            let permit = Arc::clone(&room).acquire_owned();
            match tokio::time::timeout(ACCEPT_PAUSE, permit).await {
                Ok(Ok(permit)) => break permit,
                Ok(Err(_)) => return,
                // Without room it does not accept; a successor waits to be told so.
                Err(_) => _ = door.obey().await,
            }
        };
        match door.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(one(stream, Arc::clone(&answer), patience, permit));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn one<A, F, B>(
    stream: TcpStream,
    answer: Arc<A>,
    patience: Duration,
    permit: OwnedSemaphorePermit,
) where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let socket = SockRef::from(&stream);
    // What cannot be set is a little slower, and bounded all the same.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(LASTING_BYTES);
    let pace = Arc::new(Pace::new(patience));
    let service = service_fn(|request| {
        let (response, pace) = (answer(request), Arc::clone(&pace));
        async move {
            let response = response.await;
            let lasts = response.extensions().get::<Lasting>().is_some();
            let pace = lasts.then_some(pace);
            Ok::<_, Infallible>(response.map(|body| Paced { body, pace }))
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .timer(TokioTimer::new())
        // Who is connected and says nothing keeps others out.
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Who goes away, or never says what it wants, is its own business.
        _ = connection => {}
        () = pace.runs_out() => {}
    }
    drop(permit);
}

/// When a connection has taken too long.
#[derive(Debug)]
struct Pace {
    began: Instant,
    /// Milliseconds after that.
    until: AtomicU64,
}

impl Pace {
    fn new(patience: Duration) -> Self {
        let pace = Self { began: Instant::now(), until: AtomicU64::new(0) };
        pace.allow(patience);
        pace
    }

    fn allow(&self, more: Duration) {
        let until = self.began.elapsed().saturating_add(more).as_millis();
        self.until.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    async fn runs_out(&self) {
        loop {
            let until = Duration::from_millis(self.until.load(Ordering::Relaxed));
            let Some(left) = until.checked_sub(self.began.elapsed()) else { return };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// A body; of a lasting one, each piece that is taken earns the next one time.
#[derive(Debug)]
struct Paced<B> {
    body: B,
    pace: Option<Arc<Pace>>,
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(_)), Some(pace)) = (&polled, &self.pace) {
            pace.allow(STALL);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
