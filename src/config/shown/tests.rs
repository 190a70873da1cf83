use std::collections::BTreeSet;

use super::*;
use crate::config::schema;

/// Texts that are hidden on purpose. Whoever adds a key that holds a text decides: a line here, or
/// one in [`SHOWN`]. Until then it is hidden.
const HIDDEN: &[&str] = &[
    // May hold a password.
    "state.redis",
    // May hold what opens the app.
    "tenants.*.personas.*.headers.set.*",
    "tenants.*.sites.*.headers.set.*",
];

/// Every key that there is, each with a value of its kind; texts are canaries.
fn everything(kind: &Kind, path: &str, texts: &mut Vec<String>) -> Value {
    match kind {
        Kind::Boolean => true.into(),
        Kind::Integer(low, _) => Value::Integer(*low as i64),
        Kind::Fraction => Value::Float(0.5),
        Kind::Moment => "2026-11-21T12:00:00Z".parse().unwrap(),
        Kind::Choice(words) => words[0].into(),
        Kind::Text(_) => {
            texts.push(path.to_owned());
            canary(path).into()
        }
        Kind::List(item) => vec![everything(item, path, texts)].into(),
        Kind::Map(value) => {
            let value = everything(value, &below(path, "*"), texts);
            Value::Table(Table::from_iter([("name".to_owned(), value)]))
        }
        Kind::Table(section) => Value::Table(of_section(section, path, texts)),
        Kind::Named(section) => {
            let table = of_section(section, &below(path, "*"), texts);
            Value::Table(Table::from_iter([("name".to_owned(), Value::Table(table))]))
        }
    }
}

fn of_section(section: &SectionInfo, path: &str, texts: &mut Vec<String>) -> Table {
    let keys = section.keys.iter();
    keys.map(|key| (key.name.to_owned(), everything(&key.kind, &below(path, key.name), texts)))
        .collect()
}

/// Ends where no other one goes on.
fn canary(path: &str) -> String {
    format!("canary({path})")
}

#[test]
fn nothing_is_shown_that_nobody_has_decided_to_show() {
    let mut texts = Vec::new();
    let table = of_section(schema(), "", &mut texts);
    let told = shown(&table, schema(), "").to_string();
    let found: BTreeSet<&str> =
        texts.iter().map(|it| &**it).filter(|path| told.contains(&canary(path))).collect();
    // A canary is no reference and no URL, so that of those nothing is left.
    let whole = SHOWN.iter().filter(|(_, how)| matches!(how, Whole | Path));
    assert_eq!(found, whole.map(|(path, _)| *path).collect());
    let canaries = told.matches("canary(").count();
    assert_eq!(canaries, found.len(), "{told}");
}

#[test]
fn whether_a_text_is_shown_is_decided_for_each() {
    let mut texts = Vec::new();
    of_section(schema(), "", &mut texts);
    let there: BTreeSet<&str> = texts.iter().map(|path| &**path).collect();
    let decided = || SHOWN.iter().map(|(path, _)| *path).chain(HIDDEN.iter().copied());
    assert_eq!(decided().count(), decided().collect::<BTreeSet<_>>().len(), "decided twice");
    let open: Vec<_> = there.iter().filter(|path| !decided().any(|it| it == **path)).collect();
    assert!(open.is_empty(), "decide in SHOWN or HIDDEN whether /config shows {open:?}");
    let stale: Vec<_> = decided().filter(|path| !there.contains(path)).collect();
    assert!(stale.is_empty(), "no such text: {stale:?}");
}

#[test]
fn a_secret_is_shown_by_its_reference_alone() {
    // All are of this kind, whoever adds one.
    let mut texts = Vec::new();
    of_section(schema(), "", &mut texts);
    for (path, how) in SHOWN {
        let is_secret = is_confidential(&Kind::Table(schema()), path);
        assert_eq!(is_secret, *how == Reference, "{path}");
    }
    for (text, expected) in [
        ("env:ADMIN_TOKEN", "env:ADMIN_TOKEN"),
        ("file:/run/secrets/token", "file:/run/secrets/token"),
        ("hunter2", REDACTED),
        ("ENV:hunter2", REDACTED),
        ("", REDACTED),
    ] {
        assert_eq!(text_shown(text, "admin.token").as_str(), Some(expected), "{text}");
    }
}

/// Of the key at that place.
fn is_confidential(kind: &Kind, path: &str) -> bool {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    match kind {
        Kind::Text(text) => text.confidential,
        Kind::List(item) => is_confidential(item, path),
        Kind::Map(value) => is_confidential(value, rest),
        Kind::Named(section) => is_confidential(&Kind::Table(section), rest),
        Kind::Table(section) => {
            let key = section.keys.iter().find(|key| key.name == name).unwrap();
            is_confidential(&key.kind, rest)
        }
        _ => false,
    }
}

#[test]
fn of_urls_only_what_is_no_key_is_shown() {
    for (path, text, expected) in [
        ("telemetry.otlp_endpoint", "http://127.0.0.1:4317", "http://127.0.0.1:4317"),
        (
            "telemetry.otlp_endpoint",
            "https://otlp.test/v1?key=hunter2",
            "https://otlp.test/redacted",
        ),
        ("telemetry.otlp_endpoint", "https://me:hunter2@otlp.test/", "https://otlp.test/"),
        ("telemetry.otlp_endpoint", "https://otlp.test?hunter2", "https://otlp.test/redacted"),
        ("telemetry.otlp_endpoint", "hunter2", REDACTED),
        ("upstreams.*.health.path", "/health", "/health"),
        ("upstreams.*.health.path", "/health?key=hunter2", "/health?redacted"),
        (
            "tenants.*.sites.*.redirects.to",
            "https://me:hunter2@a.test/b?c=hunter2#d",
            "https://a.test/b?redacted",
        ),
        ("tenants.*.sites.*.redirects.to", "/new/*", "/new/*"),
        ("state.redis", "redis://:hunter2@127.0.0.1", REDACTED),
        ("tenants.*.personas.*.headers.set.*", "Bearer hunter2", REDACTED),
    ] {
        assert_eq!(text_shown(text, path).as_str(), Some(expected), "{path} {text}");
    }
}

#[test]
fn all_files_are_one_document_without_their_comments() {
    let main = "# token: hunter2\n[admin]\nlisten = \"127.0.0.1:1\" # hunter2\n\
                [tenants.a.allow]\nupstreams = [\"app\"]\n\
                [tenants.b.personas.x]\nhosts = [\"${HOST}\"]\nunknown = \"hunter2\"\n";
    let tenant = "[tenants.a]\nname = \"A\"\n[tenants.a.personas.x.headers.set]\n\
                  Authorization = \"hunter2\"\n";
    let texts = [main, tenant].map(|text| SourceText::new("a.toml", text.into()));
    let written = Written::new(texts.into());
    let told: Table = written.shown(None).parse().unwrap();
    let expected: Table = "[admin]\nlisten = \"127.0.0.1:1\"\n[tenants.a]\nname = \"A\"\n\
        [tenants.a.allow]\nupstreams = [\"app\"]\n\
        [tenants.a.personas.x.headers.set]\nAuthorization = \"redacted\"\n\
        [tenants.b.personas.x]\nhosts = [\"${HOST}\"]\n"
        .parse()
        .unwrap();
    assert_eq!(told, expected);
    let one = written.shown(Some("b"));
    assert!(one.contains("tenants.b") && !one.contains("tenants.a"), "{one}");
    assert!(!written.shown(None).contains("hunter2"));
}

#[test]
fn of_what_may_be_a_url_neither_user_nor_query_is_shown() {
    for (text, expected) in [
        ("/health", "/health"),
        ("/health?k=1", "/health?redacted"),
        ("health?k=1#x", "health?redacted"),
        ("/@user/x", "/@user/x"),
        ("https://a.test/x", "https://a.test/x"),
        ("https://[::1]:8443/@x", "https://[::1]:8443/@x"),
        ("https://me:pw@a.test:80/x y?k=1", "https://a.test:80/x y?redacted"),
        ("https://me@pw@a.test", "https://a.test"),
        ("//me:pw@a.test/x", "//a.test/x"),
        ("me:pw@a.test", "a.test"),
        ("https://me:p/w@a.test/x", "https://redacted"),
        ("https://me:p?w@a.test/x", "https://redacted"),
        ("https://me:p#w@a.test/x", "https://redacted"),
        ("https:/me:pw@a.test", "redacted"),
        ("https:///me:pw@a.test", "https://redacted"),
        ("///pw@a.test", "//redacted"),
        ("/\\me:pw@a.test", "redacted"),
        ("/login?mail=a@b", "/login?redacted"),
        ("", ""),
    ] {
        assert_eq!(without_secrets(text), expected, "{text}");
    }
}
