//! WebSocket frames: their ends, as a tunnel follows them, against a parser that has all bytes.

use vestibule::edge::frames::Frames;

use super::shown;

/// The first byte says how the rest is cut into reads.
pub fn frame_boundaries(bytes: &[u8]) {
    let Some((&cut, wire)) = bytes.split_first() else { return };
    let (ends, closes) = parse(wire);
    let mut frames = Frames::default();
    let (mut at, mut seed) = (0, usize::from(cut));
    while at < wire.len() {
        let piece = &wire[at..wire.len().min(at + 1 + seed % 19)];
        seed = seed.wrapping_mul(5).wrapping_add(7);
        let rest = frames.rest_of_frame(piece);
        let expected = match ends.iter().find(|&&end| end >= at) {
            Some(&end) => piece.len().min(end - at),
            None => piece.len(),
        };
        let is_between = at == 0 || ends.contains(&at);
        assert_eq!(frames.at_boundary(), is_between, "at {at}: {}", shown(bytes));
        assert_eq!(rest, if is_between { 0 } else { expected }, "at {at}: {}", shown(bytes));
        frames.pass(piece);
        at += piece.len();
    }
    let is_closed = closes.is_some() && closes == ends.last().copied() && closes == Some(at);
    assert_eq!(frames.is_closed(), is_closed, "{}", shown(bytes));
}

/// Where whole frames end, and where the last of them that is a Close does.
fn parse(wire: &[u8]) -> (Vec<usize>, Option<usize>) {
    let (mut ends, mut closes) = (Vec::new(), None);
    let mut at = 0;
    while let Some(length) = frame(&wire[at..]) {
        let is_close = wire[at] & 0x0f == 8;
        at += length;
        ends.push(at);
        closes = if is_close { Some(at) } else { closes };
    }
    (ends, closes)
}

/// The length of the frame that the data begins with, where all of it is there.
fn frame(data: &[u8]) -> Option<usize> {
    let second = *data.get(1)?;
    let (length, header) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(data.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(data.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let header = header + if second & 0x80 != 0 { 4 } else { 0 };
    let whole = usize::try_from(length).ok()?.checked_add(header)?;
    (data.len() >= whole).then_some(whole)
}
