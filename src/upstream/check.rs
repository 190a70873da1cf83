//! One question to one server: are you well?
//!
//! It goes the way that requests go: the same connecting, the same TLS, the same strict reading of
//! the answer. A server with which requests could not speak is not well.

use std::fmt::Write as _;
use std::future::poll_fn;

use http::Method;

use super::connect::connect;
use super::member::Member;
use super::policy::HealthPolicy;
use crate::config::snapshot::ServerAddress;
use crate::http1::framing::Framing;

/// Of the answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// Interim answers before the final one.
const MAX_INTERIM: usize = 16;

/// Whether the server answers as `policy` wants, in time.
pub async fn check(member: &Member, policy: &HealthPolicy) -> bool {
    matches!(tokio::time::timeout(policy.timeout, ask(member, policy)).await, Ok(Some(())))
}

async fn ask(member: &Member, policy: &HealthPolicy) -> Option<()> {
    let mut connection = connect(member, policy.timeout).await.ok()?;
    let Some(path) = &policy.path else { return Some(()) };
    connection.send.head().extend_from_slice(&question(path, &member.server.address));
    connection.send.begin(Framing::Empty);
    let connection = &mut *connection;
    poll_fn(|cx| connection.send.poll_flush(&mut connection.io, cx)).await.ok()?;
    for _ in 0..MAX_INTERIM {
        poll_fn(|cx| connection.poll_head(cx, &Method::GET, MAX_HEAD)).await.ok()?;
        if !connection.head.status.is_informational() {
            return connection.head.status.is_success().then_some(());
        }
    }
    None
}

fn question(path: &str, address: &ServerAddress) -> Vec<u8> {
    let mut text = String::new();
    let host = match address {
        ServerAddress::Unix(_) => "localhost".to_owned(),
        address => address.to_string(),
    };
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: vestibule-health\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    text.into_bytes()
}
