//! A strict HTTP/1 codec: heads, framing, chunks, bodies. No policy, no timers, no knowledge of
//! the rest of the crate.
//!
//! It decides where a message begins and ends, and refuses every message whose boundaries two
//! parsers could place differently. It repairs nothing: what is not read in exactly one way is an
//! [`HeadError`] or a [`BodyError`]. It keeps order and case of fields.
//!
//! - [`fields`]: header and trailer fields in one buffer, known names classified once.
//! - [`head`]: request and response heads on httparse, with what httparse lets pass refused.
//! - [`framing`]: how long a body is (RFC 9112, section 6), or why that is ambiguous.
//! - [`chunk`]: the chunked coding, read strictly.
//! - [`body`]: one decoder over all framings.
//! - [`recv`], [`send`], [`scratch`]: buffers between the codec and a socket, polled by the caller.

pub mod body;
pub mod chunk;
pub mod fields;
pub mod framing;
pub mod head;
pub mod recv;
pub mod scratch;
pub mod send;

/// Why a head does not parse. Each variant is one way in which parsers are known to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// A line ends in LF without CR, or holds a CR that ends nothing.
    LineEnding,
    /// The request or status line is not `method SP target SP version` or its counterpart.
    StartLine,
    /// A field line is not `name ":" value` (also: folded lines, white space around the name).
    FieldLine,
    /// More fields than [`head::MAX_FIELDS`].
    TooManyFields,
    /// More bytes than the limit.
    TooLarge,
    /// An HTTP version other than 1.0 and 1.1.
    Version,
    /// Content-Length that is repeated, a list, or not plain decimal digits.
    ContentLength,
    /// Content-Length beside Transfer-Encoding.
    LengthAndCoding,
    /// Transfer-Encoding that is a list, repeated, or sent with HTTP/1.0.
    TransferEncoding,
    /// A transfer coding other than `chunked`, alone.
    UnknownCoding,
    /// Connection nominates a field that carries framing or routing.
    Connection,
    /// An upgrade request that has a body.
    UpgradeWithBody,
}

/// Why a body is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// A chunk header, its line ending or a trailer is malformed.
    Chunk,
    /// Chunk extensions or trailers exceed their limits.
    ChunkTooLarge,
    /// The connection ended inside the body.
    Truncated,
}
