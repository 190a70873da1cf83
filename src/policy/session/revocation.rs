//! Sessions that ended before their tokens did.
//!
//! One list is one tenant's, so that no tenant can fill another's. It lives outside the snapshot,
//! behind a lock that is held for one look-up. An entry goes when its session's last token has
//! expired anyway; nothing alive is evicted, a full list says so and the launch is refused.

use std::collections::HashMap;

use super::{SessionId, UnixSeconds};

/// The revoked sessions of one tenant.
#[derive(Debug)]
pub struct RevocationList {
    /// Value: when the last token of the session expires.
    ended: HashMap<SessionId, UnixSeconds, foldhash::fast::RandomState>,
    capacity: usize,
    /// No entry expires before this: a full list is not searched in vain for every launch.
    earliest: UnixSeconds,
}

/// There is no room: the session is not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl RevocationList {
    /// What a table of 2^18 places holds: 6.5 megabytes at the most. An entry stays for twelve hours,
    /// so that 318 changes of user a minute fill it: more than the 200 launches a minute that a
    /// tenant has where nothing else is configured.
    pub const DEFAULT_CAPACITY: usize = (1 << 18) / 8 * 7;

    pub fn new(capacity: usize) -> Self {
        Self { ended: HashMap::default(), capacity, earliest: UnixSeconds(u64::MAX) }
    }

    /// Ends a session. `until` is its `remembered_until`.
    pub fn revoke(
        &mut self,
        id: SessionId,
        until: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<(), Full> {
        if until <= now {
            return Ok(());
        }
        if let Some(known) = self.ended.get_mut(&id) {
            *known = until.max(*known);
            return Ok(());
        }
        if self.ended.len() >= self.capacity {
            self.forget_expired(now);
        }
        if self.ended.len() >= self.capacity {
            return Err(Full);
        }
        self.earliest = self.earliest.min(until);
        self.ended.insert(id, until);
        Ok(())
    }

    pub fn contains(&self, id: SessionId) -> bool {
        self.ended.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.ended.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Every entry, for a successor process: the session, and until when it is remembered.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, UnixSeconds)> {
        self.ended.iter().map(|(id, until)| (*id, *until))
    }

    /// Drops what no living token can name. Cheap where nothing has expired.
    pub fn forget_expired(&mut self, now: UnixSeconds) {
        if now < self.earliest {
            return;
        }
        self.ended.retain(|_, until| *until > now);
        self.earliest = self.ended.values().copied().min().unwrap_or(UnixSeconds(u64::MAX));
    }
}

impl Default for RevocationList {
    fn default() -> Self {
        Self::new(Self::DEFAULT_CAPACITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    #[test]
    fn a_revoked_session_is_remembered_until_its_token_expires() {
        let mut list = RevocationList::new(8);
        list.revoke(id(1), UnixSeconds(100), UnixSeconds(0)).unwrap();
        list.revoke(id(2), UnixSeconds(50), UnixSeconds(0)).unwrap();
        list.revoke(id(2), UnixSeconds(40), UnixSeconds(0)).unwrap();
        list.forget_expired(UnixSeconds(49));
        assert!(list.contains(id(1)) && list.contains(id(2)) && !list.contains(id(3)));
        list.forget_expired(UnixSeconds(50));
        assert!(list.contains(id(1)) && !list.contains(id(2)));
        list.forget_expired(UnixSeconds(100));
        assert!(list.is_empty());
    }

    #[test]
    fn a_full_list_drops_the_expired_and_nothing_else() {
        let mut list = RevocationList::new(2);
        list.revoke(id(1), UnixSeconds(10), UnixSeconds(0)).unwrap();
        list.revoke(id(2), UnixSeconds(20), UnixSeconds(0)).unwrap();
        assert_eq!(list.revoke(id(3), UnixSeconds(30), UnixSeconds(5)), Err(Full));
        assert_eq!(list.revoke(id(3), UnixSeconds(30), UnixSeconds(10)), Ok(()));
        assert!(!list.contains(id(1)) && list.contains(id(2)) && list.contains(id(3)));
    }

    #[test]
    fn an_expired_session_takes_no_room() {
        let mut list = RevocationList::new(1);
        list.revoke(id(1), UnixSeconds(10), UnixSeconds(10)).unwrap();
        assert!(list.is_empty());
    }
}
