//! One question to one server: are you well?
//!
//! It goes the way that requests go: the same connecting, the same TLS, the same strict reading of
//! the answer. A server with which requests could not speak is not well.

use std::future::poll_fn;

use http::Method;

use super::connect::{connect, connect_http2};
use super::member::Member;
use super::policy::{HealthPolicy, Protocol};
use super::server::Server;
use crate::config::snapshot::ServerAddress;
use crate::http1::framing::Framing;

/// Of the answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// Interim answers before the final one.
const MAX_INTERIM: usize = 16;

/// Whether the server answers as `policy` wants, in time, in the language that requests use.
pub async fn check(member: &Member, protocol: Protocol, policy: &HealthPolicy) -> bool {
    let asking = async {
        match protocol {
            Protocol::Http1 => ask_http1(member, policy).await,
            Protocol::Http2 => ask_http2(member, policy).await,
        }
    };
    matches!(tokio::time::timeout(policy.timeout, asking).await, Ok(Some(())))
}

async fn ask_http1(member: &Member, policy: &HealthPolicy) -> Option<()> {
    let mut connection = connect(member, policy.timeout).await.ok()?;
    let Some(path) = &policy.path else { return Some(()) };
    let head = question(path, &member.server.address, "Connection: close\r\n");
    connection.send.head().extend_from_slice(&head);
    connection.send.begin(Framing::Empty);
    answer(&mut *connection).await
}

async fn ask_http2(member: &Member, policy: &HealthPolicy) -> Option<()> {
    let shared = connect_http2(member, policy.timeout).await.ok()?;
    let Some(path) = &policy.path else { return Some(()) };
    let head = question(path, &member.server.address, "");
    answer(&mut shared.begin(&head, Framing::Empty).ok()?).await
}

async fn answer(server: &mut impl Server) -> Option<()> {
    poll_fn(|cx| server.poll_flush(cx)).await.ok()?;
    for _ in 0..MAX_INTERIM {
        poll_fn(|cx| server.poll_head(cx, &Method::GET, MAX_HEAD)).await.ok()?;
        if !server.head().status.is_informational() {
            return server.head().status.is_success().then_some(());
        }
    }
    None
}

fn question(path: &str, address: &ServerAddress, more: &str) -> Vec<u8> {
    let host = match address {
        ServerAddress::Unix(_) => "localhost".to_owned(),
        address => address.to_string(),
    };
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: vestibule-health\r\n\
         Accept: */*\r\n{more}\r\n"
    );
    head.into_bytes()
}
