//! The fuzz bodies over nearly valid input and over their seeds, in every `cargo test`.
//!
//! A finding of `cargo fuzz` becomes a seed: a file in `corpus/<body>/`. VESTIBULE_CASES sets how
//! many inputs each property takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a property that does not hold panics")]

mod bodies;
mod edits;
mod grammar;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

const HOSTS: &[&str] =
    &["chat.test", "a.test", "A.test:443", "b.test", "x.wild.test", "nobody.test"];

/// Runs `body` on `cases` inputs; a failing one is made small and shown.
fn check(cases: u32, strategy: impl Strategy<Value = Vec<u8>> + 'static, body: bodies::Body) {
    let cases = std::env::var("VESTIBULE_CASES").map_or(cases, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&strategy.boxed(), |input| {
        body(&input);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, input)) => panic!("{reason}\nb\"{}\"", bodies::shown(&input)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_seed_holds() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, body) in bodies::ALL {
        let mut seeds = 0;
        for seed in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = seed.unwrap().path();
            println!("{}", path.display());
            body(&std::fs::read(path).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}

#[test]
fn hyper_sees_the_boundaries_of_every_request_that_we_accept() {
    check(10_000, grammar::requests(HOSTS), bodies::codec::codec_against_hyper);
}

#[test]
fn hyper_sees_the_boundaries_of_every_response_that_we_accept() {
    check(10_000, grammar::response(), bodies::response::response_against_hyper);
}

#[test]
fn chunks_read_the_same_however_they_arrive() {
    let wire = (any::<u8>(), grammar::chunked(), prop::collection::vec(any::<u8>(), 0..5))
        .prop_map(|(seed, body, after)| [vec![seed], body, after].concat());
    check(10_000, wire, bodies::chunk::chunk_decoder);
}

#[test]
fn frames_end_in_the_same_places_however_they_arrive() {
    let pieces =
        &["\u{2}\u{5}", "\u{2}~\0\u{3}", "\u{2}\u{7f}\0\0\0\0\0\0\0\u{4}", "\0\0", "abcdef"];
    check(10_000, edits::of_seeds("frame_boundaries", pieces), bodies::frames::frame_boundaries);
}

#[test]
fn a_trace_is_read_and_written_as_one_trace() {
    let pieces = &[
        "00-", "-01", "-", "cc", "ff", "\n", ",", "=", "a=1", "ot=th:8", "@", " ", "\t", "0000000",
    ];
    check(10_000, edits::of_seeds("trace_context", pieces), bodies::trace::trace_context);
}

#[test]
fn hosts_and_paths_have_one_final_form() {
    check(10_000, grammar::address().prop_map(String::into_bytes), bodies::gate::path_and_host);
}

#[test]
fn what_is_admitted_is_one_clean_request() {
    check(10_000, grammar::requests(HOSTS), bodies::admit::admit);
}

#[test]
fn what_a_launch_says_keeps_the_personas_rules() {
    let pieces =
        &["&", "=", "%", "+", "user_id=", "mode=", "customer", "test", "true", "&user%5fid=9", "0"];
    check(10_000, edits::of_seeds("launch_metadata", pieces), bodies::identity::launch_metadata);
}

#[test]
fn what_verifies_was_signed() {
    let pieces = &[
        "&",
        "=",
        "%",
        "+",
        "\n",
        "%0D%0A",
        "%0a",
        "signature=",
        "&timestamp=1763683200000",
        "a=1",
        "utm=2",
        "%EF%BD%A1=",
        "%F0%9F%98%80",
        "\u{0}",
    ];
    check(10_000, edits::of_seeds("signed_launch", pieces), bodies::signature::signed_launch);
}

#[test]
fn no_session_is_made_up_or_reaches_an_app() {
    let pieces =
        &[";", "=", "\"", " ", "__Host-vestibule-", "__host-VESTIBULE-x=1", "/.v/", "/", "\0\0\0"];
    check(10_000, edits::of_seeds("session_token", pieces), bodies::identity::session_token);
}

#[test]
fn a_document_gains_the_tag_and_changes_in_nothing_else() {
    let pieces = &[
        "<head>",
        "<head ",
        "<html>",
        "<!--",
        "-->",
        "--!>",
        "<!>",
        "<?",
        "<body>",
        "</",
        "<",
        ">",
        "\"",
        "'",
        "=",
        "/",
        "-",
        "!",
        " ",
        "\n",
        "x",
        "<!doctype html>",
        "\u{FEFF}",
        "<title>",
    ];
    check(20_000, edits::of_seeds("splice_document", pieces), bodies::embed::splice_document);
}

#[test]
fn a_posted_configuration_reads_as_json() {
    let pieces = &[
        "{",
        "}",
        "\"",
        ":",
        ",",
        "\\",
        "\\u0064",
        "[",
        "]",
        "null",
        "true",
        "1e3",
        "-1",
        "0",
        ".5",
        "\"user_id\":",
        "\"mode\":\"test\",",
        "\"payload\":{",
        "\"x\":",
        "\"direction\":",
        " ",
    ];
    check(20_000, edits::of_seeds("embed_config", pieces), bodies::embed::embed_config);
}

#[test]
fn what_a_page_tells_reads_as_json_and_in_order() {
    let pieces = &[
        "{",
        "}",
        "\"",
        ":",
        ",",
        "\\u0061",
        "null",
        "1e3",
        "-0",
        "600000",
        ".5",
        "\"launch\":\"x\",",
        "\"shown\":",
        "\"ready\":",
        "\"config\":",
        "\"ended\":9",
        "\"outcome\":",
        "\"ack\"",
        "\"timeout\"",
        "\"error\"",
        " ",
    ];
    check(20_000, edits::of_seeds("beacon", pieces), bodies::embed::beacon);
}

#[test]
fn what_is_injected_reads_as_json_and_keeps_its_limits() {
    let pieces = &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\\",
        "\\ud83d",
        "\\u0061",
        "null",
        "7",
        " ",
        "\"mode\":\"replace\"",
        "\"value\":",
        "\"type\":\"card\"",
        "\"role\":\"user\",",
        "\"content\":",
        "customInstructions",
        "&prefillMessages=",
        "W10",
        "=",
        "-",
        "_",
        "%2B",
        "+",
    ];
    check(20_000, edits::of_seeds("injection", pieces), bodies::injection::injection);
}

#[test]
fn a_message_between_processes_has_one_spelling() {
    let pieces = &[
        "\u{0}",
        "\u{0}\u{0}\u{0}\u{1}",
        "\u{1}",
        "\u{2}",
        "\u{4}",
        "\u{6}",
        "\u{0}\u{0}\u{0}\u{4}acme",
        "0123456789abcdef",
        "abcdefgh",
        "é",
        "127.0.0.1:443",
    ];
    check(20_000, edits::of_seeds("upgrade_message", pieces), bodies::upgrade::upgrade_message);
}

/// The grammar is of no use where everything it makes is refused at once.
#[test]
fn the_grammar_makes_sound_and_unsound_requests() {
    use bodies::codec::{Ending, read};
    let (mut whole, mut refused, mut second) = (0, 0, 0);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    for _ in 0..500 {
        let wire = grammar::requests(HOSTS).new_tree(&mut runner).unwrap();
        let wire = proptest::strategy::ValueTree::current(&wire);
        let (messages, ending) = read(&wire, wire.len());
        whole += usize::from(messages.first().is_some_and(|first| first.whole));
        second += usize::from(messages.len() > 1);
        refused += usize::from(ending == Ending::Refused);
    }
    assert!(whole > 150 && refused > 100 && second > 75, "{whole} {refused} {second}");
}

#[test]
fn any_policies_keep_what_they_restrict() {
    check(1000, grammar::policy_text().prop_map(String::into_bytes), bodies::csp::csp_merge);
}

#[test]
fn any_bytes_are_answered_with_valid_policies() {
    check(1000, proptest::collection::vec(any::<u8>(), 0..200), bodies::csp::csp_merge);
}
