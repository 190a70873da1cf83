//! What a trace is called: W3C Trace Context, `traceparent` and `tracestate` (levels 1 and 2).
//!
//! Decides which values are read and how they are written. What the specification does not allow is
//! as good as absent: a broken `traceparent` begins a new trace, a broken `tracestate` is left out.
//! It must not decide whom to believe; that is [`super::sampler`]'s and the caller's.

use std::fmt;

use smallvec::SmallVec;

use crate::telemetry::request_id::Random;

/// Bytes of a `traceparent` of version 00.
pub const LENGTH: usize = 55;
/// Members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// Bytes of a `tracestate` that everybody must be able to pass on (section 3.3.1.5); longer ones are
/// left out.
const MAX_STATE: usize = 512;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// Sixteen bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Eight bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    pub fn new(random: Random) -> Self {
        let bytes = random.bytes();
        // One of 2^128 is no id.
        if bytes == [0; 16] { Self([1; 16]) } else { Self(bytes) }
    }

    /// Nothing for what is no id.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The 56 bits that are random wherever any are (level 2, section 2.2.2).
    pub fn randomness(self) -> u64 {
        let mut low = [0; 8];
        low[1..].copy_from_slice(&self.0[9..]);
        u64::from_be_bytes(low)
    }
}

impl SpanId {
    pub fn new(random: Random) -> Self {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&random.bytes()[..8]);
        if bytes == [0; 8] { Self([1; 8]) } else { Self(bytes) }
    }

    /// Nothing for what is no id.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        write_hexadecimal(&mut digits, &self.0);
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 16];
        write_hexadecimal(&mut digits, &self.0);
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known about a trace besides its id; bits that mean nothing yet are never kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Whoever sent it may have recorded it.
    pub sampled: bool,
    /// The right half of the trace id was made at random.
    pub random: bool,
}

impl Flags {
    pub fn of(bits: u8) -> Self {
        Self { sampled: bits & 1 != 0, random: bits & 2 != 0 }
    }

    pub fn bits(self) -> u8 {
        u8::from(self.sampled) | u8::from(self.random) << 1
    }
}

/// A `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: TraceId,
    /// The span of whoever sent it.
    pub parent_id: SpanId,
    pub flags: Flags,
}

impl TraceParent {
    /// Of any version; of later ones, what this one has (section 4.3).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let [version] = hexadecimal(&head[..2])?;
        let ends_well = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !ends_well || [2, 35, 52].iter().any(|&at| head[at] != b'-') {
            return None;
        }
        let trace_id = hexadecimal(&head[3..35]).filter(|id| *id != [0; 16])?;
        let parent_id = hexadecimal(&head[36..52]).filter(|id| *id != [0; 8])?;
        let [flags] = hexadecimal(&head[53..])?;
        Some(Self {
            trace_id: TraceId(trace_id),
            parent_id: SpanId(parent_id),
            flags: Flags::of(flags),
        })
    }

    /// As it stands in a header, of version 00.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut out = [b'-'; LENGTH];
        write_hexadecimal(&mut out[..2], &[0]);
        write_hexadecimal(&mut out[3..35], &self.trace_id.0);
        write_hexadecimal(&mut out[36..52], &self.parent_id.0);
        write_hexadecimal(&mut out[53..], &[self.flags.bits()]);
        out
    }
}

/// Lower case only, and nothing else.
fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}

fn write_hexadecimal(out: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// The members of a `tracestate`, in order: what other systems want to know of themselves again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceState<'f> {
    members: SmallVec<[&'f [u8]; 8]>,
}

impl<'f> TraceState<'f> {
    /// All fields of that name together; none where one member is not as it must be.
    pub fn parse(values: impl Iterator<Item = &'f [u8]>) -> Option<Self> {
        let mut members: SmallVec<[&[u8]; 8]> = SmallVec::new();
        let mut length = 0;
        for member in values.flat_map(|value| value.split(|&byte| byte == b',')) {
            let member = trim(member);
            if member.is_empty() {
                continue;
            }
            let key = key(member)?;
            length += member.len() + 1;
            let is_double = members.iter().any(|other| self::key(other) == Some(key));
            if is_double || members.len() == MAX_MEMBERS || length > MAX_STATE + 1 {
                return None;
            }
            members.push(member);
        }
        (!members.is_empty()).then_some(Self { members })
    }

    /// Without what OpenTelemetry says of a decision that we do not share.
    pub fn without_opentelemetry(mut self) -> Option<Self> {
        self.members.retain(|member| key(member) != Some(b"ot"));
        (!self.members.is_empty()).then_some(self)
    }

    /// As it stands in one header.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (index, member) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(member);
        }
    }

    pub fn to_text(&self) -> Box<str> {
        let mut out = Vec::with_capacity(MAX_STATE);
        self.write(&mut out);
        // It is ASCII: `key` and `is_value` let nothing else pass.
        String::from_utf8(out).unwrap_or_default().into()
    }
}

fn trim(member: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = member.iter().position(|byte| !is_blank(byte)).unwrap_or(member.len());
    let end = member.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &member[start..end]
}

/// The key of a member, where key and value are as they must be.
fn key(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    (is_key(key) && is_value(value)).then_some(key)
}

fn is_key(key: &[u8]) -> bool {
    let begins = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.first().is_some_and(begins)
        && key.len() <= MAX_KEY
        && key.iter().all(|byte| begins(byte) || b"_-*/@".contains(byte))
}

fn is_value(value: &[u8]) -> bool {
    (1..=MAX_VALUE).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, 0x20..=0x7e) && !b",=".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn check(value: &str, read: bool) {
        assert_eq!(TraceParent::parse(value.as_bytes()).is_some(), read, "{value}");
    }

    #[test]
    fn a_traceparent_is_read_strictly() {
        check(PARENT, true);
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e47360-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,",
        ] {
            check(wrong, false);
        }
    }

    #[test]
    fn of_a_later_version_what_this_one_has_is_read() {
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true);
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what", true);
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what", false);
    }

    #[test]
    fn flags_without_a_meaning_are_not_passed_on() {
        let parent = TraceParent::parse(PARENT.replace("-01", "-ff").as_bytes()).unwrap();
        assert_eq!(parent.flags, Flags { sampled: true, random: true });
        assert!(parent.to_bytes().ends_with(b"-03"));
    }

    fn check_state(values: &[&str], expected: Option<&str>) {
        let state = TraceState::parse(values.iter().map(|value| value.as_bytes()));
        assert_eq!(state.map(|state| state.to_text()).as_deref(), expected, "{values:?}");
    }

    #[test]
    fn a_tracestate_is_one_list_of_members_that_are_all_as_they_must_be() {
        check_state(&["rojo=00f067aa0ba902b7,congo=t61"], Some("rojo=00f067aa0ba902b7,congo=t61"));
        check_state(&["a=1", "b=2"], Some("a=1,b=2"));
        check_state(&["a=1 ,, \tb= 2"], Some("a=1,b= 2"));
        check_state(&["t@s/v*_-=1", "0x=~"], Some("t@s/v*_-=1,0x=~"));
        for wrong in
            ["", ",", "a", "a=", "=1", "A=1", "a=1,a=2", "a=b=c", "a=\u{1}", "@a=1", "a b=1"]
        {
            check_state(&[wrong], None);
        }
        let member = |index: usize| format!("k{index}=v");
        let list = |count| (0..count).map(member).collect::<Vec<_>>().join(",");
        check_state(&[&list(32)], Some(&list(32)));
        check_state(&[&list(33)], None);
        check_state(&[&format!("a={}", "v".repeat(256))], Some(&format!("a={}", "v".repeat(256))));
        check_state(&[&format!("a={}", "v".repeat(257))], None);
        check_state(&[&format!("a={0},b={0},c={0}", "v".repeat(200))], None);
    }

    #[test]
    fn what_opentelemetry_decided_elsewhere_is_left_out() {
        let state = TraceState::parse([&b"ot=th:8;rv:1,a=1"[..]].into_iter()).unwrap();
        assert_eq!(&*state.without_opentelemetry().unwrap().to_text(), "a=1");
        let state = TraceState::parse([&b"ot=th:8"[..]].into_iter()).unwrap();
        assert_eq!(state.without_opentelemetry(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(trace: [u8; 16], parent: [u8; 8], bits in 0_u8..4) {
            prop_assume!(trace != [0; 16] && parent != [0; 8]);
            let written = TraceParent {
                trace_id: TraceId(trace),
                parent_id: SpanId(parent),
                flags: Flags::of(bits),
            };
            prop_assert_eq!(TraceParent::parse(&written.to_bytes()), Some(written));
        }

        #[test]
        fn one_changed_byte_never_reads_as_the_same(at in 0_usize..LENGTH, byte: u8) {
            let mut changed = PARENT.as_bytes().to_vec();
            prop_assume!(changed[at] != byte);
            changed[at] = byte;
            let read = TraceParent::parse(&changed);
            if (3..52).contains(&at) {
                prop_assert_ne!(read, TraceParent::parse(PARENT.as_bytes()));
            }
        }
    }
}
