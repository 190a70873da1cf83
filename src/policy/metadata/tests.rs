//! The whole matrix of personas and parameters, as tables.

use super::*;
use crate::policy::query::{pairs, raw_pairs};
use proptest::prelude::*;

/// The personas of the persona seed.
fn persona(mode: Mode) -> MetadataPolicy {
    let serves_accounts = matches!(mode, Mode::Customer | Mode::Employee);
    MetadataPolicy {
        mode,
        user_id: if serves_accounts { UserIdRule::Required } else { UserIdRule::Optional },
        format: if serves_accounts { UserIdFormat::Integer } else { UserIdFormat::Token },
        allow_generated_id: !serves_accounts,
        trust_asserted: serves_accounts,
        strict_config: false,
        bridge: true,
        signed: false,
    }
}

/// The outcome in words: `given ID`, `generate`, `none`, `awaiting`, or status and code.
fn outcome(policy: &MetadataPolicy, query: &str, voucher: Voucher) -> String {
    let decided = Parameters::from_raw(raw_pairs(query.as_bytes()))
        .and_then(|parameters| decide(policy, parameters, voucher));
    match decided {
        Err(rejection) => format!("{} {}", rejection.status().as_u16(), rejection.code.as_str()),
        Ok(metadata) => match metadata.user_id() {
            UserId::Given(id) => format!("given {id}"),
            UserId::ToGenerate => "generate".to_owned(),
            UserId::None => "none".to_owned(),
            UserId::Awaiting => "awaiting".to_owned(),
        },
    }
}

const MISSING: &str = "400 user_id_missing";
const INVALID: &str = "400 user_id_invalid";
const WRONG: &str = "400 parameter_invalid";
const TWICE: &str = "400 parameter_duplicate";
const CONTRADICTS: &str = "400 metadata_contradiction";
const MISMATCH: &str = "403 mode_mismatch";
const UNPROVEN: &str = "401 identity_unproven";

#[test]
fn every_combination_of_persona_and_parameters_has_one_outcome() {
    const SEVEN: &str = "given 7";
    // `M` is the persona's own mode. Columns: public, customer, employee, test.
    #[rustfmt::skip]
    let table: &[(&str, [&str; 4])] = &[
        // Bare documents.
        ("",                                  ["generate", "awaiting", "awaiting", "generate"]),
        ("v=1763683200000",                   ["generate", "awaiting", "awaiting", "generate"]),
        ("direction=rtl",                     ["generate", "awaiting", "awaiting", "generate"]),
        ("direction=auto&v=1&v=2&utm=x&utm=y", ["generate", "awaiting", "awaiting", "generate"]),
        // Whoever says anything about identity says all.
        ("mode=M",                            ["generate", MISSING, MISSING, "generate"]),
        ("require_user_id=true",              [CONTRADICTS, MISSING, MISSING, "generate"]),
        ("require_user_id=false",             ["generate", CONTRADICTS, CONTRADICTS, "generate"]),
        ("allow_generated_id=true",           ["generate", CONTRADICTS, CONTRADICTS, "generate"]),
        ("allow_generated_id=false",          [CONTRADICTS, MISSING, MISSING, "none"]),
        ("require_user_id=true&allow_generated_id=false",
                                              [CONTRADICTS, MISSING, MISSING, MISSING]),
        ("require_user_id=true&allow_generated_id=true",
                                              [CONTRADICTS, CONTRADICTS, CONTRADICTS, "generate"]),
        // The seed's payloads.
        ("mode=M&require_user_id=false&allow_generated_id=true",
                                              ["generate", CONTRADICTS, CONTRADICTS, "generate"]),
        ("mode=M&user_id=7&require_user_id=false&allow_generated_id=true",
                                              [SEVEN, CONTRADICTS, CONTRADICTS, SEVEN]),
        ("mode=M&user_id=7&require_user_id=true&allow_generated_id=false",
                                              [CONTRADICTS, SEVEN, SEVEN, SEVEN]),
        ("mode=M&user_id=7&require_user_id=true&allow_generated_id=false&direction=ltr&v=1",
                                              [CONTRADICTS, SEVEN, SEVEN, SEVEN]),
        // Modes.
        ("user_id=7",                         [SEVEN, SEVEN, SEVEN, SEVEN]),
        ("mode=public&user_id=7",             [SEVEN, MISMATCH, MISMATCH, MISMATCH]),
        ("mode=customer&user_id=7",           [MISMATCH, SEVEN, MISMATCH, MISMATCH]),
        ("mode=employee&user_id=7",           [MISMATCH, MISMATCH, SEVEN, MISMATCH]),
        ("mode=test&user_id=7",               [MISMATCH, MISMATCH, MISMATCH, SEVEN]),
        ("mode=&user_id=7",                   [MISMATCH; 4]),
        ("mode=admin&user_id=x y",            [MISMATCH; 4]),
        ("mode=M%20&user_id=7",               [MISMATCH; 4]),
        // User ids.
        ("user_id=",                          [INVALID; 4]),
        ("user_id=0",                         ["given 0", INVALID, INVALID, "given 0"]),
        ("user_id=007",                       ["given 007", INVALID, INVALID, "given 007"]),
        ("user_id=-7",                        ["given -7", INVALID, INVALID, "given -7"]),
        ("user_id=+7",                        [INVALID; 4]),
        ("user_id=%2B7",                      [INVALID; 4]),
        ("user_id=7%00",                      [INVALID; 4]),
        ("user_id=7%0A",                      [INVALID; 4]),
        ("user_id=7.0",                       ["given 7.0", INVALID, INVALID, "given 7.0"]),
        ("user_id=1e3",                       ["given 1e3", INVALID, INVALID, "given 1e3"]),
        ("user_id=fp:a1-b2.c3_d4",
                         ["given fp:a1-b2.c3_d4", INVALID, INVALID, "given fp:a1-b2.c3_d4"]),
        ("user_id=%37",                       [SEVEN, SEVEN, SEVEN, SEVEN]),
        ("user%5Fid=7",                       [SEVEN, SEVEN, SEVEN, SEVEN]),
        ("user_id=%D9%A7",                    [INVALID; 4]),
        ("user_id=%FF",                       [INVALID; 4]),
        ("user_id=a/b",                       [INVALID; 4]),
        ("User_Id=7",                         ["generate", "awaiting", "awaiting", "generate"]),
        ("user_id[]=7",                       ["generate", "awaiting", "awaiting", "generate"]),
        // Flags and direction.
        ("require_user_id=TRUE&user_id=7",    [WRONG; 4]),
        ("require_user_id=1&user_id=7",       [WRONG; 4]),
        ("require_user_id=&user_id=7",        [WRONG; 4]),
        ("allow_generated_id=yes&user_id=7",  [WRONG; 4]),
        ("direction=up&user_id=7",            [WRONG; 4]),
        ("direction=LTR",                     [WRONG; 4]),
        ("direction=",                        [WRONG; 4]),
        // Duplicates, equal or not, in any spelling.
        ("mode=M&mode=M",                     [TWICE; 4]),
        ("user_id=7&user_id=7",               [TWICE; 4]),
        ("user_id=7&user%5fid=8",             [TWICE; 4]),
        ("require_user_id=true&require_user_id=true", [TWICE; 4]),
        ("allow_generated_id=true&allow_generated_id=false", [TWICE; 4]),
        ("direction=ltr&direction=rtl",       [TWICE; 4]),
        ("mode=nobody&user_id=7&user_id=8",   [TWICE; 4]),
    ];
    let modes = [Mode::Public, Mode::Customer, Mode::Employee, Mode::Test];
    for (query, row) in table {
        for (mode, expected) in modes.into_iter().zip(row) {
            let name = mode_name(mode);
            let query = query.replace("=M", &format!("={name}"));
            let found = outcome(&persona(mode), &query, Voucher::Browser);
            assert_eq!(found, *expected, "{name}: {query}");
        }
    }
}

#[test]
fn settings_that_the_seed_does_not_use() {
    use Voucher::*;
    let customer = persona(Mode::Customer);
    let public = persona(Mode::Public);
    let none = MetadataPolicy { user_id: UserIdRule::None, ..public };
    let signed = MetadataPolicy { signed: true, trust_asserted: false, ..customer };
    let doubted = MetadataPolicy { trust_asserted: false, ..customer };
    let made_up = MetadataPolicy { allow_generated_id: true, ..customer };
    let anonymous = MetadataPolicy { allow_generated_id: false, ..public };
    let test_none = MetadataPolicy { user_id: UserIdRule::None, ..persona(Mode::Test) };
    let test_required = MetadataPolicy { user_id: UserIdRule::Required, ..persona(Mode::Test) };
    let cases = [
        // No user ids at all.
        (none, "", Browser, "none"),
        (none, "mode=public", Browser, "none"),
        (none, "user_id=7", Browser, CONTRADICTS),
        (none, "user_id=7", Signature, CONTRADICTS),
        (none, "require_user_id=true", Browser, CONTRADICTS),
        (test_none, "require_user_id=true", Browser, CONTRADICTS),
        (test_none, "allow_generated_id=true", Browser, "none"),
        (test_none, "user_id=7", Browser, CONTRADICTS),
        // Signed: a bare load is refused, and nothing is awaited.
        (signed, "", Browser, UNPROVEN),
        (signed, "user_id=7", Browser, UNPROVEN),
        (signed, "timestamp=1&signature=x", Signature, MISSING),
        (signed, "user_id=7", Signature, "given 7"),
        (signed, "user_id=x", Signature, INVALID),
        (signed, "mode=employee&user_id=7", Signature, MISMATCH),
        // A required id needs a proof, unless the browser is trusted.
        (doubted, "", Browser, "awaiting"),
        (doubted, "user_id=7", Browser, UNPROVEN),
        (doubted, "user_id=x", Browser, INVALID),
        (doubted, "user_id=7", Token, "given 7"),
        (doubted, "user_id=7", SessionApi, "given 7"),
        (doubted, "", Token, MISSING),
        // Where an id is made up, none is missing or awaited.
        (made_up, "", Browser, "generate"),
        (
            made_up,
            "mode=customer&require_user_id=true&allow_generated_id=true",
            Browser,
            "generate",
        ),
        (made_up, "", Signature, "generate"),
        (made_up, "user_id=7", Browser, "given 7"),
        // Optional and not made up.
        (anonymous, "", Browser, "none"),
        (anonymous, "user_id=fp1", Browser, "given fp1"),
        (anonymous, "allow_generated_id=true", Browser, CONTRADICTS),
        (test_required, "allow_generated_id=false", Browser, MISSING),
        (test_required, "require_user_id=false&allow_generated_id=false", Browser, "none"),
    ];
    for (policy, query, voucher, expected) in cases {
        assert_eq!(outcome(&policy, query, voucher), expected, "{query}, {voucher:?}, {policy:?}");
    }
}

#[test]
fn integers_end_where_javascript_stops_counting() {
    for (id, admitted) in [
        ("1", true),
        ("9007199254740991", true),
        ("9007199254740992", false),
        ("9999999999999999", false),
        ("10000000000000000", false),
        ("99999999999999999999999999999999", false),
        ("1 ", false),
        (" 1", false),
        ("１", false),
    ] {
        assert_eq!(UserIdFormat::Integer.admits(id), admitted, "{id:?}");
    }
}

#[test]
fn tokens_have_one_to_128_plain_characters() {
    assert!(UserIdFormat::Token.admits(&"a".repeat(128)));
    assert!(!UserIdFormat::Token.admits(&"a".repeat(129)));
    for byte in 0..=u8::MAX {
        let plain = byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        assert_eq!(UserIdFormat::Token.admits(&String::from(char::from(byte))), plain, "{byte}");
    }
}

#[test]
fn an_identity_is_called_what_it_is() {
    use Voucher::*;
    for (query, voucher, expected) in [
        ("user_id=a", Browser, "asserted"),
        ("user_id=a", Signature, "signed"),
        ("user_id=a", Token, "jwt"),
        ("user_id=a", SessionApi, "session"),
        ("", Browser, "generated"),
        ("", Signature, "generated"),
    ] {
        let parameters = Parameters::from_raw(raw_pairs(query.as_bytes())).unwrap();
        let metadata = decide(&persona(Mode::Public), parameters, voucher).unwrap();
        assert_eq!(metadata.assurance().as_str(), expected, "{query}, {voucher:?}");
    }
}

#[test]
fn the_direction_is_kept_and_absent_where_none_was_given() {
    for (query, expected) in [
        ("", None),
        ("direction=rtl", Some(Direction::Rtl)),
        ("direction=auto", Some(Direction::Auto)),
    ] {
        let parameters = Parameters::from_raw(raw_pairs(query.as_bytes())).unwrap();
        let metadata = decide(&persona(Mode::Public), parameters, Voucher::Browser).unwrap();
        assert_eq!(metadata.direction(), expected);
    }
}

#[test]
fn a_name_in_query_and_form_is_a_duplicate() {
    let both = raw_pairs(b"user_id=1&v=1").chain(raw_pairs(b"direction=rtl&user_id=1"));
    assert_eq!(Parameters::from_raw(both).unwrap_err().code, Code::ParameterDuplicate);
}

fn any_policy() -> impl Strategy<Value = MetadataPolicy> {
    use UserIdRule::*;
    (
        proptest::sample::select(vec![Mode::Public, Mode::Customer, Mode::Employee, Mode::Test]),
        proptest::sample::select(vec![Required, Optional, None]),
        proptest::sample::select(vec![UserIdFormat::Integer, UserIdFormat::Token]),
        any::<[bool; 5]>(),
    )
        .prop_map(|(mode, user_id, format, flags)| MetadataPolicy {
            mode,
            user_id,
            format,
            allow_generated_id: flags[0],
            trust_asserted: flags[1],
            strict_config: flags[2],
            bridge: flags[3],
            signed: flags[4],
        })
}

fn any_query() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(vec![
        "mode",
        "user_id",
        "require_user_id",
        "allow_generated_id",
        "direction",
        "v",
        "user%5fid",
    ]);
    let value = prop_oneof![
        proptest::sample::select(vec![
            "public", "customer", "test", "true", "false", "rtl", "1", "0", "a-b", "", "%00",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ];
    proptest::collection::vec((name, value), 0..5).prop_map(|list| {
        list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    })
}

proptest! {
    #[test]
    fn what_is_let_in_keeps_the_personas_rules(policy in any_policy(), query in any_query()) {
        let Ok(parameters) = Parameters::from_raw(raw_pairs(query.as_bytes())) else { return Ok(()) };
        let Ok(metadata) = decide(&policy, parameters, Voucher::Browser) else { return Ok(()) };
        prop_assert_eq!(metadata.mode(), policy.mode);
        prop_assert!(!policy.signed);
        prop_assert!(matches!(metadata.assurance(), Assurance::Asserted | Assurance::Generated));
        match metadata.user_id() {
            UserId::Given(id) => {
                prop_assert!(policy.user_id != UserIdRule::None);
                prop_assert!(policy.trust_asserted || policy.user_id == UserIdRule::Optional);
                let format = if policy.mode == Mode::Test { UserIdFormat::Token } else { policy.format };
                prop_assert!(format.admits(id));
            }
            UserId::ToGenerate => {
                prop_assert!(policy.allow_generated_id || policy.mode == Mode::Test);
            }
            UserId::Awaiting => prop_assert_eq!(policy.user_id, UserIdRule::Required),
            UserId::None => {
                prop_assert!(policy.user_id != UserIdRule::Required || policy.mode == Mode::Test);
            }
        }
    }

    #[test]
    fn raw_and_decoded_pairs_say_the_same(query in any_query()) {
        let decoded: Vec<_> = pairs(query.as_bytes()).collect();
        prop_assert_eq!(
            Parameters::from_pairs(&decoded),
            Parameters::from_raw(raw_pairs(query.as_bytes()))
        );
    }
}
