//! Addresses as text.

use std::io::Write;
use std::net::IpAddr;

/// What `Display` writes. Its machinery costs more than all the rest of a head or a log line, so
/// that the usual kind goes without it.
pub fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_displayed() {
        for text in
            ["0.0.0.0", "192.0.2.10", "255.255.255.255", "::", "::ffff:192.0.2.1", "2001:db8::1"]
        {
            let mut out = Vec::new();
            write_address(&mut out, text.parse().unwrap());
            assert_eq!(out, text.as_bytes());
        }
    }
}
