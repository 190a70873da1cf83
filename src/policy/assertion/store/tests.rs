use proptest::prelude::*;

use super::*;
use crate::config::snapshot::Mode;
use crate::policy::assertion::{AssertionKey, DEFAULT_TTL, verify};
use crate::policy::identity::State;
use crate::policy::metadata::{Assurance, Direction};
use crate::policy::secret::Secret;

const NOW: UnixSeconds = UnixSeconds(1_763_683_200);
const PLACE: Place<'static> = Place { tenant: "jasser", persona: "customer" };

fn policy(key: u8) -> AssertionPolicy {
    let key = AssertionKey::hs256(&Secret::new([key; 32]).unwrap()).unwrap();
    AssertionPolicy {
        key: key.into(),
        issuer: "vestibule".into(),
        audience: "jasser/customer".into(),
        ttl: DEFAULT_TTL,
    }
}

fn customer() -> Identity {
    Identity { user_id: Some("12345".into()), ..Identity::anonymous(Mode::Customer, None) }
}

fn session(number: u64) -> SessionHash {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    SessionHash::of(&id)
}

#[test]
fn an_assertion_is_kept_for_half_of_its_life() {
    let policy = policy(1);
    for session in [None, Some(session(1))] {
        let mut store = AssertionStore::default();
        let mut minted = |seconds: i64| {
            let now = UnixSeconds(NOW.0.checked_add_signed(seconds).unwrap());
            let token = store.get(&policy, PLACE, &customer(), session.as_ref(), now);
            verify(&policy, &token, now).unwrap().iat as i64 - NOW.0 as i64
        };
        assert_eq!(minted(0), 0);
        assert_eq!(minted(30), 0);
        assert_eq!(minted(31), 31);
        assert_eq!(minted(30), 30, "the clock was set back");
        assert_eq!(minted(61), 61);
        assert_eq!(minted(91), 61);
    }
}

#[test]
fn nobody_is_answered_with_what_was_said_of_somebody_else() {
    let first = policy(1);
    let (one, two) = (session(1), session(2));
    let mut later = policy(1);
    later.ttl = Duration::from_secs(600);
    let mut elsewhere = policy(1);
    elsewhere.issuer = "other".into();
    let mut audience = policy(1);
    audience.audience = "jasser/employee".into();
    let somebody = Identity { user_id: Some("6".into()), ..customer() };
    let awaited = Identity { state: State::Awaiting, ..customer() };
    let proven = Identity { assurance: Assurance::Signed, ..customer() };
    let kiosk = Identity { device: Some("lobby".into()), ..customer() };
    let tester = Identity { mode: Mode::Test, ..customer() };
    let persona = Place { persona: "employee", ..PLACE };
    let asked: [(&AssertionPolicy, Place<'_>, &Identity, Option<&SessionHash>); 13] = [
        (&first, PLACE, &customer(), Some(&one)),
        (&first, PLACE, &customer(), Some(&two)),
        (&first, PLACE, &customer(), None),
        (&policy(2), PLACE, &customer(), Some(&one)),
        (&later, PLACE, &customer(), Some(&one)),
        (&elsewhere, PLACE, &customer(), Some(&one)),
        (&audience, PLACE, &customer(), Some(&one)),
        (&first, persona, &customer(), Some(&one)),
        (&first, PLACE, &somebody, Some(&one)),
        (&first, PLACE, &awaited, None),
        (&first, PLACE, &proven, None),
        (&first, PLACE, &kiosk, None),
        (&first, PLACE, &tester, None),
    ];
    let mut store = AssertionStore::default();
    let mut seen: Vec<Arc<str>> = Vec::new();
    for (policy, place, identity, session) in asked {
        let token = store.get(policy, place, identity, session, NOW);
        assert!(!seen.contains(&token), "{identity:?} {session:?}");
        assert!(verify(policy, &token, NOW).is_some());
        seen.push(token);
    }
}

#[test]
fn a_few_sessions_share_the_store_and_a_crowd_does_not_grow_it() {
    let policy = policy(1);
    let mut store = AssertionStore::default();
    let mut fill = |sessions: std::ops::Range<u64>| {
        let mut get = |number| store.get(&policy, PLACE, &customer(), Some(&session(number)), NOW);
        let first: Vec<_> = sessions.clone().map(&mut get).collect();
        let kept = sessions.zip(first).filter(|(at, token)| Arc::ptr_eq(token, &get(*at)));
        kept.count()
    };
    // Places are left to chance: of 200 sessions in 512 sets some 15 meet two others in theirs.
    let few = fill(0..200);
    assert!(few > 120, "{few}");
    fill(200..5_000);
    let kept = store.places.iter().flatten().count();
    assert!(kept > 900 && kept <= 1024, "{kept}");
    let bytes: usize = store.places.iter().flatten().map(|kept| kept.token.len()).sum();
    let bytes = bytes + SETS * WAYS * (size_of::<Kept>() + 64);
    assert!(bytes < 1024 * 1024, "{bytes}");
}

#[test]
fn what_would_fill_the_store_is_not_kept() {
    let mut policy = policy(1);
    policy.audience = "a".repeat(LONGEST_KEPT).into();
    let mut store = AssertionStore::default();
    let token = store.get(&policy, PLACE, &customer(), Some(&session(1)), NOW);
    assert!(verify(&policy, &token, NOW).is_some());
    assert_eq!(store.places.iter().flatten().count(), 0);
}

#[test]
fn assertions_are_not_printed() {
    let mut store = AssertionStore::default();
    store.get(&policy(1), PLACE, &customer(), None, NOW);
    assert_eq!(format!("{store:?}"), "AssertionStore { kept: 1, .. }");
}

/// Any of them, and any at any session: more than can happen.
fn identities() -> impl Strategy<Value = Identity> {
    let device = proptest::option::of("[ab]".prop_map(Box::from));
    let user_id = proptest::option::of("[12]".prop_map(Box::from));
    let mode = prop_oneof![Just(Mode::Public), Just(Mode::Customer)];
    let direction = prop_oneof![Just(None), Just(Some(Direction::Rtl))];
    let assurance = prop_oneof![Just(Assurance::Asserted), Just(Assurance::Signed)];
    let state = prop_oneof![Just(State::Complete), Just(State::Awaiting)];
    (device, mode, user_id, direction, assurance, state).prop_map(
        |(device, mode, user_id, direction, assurance, state)| Identity {
            device,
            mode,
            user_id,
            direction,
            assurance,
            state,
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_asked_in_whatever_order_is_answered_of_the_asked(
        asked in proptest::collection::vec(
            (1..3u8, 0..2usize, 0..2usize, identities(), proptest::option::of(0..3u64), -40..40i64, 1..120u64),
            1..60,
        ),
    ) {
        let mut store = AssertionStore::default();
        let mut now = NOW;
        for (key, audience, place, identity, number, seconds, ttl) in asked {
            let mut policy = policy(key);
            policy.audience = ["jasser/customer", "other"][audience].into();
            policy.ttl = Duration::from_secs(if ttl > 60 { 60 } else { ttl });
            let place = Place { persona: ["customer", "employee"][place], ..PLACE };
            let hash = number.map(session);
            now = UnixSeconds(now.0.saturating_add_signed(seconds));

            let token = store.get(&policy, place, &identity, hash.as_ref(), now);
            let given = verify(&policy, &token, now);
            prop_assert!(given.is_some(), "it does not verify");
            let mut given = given.unwrap();
            prop_assert!(given.iat <= now.0);
            prop_assert!(given.exp - now.0 >= policy.ttl.as_secs() / 2);
            let fresh = mint(&policy, place, &identity, hash.as_ref(), now);
            let fresh = verify(&policy, &fresh, now).unwrap();
            (given.iat, given.exp) = (fresh.iat, fresh.exp);
            prop_assert_eq!(given, fresh);
        }
    }
}
