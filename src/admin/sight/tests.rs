use super::reading::{Totals, UpstreamReading};
use super::*;
use crate::telemetry::metrics::histogram::REQUEST;

fn totals(times: &[(usize, u64)], rejections: u64) -> Totals {
    let mut counts = vec![0; REQUEST.len() + 1];
    times.iter().for_each(|(bucket, count)| counts[*bucket] = *count);
    Totals { bounds: REQUEST, times: counts, errors: 0, rejections }
}

fn reading(times: &[(usize, u64)], rejections: u64) -> Reading {
    let upstreams = vec![UpstreamReading { name: "app".into(), totals: totals(times, rejections) }];
    Reading { owners: Vec::new(), upstreams }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn app() -> Arc<str> {
    "app".into()
}

#[test]
fn rates_are_those_of_the_last_interval() {
    let (mut sight, start) = (Sight::default(), Instant::now());
    sight.observe(&reading(&[(0, 1000)], 5), start);
    assert_eq!(sight.upstream(&app()).rates(), None, "one look tells no rate");
    sight.observe(&reading(&[(0, 1010)], 7), start + seconds(2));
    let rates = sight.upstream(&app()).rates().unwrap();
    assert_eq!((rates.requests, rates.rejections, rates.errors), (5.0, 1.0, 0.0));
    sight.observe(&reading(&[(0, 1010)], 7), start + seconds(3));
    assert_eq!(sight.upstream(&app()).rates(), Some(Rates::default()));
    // It was not there before: everything is new.
    let other: Arc<str> = "other".into();
    let upstreams = vec![UpstreamReading { name: other.clone(), totals: totals(&[(1, 3)], 0) }];
    sight.observe(&Reading { owners: Vec::new(), upstreams }, start + seconds(4));
    assert_eq!(sight.upstream(&other).rates().unwrap().requests, 3.0);
    assert_eq!(sight.upstream(&app()).minute(), (0, 0), "what is gone is forgotten");
}

#[test]
fn the_last_minute_moves_on() {
    let (mut sight, start) = (Sight::default(), Instant::now());
    sight.observe(&reading(&[], 0), start);
    for second in 1..=200 {
        sight.observe(&reading(&[(0, second)], second), start + seconds(second));
    }
    let (requests, rejections) = sight.upstream(&app()).minute();
    assert!((60..=70).contains(&requests), "{requests}");
    assert_eq!(requests, rejections);
    assert_eq!(sight.seen(), WINDOW);
    for second in 201..=280 {
        sight.observe(&reading(&[(0, 200)], 200), start + seconds(second));
    }
    assert_eq!(sight.upstream(&app()).minute(), (0, 0));
    assert_eq!(sight.upstream(&app()).quantiles(), None);
}

#[test]
fn after_a_long_pause_it_begins_anew() {
    let (mut sight, start) = (Sight::default(), Instant::now());
    sight.observe(&reading(&[(0, 1)], 0), start);
    sight.observe(&reading(&[(0, 2)], 0), start + seconds(1));
    let late = start + seconds(62);
    assert_eq!(sight.age(late), None);
    sight.observe(&reading(&[(0, 90)], 0), late);
    assert_eq!((sight.interval(), sight.seen()), (Duration::ZERO, Duration::ZERO));
    assert_eq!(sight.upstream(&app()).minute(), (0, 0));
}

#[test]
fn counters_that_begin_again_do_not_go_below_nothing() {
    let (mut sight, start) = (Sight::default(), Instant::now());
    sight.observe(&reading(&[(0, 1000)], 1000), start);
    sight.observe(&reading(&[(0, 3)], 2), start + seconds(1));
    let rates = sight.upstream(&app()).rates().unwrap();
    assert_eq!((rates.requests, rates.rejections), (3.0, 2.0));
}

#[test]
fn quantiles_are_between_the_bounds_of_their_bucket() {
    let check = |times: &[(usize, u64)], p50: u64, p95: u64| {
        let counts = totals(times, 0).times;
        let found = Quantiles::of(REQUEST, &counts).unwrap();
        let micros = |it: Duration| it.as_micros() as u64;
        assert_eq!((micros(found.p50), micros(found.p95)), (p50, p95), "{times:?}");
    };
    // All below 5 ms.
    check(&[(0, 100)], 2_500, 4_750);
    // Half below 5 ms, half from 5 to 10 ms.
    check(&[(0, 50), (1, 50)], 5_000, 9_500);
    // Longer than everything that is measured.
    check(&[(14, 1)], 10_000_000, 10_000_000);
    assert_eq!(Quantiles::of(REQUEST, &totals(&[], 0).times), None);
    assert_eq!(Quantiles::of(&[], &[]), None);
}
