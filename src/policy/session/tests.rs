use super::keys::{PersonaKeys, SessionSecrets};
use super::token::{MAX_DEVICE, MAX_TOKEN, Token};
use super::*;
use crate::config::snapshot::Mode;
use crate::policy::identity::State;
use crate::policy::metadata::{
    Assurance, Direction, MAX_USER_ID, MetadataPolicy, Parameters, UserIdFormat, UserIdRule,
    Voucher, decide,
};
use crate::policy::query::raw_pairs;
use crate::policy::secret::Secret;
use proptest::prelude::*;

const NOW: UnixSeconds = UnixSeconds(1_763_683_200);
const HOUR: u64 = 3600;

fn secrets(names: &[&str]) -> SessionSecrets {
    let mut list = names.iter().map(|name| Secret::new(name.as_bytes()).unwrap());
    SessionSecrets::new(list.next().unwrap(), list.collect())
}

fn keys() -> PersonaKeys {
    secrets(&["one"]).persona("jasser", "customer")
}

fn session() -> Session {
    let identity = Identity {
        device: None,
        mode: Mode::Customer,
        user_id: Some("12345".into()),
        direction: Some(Direction::Rtl),
        assurance: Assurance::Asserted,
        state: State::Complete,
    };
    Session::start(SessionId([7; 16]), identity, NOW, Purpose::Cookie.lifetime())
}

fn later(seconds: u64) -> UnixSeconds {
    UnixSeconds(NOW.0 + seconds)
}

fn code(result: Result<Authentic, Rejection>) -> &'static str {
    result.map_or_else(|rejection| rejection.code.as_str(), |_| "ok")
}

fn verify(keys: &PersonaKeys, token: &Token) -> &'static str {
    code(keys.verify(Purpose::Cookie, token.as_str().as_bytes(), NOW))
}

#[test]
fn a_token_is_accepted_where_it_was_minted_and_nowhere_else() {
    let token = keys().mint(Purpose::Cookie, &session()).unwrap();
    assert_eq!(verify(&keys(), &token), "ok");
    for (tenant, persona) in [
        ("jasser", "employee"),
        ("shop", "customer"),
        ("jasserc", "ustomer"),
        ("", "jassercustomer"),
    ] {
        let other = secrets(&["one"]).persona(tenant, persona);
        assert_eq!(verify(&other, &token), "session_invalid", "{tenant}/{persona}");
    }
    assert_eq!(verify(&secrets(&["two"]).persona("jasser", "customer"), &token), "session_invalid");
}

#[test]
fn a_token_is_accepted_for_its_purpose_alone() {
    for minted in Purpose::ALL {
        let token = keys().mint(minted, &session()).unwrap();
        for tried in Purpose::ALL {
            let found = code(keys().verify(tried, token.as_str().as_bytes(), NOW));
            let expected = if minted == tried { "ok" } else { "session_invalid" };
            assert_eq!(found, expected, "{minted:?} as {tried:?}");
        }
    }
}

#[test]
fn secrets_are_replaced_with_an_overlap() {
    let persona = |names: &[&str]| secrets(names).persona("jasser", "customer");
    let old = persona(&["old"]).mint(Purpose::Cookie, &session()).unwrap();
    let new = persona(&["new", "old"]).mint(Purpose::Cookie, &session()).unwrap();
    assert_eq!(verify(&persona(&["new", "old"]), &old), "ok");
    assert_eq!(verify(&persona(&["new", "old"]), &new), "ok");
    assert_eq!(verify(&persona(&["old"]), &new), "session_invalid");
    assert_eq!(verify(&persona(&["new"]), &old), "session_invalid");
}

#[test]
fn a_token_has_an_end() {
    let token = keys().mint(Purpose::Cookie, &session()).unwrap();
    for (seconds, expected) in [(0, "ok"), (12 * HOUR - 1, "ok"), (12 * HOUR, "session_expired")] {
        let found = keys().verify(Purpose::Cookie, token.as_str().as_bytes(), later(seconds));
        assert_eq!(code(found), expected, "after {seconds} seconds");
    }
}

#[test]
fn a_session_in_use_is_renewed_from_half_of_its_tokens_life_until_its_own_end() {
    let lifetime = Purpose::Cookie.lifetime();
    let first = session();
    assert_eq!(first.renewal(later(6 * HOUR - 1), lifetime), None);
    let renewed = first.renewal(later(6 * HOUR), lifetime).unwrap();
    assert_eq!((renewed.id, renewed.launched_at), (first.id, NOW));
    assert_eq!(renewed.expires_at, later(18 * HOUR));
    assert_eq!(renewed.max_age(later(6 * HOUR)), 12 * HOUR);
    let week = 7 * 24 * HOUR;
    let last = first.reissued(later(week - HOUR), lifetime);
    assert_eq!(last.expires_at, later(week));
    assert_eq!(last.renewal(later(week - 1), lifetime), None, "there is nothing to give");
}

#[test]
fn revocation_ends_one_session_or_all_that_are_older() {
    let started = session();
    let token = keys().mint(Purpose::Cookie, &started).unwrap();
    let authentic = || keys().verify(Purpose::Cookie, token.as_str().as_bytes(), NOW).unwrap();
    for (moment, alive) in [(None, true), (Some(NOW), true), (Some(later(1)), false)] {
        assert_eq!(authentic().alive(moment, |_| false).is_ok(), alive, "{moment:?}");
    }
    let mut list = revocation::RevocationList::default();
    list.revoke(started.id, started.remembered_until(NOW), NOW).unwrap();
    let refused = authentic().alive(None, |id| list.contains(id)).unwrap_err();
    assert_eq!(refused.code, Code::SessionInvalid);
}

#[test]
fn a_revoked_session_is_remembered_longer_than_any_of_its_tokens_lives() {
    let first = session();
    for at in [0, 6 * HOUR, 6 * 24 * HOUR, 7 * 24 * HOUR - HOUR] {
        for purpose in Purpose::ALL {
            let newest = first.reissued(later(at), purpose.lifetime());
            assert!(first.remembered_until(later(at)) >= newest.expires_at, "{at}, {purpose:?}");
        }
    }
}

#[test]
fn a_session_vouches_for_its_last_four_signatures() {
    let proofs = |session: &Session| session.proofs().map(|proof| proof.0[0]).collect::<Vec<_>>();
    let mut session = session();
    for (number, expected) in [
        (1, &[1][..]),
        (2, &[2, 1]),
        (2, &[2, 1]),
        (1, &[1, 2]),
        (3, &[3, 1, 2]),
        (4, &[4, 3, 1, 2]),
        (5, &[5, 4, 3, 1]),
        (3, &[3, 5, 4, 1]),
    ] {
        session = session.proven(LaunchProof([number; 16]));
        assert_eq!(proofs(&session), expected, "{number}");
    }
}

#[test]
fn only_bounded_texts_fit_into_a_token() {
    let mut longest = session();
    longest.proof = Some(LaunchProof([9; 16]));
    longest.earlier = (0..3).map(|number| LaunchProof([number; 16])).collect();
    longest.identity.user_id = Some("u".repeat(MAX_USER_ID).into());
    longest.identity.device = Some("d".repeat(MAX_DEVICE).into());
    let token = keys().mint(Purpose::Cookie, &longest).unwrap();
    assert_eq!(token.as_str().len(), MAX_TOKEN);
    assert_eq!(verify(&keys(), &token), "ok");
    longest.identity.device = Some("d".repeat(MAX_DEVICE + 1).into());
    assert_eq!(keys().mint(Purpose::Cookie, &longest).unwrap_err().code, Code::Internal);
}

#[test]
fn of_two_cookies_the_one_issued_last_counts() {
    let (keys, first) = (keys(), session());
    let second = first.reissued(later(60), Purpose::Cookie.lifetime());
    let name = keys.cookie.name();
    let field = |session: &Session| {
        format!("a=1; {name}={}", keys.mint(Purpose::Cookie, session).unwrap().as_str())
    };
    let (first, second) = (field(&first), field(&second));
    for lines in [[&first, &second], [&second, &first]] {
        let found = keys.from_cookies(lines.into_iter().map(String::as_bytes), later(60)).unwrap();
        assert_eq!(found.0.issued_at, later(60));
    }
    let broken = format!("{name}=x");
    for (lines, expected) in [
        (vec!["a=1"], "session_missing"),
        (vec![&broken], "session_invalid"),
        (vec![&broken, &first], "ok"),
        (vec![&broken, &broken, &broken, &broken, &first], "session_invalid"),
    ] {
        assert_eq!(
            code(keys.from_cookies(lines.iter().map(|line| line.as_bytes()), NOW)),
            expected
        );
    }
}

#[test]
fn a_launch_continues_ends_or_starts_a_session() {
    let policy = MetadataPolicy {
        mode: Mode::Customer,
        user_id: UserIdRule::Required,
        format: UserIdFormat::Integer,
        allow_generated_id: false,
        trust_asserted: true,
        strict_config: false,
        bridge: true,
        signed: false,
    };
    let after = |held: Option<&Session>, query: &str, proof| {
        let parameters = Parameters::from_raw(raw_pairs(query.as_bytes())).unwrap();
        let is_bare = parameters.is_bare();
        let metadata = decide(&policy, parameters, Voucher::Browser).unwrap();
        let now = later(5);
        let arrival = Arrival { device: None, proof, is_bare, by_itself: true, now };
        succession(held, &metadata, &arrival)
    };
    let held = session();
    let ends = Some(held.id);
    let same = |reissue| Succession::Continue { reissue };
    assert_eq!(after(None, "user_id=12345", None), Succession::Start { ends: None });
    assert_eq!(after(Some(&held), "user_id=12345", None), same(false));
    assert_eq!(after(Some(&held), "user_id=12345&direction=rtl", None), same(false));
    assert_eq!(after(Some(&held), "user_id=12345&direction=ltr", None), same(true));
    assert_eq!(after(Some(&held), "user_id=12345", Some(LaunchProof([1; 16]))), same(true));
    assert_eq!(after(Some(&held), "user_id=6", None), Succession::Start { ends });
    assert_eq!(after(Some(&held), "", None), Succession::Start { ends }, "nothing is inherited");
    let by_form = Session { bare: Bare::Continues, ..held.clone() };
    assert_eq!(after(Some(&by_form), "", None), same(false));
    assert_eq!(after(Some(&by_form), "user_id=6", None), Succession::Start { ends });
    let launching = Session { stage: Stage::Launching, ..held.clone() };
    assert_eq!(after(Some(&launching), "", None), same(false), "where the bridge leads");
    let long_ago = Session { issued_at: UnixSeconds(NOW.0 - 30), ..launching };
    assert_eq!(after(Some(&long_ago), "", None), Succession::Start { ends });
}

#[test]
fn tokens_are_not_printed() {
    let token = keys().mint(Purpose::Cookie, &session()).unwrap();
    assert_eq!(format!("{token:?}"), "Token(-)");
    assert!(!format!("{:?} {:?}", keys(), secrets(&["swordfish"])).contains("sword"));
}

#[test]
fn the_wire_form_is_what_browsers_hold() {
    // Written down: a change of it ends every session, and needs another version.
    let token = keys().mint(Purpose::Cookie, &session()).unwrap();
    assert_eq!(token.as_str(), GOLDEN);
}

/// Made with another implementation of the table in `token`.
const GOLDEN: &str = "AQECBAICBwcHBwcHBwcHBwcHBwcHBwAAAABpH6uAAAAAAGkfq4AAAAAAaSBUQAUxMjM0NZvgDw-cT9_r\
    uT8H9mqix-AwCJS7D-ZQzclP-v05ZGxj";

fn any_session() -> impl Strategy<Value = Session> {
    let moment = || any::<u64>().prop_map(UnixSeconds);
    let identity = (
        proptest::option::of("[a-z0-9-]{1,40}"),
        proptest::sample::select(vec![Mode::Public, Mode::Customer, Mode::Employee, Mode::Test]),
        proptest::option::of("[A-Za-z0-9._:-]{1,128}"),
        proptest::sample::select(vec![
            None,
            Some(Direction::Ltr),
            Some(Direction::Rtl),
            Some(Direction::Auto),
        ]),
        proptest::sample::select(Assurance::ALL.to_vec()),
        proptest::sample::select(vec![State::Complete, State::Awaiting]),
    )
        .prop_map(|(device, mode, user_id, direction, assurance, state)| Identity {
            device: device.map(Into::into),
            mode,
            user_id: user_id.map(Into::into),
            direction,
            assurance,
            state,
        });
    (
        any::<[u8; 16]>(),
        identity,
        moment(),
        moment(),
        moment(),
        any::<[bool; 3]>(),
        any::<Option<[u8; 16]>>(),
        proptest::collection::vec(any::<[u8; 16]>(), 0..4),
    )
        .prop_map(
            |(id, identity, launched_at, issued_at, expires_at, marks, proof, earlier)| Session {
                id: SessionId(id),
                identity,
                launched_at,
                issued_at,
                expires_at,
                stage: if marks[0] { Stage::Launching } else { Stage::Settled },
                bare: if marks[1] { Bare::Continues } else { Bare::StartsAnew },
                predecessor: if marks[2] { Predecessor::Ended } else { Predecessor::None },
                proof: proof.map(LaunchProof),
                earlier: earlier.into_iter().map(LaunchProof).collect(),
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read(session in any_session(), purpose in proptest::sample::select(Purpose::ALL.to_vec())) {
        let written = token::write(purpose, &session).unwrap();
        prop_assert_eq!(token::read(purpose, &written), Some(session.clone()));
        if session.expires_at > NOW {
            let token = keys().mint(purpose, &session).unwrap();
            let read = keys().verify(purpose, token.as_str().as_bytes(), NOW).unwrap();
            prop_assert_eq!(keys().mint(purpose, &read.0).unwrap(), token);
        }
    }

    #[test]
    fn what_is_read_is_written_so(bytes in proptest::collection::vec(any::<u8>(), 50..80), head in 0u8..8) {
        let mut bytes = bytes;
        bytes[..6].copy_from_slice(&[1, 1, 1 + head % 4, 1 + head % 5, head % 4, head]);
        if let Some(session) = token::read(Purpose::Cookie, &bytes) {
            prop_assert_eq!(token::write(Purpose::Cookie, &session).unwrap(), bytes);
        }
    }

    #[test]
    fn a_token_with_anything_behind_or_missing_is_refused(cut in 1usize..160, more in "[A-Za-z0-9=_-]{1,4}") {
        let keys = keys();
        let token = keys.mint(Purpose::Cookie, &session()).unwrap();
        let text = token.as_str();
        let shorter = &text[..text.len().saturating_sub(cut)];
        for wrong in [shorter.to_owned(), format!("{text}{more}")] {
            prop_assert!(keys.verify(Purpose::Cookie, wrong.as_bytes(), NOW).is_err());
        }
    }
}

#[test]
fn any_single_bit_of_a_token_matters() {
    let keys = keys();
    let token = keys.mint(Purpose::Cookie, &session()).unwrap();
    let mut bytes = token.as_str().as_bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let found = keys.verify(Purpose::Cookie, &bytes, NOW);
        assert_eq!(code(found), "session_invalid", "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
