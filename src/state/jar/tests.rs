use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::policy::session::cookie::without_sessions;

const ID: SessionId = SessionId([1; 16]);
const START: u64 = 1_763_683_200;
const NOW: UnixSeconds = UnixSeconds(START);
const UNTIL: UnixSeconds = UnixSeconds(START + 3_600);

fn jars(capacity: Capacity) -> Jars {
    let jars = Jars::new(capacity);
    jars.follow(["a", "b"]);
    jars
}

/// Takes each field, as an answer to a request for its path, and asks for the Cookie of others.
fn check(taken: &[(&str, &str)], sent: &[(&str, Option<&str>)]) {
    let jars = jars(Capacity::default());
    for (field, path) in taken {
        jars.take("a", ID, field.as_bytes(), path, NOW, UNTIL).unwrap();
    }
    for (path, expected) in sent {
        let header = jars.header("a", ID, path, NOW);
        assert_eq!(header.as_deref(), *expected, "{taken:?}: {path}");
    }
}

#[test]
fn cookies_are_kept_replaced_and_deleted() {
    check(&[("a=1", "/")], &[("/", Some("a=1")), ("/x/y", Some("a=1"))]);
    check(
        &[("_streamlit_xsrf=2|ab|cd|17; Path=/; SameSite=Lax", "/_stcore/health")],
        &[("/_stcore/upload_file/s/f", Some("_streamlit_xsrf=2|ab|cd|17"))],
    );
    check(&[("a=1", "/"), ("b=2", "/"), ("a=3", "/")], &[("/", Some("a=3; b=2"))]);
    check(&[("a=\"q; b\"", "/")], &[("/", Some("a=\"q"))]);
    check(&[("a=", "/"), (" b = x y ; Domain=evil.test", "/")], &[("/", Some("a=; b=x y"))]);
    check(&[("a=1", "/"), ("a=; Max-Age=0", "/")], &[("/", None)]);
    check(
        &[("a=1", "/"), ("a=; Max-Age=-5; Expires=Wed, 21 Oct 2099 07:28:00 GMT", "/")],
        &[("/", None)],
    );
    check(&[("a=1", "/"), ("a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "/")], &[("/", None)]);
    check(&[("a=1", "/"), ("a=; Path=/x; Max-Age=0", "/")], &[("/", Some("a=1"))]);
    check(&[("a=1; Expires=Wed, 21-Oct-99 07:28:00 GMT", "/")], &[("/", None)]);
    check(&[("a=1; Expires=nonsense; Max-Age=soon", "/")], &[("/", Some("a=1"))]);
}

#[test]
fn paths_are_matched_by_segments_and_longer_ones_come_first() {
    check(
        &[("a=1; Path=/", "/"), ("a=2; Path=/docs", "/"), ("b=3", "/docs/page")],
        &[
            ("/docs", Some("a=2; b=3; a=1")),
            ("/docs/", Some("a=2; b=3; a=1")),
            ("/docs/x", Some("a=2; b=3; a=1")),
            ("/docsx", Some("a=1")),
            ("/", Some("a=1")),
        ],
    );
    check(&[("a=1; Path=docs", "/x/y/z")], &[("/x/y", Some("a=1")), ("/x", None)]);
    check(&[("a=1; Path=/docs/", "/")], &[("/docs", None), ("/docs/x", Some("a=1"))]);
}

#[test]
fn what_is_no_cookie_or_ours_is_refused() {
    let jars = jars(Capacity::default());
    for (field, expected) in [
        (&b"nothing"[..], NotKept::Malformed),
        (b"=x", NotKept::Malformed),
        (b"a=\xff", NotKept::Malformed),
        (b"a=1\r\nX-Evil: 1", NotKept::Malformed),
        (b"a=1\0", NotKept::Malformed),
        (b"__Host-vestibule-990da60bda434256=x; Path=/; Secure", NotKept::Ours),
        (b" __host-VESTIBULE-x =x", NotKept::Ours),
        ("\u{a0}__Host-vestibule-x=x".as_bytes(), NotKept::Ours),
    ] {
        let seen = jars.take("a", ID, field, "/", NOW, UNTIL);
        assert_eq!(seen, Err(expected), "{}", field.escape_ascii());
    }
    assert_eq!(jars.sessions(), 0);
}

#[test]
fn a_cookie_ends_with_its_age_and_with_its_session() {
    let jars = jars(Capacity::default());
    let at = |seconds| UnixSeconds(START + seconds);
    jars.take("a", ID, b"short=1; Max-Age=10", "/", NOW, UNTIL).unwrap();
    jars.take("a", ID, b"long=2", "/", NOW, UNTIL).unwrap();
    let sent = |seconds| jars.header("a", ID, "/", at(seconds));
    assert_eq!(sent(9).as_deref(), Some("short=1; long=2"));
    assert_eq!(sent(10).as_deref(), Some("long=2"));
    assert_eq!(jars.value("a", ID, "short", at(9)).as_deref(), Some("1"));
    assert_eq!(jars.value("a", ID, "short", at(10)), None);
    assert_eq!(sent(3_600), None);
    jars.extend("a", ID, at(7_200));
    jars.tidy(at(3_600));
    assert_eq!(sent(3_600).as_deref(), Some("long=2"));
    jars.tidy(at(7_200));
    assert_eq!(jars.sessions(), 0);
}

#[test]
fn jars_are_apart_and_can_be_thrown_away() {
    let jars = jars(Capacity::default());
    let other = SessionId([2; 16]);
    jars.take("a", ID, b"a=1", "/", NOW, UNTIL).unwrap();
    jars.take("a", other, b"a=2", "/", NOW, UNTIL).unwrap();
    jars.take("b", ID, b"a=3", "/", NOW, UNTIL).unwrap();
    assert_eq!(jars.value("a", ID, "a", NOW).as_deref(), Some("1"));
    assert_eq!(jars.value("b", ID, "a", NOW).as_deref(), Some("3"));
    jars.forget("a", ID);
    assert_eq!(jars.header("a", ID, "/", NOW), None);
    assert_eq!(jars.header("a", other, "/", NOW).as_deref(), Some("a=2"));
    jars.follow(["a"]);
    jars.follow(["a", "b"]);
    assert_eq!(jars.header("b", ID, "/", NOW), None);
    assert_eq!(jars.sessions(), 1);
}

#[test]
fn a_full_store_keeps_what_lives() {
    let jars = jars(Capacity { sessions: 2, cookies: 2, bytes: 40 });
    let take = |number, field: &str, now: u64, until: u64| {
        let (now, until) = (UnixSeconds(START + now), UnixSeconds(START + until));
        jars.take("a", SessionId([number; 16]), field.as_bytes(), "/", now, until)
    };
    take(1, "a=1", 0, 10).unwrap();
    take(2, "a=1", 0, 20).unwrap();
    assert_eq!(take(3, "a=1", 9, 30), Err(NotKept::TenantFull));
    assert_eq!(take(3, "a=1", 10, 30), Ok(()));
    assert_eq!(take(3, "b=2; Max-Age=5", 10, 30), Ok(()));
    assert_eq!(take(3, "c=3", 10, 30), Err(NotKept::SessionFull));
    assert_eq!(take(3, "b=4; Max-Age=2", 10, 30), Ok(()), "another value of one that is kept");
    assert_eq!(take(3, "c=3", 12, 30), Ok(()), "in the place of one that has expired");
    let long = "x".repeat(40);
    assert_eq!(take(3, &format!("a={long}"), 12, 30), Err(NotKept::SessionFull));
    assert_eq!(take(2, &format!("z={long}"), 12, 30), Err(NotKept::SessionFull));
    let sent = jars.header("a", SessionId([3; 16]), "/", UnixSeconds(START + 12));
    assert_eq!(sent.as_deref(), Some("a=1; c=3"));
}

#[test]
fn dates_are_read_in_every_form_that_servers_write() {
    for date in [
        "Fri, 21 Nov 2025 00:00:10 GMT",
        "Fri, 21-Nov-2025 00:00:10 GMT",
        "Friday, 21-Nov-25 00:00:10 GMT",
        "Fri Nov 21 00:00:10 2025",
    ] {
        let jars = jars(Capacity::default());
        jars.take("a", ID, format!("a=1; expires={date}").as_bytes(), "/", NOW, UNTIL).unwrap();
        let lives = |seconds| jars.header("a", ID, "/", UnixSeconds(START + seconds)).is_some();
        assert!(lives(9) && !lives(10), "{date}");
    }
}

#[test]
fn an_empty_jar_takes_no_room() {
    let jars = jars(Capacity { sessions: 1, ..Capacity::default() });
    jars.take("a", ID, b"a=1; Path=/x", "/", NOW, UNTIL).unwrap();
    jars.take("a", ID, b"a=; Path=/x; Max-Age=0", "/", NOW, UNTIL).unwrap();
    assert_eq!(jars.sessions(), 0);
    jars.take("a", SessionId([2; 16]), b"a=1", "/", NOW, UNTIL).unwrap();
}

#[test]
fn what_has_ended_is_not_revived() {
    let jars = jars(Capacity::default());
    let at = |seconds| UnixSeconds(START + seconds);
    jars.take("a", ID, b"old=1", "/", at(0), at(10)).unwrap();
    jars.take("a", ID, b"new=2", "/", at(10), at(20)).unwrap();
    assert_eq!(jars.header("a", ID, "/", at(10)).as_deref(), Some("new=2"));
}

/// Any bytes, and much that is nearly a cookie: space of every kind around names that are ours.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let name = "[ \t\u{a0}\u{2028}\"]{0,2}(__[Hh]ost-[Vv]estibule-|__Host-|)[a-z=, \"\u{85}]{0,3}";
    let value = "[ -~\u{a0}\r\n\u{7f}é;]{0,8}";
    let attributes =
        "(; ?(Path=/?[a-b/]{0,3}|Max-Age=-?[0-9]{0,3}|Expires=[ -~]{0,9}|[ -~]{0,9})){0,3}";
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (name, value, attributes).prop_map(|(n, v, a)| format!("{n}={v}{a}").into_bytes()),
    ]
}

proptest! {
    #[test]
    fn no_field_breaks_a_request(field in "(a|b|__Host-vestibule-)=[\\PC\r\n\t;= ]{0,20}(; ?(Path|Max-Age|Expires)=[/a-z0-9,: GMT\\PC-]{0,30}){0,3}", path in "/[a-c/]{0,6}") {
        let jars = jars(Capacity::default());
        let _ = jars.take("a", ID, field.as_bytes(), &path, NOW, UNTIL);
        if let Some(sent) = jars.header("a", ID, &path, NOW) {
            prop_assert!(!sent.bytes().any(|byte| byte == b'\r' || byte == b'\n' || byte == 0));
            prop_assert!(!sent.contains(';') && !sent.contains("vestibule"), "{}", sent);
        }
    }

    #[test]
    fn a_header_is_one_field_value_without_a_session_of_ours(
        taken in proptest::collection::vec((fields(), "/[a-b/]{0,3}", 0..2u64), 1..12),
        path in "/[a-b/]{0,3}",
    ) {
        let jars = jars(Capacity::default());
        let mut now = NOW;
        let mut kept = 0;
        for (field, path, pause) in &taken {
            now = UnixSeconds(now.0 + pause);
            kept += usize::from(jars.take("a", ID, field, path, now, UNTIL).is_ok());
        }
        if let Some(sent) = jars.header("a", ID, &path, now) {
            prop_assert!(http::HeaderValue::from_bytes(sent.as_bytes()).is_ok(), "{:?}", sent);
            let pairs: Vec<_> = sent.split(';').collect();
            prop_assert!(pairs.len() <= kept && pairs.iter().all(|pair| pair.contains('=')));
            let without = without_sessions(sent.as_bytes());
            prop_assert!(matches!(without, Some(Cow::Borrowed(_))), "{:?}", sent);
        }
    }

    #[test]
    fn a_value_goes_back_to_the_byte(value in "([!-:<-~]([ -:<-~]{0,20}[!-:<-~])?)?") {
        let jars = jars(Capacity::default());
        jars.take("a", ID, format!("n={value}").as_bytes(), "/", NOW, UNTIL).unwrap();
        prop_assert_eq!(jars.header("a", ID, "/", NOW), Some(format!("n={value}")));
        prop_assert_eq!(jars.value("a", ID, "n", NOW), Some(value));
    }
}
