//! The app's own cookies of sessions that live under `/.v/TOKEN/`, where the browser refuses all.
//!
//! It does for such a session what a browser's cookie store does (RFC 6265, sections 5.3 and 5.4),
//! as far as it matters behind one proxy: name, value, Path, Max-Age and Expires. Domain is
//! ignored, a jar is one persona's; so is Secure, the way to us is HTTPS; HttpOnly and SameSite are
//! for scripts and for other sites, which never see a jar. Paths are those that the app sees,
//! without our prefix.
//!
//! Must not: keep or hand out a session of ours; give a cookie to another session or tenant; evict
//! what lives. It lives outside the snapshot. A full store says so, and the cookie is lost.

mod handover;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use cookie::Cookie;
use foldhash::fast;

use super::Fill;
use crate::policy::session::cookie::sets_session;
use crate::policy::session::{SessionId, UnixSeconds};
pub use handover::{KeptCookie, KeptJar};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions of one tenant that have cookies.
    pub sessions: usize,
    /// Cookies of one session.
    pub cookies: usize,
    /// Names, values and paths of one session.
    pub bytes: usize,
}

impl Default for Capacity {
    /// What RFC 6265 asks of a browser is 50 cookies a domain. At most 50 MB a tenant; Streamlit's
    /// one cookie takes a hundred bytes.
    fn default() -> Self {
        Self { sessions: 4096, cookies: 50, bytes: 8 * 1024 }
    }
}

/// Why a cookie was not kept. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKept {
    /// No cookie, by RFC 6265, or one with characters that no field may have.
    Malformed,
    /// It bears the name of our own.
    Ours,
    /// The session has as many cookies, or bytes of them, as it may have.
    SessionFull,
    /// The tenant has as many sessions with cookies as it may have.
    TenantFull,
}

type Tenants = HashMap<Arc<str>, Arc<Mutex<Tenant>>, fast::RandomState>;

/// The cookies of every session that has any here. One of it is made at the start and outlives
/// every snapshot.
#[derive(Debug, Default)]
pub struct Jars {
    tenants: ArcSwap<Tenants>,
    capacity: Capacity,
}

impl Jars {
    pub fn new(capacity: Capacity) -> Self {
        Self { tenants: ArcSwap::default(), capacity }
    }

    /// Follows a configuration at the start and after each reload: forgets tenants that are gone.
    pub fn follow<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = tenants.into_iter().collect();
        self.tenants.rcu(|old| {
            let kept = names.iter().map(|&name| match old.get_key_value(name) {
                Some((name, tenant)) => (Arc::clone(name), Arc::clone(tenant)),
                None => (Arc::from(name), Arc::default()),
            });
            kept.collect::<Tenants>()
        });
    }

    /// Obeys one Set-Cookie field of the app's answer to a request for `path`. `until` is when the
    /// prefix ends under which the session lives, and with it the need for its cookies.
    pub fn take(
        &self,
        tenant: &str,
        id: SessionId,
        set_cookie: &[u8],
        path: &str,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<(), NotKept> {
        let kept = Kept::parse(set_cookie, path, now).ok_or(NotKept::Malformed)?;
        // The name as it would be sent: parsing takes more kinds of space off than we do.
        if sets_session(kept.name.as_bytes()) {
            return Err(NotKept::Ours);
        }
        let Some(tenant) = self.tenant(tenant) else { return Err(NotKept::TenantFull) };
        lock(&tenant).take(id, kept, now, until, self.capacity)
    }

    /// The Cookie field of a request for `path`: those with longer paths first, then the older.
    pub fn header(
        &self,
        tenant: &str,
        id: SessionId,
        path: &str,
        now: UnixSeconds,
    ) -> Option<String> {
        let tenant = self.tenant(tenant)?;
        let tenant = lock(&tenant);
        let jar = tenant.jar(id, now)?;
        let mut sent: Vec<&Kept> =
            jar.cookies.iter().filter(|kept| kept.expires > now && kept.covers(path)).collect();
        // Stable: they stand in the order of their creation.
        sent.sort_by_key(|kept| std::cmp::Reverse(kept.path.len()));
        let pairs: Vec<String> =
            sent.iter().map(|kept| [&*kept.name, "=", &*kept.value].concat()).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of one cookie, of whatever path: the newest of that name.
    pub fn value(
        &self,
        tenant: &str,
        id: SessionId,
        name: &str,
        now: UnixSeconds,
    ) -> Option<String> {
        let tenant = self.tenant(tenant)?;
        let tenant = lock(&tenant);
        let mut cookies = tenant.jar(id, now)?.cookies.iter().rev();
        let found = cookies.find(|kept| &*kept.name == name && kept.expires > now)?;
        Some(found.value.to_string())
    }

    /// A session that has a jar goes on under a newer prefix.
    pub fn extend(&self, tenant: &str, id: SessionId, until: UnixSeconds) {
        let Some(tenant) = self.tenant(tenant) else { return };
        if let Some(jar) = lock(&tenant).jars.get_mut(&id) {
            jar.until = jar.until.max(until);
        }
    }

    /// Throws the jar of a session away that was revoked.
    pub fn forget(&self, tenant: &str, id: SessionId) {
        if let Some(tenant) = self.tenant(tenant) {
            lock(&tenant).jars.remove(&id);
        }
    }

    /// Drops what has expired and gives memory back. For a timer; nothing depends on it.
    pub fn tidy(&self, now: UnixSeconds) {
        for tenant in self.tenants.load().values() {
            let mut tenant = lock(tenant);
            tenant.forget_expired(now);
            tenant.jars.shrink_to_fit();
        }
    }

    /// Sessions that have cookies here, by tenant.
    pub fn fill(&self) -> Fill {
        let most = self.capacity.sessions;
        Fill::of(most, &self.tenants.load(), |tenant| lock(tenant).jars.len())
    }

    /// Sessions that have cookies here, of all tenants.
    pub fn sessions(&self) -> usize {
        self.tenants.load().values().map(|tenant| lock(tenant).jars.len()).sum()
    }

    /// None for a tenant that the configuration does not name: it has no business here any more.
    fn tenant(&self, name: &str) -> Option<Arc<Mutex<Tenant>>> {
        self.tenants.load().get(name).map(Arc::clone)
    }
}

fn lock(tenant: &Mutex<Tenant>) -> MutexGuard<'_, Tenant> {
    // Nothing panics under the lock half way through a change.
    tenant.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Tenant {
    jars: HashMap<SessionId, Jar, fast::RandomState>,
    /// No jar ends before this: a full store is not searched in vain for every cookie.
    earliest: UnixSeconds,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { jars: HashMap::default(), earliest: UnixSeconds(u64::MAX) }
    }
}

impl Tenant {
    fn jar(&self, id: SessionId, now: UnixSeconds) -> Option<&Jar> {
        self.jars.get(&id).filter(|jar| jar.until > now)
    }

    fn take(
        &mut self,
        id: SessionId,
        kept: Kept,
        now: UnixSeconds,
        until: UnixSeconds,
        capacity: Capacity,
    ) -> Result<(), NotKept> {
        // What has ended does not come back because it was not swept yet.
        if self.jars.get(&id).is_some_and(|jar| jar.until <= now) {
            self.jars.remove(&id);
        }
        if let Some(jar) = self.jars.get_mut(&id) {
            jar.until = jar.until.max(until);
            jar.put(kept, now, capacity)?;
            if jar.cookies.is_empty() {
                self.jars.remove(&id);
            }
            return Ok(());
        }
        if kept.expires <= now || until <= now {
            return Ok(());
        }
        if self.jars.len() >= capacity.sessions {
            self.forget_expired(now);
        }
        if self.jars.len() >= capacity.sessions {
            return Err(NotKept::TenantFull);
        }
        let mut jar = Jar { cookies: Vec::new(), until };
        jar.put(kept, now, capacity)?;
        self.earliest = self.earliest.min(until);
        self.jars.insert(id, jar);
        Ok(())
    }

    fn forget_expired(&mut self, now: UnixSeconds) {
        if now < self.earliest {
            return;
        }
        self.jars.retain(|_, jar| jar.until > now);
        let ends = self.jars.values().map(|jar| jar.until);
        self.earliest = ends.min().unwrap_or(UnixSeconds(u64::MAX));
    }
}

/// One session's cookies, in the order of their creation.
#[derive(Debug)]
struct Jar {
    cookies: Vec<Kept>,
    until: UnixSeconds,
}

impl Jar {
    /// RFC 6265, section 5.3, steps 11 and 12.
    fn put(&mut self, kept: Kept, now: UnixSeconds, capacity: Capacity) -> Result<(), NotKept> {
        let same =
            self.cookies.iter().position(|old| old.name == kept.name && old.path == kept.path);
        if kept.expires <= now {
            if let Some(same) = same {
                self.cookies.remove(same);
            }
            return Ok(());
        }
        let replaced = same.map_or(0, |same| self.cookies[same].bytes());
        let fits = |jar: &Self| {
            let bytes: usize = jar.cookies.iter().map(Kept::bytes).sum();
            bytes - replaced + kept.bytes() <= capacity.bytes
                && (same.is_some() || jar.cookies.len() < capacity.cookies)
        };
        if !fits(self) {
            // The one that is replaced may go too, if it has expired: look it up again.
            let before = self.cookies.len();
            self.cookies.retain(|old| old.expires > now);
            if self.cookies.len() == before {
                return Err(NotKept::SessionFull);
            }
            return self.put(kept, now, capacity);
        }
        match same {
            Some(same) => self.cookies[same] = kept,
            None => self.cookies.push(kept),
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Kept {
    name: Box<str>,
    value: Box<str>,
    path: Box<str>,
    expires: UnixSeconds,
}

impl Kept {
    fn parse(set_cookie: &[u8], path: &str, now: UnixSeconds) -> Option<Self> {
        // Tab is white space; any other control character could end a field line.
        let is_clean = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        let text = std::str::from_utf8(set_cookie).ok().filter(|_| set_cookie.iter().all(is_clean));
        let cookie = Cookie::parse(text?).ok()?;
        let said = cookie.path().filter(|path| path.starts_with('/'));
        let expires = match (cookie.max_age(), cookie.expires_datetime()) {
            (Some(age), _) => now.0.saturating_add_signed(age.whole_seconds()),
            (None, Some(at)) => u64::try_from(at.unix_timestamp()).unwrap_or(0),
            (None, None) => u64::MAX,
        };
        Some(Self {
            name: cookie.name().into(),
            value: cookie.value().into(),
            path: said.unwrap_or_else(|| default_path(path)).into(),
            expires: UnixSeconds(expires),
        })
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.value.len() + self.path.len()
    }

    /// RFC 6265, section 5.1.4.
    fn covers(&self, path: &str) -> bool {
        let Some(below) = path.strip_prefix(&*self.path) else { return false };
        below.is_empty() || self.path.ends_with('/') || below.starts_with('/')
    }
}

/// RFC 6265, section 5.1.4: the request's path up to, not including, its last slash.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        Some(last) if last > 0 && path.starts_with('/') => &path[..last],
        _ => "/",
    }
}

#[cfg(test)]
mod tests;
