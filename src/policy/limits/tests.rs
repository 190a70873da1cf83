use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::launch::Launch;
use crate::state::limits::Capacity;
use BucketName::{Ip, Launcher, Share, Tenant};
use Proof::{Signed, Unsigned};

const NOW: Moment = Moment::START;

fn per_minute(count: u32) -> Rate {
    Rate::per_minute(NonZeroU32::new(count).unwrap())
}

fn rules(ip: u32, tenant: u32, launcher: Option<u32>) -> Rules {
    Rules::new(per_minute(ip), per_minute(tenant), launcher.map(per_minute))
}

fn client(number: u32) -> Client {
    Client::V4(number)
}

/// One launch through both stages.
fn try_launch(
    limiter: &Limiter,
    rules: &Rules,
    (tenant, client): (&str, u32),
    (persona, proof): (&str, Proof),
    now: Moment,
) -> Result<Charged, Limited> {
    let visitor = (tenant, Client::V4(client));
    let passed = address(limiter, rules, visitor, Charge::One, now)?;
    launch(passed, rules, (persona, proof), now)
}

/// Which bucket refuses, for each of `visits`: a client's number and a persona.
fn check(rules: Rules, proof: Proof, visits: &[(u32, &str)], expected: &[Option<BucketName>]) {
    let limiter = Limiter::default();
    let refused: Vec<Option<BucketName>> = visits
        .iter()
        .map(|&(client, persona)| {
            let visit = try_launch(&limiter, &rules, ("t", client), (persona, proof), NOW);
            visit.err().map(|limited| limited.bucket)
        })
        .collect();
    assert_eq!(refused, expected);
}

#[test]
fn the_61st_launch_in_a_minute_is_limited_and_names_ip() {
    let (limiter, rules) = (Limiter::default(), Rules::default());
    for number in 1..=60 {
        let visit = try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW);
        assert!(visit.is_ok(), "launch {number}");
    }
    let limited = try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW).unwrap_err();
    assert_eq!((limited.bucket.as_str(), limited.retry_after()), ("ip", 10));
    assert_eq!(
        limited.fields(),
        Fields { policy: r#""ip";q=60;w=60"#.into(), limit: r#""ip";r=0;t=10"#.into() }
    );
}

#[test]
fn an_unsigned_launch_has_a_share_where_the_address_limit_leaves_more_than_a_third() {
    let rate = |count, seconds| {
        Rate::new(NonZeroU32::new(count).unwrap(), Duration::from_secs(seconds)).unwrap()
    };
    for (ip, tenant, share) in [
        ((60, 60), (200, 60), None),
        ((60, 60), (180, 60), None),
        ((60, 60), (179, 60), Some(44)),
        ((200, 60), (200, 60), Some(50)),
        // Few at once, and too many in a minute.
        ((10, 1), (200, 60), Some(50)),
        // Few in an hour, and too many at once.
        ((100, 3600), (200, 60), Some(50)),
        ((60, 3600), (200, 60), None),
    ] {
        let rules = Rules::new(rate(ip.0, ip.1), rate(tenant.0, tenant.1), None);
        assert_eq!(rules.share().map(|rate| rate.count().get()), share, "{ip:?} {tenant:?}");
    }
    // With the defaults the 61st launch is the first that is refused, signed or not.
    let visits = [(1, "p"); 61];
    let mut expected = [None; 61];
    expected[60] = Some(Ip);
    check(Rules::default(), Unsigned, &visits, &expected);
}

#[test]
fn a_launch_meets_its_address_the_tenant_and_the_launcher() {
    let a = (1, "a");
    let b = (1, "b");
    let other = (2, "a");
    check(rules(2, 9, None), Signed, &[a, b, a, other], &[None, None, Some(Ip), None]);
    check(rules(9, 2, None), Signed, &[a, other, b], &[None, None, Some(Tenant)]);
    check(rules(9, 9, Some(1)), Signed, &[a, b, other, a], &[None, None, None, Some(Launcher)]);
    // The share is a quarter of eight, at all unsigned personas together.
    check(rules(9, 8, None), Unsigned, &[a, b, a, other], &[None, None, Some(Share), None]);
    check(rules(9, 8, None), Signed, &[a, b, a, a, a], &[None; 5]);
    // Where several refuse alike, the most particular is named.
    check(rules(9, 4, Some(1)), Unsigned, &[a, a], &[None, Some(Launcher)]);
}

#[test]
fn the_bucket_that_waits_longest_is_named() {
    let hour = Rate::new(NonZeroU32::MIN, Duration::from_secs(3600)).unwrap();
    let limiter = Limiter::default();
    let rules = Rules::new(per_minute(9), hour, Some(per_minute(1)));
    assert!(try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW).is_ok());
    let limited = try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW).unwrap_err();
    assert_eq!((limited.bucket, limited.retry_after()), (Tenant, 3600));
    assert_eq!(limited.fields().policy, r#""tenant";q=1;w=3600"#);
}

#[test]
fn an_answer_tells_the_clients_own_buckets() {
    for (ip, launcher, proof, policy, limit) in [
        (60, None, Signed, r#""ip";q=60;w=60"#, r#""ip";r=59;t=59"#),
        (60, None, Unsigned, r#""ip";q=60;w=60"#, r#""ip";r=59;t=59"#),
        (
            120,
            None,
            Unsigned,
            r#""ip";q=120;w=60, "share";q=50;w=60"#,
            r#""ip";r=119;t=60, "share";r=49;t=59"#,
        ),
        (
            120,
            Some(1),
            Unsigned,
            r#""ip";q=120;w=60, "launcher";q=1;w=60, "share";q=50;w=60"#,
            r#""ip";r=119;t=60, "launcher";r=0;t=60, "share";r=49;t=59"#,
        ),
    ] {
        let limiter = Limiter::default();
        let rules = rules(ip, 200, launcher);
        let charged = try_launch(&limiter, &rules, ("t", 1), ("p", proof), NOW).unwrap();
        let expected = Fields { policy: policy.into(), limit: limit.into() };
        assert_eq!(charged.fields(), Some(expected));
    }
}

#[test]
fn a_failure_after_the_first_stage_stays_charged() {
    let (limiter, rules) = (Limiter::default(), rules(3, 9, None));
    for _ in 0..3 {
        // A wrong signature: the witness is dropped, the last stage never asked.
        drop(address(&limiter, &rules, ("t", client(1)), Charge::One, NOW).unwrap());
    }
    let limited = address(&limiter, &rules, ("t", client(1)), Charge::One, NOW).unwrap_err();
    assert_eq!(limited.bucket, Ip);
    for other in 2..11 {
        assert!(try_launch(&limiter, &rules, ("t", other), ("p", Signed), NOW).is_ok());
    }
}

#[test]
fn a_refused_launch_takes_nothing_from_the_tenant_the_share_or_the_launcher() {
    let (limiter, rules) = (Limiter::default(), rules(100, 8, Some(1)));
    assert!(try_launch(&limiter, &rules, ("t", 1), ("a", Unsigned), NOW).is_ok());
    for _ in 0..50 {
        let refused = try_launch(&limiter, &rules, ("t", 1), ("a", Unsigned), NOW).unwrap_err();
        assert_eq!(refused.bucket, Launcher);
    }
    // Its share of two has one left, and the tenant's eight have seven.
    assert!(try_launch(&limiter, &rules, ("t", 1), ("b", Unsigned), NOW).is_ok());
    let refused = try_launch(&limiter, &rules, ("t", 1), ("c", Unsigned), NOW).unwrap_err();
    assert_eq!(refused.bucket, Share);
    for other in 2..8 {
        assert!(try_launch(&limiter, &rules, ("t", other), ("a", Unsigned), NOW).is_ok());
    }
    let refused = try_launch(&limiter, &rules, ("t", 8), ("a", Unsigned), NOW).unwrap_err();
    assert_eq!(refused.bucket, Tenant);
    // The tenant's refusal left the launcher alone: its rule of one is still whole.
    let later = NOW.plus(Duration::from_secs(10));
    assert!(try_launch(&limiter, &rules, ("t", 8), ("a", Unsigned), later).is_ok());
}

#[test]
fn launches_and_messages_count_once() {
    for kind in [Kind::Launch(Launch::Get), Kind::Launch(Launch::Post), Kind::Message] {
        assert_eq!(counts(kind, Part::First), Charge::One);
        assert_eq!(counts(kind, Part::Continuation), Charge::Nothing);
    }
    assert_eq!(counts(Kind::Other, Part::First), Charge::Nothing);
}

#[test]
fn what_does_not_count_passes_used_up_limits_and_says_nothing() {
    let (limiter, rules) = (Limiter::default(), rules(1, 4, None));
    assert!(try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW).is_ok());
    for _ in 0..100 {
        let visitor = ("t", client(1));
        let passed = address(&limiter, &rules, visitor, Charge::Nothing, NOW).unwrap();
        let charged = launch(passed, &rules, ("p", Unsigned), NOW).unwrap();
        assert_eq!(charged.fields(), None);
    }
}

#[test]
fn what_pages_tell_and_what_they_launch_do_not_limit_each_other() {
    let (limiter, rules) = (Limiter::default(), rules(2, 9, None));
    let tells = |client| beacon(&limiter, &rules, ("acme", client), Moment::START);
    for refused in [false, false, true] {
        assert_eq!(
            tells(client(1)).map_err(|limited| limited.bucket),
            match refused {
                true => Err(BucketName::Beacon),
                false => Ok(()),
            }
        );
    }
    assert_eq!(tells(client(2)), Ok(()));
    for refused in [false, false, true] {
        let passed = address(&limiter, &rules, ("acme", client(1)), Charge::One, Moment::START);
        assert_eq!(passed.is_err(), refused);
    }
    let used = limiter.used("acme", rules.tenant(), Moment::START);
    assert!(used.abs() < f64::EPSILON, "the tenant's launches are untouched: {used}");
}

#[test]
fn a_continuation_gives_its_permit_back() {
    let (limiter, rules) = (Limiter::default(), rules(2, 4, None));
    assert!(try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW).is_ok());
    for _ in 0..10 {
        let passed = address(&limiter, &rules, ("t", client(1)), Charge::One, NOW).unwrap();
        assert_eq!(continuation(passed, &rules, NOW).fields(), None);
    }
    assert!(try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW).is_ok());
    assert!(try_launch(&limiter, &rules, ("t", 1), ("p", Signed), NOW).is_err());
}

#[test]
fn an_address_is_what_one_subscriber_has() {
    let same = [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
    ];
    let different = [
        ("192.0.2.7", "192.0.2.8"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        // An IPv6 prefix whose number is that of an IPv4 address.
        ("0.0.0.5", "0:0:0:5::1"),
        // NAT64 and 6to4 name an IPv4 address but are not one.
        ("192.0.2.7", "64:ff9b::192.0.2.7"),
    ];
    let of = |text: &str| Client::of(text.parse().unwrap());
    for (one, other) in same {
        assert_eq!(of(one), of(other), "{one} {other}");
    }
    for (one, other) in different {
        assert_ne!(of(one), of(other), "{one} {other}");
    }
}

#[test]
fn a_reload_keeps_what_was_used() {
    let limiter = Limiter::default();
    limiter.follow(["a", "b"]);
    let used = |limiter: &Limiter, rules: &Rules, tenant| {
        let visit = try_launch(limiter, rules, (tenant, 1), ("p", Signed), NOW);
        visit.map(|charged| charged.standings().next().unwrap().remaining)
    };
    for _ in 0..40 {
        used(&limiter, &Rules::default(), "a").unwrap();
    }
    limiter.follow(["c", "a"]);
    assert_eq!(used(&limiter, &Rules::default(), "a"), Ok(19));
    // 41 of 60 used leave 9 of 30, and the tenant's 200 have become 400.
    assert_eq!(used(&limiter, &rules(30, 400, None), "a"), Ok(8));
    assert_eq!(used(&limiter, &Rules::default(), "c"), Ok(59));
}

/// Who comes when, in milliseconds after the one before.
type Visit = (u32, bool, u64);

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    prop::collection::vec((0_u32..6, any::<bool>(), 0_u64..4_000), 1..150)
}

proptest! {
    #[test]
    fn one_tenants_traffic_never_changes_anothers_decisions(
        visits in visits(),
        flood in prop::collection::vec(0_u32..2_000, 1..150),
    ) {
        let rules = rules(5, 12, Some(3));
        let crowded = Limiter::new(Capacity { overall: 512, per_tenant: 256 });
        let quiet = Limiter::new(Capacity { overall: 512, per_tenant: 256 });
        for limiter in [&crowded, &quiet] {
            limiter.follow(["a", "b"]);
        }
        let mut now = NOW;
        for (index, &(who, signed, gap)) in visits.iter().enumerate() {
            now = now.plus(Duration::from_millis(gap));
            for &stranger in flood.iter().cycle().skip(index * 7).take(20) {
                let _ = try_launch(&crowded, &rules, ("a", stranger), ("p", Unsigned), now);
            }
            let proof = if signed { Signed } else { Unsigned };
            let one = try_launch(&crowded, &rules, ("b", who), ("p", proof), now);
            let other = try_launch(&quiet, &rules, ("b", who), ("p", proof), now);
            prop_assert_eq!(one, other);
        }
    }

    /// Against a model of separate buckets, which writes all of them or none.
    #[test]
    fn a_launch_is_charged_to_all_of_its_buckets_or_to_its_address_alone(visits in visits()) {
        let rules = rules(9, 16, Some(3));
        let limiter = Limiter::default();
        let mut model: HashMap<(BucketName, u32), Bucket> = HashMap::new();
        let mut now = NOW;
        for (who, signed, gap) in visits {
            now = now.plus(Duration::from_millis(gap));
            let mut asked = vec![(Tenant, 0, rules.tenant()), (Launcher, who, per_minute(3))];
            asked.extend(rules.share().filter(|_| !signed).map(|rate| (Share, who, rate)));
            let ip = model.entry((Ip, who)).or_default();
            let address_passes = ip.take(rules.ip(), now).map(|taken| *ip = taken.bucket).is_ok();
            let take = |&(name, of, rate): &(BucketName, u32, Rate)| {
                let bucket = model.get(&(name, of)).copied().unwrap_or_default();
                bucket.take(rate, now).map(|taken| ((name, of), taken.bucket))
            };
            let taken: Result<Vec<_>, Wait> = asked.iter().map(take).collect();
            let admitted = address_passes && taken.is_ok();
            if admitted {
                model.extend(taken.into_iter().flatten());
            }
            let proof = if signed { Signed } else { Unsigned };
            let visit = try_launch(&limiter, &rules, ("t", who), ("p", proof), now);
            prop_assert_eq!(visit.is_ok(), admitted, "{:?}", visit);
        }
    }
}
