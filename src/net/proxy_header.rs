//! The PROXY protocol header (v1 and v2) that a trusted balancer puts before a connection.
//!
//! It reads exactly the header and no byte more, so that TLS or HTTP begins where it ends. Parsing
//! is the `ppp` crate's.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest v1 header, CRLF included.
const V1_MAX: usize = 107;
/// The longest v2 payload (addresses and TLVs) that is read.
const V2_MAX: usize = 4096;

/// Reads the header. `None`: the balancer speaks for itself (LOCAL, UNKNOWN), as health checks do.
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; V2_SIGNATURE.len()];
    io.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        read_v2(io, header).await
    } else if header.starts_with(b"PROXY ") {
        read_v1(io, header).await
    } else {
        Err(invalid("no PROXY header"))
    }
}

async fn read_v2(
    io: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    let mut fixed = [0; 4];
    io.read_exact(&mut fixed).await?;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > V2_MAX {
        return Err(invalid("PROXY v2 header is too long"));
    }
    header.extend_from_slice(&fixed);
    let start = header.len();
    header.resize(start + length, 0);
    io.read_exact(&mut header[start..]).await?;
    let parsed = ppp::v2::Header::try_from(&header[..])
        .map_err(|_| invalid("PROXY v2 header is malformed"))?;
    if parsed.command == ppp::v2::Command::Local {
        return Ok(None);
    }
    match parsed.addresses {
        ppp::v2::Addresses::IPv4(ip) => {
            Ok(Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port)))
        }
        ppp::v2::Addresses::IPv6(ip) => {
            Ok(Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port)))
        }
        ppp::v2::Addresses::Unspecified => Ok(None),
        ppp::v2::Addresses::Unix(_) => Err(invalid("PROXY v2 header names a unix address")),
    }
}

async fn read_v1(
    io: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    while !header.ends_with(b"\r\n") {
        if header.len() == V1_MAX {
            return Err(invalid("PROXY v1 header is too long"));
        }
        header.push(io.read_u8().await?);
    }
    let parsed = ppp::v1::Header::try_from(&header[..])
        .map_err(|_| invalid("PROXY v1 header is malformed"))?;
    Ok(match parsed.addresses {
        ppp::v1::Addresses::Tcp4(ip) => {
            Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port))
        }
        ppp::v1::Addresses::Tcp6(ip) => {
            Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port))
        }
        ppp::v1::Addresses::Unknown => None,
    })
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_versions_are_read_to_the_byte() {
        let v2 = |command: u8, family: u8, body: &[u8]| {
            let mut wire = V2_SIGNATURE.to_vec();
            wire.extend_from_slice(&[command, family]);
            wire.extend_from_slice(&(body.len() as u16).to_be_bytes());
            wire.extend_from_slice(body);
            wire
        };
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];
        let mut v4_tlv = v4.to_vec();
        v4_tlv.extend_from_slice(&[0x04, 0, 1, 0]);
        let cases: Vec<(Vec<u8>, Result<Option<&str>, ()>)> = vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec(), Ok(Some("192.0.2.1:12345"))),
            (b"PROXY TCP6 2001:db8::1 ::1 1 443\r\n".to_vec(), Ok(Some("[2001:db8::1]:1"))),
            (b"PROXY UNKNOWN\r\n".to_vec(), Ok(None)),
            (v2(0x21, 0x11, &v4), Ok(Some("192.0.2.1:12345"))),
            (v2(0x21, 0x11, &v4_tlv), Ok(Some("192.0.2.1:12345"))),
            (v2(0x20, 0x00, &[]), Ok(None)),
            (v2(0x31, 0x11, &v4), Err(())),
            (v2(0x21, 0x11, &v4[..5]), Err(())),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 443\r\n".to_vec(), Err(())),
            (b"GET / HTTP/1.1\r\n".to_vec(), Err(())),
            ([b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(), Err(())),
        ];
        for (wire, expected) in cases {
            let mut stream = wire.clone();
            stream.extend_from_slice(b"rest");
            let mut reader = &stream[..];
            let seen = read(&mut reader).await;
            let shown = seen.as_ref().map(|a| a.map(|a| a.to_string())).map_err(|_| ());
            assert_eq!(shown, expected.map(|a| a.map(str::to_owned)), "{wire:?}");
            if seen.is_ok() {
                assert_eq!(reader, b"rest", "{wire:?}");
            }
        }
    }
}
