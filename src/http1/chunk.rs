//! The chunked coding (RFC 9112, section 7.1), read strictly and incrementally.
//!
//! Refused, because readers differ: white space around a size, sizes of more than 15 digits, a
//! bare LF anywhere, control characters in an extension, a trailer section that is not lines of
//! fields. Extensions are read and dropped.

use super::BodyError;
use super::fields::Fields;
use super::head::parse_trailers;

/// Bytes of one chunk header line.
const MAX_LINE: usize = 512;
/// Bytes of extensions over a whole body: an extension on each of many tiny chunks is an attack.
const MAX_EXTENSIONS: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a chunk header.
    Header,
    /// Inside a chunk; this many bytes are left, at least one.
    Data(u64),
    /// At the CRLF that ends a chunk.
    DataEnd,
    /// At the trailer section.
    Trailers,
    Done,
}

/// Progress over one buffer. Counts are bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing can be said until more bytes arrive.
    Need,
    /// These bytes are framing; drop them and ask again.
    Skip(usize),
    /// These bytes are data, at least one; report what was taken with [`Decoder::took`].
    Data(usize),
    /// These bytes are the trailer section with its final empty line. The body is complete.
    Trailers(usize),
    /// The body was complete already.
    Done,
}

/// Where we are in a chunked body.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    extensions: usize,
    max_trailers: usize,
}

impl Decoder {
    pub fn new(max_trailers: usize) -> Self {
        Self { state: State::Header, extensions: 0, max_trailers }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What the next bytes are.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        match self.state {
            State::Header => self.header(bytes),
            State::Data(_) if bytes.is_empty() => Ok(Step::Need),
            State::Data(left) => {
                Ok(Step::Data(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())))
            }
            State::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::Header;
                    Ok(Step::Skip(2))
                }
                [] | [b'\r'] => Ok(Step::Need),
                _ => Err(BodyError::Chunk),
            },
            State::Trailers => self.trailers(bytes),
            State::Done => Ok(Step::Done),
        }
    }

    /// Tells how many of the offered data bytes were taken.
    pub fn took(&mut self, bytes: usize) {
        if let State::Data(left) = self.state {
            let left = left.saturating_sub(bytes as u64);
            self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            // What is there must be the beginning of a valid line already.
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let sound = match bytes.get(digits) {
                None | Some(b';') => true,
                Some(b'\r') => bytes.len() == digits + 1,
                Some(_) => false,
            };
            if !sound || digits > 15 || (digits == 0 && !bytes.is_empty()) {
                return Err(BodyError::Chunk);
            }
            return if bytes.len() > MAX_LINE {
                Err(BodyError::ChunkTooLarge)
            } else {
                Ok(Step::Need)
            };
        };
        if end > MAX_LINE {
            return Err(BodyError::ChunkTooLarge);
        }
        let line = bytes[..end].strip_suffix(b"\r").ok_or(BodyError::Chunk)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || digits > 15 {
            return Err(BodyError::Chunk);
        }
        let size = line[..digits].iter().fold(0_u64, |size, &digit| size * 16 + hex(digit));
        self.extension(&line[digits..])?;
        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
        Ok(Step::Skip(end + 1))
    }

    fn extension(&mut self, extension: &[u8]) -> Result<(), BodyError> {
        if extension.is_empty() {
            return Ok(());
        }
        let sound = extension[0] == b';'
            && extension.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        if !sound {
            return Err(BodyError::Chunk);
        }
        self.extensions += extension.len();
        if self.extensions > MAX_EXTENSIONS { Err(BodyError::ChunkTooLarge) } else { Ok(()) }
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let length = match bytes {
            [b'\r', b'\n', ..] => 2,
            [] | [b'\r'] => return Ok(Step::Need),
            _ => match memchr::memmem::find(bytes, b"\r\n\r\n") {
                Some(at) => at + 4,
                None if bytes.len() > self.max_trailers => return Err(BodyError::ChunkTooLarge),
                None => return Ok(Step::Need),
            },
        };
        if length > self.max_trailers.max(2) {
            return Err(BodyError::ChunkTooLarge);
        }
        // Before the body counts as complete: where it ends is in doubt with a malformed section.
        if length > 2 && parse_trailers(&bytes[..length], &mut Fields::default()).is_err() {
            return Err(BodyError::Chunk);
        }
        self.state = State::Done;
        Ok(Step::Trailers(length))
    }
}

fn hex(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `wire` fed in pieces of `piece` bytes: data, trailer bytes, bytes left over.
    fn decode(wire: &[u8], piece: usize) -> Result<Option<(Vec<u8>, Vec<u8>, usize)>, BodyError> {
        let mut decoder = Decoder::new(1024);
        let (mut data, mut at, mut available) = (Vec::new(), 0, 0);
        loop {
            match decoder.step(&wire[at..available])? {
                Step::Need if available == wire.len() => return Ok(None),
                Step::Need => available = (available + piece).min(wire.len()),
                Step::Skip(count) => at += count,
                Step::Data(count) => {
                    data.extend_from_slice(&wire[at..at + count]);
                    decoder.took(count);
                    at += count;
                }
                Step::Trailers(count) => {
                    return Ok(Some((
                        data,
                        wire[at..at + count].to_vec(),
                        wire.len() - at - count,
                    )));
                }
                Step::Done => unreachable!("returned at the trailers"),
            }
        }
    }

    #[test]
    fn sound_bodies_decode_however_they_are_cut() {
        let cases: &[(&str, &str, &str, usize)] = &[
            ("5\r\nhello\r\n0\r\n\r\n", "hello", "\r\n", 0),
            ("5;a=b\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", "hello world", "\r\n", 3),
            (
                "00a\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\n",
                "0123456789",
                "X: y\r\nZ: w\r\n\r\n",
                0,
            ),
            ("0\r\n\r\n", "", "\r\n", 0),
        ];
        for (wire, data, trailers, rest) in cases {
            for piece in 1..=wire.len() {
                let expected = (data.as_bytes().to_vec(), trailers.as_bytes().to_vec());
                let (seen_data, seen_trailers, left) = decode(wire.as_bytes(), piece)
                    .unwrap_or_else(|error| panic!("{wire:?} in {piece}: {error:?}"))
                    .unwrap_or_else(|| panic!("{wire:?} in {piece}: incomplete"));
                assert_eq!((seen_data, seen_trailers), expected, "{wire:?} in {piece}");
                assert_eq!(wire.len() - left, wire.len() - rest, "{wire:?} in {piece}");
            }
        }
    }

    #[test]
    fn odd_chunks_are_refused() {
        for wire in [
            "5\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5 ;a\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "\r\nhello",
            "g\r\n",
            "1234567890abcdef1\r\n",
            "5;\x01\r\nhello\r\n",
            "5;a\rb\r\nhello\r\n",
            "5\r\rhello",
            "0\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "0\r\nX: y\n\r\n\r\n",
            "0\r\nX: y\r\n z\r\n\r\n",
        ] {
            for piece in 1..=wire.len() {
                assert!(decode(wire.as_bytes(), piece).is_err(), "{wire:?} in {piece}");
            }
        }
    }

    #[test]
    fn extensions_are_bounded_over_the_whole_body() {
        let mut wire = Vec::new();
        for _ in 0..200 {
            wire.extend_from_slice(b"1;");
            wire.extend(std::iter::repeat_n(b'a', 200));
            wire.extend_from_slice(b"\r\nx\r\n");
        }
        assert_eq!(decode(&wire, 64), Err(BodyError::ChunkTooLarge));
    }
}
