//! Where WebSocket frames end (RFC 6455, section 5.2), in one direction of a tunnel.
//!
//! It reads headers as they pass and keeps no byte of them. It does not judge: opcodes, masks and
//! lengths are the endpoints' business. Frames of both sides look alike to it, compressed or not,
//! because extensions leave the header's layout alone.

/// Follows one direction from its first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// Of the payload; while the header is read, what is known of its length.
    left: u64,
    next: Next,
    /// A Close frame has begun: its sender says nothing after it.
    closing: bool,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Start,
    Length,
    /// So many more bytes of the length.
    Extended {
        more: u8,
        masked: bool,
    },
    /// So many more bytes of the masking key.
    Mask(u8),
    Payload,
}

impl Frames {
    /// Between two frames: another frame may be put here, whatever message is under way.
    pub fn at_boundary(self) -> bool {
        self.next == Next::Start
    }

    /// A whole Close frame has passed.
    pub fn is_closed(self) -> bool {
        self.closing && self.at_boundary()
    }

    /// Goes over bytes that pass.
    pub fn pass(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            data = &data[self.frame(data)..];
        }
    }

    /// How many of these bytes complete the frame under way: none between two frames, all where it
    /// does not end among them.
    pub fn rest_of_frame(self, data: &[u8]) -> usize {
        let mut ahead = self;
        if self.at_boundary() { 0 } else { ahead.frame(data) }
    }

    /// Goes on to the end of a frame or of the data; at least one byte, where there is one.
    fn frame(&mut self, data: &[u8]) -> usize {
        let mut at = 0;
        while at < data.len() {
            if self.next == Next::Payload {
                let rest = (data.len() - at) as u64;
                let skipped = self.left.min(rest);
                self.left -= skipped;
                at += skipped as usize;
                self.next = if self.left == 0 { Next::Start } else { Next::Payload };
            } else {
                self.next = self.header(data[at]);
                at += 1;
            }
            if self.next == Next::Start {
                break;
            }
        }
        at
    }

    /// Takes one byte of a header.
    fn header(&mut self, byte: u8) -> Next {
        match self.next {
            Next::Start => {
                self.closing = byte & 0x0f == 8;
                Next::Length
            }
            Next::Length => {
                let masked = byte & 0x80 != 0;
                self.left = 0;
                match byte & 0x7f {
                    126 => Next::Extended { more: 2, masked },
                    127 => Next::Extended { more: 8, masked },
                    length => {
                        self.left = u64::from(length);
                        self.after_length(masked)
                    }
                }
            }
            Next::Extended { more, masked } => {
                self.left = self.left << 8 | u64::from(byte);
                if more > 1 {
                    Next::Extended { more: more - 1, masked }
                } else {
                    self.after_length(masked)
                }
            }
            Next::Mask(more) if more > 1 => Next::Mask(more - 1),
            Next::Mask(_) | Next::Payload => self.after_mask(),
        }
    }

    fn after_length(self, masked: bool) -> Next {
        if masked { Next::Mask(4) } else { self.after_mask() }
    }

    fn after_mask(self) -> Next {
        if self.left == 0 { Next::Start } else { Next::Payload }
    }
}

/// A Close frame as a server sends it: `reason` has at most 123 bytes.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(123)];
    let mut frame = vec![0x88, 2 + reason.len() as u8];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

/// The same as a client sends it.
pub fn masked_close(code: u16, mask: [u8; 4]) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    let payload = [high ^ mask[0], low ^ mask[1]];
    [&[0x88, 0x82], &mask[..], &payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_found_in_every_form_of_length() {
        for length in [0_usize, 1, 125, 126, 65_535, 65_536] {
            for mask in [false, true] {
                let mut frame = vec![0x82];
                let bit = if mask { 0x80 } else { 0 };
                match length {
                    ..126 => frame.push(bit | length as u8),
                    126..65_536 => {
                        frame.push(bit | 126);
                        frame.extend_from_slice(&(length as u16).to_be_bytes());
                    }
                    _ => {
                        frame.push(bit | 127);
                        frame.extend_from_slice(&(length as u64).to_be_bytes());
                    }
                }
                frame.resize(frame.len() + length + if mask { 4 } else { 0 }, 0x88);
                let mut frames = Frames::default();
                frames.pass(&frame[..frame.len() - 1]);
                assert!(!frames.at_boundary(), "{length} {mask}");
                assert_eq!(frames.rest_of_frame(&[0; 9]), 1, "{length} {mask}");
                frames.pass(&frame[frame.len() - 1..]);
                assert!(frames.at_boundary() && !frames.is_closed(), "{length} {mask}");
                assert_eq!(frames.rest_of_frame(&[0; 9]), 0);
            }
        }
    }

    #[test]
    fn close_frames_are_well_formed_and_seen() {
        assert_eq!(close(1008, "session ended"), b"\x88\x0f\x03\xf0session ended");
        assert_eq!(masked_close(1001, [1, 2, 3, 4]), [0x88, 0x82, 1, 2, 3, 4, 0x02, 0xeb]);
        for frame in [close(1012, &"é".repeat(100)), masked_close(1001, [9; 4])] {
            let mut frames = Frames::default();
            frames.pass(&frame);
            assert!(frames.is_closed());
        }
    }
}
