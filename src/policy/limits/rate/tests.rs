use super::*;
use proptest::prelude::*;

fn rate(count: u32, seconds: u64) -> Rate {
    Rate::new(NonZeroU32::new(count).unwrap(), Duration::from_secs(seconds)).unwrap()
}

fn at(milliseconds: u64) -> Moment {
    Moment::since_epoch(Duration::from_millis(milliseconds))
}

/// Times (in ms) of uses, and which of them pass: `+` or `-`.
fn check(rate: Rate, times: impl IntoIterator<Item = u64>, expected: &str) {
    let mut bucket = Bucket::default();
    let decisions: String = times
        .into_iter()
        .map(|time| match bucket.take(rate, at(time)) {
            Ok(taken) => {
                bucket = taken.bucket;
                '+'
            }
            Err(_) => '-',
        })
        .collect();
    assert_eq!(decisions, expected);
}

#[test]
fn a_burst_passes_whole_and_nothing_after_it() {
    check(rate(3, 60), [5, 5, 5, 5, 5], "+++--");
    // However slowly it arrives within a portion's time.
    check(rate(60, 60), (0..61).map(|n| n * 160), &("+".repeat(60) + "-"));
}

#[test]
fn used_permits_return_in_portions() {
    check(rate(6, 60), [0, 0, 0, 0, 0, 0, 9_999, 10_000, 10_000, 20_001], "++++++-+-+");
    // Fewer a period than portions: the next portion that completes one.
    check(rate(2, 60), [0, 0, 29_999, 30_000, 30_000, 60_000], "++-+-+");
}

#[test]
fn portions_are_counted_from_the_first_use_of_an_empty_bucket() {
    check(rate(6, 60), [7_777, 7_777, 7_777, 7_777, 7_777, 7_777, 17_776, 17_777], "++++++-+");
}

#[test]
fn an_even_pace_is_never_limited() {
    check(rate(60, 60), (0..600).map(|n| n * 1_000), &"+".repeat(600));
    check(rate(7, 60), (0..70).map(|n| n * 8_572), &"+".repeat(70));
}

#[test]
fn a_refusal_says_when_to_come_back_and_means_it() {
    let rate = rate(60, 60);
    let mut bucket = Bucket::default();
    let mut last = None;
    for _ in 0..60 {
        let taken = bucket.take(rate, at(500)).unwrap();
        bucket = taken.bucket;
        last = Some(taken);
    }
    assert_eq!(last.map(|taken| (taken.remaining, taken.next.seconds())), Some((0, 10)));
    assert_eq!(bucket.take(rate, at(3_600)).unwrap_err().seconds(), 7);
    assert!(bucket.take(rate, at(10_499)).is_err());
    assert_eq!(bucket.take(rate, at(10_500)).unwrap().remaining, 9);
}

#[test]
fn a_changed_rule_keeps_the_used_part_of_the_period() {
    let mut bucket = Bucket::default();
    for _ in 0..30 {
        bucket = bucket.take(rate(60, 60), at(0)).unwrap().bucket;
    }
    assert_eq!(bucket.take(rate(60, 60), at(1)).unwrap().remaining, 29);
    assert_eq!(bucket.take(rate(30, 60), at(1)).unwrap().remaining, 14);
    assert_eq!(bucket.take(rate(120, 60), at(1)).unwrap().remaining, 59);
    assert_eq!(bucket.take(rate(600, 600), at(1)).unwrap().remaining, 569);
}

#[test]
fn nobody_waits_longer_than_a_shortened_period() {
    let mut bucket = Bucket::default();
    for _ in 0..60 {
        bucket = bucket.take(rate(60, 3600), at(0)).unwrap().bucket;
    }
    assert_eq!(bucket.take(rate(60, 3600), at(1)).unwrap_err().seconds(), 600);
    assert_eq!(bucket.take(rate(60, 60), at(1)).unwrap_err().seconds(), 10);
}

#[test]
fn a_use_can_be_given_back() {
    let rate = rate(2, 60);
    let one = Bucket::default().take(rate, at(0)).unwrap().bucket;
    let two = one.take(rate, at(0)).unwrap().bucket;
    assert!(two.take(rate, at(0)).is_err());
    assert_eq!(two.give_back(rate).take(rate, at(0)).unwrap().bucket, two);
    // Never more than was there.
    assert_eq!(Bucket::default().give_back(rate).take(rate, at(0)).unwrap().remaining, 1);
}

#[test]
fn only_rates_that_can_be_kept_exist() {
    let new = |count, period| Rate::new(NonZeroU32::new(count).unwrap(), period).map(|_| ());
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(new(1, Duration::ZERO), Err(RateError::Period));
    assert_eq!(new(1, 32 * day), Err(RateError::Period));
    assert_eq!(new(1, 31 * day), Ok(()));
    assert_eq!(new(1_000_000, Duration::from_secs(1)), Ok(()));
    assert_eq!(new(1_000_001, Duration::from_secs(1)), Ok(()), "rounded up to a microsecond");
    assert_eq!(new(2_000_000, Duration::from_secs(1)), Err(RateError::Count));
    assert_eq!(new(u32::MAX, 31 * day), Ok(()));
}

#[test]
fn a_quarter_is_at_least_one() {
    for (count, quarter) in [(200, 50), (7, 1), (4, 1), (3, 1), (1, 1)] {
        assert_eq!(rate(count, 60).quarter().count().get(), quarter, "of {count}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_pattern_of_arrivals_gets_more_than_count_and_burst_in_a_period(
        count in 1_u32..40,
        seconds in 1_u64..90,
        gaps in prop::collection::vec(prop_oneof![Just(0), 0_u64..200, 0_u64..20_000], 1..300),
    ) {
        let rate = rate(count, seconds);
        let (mut bucket, mut now, mut passed) = (Bucket::default(), 0, Vec::new());
        for gap in gaps {
            now += gap;
            if let Ok(taken) = bucket.take(rate, at(now)) {
                bucket = taken.bucket;
                passed.push(now);
                prop_assert!(taken.remaining < count);
            }
        }
        for (index, start) in passed.iter().enumerate() {
            let within = |end: u64| passed[index..].iter().take_while(|time| **time < end).count();
            prop_assert!(within(start + seconds * 1_000) <= 2 * count as usize);
            prop_assert!(within(start + seconds * 1_000 / u64::from(REFILLS)) <= 2 * count as usize);
        }
    }

    #[test]
    fn after_the_wait_one_passes_and_before_it_none(
        count in 1_u32..40,
        seconds in 1_u64..90,
        gaps in prop::collection::vec(0_u64..3_000, 1..200),
    ) {
        let rate = rate(count, seconds);
        let (mut bucket, mut now) = (Bucket::default(), Moment::default());
        for gap in gaps {
            now = now.plus(Duration::from_millis(gap));
            match bucket.take(rate, now) {
                Ok(taken) => bucket = taken.bucket,
                Err(Wait(wait)) => {
                    prop_assert!(wait > 0);
                    prop_assert!(bucket.take(rate, Moment(now.0 + wait - 1)).is_err());
                    prop_assert!(bucket.take(rate, Moment(now.0 + wait)).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_decision_never_panics(
        bucket in any::<(u64, u64)>(),
        count in 1_u32..=u32::MAX,
        period in 1_u64..=3_000_000_000_000_000,
        now in any::<u64>(),
    ) {
        let period = Duration::from_nanos(period);
        if let Ok(rate) = Rate::new(NonZeroU32::new(count).unwrap(), period) {
            let bucket = Bucket { stepped: bucket.0, arrival: bucket.1 };
            let _ = bucket.take(rate, Moment(now)).map(|taken| taken.bucket.give_back(rate));
        }
    }
}
