//! Opening a connection to a server: TCP, unix socket, and TLS over either.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

use super::connection::Connection;
use super::http2::Shared;
use super::member::Member;
use crate::config::snapshot::{Server, ServerAddress, UpstreamTls};
use crate::net::io::{self, Io, Records};

/// What servers that speak HTTP/2 are asked for (RFC 7301).
const H2: &[u8] = b"h2";

/// Opens a connection within `timeout`, which includes the TLS handshake, and the name's resolution
/// where that has not succeeded yet.
pub async fn connect(member: &Member, timeout: Duration) -> Result<Box<Connection>> {
    let io = within(timeout, open(&member.server, None)).await?;
    Ok(Box::new(Connection::new(io, member.id)))
}

/// The same for HTTP/2: over TLS the server must choose it, without TLS it is known to speak it.
pub async fn connect_http2(member: &Member, timeout: Duration) -> Result<Shared> {
    within(timeout, async {
        let io = open(&member.server, Some(H2)).await?;
        let chosen = match &io {
            Io::Tcp(_) | Io::Unix(_) => Some(H2),
            Io::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Io::UnixTls(stream) => stream.get_ref().1.alpn_protocol(),
        };
        match chosen == Some(H2) {
            true => Shared::handshake(io).await.map_err(Error::other),
            false => Err(Error::new(ErrorKind::InvalidData, "the server does not speak HTTP/2")),
        }
    })
    .await
}

async fn within<T>(timeout: Duration, opening: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(timeout, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// `protocol` where it is another than the configuration of TLS asks for.
async fn open(server: &Server, protocol: Option<&[u8]>) -> Result<Io> {
    let tcp = match &server.address {
        ServerAddress::Ip(address) => TcpStream::connect(address).await?,
        ServerAddress::Name(name, port) => TcpStream::connect((&**name, *port)).await?,
        ServerAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            return Ok(match &server.tls {
                None => Io::Unix(stream),
                Some(tls) => {
                    let connector = connector(tls, protocol);
                    let stream =
                        connector.connect(tls.server_name.clone(), Records(stream)).await?;
                    Io::UnixTls(Box::new(TlsStream::Client(stream)))
                }
            });
        }
    };
    io::tune(&tcp)?;
    Ok(match &server.tls {
        None => Io::Tcp(tcp),
        Some(tls) => {
            let stream =
                connector(tls, protocol).connect(tls.server_name.clone(), Records(tcp)).await?;
            Io::Tls(Box::new(TlsStream::Client(stream)))
        }
    })
}

fn connector(tls: &UpstreamTls, protocol: Option<&[u8]>) -> TlsConnector {
    let Some(protocol) = protocol else { return TlsConnector::from(Arc::clone(&tls.config)) };
    // A copy shares what matters: keys, authorities, sessions to resume.
    let mut config = rustls::ClientConfig::clone(&tls.config);
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsConnector::from(Arc::new(config))
}
