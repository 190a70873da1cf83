//! From a socket to a connection: PROXY header, TLS, protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::worker::Worker;
use super::{h1, h2};
use crate::net::deadline::Deadline;
use crate::net::io::{self, Io, Records};
use crate::net::proxy_header;
use crate::pipeline::{ConnectionFacts, Scheme};
use crate::telemetry::metrics::meters::Spoken;

/// Serves one accepted socket to its end.
pub async fn connection(worker: Arc<Worker>, stream: TcpStream, peer: SocketAddr, scheme: Scheme) {
    let limits = worker.limits();
    // From accept: a handshake that drips is as bad as a head that does.
    let first = Instant::now() + limits.header_timeout;
    let mut deadline = Deadline::default();
    if io::tune(&stream).is_err() {
        return;
    }
    let meters = &worker.metrics.server;
    let opened = deadline.run(first, open(&worker, stream, peer, scheme)).await;
    let Ok(Some((io, facts, is_h2))) = opened else {
        if scheme == Scheme::Https {
            meters.tls_failed();
        }
        return;
    };
    meters.connected(match (scheme, is_h2) {
        (_, true) => Spoken::Http2,
        (Scheme::Https, false) => Spoken::Http1,
        (Scheme::Http, false) => Spoken::PlainHttp1,
    });
    let facts = Arc::new(facts);
    if is_h2 {
        Box::pin(h2::serve(io, worker, facts, first, deadline)).await;
    } else {
        h1::serve(io, worker, facts, first, deadline).await;
    }
}

async fn open(
    worker: &Worker,
    mut stream: TcpStream,
    peer: SocketAddr,
    scheme: Scheme,
) -> Option<(Io, ConnectionFacts, bool)> {
    let expects_header = {
        let server = &worker.snapshot.load().server;
        server.proxy_protocol && server.trusts(peer.ip())
    };
    let mut client = peer.ip().to_canonical();
    if expects_header {
        match proxy_header::read(&mut stream).await {
            Ok(Some(source)) => client = source.ip().to_canonical(),
            Ok(None) => {}
            Err(_) => return None,
        }
    }
    let mut facts = ConnectionFacts {
        client,
        trusted: worker.snapshot.load().server.trusts(client),
        scheme,
        server_name: None,
    };
    if scheme == Scheme::Http {
        return Some((Io::Tcp(stream), facts, false));
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&worker.tls));
    let began = Instant::now();
    let stream = acceptor.accept(Records(stream)).await.ok()?;
    let session = stream.get_ref().1;
    let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    worker.metrics.server.tls_done(is_resumed, began.elapsed());
    facts.server_name = session
        .server_name()
        .map(|name| name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str());
    let is_h2 = session.alpn_protocol() == Some(b"h2");
    Some((Io::Tls(Box::new(TlsStream::Server(stream))), facts, is_h2))
}
