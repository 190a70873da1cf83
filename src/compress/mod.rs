//! Bytes in, compressed bytes out: the codecs, and what they may cost.
//!
//! Decides levels, windows and memory; which answers are compressed is
//! [`crate::policy::front::compression`]'s. An [`Encoder`] is fed whole pieces, says what is ready
//! ([`Encoder::own`]), and gives everything back that it was fed when it is flushed: whoever moves
//! a stream flushes when it pauses, so that nothing of it waits inside.
//!
//! | coding | level, window | memory of one stream | speed |
//! | --- | --- | --- | --- |
//! | gzip | 4, 32 KiB | 343 KiB | 84 MB/s |
//! | br | 3, 64 KiB | 788 KiB | 115 MB/s |
//! | zstd | 3, 64 KiB | 649 KiB | 400 MB/s |
//!
//! Measured with Streamlit's largest script (4.7 MB), which they bring to a third. Only
//! [`MEMORY`] is lent to all streams of the process together; an answer beyond that passes as it
//! is. What is made to be kept ([`crate::state::encoded`]) is compressed once, with more effort and
//! 343, 3,700 and 1,300 KiB.
//!
//! What must not happen: an idle stream, or a crowd of them, makes the process grow without bound.

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::write::GzEncoder;
use zstd_safe::zstd_sys::ZSTD_EndDirective as End;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use crate::policy::front::compression::{Coding, Verdict};
use crate::policy::session::UnixSeconds;
use crate::state::encoded::{Encoded, Place};

/// Bytes that all streams of the process may take for compressing.
pub const MEMORY: usize = 128 << 20;

/// What an output buffer may keep while its stream pauses.
const QUIET: usize = 8 * 1024;

/// What all workers share of compression.
#[derive(Debug, Default)]
pub struct Compressor {
    taken: AtomicUsize,
    /// What was compressed to be kept.
    pub kept: Encoded,
}

/// What is needed to compress one answer, where the client would take it, and what was decided.
#[derive(Debug)]
pub struct Order {
    /// Present where the client says that it takes any coding.
    pub compressor: Option<Arc<Compressor>>,
    /// Path and query, as the upstream saw them.
    pub target: String,
    pub now: UnixSeconds,
    /// An ETag that is ours: it names the bytes, whatever caches are told.
    pub is_file: bool,
    pub verdict: Verdict,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For one client.
    Once,
    /// For everybody who comes later.
    ToKeep,
}

/// One answer on its way.
pub struct Encoder {
    codec: Codec,
    /// Ready to go out, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Something that was fed has not come out yet.
    holds: bool,
    keeping: Option<Keeping>,
    _share: Option<Share>,
}

enum Codec {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(CCtx<'static>),
    /// Compressed before: what is fed is not looked at.
    Kept(Arc<[u8]>),
    Ended,
}

/// A part of [`MEMORY`]; given back when it is dropped.
struct Share {
    of: Arc<Compressor>,
    bytes: usize,
}

struct Keeping {
    compressor: Arc<Compressor>,
    place: Place,
    bytes: Vec<u8>,
}

impl Compressor {
    /// An encoder of a body that is so long, if that is known; none where too many are at work.
    pub fn encoder(
        self: &Arc<Self>,
        coding: Coding,
        length: Option<u64>,
        effort: Effort,
    ) -> Option<Encoder> {
        let share = self.lend(memory(coding, effort))?;
        let codec = match coding {
            Coding::Gzip => {
                let level = if effort == Effort::Once { 4 } else { 6 };
                Codec::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level)))
            }
            Coding::Brotli => Codec::Brotli(Box::new(brotli(length, effort))),
            Coding::Zstd => Codec::Zstd(zstd(length, effort)?),
        };
        Some(Encoder {
            codec,
            out: Vec::new(),
            sent: 0,
            holds: false,
            keeping: None,
            _share: Some(share),
        })
    }

    fn lend(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let room = |taken: usize| taken.checked_add(bytes).filter(|&taken| taken <= MEMORY);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.taken.fetch_update(set, fetch, room).ok()?;
        Some(Share { of: Arc::clone(self), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

const fn memory(coding: Coding, effort: Effort) -> usize {
    let kib = match (coding, effort) {
        (Coding::Gzip, _) => 350,
        (Coding::Brotli, Effort::Once) => 800,
        (Coding::Zstd, Effort::Once) => 660,
        (Coding::Brotli, Effort::ToKeep) => 3_700,
        (Coding::Zstd, Effort::ToKeep) => 1_300,
    };
    kib * 1024
}

fn brotli(length: Option<u64>, effort: Effort) -> CompressorWriter<Vec<u8>> {
    let (quality, window) = if effort == Effort::Once { (3, 16) } else { (4, 18) };
    let parameters = BrotliEncoderParams {
        quality,
        lgwin: window.min(bits(length)),
        size_hint: length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0),
        ..BrotliEncoderParams::default()
    };
    CompressorWriter::with_params(Vec::new(), 4096, &parameters)
}

/// `None` where there is no memory.
fn zstd(length: Option<u64>, effort: Effort) -> Option<CCtx<'static>> {
    let mut context = CCtx::try_create()?;
    let (level, window) = if effort == Effort::Once { (3, 16) } else { (5, 17) };
    let tables = window - 1;
    let parameters = [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(window.min(bits(length)) as u32),
        CParameter::HashLog(tables as u32),
        CParameter::ChainLog(tables as u32 - 1),
        CParameter::ChecksumFlag(false),
    ];
    for parameter in parameters {
        context.set_parameter(parameter).ok()?;
    }
    Some(context)
}

/// The window that a body of that length can use, as a power of two.
fn bits(length: Option<u64>) -> i32 {
    length.map_or(30, |length| (64 - length.leading_zeros()).clamp(10, 30) as i32)
}

impl Encoder {
    /// Passes what was compressed before.
    pub fn kept(bytes: Arc<[u8]>) -> Self {
        let codec = Codec::Kept(bytes);
        Self { codec, out: Vec::new(), sent: 0, holds: false, keeping: None, _share: None }
    }

    /// Keeps what comes out, once it is whole.
    pub fn keeping(mut self, compressor: Arc<Compressor>, place: Place) -> Self {
        self.keeping = Some(Keeping { compressor, place, bytes: Vec::new() });
        self
    }

    /// How long all that comes out is, where that is known.
    pub fn length(&self) -> Option<u64> {
        match &self.codec {
            Codec::Kept(bytes) => Some(bytes.len() as u64),
            _ => None,
        }
    }

    /// What is ready to go out.
    pub fn own(&self) -> &[u8] {
        match &self.codec {
            Codec::Kept(bytes) => &bytes[self.sent..],
            _ => &self.out[self.sent..],
        }
    }

    /// Tells how many bytes of [`Encoder::own`] went out.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.out.len() && !matches!(self.codec, Codec::Kept(_)) {
            self.sent = 0;
            self.out.clear();
        }
    }

    /// Takes the next piece, whole. To be called when nothing is left of [`Encoder::own`].
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let before = self.out.len();
        match &mut self.codec {
            Codec::Gzip(codec) => {
                codec.write_all(piece)?;
                self.out.append(codec.get_mut());
            }
            Codec::Brotli(codec) => {
                codec.write_all(piece)?;
                self.out.append(codec.get_mut());
            }
            Codec::Zstd(codec) => run(codec, piece, End::ZSTD_e_continue, &mut self.out)?,
            Codec::Kept(_) => return Ok(()),
            Codec::Ended => return Err(io::ErrorKind::InvalidData.into()),
        }
        self.holds = true;
        self.keep(before);
        Ok(())
    }

    /// Brings out everything that was fed, at the cost of some bytes.
    pub fn flush(&mut self) -> io::Result<()> {
        // Nobody waits for a piece of what is kept, and pauses of its app would make it longer.
        if !self.holds || self.keeping.is_some() {
            if self.out.is_empty() && self.out.capacity() > QUIET {
                self.out = Vec::new();
            }
            return Ok(());
        }
        let before = self.out.len();
        match &mut self.codec {
            Codec::Gzip(codec) => {
                codec.flush()?;
                self.out.append(codec.get_mut());
            }
            Codec::Brotli(codec) => {
                codec.flush()?;
                self.out.append(codec.get_mut());
            }
            Codec::Zstd(codec) => run(codec, &[], End::ZSTD_e_flush, &mut self.out)?,
            Codec::Kept(_) | Codec::Ended => {}
        }
        self.holds = false;
        self.keep(before);
        Ok(())
    }

    /// The body is whole: its end becomes ready, and it is kept if it is to be.
    pub fn finish(&mut self) -> io::Result<()> {
        let before = self.out.len();
        match std::mem::replace(&mut self.codec, Codec::Ended) {
            Codec::Gzip(codec) => self.out.append(&mut codec.finish()?),
            Codec::Brotli(codec) => self.out.append(&mut codec.into_inner()),
            Codec::Zstd(mut codec) => run(&mut codec, &[], End::ZSTD_e_end, &mut self.out)?,
            codec @ (Codec::Kept(_) | Codec::Ended) => self.codec = codec,
        }
        self.holds = false;
        self.keep(before);
        if let Some(Keeping { compressor, place, bytes }) = self.keeping.take() {
            compressor.kept.put(place, bytes.into());
        }
        Ok(())
    }

    fn keep(&mut self, from: usize) {
        let Some(keeping) = &mut self.keeping else { return };
        keeping.bytes.extend_from_slice(&self.out[from..]);
        if keeping.bytes.len() > Encoded::LARGEST {
            self.keeping = None;
        }
    }
}

/// Feeds and takes until the directive is carried out.
fn run(codec: &mut CCtx<'static>, piece: &[u8], how: End, out: &mut Vec<u8>) -> io::Result<()> {
    let mut input = InBuffer::around(piece);
    loop {
        out.reserve(CCtx::out_size().min(16 * 1024));
        let at = out.len();
        let mut output = OutBuffer::around_pos(out, at);
        let left = codec
            .compress_stream2(&mut output, &mut input, how)
            .map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
        let is_done = match how {
            End::ZSTD_e_continue => input.pos() == piece.len(),
            _ => left == 0,
        };
        if is_done {
            return Ok(());
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("ready", &self.own().len()).finish_non_exhaustive()
    }
}
