//! The URL of a collector.

use std::time::Duration;

use http::Uri;

use super::{Protocol, Signal, Target};

const GRPC_PORT: u16 = 4317;

/// What is wrong, and what to write.
type Bad = (&'static str, &'static str);

/// `is_own`: the endpoint is this signal's alone, and has its whole path.
pub(super) fn endpoint_of(
    text: &str,
    protocol: Option<Protocol>,
    signal: Signal,
    is_own: bool,
) -> Result<Target, Bad> {
    const REMEDY: &str = "write \"http://HOST:4317\" for gRPC, or \"http://HOST:4318\" for HTTP";
    let wrong = || ("the value is not a URL of http or https without a user name", REMEDY);
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong()),
    };
    let host =
        uri.host().filter(|host| !host.is_empty() && !text.contains('@')).ok_or_else(wrong)?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let has_port = authority.as_str().len() > host.len();
    let port = match uri.port_u16() {
        Some(0) => return Err(wrong()),
        Some(port) => port,
        None if has_port => return Err(wrong()),
        None => {
            if is_tls {
                443
            } else {
                80
            }
        }
    };
    if uri.query().is_some() || text.contains('#') {
        return Err(("the URL of a collector has no query", REMEDY));
    }
    let guess = if port == GRPC_PORT { Protocol::Grpc } else { Protocol::HttpProtobuf };
    let protocol = protocol.unwrap_or(guess);
    let path = uri.path().trim_end_matches('/');
    let path = match protocol {
        Protocol::Grpc if path.is_empty() => "/".to_owned(),
        Protocol::Grpc => {
            return Err(("gRPC, which is what port 4317 speaks, has no path", REMEDY));
        }
        Protocol::HttpProtobuf if is_own => uri.path().to_owned(),
        Protocol::HttpProtobuf => format!("{path}/v1/{}", signal.name()),
    };
    Ok(Target {
        protocol,
        host: host.trim_start_matches('[').trim_end_matches(']').into(),
        port,
        authority: authority.as_str().into(),
        is_tls,
        path: path.into(),
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        certificate: None,
        tls: None,
    })
}
