//! The socket between a process and its successor: messages, and descriptors beside them.
//!
//! Whoever is at the other end must be a process of the same user: what goes over is every
//! listening port and the secret of sessions. The kernel says who it is (`SO_PEERCRED`).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::wire::{MAX_FRAME, Message};

/// A peer that takes nothing for so long has hung.
const STALLED: Duration = Duration::from_secs(5);
/// Descriptors that may come with one message, and wait for one.
const MOST_DESCRIPTORS: usize = 8;
const READ: usize = 64 * 1024;

/// Why a message was not sent or did not come.
#[derive(Debug)]
pub enum LinkError {
    /// The other process closed the socket, most often by ending.
    Closed,
    /// It said nothing in time.
    Late,
    /// What it said is no message.
    Malformed,
    /// It said something else than was its turn.
    Unexpected(&'static str),
    /// It said why not.
    Refused(Box<str>),
    System(io::Error),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other process has ended, or closed the socket"),
            Self::Late => f.write_str("the other process does not answer"),
            Self::Malformed => f.write_str("the other process sent what is no message"),
            Self::Unexpected(name) => write!(f, "the other process sent {name} out of turn"),
            Self::Refused(why) => write!(f, "the other process refuses: {why}"),
            Self::System(error) => write!(f, "the socket failed: {error}"),
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::System(error),
        }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
}

impl Peer {
    /// Whether it may be given what we have, or believed that it has it.
    pub fn is_one_of_us(self) -> bool {
        self.is_of(rustix::process::geteuid().as_raw())
    }

    fn is_of(self, uid: u32) -> bool {
        self.uid == uid
    }
}

/// One end.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Link {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(STALLED))?;
        Ok(Self { stream, received: Vec::new(), descriptors: VecDeque::new() })
    }

    pub fn peer(&self) -> io::Result<Peer> {
        let credentials = rustix::net::sockopt::socket_peercred(&self.stream)?;
        let pid = credentials.pid.as_raw_nonzero().get();
        Ok(Peer { pid, uid: credentials.uid.as_raw() })
    }

    pub fn send(&mut self, message: &Message) -> Result<(), LinkError> {
        let mut frame = Vec::new();
        message.write(&mut frame);
        Ok(self.stream.write_all(&frame)?)
    }

    /// Sends a message with a descriptor, which the other process gets a copy of.
    pub fn send_with(
        &mut self,
        message: &Message,
        descriptor: BorrowedFd<'_>,
    ) -> Result<(), LinkError> {
        let mut frame = Vec::new();
        message.write(&mut frame);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = retry_on_intr(|| {
            let flags = SendFlags::NOSIGNAL;
            rustix::net::sendmsg(&self.stream, &[IoSlice::new(&frame)], &mut control, flags)
        });
        let sent = sent.map_err(io::Error::from)?;
        Ok(self.stream.write_all(&frame[sent..])?)
    }

    /// The next message, if it is here by `until`.
    pub fn receive(&mut self, until: Instant) -> Result<Message, LinkError> {
        loop {
            if let Some(frame) = self.whole_frame()? {
                let message = Message::read(&self.received[4..frame]);
                self.received.drain(..frame);
                return match message.map_err(|_| LinkError::Malformed)? {
                    Message::Refused(why) => Err(LinkError::Refused(why)),
                    message => Ok(message),
                };
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LinkError::Late);
            }
            self.stream.set_read_timeout(Some(left))?;
            self.read()?;
        }
    }

    /// The descriptor that came with the last message.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// The other process has ended, or closed its end.
    pub fn is_closed(&self) -> bool {
        let peeked =
            rustix::net::recv(&self.stream, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Ok((_, 0)))
    }

    /// Another handle of the same socket, with which it can be shut down.
    pub fn handle(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// The length of the first frame, its own four bytes included, once all of it is here.
    fn whole_frame(&self) -> Result<Option<usize>, LinkError> {
        let Some(length) = self.received.first_chunk() else { return Ok(None) };
        match usize::try_from(u32::from_be_bytes(*length)) {
            Ok(length) if length <= MAX_FRAME => {
                Ok((self.received.len() >= 4 + length).then_some(4 + length))
            }
            _ => Err(LinkError::Malformed),
        }
    }

    fn read(&mut self) -> Result<(), LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let filled = self.received.len();
        self.received.resize(filled + READ, 0);
        let read = retry_on_intr(|| {
            let mut buffers = [IoSliceMut::new(&mut self.received[filled..])];
            let flags = RecvFlags::CMSG_CLOEXEC;
            rustix::net::recvmsg(&self.stream, &mut buffers, &mut control, flags)
        });
        let count = read.as_ref().map_or(0, |read| read.bytes);
        self.received.truncate(filled + count);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        let read = read.map_err(io::Error::from)?;
        if read.flags.contains(ReturnFlags::CTRUNC) || self.descriptors.len() > MOST_DESCRIPTORS {
            return Err(LinkError::Malformed);
        }
        if read.bytes == 0 { Err(LinkError::Closed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn pair() -> (Link, Link) {
        let (one, other) = UnixStream::pair().unwrap();
        (Link::new(one).unwrap(), Link::new(other).unwrap())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn descriptors_come_with_their_messages() {
        let (mut one, mut other) = pair();
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = [(); 3].map(|()| std::net::TcpListener::bind(any).unwrap());
        for listener in &listeners {
            one.send_with(&Message::Listener { configured: any }, listener.as_fd()).unwrap();
        }
        one.send(&Message::Ready).unwrap();
        for listener in &listeners {
            let message = other.receive(soon()).unwrap();
            assert_eq!(message, Message::Listener { configured: any });
            let got = std::net::TcpListener::from(other.descriptor().unwrap());
            assert_eq!(got.local_addr().unwrap(), listener.local_addr().unwrap());
        }
        assert_eq!(other.receive(soon()).unwrap(), Message::Ready);
        assert!(other.descriptor().is_none());
    }

    #[test]
    fn silence_the_end_and_nonsense_are_told_apart() {
        let (one, mut other) = pair();
        let error = other.receive(Instant::now() + Duration::from_millis(10)).unwrap_err();
        assert!(matches!(error, LinkError::Late), "{error}");
        drop(one);
        let error = other.receive(soon()).unwrap_err();
        assert!(matches!(error, LinkError::Closed), "{error}");
        for nonsense in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\0", b"\0\0\0\x01\x63"] {
            let (mut one, mut other) = pair();
            one.stream.write_all(nonsense).unwrap();
            let error = other.receive(soon()).unwrap_err();
            assert!(matches!(error, LinkError::Malformed), "{error}");
        }
        let (mut one, mut other) = pair();
        one.send(&Message::Refused("not now".into())).unwrap();
        let error = other.receive(soon()).unwrap_err().to_string();
        assert_eq!(error, "the other process refuses: not now");
    }

    #[test]
    fn only_a_process_of_the_same_user_is_one_of_us() {
        let (one, _other) = pair();
        let peer = one.peer().unwrap();
        assert_eq!(u32::try_from(peer.pid), Ok(std::process::id()));
        assert!(peer.is_one_of_us());
        let own = peer.uid;
        for uid in [own.wrapping_add(1), own.wrapping_sub(1), 65534 ^ own] {
            assert_eq!(Peer { pid: 1, uid }.is_of(own), uid == own, "{uid}");
        }
        // Root is another user too, where we are not root.
        assert!(!Peer { pid: 1, uid: 0 }.is_of(1000));
    }
}
