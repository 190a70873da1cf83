//! An upstream that speaks HTTP/2 by prior knowledge, or over TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub type Answer = SendResponse<Bytes>;

/// A listening server; it ends when it is dropped.
pub struct H2Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// How often connections were told to go away.
    leave: watch::Sender<bool>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl H2Server {
    /// Runs `answer` for each request.
    pub fn start<F: Future<Output = ()> + Send + 'static>(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(Request<RecvStream>, Answer) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (leave, leaving) = watch::channel(false);
        let count = Arc::clone(&connections);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let accept = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, leaving, tls) = (answer.clone(), leaving.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer, leaving).await,
                        Some(tls) => {
                            let acceptor = tokio_rustls::TlsAcceptor::from(tls);
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, answer, leaving).await;
                            }
                        }
                    }
                });
            }
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept => {}
                }
            });
        });
        Self { address, connections, leave, _stop: stop }
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Tells all connections that no more requests are taken on them; what is under way goes on.
    pub fn send_goaway(&self) {
        self.leave.send_replace(true);
        self.leave.send_replace(false);
    }
}

async fn serve<F: Future<Output = ()> + Send + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<RecvStream>, Answer) -> F,
    mut leaving: watch::Receiver<bool>,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    // Those said before this connection are none of its business.
    leaving.mark_unchanged();
    let mut left = false;
    loop {
        tokio::select! {
            request = connection.accept() => match request {
                Some(Ok((request, respond))) => {
                    tokio::spawn(answer(request, respond));
                }
                _ => return,
            },
            _ = leaving.changed(), if !left => {
                connection.graceful_shutdown();
                left = true;
            }
        }
    }
}

/// The whole body, as it comes.
pub async fn body(mut recv: RecvStream) -> (Vec<u8>, Option<http::HeaderMap>) {
    let mut all = Vec::new();
    while let Some(Ok(data)) = recv.data().await {
        all.extend_from_slice(&data);
        let _ = recv.flow_control().release_capacity(data.len());
    }
    (all, recv.trailers().await.ok().flatten())
}

/// Sends as much as the window lets through, until all is sent.
pub async fn send(stream: &mut h2::SendStream<Bytes>, mut data: Bytes, end: bool) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(capacity)) = capacity else { return };
        let part = data.split_to(capacity.min(data.len()));
        if stream.send_data(part, end && data.is_empty()).is_err() {
            return;
        }
    }
}
