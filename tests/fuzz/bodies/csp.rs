//! Merging into any policies of any upstream: what restricts goes on restricting, what we write reads
//! as we wrote it, and merging twice is merging once.

use vestibule::policy::csp::syntax::{self, Policy};
use vestibule::policy::csp::{CompiledCsp, Disposition, Edit, FieldEdit, Mode, Needs, ScriptPlace};

/// Any bytes, as fields of both kinds, one a line.
pub fn csp_merge(bytes: &[u8]) {
    let fields: Vec<(Disposition, &[u8])> = bytes
        .split(|&byte| byte == b'\n')
        .map(|line| match line.split_first() {
            Some((b'R', value)) => (Disposition::Report, value),
            _ => (Disposition::Enforce, line),
        })
        .collect();
    for kind in ["chat", "chat+", "site", "site+", "shell", "nobody", "plain"] {
        for mode in [Mode::Merge, Mode::Replace, Mode::ReportOnly] {
            let compiled = CompiledCsp::new(mode, &needs(kind)).expect("the needs are sound");
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

fn needs(kind: &str) -> Needs<'static> {
    const EMBED: &[&str] = &["https://www.shop.example", "https://*.partner.example"];
    const PERSONAS: &[&str] = &["https://chat.example", "https://help.example:8443"];
    const SCRIPT: &[&str] = &["https://chat.example/.vestibule/embed.js"];
    let chat = Needs { ancestors: Some(EMBED), ..Needs::default() };
    let site = Needs { frames: PERSONAS, ..Needs::default() };
    match kind {
        "chat" => chat,
        "chat+" => Needs { script: SCRIPT, script_place: ScriptPlace::SameOrigin, ..chat },
        "site" => site,
        "site+" => Needs { script: SCRIPT, connect: &["https://chat.example"], ..site },
        "shell" => Needs { ancestors: Some(EMBED), frames: &PERSONAS[..1], ..Needs::default() },
        "nobody" => Needs { ancestors: Some(&[]), ..Needs::default() },
        "plain" => Needs::default(),
        other => unreachable!("{other}"),
    }
}

fn shown(edit: &FieldEdit<'_>) -> String {
    match edit {
        FieldEdit::Keep => "(keep)".into(),
        FieldEdit::Remove => "(remove)".into(),
        FieldEdit::Set(text) => text.to_string(),
    }
}
