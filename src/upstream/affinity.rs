//! Who stays with which server, without a cookie: frames of other sites keep none.
//!
//! A key says whom a request is for: the session, by the hash that apps see too; without one, the
//! client's address; for `hash:user_id` the user. Its server follows from rendezvous hashing
//! ([`super::select`]), so that every worker, every machine and every restart finds the same without
//! being told. For `hash:user_id` that is all: when a server comes back, its users do at once.
//!
//! For `sticky` an app keeps something that lives in one process: a Streamlit session, an Engine.IO
//! connection. Its requests must find that process even if hashing would now say otherwise (a
//! server came back, or was added). So this remembers three things, each until it has not been
//! asked for during [`LINGER`]:
//!
//! - where a session has an open WebSocket, or had one: uploads and media follow it, and so does the
//!   reconnect after it broke;
//! - whom hashing would send elsewhere, because the server of its own was out when it came, or beginning slowly;
//! - where an Engine.IO connection (`sid`) was begun. Its name comes out of the handshake's answer.
//!
//! So a server that comes back gets new sessions, and old ones once they have been quiet. A server
//! that is lost has its sessions moved at the next request.
//!
//! What is remembered is bounded for each tenant; past that, hashing alone decides. A tenant's map
//! has a lock of its own shard, held for one look-up; other kinds of balance take none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::member::MemberId;
use super::select::{mix, stable_hash};
use crate::policy::identity::SessionHash;

/// Streamlit keeps a session whose stream has ended for two minutes; Engine.IO gives up earlier.
pub const LINGER: Duration = Duration::from_secs(150);
/// Sessions and connections that are remembered of one tenant at one upstream.
const PER_TENANT: usize = 16_384;
const SHARDS: usize = 16;

/// For whom a request is, as far as its server depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Key {
    tenant: u64,
    whom: u64,
    /// The Engine.IO connection that it belongs to.
    sid: Option<u64>,
}

impl Key {
    pub fn session(tenant: &str, session: &SessionHash) -> Self {
        Self::of(tenant, b'S', session.as_str().as_bytes())
    }

    pub fn user(tenant: &str, user_id: &str) -> Self {
        Self::of(tenant, b'U', user_id.as_bytes())
    }

    pub fn address(tenant: &str, address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of(tenant, b'4', &address.octets()),
            // A household or a phone has a /64, and changes its address within it.
            IpAddr::V6(address) => Self::of(tenant, b'6', &address.octets()[..8]),
        }
    }

    fn of(tenant: &str, kind: u8, whom: &[u8]) -> Self {
        let tenant = stable_hash(tenant.as_bytes());
        let whom = mix(stable_hash(whom) ^ mix(tenant ^ u64::from(kind)));
        Self { tenant, whom, sid: None }
    }

    #[must_use]
    pub fn with_sid(self, sid: Option<&[u8]>) -> Self {
        Self { sid: sid.map(|sid| self.sid(sid)), ..self }
    }

    fn sid(&self, sid: &[u8]) -> u64 {
        mix(stable_hash(sid) ^ mix(self.tenant ^ u64::from(b'E')))
    }

    /// What rendezvous hashing goes by.
    pub fn hash(&self) -> u64 {
        self.whom
    }
}

type Random = foldhash::fast::RandomState;
type OfTenant = HashMap<u64, Place, Random>;

/// What is remembered at one upstream.
#[derive(Debug, Default)]
pub struct Affinity {
    shards: [Mutex<HashMap<u64, OfTenant, Random>>; SHARDS],
}

#[derive(Debug)]
struct Place {
    member: MemberId,
    /// Open ones; while there are any, it is not forgotten.
    streams: u32,
    asked: Instant,
}

impl Affinity {
    /// Where the request's Engine.IO connection is, else its session.
    pub fn find(&self, key: &Key, now: Instant) -> Option<MemberId> {
        let mut shard = self.shard(key.tenant);
        let places = shard.get_mut(&key.tenant)?;
        let keys = key.sid.into_iter().chain([key.whom]);
        keys.into_iter().find_map(|key| {
            let place = places.get_mut(&key)?;
            place.asked = now;
            Some(place.member)
        })
    }

    /// Whoever this is has been sent elsewhere than hashing says.
    pub fn remember(&self, key: &Key, member: MemberId, now: Instant) {
        self.place(key.tenant, key.whom, member, now, 0);
    }

    /// That Engine.IO connection was begun there.
    pub fn begun(&self, key: &Key, sid: &[u8], member: MemberId, now: Instant) {
        self.place(key.tenant, key.sid(sid), member, now, 0);
    }

    /// A stream has opened there.
    pub fn open(self: &Arc<Self>, key: &Key, member: MemberId, now: Instant) -> Stay {
        self.place(key.tenant, key.whom, member, now, 1);
        Stay { affinity: Arc::clone(self), tenant: key.tenant, whom: key.whom, member }
    }

    /// Forgets what nobody has asked for.
    pub fn tidy(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, places| {
                places.retain(|_, place| {
                    place.streams > 0 || now.saturating_duration_since(place.asked) < LINGER
                });
                !places.is_empty()
            });
        }
    }

    fn place(&self, tenant: u64, key: u64, member: MemberId, now: Instant, streams: u32) {
        let mut shard = self.shard(tenant);
        let places = shard.entry(tenant).or_default();
        if let Some(place) = places.get_mut(&key) {
            // Streams at a server that was left do not count for this one.
            place.streams = if place.member == member { place.streams + streams } else { streams };
            place.member = member;
            place.asked = now;
        } else if places.len() < PER_TENANT {
            places.insert(key, Place { member, streams, asked: now });
        }
    }

    fn closed(&self, stay: &Stay, now: Instant) {
        let mut shard = self.shard(stay.tenant);
        let place = shard.get_mut(&stay.tenant).and_then(|places| places.get_mut(&stay.whom));
        if let Some(place) = place.filter(|place| place.member == stay.member) {
            place.streams = place.streams.saturating_sub(1);
            place.asked = now;
        }
    }

    fn shard(&self, tenant: u64) -> MutexGuard<'_, HashMap<u64, OfTenant, Random>> {
        let shard = &self.shards[(tenant % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open stream: its session stays where it is.
#[derive(Debug)]
pub struct Stay {
    affinity: Arc<Affinity>,
    tenant: u64,
    whom: u64,
    member: MemberId,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.affinity.closed(self, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: MemberId = MemberId(1);
    const TWO: MemberId = MemberId(2);

    fn key(session: u8) -> Key {
        Key::session("acme", &SessionHash::of(&[session; 16]))
    }

    #[test]
    fn a_session_is_remembered_while_it_is_asked_for_and_a_while_longer() {
        let affinity = Affinity::default();
        let mut now = Instant::now();
        affinity.remember(&key(1), ONE, now);
        for _ in 0..5 {
            now += LINGER / 2;
            affinity.tidy(now);
            assert_eq!(affinity.find(&key(1), now), Some(ONE));
            assert_eq!(affinity.find(&key(2), now), None);
        }
        now += LINGER;
        affinity.tidy(now);
        assert_eq!(affinity.find(&key(1), now), None);
    }

    #[test]
    fn an_open_stream_keeps_its_session_however_long_it_is_quiet() {
        let affinity = Arc::new(Affinity::default());
        let now = Instant::now();
        let stay = affinity.open(&key(1), ONE, now);
        affinity.tidy(now + 100 * LINGER);
        assert_eq!(affinity.find(&key(1), now), Some(ONE));
        drop(stay);
        affinity.tidy(now + LINGER / 2);
        assert_eq!(affinity.find(&key(1), now), Some(ONE), "it may be about to reconnect");
        affinity.tidy(Instant::now() + LINGER);
        assert_eq!(affinity.find(&key(1), now), None);
    }

    #[test]
    fn a_stream_at_a_lost_server_does_not_hold_its_session_there() {
        let affinity = Arc::new(Affinity::default());
        let now = Instant::now();
        let before = affinity.open(&key(1), ONE, now);
        let after = affinity.open(&key(1), TWO, now);
        drop(before);
        affinity.tidy(now + 2 * LINGER);
        assert_eq!(affinity.find(&key(1), now), Some(TWO));
        drop(after);
        affinity.tidy(Instant::now() + LINGER);
        assert_eq!(affinity.find(&key(1), now), None);
    }

    #[test]
    fn an_engine_io_connection_is_found_whoever_asks() {
        let affinity = Affinity::default();
        let now = Instant::now();
        let address = |last| Key::address("shop", IpAddr::from([192, 0, 2, last]));
        affinity.begun(&address(1), b"abc", TWO, now);
        let moved = address(9).with_sid(Some(b"abc"));
        assert_eq!(affinity.find(&moved, now), Some(TWO));
        assert_eq!(affinity.find(&address(9).with_sid(Some(b"abd")), now), None);
        let other = Key::address("other", IpAddr::from([192, 0, 2, 1])).with_sid(Some(b"abc"));
        assert_eq!(affinity.find(&other, now), None, "another tenant's is another connection");
    }

    #[test]
    fn a_tenant_that_fills_its_map_leaves_others_theirs() {
        let affinity = Affinity::default();
        let now = Instant::now();
        for count in 0..=PER_TENANT as u64 {
            affinity.begun(&key(1), &count.to_be_bytes(), ONE, now);
        }
        affinity.remember(&key(2), ONE, now);
        assert_eq!(affinity.find(&key(2), now), None);
        let other = Key::session("other", &SessionHash::of(&[2; 16]));
        affinity.remember(&other, ONE, now);
        assert_eq!(affinity.find(&other, now), Some(ONE));
    }

    #[test]
    fn addresses_of_one_household_are_one() {
        let address = |text: &str| Key::address("acme", text.parse().unwrap());
        assert_eq!(address("2001:db8:1:2::3"), address("2001:db8:1:2:4:5:6:7"));
        assert_ne!(address("2001:db8:1:2::3"), address("2001:db8:1:3::3"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }
}
