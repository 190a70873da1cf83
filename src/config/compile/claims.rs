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
mod contest;
mod telling;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use self::address::{Address, Entry, Key, Versions, above, shells};
use self::contest::{Certainty, Contest, Rank, Stand};
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
        for key in &claims.contested {
            claims.entries.entry(key.clone()).and_modify(|entries| note_incumbents(entries));
        }
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
        let is_incumbent = false;
        let entry =
            Entry { bidder, versions, is_below: false, is_incumbent, placed, what, host, spot };
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
                entries.push(Entry {
                    bidder,
                    versions,
                    is_below: true,
                    is_incumbent: false,
                    placed,
                    what,
                    host,
                    spot,
                });
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
        // Thousands ask for the same address, at which thousands are.
        let mut known = FastMap::default();
        for (bidder, one) in self.bidders.iter().enumerate().filter(|(_, it)| it.choice.is_none()) {
            for placed in one.bids().flat_map(|(_, bid)| &bid.part.placed) {
                for (host, _) in placed.hosts() {
                    let paths = self.paths(placed, host).into_iter();
                    let free = paths.filter(|path| self.is_free(placed, host, path, &mut known));
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
    fn is_free(
        &self,
        placed: &'p Placed,
        host: &'p str,
        path: &'p str,
        known: &mut FastMap<Key<'p>, Served>,
    ) -> bool {
        let own = if self.shared.contains(host) { path } else { "" };
        let above = above(self.shared, &self.wildcards, placed, host).into_iter();
        let mut above = above.filter(|(_, what)| match what {
            Address::Shell(shell) => *shell == path,
            Address::Itself | Address::Device(_) => match &placed.what {
                Claimant::Persona(persona) => own.is_empty() || path == &*persona.path,
                Claimant::Site(_) => true,
            },
        });
        let mut served = |key| *known.entry(key).or_insert_with_key(|key| self.served(key));
        let is_taken = served((host, own.into())) != Served::Nothing;
        !is_taken && !above.any(|(key, _)| served(key) == Served::Itself)
    }

    fn is_active(&self, entry: &Entry<'_>) -> bool {
        self.bidders[entry.bidder].choice.is_some_and(|choice| entry.versions.has(choice))
    }

    fn active(&self, key: &Key<'p>) -> impl Iterator<Item = &Entry<'p>> + use<'_, 'p> {
        let entries = self.entries.get(key).into_iter().flatten();
        entries.filter(|entry| self.is_active(entry))
    }

    fn served(&self, key: &Key<'p>) -> Served {
        let active = self.active(key).map(|entry| match entry.is_below {
            true => Served::Below,
            false => Served::Itself,
        });
        active.max().unwrap_or(Served::Nothing)
    }

    /// A tenant's file that loses somewhere.
    fn find(&self, certainty: Certainty) -> Option<usize> {
        self.contested.iter().find_map(|key| {
            let (entries, contest) = self.contest(key);
            let mut numbers = 0..entries.len();
            let loser = numbers.find(|&number| {
                let is_file = !self.bidders[entries[number].bidder].is_main;
                is_file && contest.winner(number).is_some_and(|(_, found)| found >= certainty)
            })?;
            Some(entries[loser].bidder)
        })
    }

    /// Those who are at an address.
    fn contest(&self, key: &Key<'p>) -> (SmallVec<[&Entry<'p>; 8]>, Contest) {
        let entries: SmallVec<[_; 8]> = self.active(key).collect();
        let stands = entries.iter().map(|entry| Stand {
            bidder: entry.bidder,
            is_below: entry.is_below,
            rank: self.rank(entry),
        });
        let contest = Contest::new(stands, key.1 == "/");
        (entries, contest)
    }

    fn rank(&self, entry: &Entry<'_>) -> Rank {
        match &self.bidders[entry.bidder] {
            it if it.is_main => Rank::Operator,
            it if it.choice == Some(Choice::Last) => Rank::Incumbent,
            _ if entry.is_incumbent => Rank::Incumbent,
            _ => Rank::Newcomer,
        }
    }

    /// Reports every address at which a tenant loses. Returns to whom.
    fn tell(&self, bidder: usize, texts: &SourceTexts, problems: &mut Problems) -> Vec<usize> {
        let mut to = Vec::new();
        let mut told = HashSet::new();
        for key in &self.contested {
            if !self.active(key).any(|entry| entry.bidder == bidder) {
                continue;
            }
            let (entries, contest) = self.contest(key);
            for (number, loser) in entries.iter().enumerate() {
                if loser.bidder != bidder {
                    continue;
                }
                let Some((winner, _)) = contest.winner(number) else { continue };
                let winner = entries[winner];
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

/// What of an address somebody serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Served {
    Nothing,
    /// Something below it.
    Below,
    Itself,
}

/// Notes who had this very address in the last version, not just another one nearby.
fn note_incumbents(entries: &mut [Entry<'_>]) {
    let had = entries.iter().filter(|entry| entry.versions.has(Choice::Last));
    let had: HashSet<_> = had.map(Entry::place).collect();
    let is_incumbent: Vec<_> = entries.iter().map(|entry| had.contains(&entry.place())).collect();
    for (entry, is_incumbent) in entries.iter_mut().zip(is_incumbent) {
        entry.is_incumbent = is_incumbent;
    }
}
