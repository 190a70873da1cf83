//! What would become of a request, as data.

use serde_json::{Value, json as object};

use super::*;

const JSON: &str = "Content-Type: application/json\r\n";
const TENANT: &str = "[tenants.shop]\nembed_origins = [\"https://www.shop.example\"]\n\
                      [tenants.shop.personas.bot]\nhosts = [\"bot.shop.example\"]\n\
                      upstream = \"app\"\nmode = \"customer\"\nuser_id = \"required\"\n\
                      trust_asserted = true\n[tenants.shop.personas.bot.devices.lobby]\n";

fn explained(proxy: &Proxy, question: &Value) -> Value {
    json(&ask(proxy, "POST", "/explain", JSON, &question.to_string()))
}

#[test]
fn a_verdict_says_what_becomes_of_a_request() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), TENANT);
    let good = "https://bot.shop.example/?mode=customer&user_id=7";
    for (question, state, status, code) in [
        (object!({ "url": good }), "forwarded", None, None),
        (object!({ "url": "https://other.example/" }), "refused", Some(404), Some("not_found")),
        (
            object!({ "url": "https://bot.shop.example/?mode=public&user_id=7" }),
            "refused",
            Some(403),
            Some("mode_mismatch"),
        ),
        (
            object!({ "url": "https://bot.shop.example/api", "place": "fetch" }),
            "refused",
            Some(401),
            Some("session_missing"),
        ),
        (
            object!({ "url": "https://bot.shop.example/api", "place": "fetch", "launched": good }),
            "forwarded",
            None,
            None,
        ),
        (
            object!({ "url": "https://bot.shop.example/", "body": "mode=customer&user_id=7",
                      "headers": { "Origin": "https://www.shop.example" } }),
            "forwarded",
            None,
            None,
        ),
        (
            object!({ "url": "https://bot.shop.example/", "body": "mode=customer&user_id=7",
                      "headers": ["Origin: https://evil.example"] }),
            "refused",
            Some(403),
            Some("origin_not_allowed"),
        ),
    ] {
        let told = explained(&proxy, &question);
        let verdict = &told["verdict"];
        assert_eq!(verdict["state"], state, "{question}: {told:#}");
        assert_eq!(verdict.get("status").and_then(Value::as_u64), status, "{question}");
        assert_eq!(verdict.get("code").and_then(Value::as_str), code, "{question}");
        assert!(code.is_none() || verdict["title"].is_string() && verdict["remedy"].is_string());
        assert!(verdict["detail"].is_string(), "{told}");
        let steps = told["steps"].as_array().unwrap();
        assert_eq!(&steps.last().unwrap()["verdict"], verdict);
        assert!(told["text"].as_str().unwrap().starts_with("1  "), "{told}");
    }
    let told = explained(&proxy, &object!({ "url": good, "client": "198.51.100.7" }));
    let last = told["steps"].as_array().unwrap().last().unwrap();
    let sent: Vec<_> = last["sent"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(sent.contains(&"X-Forwarded-For: 198.51.100.7"), "{sent:?}");
    assert_eq!(last["stages"][0]["stage"], "route");
    // Nothing of it has happened.
    assert_eq!(proxy.app.shared().recent.refusals(9).len(), 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), TENANT);
    let url = "https://bot.shop.example/";
    for (lines, body, code) in [
        (JSON, String::new(), "request_malformed"),
        (JSON, "{}".to_owned(), "request_malformed"),
        (JSON, object!({ "url": "bot.shop.example" }).to_string(), "request_malformed"),
        (JSON, object!({ "url": "https:///x" }).to_string(), "request_malformed"),
        (JSON, object!({ "url": "https://a/\r\nX: y" }).to_string(), "request_malformed"),
        (JSON, object!({ "url": url, "x": 1 }).to_string(), "request_malformed"),
        (JSON, object!({ "url": url, "place": "window" }).to_string(), "request_malformed"),
        (JSON, object!({ "url": url, "method": "G T" }).to_string(), "request_malformed"),
        (JSON, object!({ "url": url, "client": "me" }).to_string(), "request_malformed"),
        (JSON, object!({ "url": url, "headers": ["none"] }).to_string(), "request_malformed"),
        (
            JSON,
            object!({ "url": url, "headers": ["A: b\r\nC: d"] }).to_string(),
            "request_malformed",
        ),
        (JSON, object!({ "url": url, "headers": { "A b": "c" } }).to_string(), "request_malformed"),
        (JSON, object!({ "url": url, "body": "x".repeat(17_000) }).to_string(), "body_too_large"),
        ("", object!({ "url": url }).to_string(), "media_type_unsupported"),
    ] {
        assert_eq!(ask(&proxy, "POST", "/explain", lines, &body).code(), code, "{body:.200}");
    }
    assert_eq!(ask(&proxy, "GET", "/explain", "", "").status, 405);
}

#[test]
fn a_pasted_signature_is_in_no_log_and_no_list() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), TENANT);
    let url = "https://bot.shop.example/?mode=customer&user_id=7&signature=hunter2";
    explained(&proxy, &object!({ "url": url }));
    visit(&proxy, "nobody.test", "/");
    let log = proxy.log(1);
    assert!(!format!("{log:?}").contains("hunter2"), "{log:?}");
    let overview = ask(&proxy, "GET", "/overview", "", "").text();
    assert!(!overview.contains("hunter2"), "{overview}");
}

#[test]
fn no_question_has_more_fields_than_a_request_may_have() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), TENANT);
    let headers: Vec<_> = (0..129).map(|number| format!("x-{number}: 1")).collect();
    let question = object!({ "url": "https://bot.shop.example/", "headers": headers });
    let answer = ask(&proxy, "POST", "/explain", JSON, &question.to_string());
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.text().contains("more than 128 header fields"), "{answer:?}");
}
