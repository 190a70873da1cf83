use super::*;
use crate::policy::injection::{self, InjectionPolicy};
use crate::policy::query::Pair;
use crate::policy::session::SessionId;
use crate::policy::variables::{self, Source, Variable, VariablesPolicy};

const NOW: UnixSeconds = UnixSeconds(1_000);
const LATER: UnixSeconds = UnixSeconds(2_000);

fn hash(number: u8) -> SessionHash {
    SessionId([number; 16]).hash()
}

fn sales() -> Arc<str> {
    "sales".into()
}

fn plan(value: &str) -> Launched {
    let policy = VariablesPolicy::new(Variable::new("plan", Source::Query, 100_000));
    let pair = Pair { name: "plan".into(), value: value.into() };
    Launched {
        variables: variables::decide(&policy, [pair], []).unwrap(),
        injection: Default::default(),
    }
}

fn parked(sessions: usize, bytes: usize) -> Parked {
    let parked = Parked::new(Capacity { sessions, bytes });
    parked.follow(["shop", "other"]);
    parked
}

fn park(to: &Parked, number: u8, value: &str, until: UnixSeconds) -> Result<(), Full> {
    to.park("shop", (&sales(), hash(number)), plan(value), NOW, until)
}

fn plan_of(of: &Parked, number: u8, now: UnixSeconds) -> Option<String> {
    let launched = of.get("shop", "sales", &hash(number), now)?;
    Some(launched.variables.iter().map(|(_, value)| value.to_owned()).collect())
}

#[test]
fn an_app_gets_what_its_session_was_launched_with_until_it_ends() {
    let parked = parked(10, 10_000);
    park(&parked, 1, "gold", LATER).unwrap();
    park(&parked, 2, "free", LATER).unwrap();
    assert_eq!(plan_of(&parked, 1, NOW).as_deref(), Some("gold"));
    assert_eq!(plan_of(&parked, 2, UnixSeconds(1_999)).as_deref(), Some("free"));
    assert_eq!(plan_of(&parked, 3, NOW), None);
    assert_eq!(plan_of(&parked, 1, LATER), None);
    parked.extend("shop", &hash(1), UnixSeconds(3_000));
    assert_eq!(plan_of(&parked, 1, LATER).as_deref(), Some("gold"));
}

#[test]
fn nobody_elses_hash_finds_anything() {
    let parked = parked(10, 10_000);
    park(&parked, 1, "gold", LATER).unwrap();
    assert_eq!(parked.get("other", "sales", &hash(1), NOW), None);
    assert_eq!(parked.get("shop", "support", &hash(1), NOW), None);
    assert_eq!(parked.get("nobody", "sales", &hash(1), NOW), None);
}

#[test]
fn a_launch_replaces_what_was_there_and_a_revoked_session_leaves_nothing() {
    let parked = parked(1, 400);
    park(&parked, 1, "gold", LATER).unwrap();
    park(&parked, 1, "free", LATER).unwrap();
    assert_eq!(plan_of(&parked, 1, NOW).as_deref(), Some("free"));
    parked.forget("shop", &hash(1));
    assert_eq!((plan_of(&parked, 1, NOW), parked.sessions()), (None, 0));
    park(&parked, 2, "gold", LATER).unwrap();
}

#[test]
fn what_an_awaiting_session_was_launched_with_goes_to_the_one_in_its_place() {
    let parked = parked(1, 400);
    park(&parked, 1, "gold", LATER).unwrap();
    parked.hand_over("shop", &hash(1), hash(2), UnixSeconds(3_000));
    assert_eq!(plan_of(&parked, 1, NOW), None);
    assert_eq!(plan_of(&parked, 2, LATER).as_deref(), Some("gold"));
    parked.hand_over("shop", &hash(1), hash(3), LATER);
    assert_eq!((plan_of(&parked, 3, NOW), parked.sessions()), (None, 1));
    parked.tidy(UnixSeconds(3_000));
    park(&parked, 1, "gold", LATER).unwrap();
}

#[test]
fn a_full_store_says_so_and_evicts_only_what_has_ended() {
    let of_two = parked(2, 1 << 20);
    let of_bytes = parked(100, 2 * plan("gold").bytes() + 10);
    for parked in [of_two, of_bytes] {
        park(&parked, 1, "gold", UnixSeconds(1_500)).unwrap();
        park(&parked, 2, "gold", LATER).unwrap();
        assert_eq!(park(&parked, 3, "gold", LATER), Err(Full));
        assert_eq!(plan_of(&parked, 1, NOW).as_deref(), Some("gold"));
        // Another tenant's is its own.
        parked.park("other", (&sales(), hash(3)), plan("gold"), NOW, LATER).unwrap();
        let later = UnixSeconds(1_500);
        parked.park("shop", (&sales(), hash(3)), plan("gold"), later, LATER).unwrap();
        assert_eq!(plan_of(&parked, 1, NOW), None);
        assert_eq!(plan_of(&parked, 2, NOW).as_deref(), Some("gold"));
    }
}

#[test]
fn what_does_not_fit_leaves_what_was_there() {
    let parked = parked(10, 1_000);
    park(&parked, 1, "gold", LATER).unwrap();
    assert_eq!(park(&parked, 1, &"x".repeat(1_000), LATER), Err(Full));
    assert_eq!(plan_of(&parked, 1, NOW).as_deref(), Some("gold"));
}

#[test]
fn bytes_are_given_back_however_a_session_ends() {
    let parked = parked(10, plan(&"x".repeat(500)).bytes());
    for (number, end) in (1..).zip([
        |parked: &Parked| parked.forget("shop", &hash(1)),
        |parked: &Parked| parked.tidy(LATER),
        |parked: &Parked| {
            parked.follow(["other"]);
            parked.follow(["shop", "other"]);
        },
    ]) {
        park(&parked, number, &"x".repeat(500), LATER).unwrap();
        assert_eq!(park(&parked, 9, "x", LATER), Err(Full));
        end(&parked);
        assert_eq!(parked.sessions(), 0);
    }
}

#[test]
fn a_tenant_that_is_gone_takes_nothing_and_one_that_stays_keeps_all() {
    let parked = parked(10, 10_000);
    park(&parked, 1, "gold", LATER).unwrap();
    parked.follow(["shop", "new"]);
    assert_eq!(plan_of(&parked, 1, NOW).as_deref(), Some("gold"));
    parked.follow(["new"]);
    assert_eq!(park(&parked, 2, "gold", LATER), Err(Full));
}

#[test]
fn fifty_chinese_messages_fit_and_so_do_two_hundred_sessions_of_them() {
    let message = format!(
        r#"{{"type":"message","role":"user","content":"{}"}}"#,
        "中".repeat(injection::MAX_CONTENT)
    );
    let text = format!("[{}]", vec![message; injection::MAX_MESSAGES].join(","));
    let pair = Pair { name: "prefillMessages".into(), value: text.into() };
    let injection = injection::decide(Some(InjectionPolicy::Custom), [], [pair]).unwrap();
    let parked = Parked::default();
    parked.follow(["shop"]);
    for number in 0..200 {
        let launched = Launched { injection: injection.clone(), ..Launched::default() };
        parked.park("shop", (&sales(), hash(number)), launched, NOW, LATER).unwrap();
    }
    let found = parked.get("shop", "sales", &hash(199), NOW).unwrap();
    assert_eq!(found.injection, injection);
}
