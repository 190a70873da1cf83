use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::pseudonym::Pseudonyms;
use crate::policy::secret::Secret;
use crate::policy::session::keys::SessionSecrets;
use crate::telemetry::trace::context::TraceId;

fn record() -> Record {
    Record {
        time: UNIX_EPOCH + Duration::from_millis(1_763_732_098_007),
        client: "203.0.113.7".parse().unwrap(),
        host: Some("chat.test".into()),
        path: Some("/chat/".into()),
        tenant: Some("acme".into()),
        persona: Some("support".into()),
        ..Record::default()
    }
}

fn line(lines: &mut Lines, record: &Record) -> String {
    let mut out = Vec::new();
    lines.write(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn parsed(lines: &mut Lines, record: &Record) -> Value {
    serde_json::from_str(&line(lines, record)).unwrap()
}

fn hashed(secret: &[u8]) -> UserIds {
    let secrets = SessionSecrets::new(Secret::new(secret).unwrap(), Vec::new());
    UserIds::Hashed(Pseudonyms::new(&secrets))
}

#[test]
fn a_line_says_what_is_known_and_nothing_of_what_is_not() {
    let mut lines = Lines::default();
    assert_eq!(
        line(
            &mut lines,
            &Record { host: None, path: None, tenant: None, persona: None, ..record() }
        ),
        "{\"time\":\"2025-11-21T13:34:58.007Z\",\"client\":\"203.0.113.7\",\"method\":\"GET\",\
         \"scheme\":\"https\",\"protocol\":\"1.1\",\"request_bytes\":0,\"response_bytes\":0,\
         \"duration_ms\":0.000,\"request_id\":\"\"}\n"
    );
    let full = Record {
        status: Some(http::StatusCode::BAD_GATEWAY),
        device: Some("lobby".into()),
        client: "2001:db8::1".parse().unwrap(),
        time: UNIX_EPOCH + Duration::from_millis(1_763_732_099_999),
        request_bytes: u64::MAX,
        response_bytes: 12,
        duration: Duration::from_nanos(1_234_567_890),
        first_byte: Some(Duration::from_nanos(999)),
        code: Some("upstream_closed"),
        reason: Some("it \"went\""),
        aborted: true,
        trace_id: Some(TraceId::new(
            crate::telemetry::request_id::Generator::seeded([7; 16]).next(),
        )),
        ..record()
    };
    let told = parsed(&mut lines, &full);
    let trace_id = full.trace_id.unwrap().to_string();
    assert_eq!(
        told,
        json!({
            "time": "2025-11-21T13:34:59.999Z", "client": "2001:db8::1", "method": "GET",
            "scheme": "https", "protocol": "1.1", "host": "chat.test", "path": "/chat/",
            "status": 502, "tenant": "acme", "persona": "support", "device": "lobby",
            "request_bytes": u64::MAX, "response_bytes": 12, "duration_ms": 1234.568,
            "first_byte_ms": 0.001, "code": "upstream_closed", "reason": "it \"went\"",
            "aborted": true, "request_id": "", "trace_id": trace_id,
        })
    );
}

#[test]
fn nothing_that_a_terminal_or_a_reader_of_lines_obeys_stands_in_a_line_as_it_is() {
    let mut lines = Lines::default();
    for forged in [
        "a\n{\"status\":200}",
        "a\r\nb",
        "\u{1b}[2Jb",
        "\u{7f}",
        "\u{85}\u{9b}31m",
        "\u{2028}\u{2029}",
        "\u{202e}gnp.exe",
        "\u{2066}a\u{2069}",
        "\u{feff}",
        "\u{200b}",
        "\u{e0041}",
        "\u{0}",
        "\"}\\",
        "ж",
        "\u{1f600}",
    ] {
        let record = Record { path: Some(forged.into()), host: Some(forged.into()), ..record() };
        let line = line(&mut lines, &record);
        let inside = line.strip_suffix('\n').unwrap();
        assert!(inside.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
        let value: Value = serde_json::from_str(inside).unwrap();
        assert_eq!((&value["path"], &value["host"]), (&json!(forged), &json!(forged)));
    }
}

#[test]
fn what_is_long_is_cut_where_one_sees_it() {
    fn check(path: &str, expected: &str) {
        let record = Record { path: Some(Record::kept(path).to_owned()), ..record() };
        assert_eq!(parsed(&mut Lines::default(), &record)["path"], *expected);
    }
    let plain = |count: usize| "a".repeat(count);
    check(&plain(LONGEST_PATH), &plain(LONGEST_PATH));
    check(&plain(LONGEST_PATH + 1), &[&plain(LONGEST_PATH - CUT.len()), "…"].concat());
    check(&plain(100_000), &[&plain(LONGEST_PATH - CUT.len()), "…"].concat());
    // Written as six bytes each: as many as there is room for, and no half of one.
    check(&"é".repeat(1500), &["é".repeat(LONGEST_PATH / 6 - 1), "…".into()].concat());
    check(
        &"\u{1f600}".repeat(500),
        &["\u{1f600}".repeat((LONGEST_PATH - 6) / 12), "…".into()].concat(),
    );
    // Escaped by percent: no half of an escape, and no half of what several of them spell.
    for (character, before) in
        [("%C3%A9", ""), ("%C3%A9", "/a"), ("%e2%82%ac", ""), ("%F0%9F%98%80", "/abc"), ("%20", "")]
    {
        let room = LONGEST_PATH - CUT.len() - before.len();
        let kept = character.repeat(room / character.len());
        let path = format!("{before}{}", character.repeat(2100 / 3));
        check(&path, &format!("{before}{kept}…"));
    }
    // What spells nothing is cut anywhere but in an escape.
    check(&"%A9".repeat(700), &["%A9".repeat((LONGEST_PATH - CUT.len()) / 3), "…".into()].concat());
}

proptest! {
    #[test]
    fn every_line_is_one_object_of_printable_ascii_and_bounded(
        host in ".{0,3000}", path in any::<String>(), long in "\\PC{0,4000}", user in ".{0,3000}",
        plain in any::<bool>(),
    ) {
        let mut lines = Lines::calling_users(if plain { UserIds::Plain } else { hashed(b"s") });
        for path in [path, long] {
            let record = Record {
                host: Some(host.clone()),
                path: Some(Record::kept(&path).to_owned()),
                tenant: Some(host.as_str().into()),
                persona: Some(host.as_str().into()),
                device: Some(host.as_str().into()),
                user_id: Some(user.as_str().into()),
                ..record()
            };
            let line = line(&mut lines, &record);
            prop_assert!(line.len() <= LONGEST_LINE, "{}", line.len());
            prop_assert_eq!(line.bytes().filter(|byte| *byte == b'\n').count(), 1);
            prop_assert!(line.trim_end().bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let value: Value = serde_json::from_str(&line).unwrap();
            prop_assert!(value.is_object());
            let told = value["path"].as_str().unwrap();
            let start = told.strip_suffix('…').unwrap_or(told);
            prop_assert!(path.starts_with(start));
        }
    }
}

#[test]
fn a_user_is_called_as_the_configuration_says() {
    fn check(user_ids: UserIds, tenant: Option<&str>, expected: Value) {
        let mut lines = Lines::calling_users(user_ids);
        let record =
            Record { user_id: Some("4711".into()), tenant: tenant.map(Into::into), ..record() };
        assert_eq!(parsed(&mut lines, &record)["user_id"], expected);
        assert_eq!(parsed(&mut lines, &Record { user_id: None, ..record })["user_id"], Value::Null);
    }
    check(UserIds::Off, Some("acme"), Value::Null);
    check(UserIds::Plain, Some("acme"), json!("4711"));
    check(UserIds::Plain, None, Value::Null);
    let UserIds::Hashed(pseudonyms) = hashed(b"s") else { unreachable!() };
    let called = |tenant: &str| json!(pseudonyms.of(tenant).call("4711").as_str());
    assert_ne!(called("acme"), called("shop"));
    check(hashed(b"s"), Some("acme"), called("acme"));
    check(hashed(b"s"), Some("shop"), called("shop"));
}

#[test]
fn pseudonyms_that_are_kept_are_those_that_are_computed_and_bounded() {
    let mut users = Users { user_ids: hashed(b"s"), ..Users::default() };
    let UserIds::Hashed(pseudonyms) = hashed(b"s") else { unreachable!() };
    let tenants: Vec<Arc<str>> = vec!["acme".into(), "shop".into()];
    for number in 0..3 * MOST_KNOWN {
        let (tenant, user) = (&tenants[number % 2], (number % (2 * MOST_KNOWN)).to_string());
        for _ in 0..2 {
            assert_eq!(users.pseudonym(tenant, &user), Some(pseudonyms.of(tenant).call(&user)));
        }
        let kept: usize = users.tenants.values().map(|known| 1 + known.users.len()).sum();
        assert_eq!(kept, users.known);
        assert!(kept <= MOST_KNOWN + 1);
    }
}

#[test]
fn another_secret_or_mode_calls_users_otherwise() {
    let record = Record { user_id: Some("4711".into()), ..record() };
    let called = |user_ids| parsed(&mut Lines::calling_users(user_ids), &record)["user_id"].clone();
    let one = called(hashed(b"one"));
    assert_ne!(called(hashed(b"two")), one);
    assert_eq!(called(UserIds::Plain), json!("4711"));
    assert_eq!(called(UserIds::Off), Value::Null);
    assert_eq!(called(hashed(b"one")), one);
}
