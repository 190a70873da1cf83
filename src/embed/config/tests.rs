use proptest::prelude::*;

use super::*;

/// The parameters in a line, `-` where absent; or the code of the refusal.
fn read(body: &[u8]) -> String {
    match parse(body) {
        Err(rejection) => rejection.code.as_str().to_owned(),
        Ok(Parameters { mode, user_id, require_user_id, allow_generated_id, direction }) => {
            let all = [mode, user_id, require_user_id, allow_generated_id, direction];
            all.map(|value| value.map_or("-".to_owned(), Cow::into_owned)).join(" ")
        }
    }
}

fn check(table: &[(&str, &str)]) {
    for (body, expected) in table {
        assert_eq!(read(body.as_bytes()), *expected, "{body}");
    }
}

#[test]
fn the_payload_of_the_seed_is_read() {
    let payload = r#"{"mode": "customer", "user_id": 12345, "require_user_id": true,
        "allow_generated_id": false, "direction": "ltr"}"#;
    let expected = "customer 12345 true false ltr";
    let wrapped = format!(r#" {{"type": "chat-embed-config", "payload": {payload}}} "#);
    let unwrapped = payload.replace("12345", "\"12345\"").replace("true", "\"true\"");
    check(&[(payload, expected), (&wrapped, expected), (&unwrapped, expected)]);
}

#[test]
fn values_are_passed_on_as_they_are_written() {
    check(&[
        ("{}", "- - - - -"),
        (r#"{"payload":{}}"#, "- - - - -"),
        (r#"{"payload":null,"user_id":7}"#, "- 7 - - -"),
        (r#"{"user_id":null,"mode":null}"#, "- - - - -"),
        (r#"{"user_id":9007199254740993}"#, "- 9007199254740993 - - -"),
        (r#"{"user_id":123456789012345678901234567890}"#, "- 123456789012345678901234567890 - - -"),
        (r#"{"user_id":1.5}"#, "- 1.5 - - -"),
        (r#"{"user_id":1e3}"#, "- 1e3 - - -"),
        (r#"{"user_id":-5}"#, "- -5 - - -"),
        (r#"{"user_id":-0}"#, "- -0 - - -"),
        (r#"{"user_id":""}"#, "-  - - -"),
        (r#"{"user_id":"a\u002db"}"#, "- a-b - - -"),
        (r#"{"user\u005fid":"5"}"#, "- 5 - - -"),
        (r#"{"require_user_id":"yes"}"#, "- - yes - -"),
        (r#"{"direction":"\ud83d\ude00"}"#, "- - - - \u{1F600}"),
    ]);
}

#[test]
fn other_names_may_hold_anything() {
    let deep = format!(r#"{{"x":{}{},"user_id":1}}"#, "[".repeat(9_000), "]".repeat(9_000));
    check(&[
        (r#"{"x":1,"x":2,"User_id":5,"user_id ":6}"#, "- - - - -"),
        (r#"{"plan":{"user_id":5,"mode":[]},"user_id":1}"#, "- 1 - - -"),
        (r#"{"payload":{"payload":{"user_id":5},"v":9}}"#, "- - - - -"),
        (&deep, "- 1 - - -"),
    ]);
}

#[test]
fn wrong_types_and_malformed_json_are_invalid() {
    let deep = "[".repeat(100_000);
    let ours = format!(r#"{{"user_id":{}{}}}"#, "[".repeat(9_000), "]".repeat(9_000));
    for body in [
        "",
        "null",
        "[]",
        "7",
        "\"user_id\"",
        "{",
        "{}x",
        "{}{}",
        "{'user_id':1}",
        "{user_id:1}",
        r#"{"user_id":1,}"#,
        r#"{"user_id":01}"#,
        r#"{"user_id":+1}"#,
        r#"{"user_id":0x1}"#,
        r#"{"user_id":NaN}"#,
        r#"{"user_id":true}"#,
        r#"{"user_id":[]}"#,
        r#"{"user_id":{}}"#,
        r#"{"user_id":"\ud800"}"#,
        "{\"user_id\":\"a\nb\"}",
        r#"{"mode":1}"#,
        r#"{"mode":true}"#,
        r#"{"mode":["customer"]}"#,
        r#"{"direction":0}"#,
        r#"{"require_user_id":1}"#,
        r#"{"require_user_id":{}}"#,
        r#"{"allow_generated_id":0}"#,
        r#"{"payload":1}"#,
        r#"{"payload":[]}"#,
        r#"{"payload":"{}"}"#,
        r#"{"payload":{"user_id":[]}}"#,
        "\u{FEFF}{}",
        &deep,
        &ours,
    ] {
        let shown = &body[..body.len().min(60)];
        assert_eq!(read(body.as_bytes()), "parameter_invalid", "{shown}");
    }
    assert_eq!(read(b"{\"user_id\":\"\xFF\"}"), "parameter_invalid");
    assert_eq!(read(b"{\"x\xFF\":1}"), "parameter_invalid");
}

#[test]
fn a_name_of_ours_stands_once() {
    for body in [
        r#"{"user_id":1,"user_id":1}"#,
        r#"{"user_id":1,"user\u005fid":2}"#,
        r#"{"user_id":null,"user_id":2}"#,
        r#"{"mode":"a","x":1,"mode":[]}"#,
        r#"{"payload":{},"payload":{}}"#,
        r#"{"payload":{"direction":"ltr","direction":"rtl"}}"#,
        r#"{"payload":{"mode":"test"},"user_id":1}"#,
    ] {
        assert_eq!(read(body.as_bytes()), "parameter_duplicate", "{body}");
    }
}

proptest! {
    /// serde_json's own reading of what we take is ours.
    #[test]
    fn what_is_taken_reads_the_same_elsewhere(parts in prop::collection::vec(
        prop::sample::select(&[
            "{", "}", "\"", ":", ",", "\"user_id\":", "\"mode\":", "\"payload\":{", "\"x\":", "1",
            "true", "null", "\"test\"", "-", ".5", "[", "]", " ", "\\", "{\"user_id\":1",
        ][..]), 0..10))
    {
        let body = parts.concat();
        if let Ok(parameters) = parse(body.as_bytes()) {
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            let inner = value.get("payload").filter(|payload| !payload.is_null());
            let inner = inner.unwrap_or(&value);
            let written = |name: &str| match &inner[name] {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            prop_assert_eq!(parameters.mode.map(Cow::into_owned), written("mode"));
            prop_assert_eq!(parameters.user_id.is_some(), written("user_id").is_some());
        }
    }
}
