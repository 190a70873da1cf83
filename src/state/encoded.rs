//! Answers that were compressed once and stay: assets whose names change with their contents.
//!
//! The app is still asked for each of them, and its answer still decides: what lies here is used
//! only for an answer with the same validator and length, by the same upstream, at the same
//! address, in the same coding, for the same tenant. So nothing here can be stale.
//!
//! Bounds: [`TENANT`] for one tenant, [`ALL`] for all; the longest unused goes first, of the same
//! tenant alone. What nobody asked for in an hour goes, too. A tenant's lock is held for one
//! look-up.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast;

use crate::policy::front::compression::Coding;
use crate::policy::session::UnixSeconds;

/// Bytes that one tenant's assets may take. Streamlit's 23 MB take seven, in each coding.
pub const TENANT: usize = 32 << 20;
/// Bytes of all tenants.
pub const ALL: usize = 256 << 20;
/// Assets of one tenant.
const ASSETS: usize = 4096;
/// Seconds.
const UNUSED: u64 = 3600;

/// Whose, what, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub tenant: Arc<str>,
    pub asset: Asset,
    /// When it is asked for.
    pub now: UnixSeconds,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asset {
    pub upstream: Arc<str>,
    /// Path and query, as the upstream sees them.
    pub target: Box<str>,
    /// ETag or Last-Modified.
    pub validator: Box<[u8]>,
    /// Before it was compressed.
    pub length: u64,
    pub coding: Coding,
}

#[derive(Debug, Default)]
struct Shelf {
    assets: HashMap<Asset, Kept, fast::RandomState>,
    bytes: usize,
    /// Grows with each use.
    clock: u64,
    /// Its tenant is gone.
    is_closed: bool,
}

#[derive(Debug)]
struct Kept {
    bytes: Arc<[u8]>,
    used: u64,
    at: UnixSeconds,
}

type Shelves = HashMap<Arc<str>, Arc<Mutex<Shelf>>, fast::RandomState>;

/// One of it is made at the start and outlives every snapshot.
#[derive(Debug, Default)]
pub struct Encoded {
    tenants: ArcSwap<Shelves>,
    bytes: AtomicUsize,
}

impl Encoded {
    /// Of one asset, compressed.
    pub const LARGEST: usize = 8 << 20;

    /// Follows a configuration at the start and after each reload: forgets tenants that are gone.
    pub fn follow<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = tenants.into_iter().collect();
        let old = self.tenants.rcu(|old| {
            let kept = names.iter().map(|&name| match old.get_key_value(name) {
                Some((name, shelf)) => (Arc::clone(name), Arc::clone(shelf)),
                None => (Arc::from(name), Arc::default()),
            });
            kept.collect::<Shelves>()
        });
        let new = self.tenants.load();
        for (_, shelf) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            self.clear(&mut lock(shelf));
        }
    }

    pub fn get(&self, place: &Place) -> Option<Arc<[u8]>> {
        let tenants = self.tenants.load();
        let mut shelf = lock(tenants.get(&*place.tenant)?);
        shelf.clock += 1;
        let clock = shelf.clock;
        let kept = shelf.assets.get_mut(&place.asset)?;
        (kept.used, kept.at) = (clock, place.now);
        Some(Arc::clone(&kept.bytes))
    }

    /// Keeps it, if it finds room.
    pub fn put(&self, place: Place, bytes: Arc<[u8]>) {
        let charge = charge(&place.asset, &bytes);
        let tenants = self.tenants.load();
        let Some(shelf) = tenants.get(&*place.tenant) else { return };
        let mut shelf = lock(shelf);
        if shelf.is_closed || bytes.len() > Self::LARGEST || shelf.assets.contains_key(&place.asset)
        {
            return;
        }
        while shelf.bytes + charge > TENANT
            || shelf.assets.len() >= ASSETS
            || self.bytes.load(Ordering::Relaxed) + charge > ALL && !shelf.assets.is_empty()
        {
            self.drop_oldest(&mut shelf);
        }
        if self.bytes.load(Ordering::Relaxed) + charge > ALL {
            return;
        }
        shelf.clock += 1;
        let kept = Kept { bytes, used: shelf.clock, at: place.now };
        shelf.assets.insert(place.asset, kept);
        shelf.bytes += charge;
        self.bytes.fetch_add(charge, Ordering::Relaxed);
    }

    /// Forgets what nobody asked for.
    pub fn tidy(&self, now: UnixSeconds) {
        for shelf in self.tenants.load().values() {
            let mut shelf = lock(shelf);
            let mut freed = 0;
            shelf.assets.retain(|asset, kept| {
                let stays = now.0.saturating_sub(kept.at.0) < UNUSED;
                freed += if stays { 0 } else { charge(asset, &kept.bytes) };
                stays
            });
            shelf.bytes -= freed;
            self.bytes.fetch_sub(freed, Ordering::Relaxed);
        }
    }

    /// Bytes of all tenants.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn drop_oldest(&self, shelf: &mut Shelf) {
        let oldest = shelf.assets.iter().min_by_key(|(_, kept)| kept.used);
        let Some(asset) = oldest.map(|(asset, _)| asset.clone()) else { return };
        if let Some(kept) = shelf.assets.remove(&asset) {
            let charge = charge(&asset, &kept.bytes);
            shelf.bytes -= charge;
            self.bytes.fetch_sub(charge, Ordering::Relaxed);
        }
    }

    fn clear(&self, shelf: &mut Shelf) {
        self.bytes.fetch_sub(shelf.bytes, Ordering::Relaxed);
        *shelf = Shelf { is_closed: true, ..Shelf::default() };
    }
}

/// With the place that it takes.
fn charge(asset: &Asset, bytes: &[u8]) -> usize {
    const PLACE: usize = 256;
    PLACE + asset.target.len() + asset.validator.len() + bytes.len()
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // Whatever a panic left half done is forgotten assets at worst.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
