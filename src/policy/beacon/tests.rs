use proptest::prelude::*;

use super::launch::{LIFETIME, Launch};
use super::*;
use crate::policy::secret::Secret;
use crate::policy::session::UnixSeconds;
use crate::policy::session::keys::{PersonaKeys, SessionSecrets};
use crate::telemetry::trace::context::{Flags, SpanId, TraceId};

const ACK: &str = r#"{"v":1,"shown":0,"ready":412,"config":415,"ended":603,"outcome":"ack"}"#;

fn with(more: &str) -> String {
    format!(r#"{{"v":1,"shown":10,{more}}}"#)
}

/// What was read, as people are told; or the reason.
fn check(body: &str, expected: Result<&str, &str>) {
    let read = parse(body.as_bytes());
    let told = read.map(|(handshake, _)| handshake.to_string());
    match (told, expected) {
        (Ok(told), Ok(expected)) => assert_eq!(told, expected, "{body}"),
        (Err(refused), Err(expected)) => {
            assert_eq!(refused.code, Code::BeaconInvalid, "{body}");
            assert!(refused.reason.contains(expected), "{body}: {}", refused.reason);
        }
        (told, _) => panic!("{body}: {told:?}"),
    }
}

#[test]
fn each_outcome_has_what_it_needs() {
    let ended = r#""ended":1000,"outcome":"#;
    for (more, expected) in [
        (r#""ready":20,"config":30"#, [Ok("ack, 980 ms after ready"), Err("lacks"), Ok("timeout")]),
        (r#""ready":20"#, [Err("lacks"), Err("lacks"), Ok("timeout")]),
        (r#""config":30"#, [Err("lacks"), Err("lacks"), Ok("timeout")]),
        (r#""ready":null,"config":null"#, [Err("lacks"), Err("lacks"), Ok("timeout")]),
    ] {
        for (outcome, expected) in ["ack", "error", "timeout"].into_iter().zip(expected) {
            let body = with(&format!(r#"{more},{ended}"{outcome}""#));
            let expected = expected.map(|text| match text {
                "timeout" => "timeout, 990 ms after it was shown",
                text => text,
            });
            check(&body, expected);
        }
    }
    let error = |more: &str| with(&format!(r#"{more}"ended":1000,"outcome":"error","error":"x""#));
    check(&error(r#""config":30,"#), Ok("error, 990 ms after it was shown"));
    check(&error(r#""ready":20,"#), Err("lacks"));
    let both = format!(r#""ready":20,"config":30,"error":"x",{ended}"ack""#);
    check(&with(&both), Err("cannot have"));
}

#[test]
fn times_count_from_when_the_frame_was_shown() {
    let late = ACK.replace(
        r#""shown":0,"ready":412,"config":415,"ended":603"#,
        r#""shown":1e11,"ready":100000000412.25,"config":100000000415,"ended":100000000603"#,
    );
    check(&late, Ok("ack, 190 ms after ready"));
    let body = with(r#""ready":20.25,"config":15,"ended":30.5,"outcome":"ack""#);
    let (handshake, launch) = parse(body.as_bytes()).unwrap();
    let micros = Duration::from_micros;
    assert_eq!((handshake.ready, handshake.config), (Some(micros(10_250)), Some(micros(5000))));
    assert_eq!((handshake.ended, handshake.took()), (micros(20_500), Some(micros(10_250))));
    assert_eq!(launch, None);
}

#[test]
fn times_are_numbers_within_ten_minutes_and_in_order() {
    for (from, to, reason) in [
        ("\"ready\":412", "\"ready\":-1", "negative"),
        ("\"shown\":0", "\"shown\":-0.5", "negative"),
        ("\"ended\":603", "\"ended\":600000.5", "ten minutes"),
        ("\"ended\":603", "\"ended\":1e300", "no page's clock"),
        ("\"ended\":603", "\"ended\":1e999", "no JSON"),
        ("\"ended\":603", "\"ended\":NaN", "no JSON"),
        ("\"ended\":603", "\"ended\":\"603\"", "no JSON"),
        ("\"ended\":603", "\"ended\":true", "no JSON"),
        ("\"ended\":603", "\"ended\":null", "no JSON"),
        ("\"ended\":603", "\"ended\":411", "in order"),
        ("\"ended\":603", "\"ended\":414", "in order"),
        ("\"shown\":0", "\"shown\":413", "in order"),
        ("\"shown\":0", "\"shown\":700", "in order"),
    ] {
        assert!(ACK.contains(from));
        check(&ACK.replace(from, to), Err(reason));
    }
    check(&ACK.replace("603", "600000"), Ok("ack, 599588 ms after ready"));
    check(&ACK.replace("412", "603"), Ok("ack, 0 ms after ready"));
    check(&ACK.replace("415", "1"), Ok("ack, 191 ms after ready"));
}

#[test]
fn what_is_no_beacon_is_refused() {
    for (body, reason) in [
        ("", "object"),
        ("[1,null,0,1,1,2,\"ack\",null]", "object"),
        ("null", "object"),
        ("{}", "no JSON"),
        ("{", "no JSON"),
        (&ACK.replace("\"v\":1", "\"v\":2"), "version"),
        (&ACK.replace("\"v\":1", "\"v\":1.0"), "no JSON"),
        (&ACK.replace("\"v\":1,", ""), "no JSON"),
        (&ACK.replace("\"v\":1", "\"v\":1,\"v\":1"), "no JSON"),
        (&ACK.replace("\"v\":1", "\"v\":1,\"user_id\":7"), "no JSON"),
        (&ACK.replace("\"v\":1", "\"v\":1,\"launch\":7"), "no JSON"),
        (&ACK.replace("\"ack\"", "\"late\""), "no JSON"),
        (&format!("{ACK}{ACK}"), "no JSON"),
    ] {
        check(body, Err(reason));
    }
    check(&format!(" \r\n{ACK}\n"), Ok("ack, 191 ms after ready"));
}

#[test]
fn of_a_refusal_only_codes_of_ours_are_kept() {
    let long = "x".repeat(1000);
    for (said, kept) in [
        ("mode_mismatch", "mode_mismatch"),
        ("network_error", "network_error"),
        ("answer_invalid", "answer_invalid"),
        ("hunter2", "other"),
        ("\\u0022 \\n", "other"),
        ("", "other"),
        (&long, "other"),
    ] {
        let more = format!(r#""config":20,"ended":30,"outcome":"error","error":"{said}""#);
        let (handshake, _) = parse(with(&more).as_bytes()).unwrap();
        assert_eq!(handshake.outcome, Outcome::Error(kept));
    }
}

#[test]
fn names_and_places_of_outcomes_agree() {
    let outcomes = [Outcome::Ack, Outcome::Error("other"), Outcome::Timeout];
    for (place, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!((outcome.place(), outcome.as_str()), (place, Outcome::NAMES[place]));
    }
}

fn keys(secret: &str, tenant: &str, persona: &str) -> PersonaKeys {
    let secret = Secret::new(secret.as_bytes()).unwrap();
    SessionSecrets::new(secret, Vec::new()).persona(tenant, persona)
}

fn launch(span: Option<SpanId>) -> Launch {
    Launch {
        trace_id: TraceId::from_bytes([0xab; 16]).unwrap(),
        span,
        flags: Flags { sampled: span.is_some(), random: true },
        at: UnixSeconds(1_763_683_200),
    }
}

#[test]
fn a_launch_is_read_for_the_persona_that_wrote_it_and_no_other() {
    let own = keys("secret", "acme", "sales");
    for span in [None, SpanId::from_bytes([7; 8])] {
        let launch = launch(span);
        let text = launch.write(&own);
        assert_eq!(text.len(), 67);
        assert_eq!(Launch::read(&text, &own, launch.at), Ok(Some(launch)));
        for other in [
            keys("secret", "acme", "help"),
            keys("secret", "other", "sales"),
            keys("another", "acme", "sales"),
        ] {
            let refused = Launch::read(&text, &other, launch.at).unwrap_err();
            assert_eq!(refused.code, Code::BeaconInvalid);
        }
    }
}

#[test]
fn a_launch_outlives_the_change_of_a_secret() {
    let (old, new) = (Secret::new(*b"old").unwrap(), Secret::new(*b"new").unwrap());
    let both = SessionSecrets::new(new, vec![old]).persona("acme", "sales");
    let text = launch(None).write(&keys("old", "acme", "sales"));
    assert!(matches!(Launch::read(&text, &both, launch(None).at), Ok(Some(_))));
}

#[test]
fn a_launch_is_over_after_an_hour() {
    let keys = keys("secret", "acme", "sales");
    let launch = launch(None);
    let text = launch.write(&keys);
    let at = |seconds| Launch::read(&text, &keys, UnixSeconds(launch.at.0 + seconds));
    assert_eq!(at(LIFETIME), Ok(Some(launch)));
    assert_eq!(at(LIFETIME + 1), Ok(None));
    // Another machine's clock.
    assert_eq!(Launch::read(&text, &keys, UnixSeconds(launch.at.0 - 5)), Ok(Some(launch)));
}

proptest! {
    #[test]
    fn a_changed_launch_is_refused(place in 0_usize..67, to in "[A-Za-z0-9_-]") {
        let keys = keys("secret", "acme", "sales");
        let mut text = launch(SpanId::from_bytes([7; 8])).write(&keys);
        prop_assume!(text[place..=place] != to);
        text.replace_range(place..=place, &to);
        prop_assert!(Launch::read(&text, &keys, launch(None).at).is_err());
    }

    #[test]
    fn what_is_no_launch_is_refused(text in "\\PC{0,120}") {
        let keys = keys("secret", "acme", "sales");
        prop_assert!(Launch::read(&text, &keys, launch(None).at).is_err());
    }

    #[test]
    fn times_in_order_are_read_as_they_are(
        shown in 0_u32..1000, ready in 0_u32..1000, config in 0_u32..3000, rest in 0_u32..5000
    ) {
        let ready = shown + ready;
        let config = shown + config;
        let ended = ready.max(config) + rest;
        let body = format!(
            r#"{{"v":1,"shown":{shown},"ready":{ready},"config":{config},"ended":{ended},"outcome":"ack"}}"#
        );
        let (handshake, _) = parse(body.as_bytes()).unwrap();
        prop_assert_eq!(handshake.took(), Some(Duration::from_millis(u64::from(ended - ready))));
        prop_assert_eq!(handshake.ended, Duration::from_millis(u64::from(ended - shown)));
    }
}
