//! What the limits cost: nanoseconds per decision, and bytes per remembered key.
//!
//!     cargo bench --bench policy_limits
//!
//! A plain loop, each figure the best of several rounds. Time is an argument here as everywhere:
//! it runs fast enough that no bucket is empty, and no two decisions see the same moment.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use http::Method;
use vestibule::config::snapshot::AppKind;
use vestibule::policy::launch::{Facts, classify};
use vestibule::policy::limits::{Charge, Client, Moment, Proof, Rate, Rules, address, launch};
use vestibule::state::limits::{Capacity, Limiter};

const ROUNDS: u32 = 7;
const DECISIONS: u32 = 400_000;
const KNOWN: u32 = 50_000;

fn main() {
    let rate = |count| {
        let count = NonZeroU32::new(count).expect("a count above zero");
        Rate::new(count, Duration::from_secs(60)).expect("a rate that can be kept")
    };
    let rules = Rules::new(rate(60_000_000), rate(60_000_000), None);
    let strict = Rules::new(rate(60_000_000), rate(60_000_000), Some(rate(60_000_000)));
    let used_up = Rules::new(rate(1), rate(1), None);
    let limiter = Limiter::default();
    limiter.follow(["shop", "jasser", "ragtime"]);

    let busy = Limiter::default();

    measure("sort a request (cold Streamlit asset)", || sort("/static/js/index.js"));
    measure("sort a request (navigation)", || sort("/"));
    let mut visits = Visits::default();
    measure("a request that costs nothing, both stages", || {
        visits.both(&limiter, &rules, Charge::Nothing, Proof::Signed);
    });
    measure("the address alone", || visits.first(&limiter, &rules));
    measure("both stages, signed", || visits.both(&limiter, &rules, Charge::One, Proof::Signed));
    measure("both stages, unsigned, launcher limited", || {
        visits.both(&limiter, &strict, Charge::One, Proof::Unsigned);
    });
    measure("the same, with the header fields of its answer", || {
        visits.fields(&limiter, &strict);
    });
    measure("refused at the address", || visits.first(&busy, &used_up));
    contended(&limiter, &rules);
    flooded(&rules);
    memory(&rules);
}

fn measure(what: &str, mut decide: impl FnMut()) {
    let best = (0..ROUNDS).map(|_| time(DECISIONS, &mut decide)).fold(f64::INFINITY, f64::min);
    println!("{what:<45} {best:>8.1} ns");
}

fn time(times: u32, decide: &mut impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..times).for_each(|_| decide());
    started.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

fn sort(path: &str) {
    black_box(classify(
        AppKind::Streamlit,
        &Facts {
            method: &Method::GET,
            path: black_box(path),
            query: None,
            fetch_mode: None,
            accept: Some(b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            content_type: None,
        },
    ));
}

/// Visits from addresses in an order that a cache does not foresee.
#[derive(Default)]
struct Visits {
    number: u32,
}

impl Visits {
    fn next(&mut self) -> (Client, Moment) {
        self.number = self.number.wrapping_add(1);
        let address = self.number.wrapping_mul(0x9e37_79b1) % KNOWN;
        let now = Moment::since_epoch(Duration::from_micros(u64::from(self.number)));
        (Client::V4(address), now)
    }

    fn first(&mut self, limiter: &Limiter, rules: &Rules) {
        let (client, now) = self.next();
        drop(black_box(address(limiter, rules, ("jasser", client), Charge::One, now)));
    }

    fn both(&mut self, limiter: &Limiter, rules: &Rules, charge: Charge, proof: Proof) {
        let (client, now) = self.next();
        if let Ok(passed) = address(limiter, rules, ("jasser", client), charge, now) {
            drop(black_box(launch(passed, rules, ("customer", proof), now)));
        }
    }

    fn fields(&mut self, limiter: &Limiter, rules: &Rules) {
        let (client, now) = self.next();
        let passed = address(limiter, rules, ("jasser", client), Charge::One, now);
        let charged = passed.and_then(|it| launch(it, rules, ("customer", Proof::Unsigned), now));
        black_box(charged.map(|charged| charged.fields()).ok());
    }
}

/// Two workers at one tenant: the worst case for its lock.
fn contended(limiter: &Limiter, rules: &Rules) {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..2_u32 {
            scope.spawn(move || {
                let mut visits = Visits { number: worker << 20 };
                for _ in 0..DECISIONS {
                    visits.both(limiter, rules, Charge::One, Proof::Signed);
                }
            });
        }
    });
    let each = started.elapsed().as_secs_f64() * 1e9 / f64::from(2 * DECISIONS);
    println!("{:<45} {each:>8.1} ns", "both stages, two workers at one tenant");
}

/// Every address is new and the map is full.
fn flooded(rules: &Rules) {
    let limiter = Limiter::default();
    limiter.follow(["jasser"]);
    let mut number = 0_u32;
    let mut longest = Duration::ZERO;
    let started = Instant::now();
    while number < 10_000_000 {
        number += 1;
        // A hundred thousand addresses a second: a map of refilled buckets is swept each second.
        let now = Moment::since_epoch(Duration::from_micros(u64::from(number) * 10));
        let visitor = ("jasser", Client::V6(u64::from(number) << 16));
        let before = Instant::now();
        drop(black_box(address(&limiter, rules, visitor, Charge::One, now)));
        longest = longest.max(before.elapsed());
    }
    let each = started.elapsed().as_secs_f64() * 1e9 / f64::from(number);
    println!("{:<45} {each:>8.1} ns", "the address, ten million different ones");
    println!(
        "{:<45} {:>8.1} us",
        "  the longest (sweep, growth, or preempted)",
        longest.as_secs_f64() * 1e6
    );
    println!("{:<45} {:>8} keys", "  remembered afterwards", limiter.keys());
}

fn memory(rules: &Rules) {
    const KEYS: u32 = 1_835_008;
    let limiter = Limiter::new(Capacity { overall: 1 << 30, per_tenant: 1 << 30 });
    limiter.follow(["jasser"]);
    let before = resident();
    for number in 0..KEYS {
        let visitor = ("jasser", Client::V4(number));
        drop(address(&limiter, rules, visitor, Charge::One, Moment::START));
    }
    let grown = resident().saturating_sub(before);
    let each = grown as f64 / f64::from(KEYS);
    println!("{:<45} {each:>8.1} bytes", "a key, resident, in a table that is full");
    black_box(limiter.keys());
}

/// Bytes of this process in memory; zero where /proc does not say.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|field| field.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
