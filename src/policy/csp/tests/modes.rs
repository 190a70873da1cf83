//! Modes, report-only policies, and what else an edit says.

use super::*;

#[test]
fn report_only_policies_are_extended_apart_and_gain_none_of_ours() {
    for (kind, upstream, expected) in [
        ("chat", &[][..], "(keep)"),
        (
            "chat",
            &["R frame-ancestors 'none'; report-uri /r"],
            "frame-ancestors 'self' A; report-uri /r",
        ),
        ("chat", &["R default-src 'self'"], "default-src 'self'"),
        ("chat", &["E default-src 'self'"], "(remove)"),
        ("site", &["R default-src 'self'"], "default-src 'self'; frame-src 'self' P"),
        ("site+", &["E img-src *", "R script-src 'none'"], "script-src S"),
    ] {
        let compiled = compiled(kind, Mode::Merge);
        let edit = compiled.edit(fields(upstream));
        assert_eq!(shown(&edit.report), written_out(expected), "{kind} {upstream:?}");
    }
}

#[test]
fn replacing_takes_the_upstreams_policies_away_where_there_is_one_of_ours() {
    for (kind, upstream, enforce, report) in [
        ("chat", &[][..], "frame-ancestors 'self' A", "(keep)"),
        ("chat", &["E default-src 'none'", "R img-src *"], "frame-ancestors 'self' A", "(remove)"),
        ("site", &["E default-src 'none'"], "frame-src 'self' P", "(remove)"),
        ("plain", &["E default-src 'none'"], "(keep)", "(keep)"),
    ] {
        let compiled = compiled(kind, Mode::Replace);
        let edit = compiled.edit(fields(upstream));
        assert_eq!(shown(&edit.enforce), written_out(enforce), "{kind} {upstream:?}");
        assert_eq!(shown(&edit.report), written_out(report), "{kind} {upstream:?}");
    }
}

#[test]
fn a_trial_reports_what_merging_would_change_and_enforces_nothing() {
    for (kind, upstream, report) in [
        ("chat", &[][..], "frame-ancestors 'self' A"),
        ("site", &[], "frame-src 'self' P"),
        ("plain", &[], "(keep)"),
        ("site", &["E img-src *"], "(remove)"),
        (
            "site",
            &["E default-src 'self'; img-src *; report-uri /csp; report-to main"],
            "frame-src 'self' P; report-uri /csp; report-to main",
        ),
        (
            "chat",
            &["E frame-ancestors 'none'; sandbox", "R img-src 'self'"],
            "img-src 'self', frame-ancestors 'self' A",
        ),
    ] {
        let compiled = compiled(kind, Mode::ReportOnly);
        let edit = compiled.edit(fields(upstream));
        assert_eq!(shown(&edit.enforce), "(keep)", "{kind} {upstream:?}");
        assert_eq!(shown(&edit.report), written_out(report), "{kind} {upstream:?}");
        assert!(!edit.drops_frame_options);
    }
}

#[test]
fn x_frame_options_goes_where_we_say_who_may_frame() {
    for (kind, mode, expected) in [
        ("chat", Mode::Merge, true),
        ("shell", Mode::Merge, true),
        ("chat", Mode::Replace, true),
        ("chat", Mode::ReportOnly, false),
        ("site", Mode::Merge, false),
        ("plain", Mode::Replace, false),
    ] {
        for upstream in [&[][..], &["E default-src 'self'"]] {
            let compiled = compiled(kind, mode);
            assert_eq!(compiled.edit(fields(upstream)).drops_frame_options, expected, "{kind}");
        }
    }
}

#[test]
fn an_injected_script_learns_which_nonce_it_needs() {
    let nonce = |text: &str| OwnScript::NeedsNonce(text.into());
    for (mode, upstream, expected) in [
        (Mode::Merge, &[][..], OwnScript::Admitted),
        (Mode::Merge, &["E script-src 'none'"], OwnScript::Admitted),
        (Mode::Merge, &["E script-src 'nonce-a'"], OwnScript::Admitted),
        (Mode::Merge, &["E script-src 'strict-dynamic' 'nonce-a'"], nonce("a")),
        (Mode::Merge, &["E script-src 'self' 'strict-dynamic' 'NONCE-aB+/='"], nonce("aB+/=")),
        (Mode::Merge, &["E script-src 'strict-dynamic' 'sha256-a'"], OwnScript::Blocked),
        (Mode::Merge, &["E script-src 'strict-dynamic' 'nonce-\"><script>'"], OwnScript::Blocked),
        (
            Mode::Merge,
            &["E script-src 'strict-dynamic'; script-src-elem 'self'"],
            OwnScript::Admitted,
        ),
        (
            Mode::Merge,
            &[
                "E script-src 'strict-dynamic' 'nonce-a' 'nonce-b'",
                "E default-src 'strict-dynamic' 'nonce-b'",
            ],
            nonce("b"),
        ),
        (
            Mode::Merge,
            &["E script-src 'strict-dynamic' 'nonce-a', script-src 'strict-dynamic' 'nonce-b'"],
            OwnScript::Blocked,
        ),
        (Mode::Merge, &["E sandbox allow-forms"], OwnScript::Blocked),
        (Mode::Merge, &["E sandbox Allow-Scripts"], OwnScript::Admitted),
        (Mode::Merge, &["R script-src 'strict-dynamic'"], OwnScript::Admitted),
        (Mode::ReportOnly, &["E script-src 'self'"], OwnScript::Blocked),
        (Mode::ReportOnly, &["E script-src 'nonce-a'"], nonce("a")),
        (Mode::Replace, &["E script-src 'none'"], OwnScript::Admitted),
    ] {
        let compiled = compiled("site+", mode);
        assert_eq!(compiled.edit(fields(upstream)).own_script, expected, "{upstream:?}");
    }
    let without = compiled("site", Mode::Merge);
    let strict = ["E script-src 'strict-dynamic'"];
    assert_eq!(without.edit(fields(&strict)).own_script, OwnScript::Admitted);
}

#[test]
fn field_names_are_known_in_every_case() {
    for (name, expected) in [
        ("content-security-policy", Some(Disposition::Enforce)),
        ("Content-Security-Policy-REPORT-only", Some(Disposition::Report)),
        ("X-Content-Security-Policy", None),
        ("content_security_policy", None),
    ] {
        assert_eq!(Disposition::of(name.as_bytes()), expected, "{name}");
    }
}
