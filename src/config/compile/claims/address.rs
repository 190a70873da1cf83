//! An address, who wants it, and what stands above it.

use std::borrow::Cow;
use std::collections::HashSet;

use smallvec::SmallVec;

use super::super::super::snapshot::Persona;
use super::super::super::source::Spot;
use super::super::tenants::{Claimant, Placed};
use super::{Choice, FastMap};
use crate::embed::template::Isolation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions(u8);

impl Versions {
    pub const NEW: Self = Self(1);
    pub const LAST: Self = Self(2);
    pub const BOTH: Self = Self(3);

    pub fn has(self, choice: Choice) -> bool {
        let bit = if choice == Choice::New { Self::NEW } else { Self::LAST };
        self.0 & bit.0 != 0
    }
}

/// A host, and a path where the host is shared, else nothing.
pub type Key<'p> = (&'p str, Cow<'p, str>);

/// Somebody who wants an address.
pub struct Entry<'p> {
    pub bidder: usize,
    pub versions: Versions,
    /// Wants something below it, not itself.
    pub is_below: bool,
    /// Its tenant's last version has the same.
    pub is_incumbent: bool,
    pub placed: &'p Placed,
    pub what: Address<'p>,
    pub host: &'p str,
    pub spot: Spot,
}

/// What of a claimant stands at an address.
#[derive(Clone, Copy)]
pub enum Address<'p> {
    /// The persona or site.
    Itself,
    /// The persona's device, by its segment.
    Device(&'p str),
    /// A page around the persona's chat, by its path.
    Shell(&'p str),
}

impl<'p> Entry<'p> {
    /// Who wants what, of those at one key: a tenant wants an address of it once, whatever there
    /// stands at it.
    pub fn place(&self) -> (usize, &'p str, Option<&'p str>) {
        (self.bidder, self.host, self.is_below.then(|| self.path()))
    }

    /// Of what wants the address.
    pub fn path(&self) -> &'p str {
        match (self.what, &self.placed.what) {
            (Address::Shell(path), _) => path,
            (_, Claimant::Persona(persona)) => &persona.path,
            (_, Claimant::Site(_)) => "/",
        }
    }
}

/// The paths of the pages around a persona's chat on shared hosts.
pub fn shells(persona: &Persona) -> impl Iterator<Item = &str> {
    let pages = persona.shells.pages.iter().filter(|it| it.isolation == Isolation::Sandbox);
    pages.map(|page| &*page.path)
}

/// The addresses above a claim, at which it would be in somebody's way, and what of it is below
/// them: the wildcard over a host, and on a shared host the paths before it.
pub fn above<'p>(
    shared: &HashSet<Box<str>>,
    wildcards: &FastMap<&'p str, &'p str>,
    placed: &'p Placed,
    host: &'p str,
) -> SmallVec<[(Key<'p>, Address<'p>); 2]> {
    let mut keys = SmallVec::new();
    if !shared.contains(host) {
        if let Some((label, parent)) = host.split_once('.')
            && label != "*"
            && let Some(wildcard) = wildcards.get(parent)
        {
            keys.push(((*wildcard, Cow::Borrowed("")), Address::Itself));
        }
    } else if let Claimant::Persona(persona) = &placed.what {
        let shells = shells(persona).map(|path| (path, Address::Shell(path)));
        for (mut path, what) in std::iter::once((&*persona.path, Address::Itself)).chain(shells) {
            while let Some((parent, _)) = path.rsplit_once('/').filter(|_| path != "/") {
                let key = if parent.is_empty() { "/" } else { parent };
                keys.push(((host, Cow::Borrowed(key)), what));
                path = key;
            }
        }
    }
    keys
}
