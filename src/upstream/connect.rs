//! Opening a connection to a server: TCP, unix socket, and TLS over either.

use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

use super::connection::Connection;
use super::member::Member;
use crate::config::snapshot::{Server, ServerAddress};
use crate::net::io::{self, Io};

/// Opens a connection within `timeout`, which includes the TLS handshake, and the name's resolution
/// where that has not succeeded yet.
pub async fn connect(member: &Member, timeout: Duration) -> Result<Box<Connection>> {
    match tokio::time::timeout(timeout, open(&member.server)).await {
        Ok(io) => Ok(Box::new(Connection::new(io?, member.id))),
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

async fn open(server: &Server) -> Result<Io> {
    let tcp = match &server.address {
        ServerAddress::Ip(address) => TcpStream::connect(address).await?,
        ServerAddress::Name(name, port) => TcpStream::connect((&**name, *port)).await?,
        ServerAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            return Ok(match &server.tls {
                None => Io::Unix(stream),
                Some(tls) => {
                    let connector = TlsConnector::from(Arc::clone(&tls.config));
                    let stream = connector.connect(tls.server_name.clone(), stream).await?;
                    Io::UnixTls(Box::new(TlsStream::Client(stream)))
                }
            });
        }
    };
    io::tune(&tcp)?;
    Ok(match &server.tls {
        None => Io::Tcp(tcp),
        Some(tls) => {
            let connector = TlsConnector::from(Arc::clone(&tls.config));
            let stream = connector.connect(tls.server_name.clone(), tcp).await?;
            Io::Tls(Box::new(TlsStream::Client(stream)))
        }
    })
}
