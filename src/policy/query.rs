//! `application/x-www-form-urlencoded`, byte for byte as `URLSearchParams` reads and prints it
//! (WHATWG URL, section 5), for queries and for form bodies alike.
//!
//! Reading is total: bad escapes stay as they are, invalid UTF-8 becomes U+FFFD, a byte order mark
//! is kept. Nothing here judges a name or a value, and nothing here may read differently from what
//! a browser or Node prints: a signature is computed over [`serialise`]. (Where bytes beyond ASCII
//! stand unescaped beside escapes of invalid UTF-8, Node 20 leaves the standard; no URL has them.)

use std::borrow::Cow;
use std::cmp::Ordering;

/// A name and its value, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair<'q> {
    pub name: Cow<'q, str>,
    pub value: Cow<'q, str>,
}

/// A name and its value as they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawPair<'q> {
    pub name: &'q [u8],
    pub value: &'q [u8],
}

impl<'q> RawPair<'q> {
    /// True where the decoded name is `name`, which must be plain ASCII without `+` and `%`.
    /// Allocates only for a name with escapes.
    pub fn is(self, name: &str) -> bool {
        self.name == name.as_bytes() || (is_coded(self.name) && decode(self.name) == name)
    }

    pub fn decoded(self) -> Pair<'q> {
        Pair { name: self.decoded_name(), value: self.decoded_value() }
    }

    pub fn decoded_name(self) -> Cow<'q, str> {
        decode(self.name)
    }

    pub fn decoded_value(self) -> Cow<'q, str> {
        decode(self.value)
    }
}

/// The pairs of a query without its `?`, or of a form body, as they were sent. Empty pieces
/// between two `&` are skipped, as the standard has it.
pub fn raw_pairs(input: &[u8]) -> impl Iterator<Item = RawPair<'_>> + Clone {
    input.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty()).map(|piece| {
        match memchr::memchr(b'=', piece) {
            Some(at) => RawPair { name: &piece[..at], value: &piece[at + 1..] },
            None => RawPair { name: piece, value: b"" },
        }
    })
}

/// The pairs of a query without its `?`, or of a form body, decoded. What needs no decoding is
/// borrowed.
pub fn pairs(input: &[u8]) -> impl Iterator<Item = Pair<'_>> + Clone {
    raw_pairs(input).map(RawPair::decoded)
}

/// Orders pairs by name as `URLSearchParams.sort()` does: by UTF-16 code unit, equal names keep
/// their order.
pub fn sort(pairs: &mut [Pair<'_>]) {
    pairs.sort_by(|one, other| by_code_unit(&one.name, &other.name));
}

/// As `URLSearchParams.sort()` orders names. UTF-8 and UTF-16 order differ only where a character
/// beyond U+FFFF meets one of U+E000..U+FFFF: by their first byte, 0xF0.. and 0xEE or 0xEF.
pub(super) fn by_code_unit(one: &str, other: &str) -> Ordering {
    let raised = |byte: u8| if matches!(byte, 0xee | 0xef) { byte + 0x10 } else { byte };
    match one.bytes().zip(other.bytes()).find(|(one, other)| one != other) {
        Some((one, other)) => raised(one).cmp(&raised(other)),
        None => one.len().cmp(&other.len()),
    }
}

/// Prints pairs as `URLSearchParams.toString()` does, behind what `out` already holds.
pub fn serialise<'p>(pairs: impl IntoIterator<Item = &'p Pair<'p>>, out: &mut String) {
    for (index, pair) in pairs.into_iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        encode(&pair.name, out);
        out.push('=');
        encode(&pair.value, out);
    }
}

/// Space becomes `+`; `A-Z a-z 0-9 * - . _` stay; every other byte of the UTF-8 is escaped.
fn encode(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

fn decode(raw: &[u8]) -> Cow<'_, str> {
    if !is_coded(raw) {
        return String::from_utf8_lossy(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', tail),
            },
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn is_coded(raw: &[u8]) -> bool {
    memchr::memchr2(b'%', b'+', raw).is_some()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/vectors/signed-url.json")).unwrap()
    }

    fn canonical(query: &str) -> String {
        let mut pairs: Vec<_> = pairs(query.as_bytes()).collect();
        pairs.retain(|pair| pair.name != "signature");
        sort(&mut pairs);
        let mut out = String::new();
        serialise(&pairs, &mut out);
        out
    }

    fn text(value: &Value) -> &str {
        value.as_str().unwrap()
    }

    #[test]
    fn parameters_and_signed_queries_have_the_canonical_form_that_node_gives_them() {
        for case in vectors()["sign"].as_array().unwrap() {
            let (name, expected) = (text(&case["name"]), text(&case["canonical"]));
            assert_eq!(canonical(text(&case["query"])), expected, "{name}");
            let mut params: Vec<_> = case["params"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| Pair { name: text(&pair[0]).into(), value: text(&pair[1]).into() })
                .collect();
            params.push(Pair { name: "timestamp".into(), value: "1763683200000".into() });
            sort(&mut params);
            let mut printed = String::new();
            serialise(&params, &mut printed);
            assert_eq!(printed, expected, "{name}");
            assert_eq!(pairs(expected.as_bytes()).collect::<Vec<_>>(), params, "{name}");
        }
    }

    #[test]
    fn queries_that_nobody_would_print_are_printed_as_node_does() {
        let cases = vectors();
        let cases: Vec<_> = cases["verify"].as_array().unwrap().iter().collect();
        let with_form = cases.iter().filter(|case| case["canonical"].is_string());
        let mut seen = 0;
        for case in with_form {
            assert_eq!(canonical(text(&case["query"])), text(&case["canonical"]));
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn pieces_are_read_as_the_standard_says() {
        fn check(query: &str, expected: &[(&str, &str)]) {
            let read: Vec<_> = pairs(query.as_bytes()).collect();
            let read: Vec<_> = read.iter().map(|pair| (&*pair.name, &*pair.value)).collect();
            assert_eq!(read, expected, "{query}");
        }
        check("", &[]);
        check("&&", &[]);
        check("=", &[("", "")]);
        check("a", &[("a", "")]);
        check("a=b=c", &[("a", "b=c")]);
        check("?a=1", &[("?a", "1")]);
        check("a=%", &[("a", "%")]);
        check("a=%4", &[("a", "%4")]);
        check("a=%zz%41", &[("a", "%zzA")]);
        check("a=%%34%31", &[("a", "%41")]);
        check("a+b=%2B+", &[("a b", "+ ")]);
        check("a=%E0%80&b=%F0%9F%98%80", &[("a", "\u{fffd}\u{fffd}"), ("b", "😀")]);
        check("a=%EF%BB%BFx", &[("a", "\u{feff}x")]);
        check("a;b=c", &[("a;b", "c")]);
        check("user%5Fid=1", &[("user_id", "1")]);
    }

    #[test]
    fn plain_pairs_are_borrowed() {
        for pair in pairs(b"mode=customer&user_id=12345&x") {
            assert!(matches!((pair.name, pair.value), (Cow::Borrowed(_), Cow::Borrowed(_))));
        }
    }

    #[test]
    fn names_are_recognised_in_every_spelling() {
        for (query, expected) in [
            ("user_id=1", true),
            ("user%5Fid=1", true),
            ("%75ser_id", true),
            ("User_id=1", false),
            ("user_id%20=1", false),
            ("user+id=1", false),
        ] {
            let is = raw_pairs(query.as_bytes()).next().unwrap().is("user_id");
            assert_eq!(is, expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_give_the_same_pairs(
            list in proptest::collection::vec((".{0,8}", ".{0,8}"), 0..6)
        ) {
            let list: Vec<_> = list
                .iter()
                .map(|(name, value)| Pair { name: name.into(), value: value.into() })
                .collect();
            let mut printed = String::new();
            serialise(&list, &mut printed);
            prop_assert!(printed.is_ascii());
            prop_assert_eq!(&pairs(printed.as_bytes()).collect::<Vec<_>>(), &list);
        }

        #[test]
        fn names_are_ordered_by_code_unit(
            one in "[a-b\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ff61}\u{ffff}\u{10000}\u{10ffff}]{0,4}",
            other in "[a-b\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ff61}\u{ffff}\u{10000}\u{10ffff}]{0,4}",
        ) {
            let expected = one.encode_utf16().cmp(other.encode_utf16());
            prop_assert_eq!(by_code_unit(&one, &other), expected);
        }

        #[test]
        fn any_bytes_have_one_canonical_form(
            bytes in proptest::collection::vec(prop_oneof![
                proptest::sample::select(b"&=%+;aA0_\xff\xef".as_slice()), any::<u8>()
            ], 0..48)
        ) {
            let mut list: Vec<_> = pairs(&bytes).collect();
            sort(&mut list);
            let mut once = String::new();
            serialise(&list, &mut once);
            let mut list: Vec<_> = pairs(once.as_bytes()).collect();
            sort(&mut list);
            let mut twice = String::new();
            serialise(&list, &mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
