//! The chunked coding reads the same however its bytes arrive and are taken.

use vestibule::http1::BodyError;
use vestibule::http1::chunk::{Decoder, Step};

use super::{MAX_INPUT, MAX_TRAILERS, shown};

/// The first byte seeds the splits; the rest is a chunked body and what follows it.
pub fn chunk_decoder(bytes: &[u8]) {
    let Some((seed, wire)) = bytes[..bytes.len().min(MAX_INPUT)].split_first() else { return };
    // Which rule is broken first may depend on what has arrived; that one is broken does not.
    let whole = decode(wire, || wire.len().max(1)).map_err(|_| Refused);
    let mut state = u32::from(*seed).wrapping_mul(0x9e37_79b9) | 1;
    let split = decode(wire, || {
        // xorshift: mostly single bytes, sometimes a run.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if state & 3 == 0 { (state >> 8) as usize % 600 + 1 } else { 1 }
    })
    .map_err(|_| Refused);
    assert_eq!(whole, split, "{}", shown(bytes));
    if let Ok(Some(read)) = &whole {
        // Framing only ever takes bytes away.
        assert!(read.data.len() + read.trailers.len() <= read.length, "{}", shown(bytes));
        assert!(wire[..read.length].ends_with(b"\r\n"), "{}", shown(bytes));
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Refused;

#[derive(Debug, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    trailers: Vec<u8>,
    /// Bytes of the whole coding.
    length: usize,
}

/// `None` where the bytes end inside the body. `piece` tells how much arrives, and is taken, next.
fn decode(wire: &[u8], mut piece: impl FnMut() -> usize) -> Result<Option<Read>, BodyError> {
    let mut decoder = Decoder::new(MAX_TRAILERS);
    let (mut data, mut at, mut available) = (Vec::new(), 0, 0);
    loop {
        match decoder.step(&wire[at..available])? {
            Step::Need if available == wire.len() => return Ok(None),
            Step::Need => available = (available + piece()).min(wire.len()),
            Step::Skip(count) => at += count,
            Step::Data(count) => {
                let count = count.min(piece());
                data.extend_from_slice(&wire[at..at + count]);
                decoder.took(count);
                at += count;
            }
            Step::Trailers(count) => {
                let trailers = wire[at..at + count].to_vec();
                assert!(decoder.is_done());
                return Ok(Some(Read { data, trailers, length: at + count }));
            }
            Step::Done => unreachable!("returned at the trailers"),
        }
    }
}
