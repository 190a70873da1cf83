use super::*;

fn origins(texts: &[&str]) -> Vec<AllowedOrigin> {
    texts.iter().map(|text| AllowedOrigin::parse(text).unwrap()).collect()
}

#[test]
fn the_tag_names_the_script_the_base_and_the_origins() {
    let embed = origins(&["https://www.example.com", "https://*.example.org:8443", "file:"]);
    assert_eq!(
        tag(
            "/chat/ragtime/sales",
            &embed.iter().map(AllowedOrigin::as_str).collect::<Vec<_>>().join(" "),
            Own::default()
        ),
        "<script src=\"/chat/ragtime/sales/.vestibule/bridge.js\" \
         data-base=\"/chat/ragtime/sales\" \
         data-origins=\"https://www.example.com https://*.example.org:8443 file:\"></script>"
    );
    assert_eq!(
        tag("", "", Own { launch: Some("AVl_-"), nonce: Some("a+b/c=") }),
        "<script src=\"/.vestibule/bridge.js\" data-base=\"\" data-origins=\"\" \
         data-launch=\"AVl_-\" nonce=\"a+b/c=\"></script>"
    );
}

#[test]
fn nothing_ends_an_attribute_of_the_tag() {
    let hostile = "/a\"'><script>&amp;";
    let tag = tag(hostile, hostile, Own { launch: Some(hostile), nonce: Some(hostile) });
    assert_eq!(tag.matches('"').count(), 10, "{tag}");
    assert_eq!(tag.matches('<').count(), 2, "{tag}");
    assert_eq!(tag.matches('>').count(), 2, "{tag}");
    assert!(tag.contains("data-base=\"/a&quot;&#39;&gt;&lt;script&gt;&amp;amp;\""), "{tag}");
}

#[test]
fn the_etag_is_strong_and_of_this_script() {
    let etag = bridge_etag();
    assert_eq!(etag.len(), 34);
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    assert_eq!(etag, bridge_etag());
}

#[test]
fn the_script_runs_in_a_strict_policy_and_in_browsers_of_2019() {
    for forbidden in [
        "eval",
        "Function(",
        "innerHTML",
        "outerHTML",
        "document.write",
        "document.cookie",
        "localStorage",
        "setAttribute",
        "import(",
        "?.",
        "??",
        "||=",
        "&&=",
        "replaceAll",
        ".at(0",
        "#private",
        "window.vestibule",
        "console.log",
        "console.debug",
        "https://",
        "http://",
    ] {
        assert!(!BRIDGE_JS.contains(forbidden), "{forbidden}");
    }
    assert!(BRIDGE_JS.is_ascii());
    assert!(BRIDGE_JS.contains("'use strict'"));
    let code = BRIDGE_JS.split_once("*/").unwrap().1.trim();
    assert!(code.starts_with("(() => {") && code.ends_with("})();"), "no globals");
    assert!(BRIDGE_JS.len() < 11_000, "{}", BRIDGE_JS.len());
}

/// What the script refers to by name exists here.
#[test]
fn the_scripts_words_are_ours() {
    use crate::rejection::Code;
    let block = |name: &str| {
        let start = BRIDGE_JS.split_once(&format!("const {name} = ")).unwrap().1;
        start.split_once(';').unwrap().0
    };
    for name in ["mode", "user_id", "require_user_id", "allow_generated_id", "direction"] {
        assert!(block("NAMES").contains(&format!("'{name}'")), "{name}");
    }
    let local = ["network_error", "answer_invalid"];
    for line in block("ADVICE").lines().skip(1).filter(|line| line.contains(": '")) {
        let code = line.trim().split_once(':').unwrap().0;
        let known = Code::ALL.iter().any(|known| known.as_str() == code) || local.contains(&code);
        assert!(known, "{code}");
    }
}

#[test]
fn fields_about_other_bytes_are_known_in_any_case() {
    for name in ["Range", "if-range", "If-None-Match", "ACCEPT-ENCODING"] {
        assert!(asks_for_less(name.as_bytes()), "{name}");
    }
    for name in ["ETag", "Last-Modified", "Accept-Ranges", "Content-MD5"] {
        assert!(tells_of_original(name.as_bytes()), "{name}");
    }
    for name in ["Accept", "Content-Type", "Cache-Control", "Vary", "Content-Length"] {
        assert!(!asks_for_less(name.as_bytes()) && !tells_of_original(name.as_bytes()), "{name}");
    }
}
