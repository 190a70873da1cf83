//! A small HTTP server on a thread of its own, for those who are not the world: operators and apps.
//!
//! It decides nothing but bounds: how many connections, and how long one may take with all that it
//! does. A connection carries one request; what is asked here is asked once in a while. Nothing
//! here can slow a worker.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::intake::Door;

/// From accept to the end of a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// Open at once; more wait in the kernel's queue.
pub(crate) const CONNECTIONS: usize = 256;
/// Of a request's head.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;
/// After a failed accept (no descriptors, mostly) trying at once would only burn the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
/// its answer.
pub fn serve<A, F>(name: &str, door: Door, patience: Duration, answer: A) -> io::Result<Service>
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
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

async fn accept_all<A, F>(mut door: Door, answer: Arc<A>, patience: Duration)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
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

async fn one<A, F>(
    stream: TcpStream,
    answer: Arc<A>,
    patience: Duration,
    permit: OwnedSemaphorePermit,
) where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .timer(TokioTimer::new())
        // Who is connected and says nothing keeps others out.
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // Who goes away, or never says what it wants, is its own business.
    let _ = tokio::time::timeout(patience, connection).await;
    drop(permit);
}
