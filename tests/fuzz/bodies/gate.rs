//! Canonical hosts and paths: total, a fixed point, and free of everything that another reader
//! could turn into something else.

use vestibule::gate::host;
use vestibule::gate::path;

/// The same text is tried as a host and, behind a slash, as a path.
pub fn path_and_host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_host(text);
    check_path(&format!("/{text}"));
}

fn check_host(text: &str) {
    let Ok(host) = host::canonical(text) else { return };
    let name = &*host.name;
    let inner = match name.strip_prefix('[') {
        Some(literal) => {
            let literal = literal.strip_suffix(']').expect("brackets are closed");
            assert!(literal.parse::<std::net::Ipv6Addr>().is_ok(), "{text:?}");
            literal
        }
        None => name,
    };
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.:".contains(&byte);
    assert!(!inner.is_empty() && inner.bytes().all(allowed), "{text:?} became {name:?}");
    assert!(!name.ends_with('.') && !name.contains(".."), "{text:?} became {name:?}");
    let again = host::canonical(name).expect("a canonical host is a host");
    assert_eq!((&*again.name, again.port), (name, None), "{text:?}");
    if let Some(port) = host.port {
        let with_port = format!("{name}:{port}");
        let again = host::canonical(&with_port).expect("a port may follow");
        assert_eq!((&*again.name, again.port), (name, Some(port)), "{text:?}");
    }
}

fn check_path(text: &str) {
    let Ok(canonical) = path::canonical(text) else { return };
    let clean = |path: &str| {
        path.starts_with('/')
            && !path.contains("//")
            && !path.contains('\\')
            && !path.chars().any(|character| character.is_ascii_control())
            && !path
                .split('/')
                .any(|segment| matches!(segment.split(';').next().unwrap_or_default(), "." | ".."))
    };
    assert!(clean(&canonical), "{text:?} became {canonical:?}");
    assert!(canonical.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{text:?}");
    assert!(path::is_canonical(&canonical), "{text:?} became {canonical:?}, which is not final");
    // Whoever decodes once more than routing did sees the same segments.
    let decoded = decode(&canonical);
    let decoded = std::str::from_utf8(&decoded).expect("what is encoded is UTF-8");
    assert!(clean(decoded), "{text:?} decodes to {decoded:?}");
    let segments = |path: &str| path.matches('/').count();
    assert_eq!(segments(decoded), segments(&canonical), "{text:?} decodes to {decoded:?}");
    assert_eq!(decode(text), decode(&canonical), "{text:?} became {canonical:?}");
}

/// Percent-decoding, by the book.
fn decode(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}
