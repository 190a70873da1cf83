//! Which server of an upstream is asked next: pure, over what is known of the servers at one moment.
//!
//! Servers are numbers below `count`; `weight` says how much of its share a server gets: 100 is all
//! of it, 0 none (it is out, or was tried). Every function answers `None` only where all weights
//! are 0, and looks at each server at most once or twice: nothing is allocated.
//!
//! Hashing must come out the same in every worker, on every machine and after a restart: it is
//! written out here, and depends on no library's whim.

/// As much as any other server.
pub const FULL: u8 = 100;

/// In turn; a server on its way back is skipped as often as its weight says.
pub fn round_robin(turn: u64, count: usize, weight: impl Fn(usize) -> u8) -> Option<usize> {
    let mut usable = None;
    for at in from(turn, count) {
        match weight(at) {
            0 => {}
            FULL.. => return Some(at),
            part if mix(turn ^ at as u64) % u64::from(FULL) < u64::from(part) => return Some(at),
            _ => usable = usable.or(Some(at)),
        }
    }
    usable
}

/// The server with the fewest requests and streams for its weight; in turn among equals.
pub fn least_connections(
    turn: u64,
    count: usize,
    weight: impl Fn(usize) -> u8,
    active: impl Fn(usize) -> u32,
) -> Option<usize> {
    let mut best: Option<(usize, u64, u64)> = None;
    for at in from(turn, count) {
        let weight = u64::from(weight(at));
        let load = u64::from(active(at)) + 1;
        // load / weight < best's, without division.
        if weight > 0 && best.is_none_or(|(_, least, of)| load * of < least * weight) {
            best = Some((at, load, weight));
        }
    }
    best.map(|(at, ..)| at)
}

/// Rendezvous hashing: each key has an order of servers of its own. A server that is lost moves
/// only its own keys, each to the next in its order; one that is added takes only what will be
/// its own. A server on its way back gets its keys one after the other. `identity` is a server's own
/// hash.
pub fn rendezvous(
    key: u64,
    count: usize,
    weight: impl Fn(usize) -> u8,
    identity: impl Fn(usize) -> u64,
) -> Option<usize> {
    let score = |at: usize| mix(key ^ identity(at));
    let has_its_turn = |at: usize| match weight(at) {
        0 => false,
        FULL.. => true,
        part => mix(score(at)) % u64::from(FULL) < u64::from(part),
    };
    let first = (0..count).filter(|&at| has_its_turn(at)).max_by_key(|&at| score(at));
    first.or_else(|| (0..count).filter(|&at| weight(at) > 0).max_by_key(|&at| score(at)))
}

fn from(turn: u64, count: usize) -> impl Iterator<Item = usize> {
    let start = (turn % count.max(1) as u64) as usize;
    (start..count).chain(0..start)
}

/// Of these bytes, the same for ever (FNV-1a, mixed).
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// Every bit of the result depends on every bit of `bits` (the finaliser of SplitMix64).
pub fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turns(weights: &[u8], turns: u64) -> Vec<usize> {
        let mut seen = vec![0; weights.len()];
        for turn in 0..turns {
            seen[round_robin(turn, weights.len(), |at| weights[at]).unwrap()] += 1;
        }
        seen
    }

    fn owner(key: u64, servers: &[u64], lost: Option<usize>) -> usize {
        let weight = |at| if lost == Some(at) { 0 } else { FULL };
        rendezvous(mix(key), servers.len(), weight, |at| servers[at]).unwrap()
    }

    fn servers(count: usize) -> Vec<u64> {
        (0..count).map(|port| stable_hash(format!("127.0.0.1:{port}").as_bytes())).collect()
    }

    #[test]
    fn servers_take_turns() {
        assert_eq!(turns(&[100, 100, 100], 300), [100, 100, 100]);
        assert_eq!(turns(&[100, 0], 10), [10, 0]);
    }

    #[test]
    fn a_server_on_its_way_back_gets_about_its_weight_of_a_share() {
        let seen = turns(&[100, 25], 10_000);
        assert!((1000..1500).contains(&seen[1]), "{seen:?}");
        assert_eq!(turns(&[0, 1], 100), [0, 100], "where it is alone it gets everything");
    }

    #[test]
    fn keys_come_back_to_a_server_one_after_the_other() {
        let servers = servers(2);
        let mut before = 0;
        for part in [1, 10, 50, 90, 100] {
            let weights = [part, FULL];
            let chosen = |key| rendezvous(mix(key), 2, |at| weights[at], |at| servers[at]).unwrap();
            let back = (0..10_000).filter(|&key| chosen(key) == 0).collect::<Vec<u64>>();
            assert!(back.len() > before && back.len() <= 40 + 55 * usize::from(part), "{part}");
            assert!(back.iter().all(|&key| owner(key, &servers, None) == 0));
            before = back.len();
        }
    }

    #[test]
    fn the_least_busy_server_is_asked_and_equals_take_turns() {
        let check = |turn, active: &[u32], weights: &[u8], expected| {
            let chosen = least_connections(turn, active.len(), |at| weights[at], |at| active[at]);
            assert_eq!(chosen, expected, "{active:?} {weights:?}");
        };
        check(0, &[3, 1, 2], &[100, 100, 100], Some(1));
        check(0, &[1, 1, 2], &[100, 100, 100], Some(0));
        check(1, &[1, 1, 2], &[100, 100, 100], Some(1));
        check(0, &[3, 1, 2], &[100, 0, 100], Some(2));
        check(0, &[3, 1, 2], &[100, 20, 100], Some(2));
        check(0, &[3, 1, 2], &[0, 0, 0], None);
        check(7, &[], &[], None);
    }

    #[test]
    fn hashes_are_the_same_on_every_machine() {
        assert_eq!(stable_hash(b"127.0.0.1:8501"), 0xc8f0_3fe7_8e61_ef03);
        assert_eq!(owner(7, &servers(5), None), 4);
    }

    #[test]
    fn keys_spread_evenly() {
        let servers = servers(4);
        let mut seen = [0; 4];
        (0..10_000).for_each(|key| seen[owner(key, &servers, None)] += 1);
        assert!(seen.iter().all(|count| (2300..2700).contains(count)), "{seen:?}");
    }

    proptest! {
        #[test]
        fn a_lost_server_moves_only_its_own_keys(key: u64, count in 2usize..9, lost in 0usize..9) {
            let servers = servers(count);
            let (before, after) = (owner(key, &servers, None), owner(key, &servers, Some(lost % count)));
            if before != lost % count {
                prop_assert_eq!(before, after);
            } else {
                prop_assert_ne!(before, after);
            }
        }

        #[test]
        fn an_added_server_takes_only_what_is_its_own(key: u64, count in 1usize..9) {
            let (few, more) = (servers(count), servers(count + 1));
            let (before, after) = (owner(key, &few, None), owner(key, &more, None));
            prop_assert!(before == after || after == count);
        }

        #[test]
        fn something_is_chosen_wherever_something_can_be(
            turn: u64,
            weights in prop::collection::vec(0u8..=100, 0..9),
        ) {
            let count = weights.len();
            let chosen = [
                round_robin(turn, count, |at| weights[at]),
                least_connections(turn, count, |at| weights[at], |at| at as u32),
                rendezvous(turn, count, |at| weights[at], |at| at as u64),
            ];
            let can = weights.iter().any(|&weight| weight > 0);
            for chosen in chosen {
                prop_assert_eq!(chosen.is_some(), can);
                prop_assert!(chosen.is_none_or(|at| weights[at] > 0));
            }
        }
    }
}
