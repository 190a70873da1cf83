//! The canonical path of a request, decoded once.
//!
//! The result is what routes are matched against and what the upstream receives, so that both
//! always mean the same. Refused is everything that a second decoder, a file system or a framework
//! could turn into another path.

use std::borrow::Cow;

/// The path can be read in more than one way, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmbiguousPath {
    /// An encoded or literal separator: `%2f`, `\`, `%5c`.
    Separator,
    /// NUL or another control character, encoded.
    Control,
    /// `.` or `..`, however spelled, alone or before a `;`.
    DotSegment,
    /// `//`.
    EmptySegment,
    /// `%` without two hexadecimal digits.
    Percent,
    /// What is encoded is not UTF-8.
    Utf8,
    /// A character that must be encoded in a path.
    Character,
}

/// The canonical form of an absolute path: encoded unreserved characters are decoded, the other
/// escapes are in upper case. Borrowed where nothing changes.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, AmbiguousPath> {
    debug_assert!(path.starts_with('/'));
    let mut result: Option<String> = None;
    let bytes = path.as_bytes();
    let (mut at, mut encoded) = (0, Utf8Check::default());
    while at < bytes.len() {
        let byte = bytes[at];
        if byte != b'%' {
            encoded.literal()?;
            match byte {
                b'\\' => return Err(AmbiguousPath::Separator),
                b'"' | b'<' | b'>' | b'#' | b'?' | 0..=b' ' | 0x7f.. => {
                    return Err(AmbiguousPath::Character);
                }
                _ => {}
            }
            if let Some(result) = &mut result {
                result.push(char::from(byte));
            }
            at += 1;
            continue;
        }
        let decoded = decode(bytes.get(at + 1), bytes.get(at + 2))?;
        encoded.byte(decoded)?;
        match decoded {
            b'/' | b'\\' => return Err(AmbiguousPath::Separator),
            0..0x20 | 0x7f => return Err(AmbiguousPath::Control),
            _ => {}
        }
        let is_upper = !bytes[at + 1].is_ascii_lowercase() && !bytes[at + 2].is_ascii_lowercase();
        if is_unreserved(decoded) {
            result.get_or_insert_with(|| path[..at].to_owned()).push(char::from(decoded));
        } else if !is_upper || result.is_some() {
            let result = result.get_or_insert_with(|| path[..at].to_owned());
            result.push_str(&path[at..at + 3].to_ascii_uppercase());
        }
        at += 3;
    }
    encoded.literal()?;
    let result = result.map_or(Cow::Borrowed(path), Cow::Owned);
    check_segments(&result)?;
    Ok(result)
}

/// Whether any part of `path` is still encoded or unusual; for paths in the configuration, which
/// must be written in canonical form.
pub fn is_canonical(path: &str) -> bool {
    path.starts_with('/') && matches!(canonical(path), Ok(Cow::Borrowed(_)))
}

fn check_segments(path: &str) -> Result<(), AmbiguousPath> {
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(AmbiguousPath::EmptySegment);
        }
        if !segment.starts_with('.') {
            continue;
        }
        // Some servers cut parameters off before they resolve dots.
        let end = segment.find(';').or_else(|| segment.find("%3B")).unwrap_or(segment.len());
        if matches!(&segment[..end], "." | "..") {
            return Err(AmbiguousPath::DotSegment);
        }
    }
    Ok(())
}

fn decode(high: Option<&u8>, low: Option<&u8>) -> Result<u8, AmbiguousPath> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
        _ => Err(AmbiguousPath::Percent),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Checks that a run of escapes is UTF-8, byte by byte: overlong forms, surrogates and cut
/// sequences are refused.
#[derive(Default)]
struct Utf8Check {
    pending: [u8; 4],
    length: usize,
}

impl Utf8Check {
    /// A literal character, or the end: no sequence may be open.
    fn literal(&mut self) -> Result<(), AmbiguousPath> {
        if self.length == 0 { Ok(()) } else { Err(AmbiguousPath::Utf8) }
    }

    fn byte(&mut self, byte: u8) -> Result<(), AmbiguousPath> {
        if self.length == self.pending.len() {
            return Err(AmbiguousPath::Utf8);
        }
        self.pending[self.length] = byte;
        self.length += 1;
        match std::str::from_utf8(&self.pending[..self.length]) {
            Ok(_) => self.length = 0,
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(AmbiguousPath::Utf8),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_has_one_reading() {
        use AmbiguousPath::*;
        for (path, expected) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a/b/", Ok("/a/b/")),
            ("/%61%2Db", Ok("/a-b")),
            ("/%7euser", Ok("/~user")),
            ("/_stcore%2dx", Ok("/_stcore-x")),
            ("/%5fstcore/metrics", Ok("/_stcore/metrics")),
            ("/caf%c3%a9", Ok("/caf%C3%A9")),
            ("/a%20b", Ok("/a%20b")),
            ("/a%3bb", Ok("/a%3Bb")),
            ("/a;b=c", Ok("/a;b=c")),
            ("/%252e%252e/", Ok("/%252e%252e/")),
            ("/a.b/..c/d..", Ok("/a.b/..c/d..")),
            ("/a:b@c,d!e$f&g'h(i)*+=", Ok("/a:b@c,d!e$f&g'h(i)*+=")),
            ("/a|b^{c}`", Ok("/a|b^{c}`")),
            ("/a%2fb", Err(Separator)),
            ("/a%2Fb", Err(Separator)),
            ("/a%5cb", Err(Separator)),
            ("/a\\b", Err(Separator)),
            ("/a%00", Err(Control)),
            ("/a%0d%0ab", Err(Control)),
            ("/a%7f", Err(Control)),
            ("/.", Err(DotSegment)),
            ("/..", Err(DotSegment)),
            ("/a/../b", Err(DotSegment)),
            ("/a/./b", Err(DotSegment)),
            ("/a/%2e%2E/b", Err(DotSegment)),
            ("/a/.%2e", Err(DotSegment)),
            ("/..;/b", Err(DotSegment)),
            ("/..;x=y/b", Err(DotSegment)),
            ("/..%3b/b", Err(DotSegment)),
            ("//", Err(EmptySegment)),
            ("//a", Err(EmptySegment)),
            ("/a//b", Err(EmptySegment)),
            ("/a//", Err(EmptySegment)),
            ("/%", Err(Percent)),
            ("/%4", Err(Percent)),
            ("/%zz", Err(Percent)),
            ("/%u0041", Err(Percent)),
            ("/%c3", Err(Utf8)),
            ("/%c3a", Err(Utf8)),
            ("/%c0%af", Err(Utf8)),
            ("/%c0%ae%c0%ae/", Err(Utf8)),
            ("/%ed%a0%80", Err(Utf8)),
            ("/%ff", Err(Utf8)),
            ("/a\"b", Err(Character)),
            ("/a#b", Err(Character)),
        ] {
            assert_eq!(canonical(path).as_deref(), expected.as_ref().map(|s| *s), "{path}");
        }
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(path in "/([a-zA-Z0-9._~;%/-]|%[0-9a-fA-F]{2}){0,24}") {
            if let Ok(first) = canonical(&path) {
                prop_assert!(is_canonical(&first), "{} -> {}", path, first);
            }
        }

        #[test]
        fn any_text_is_answered(path in "/[\\x00-\\x7f]{0,40}") {
            let _ = canonical(&path);
        }
    }
}
