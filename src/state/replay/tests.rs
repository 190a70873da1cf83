use std::net::IpAddr;

use super::*;
use crate::config::snapshot::Mode;
use crate::policy::identity::Identity;
use crate::policy::session::{Purpose, Stage};

const START: u64 = 1_763_683_200;
const PROOF: LaunchProof = LaunchProof([7; 16]);

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds(START + seconds)
}

fn session(number: u8, proof: Option<LaunchProof>, stage: Stage) -> Session {
    let identity = Identity::anonymous(Mode::Public, None);
    let lifetime = Purpose::Cookie.lifetime();
    let session = Session::start(SessionId([number; 16]), identity, at(0), lifetime);
    Session { proof, stage, ..session }
}

fn client(last: u8) -> Client {
    Client::of(IpAddr::from([192, 0, 2, last]))
}

/// What a stranger's first launch brings.
fn attempt(session: u8) -> Attempt<'static> {
    Attempt {
        persona: "sales",
        proof: PROOF,
        held: None,
        session: SessionId([session; 16]),
        client: client(1),
        now: at(0),
        fresh_until: at(300),
        replay: Replay::Bind,
    }
}

fn replays() -> Replays {
    let replays = Replays::default();
    replays.follow(["ragtime", "shop"]);
    replays
}

const REFUSED: Result<Replayed, Refused> = Err(Refused::Replayed);

#[test]
fn whoever_holds_the_session_repeats_it_and_nobody_else() {
    let replays = replays();
    assert_eq!(replays.take("ragtime", &attempt(1)), Ok(Replayed::First));
    let mine = session(1, Some(PROOF), Stage::Settled);
    let strangers = session(2, Some(LaunchProof([8; 16])), Stage::Settled);
    for (held, expected) in
        [(Some(&mine), Ok(Replayed::Same)), (Some(&strangers), REFUSED), (None, REFUSED)]
    {
        let repeated = Attempt { held, client: client(2), now: at(5), ..attempt(3) };
        assert_eq!(replays.take("ragtime", &repeated), expected);
    }
    // The session by its name, where another signature's proof has taken the place of this one.
    let gone_on = session(1, Some(LaunchProof([8; 16])), Stage::Settled);
    let repeated = Attempt { held: Some(&gone_on), client: client(2), now: at(5), ..attempt(1) };
    assert_eq!(replays.take("ragtime", &repeated), Ok(Replayed::Same));
    assert_eq!(replays.len(), 1);
}

#[test]
fn the_same_address_begins_again_for_half_a_minute_until_the_session_came_back() {
    for (seconds, from, confirmed, expected) in [
        (0, 1, false, Ok(Replayed::Again)),
        (29, 1, false, Ok(Replayed::Again)),
        (30, 1, false, REFUSED),
        (1, 2, false, REFUSED),
        (1, 1, true, REFUSED),
    ] {
        let replays = replays();
        replays.take("ragtime", &attempt(1)).unwrap();
        if confirmed {
            let came_back = session(1, Some(PROOF), Stage::Launching);
            replays.confirm("ragtime", "sales", &came_back, at(seconds));
        }
        let again = Attempt { client: client(from), now: at(seconds), ..attempt(2) };
        assert_eq!(replays.take("ragtime", &again), expected, "{seconds} {from} {confirmed}");
    }
}

#[test]
fn whichever_answer_arrived_ends_the_beginning_again() {
    let replays = replays();
    replays.take("ragtime", &attempt(1)).unwrap();
    let again = Attempt { now: at(1), ..attempt(2) };
    assert_eq!(replays.take("ragtime", &again), Ok(Replayed::Again));
    // It was the first one's cookie that the browser kept.
    let kept = session(1, Some(PROOF), Stage::Settled);
    let repeated = Attempt { held: Some(&kept), now: at(2), ..attempt(1) };
    assert_eq!(replays.take("ragtime", &repeated), Ok(Replayed::Same));
    assert_eq!(replays.take("ragtime", &Attempt { now: at(3), ..attempt(3) }), REFUSED);
}

#[test]
fn only_its_own_persona_and_tenant_know_a_signature() {
    let replays = replays();
    replays.take("ragtime", &attempt(1)).unwrap();
    let other = Attempt { persona: "support", client: client(2), ..attempt(2) };
    assert_eq!(replays.take("ragtime", &other), Ok(Replayed::First));
    assert_eq!(
        replays.take("shop", &Attempt { client: client(2), ..attempt(2) }),
        Ok(Replayed::First)
    );
    let other = Attempt { proof: LaunchProof([9; 16]), client: client(2), ..attempt(2) };
    assert_eq!(replays.take("ragtime", &other), Ok(Replayed::First));
}

#[test]
fn once_is_one_launch_with_its_redirects() {
    let replays = replays();
    let once = Attempt { replay: Replay::Once, ..attempt(1) };
    assert_eq!(replays.take("ragtime", &once), Ok(Replayed::First));
    let on_its_way = session(1, Some(PROOF), Stage::Launching);
    let settled = session(1, Some(PROOF), Stage::Settled);
    for (held, seconds, expected) in [
        (Some(&on_its_way), 2, Ok(Replayed::Same)),
        (Some(&on_its_way), 60, REFUSED),
        (Some(&settled), 2, REFUSED),
        (None, 0, REFUSED),
    ] {
        let repeated = Attempt { held, now: at(seconds), ..once };
        assert_eq!(replays.take("ragtime", &repeated), expected, "{seconds}");
    }
}

#[test]
fn off_remembers_nothing() {
    let replays = replays();
    for number in 1..4 {
        let any = Attempt { replay: Replay::Off, client: client(number), ..attempt(number) };
        assert_eq!(replays.take("ragtime", &any), Ok(Replayed::First));
    }
    assert!(replays.is_empty());
}

#[test]
fn a_launch_that_was_refused_later_was_none() {
    let replays = replays();
    let first = attempt(1);
    let taken = replays.take("ragtime", &first).unwrap();
    replays.give_back("ragtime", &first, taken);
    let other = Attempt { client: client(2), ..attempt(2) };
    assert_eq!(replays.take("ragtime", &other), Ok(Replayed::First));
    // Another's is not given back, and neither is a repetition.
    replays.give_back("ragtime", &first, Replayed::First);
    let again = attempt(2);
    replays.give_back("ragtime", &again, Replayed::Again);
    assert_eq!(replays.take("ragtime", &first), REFUSED);
}

#[test]
fn a_signature_is_remembered_longer_than_it_is_fresh() {
    let replays = replays();
    replays.take("ragtime", &attempt(1)).unwrap();
    for (seconds, expected) in [(300, REFUSED), (360, REFUSED), (361, Ok(Replayed::First))] {
        replays.tidy(at(seconds));
        let later = Attempt { client: client(2), now: at(seconds), ..attempt(2) };
        assert_eq!(replays.take("ragtime", &later), expected, "{seconds}");
    }
    replays.tidy(at(1000));
    assert!(replays.is_empty());
}

#[test]
fn a_full_memory_refuses_and_evicts_nothing_that_is_fresh() {
    let replays = Replays::new(2);
    let nth = |number: u8, seconds| Attempt {
        proof: LaunchProof([number; 16]),
        now: at(seconds),
        fresh_until: at(seconds + 300),
        ..attempt(number)
    };
    assert_eq!(replays.take("ragtime", &nth(1, 0)), Ok(Replayed::First));
    assert_eq!(replays.take("ragtime", &nth(2, 10)), Ok(Replayed::First));
    assert_eq!(replays.take("ragtime", &nth(3, 20)), Err(Refused::Full));
    assert_eq!(replays.take("shop", &nth(3, 20)), Ok(Replayed::First), "another's has room");
    assert_eq!(replays.take("ragtime", &Attempt { now: at(20), ..nth(1, 0) }), Ok(Replayed::Again));
    // Whoever holds a session is let in all the same.
    let mine = session(9, Some(LaunchProof([9; 16])), Stage::Settled);
    let held = Attempt { held: Some(&mine), ..nth(9, 20) };
    assert_eq!(replays.take("ragtime", &held), Ok(Replayed::Same));
    assert_eq!(replays.take("ragtime", &nth(3, 361)), Ok(Replayed::First), "the first is stale");
    assert_eq!(replays.take("ragtime", &nth(4, 361)), Err(Refused::Full));
    assert_eq!(Rejection::from(Refused::Full).code, Code::ReplayMemoryFull);
    assert_eq!(Rejection::from(Refused::Replayed).code, Code::SignatureReplayed);
}

#[test]
fn a_holder_is_remembered_anew_after_a_restart() {
    let replays = replays();
    let mine = session(1, Some(PROOF), Stage::Settled);
    let repeated = Attempt { held: Some(&mine), now: at(40), ..attempt(1) };
    assert_eq!(replays.take("ragtime", &repeated), Ok(Replayed::Same));
    assert_eq!(replays.take("ragtime", &Attempt { now: at(41), ..attempt(2) }), REFUSED);
    // Later nobody else could use it anyway.
    let old = Attempt { proof: LaunchProof([8; 16]), now: at(361), ..repeated };
    let mine = session(1, Some(LaunchProof([8; 16])), Stage::Settled);
    assert_eq!(replays.take("ragtime", &Attempt { held: Some(&mine), ..old }), Ok(Replayed::Same));
    assert_eq!(replays.len(), 1);
}

#[test]
fn a_tenant_that_comes_back_has_not_forgotten() {
    let replays = replays();
    replays.take("ragtime", &attempt(1)).unwrap();
    replays.follow(["shop"]);
    replays.follow(["shop", "ragtime"]);
    let other = Attempt { client: client(2), ..attempt(2) };
    assert_eq!(replays.take("ragtime", &other), REFUSED);
    replays.tidy(at(1000));
    replays.follow(["shop"]);
    assert_eq!(replays.tenants.load().len(), 1);
}

#[test]
fn of_many_at_once_one_is_first() {
    let replays = replays();
    let firsts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let replays = &replays;
                scope.spawn(move || {
                    let mine = Attempt { client: client(number), ..attempt(number) };
                    replays.take("ragtime", &mine) == Ok(Replayed::First)
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).filter(|it| *it).count()
    });
    assert_eq!(firsts, 1);
}
