//! What holds for any answer of any upstream.

use super::*;

/// The body of a fuzz target, over the public interface alone: any bytes, as fields of both kinds,
/// one a line.
pub fn fuzz(bytes: &[u8]) {
    let fields: Vec<(Disposition, &[u8])> = bytes
        .split(|&byte| byte == b'\n')
        .map(|line| match line.split_first() {
            Some((b'R', value)) => (Disposition::Report, value),
            _ => (Disposition::Enforce, line),
        })
        .collect();
    for kind in ["chat", "chat+", "site", "site+", "shell", "nobody", "plain"] {
        for mode in [Mode::Merge, Mode::Replace, Mode::ReportOnly] {
            let compiled = compiled(kind, mode);
            let edit = compiled.edit(fields.iter().copied());
            check_header(&edit.enforce);
            check_header(&edit.report);
            if mode == Mode::Merge {
                check_merge(&needs(kind), &fields, Disposition::Enforce, &edit.enforce);
                check_merge(&needs(kind), &fields, Disposition::Report, &edit.report);
                check_again(&compiled, &edit);
            }
        }
    }
}

fn check_header(edit: &FieldEdit<'_>) {
    let FieldEdit::Set(text) = edit else { return };
    assert!(http::HeaderValue::from_str(text).is_ok(), "{text:?}");
    assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{text:?}");
    let parsed: Vec<Policy<'_>> = syntax::policies(text.as_bytes()).collect();
    assert_eq!(syntax::serialise(&parsed), **text, "what we write reads as we wrote it");
}

/// Every restriction of the upstream is still there, except that the named lists have grown.
fn check_merge(
    needs: &Needs<'_>,
    fields: &[(Disposition, &[u8])],
    disposition: Disposition,
    edit: &FieldEdit<'_>,
) {
    let sent = fields.iter().filter(|(kind, _)| *kind == disposition);
    let before: Vec<Policy<'_>> = sent.flat_map(|(_, value)| syntax::policies(value)).collect();
    let text = shown(edit);
    let after: Vec<Policy<'_>> = match edit {
        FieldEdit::Set(_) => syntax::policies(text.as_bytes()).collect(),
        _ => Vec::new(),
    };
    assert!(before.len() <= after.len() && after.len() <= before.len() + 1, "{text}");
    for (before, after) in before.iter().zip(&after) {
        for directive in &before.directives {
            let kept = after.get(directive.name).expect("no directive disappears");
            let first = before.get(directive.name).expect("it is there");
            check_directive(needs, first, kept);
        }
        let made = &after.directives[before.directives.len()..];
        for directive in made {
            let names = [FRAMES, SCRIPTS, CONNECTIONS];
            let names = names.iter().find(|names| directive.is(names[0])).expect("a made one");
            let fallback = before.governing(names).expect("only what restricts is extended");
            let ours = [needs.frames, needs.script, needs.connect].concat();
            for value in &directive.values {
                assert!(
                    ours.contains(value) || fallback.values.contains(value),
                    "{value} came from nowhere"
                );
            }
        }
    }
}

const FRAMES: &[&str] = &["frame-src", "child-src", "default-src"];
const SCRIPTS: &[&str] = &["script-src", "default-src"];
const CONNECTIONS: &[&str] = &["connect-src", "default-src"];

fn check_directive(
    needs: &Needs<'_>,
    before: &syntax::Directive<'_>,
    after: &syntax::Directive<'_>,
) {
    let ours = match &*before.name.to_ascii_lowercase() {
        "frame-ancestors" => {
            if let Some(ancestors) = needs.ancestors {
                assert_eq!(after.values[..], [&["'self'"], ancestors].concat());
                return;
            }
            &[]
        }
        "frame-src" => needs.frames,
        "script-src" | "script-src-elem" => needs.script,
        "connect-src" => needs.connect,
        _ => &[],
    };
    let is_ours = |value: &&&str| ours.contains(*value);
    let foreign: Vec<_> = after.values.iter().filter(|value| !is_ours(value)).collect();
    let expected: Vec<_> = before
        .values
        .iter()
        .filter(|value| !is_ours(value))
        .filter(|value| before.values == after.values || !value.eq_ignore_ascii_case("'none'"))
        .collect();
    assert_eq!(foreign, expected, "{}", before.name);
}

fn check_again(compiled: &CompiledCsp, edit: &Edit<'_>) {
    let (enforce, report) = (shown(&edit.enforce), shown(&edit.report));
    let value = |edit: &FieldEdit<'_>| matches!(edit, FieldEdit::Set(_));
    let mut fields = Vec::new();
    if value(&edit.enforce) {
        fields.push((Disposition::Enforce, enforce.as_bytes()));
    }
    if value(&edit.report) {
        fields.push((Disposition::Report, report.as_bytes()));
    }
    let again = compiled.edit(fields.iter().copied());
    for (first, second) in [(&edit.enforce, &again.enforce), (&edit.report, &again.report)] {
        if value(first) {
            assert_eq!(first, second, "merging twice is merging once");
        }
    }
    assert_eq!(edit.own_script, again.own_script);
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "'self'", "'none'", "*", "https:", "http:", "data:", "'unsafe-inline'", "'nonce-abc'",
            "'strict-dynamic'", "https://chat.example", "HTTPS://CHAT.example", "a.example",
            "https://chat.example/.vestibule/embed.js", "allow-scripts", "/report",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
        1 => "\\PC{0,3}",
    ]
}

fn policy_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => prop::sample::select(vec![
            "frame-src", "FRAME-SRC", "child-src", "default-src", "script-src", "script-src-elem",
            "connect-src", "frame-ancestors", "Frame-Ancestors", "sandbox", "img-src", "report-uri",
        ]).prop_map(str::to_owned),
        1 => "[a-zA-Z-]{0,6}",
    ];
    let space = prop::sample::select(vec![" ", "  ", "\t", "\x0c", " \r"]);
    let directive = (name, space, prop::collection::vec(word(), 0..5))
        .prop_map(|(name, space, words)| format!("{name}{space}{}", words.join(space)));
    let separator = prop::sample::select(vec![";", "; ", " ;; ", ",", ", ", "\n", "\nR"]);
    prop::collection::vec((directive, separator), 0..8)
        .prop_map(|parts| parts.into_iter().map(|(text, end)| text + end).collect())
}

proptest! {
    #[test]
    fn any_policies_keep_what_they_restrict(text in policy_text()) {
        fuzz(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&bytes);
    }
}
