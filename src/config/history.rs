//! What served last, tenant by tenant, so that a load can keep what has not changed and fall back
//! to what was good.
//!
//! A [`Version`] is what one text of a tenant's file came to. It is used again as long as whatever
//! went into it is equal: the text, the files it names, what the tenant may use, and what tenants
//! need to know of the main file. (The environment of a process does not change.) Nothing in here
//! decides which version serves: that is `load`'s business.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::allow::Trust;
use super::compile::{Common, Facts, Part};
use super::error::Found;
use super::snapshot::Upstream;
use super::source::{SourceText, Sources};

/// What served last. The default is that of a process that has just begun.
#[derive(Default)]
pub struct History {
    /// Something has served: this is a reload, and no cold start.
    pub(super) has_served: bool,
    pub(super) tenants: HashMap<Arc<str>, Kept>,
    pub(super) upstreams: HashMap<Arc<str>, (u64, Arc<Upstream>)>,
    /// The files that the upstreams were made from.
    pub(super) upstream_sources: Sources,
    /// Where the last good files of tenants outlive the process.
    pub(super) folder: Option<PathBuf>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("tenants", &self.tenants.len()).finish_non_exhaustive()
    }
}

/// One tenant that has a file of its own.
#[derive(Clone, Default)]
pub(super) struct Kept {
    pub serving: Option<Arc<Version>>,
    /// The last text that was good, also where it serves no longer.
    pub good: Option<Arc<SourceText>>,
    /// Since when its file cannot serve.
    pub held_since: Option<SystemTime>,
}

/// What one text of a tenant's file came to.
pub(super) struct Version {
    pub text: Arc<SourceText>,
    /// The number of the file when it was compiled, which stands in its spots.
    pub file: u32,
    /// None where the file could not even be read.
    pub part: Option<Part>,
    /// Errors and warnings of the file alone.
    pub found: Vec<Found>,
    /// The files that the tenant's file names.
    pub sources: Sources,
    pub trust: Trust,
    pub facts: Facts,
}

impl Version {
    /// Whether compiling the same text again would come to the same.
    pub fn fits(&self, trust: &Trust, common: &Common) -> bool {
        self.trust == *trust && self.facts == common.facts && self.has_upstreams(common)
    }

    fn has_upstreams(&self, common: &Common) -> bool {
        let Some(part) = &self.part else { return false };
        let personas = part.tenant.personas.iter().map(|it| &it.upstream);
        let mut used = personas.chain(part.tenant.sites.iter().map(|it| &it.upstream));
        let is_the_same = |used: &Arc<Upstream>| {
            common.upstreams.get(&used.name).is_some_and(|now| Arc::ptr_eq(now, used))
        };
        used.all(is_the_same)
    }
}

impl History {
    /// Takes upstreams from before where they are written as they were, so that what was compiled
    /// with them still fits.
    pub(super) fn keep_upstreams(&self, images: &HashMap<Box<str>, u64>, common: &mut Common) {
        if !self.upstream_sources.still() {
            return;
        }
        for (name, upstream) in &mut common.upstreams {
            if let (Some((before, kept)), Some(image)) =
                (self.upstreams.get(name), images.get(&**name))
                && before == image
            {
                *upstream = kept.clone();
            }
        }
    }

    /// The texts that serve, in the order of their tenants' names.
    pub(super) fn serving(&self) -> impl Iterator<Item = Arc<SourceText>> {
        let mut all: Vec<_> = self.tenants.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all.into_iter().filter_map(|(_, kept)| Some(Arc::clone(&kept.serving.as_ref()?.text)))
    }

    /// The texts that serve, or that would if they could.
    pub(super) fn good(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let kept = self.tenants.iter();
        kept.filter_map(|(name, kept)| Some((name, &kept.good.as_ref()?.text)))
    }
}
