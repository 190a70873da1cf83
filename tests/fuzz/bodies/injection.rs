//! What a launch injects: whatever is sent, what is accepted is within its limits, is what any JSON
//! parser reads, and is written in one way.

use serde_json::Value;
use vestibule::policy::injection::{
    Injection, InjectionPolicy, MAX_CONTENT, MAX_CUSTOM, MAX_MESSAGES, MAX_OPENING, NAMES, decide,
};
use vestibule::policy::query::{Pair, pairs};
use vestibule::rejection::Rejection;

/// The first byte chooses the parameter, and whether the rest is its text or a whole query.
pub fn injection(bytes: &[u8]) {
    let [how, rest @ ..] = bytes else { return };
    if how % 3 == 2 {
        if let Ok(injection) = by_query(pairs(rest)) {
            check(&injection);
            if let Ok(query) = std::str::from_utf8(rest) {
                let forwarded = injection.rewritten(query).into_owned();
                assert_eq!(by_query(pairs(forwarded.as_bytes())), Ok(injection));
            }
        }
        return;
    }
    let name = NAMES[usize::from(how % 3)];
    let text = String::from_utf8_lossy(rest);
    let form = [Pair { name: name.into(), value: text.clone() }];
    let Ok(injection) = decide(Some(InjectionPolicy::Custom), [], form) else { return };
    check(&injection);
    // Without names that are given twice any parser reads the same, but for what was cut.
    let sent: Value = serde_json::from_str(&text).expect("what is accepted is JSON");
    let kept = injection.instruction_overrides().or(injection.prefill_messages());
    let kept: Value = serde_json::from_str(kept.expect("it was given")).expect("we wrote it");
    same_but_for_cuts(&sent, &kept);
}

fn by_query<'q>(query: impl IntoIterator<Item = Pair<'q>>) -> Result<Injection, Rejection> {
    decide(Some(InjectionPolicy::Custom), query, [])
}

fn same_but_for_cuts(sent: &Value, kept: &Value) {
    match (sent, kept) {
        (Value::Array(sent), Value::Array(kept)) if sent.len() == kept.len() => {
            for (sent, kept) in sent.iter().zip(kept) {
                same_but_for_cuts(sent, kept);
            }
        }
        (Value::Object(sent), Value::Object(kept)) if sent.len() == kept.len() => {
            for (name, sent) in sent {
                same_but_for_cuts(sent, &kept[name]);
            }
        }
        (Value::String(sent), Value::String(kept)) => assert!(sent.starts_with(kept.as_str())),
        _ => panic!("{sent} is not {kept}"),
    }
}

fn check(injection: &Injection) {
    let units = |value: &Value| value.as_str().expect("a text").encode_utf16().count();
    if let Some(overrides) = injection.instruction_overrides() {
        let read: Value = serde_json::from_str(overrides).expect("we wrote it");
        let names = [("customInstructions", MAX_CUSTOM), ("openingInstructions", MAX_OPENING)];
        for (name, most) in names {
            let Some(one) = read.get(name) else { continue };
            assert!(units(&one["value"]) <= most);
            assert!(["replace", "append"].contains(&one["mode"].as_str().expect("a word")));
        }
    }
    if let Some(prefill) = injection.prefill_messages() {
        let read: Vec<Value> = serde_json::from_str(prefill).expect("we wrote it");
        assert!(read.len() <= MAX_MESSAGES);
        for message in &read {
            assert_eq!(message["type"], "message");
            assert!(["user", "assistant"].contains(&message["role"].as_str().expect("a word")));
            assert!(units(&message["content"]) <= MAX_CONTENT);
        }
    }
    // It is its own canonical form, both ways.
    let values = NAMES.map(|name| (name, injection.query_value(name)));
    let query = values.iter().filter_map(|(name, value)| {
        Some(Pair { name: (*name).into(), value: value.as_deref()?.into() })
    });
    assert_eq!(by_query(query).as_ref(), Ok(injection));
}
