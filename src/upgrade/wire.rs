//! The messages between a process and its successor, as bytes.
//!
//! A frame is the length of what follows in four bytes (big endian), a byte that says what it is,
//! and its content. Nothing here reads a socket or believes a length: every message is bounded, has
//! exactly one spelling, and what does not read in that way is an error, which ends the upgrade
//! and nothing else.
//!
//! [`Message::Hello`] is written alike in every version. The older process chooses the version for
//! the rest, from what both know.

mod state;

use crate::policy::secret::Secret;
use crate::policy::session::{SessionId, UnixSeconds};
use crate::state::sessions::EndedSession;
pub use state::{Batch, Items, batches};

/// The versions that this program speaks.
pub const OLDEST: u16 = 1;
pub const NEWEST: u16 = 1;

/// Of a frame, without its length. What one launch may leave fits.
pub const MAX_FRAME: usize = 80 << 20;
/// Of a text for people.
const MAX_TEXT: usize = 16 * 1024;
/// Of a tenant's or a persona's name.
const MAX_NAME: usize = 1024;

#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The successor: it has a configuration, and speaks these versions.
    Hello { oldest: u16, newest: u16 },
    /// The older process: the version it chose, the random secret of sessions if it has one,
    /// the watchdog's interval in microseconds (0: none), and how many listeners and elders follow.
    Welcome { version: u16, secret: Option<Secret>, watchdog: u64, listeners: u16, elders: u16 },
    /// One listener, as it was configured; its descriptor came along.
    Listener { configured: std::net::SocketAddr },
    /// A process from before the older one; its socket came along.
    Elder,
    /// The successor could serve.
    Ready,
    /// Nanoseconds on the clock of limits.
    Clock(u64),
    /// A part of the state.
    State(Batch),
    /// That was all; nothing is accepted any more.
    Go,
    /// The successor has everything, and will accept.
    Accepting,
    /// The older process will never accept again.
    Yours,
    /// The successor has ended a session: its streams at the older process end too.
    Ended { tenant: Box<str>, session: EndedSession },
    /// Why nothing comes of it.
    Refused(Box<str>),
}

/// These bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Message {
    /// The frame, its length included.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(self.kind());
        self.content(out);
        // Whoever makes messages keeps them far below four gigabytes.
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Reads what follows the length of a frame.
    pub fn read(frame: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(frame);
        let message = Self::read_content(reader.byte()?, &mut reader)?;
        reader.finish().map(|()| message)
    }

    /// What it is, for people: never what is in it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "HELLO",
            Self::Welcome { .. } => "WELCOME",
            Self::Listener { .. } => "LISTENER",
            Self::Elder => "ELDER",
            Self::Ready => "READY",
            Self::Clock(_) => "CLOCK",
            Self::State(_) => "STATE",
            Self::Go => "GO",
            Self::Accepting => "ACCEPTING",
            Self::Yours => "YOURS",
            Self::Ended { .. } => "ENDED",
            Self::Refused(_) => "REFUSED",
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Welcome { .. } => 2,
            Self::Listener { .. } => 3,
            Self::Ready => 4,
            Self::Clock(_) => 5,
            Self::State(_) => 6,
            Self::Go => 7,
            Self::Accepting => 8,
            Self::Yours => 9,
            Self::Ended { .. } => 10,
            Self::Refused(_) => 11,
            Self::Elder => 12,
        }
    }

    fn content(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { oldest, newest } => {
                out.extend_from_slice(&oldest.to_be_bytes());
                out.extend_from_slice(&newest.to_be_bytes());
            }
            Self::Welcome { version, secret, watchdog, listeners, elders } => {
                out.extend_from_slice(&version.to_be_bytes());
                write_bytes(secret.as_ref().map_or(&[][..], Secret::exposed), out);
                out.extend_from_slice(&watchdog.to_be_bytes());
                out.extend_from_slice(&listeners.to_be_bytes());
                out.extend_from_slice(&elders.to_be_bytes());
            }
            Self::Listener { configured } => {
                write_bytes(configured.to_string().as_bytes(), out);
            }
            Self::Clock(nanos) => out.extend_from_slice(&nanos.to_be_bytes()),
            Self::State(batch) => batch.write(out),
            Self::Ended { tenant, session } => {
                write_bytes(tenant.as_bytes(), out);
                out.extend_from_slice(&session.id.0);
                out.extend_from_slice(&session.until.0.to_be_bytes());
            }
            Self::Refused(text) => {
                write_bytes(&text.as_bytes()[..text.floor_char_boundary(MAX_TEXT)], out);
            }
            Self::Elder | Self::Ready | Self::Go | Self::Accepting | Self::Yours => {}
        }
    }

    fn read_content(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            1 => Self::Hello { oldest: from.short()?, newest: from.short()? },
            2 => Self::Welcome {
                version: from.short()?,
                secret: Secret::new(from.bytes(MAX_NAME)?),
                watchdog: from.long()?,
                listeners: from.short()?,
                elders: from.short()?,
            },
            3 => {
                let text = from.text(MAX_NAME)?;
                let configured: std::net::SocketAddr = text.parse().map_err(|_| Malformed)?;
                if configured.to_string() != text {
                    return Err(Malformed);
                }
                Self::Listener { configured }
            }
            4 => Self::Ready,
            5 => Self::Clock(from.long()?),
            6 => Self::State(Batch::read(from)?),
            7 => Self::Go,
            8 => Self::Accepting,
            9 => Self::Yours,
            10 => Self::Ended {
                tenant: from.text(MAX_NAME)?.into(),
                session: EndedSession { id: from.session()?, until: from.moment()? },
            },
            11 => Self::Refused(from.text(MAX_TEXT)?.into()),
            12 => Self::Elder,
            _ => return Err(Malformed),
        })
    }
}

/// With its length before it.
fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What of a frame has not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn finish(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn short(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.array().map(u32::from_be_bytes)?;
        usize::try_from(length).map_err(|_| Malformed)
    }

    fn long(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn moment(&mut self) -> Result<UnixSeconds, Malformed> {
        self.long().map(UnixSeconds)
    }

    fn session(&mut self) -> Result<SessionId, Malformed> {
        self.array().map(SessionId)
    }

    fn bytes(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        match self.length()? {
            length if length <= most => self.take(length),
            _ => Err(Malformed),
        }
    }

    fn text(&mut self, most: usize) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(most)?).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests;
