use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::query::pairs;

const CUSTOM: Option<InjectionPolicy> = Some(InjectionPolicy::Custom);

fn pair<'q>(name: &'q str, value: &'q str) -> Pair<'q> {
    Pair { name: name.into(), value: value.into() }
}

fn by_form(name: &str, text: &str) -> Result<Injection, Rejection> {
    decide(CUSTOM, [], [pair(name, text)])
}

fn by_query(name: &str, value: &str) -> Result<Injection, Rejection> {
    decide(CUSTOM, [pair(name, value)], [])
}

/// Every way in which browsers and servers write a text down in a query.
fn encodings(text: &str) -> Vec<(&'static str, String)> {
    let utf8 = text.as_bytes();
    let mut all = vec![
        ("standard", BASE64_STANDARD.encode(utf8)),
        ("standard, not padded", BASE64_STANDARD_NO_PAD.encode(utf8)),
        ("url", BASE64_URL_SAFE.encode(utf8)),
        ("url, not padded", BASE64_URL_SAFE_NO_PAD.encode(utf8)),
    ];
    if let Some(latin1) = latin1(text).filter(|latin1| std::str::from_utf8(latin1).is_err()) {
        all.push(("btoa", BASE64_STANDARD.encode(latin1)));
    }
    all
}

/// As `btoa` takes it; nothing where `btoa` throws.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

/// The same from a form and from a query in every encoding.
fn each_way(name: &str, text: &str) -> Result<Injection, Rejection> {
    let answer = by_form(name, text);
    for (habit, value) in encodings(text) {
        assert_eq!(by_query(name, &value), answer, "{name} by {habit}: {text:.80}");
    }
    answer
}

fn told(answer: Result<Injection, Rejection>) -> String {
    match answer {
        Ok(injection) => {
            let overrides = injection.instruction_overrides().unwrap_or_default();
            format!("{overrides}{}", injection.prefill_messages().unwrap_or_default())
        }
        Err(rejection) => {
            let code = rejection.code;
            let detail = rejection.detail.unwrap_or_default();
            format!("{} {}: {detail}", code.status_u16(), code.as_str())
        }
    }
}

fn message(content: &str) -> Value {
    json!({ "type": "message", "role": "assistant", "content": content })
}

fn instructions(field: &str, length: usize) -> String {
    json!({ field: { "value": "x".repeat(length), "mode": "append" } }).to_string()
}

const OVER: &str = "422 content_over_limit";
const BAD: &str = "400 injection_malformed";

/// Rows of the injection document: what is sent, and what is forwarded or answered.
#[test]
fn every_limit_and_error_of_the_document_holds_both_ways_and_in_every_base64() {
    let both = r#"{"customInstructions":{"value":"a","mode":"append"},"openingInstructions":{"value":"b","mode":"replace"}}"#;
    for (text, expected) in [
        ("{}", "{}"),
        (" { } \n", "{}"),
        (both, both),
        (
            r#"{"openingInstructions":{"mode":"replace","value":"b"}, "custom\u0049nstructions":{"mode":"append","value":"\u0061"}}"#,
            both,
        ),
        (
            r#"{"customInstructions":{"value":"Grüße, señor ÿ","mode":"append"}}"#,
            r#"{"customInstructions":{"value":"Grüße, señor ÿ","mode":"append"}}"#,
        ),
        (
            r#"{"customInstructions":{"value":"\ud83d\ude00 \u2028 \/ 你好","mode":"append"}}"#,
            "{\"customInstructions\":{\"value\":\"😀 \u{2028} / 你好\",\"mode\":\"append\"}}",
        ),
        ("[]", "instructionOverrides is no object"),
        ("null", "instructionOverrides is no object"),
        (r#"{"customInstructions":null}"#, "instructionOverrides.customInstructions is no object"),
        (r#"{"customInstructions":"x"}"#, "instructionOverrides.customInstructions is no object"),
        (
            r#"{"customInstructions":{"value":"x"}}"#,
            "instructionOverrides.customInstructions.mode is missing",
        ),
        (
            r#"{"customInstructions":{"mode":"append"}}"#,
            "instructionOverrides.customInstructions.value is missing",
        ),
        (
            r#"{"customInstructions":{"value":7,"mode":"append"}}"#,
            "instructionOverrides.customInstructions.value is no text",
        ),
        (
            r#"{"openingInstructions":{"value":"x","mode":"prepend"}}"#,
            "instructionOverrides.openingInstructions.mode is neither replace nor append",
        ),
        (
            r#"{"openingInstructions":{"value":"x","mode":"Append"}}"#,
            "instructionOverrides.openingInstructions.mode is neither replace nor append",
        ),
        (
            r#"{"openingInstructions":{"value":"\ud83d","mode":"append"}}"#,
            "instructionOverrides.openingInstructions.value is a text with half a character in it",
        ),
        (r#"{"persona":{}}"#, "instructionOverrides.persona is not a field"),
        (r#"{"my secret":{}}"#, "instructionOverrides has a field that is not one"),
        (
            r#"{"customInstructions":{"value":"x","mode":"append","note":1}}"#,
            "instructionOverrides.customInstructions.note is not a field",
        ),
        (
            r#"{"customInstructions":{"value":"x","mode":"append","value":"y"}}"#,
            "instructionOverrides.customInstructions.value is given more than once",
        ),
        (
            r#"{"customInstructions":{},"custom\u0049nstructions":{}}"#,
            "instructionOverrides.customInstructions is given more than once",
        ),
        (
            r#"{"customInstructions":{"value":"x",}}"#,
            "instructionOverrides is not JSON (line 1, column 36)",
        ),
        ("{} {}", "instructionOverrides is not JSON (line 1, column 4)"),
        ("", "instructionOverrides is not JSON (line 1, column 0)"),
    ] {
        let is_error = expected.starts_with("instructionOverrides");
        let expected = if is_error { format!("{BAD}: {expected}.") } else { expected.to_owned() };
        assert_eq!(told(each_way("instructionOverrides", text)), expected, "{text}");
    }
}

#[test]
fn every_error_of_a_message_names_its_place() {
    let hello = r#"[{"type":"message","role":"assistant","content":"Hi"}]"#;
    for (text, expected) in [
        ("[]".to_owned(), "[]".to_owned()),
        (hello.to_owned(), hello.to_owned()),
        (r#"[{"content":"Hi","role":"assistant","type":"message"}]"#.to_owned(), hello.to_owned()),
        ("{}".to_owned(), format!("{BAD}: prefillMessages is no list.")),
        ("[\"Hi\"]".to_owned(), format!("{BAD}: prefillMessages[0] is no object.")),
        (
            json!([message("a"), { "type": "message", "role": "system", "content": "b" }]).to_string(),
            format!("{BAD}: prefillMessages[1].role is neither user nor assistant."),
        ),
        (
            json!([message("a"), message("b"), message("c"), { "type": "message", "role": "user", "content": "d", "text": "" }]).to_string(),
            format!("{BAD}: prefillMessages[3].text is not a field."),
        ),
        (
            json!([{ "role": "user", "content": "a" }]).to_string(),
            format!("{BAD}: prefillMessages[0].type is missing."),
        ),
        (
            json!([{ "type": "message", "role": "user" }]).to_string(),
            format!("{BAD}: prefillMessages[0].content is missing."),
        ),
        (
            json!([{ "type": "message", "role": "user", "content": ["a"] }]).to_string(),
            format!("{BAD}: prefillMessages[0].content is no text."),
        ),
        (
            json!([message("a"), { "type": "choices", "options": ["A", "B"] }]).to_string(),
            "422 message_type_unknown: prefillMessages[1].type is not known.".to_owned(),
        ),
        // Malformed comes first, wherever it stands.
        (
            json!([{ "type": "card", "title": "A" }, { "type": "message" }]).to_string(),
            format!("{BAD}: prefillMessages[1].content is missing."),
        ),
        (
            json!(vec![message("a"); 51]).to_string(),
            format!("{OVER}: prefillMessages has 51 messages and may have 50."),
        ),
        (
            json!([vec![message("a"); 60], vec![json!(7)]].concat()).to_string(),
            format!("{BAD}: prefillMessages[60] is no object."),
        ),
        (
            json!([vec![message("a"); 50], vec![json!({ "type": "card" })]].concat()).to_string(),
            format!("{OVER}: prefillMessages has 51 messages and may have 50."),
        ),
    ] {
        assert_eq!(told(each_way("prefillMessages", &text)), expected, "{text:.90}");
    }
}

#[test]
fn instructions_over_their_limit_are_refused_and_messages_are_cut() {
    for (field, most) in [("customInstructions", 7_500), ("openingInstructions", 2_000)] {
        assert!(each_way("instructionOverrides", &instructions(field, most)).is_ok());
        assert_eq!(
            told(each_way("instructionOverrides", &instructions(field, most + 1))),
            format!(
                "{OVER}: instructionOverrides.{field}.value has {} characters and may have {most}.",
                most + 1
            )
        );
    }
    for (sent, kept) in [
        ("x".repeat(2_000), "x".repeat(2_000)),
        ("x".repeat(2_001), "x".repeat(2_000)),
        ("中".repeat(2_500), "中".repeat(2_000)),
        ("😀".repeat(1_000), "😀".repeat(1_000)),
        ("😀".repeat(1_001), "😀".repeat(1_000)),
        // The last character would need two units and has one.
        (format!("x{}", "😀".repeat(1_000)), format!("x{}", "😀".repeat(999))),
        (format!("{}😀y", "x".repeat(1_999)), "x".repeat(1_999)),
    ] {
        let injection = each_way("prefillMessages", &json!([message(&sent)]).to_string()).unwrap();
        assert_eq!(*injection.prefill_messages().unwrap(), *json_of(&[&kept]));
    }
    // As JavaScript counts: an emoji is two.
    let emoji = json!({ "openingInstructions": { "value": "😀".repeat(1_001), "mode": "append" } });
    assert!(
        told(by_form("instructionOverrides", &emoji.to_string())).contains("has 2002 characters")
    );
}

fn json_of(contents: &[&str]) -> String {
    let one = |content: &&str| {
        let content = serde_json::to_string(content).unwrap();
        format!(r#"{{"type":"message","role":"assistant","content":{content}}}"#)
    };
    format!("[{}]", contents.iter().map(one).collect::<Vec<_>>().join(","))
}

#[test]
fn permission_comes_before_shape_and_shape_before_content() {
    let long = instructions("customInstructions", 9_999);
    let twice = [pair("prefillMessages", "["), pair("prefillMessages", "[")];
    for (policy, overrides, prefill, expected) in [
        (None, "{", "[", "403 injection_not_allowed: Injection is not enabled for this chat."),
        (
            Some(InjectionPolicy::Preset),
            "{",
            "[",
            "403 injection_not_allowed: This chat is a preset, which takes no instructions.",
        ),
        (
            CUSTOM,
            &*long,
            "[",
            "400 injection_malformed: prefillMessages is not JSON (line 1, column 1).",
        ),
        (
            CUSTOM,
            &*long,
            "[]",
            "422 content_over_limit: instructionOverrides.customInstructions.value has 9999 characters and may have 7500.",
        ),
    ] {
        let form = [pair("instructionOverrides", overrides), pair("prefillMessages", prefill)];
        assert_eq!(told(decide(policy, [], form)), expected);
        let is_bare = decide(policy, pairs(b"mode=public&user_name=John"), []);
        assert_eq!(is_bare, Ok(Injection::default()), "nothing is injected");
    }
    assert_eq!(told(decide(None, [], twice.clone()))[..3], *"403");
    assert_eq!(
        told(decide(CUSTOM, [], twice)),
        "400 parameter_duplicate: prefillMessages is given more than once."
    );
    let both = decide(CUSTOM, [pair("prefillMessages", "W10=")], [pair("prefillMessages", "[]")]);
    assert_eq!(told(both), "400 parameter_duplicate: prefillMessages is given more than once.");
}

#[test]
fn a_query_is_base64_and_a_form_is_not() {
    let of_query = |value| told(by_query("prefillMessages", value));
    let not_base64 = format!("{BAD}: prefillMessages is not base64, which it is in a query.");
    for value in ["[]", "W10=x", "W1", "W10==", "W-1/", "W11="] {
        assert_eq!(of_query(value), not_base64, "{value}");
    }
    assert_eq!(
        of_query("W3 9"),
        format!("{BAD}: prefillMessages is not base64: a `+` of it was not escaped as %2B.")
    );
    assert_eq!(of_query("W10"), "[]");
    assert!(told(by_form("prefillMessages", "W10=")).starts_with(BAD));
    // Not UTF-8, so Latin-1; what is UTF-8 is not.
    let latin1 =
        BASE64_STANDARD.encode(b"[{\"type\":\"message\",\"role\":\"user\",\"content\":\"\xe9\"}]");
    assert!(of_query(&latin1).contains('é'));
    let utf8 =
        BASE64_STANDARD.encode("[{\"type\":\"message\",\"role\":\"user\",\"content\":\"Ã©\"}]");
    assert!(of_query(&utf8).contains("Ã©"));
}

#[test]
fn nesting_costs_nothing() {
    let deep = [&*"[".repeat(200_000), &*"]".repeat(200_000)].concat();
    assert_eq!(
        told(by_form("prefillMessages", &deep)),
        format!("{BAD}: prefillMessages[0] is no object.")
    );
    let hidden = format!(r#"[{{"type":"card","deep":{deep}}}]"#);
    assert!(told(by_form("prefillMessages", &hidden)).starts_with("422 message_type_unknown"));
}

#[test]
fn a_query_is_forwarded_with_what_was_checked() {
    let long = json!([message(&"é".repeat(3_000))]).to_string();
    let sent = BASE64_URL_SAFE_NO_PAD.encode(&long);
    let query = format!("a=%7e+b&prefill%4dessages={sent}&&v=1");
    let injection = decide(CUSTOM, pairs(query.as_bytes()), []).unwrap();
    let forwarded = injection.rewritten(&query);
    let value = injection.query_value("prefillMessages").unwrap();
    let escaped = value.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    assert_eq!(forwarded, format!("a=%7e+b&prefillMessages={escaped}&&v=1"));
    let read = BASE64_STANDARD.decode(&value).unwrap();
    assert!(read.is_ascii(), "one reading for every decoder");
    let read: Value = serde_json::from_slice(&read).unwrap();
    assert_eq!(read, json!([message(&"é".repeat(2_000))]));
    let again = decide(CUSTOM, pairs(forwarded.as_bytes()), []).unwrap();
    assert_eq!(again, injection);
    let bare = "a=1&b=%zz";
    assert!(matches!(injection.rewritten(bare), Cow::Borrowed(query) if query == bare));
}

#[test]
fn what_is_injected_is_never_printed() {
    let secret = json!([message("the merger is on Friday")]).to_string();
    let injection = by_form("prefillMessages", &secret).unwrap();
    assert_eq!(format!("{injection:?}"), "Injection(prefillMessages (75 bytes))");
    for text in [secret.replace("assistant", "merger"), secret.replace("role", "the merger")] {
        let rejection = by_form("prefillMessages", &text).unwrap_err();
        assert!(!format!("{rejection:?}").contains("merger"), "{rejection:?}");
    }
}

#[test]
fn fifty_chinese_messages_fit_into_a_form() {
    let messages = vec![message(&"中".repeat(2_000)); 50];
    let injection = by_form("prefillMessages", &json!(messages).to_string()).unwrap();
    assert_eq!(*injection.prefill_messages().unwrap(), *json_of(&[&*"中".repeat(2_000); 50]));
}

fn content() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        (1_990..2_010_usize, "[xé中😀]").prop_map(|(count, one)| one.repeat(count)),
    ]
}

proptest! {
    #[test]
    fn what_is_accepted_obeys_the_limits_and_is_written_in_one_way(
        contents in proptest::collection::vec(content(), 0..53),
        custom in proptest::option::of((0..7_600_usize, "[a\"\\\n\u{1}中😀]")),
    ) {
        let messages: Vec<_> = contents.iter().map(|content| message(content)).collect();
        let text = json!(messages).to_string();
        let overrides = custom.map_or(json!({}), |(count, one)| json!({
            "customInstructions": { "value": one.repeat(count), "mode": "append" }
        }));
        let overrides = overrides.to_string();
        let form = [pair("prefillMessages", &text), pair("instructionOverrides", &overrides)];
        match decide(CUSTOM, [], form) {
            Err(rejection) => prop_assert_eq!(rejection.code, Code::ContentOverLimit),
            Ok(injection) => {
                let prefill = injection.prefill_messages().unwrap();
                let overrides = injection.instruction_overrides().unwrap();
                let read: Vec<Value> = serde_json::from_str(prefill).unwrap();
                prop_assert!(read.len() <= MAX_MESSAGES && read.len() == contents.len());
                for (read, sent) in read.iter().zip(&contents) {
                    let read = read["content"].as_str().unwrap();
                    prop_assert!(read.encode_utf16().count() <= MAX_CONTENT);
                    prop_assert!(sent.starts_with(read));
                    let next = sent[read.len()..].chars().next();
                    let is_full = next.is_none_or(|next|
                        read.encode_utf16().count() + next.len_utf16() > MAX_CONTENT);
                    prop_assert!(is_full, "no more is cut than must be");
                }
                let again = [pair("prefillMessages", prefill), pair("instructionOverrides", overrides)];
                prop_assert_eq!(decide(CUSTOM, [], again), Ok(injection.clone()));
                let values = NAMES.map(|name| injection.query_value(name).unwrap());
                let query = [pair(NAMES[0], &values[0]), pair(NAMES[1], &values[1])];
                prop_assert_eq!(decide(CUSTOM, query, []), Ok(injection.clone()));
            }
        }
    }
}
