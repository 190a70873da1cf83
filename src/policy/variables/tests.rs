use proptest::prelude::*;

use super::*;
use crate::policy::query::pairs;

fn policy(declared: &[(&str, Source, usize)]) -> VariablesPolicy {
    let variable = |&(name, source, max): &(&str, _, _)| Variable::new(name, source, max).unwrap();
    VariablesPolicy::new(declared.iter().map(variable))
}

fn sales() -> VariablesPolicy {
    policy(&[
        ("user_name", Source::Query, 20),
        ("plan", Source::Body, 200),
        ("locale", Source::Query, 5),
    ])
}

fn told(answer: Result<Variables, Rejection>) -> String {
    match answer {
        Ok(variables) => {
            let pairs = variables.iter().map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(" ")
        }
        Err(rejection) => {
            let code = rejection.code;
            let detail = rejection.detail.unwrap_or_default();
            format!("{} {}: {detail}", code.status_u16(), code.as_str())
        }
    }
}

#[test]
fn a_variable_is_what_is_declared_from_where_it_is_declared() {
    for (query, form, expected) in [
        ("", "", ""),
        ("user_name=John&locale=en", "", "locale=en user_name=John"),
        ("user%5Fname=J%C3%B6hn+D", "plan=gold", "plan=gold user_name=Jöhn D"),
        ("user_name=", "", "user_name="),
        ("other=1&User_name=x&other=2", "session_token=1", ""),
        ("plan=gold", "", ""),
        ("", "user_name=John", ""),
        (
            "plan=gold",
            "user_name=John&plan=free",
            "400 parameter_duplicate: plan is given more than once.",
        ),
        (
            "user_name=John&user_name=John",
            "",
            "400 parameter_duplicate: user_name is given more than once.",
        ),
        ("locale=en-US", "", "locale=en-US"),
        ("locale=en-USA", "", "422 content_over_limit: locale has 6 bytes and may have 5."),
        (
            "locale=%C3%A4%C3%A4%C3%A4",
            "",
            "422 content_over_limit: locale has 6 bytes and may have 5.",
        ),
        ("", "locale=much-too-long-and-none", ""),
    ] {
        let answer = decide(&sales(), pairs(query.as_bytes()), pairs(form.as_bytes()));
        assert_eq!(told(answer), expected, "{query} {form}");
    }
}

#[test]
fn a_persona_without_variables_takes_none() {
    let answer = decide(&VariablesPolicy::default(), pairs(b"a=1&a=2"), pairs(b"a=3"));
    assert_eq!(answer, Ok(Variables::default()));
}

#[test]
fn what_came_from_the_other_source_can_be_told() {
    let policy = sales();
    let names = |source, text: &'static str| {
        misplaced(&policy, source, pairs(text.as_bytes())).map(Variable::name).collect::<Vec<_>>()
    };
    assert_eq!(names(Source::Query, "plan=gold&user_name=x&y=1"), ["plan"]);
    assert_eq!(names(Source::Body, "plan=gold&user_name=x&y=1"), ["user_name"]);
}

#[test]
fn names_make_headers_that_no_server_drops() {
    for (name, header) in [
        ("plan", Some("X-Vestibule-Var-plan")),
        ("user_name", Some("X-Vestibule-Var-user-name")),
        ("User-Name", Some("X-Vestibule-Var-User-Name")),
        ("7", Some("X-Vestibule-Var-7")),
        ("", None),
        ("_plan", None),
        ("user.name", None),
        ("user name", None),
        ("größe", None),
        ("a\r\nX", None),
    ] {
        let variable = Variable::new(name, Source::Query, 9);
        assert_eq!(variable.as_ref().map(|one| &*one.header).ok(), header, "{name:?}");
    }
    assert!(Variable::new(&"x".repeat(MAX_NAME + 1), Source::Query, 9).is_err());
    let of = |name| Variable::new(name, Source::Query, 9).unwrap();
    assert!(of("user_name").shares_header(&of("User-Name")) && !of("a").shares_header(&of("b")));
}

#[test]
fn short_values_travel_as_headers() {
    let policy = policy(&[("a", Source::Query, 5_000), ("b", Source::Query, 5_000)]);
    let shown = |query: &str| {
        let variables = decide(&policy, pairs(query.as_bytes()), []).unwrap();
        let lines = variables.headers().map(|(name, value)| format!("{name}: {value}"));
        lines.collect::<Vec<_>>().join("|")
    };
    assert_eq!(shown("a=John&b="), "X-Vestibule-Var-a: John|X-Vestibule-Var-b: ");
    assert_eq!(
        shown("a=Zo%C3%AB+%25%0d%0aX-Vestibule-User-Id:+1"),
        "X-Vestibule-Var-a: Zo%C3%AB%20%25%0D%0AX-Vestibule-User-Id:%201"
    );
    assert_eq!(shown(&format!("a={}", "x".repeat(256))).len(), 256 + 19);
    assert_eq!(shown(&format!("a={}&b=1", "x".repeat(257))), "X-Vestibule-Var-b: 1");
    // Escaped, 86 characters are longer than the header may be.
    assert_eq!(shown(&format!("a={}&b=1", "+".repeat(86))), "X-Vestibule-Var-b: 1");
}

#[test]
fn all_headers_together_are_bounded() {
    let names: Vec<String> = (10..30).map(|number| format!("v{number}")).collect();
    let declared: Vec<_> = names.iter().map(|name| (&**name, Source::Query, 1_000)).collect();
    let query: Vec<_> = names.iter().map(|name| format!("{name}={}", "x".repeat(200))).collect();
    let variables = decide(&policy(&declared), pairs(query.join("&").as_bytes()), []).unwrap();
    assert_eq!(variables.iter().count(), 20);
    let sizes = variables.headers().map(|(name, value)| name.len() + value.len());
    let sizes: Vec<_> = sizes.collect();
    assert_eq!(sizes.len(), 9);
    assert!(sizes.iter().sum::<usize>() <= MAX_HEADERS);
}

#[test]
fn values_are_never_printed() {
    let query = "user_name=hunter2";
    let variables = decide(&sales(), pairs(query.as_bytes()), []).unwrap();
    assert_eq!(format!("{variables:?}"), "Variables(user_name)");
    let refused = decide(&sales(), pairs(b"locale=hunter2"), []).unwrap_err();
    assert!(!format!("{refused:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn headers_are_visible_and_within_bounds(values in proptest::collection::vec("\\PC{0,300}", 3)) {
        let given = ["locale", "plan", "user_name"];
        let pair = |(name, value): (&&'static str, &String)| Pair {
            name: (*name).into(),
            value: value.clone().into(),
        };
        let given: Vec<_> = given.iter().zip(&values).map(pair).collect();
        let policy = policy(&[
            ("locale", Source::Query, 5_000),
            ("plan", Source::Query, 5_000),
            ("user_name", Source::Query, 5_000),
        ]);
        let variables = decide(&policy, given, []).unwrap();
        prop_assert!(variables.iter().map(|(_, value)| value).eq(values.iter()));
        for (name, value) in variables.headers() {
            prop_assert!(value.len() <= MAX_HEADER && value.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        }
    }
}
