//! Header fields on their way through: what is removed, what is set, in both directions.
//!
//! Trusted fields are always set or removed, on every path, upgrades included. A field that a
//! client nominates in Connection is its own loss; framing and Host cannot be nominated.

mod request;
mod response;
#[cfg(test)]
mod tests;

use crate::http1::fields::Known;

pub use request::{Outbound, write_request};
pub use response::{dressed_fields, interim_fields, response_fields, splice, switch_fields};

/// Trailers that may pass: nothing that frames, routes or authenticates (RFC 9110, 6.5.1).
pub fn is_trailer(known: Known) -> bool {
    !known.is_hop_by_hop()
        && !matches!(
            known,
            Known::Authorization
                | Known::ContentEncoding
                | Known::ContentLength
                | Known::ContentType
                | Known::Cookie
                | Known::Disguised
                | Known::Expect
                | Known::Forwarded
                | Known::Host
                | Known::Identity
                | Known::Location
                | Known::Origin
                | Known::Proxy
                | Known::SecWebSocketAccept
                | Known::SecWebSocketKey
                | Known::SecWebSocketVersion
                | Known::SetCookie
                | Known::Trailer
                | Known::XForwardedFor
                | Known::XForwardedHost
                | Known::XForwardedOther
                | Known::XForwardedPort
                | Known::XForwardedProto
                | Known::XRealIp
                | Known::XRequestId
        )
}

pub fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}
