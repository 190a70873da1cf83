use std::num::NonZeroU32;

use super::*;

const FEW: Capacity = Capacity { overall: 2_000, per_tenant: 1_000 };

fn per_minute(count: u32) -> Rate {
    Rate::new(NonZeroU32::new(count).unwrap(), Duration::from_secs(60)).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::since_epoch(Duration::from_secs(seconds))
}

/// One use of an address's bucket; does it pass?
fn passes(limiter: &Limiter, tenant: &str, address: u32, rate: Rate, now: Moment) -> bool {
    let buckets = limiter.tenant(tenant);
    let key = buckets.key(Client::V4(address), Scope::Ip);
    let mut held = buckets.lock();
    match held.read(key).take(rate, now) {
        Ok(taken) => {
            held.write(key, taken.bucket, rate, now);
            true
        }
        Err(_) => false,
    }
}

#[test]
fn keys_never_exceed_the_cap_however_many_addresses_come() {
    let limiter = Limiter::new(FEW);
    limiter.follow(["a", "b", "c"]);
    for address in 0..100_000 {
        passes(&limiter, "a", address, per_minute(60), at(10));
        passes(&limiter, "b", address, per_minute(60), at(10));
    }
    assert_eq!(limiter.keys(), 2 * 666);
    let buckets = limiter.tenant("a");
    assert!(buckets.lock().keys.capacity() < 1_024);
    assert_eq!(buckets.lock().shared.len(), 4 * SHARED);
}

#[test]
fn a_flood_evicts_nobody_who_is_limited() {
    let limiter = Limiter::new(FEW);
    limiter.follow(["a"]);
    let rate = per_minute(2);
    assert!(passes(&limiter, "a", 7, rate, at(10)) && passes(&limiter, "a", 7, rate, at(10)));
    for address in 100..50_000 {
        passes(&limiter, "a", address, rate, at(12));
    }
    assert!(!passes(&limiter, "a", 7, rate, at(13)));
}

#[test]
fn refilled_buckets_make_room_at_the_cap() {
    let limiter = Limiter::new(FEW);
    limiter.follow(["a"]);
    let rate = per_minute(60);
    for address in 0..1_000 {
        passes(&limiter, "a", address, rate, at(10));
    }
    assert_eq!(limiter.keys(), 1_000);
    // One use of 60/min returns after a portion's time, ten seconds, and is surely gone at twenty.
    passes(&limiter, "a", 5_000, rate, at(15));
    assert_eq!(limiter.keys(), 1_000);
    passes(&limiter, "a", 5_000, rate, at(30));
    assert_eq!(limiter.keys(), 1);
}

#[test]
fn a_stranger_at_the_cap_gets_no_more_than_its_rule_and_finds_a_place_among_others() {
    let limiter = Limiter::new(FEW);
    limiter.follow(["a"]);
    let rate = per_minute(4);
    for address in 0..1_000 {
        passes(&limiter, "a", address, rate, at(10));
    }
    let stranger = 1_000_000;
    let passed = (0..20).filter(|_| passes(&limiter, "a", stranger, rate, at(11))).count();
    assert_eq!(passed, 4);
    // 512 strangers do not all meet in one bucket.
    let passed = (1..=512).filter(|n| passes(&limiter, "a", stranger + n, rate, at(11))).count();
    assert!(passed > 450, "{passed}");
    // Whoever used a shared bucket up does not start afresh when there is room again.
    limiter.tenant("a").lock().keys.clear();
    assert!(!passes(&limiter, "a", stranger, rate, at(12)));
}

#[test]
fn a_flood_at_one_tenant_leaves_anothers_keys_alone() {
    let limiter = Limiter::new(FEW);
    limiter.follow(["a", "b"]);
    for address in 0..300 {
        assert!(passes(&limiter, "b", address, per_minute(1), at(10)));
    }
    for address in 0..50_000 {
        passes(&limiter, "a", address, per_minute(1), at(10));
    }
    for address in 0..300 {
        assert!(!passes(&limiter, "b", address, per_minute(1), at(11)), "it is remembered");
    }
    for address in 300..1_000 {
        assert!(passes(&limiter, "b", address, per_minute(1), at(11)), "there is room");
    }
    assert!(limiter.tenant("b").lock().shared.is_empty());
}

#[test]
fn the_keys_are_divided_among_the_tenants_of_the_configuration() {
    for (capacity, tenants, each) in [
        (FEW, 1, 1_000),
        (FEW, 2, 1_000),
        (FEW, 4, 500),
        (FEW, 1_000, FEWEST_KEYS),
        (Capacity { overall: 10, per_tenant: 10 }, 5, 10),
        (Capacity::default(), 16, 114_688),
    ] {
        assert_eq!(capacity.of_each(tenants), each, "{capacity:?} {tenants}");
    }
}

#[test]
fn a_reload_forgets_tenants_that_are_gone_and_keeps_the_others() {
    let limiter = Limiter::new(FEW);
    limiter.follow(["a", "b"]);
    assert!(passes(&limiter, "a", 1, per_minute(1), at(10)));
    assert!(passes(&limiter, "b", 1, per_minute(1), at(10)));
    limiter.follow(["a", "c"]);
    assert!(!passes(&limiter, "a", 1, per_minute(1), at(10)));
    assert_eq!(limiter.keys(), 1);
    // A request that still holds the old snapshot may bring a tenant back until the next reload.
    assert!(passes(&limiter, "b", 1, per_minute(1), at(10)));
    limiter.follow(["a"]);
    assert_eq!(limiter.keys(), 1);
}

#[test]
fn personas_scopes_and_families_have_buckets_of_their_own() {
    let buckets = TenantBuckets::new(10);
    let keys = [
        buckets.key(Client::V4(5), Scope::Ip),
        buckets.key(Client::V6(5), Scope::Ip),
        buckets.key(Client::V4(5), Scope::Share),
        buckets.key(Client::V4(5), Scope::Launcher("a")),
        buckets.key(Client::V4(5), Scope::Launcher("b")),
        buckets.key(Client::V4(6), Scope::Launcher("b")),
    ];
    for (index, one) in keys.iter().enumerate() {
        assert!(keys[index + 1..].iter().all(|other| other != one));
        assert!(one.row() < 3);
    }
    assert_eq!(size_of::<(Key, Bucket)>(), 32);
}

#[test]
fn tidying_gives_memory_back() {
    let limiter = Limiter::default();
    limiter.follow(["a"]);
    for address in 0..120_000 {
        passes(&limiter, "a", address, per_minute(60), at(10));
    }
    limiter.tidy(at(11));
    let buckets = limiter.tenant("a");
    assert_eq!(buckets.lock().keys.len(), 114_688);
    assert!(!buckets.lock().shared.is_empty());
    limiter.tidy(at(200));
    assert_eq!((limiter.keys(), buckets.lock().keys.capacity()), (0, 0));
    assert!(buckets.lock().shared.is_empty());
}

#[test]
fn workers_together_never_let_more_through_than_the_rule() {
    let limiter = Limiter::default();
    let count = |_| (0..500).filter(|_| passes(&limiter, "a", 1, per_minute(300), at(10))).count();
    let passed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|worker| scope.spawn(move || count(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(passed, 300);
}

#[test]
fn forms_of_a_tenant_share_its_memory_and_give_it_back() {
    let limiter = Limiter::default();
    limiter.follow(["acme", "globex"]);
    let form = |tenant: &str| FormMemory::of(&limiter.tenant(tenant));
    let mut first = form("acme");
    assert!(first.take(FORMS - 10));
    let mut second = form("acme");
    assert!(second.take(10));
    assert!(!second.take(1));
    assert!(form("globex").take(FORMS), "another tenant's");
    drop(first);
    assert!(second.take(1));
    drop(second);
    assert!(form("acme").take(FORMS));
}
