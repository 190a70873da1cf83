//! Which tenant has which address, where several want it.
//!
//! A host belongs to one tenant, unless the main file shares it; on a shared host a path does, with
//! everything below it. Nobody is at the root of a host that others are on: its cookies would reach
//! them. Where two tenants claim the same, one of them loses, and with it the whole version of its
//! file:
//!
//! 1. Tenants of the main file come first: the operator wrote them.
//! 2. Whoever had the address in the last snapshot keeps it, as long as it still claims it, or
//!    falls back to the version that did.
//! 3. Else the order of files decides: `include` from left to right, names in alphabetical order.
//!
//! A tenant that loses falls back to its last version, which may take back what the new one gave
//! up: so losers are found until nobody loses any more. Those of whom that is certain go first, for
//! nobody must lose to a newcomer that is itself going to lose.

mod address;
mod telling;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use self::address::{Address, Entry, Key, Versions, above, shells};
use self::telling::describe;
use super::super::error::Problems;
use super::super::source::{SourceTexts, Spot};
use super::hosts::device_path;
use super::tenants::{Claimant, Part, Placed};

type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Which version of a tenant serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// What its file says now.
    New,
    /// What served last.
    Last,
}

/// A tenant, in the order in which newcomers are served.
pub struct Bidder<'p> {
    /// Stands in the main file.
    pub is_main: bool,
    pub new: Option<Bid<'p>>,
    /// The same as `new` where the tenant has not changed.
    pub last: Option<Bid<'p>>,
    /// None where no version can serve.
    pub choice: Option<Choice>,
}

/// One version of a tenant.
#[derive(Clone, Copy)]
pub struct Bid<'p> {
    pub part: &'p Part,
    /// The number of its file.
    pub file: u32,
}

/// A version that cannot serve, because others have what it claims.
pub struct Loss {
    /// The index of the bidder.
    pub bidder: usize,
    /// The operator has it, and nobody else.
    pub is_to_main: bool,
    pub problems: Problems,
}

/// What belongs to a tenant that serves no version: a host, and a path where the host is shared.
pub struct Held<'p> {
    pub bidder: usize,
    pub host: &'p str,
    pub path: Cow<'p, str>,
}

impl<'p> Bidder<'p> {
    fn bids(&self) -> impl Iterator<Item = (Versions, Bid<'p>)> {
        let bids = match (self.new, self.last) {
            (Some(new), Some(last)) if std::ptr::eq(new.part, last.part) => {
                [Some((Versions::BOTH, new)), None]
            }
            (new, last) => [new.map(|it| (Versions::NEW, it)), last.map(|it| (Versions::LAST, it))],
        };
        bids.into_iter().flatten()
    }

    /// The next version to try.
    fn fall_back(&mut self) {
        let is_same = self.bids().any(|(versions, _)| versions == Versions::BOTH);
        self.choice = match self.choice {
            Some(Choice::New) if !is_same && self.last.is_some() => Some(Choice::Last),
            _ => None,
        };
    }
}

/// Every claim of every version, by address.
pub struct Claims<'p> {
    bidders: Vec<Bidder<'p>>,
    entries: FastMap<Key<'p>, SmallVec<[Entry<'p>; 1]>>,
    /// Wildcards, by what follows their `*.`.
    wildcards: FastMap<&'p str, &'p str>,
    shared: &'p HashSet<Box<str>>,
    /// Addresses that several tenants have to do with, sorted.
    contested: Vec<Key<'p>>,
}

impl<'p> Claims<'p> {
    pub fn new(bidders: Vec<Bidder<'p>>, shared: &'p HashSet<Box<str>>) -> Self {
        let mut claims = Self {
            bidders,
            entries: FastMap::default(),
            wildcards: FastMap::default(),
            shared,
            contested: Vec::new(),
        };
        for number in 0..claims.bidders.len() {
            claims.each_host(number, Self::add_itself);
        }
        for number in 0..claims.bidders.len() {
            claims.each_host(number, Self::add_below);
        }
        let is_contested = |entries: &SmallVec<[Entry<'_>; 1]>| {
            entries.iter().any(|entry| entry.bidder != entries[0].bidder)
        };
        let contested = claims.entries.iter().filter(|(_, entries)| is_contested(entries));
        claims.contested = contested.map(|(key, _)| key.clone()).collect();
        claims.contested.sort_unstable();
        claims
    }

    fn each_host(
        &mut self,
        bidder: usize,
        add: impl Fn(&mut Self, usize, Versions, (&'p Placed, &'p str, Spot)),
    ) {
        let bids: SmallVec<[_; 2]> = self.bidders[bidder].bids().collect();
        for (versions, bid) in bids {
            for placed in &bid.part.placed {
                for (host, spot) in placed.hosts() {
                    let spot = Spot { file: bid.file, ..spot };
                    add(self, bidder, versions, (placed, host, spot));
                }
            }
        }
    }

    fn add_itself(
        &mut self,
        bidder: usize,
        versions: Versions,
        (placed, host, spot): (&'p Placed, &'p str, Spot),
    ) {
        let what = Address::Itself;
        let entry = Entry { bidder, versions, is_below: false, placed, what, host, spot };
        if !self.shared.contains(host) {
            if let Some(parent) = host.strip_prefix("*.") {
                self.wildcards.insert(parent, host);
            }
            self.entries.entry((host, "".into())).or_default().push(entry);
            return;
        }
        let Claimant::Persona(persona) = &placed.what else {
            self.entries.entry((host, "/".into())).or_default().push(entry);
            return;
        };
        for device in &persona.devices {
            let path = device_path(persona, &device.slug).into();
            let entry = Entry { what: Address::Device(&device.slug), ..entry };
            self.entries.entry((host, path)).or_default().push(entry);
        }
        for path in shells(persona) {
            let entry = Entry { what: Address::Shell(path), ..entry };
            self.entries.entry((host, path.into())).or_default().push(entry);
        }
        self.entries.entry((host, (&*persona.path).into())).or_default().push(entry);
    }

    /// Where something stands above it that somebody has claimed.
    fn add_below(
        &mut self,
        bidder: usize,
        versions: Versions,
        (placed, host, spot): (&'p Placed, &'p str, Spot),
    ) {
        for (key, what) in above(self.shared, &self.wildcards, placed, host) {
            if let Some(entries) = self.entries.get_mut(&key) {
                entries.push(Entry { bidder, versions, is_below: true, placed, what, host, spot });
            }
        }
    }

    /// Reports every conflict, with nobody giving way.
    pub fn report(&self, texts: &SourceTexts, problems: &mut Problems) {
        for loser in 0..self.bidders.len() {
            self.tell(loser, texts, problems);
        }
    }

    /// Reports conflicts that the main file has with itself.
    pub fn report_main(&self, texts: &SourceTexts, problems: &mut Problems) {
        for loser in (0..self.bidders.len()).filter(|&number| self.bidders[number].is_main) {
            self.tell(loser, texts, problems);
        }
    }

    /// Chooses a version of each tenant, so that no two are in each other's way.
    pub fn settle(&mut self, texts: &SourceTexts) -> Vec<Loss> {
        let mut losses = Vec::new();
        loop {
            let loser = self.find(Certainty::Certain).or_else(|| self.find(Certainty::ByOrder));
            let Some(bidder) = loser else { return losses };
            let mut problems = Problems::default();
            let winners = self.tell(bidder, texts, &mut problems);
            let is_to_main = winners.iter().all(|&winner| self.bidders[winner].is_main);
            losses.push(Loss { bidder, is_to_main, problems });
            self.bidders[bidder].fall_back();
        }
    }

    pub fn choice(&self, bidder: usize) -> Option<Choice> {
        self.bidders[bidder].choice
    }

    /// What belongs to tenants that serve no version, and is in nobody's way.
    pub fn held(&mut self) -> Vec<Held<'p>> {
        let mut held = Vec::new();
        for (bidder, one) in self.bidders.iter().enumerate().filter(|(_, it)| it.choice.is_none()) {
            for placed in one.bids().flat_map(|(_, bid)| &bid.part.placed) {
                for (host, _) in placed.hosts() {
                    let paths = self.paths(placed, host).into_iter();
                    let free = paths.filter(|path| self.is_free(placed, host, path));
                    held.extend(free.map(|path| Held { bidder, host, path: path.into() }));
                }
            }
        }
        held
    }

    /// Below which everything is its own.
    fn paths(&self, placed: &'p Placed, host: &str) -> SmallVec<[&'p str; 2]> {
        match &placed.what {
            Claimant::Persona(persona) if self.shared.contains(host) => {
                std::iter::once(&*persona.path).chain(shells(persona)).collect()
            }
            Claimant::Persona(_) | Claimant::Site(_) => SmallVec::from_slice(&["/"]),
        }
    }

    /// Nobody serves there, nor on the way there.
    fn is_free(&self, placed: &'p Placed, host: &'p str, path: &'p str) -> bool {
        let own = if self.shared.contains(host) { path } else { "" };
        let above = above(self.shared, &self.wildcards, placed, host).into_iter();
        let mut above = above.filter(|(_, what)| match what {
            Address::Shell(shell) => *shell == path,
            Address::Itself | Address::Device(_) => match &placed.what {
                Claimant::Persona(persona) => own.is_empty() || path == &*persona.path,
                Claimant::Site(_) => true,
            },
        });
        !self.is_taken(&(host, own.into())) && !above.any(|(key, _)| self.is_held(&key))
    }

    fn is_active(&self, entry: &Entry<'_>) -> bool {
        self.bidders[entry.bidder].choice.is_some_and(|choice| entry.versions.has(choice))
    }

    fn active(&self, key: &Key<'p>) -> impl Iterator<Item = &Entry<'p>> + use<'_, 'p> {
        let entries = self.entries.get(key).into_iter().flatten();
        entries.filter(|entry| self.is_active(entry))
    }

    /// Somebody serves there, or below it.
    fn is_taken(&self, key: &Key<'p>) -> bool {
        self.active(key).next().is_some()
    }

    /// Somebody serves there.
    fn is_held(&self, key: &Key<'p>) -> bool {
        self.active(key).any(|entry| !entry.is_below)
    }

    /// A tenant's file that loses somewhere.
    fn find(&self, certainty: Certainty) -> Option<usize> {
        self.contested.iter().find_map(|key| {
            let entries: SmallVec<[_; 8]> = self.active(key).collect();
            let is_file = |entry: &&&Entry<'_>| !self.bidders[entry.bidder].is_main;
            let loses = |loser: &&&Entry<'_>| {
                entries.iter().any(|winner| self.loses(loser, winner, key) >= Some(certainty))
            };
            entries.iter().filter(is_file).find(loses).map(|entry| entry.bidder)
        })
    }

    /// Whether the one loses to the other; only for active entries at `key`.
    fn loses(&self, one: &Entry<'_>, other: &Entry<'_>, key: &Key<'p>) -> Option<Certainty> {
        if one.bidder == other.bidder || one.is_below && other.is_below {
            return None;
        }
        // Among equals, who takes a whole host gives way to who takes a part of it.
        let is_root = |entry: &Entry<'_>| key.1 == "/" && !entry.is_below;
        let is_mixed = one.is_below != other.is_below;
        let rank =
            |entry: &Entry<'_>| (self.rank(entry, key), is_mixed && is_root(entry), entry.bidder);
        let (one, other) = (rank(one), rank(other));
        (other < one).then_some(match other.0 {
            Rank::Newcomer => Certainty::ByOrder,
            Rank::Operator | Rank::Incumbent => Certainty::Certain,
        })
    }

    fn rank(&self, entry: &Entry<'_>, key: &Key<'p>) -> Rank {
        let entries = || self.entries.get(key).into_iter().flatten();
        let mut own = entries().filter(|other| other.bidder == entry.bidder);
        match &self.bidders[entry.bidder] {
            it if it.is_main => Rank::Operator,
            it if it.choice == Some(Choice::Last) => Rank::Incumbent,
            // It had this very address, not just another one nearby.
            _ if own.any(|it| it.versions.has(Choice::Last) && it.is_at(entry)) => Rank::Incumbent,
            _ => Rank::Newcomer,
        }
    }

    /// Reports every address at which a tenant loses. Returns to whom.
    fn tell(&self, bidder: usize, texts: &SourceTexts, problems: &mut Problems) -> Vec<usize> {
        let mut to = Vec::new();
        let mut told = HashSet::new();
        for key in &self.contested {
            let entries: SmallVec<[_; 8]> = self.active(key).collect();
            for loser in entries.iter().filter(|entry| entry.bidder == bidder) {
                let winners = entries.iter().filter(|it| self.loses(loser, it, key).is_some());
                let first = winners.min_by_key(|it| (self.rank(it, key), it.bidder));
                let Some(winner) = first else { continue };
                to.push(winner.bidder);
                let (field, wrong) = describe(loser, winner, key, texts);
                if told.insert((loser.spot, wrong.what.clone())) {
                    let key = format!("{}.{field}", loser.placed.what.key());
                    problems.error(loser.spot, key, wrong);
                }
            }
        }
        to
    }
}

/// In this order, who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Operator,
    Incumbent,
    Newcomer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// Among newcomers, as long as none of them loses elsewhere.
    ByOrder,
    Certain,
}
