//! Who comes first at one address.
//!
//! Thousands may be at one, where a host that many tenants share is not said to be shared: nobody
//! is compared with everybody. Of those who want the address itself, and of those who want
//! something below it, only the first two tenants matter, because whoever loses to anybody loses to
//! the first one that is somebody else.

use smallvec::SmallVec;

/// In this order, who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Operator,
    Incumbent,
    Newcomer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Among newcomers, as long as none of them loses elsewhere.
    ByOrder,
    Certain,
}

/// Somebody at an address.
#[derive(Debug, Clone, Copy)]
pub struct Stand {
    pub bidder: usize,
    /// Wants something below it, not itself.
    pub is_below: bool,
    pub rank: Rank,
}

/// All who are at one address.
#[derive(Debug, Default)]
pub struct Contest {
    /// The root of a shared host.
    is_root: bool,
    stands: SmallVec<[Stand; 8]>,
    /// Of those at the address.
    at: Firsts,
    /// Of those below it.
    below: Firsts,
}

impl Contest {
    pub fn new(stands: impl Iterator<Item = Stand>, is_root: bool) -> Self {
        let mut contest = Self { is_root, stands: stands.collect(), ..Self::default() };
        for (number, stand) in contest.stands.iter().enumerate() {
            let firsts = if stand.is_below { &mut contest.below } else { &mut contest.at };
            firsts.add((stand.rank, stand.bidder, number));
        }
        contest
    }

    /// To whom somebody loses first, and how certain that is; both by their numbers.
    pub fn winner(&self, loser: usize) -> Option<(usize, Certainty)> {
        let one = self.stands[loser];
        let at = self.at.without(one.bidder);
        let below = self.below.without(one.bidder);
        let winners = [at, below].into_iter().flatten();
        let winners = winners.filter(|first| loses(one, self.stands[first.2], self.is_root));
        let first = winners.min()?;
        let certainty = match first.0 {
            Rank::Newcomer => Certainty::ByOrder,
            Rank::Operator | Rank::Incumbent => Certainty::Certain,
        };
        Some((first.2, certainty))
    }
}

/// Whether the one loses to the other.
fn loses(one: Stand, other: Stand, is_root: bool) -> bool {
    if one.bidder == other.bidder || one.is_below && other.is_below {
        return false;
    }
    // Among equals, who takes a whole host gives way to who takes a part of it.
    let is_mixed = one.is_below != other.is_below;
    let takes_all = |stand: Stand| is_mixed && is_root && !stand.is_below;
    let order = |stand: Stand| (stand.rank, takes_all(stand), stand.bidder);
    order(other) < order(one)
}

/// A rank, a bidder, and a number among all who are there.
type First = (Rank, usize, usize);

/// The first, and the first of another bidder.
#[derive(Debug, Default)]
struct Firsts {
    first: Option<First>,
    second: Option<First>,
}

impl Firsts {
    fn add(&mut self, new: First) {
        match self.first {
            Some(first) if new.1 == first.1 => self.first = Some(first.min(new)),
            Some(first) if first < new => {
                self.second = Some(self.second.map_or(new, |second| second.min(new)));
            }
            first => (self.first, self.second) = (Some(new), first),
        }
    }

    fn without(&self, bidder: usize) -> Option<First> {
        self.first.filter(|first| first.1 != bidder).or(self.second)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_found_as_if_everybody_were_compared(
            stands in proptest::collection::vec((0..5_usize, any::<bool>(), 0..3_usize), 0..12),
            is_root in any::<bool>(),
        ) {
            let ranks = [Rank::Operator, Rank::Incumbent, Rank::Newcomer];
            let stands = stands.iter().map(|&(bidder, is_below, rank)| {
                Stand { bidder, is_below, rank: ranks[rank] }
            });
            let stands: Vec<_> = stands.collect();
            let contest = Contest::new(stands.iter().copied(), is_root);
            for (loser, &one) in stands.iter().enumerate() {
                let winners = stands.iter().enumerate();
                let winners = winners.filter(|(_, other)| loses(one, **other, is_root));
                let first = winners.min_by_key(|(number, it)| (it.rank, it.bidder, *number));
                let found = contest.winner(loser);
                prop_assert_eq!(found.map(|it| it.0), first.map(|it| it.0));
                let is_certain = first.is_some_and(|(_, it)| it.rank < Rank::Newcomer);
                prop_assert_eq!(found.is_some_and(|it| it.1 == Certainty::Certain), is_certain);
            }
        }
    }
}
