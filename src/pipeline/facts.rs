//! What a decision is made from, besides the request itself and the snapshot.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use crate::http1::fields::{Fields, Known, list};
use crate::policy::limits::Moment;
use crate::policy::session::UnixSeconds;
use crate::state::jar::Jars;
use crate::state::limits::Limiter;
use crate::state::parked::Parked;
use crate::state::passwords::Passwords;
use crate::state::replay::Replays;
use crate::state::sessions::Sessions;

/// What is known about a connection before its first request.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// The client's address: the peer's, or what a PROXY header said.
    pub client: IpAddr,
    /// The peer may speak for others (`trusted_proxies`).
    pub trusted: bool,
    pub scheme: Scheme,
    /// The server name of the TLS handshake, canonical.
    pub server_name: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl ConnectionFacts {
    /// The address that a chain of trusted proxies vouches for: what the nearest one appended.
    pub fn client_of(&self, fields: &Fields) -> IpAddr {
        if !self.trusted {
            return self.client;
        }
        let last = fields.all(Known::XForwardedFor).last().and_then(|chain| list(chain).last());
        let address = last.and_then(|last| std::str::from_utf8(last).ok()).and_then(parse_address);
        address.unwrap_or(self.client)
    }

    /// What the browser spoke: with us, or with the balancer that has ended TLS.
    pub fn scheme_of(&self, fields: &Fields) -> Scheme {
        let said = if self.trusted { fields.single(Known::XForwardedProto) } else { None };
        match said {
            Some(proto) if proto.eq_ignore_ascii_case(b"https") => Scheme::Https,
            Some(proto) if proto.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ => self.scheme,
        }
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    text.parse().ok()
}

/// Clocks, randomness, and the state that outlives snapshots.
#[derive(Clone, Copy)]
pub struct Ambient<'a> {
    pub now: UnixSeconds,
    /// The same moment on the monotonic clock.
    pub moment: Moment,
    /// 128 unpredictable bits.
    pub random: &'a dyn Fn() -> [u8; 16],
    pub limiter: &'a Limiter,
    pub sessions: &'a Sessions,
    pub replays: &'a Replays,
    /// What launches left for the apps to fetch.
    pub parked: &'a Parked,
    /// Names and passwords that were verified.
    pub passwords: &'a Passwords,
    /// The apps' cookies of pages without cookies.
    pub jars: &'a Arc<Jars>,
    /// Signatures, sessions and what launches leave are decided here, and not by a successor process.
    /// Where not, [`super::changes_state`] has kept those requests away.
    pub is_ours: bool,
    /// The request's body, where [`super::wanted_body`] asked for it.
    pub body: Option<&'a [u8]>,
    /// For `explain`: what each stage decided. Nobody writes where nobody reads.
    pub journal: Option<&'a Journal>,
}

/// A body that is read whole, because the decision needs it.
#[derive(Debug, Clone, Copy)]
pub struct Whole {
    /// Bytes that it may have.
    pub most: usize,
    /// Why a longer one is refused.
    pub beyond: &'static str,
}

/// What each stage decided, in order, for people.
#[derive(Debug, Default)]
pub struct Journal(RefCell<Vec<(&'static str, String)>>);

impl Journal {
    pub fn note(&self, stage: &'static str, text: String) {
        self.0.borrow_mut().push((stage, text));
    }

    pub fn take(&self) -> Vec<(&'static str, String)> {
        self.0.take()
    }
}

impl Ambient<'_> {
    pub(super) fn note(&self, stage: &'static str, text: impl FnOnce() -> String) {
        if let Some(journal) = self.journal {
            journal.note(stage, text());
        }
    }
}
