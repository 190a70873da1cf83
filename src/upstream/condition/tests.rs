use proptest::prelude::*;

use super::Failed::{Unanswered, Unreached};
use super::*;

const HEALTH: HealthPolicy = HealthPolicy {
    path: None,
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(2),
    healthy_threshold: 2,
    unhealthy_threshold: 3,
};
const EJECTION: EjectionPolicy = EjectionPolicy {
    consecutive_failures: 3,
    base_time: Duration::from_secs(10),
    max_time: Duration::from_secs(60),
    max_percent: 50,
};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn is_used(condition: &Condition, now: Instant) -> bool {
    condition.weight(Duration::ZERO, now) > 0
}

/// One letter a check: `+` good, `-` bad; the answer has `u` where the server is used after it.
fn check(checks: &str, expected: &str) {
    let now = Instant::now();
    let mut condition = Condition::new(None);
    let mut seen = String::new();
    for letter in checks.chars() {
        condition.checked(letter == '+', &HEALTH, now);
        seen.push(if is_used(&condition, now) { 'u' } else { '.' });
    }
    assert_eq!(seen, expected, "{checks}");
}

#[test]
fn the_first_check_decides_and_later_ones_need_their_thresholds() {
    check("", "");
    check("-", ".");
    check("+", "u");
    check("+--+--+", "uuuuuuu");
    check("+---", "uuu.");
    check("-+", "..");
    check("-++", "..u");
    check("-+-++", "....u");
    check("+---+-++-", "uuu....uu");
}

#[test]
fn failures_in_a_row_take_a_server_out_and_a_success_between_them_does_not() {
    let now = Instant::now();
    let mut condition = Condition::new(None);
    for _ in 0..2 {
        condition.failed(Unanswered, &EJECTION, true, now);
    }
    condition.succeeded();
    assert!(!condition.is_troubled());
    for failures in 1..=3 {
        assert!(is_used(&condition, now), "after {} failures", failures - 1);
        condition.failed(Unanswered, &EJECTION, true, now);
    }
    assert!(!is_used(&condition, now));
    assert_eq!(condition.state(Duration::ZERO, now), State::Ejected);
}

#[test]
fn failures_far_apart_do_not_add_up() {
    let start = Instant::now();
    let mut condition = Condition::new(None);
    for failure in 0..10 {
        let now = start + seconds(61 * failure);
        condition.failed(Unanswered, &EJECTION, true, now);
        assert!(is_used(&condition, now));
    }
}

#[test]
fn each_ejection_is_longer_until_a_success() {
    let mut now = Instant::now();
    let mut condition = Condition::new(None);
    (0..3).for_each(|_| condition.failed(Unanswered, &EJECTION, true, now));
    for lasts in [10, 20, 40, 60, 60] {
        assert!(!is_used(&condition, now + seconds(lasts) - Duration::from_millis(1)));
        now += seconds(lasts);
        condition.tick(now);
        assert!(is_used(&condition, now), "after {lasts} s");
        // On probation, for as long as it takes: one failure is enough.
        now += seconds(100);
        condition.failed(Unanswered, &EJECTION, true, now);
    }
    condition.tick(now + seconds(60));
    condition.succeeded();
    condition.failed(Unanswered, &EJECTION, true, now + seconds(61));
    assert!(is_used(&condition, now + seconds(61)));
}

#[test]
fn nobody_is_ejected_where_no_more_may_be_or_where_it_is_switched_off() {
    let now = Instant::now();
    let off = EjectionPolicy { consecutive_failures: 0, ..EJECTION };
    for (policy, may) in [(&EJECTION, false), (&off, true)] {
        let mut condition = Condition::new(None);
        (0..20).for_each(|_| condition.failed(Unanswered, policy, may, now));
        assert!(is_used(&condition, now));
    }
}

#[test]
fn checks_that_find_a_server_well_again_end_its_ejection() {
    let now = Instant::now();
    let mut condition = Condition::new(None);
    (0..3).for_each(|_| condition.failed(Unanswered, &EJECTION, true, now));
    condition.checked(true, &HEALTH, now);
    assert!(!is_used(&condition, now), "it was never ill for checks: they see less than requests");
    (0..3).for_each(|_| condition.checked(false, &HEALTH, now));
    (0..2).for_each(|_| condition.checked(true, &HEALTH, now));
    assert!(is_used(&condition, now));
}

#[test]
fn good_checks_end_an_ejection_for_what_they_would_have_seen() {
    let now = Instant::now();
    let check = |failures: [Failed; 3], expected| {
        let mut condition = Condition::new(None);
        failures.into_iter().for_each(|how| condition.failed(how, &EJECTION, true, now));
        condition.checked(true, &HEALTH, now);
        condition.checked(false, &HEALTH, now);
        condition.checked(true, &HEALTH, now);
        assert!(!is_used(&condition, now), "{failures:?}: one good check proves nothing");
        condition.checked(true, &HEALTH, now);
        assert_eq!(is_used(&condition, now), expected, "{failures:?}");
    };
    check([Unreached; 3], true);
    check([Unreached, Unanswered, Unreached], false);
}

#[test]
fn a_server_that_comes_back_grows_into_its_share() {
    let start = Instant::now();
    let slow = seconds(100);
    let mut condition = Condition::new(None);
    assert_eq!(condition.weight(slow, start), FULL, "it was there from the start");
    condition.checked(false, &HEALTH, start);
    (0..2).for_each(|_| condition.checked(true, &HEALTH, start));
    for (age, weight) in [(0, 10), (5, 10), (30, 30), (99, 99), (100, 100), (1000, 100)] {
        assert_eq!(condition.weight(slow, start + seconds(age)), weight, "after {age} s");
    }
    assert_eq!(condition.state(slow, start), State::SlowStart);
    assert_eq!(Condition::new(Some(start)).weight(slow, start), 10, "so does one that joins");
}

#[test]
fn a_server_that_nobody_checks_any_more_is_used() {
    let now = Instant::now();
    let mut condition = Condition::new(None);
    condition.checked(false, &HEALTH, now);
    condition.unchecked();
    assert!(is_used(&condition, now));
}

proptest! {
    #[test]
    fn whatever_happens_a_server_comes_back_once_it_does_well(
        events in prop::collection::vec((0u8..5, 0u64..30_000), 0..60),
    ) {
        let mut now = Instant::now();
        let mut condition = Condition::new(None);
        for (event, after) in events {
            now += Duration::from_millis(after);
            match event {
                0 => condition.checked(true, &HEALTH, now),
                1 => condition.checked(false, &HEALTH, now),
                2 => condition.failed(Unanswered, &EJECTION, true, now),
                3 => condition.succeeded(),
                _ => condition.tick(now),
            }
            prop_assert!(condition.weight(seconds(7), now) <= FULL);
        }
        now += EJECTION.max_time;
        condition.tick(now);
        (0..HEALTH.healthy_threshold).for_each(|_| condition.checked(true, &HEALTH, now));
        prop_assert!(is_used(&condition, now));
        prop_assert_eq!(condition.weight(seconds(7), now + seconds(7)), FULL);
    }
}
