//! Which configured text may stand in a policy.

use super::*;

#[test]
fn a_source_is_a_scheme_a_host_a_keyword_or_a_hash() {
    for good in [
        "https://www.example.com",
        "https://www.example.com:8443",
        "https://www.example.com:*",
        "https://*.example.com",
        "*.example.com",
        "www.example.com/path/to%3Bit",
        "https://chat.example/.vestibule/embed.js",
        "wss://chat.example",
        "http://localhost:3000",
        "http://127.0.0.1:3000",
        "*",
        "https://*",
        "https:",
        "file:",
        "'self'",
        "'Unsafe-Inline'",
        "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
        "xn--bcher-kva.example",
    ] {
        assert_eq!(check_source(good), Ok(()), "{good}");
    }
}

#[test]
fn what_could_smuggle_a_directive_is_refused_with_a_remedy() {
    for (bad, hint) in [
        ("", "empty"),
        ("https://a.example; script-src *", "`;`"),
        ("https://a.example;", "%3B"),
        ("https://a.example,script-src *", "`,`"),
        ("https://a.example https://b.example", "its own entry"),
        ("https://a.example\t", "control"),
        ("https://a.example\r\nX: y", "control"),
        ("https://a.example\u{a0}b", "space"),
        ("https://a.example\0", "control"),
        ("https://b\u{fc}cher.example", "xn--"),
        ("'none'", "leave the list empty"),
        ("'nonce-abc'", "new in every answer"),
        ("'selfish'", "keywords"),
        ("\"https://a.example\"", "without them"),
        ("'self", "without them"),
        ("'sha256-'", "without them"),
        ("'sha256-a===b'", "without them"),
        ("https://a'b.example", "without them"),
        ("`", "without them"),
        ("https://", "host"),
        ("https://a.example?x", "`?`"),
        ("https://a.example/x#y", "`#`"),
        ("https://user@a.example", "user name"),
        ("https://[::1]", "IPv6"),
        ("https://[zz]", "host"),
        ("https://a.example:0", "port"),
        ("https://a.example:70000", "port"),
        ("https://a.example:", "port"),
        ("https://*.*.example", "host"),
        ("https://a..example", "host"),
        ("https://a.example/%zz", "percent-encoded"),
        ("https://a.example/<b>", "percent-encoded"),
        ("1https://a.example", "scheme"),
        (":", "scheme"),
    ] {
        let why = check_source(bad).expect_err(bad);
        assert!(why.contains(hint), "{bad:?}: {why}");
        let needs = Needs { frames: &[bad], ..Needs::default() };
        assert_eq!(CompiledCsp::new(Mode::Merge, &needs), Err(why));
    }
}

proptest! {
    #[test]
    fn whatever_passes_is_one_word_of_one_directive(text in "[ -~\\t\u{e9};,'*:/.a-z0-9]{0,20}") {
        if check_source(&text).is_ok() {
            let line = format!("frame-src {text}");
            let parsed: Vec<_> = syntax::policies(line.as_bytes()).collect();
            prop_assert_eq!(parsed.len(), 1);
            prop_assert_eq!(parsed[0].directives.len(), 1);
            prop_assert_eq!(&parsed[0].directives[0].values[..], [&*text]);
        }
    }
}
