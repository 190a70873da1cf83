use std::time::Duration;

use hmac::KeyInit;
use proptest::prelude::*;
use serde_json::Value;

use super::diagnosis::Printing;
use super::*;
use crate::policy::identity::Identity;
use crate::policy::metadata::Parameters;
use crate::policy::query::sort;
use crate::policy::session::{Purpose, SessionId, Stage};

const NOW: u64 = 1_763_683_200_000;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/signed-url.json")).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes()).unwrap()
}

fn terms() -> Terms {
    Terms {
        max_age: Duration::from_secs(300),
        replay: Replay::Bind,
        ignore: Box::default(),
        claims: ["mode", "user_id", "plan"].map(Box::from).into(),
        forward_signature: false,
    }
}

fn policy() -> SigningPolicy {
    SigningPolicy::new(&[secret("ragtime-test-secret")], terms()).unwrap()
}

fn ignoring(names: &[&str]) -> SigningPolicy {
    let ignore = names.iter().map(|&name| Box::from(name)).collect();
    SigningPolicy::new(&[secret("ragtime-test-secret")], Terms { ignore, ..terms() }).unwrap()
}

fn code(result: &Result<Verified<'_>, Rejection>) -> Option<Code> {
    result.as_ref().err().map(|rejection| rejection.code)
}

/// The signature of text that is canonical already.
fn signature(text: &str) -> String {
    let mac = secret("ragtime-test-secret").hmac().chain_update(text).finalize().into_bytes();
    let mut query = String::new();
    push_signature(&mac, &mut query);
    query.split_off("signature=".len())
}

fn signed(text: &str) -> String {
    format!("{text}&signature={}", signature(text))
}

#[test]
fn what_node_has_signed_verifies_and_is_forwarded_as_it_was_checked() {
    let vectors = vectors();
    let cases = vectors["sign"].as_array().unwrap();
    assert!(cases.len() >= 15);
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let verified = verify(&policy(), Some(text("query")), None, NOW, None).unwrap();
        assert_eq!(verified.forward_query().as_deref(), Some(text("canonical")));
        let proof = verified.proof().0;
        assert!(text("signature").starts_with(&format!("{:032x}", u128::from_be_bytes(proof))));
        assert_eq!(policy().sign(text("query"), 1), Ok(text("query").to_owned()));
        let mut all: Vec<Pair<'_>> = pairs(text("query").as_bytes()).collect();
        all.retain(|pair| pair.name != SIGNATURE);
        sort(&mut all);
        assert!(verified.pairs().eq(&all), "{}", text("name"));
        // The same as a form.
        let form = text("query").as_bytes();
        let verified = verify(&policy(), None, Some(form), NOW, None).unwrap();
        assert_eq!(verified.forward_query(), None);
        assert!(verified.pairs_of(Part::Form).eq(&all));
    }
}

#[test]
fn every_vector_of_verification_has_its_outcome() {
    let vectors = vectors();
    for case in vectors["verify"].as_array().unwrap() {
        let query = case["query"].as_str().unwrap();
        let result = verify(&policy(), Some(query), None, NOW, None);
        let accept = case["outcome"] == "accept";
        assert_eq!(result.is_ok(), accept, "{}", case["name"]);
        if let Some(canonical) = case["canonical"].as_str() {
            assert_eq!(result.unwrap().forward_query().as_deref(), Some(canonical));
        }
    }
}

#[test]
fn a_refusal_has_a_code_that_helps_the_honest() {
    let stamp = "timestamp=1763683200000";
    let digits = signature(&format!("a=1&{stamp}"));
    for (query, expected, detail) in [
        ("", Code::SignatureMissing, None),
        ("a=1&timestamp=1763683200000", Code::SignatureMissing, None),
        ("a=1&Signature=00", Code::SignatureMissing, None),
        ("a=1&signature=", Code::SignatureInvalid, Some("64 hexadecimal digits")),
        (&format!("a=1&{stamp}&signature={}", &digits[1..]), Code::SignatureInvalid, Some("64 ")),
        (&format!("a=1&{stamp}&signature=g{}", &digits[1..]), Code::SignatureInvalid, Some("64 ")),
        (&format!("a=1&{stamp}&signature={digits}0"), Code::SignatureInvalid, Some("64 ")),
        (
            &format!("a=1&{stamp}&signature={digits}&signature={digits}"),
            Code::SignatureInvalid,
            Some("more than one signature"),
        ),
        (
            &format!("a=2&{stamp}&signature={digits}"),
            Code::SignatureInvalid,
            Some("URLSearchParams"),
        ),
        (&signed("a=1"), Code::TimestampMissing, None),
        (&signed("timestamp="), Code::TimestampInvalid, Some("13 digits")),
        (&signed("timestamp=17636832000000"), Code::TimestampInvalid, Some("13 digits")),
        (&signed("timestamp=%2B763683200000"), Code::TimestampInvalid, Some("13 digits")),
        (&signed("timestamp=1763683200"), Code::TimestampInvalid, Some("looks like seconds")),
        (&signed(&format!("{stamp}&{stamp}")), Code::TimestampInvalid, Some("more than one")),
        (
            &signed("timestamp=1763682899999"),
            Code::TimestampStale,
            Some("The timestamp is 301 seconds old; 300 are allowed."),
        ),
        (
            &signed("timestamp=1763683260001"),
            Code::TimestampStale,
            Some("The timestamp is 61 seconds ahead of this server's clock; 60 are allowed."),
        ),
    ] {
        let rejection = verify(&policy(), Some(query), None, NOW, None).unwrap_err();
        assert_eq!(rejection.code, expected, "{query}");
        let said = rejection.detail.as_deref();
        assert_eq!(said.is_some(), detail.is_some(), "{query}: {said:?}");
        assert!(detail.is_none_or(|it| said.unwrap_or_default().contains(it)), "{query}: {said:?}");
    }
}

#[test]
fn a_signature_counts_five_minutes_back_and_sixty_seconds_ahead() {
    for (timestamp, good) in [
        (NOW - 300_001, false),
        (NOW - 300_000, true),
        (NOW, true),
        (NOW + 60_000, true),
        (NOW + 60_001, false),
    ] {
        let query = signed(&format!("timestamp={timestamp}"));
        let result = verify(&policy(), Some(&query), None, NOW, None);
        assert_eq!(result.is_ok(), good, "{timestamp}");
        if let Ok(verified) = result {
            assert_eq!(verified.timestamp(), timestamp);
            assert_eq!(verified.fresh_until().0, (timestamp + 300_000) / 1000);
        }
    }
}

#[test]
fn only_the_age_of_a_signature_is_vouched_for() {
    let query = signed("timestamp=1763683200000");
    let later = NOW + 86_400_000;
    let proof = verify(&policy(), Some(&query), None, NOW, None).unwrap().proof();
    assert!(verify(&policy(), Some(&query), None, later, Some(proof)).is_ok());
    let other = LaunchProof([0; 16]);
    let result = verify(&policy(), Some(&query), None, later, Some(other));
    assert_eq!(code(&result), Some(Code::TimestampStale));
    let changed = query.replace("timestamp=1", "timestamp=2");
    let result = verify(&policy(), Some(&changed), None, later, Some(proof));
    assert_eq!(code(&result), Some(Code::SignatureInvalid));
    let half = format!("{}{}", &query[..query.len() - 32], "0".repeat(32));
    let result = verify(&policy(), Some(&half), None, later, Some(proof));
    assert_eq!(code(&result), Some(Code::SignatureInvalid));
}

#[test]
fn each_of_several_secrets_may_have_signed_and_no_other() {
    let secrets = ["new", "ragtime-test-secret", "old"].map(secret);
    let policy = SigningPolicy::new(&secrets, terms()).unwrap();
    let stamp = "timestamp=1763683200000";
    for (key, good) in [("new", true), ("old", true), ("ragtime-test-secret", true), ("", false)] {
        let mac = HmacSha256::new_from_slice(key.as_bytes()).unwrap();
        let mac = mac.chain_update(stamp).finalize().into_bytes();
        let mut query = stamp.to_owned();
        push_signature(&mac, &mut query);
        assert_eq!(verify(&policy, Some(&query), None, NOW, None).is_ok(), good, "{key}");
    }
    let by_first = policy.sign(stamp, 0).unwrap();
    let alone = SigningPolicy::new(&secrets[..1], terms()).unwrap();
    assert!(verify(&alone, Some(&by_first), None, NOW, None).is_ok());
    assert!(SigningPolicy::new(&[], terms()).is_none());
}

#[test]
fn query_and_form_are_signed_together() {
    let text = "a=1&b=2&mode=public&timestamp=1763683200000";
    let digits = signature(text);
    let policy = policy();
    for (query, form) in [
        (format!("b=2&a=1&signature={digits}"), "mode=public&timestamp=1763683200000".to_owned()),
        ("a=1&b=2".to_owned(), format!("timestamp=1763683200000&mode=public&signature={digits}")),
        (String::new(), signed(text)),
        (signed(text), String::new()),
    ] {
        let form = Some(form.as_bytes());
        let verified = verify(&policy, Some(&query), form, NOW, None).unwrap();
        let parameters = Parameters::from_pairs(verified.pairs()).unwrap();
        assert_eq!(parameters.mode.as_deref(), Some("public"));
        let of_query = verified.pairs_of(Part::Query).map(|pair| &*pair.name);
        let sent = pairs(query.as_bytes()).filter(|pair| pair.name != SIGNATURE);
        assert_eq!(of_query.count(), sent.count());
    }
    // A field of the form is not a parameter of the query, however it is signed.
    let form = format!("b=2&mode=public&timestamp=1763683200000&signature={digits}");
    let verified = verify(&policy, Some("a=1"), Some(form.as_bytes()), NOW, None).unwrap();
    assert_eq!(verified.forward_query().as_deref(), Some("a=1"));
}

#[test]
fn a_name_in_the_query_and_in_the_form_is_refused() {
    let text = "a=1&a=2&timestamp=1763683200000";
    assert!(verify(&policy(), Some(&signed(text)), None, NOW, None).is_ok());
    let form = format!("a=2&timestamp=1763683200000&signature={}", signature(text));
    for query in ["a=1", "%61=1"] {
        let result = verify(&policy(), Some(query), Some(form.as_bytes()), NOW, None);
        assert_eq!(code(&result), Some(Code::ParameterDuplicate));
    }
    let both = format!("signature={}", signature(text));
    let result = verify(&policy(), Some(&both), Some(form.as_bytes()), NOW, None);
    assert_eq!(code(&result), Some(Code::SignatureInvalid));
}

#[test]
fn line_ends_of_a_form_may_have_become_crlf_on_their_way() {
    let lf = signed("msg=a%0Ab%0A&timestamp=1763683200000");
    let crlf = signed("msg=a%0D%0Ab%0D%0A&timestamp=1763683200000");
    let as_crlf = |text: &str| text.replace("%0D%0A", "%0A").replace("%0A", "%0D%0A");
    for (form, value) in
        [(lf.clone(), "a\nb\n"), (as_crlf(&lf), "a\nb\n"), (crlf.clone(), "a\r\nb\r\n")]
    {
        let verified = verify(&policy(), None, Some(form.as_bytes()), NOW, None).unwrap();
        assert_eq!(verified.pairs().next().unwrap().value, value);
    }
    // Browsers do that to forms alone, and never the other way.
    for query in [as_crlf(&lf), crlf.replace("%0D%0A", "%0A")] {
        let result = verify(&policy(), Some(&query), None, NOW, None);
        assert_eq!(code(&result), Some(Code::SignatureInvalid));
    }
    let form = crlf.replace("%0D%0A", "%0A");
    let result = verify(&policy(), None, Some(form.as_bytes()), NOW, None);
    assert_eq!(code(&result), Some(Code::SignatureInvalid));
}

#[test]
fn ignored_parameters_are_neither_signed_nor_forwarded_and_nobody_is_asked_for_them() {
    let query =
        format!("utm_source=x&{}&fbclid=1&utm%5Fsource=2", signed("timestamp=1763683200000"));
    let result = verify(&policy(), Some(&query), None, NOW, None);
    assert_eq!(code(&result), Some(Code::SignatureInvalid), "off by default");
    let ignoring = ignoring(&["utm_source", "fbclid"]);
    let verified = verify(&ignoring, Some(&query), Some(b"utm_source=3"), NOW, None).unwrap();
    assert_eq!(verified.forward_query().as_deref(), Some("timestamp=1763683200000"));
    assert_eq!(verified.pairs().count(), 1);
    let again = ignoring.sign(&query, 0).unwrap();
    assert_eq!(
        again,
        format!("{}&utm_source=x&fbclid=1&utm_source=2", signed("timestamp=1763683200000"))
    );
    assert!(verify(&ignoring, Some(&again), None, NOW, None).is_ok());
}

#[test]
fn the_signature_is_forwarded_only_where_that_is_wanted() {
    let policy = SigningPolicy::new(
        &[secret("ragtime-test-secret")],
        Terms { forward_signature: true, ..terms() },
    )
    .unwrap();
    let query = signed("a=1&timestamp=1763683200000");
    let shuffled = query.replace("a=1&", "").to_uppercase().replace("SIGNATURE", "signature");
    let shuffled = format!("{}&%61=1", shuffled.replace("TIMESTAMP", "timestamp"));
    let verified = verify(&policy, Some(&shuffled), None, NOW, None).unwrap();
    assert_eq!(verified.forward_query().as_deref(), Some(&*query));
    let verified = verify(&policy, Some("a=1"), Some(&query.as_bytes()[4..]), NOW, None).unwrap();
    assert_eq!(verified.forward_query().as_deref(), Some("a=1"), "it came in the form");
}

#[test]
fn signing_keeps_what_is_there_and_adds_the_time() {
    let policy = policy();
    for (query, expected) in [
        ("", Ok("timestamp=5")),
        ("b=2&a=1 2", Ok("a=1+2&b=2&timestamp=5")),
        ("timestamp=1763683200000&signature=old", Ok("timestamp=1763683200000")),
        ("timestamp=1763683200", Err(Code::TimestampInvalid)),
    ] {
        let result = policy.sign(query, 5).map_err(|rejection| rejection.code);
        assert_eq!(result, expected.map(signed), "{query}");
    }
}

#[test]
fn a_stranger_cannot_have_many_parameters_held() {
    let most = "&a".repeat(MAX_PARAMETERS - 1);
    let result = verify(&policy(), Some("signature=0"), Some(most.as_bytes()), NOW, None);
    assert_eq!(code(&result), Some(Code::SignatureInvalid));
    let more = "&a".repeat(MAX_PARAMETERS);
    let result = verify(&policy(), Some("signature=0"), Some(more.as_bytes()), NOW, None);
    assert_eq!(code(&result), Some(Code::ParameterInvalid));
}

fn session(proof: Option<LaunchProof>, stage: Stage) -> Session {
    let identity = Identity::anonymous(crate::config::snapshot::Mode::Public, None);
    let now = UnixSeconds(NOW / 1000);
    let session = Session::start(SessionId([1; 16]), identity, now, Purpose::Cookie.lifetime());
    Session { proof, stage, ..session }
}

#[test]
fn a_signed_session_opens_documents_that_claim_nothing() {
    let query = signed("timestamp=1763683200000");
    let policy = policy();
    let proof = verify(&policy, Some(&query), None, NOW, None).unwrap().proof();
    let (mine, unsigned) = (session(Some(proof), Stage::Settled), session(None, Stage::Settled));
    let later = NOW + 3_600_000;
    for (held, query, form, expected) in [
        (Some(&mine), None, None, Ok(false)),
        (Some(&mine), Some("page=2&direction=rtl"), None, Ok(false)),
        (Some(&mine), Some("user%5Fid=2"), None, Err(Code::SignatureMissing)),
        (Some(&mine), Some("plan=gold"), None, Err(Code::SignatureMissing)),
        (Some(&mine), Some("timestamp=1763683200000"), None, Err(Code::SignatureMissing)),
        (Some(&mine), None, Some(&b"a=1"[..]), Err(Code::SignatureMissing)),
        (Some(&mine), Some(&*query), None, Ok(true)),
        (Some(&unsigned), None, None, Err(Code::SignatureMissing)),
        (Some(&unsigned), Some(&*query), None, Err(Code::TimestampStale)),
        (None, Some(&*query), None, Err(Code::TimestampStale)),
        (None, None, None, Err(Code::SignatureMissing)),
    ] {
        let basis = basis(&policy, query, form, later, held);
        let by_signature = basis.map(|basis| matches!(basis, Basis::Signature(_)));
        assert_eq!(by_signature.map_err(|it| it.code), expected, "{query:?} {form:?}");
    }
}

#[test]
fn once_is_vouched_for_only_on_its_way() {
    let proof = LaunchProof([7; 16]);
    let now = UnixSeconds(NOW / 1000);
    for (replay, stage, expected) in [
        (Replay::Bind, Stage::Settled, true),
        (Replay::Off, Stage::Settled, true),
        (Replay::Once, Stage::Settled, false),
        (Replay::Once, Stage::Launching, true),
    ] {
        let policy = SigningPolicy::new(&[secret("s")], Terms { replay, ..terms() }).unwrap();
        let held = session(Some(proof), stage);
        let vouched = policy.vouched(Some(&held), now).next();
        assert_eq!(vouched, expected.then_some(proof), "{replay:?} {stage:?}");
        assert_eq!(policy.vouched(None, now).next(), None);
    }
}

#[test]
fn no_secret_is_printed() {
    let printed = format!("{:?}", policy());
    assert!(printed.contains("secrets: 1") && !printed.contains("ragtime"), "{printed}");
}

#[test]
fn every_mistake_of_a_signer_is_guessed() {
    let stamp = "timestamp=1763683200000";
    let signed_as = |query: &str, text: &str| format!("{query}&signature={}", signature(text));
    for (query, form, expected) in [
        (format!("{}&utm_source=x", signed(stamp)), "", Guess::Added("utm_source".into())),
        (signed_as(&format!("a=1&{stamp}"), "a=1"), "", Guess::WithoutTimestamp),
        (signed(&format!("{stamp}&b=1&a=2")), "", Guess::Unsorted),
        (
            signed_as(&format!("a=%7E&{stamp}"), &format!("a=~&{stamp}")),
            "",
            Guess::Printed(Printing::QuotePlus),
        ),
        (
            signed_as(&format!("a=*&{stamp}"), &format!("a=%2A&{stamp}")),
            "",
            Guess::Printed(Printing::QuotePlus),
        ),
        (
            signed_as(&format!("a=*~&{stamp}"), &format!("a=%2A%7E&{stamp}")),
            "",
            Guess::Printed(Printing::Php),
        ),
        (
            signed_as(&format!("a=1+2&{stamp}"), &format!("a=1%202&{stamp}")),
            "",
            Guess::Printed(Printing::Rfc3986),
        ),
        (
            signed_as(&format!("{stamp}&a=1!+2"), &format!("{stamp}&a=1!%202")),
            "",
            Guess::UnsortedAndPrinted(Printing::UriComponent),
        ),
        (
            signed_as(&format!("a=%26&{stamp}"), &format!("a=&&{stamp}")),
            "",
            Guess::Printed(Printing::Plain),
        ),
        (signed_as(&format!("b=a+b&{stamp}"), &format!("b=a%2Bb&{stamp}")), "", Guess::BarePlus),
        (signed(stamp), "a=1", Guess::Only(Part::Query)),
        ("a=1".into(), "FORM", Guess::Only(Part::Form)),
        (String::new(), "LINES", Guess::CarriageReturns),
        (
            signed_as(&format!("a=1%252B2&{stamp}"), &format!("a=1%2B2&{stamp}")),
            "",
            Guess::EncodedTwice,
        ),
        (
            format!("{}&gclid=1", signed(&format!("ref=x&{stamp}"))),
            "",
            Guess::Added("gclid".into()),
        ),
        (signed(&format!("ignored=x&{stamp}")), "", Guess::SignedIgnored),
    ] {
        let lines = signed_as(&format!("a=1%0A2&{stamp}"), &format!("a=1%0D%0A2&{stamp}"));
        let form = match form {
            "FORM" => signed(stamp),
            "LINES" => lines,
            form => form.to_owned(),
        };
        let policy = ignoring(&["ignored"]);
        assert!(verify(&policy, Some(&query), Some(form.as_bytes()), NOW, None).is_err());
        let found = guesses(&policy, Some(&query), Some(form.as_bytes())).unwrap();
        assert!(found.contains(&expected), "{query} {form}: {found:?}");
        assert!(found.iter().all(|guess| guess.to_string().starts_with("it verifies ")));
    }
    for query in ["a=1", &signed_as(stamp, "something else")] {
        assert_eq!(guesses(&policy(), Some(query), None), Ok(Vec::new()));
    }
}

#[test]
fn a_launch_is_shown_as_it_would_have_to_be_signed() {
    let form = b"b=x%0D%0Ay&gclid=1&timestamp=1763683200000";
    let shown = shown(&ignoring(&["gclid"]), Some("z=~&a=1"), Some(form)).unwrap();
    assert_eq!(shown.canonical, "a=1&b=x%0D%0Ay&timestamp=1763683200000&z=%7E");
    let with_line_feeds = "a=1&b=x%0Ay&timestamp=1763683200000&z=%7E";
    assert_eq!(shown.with_line_feeds.as_deref(), Some(with_line_feeds));
    assert_eq!(shown.ignored, ["gclid"]);
    assert_eq!(shown.timestamp, Some(1_763_683_200_000));
}

/// What a request says, whatever its spelling.
fn meaning(query: &[u8]) -> (Vec<(String, String)>, Vec<String>) {
    let mut all: Vec<_> = pairs(query).collect();
    sort(&mut all);
    let (signatures, rest): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|pair| pair.name == SIGNATURE);
    let rest = rest.into_iter().map(|pair| (pair.name.into_owned(), pair.value.into_owned()));
    (rest.collect(), signatures.iter().map(|pair| pair.value.to_lowercase()).collect())
}

#[test]
fn every_change_of_a_single_byte_is_refused() {
    let policy = policy();
    let vectors = vectors();
    let cases = vectors["sign"].as_array().unwrap().iter();
    let mut spellings = 0;
    for query in cases
        .map(|case| case["query"].as_str().unwrap())
        .chain(["timestamp=1763683200000&x=%20&signature=6E5D5C5B"])
    {
        let query = policy.sign(query, NOW).unwrap();
        let said = meaning(query.as_bytes());
        for at in 0..query.len() {
            for byte in 0x21..0x7f {
                let mut changed = query.clone().into_bytes();
                changed[at] = byte;
                let is_same = meaning(&changed) == said;
                spellings += usize::from(is_same && changed != query.as_bytes());
                let text = std::str::from_utf8(&changed).unwrap();
                let as_query = verify(&policy, Some(text), None, NOW, None).is_ok();
                let as_form = verify(&policy, None, Some(&changed), NOW, None).is_ok();
                assert_eq!((as_query, as_form), (is_same, is_same), "{text}");
            }
            let mut shorter = query.clone();
            shorter.remove(at);
            let is_same = meaning(shorter.as_bytes()) == said;
            let good = verify(&policy, Some(&shorter), None, NOW, None).is_ok();
            assert_eq!(good, is_same, "{shorter}");
        }
    }
    // Letters of hexadecimal digits, of escapes and signatures, in their other case.
    assert!(spellings > 100, "{spellings}");
}

proptest! {
    #[test]
    fn whatever_is_signed_verifies_in_any_spelling_and_order(
        list in prop::collection::vec(("[a-c~ \u{e9}\u{ff61}😀]{0,3}", "\\PC{0,6}"), 0..6),
        lines in prop::collection::vec("[a\n]{0,4}", 0..3),
        split in 0..6_usize,
    ) {
        let mut query = String::new();
        let lines = lines.iter().enumerate().map(|(n, text)| (format!("line{n}"), text.clone()));
        let list: Vec<(String, String)> = list.into_iter().chain(lines).collect();
        let list: Vec<_> = list.iter().map(|(name, value)| Pair { name: name.into(), value: value.into() }).collect();
        serialise(&list, &mut query);
        let signed = policy().sign(&query, NOW).unwrap();
        prop_assert!(verify(&policy(), Some(&signed), None, NOW, None).is_ok());
        // Those of one name stay together, and in their order.
        let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let all: Vec<_> = pairs(signed.as_bytes()).collect();
        let mut parts = [Vec::new(), Vec::new()];
        for pair in &all {
            let part = usize::from(pair.name.len() % 6 < split);
            let value = pair.value.replace('\n', if part == 1 { "\r\n" } else { "\n" });
            parts[part].push(format!("{}={}", escaped(&pair.name), escaped(&value)));
        }
        let [query, form] = parts.map(|part| part.join("&"));
        let form = Some(form.as_bytes());
        let verified = verify(&policy(), Some(&query), form, NOW, None);
        prop_assert!(verified.is_ok(), "{} {:?}", query, form);
        let canonical = signed.rsplit_once("&signature=").unwrap().0;
        prop_assert_eq!(&verified.unwrap().canonical, canonical);
    }

    #[test]
    fn any_change_of_a_signed_request_is_another_request(
        at in any::<prop::sample::Index>(),
        cut in 0..4_usize,
        piece in "[&=%+0-9a-fxA-F]{0,4}",
    ) {
        let policy = policy();
        let query = policy.sign("a=1&b=x+y%26&a=%C3%A9&user_id=7", NOW).unwrap();
        let start = at.index(query.len());
        let mut changed = query.clone();
        changed.replace_range(start..(start + cut).min(query.len()), &piece);
        let is_same = meaning(changed.as_bytes()) == meaning(query.as_bytes());
        let good = verify(&policy, Some(&changed), None, NOW, None).is_ok();
        prop_assert_eq!(good, is_same, "{}", changed);
    }
}
