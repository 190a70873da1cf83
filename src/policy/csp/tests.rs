//! The table of what becomes of an upstream's policies, and the properties that hold for any.

use proptest::prelude::*;

use super::syntax::{self, Policy};
use super::*;

mod modes;
mod sources;

/// A chat document, a site, a shell; with `+`, our script in it.
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
        other => panic!("{other}"),
    }
}

fn compiled(kind: &str, mode: Mode) -> CompiledCsp {
    CompiledCsp::new(mode, &needs(kind)).unwrap()
}

/// Fields by their first letter: E is enforced, R reports.
fn fields<'a>(upstream: &'a [&'a str]) -> impl Iterator<Item = (Disposition, &'a [u8])> {
    upstream.iter().map(|field| match field.split_at(2) {
        ("E ", value) => (Disposition::Enforce, value.as_bytes()),
        ("R ", value) => (Disposition::Report, value.as_bytes()),
        other => panic!("{other:?}"),
    })
}

fn shown(edit: &FieldEdit<'_>) -> String {
    match edit {
        FieldEdit::Keep => "(keep)".into(),
        FieldEdit::Remove => "(remove)".into(),
        FieldEdit::Set(text) => text.to_string(),
    }
}

/// A row: the document, the upstream's fields, what is enforced. `A`, `P`, `S` stand for the
/// embed origins, the personas and our script.
fn check(mode: Mode, rows: &[(&str, &[&str], &str)]) {
    for (kind, upstream, expected) in rows {
        let compiled = compiled(kind, mode);
        let edit = compiled.edit(fields(upstream));
        assert_eq!(shown(&edit.enforce), written_out(expected), "{kind} {upstream:?}");
    }
}

fn written_out(text: &str) -> String {
    let word = |word: &str| {
        let (name, end) = match word.strip_suffix([';', ',']) {
            Some(name) => (name, &word[name.len()..]),
            None => (word, ""),
        };
        let name = match name {
            "A" => "https://www.shop.example https://*.partner.example",
            "P" => "https://chat.example https://help.example:8443",
            "S" => "https://chat.example/.vestibule/embed.js",
            name => name,
        };
        format!("{name}{end}")
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

const GITHUB: &str = "E default-src 'none'; base-uri 'self'; child-src github.com/webpack/ \
    gist.github.com/webpack/; connect-src 'self' uploads.github.com wss://alive.github.com; \
    font-src github.githubassets.com; form-action 'self' github.com; frame-ancestors 'none'; \
    frame-src viewscreen.githubusercontent.com notebooks.githubusercontent.com; img-src 'self' \
    data: blob: github.githubassets.com; script-src github.githubassets.com; style-src \
    'unsafe-inline' github.githubassets.com; upgrade-insecure-requests; worker-src \
    github.githubassets.com";

#[test]
fn a_chat_document_is_framed_by_its_embed_origins_and_loses_nothing_else() {
    check(
        Mode::Merge,
        &[
            // Streamlit, Rasa and most bots send no policy.
            ("chat", &[], "frame-ancestors 'self' A"),
            ("nobody", &[], "frame-ancestors 'self'"),
            ("chat", &["E "], "frame-ancestors 'self' A"),
            ("chat", &["E ;, ;;"], "frame-ancestors 'self' A"),
            ("chat", &["E frame-ancestors 'none'"], "frame-ancestors 'self' A"),
            ("chat", &["E FRAME-Ancestors\t*"], "frame-ancestors 'self' A"),
            ("chat", &["E frame-ancestors"], "frame-ancestors 'self' A"),
            ("nobody", &["E frame-ancestors *"], "frame-ancestors 'self'"),
            ("chat", &["E default-src 'self'"], "default-src 'self', frame-ancestors 'self' A"),
            (
                "chat",
                &["E default-src 'self'; frame-ancestors 'self' https://old.example; img-src *"],
                "default-src 'self'; frame-ancestors 'self' A; img-src *",
            ),
            (
                "chat",
                &["E frame-ancestors 'none', frame-ancestors https://a.example; img-src *"],
                "frame-ancestors 'self' A, frame-ancestors 'self' A; img-src *",
            ),
            (
                "chat",
                &["E default-src 'self'", "E frame-ancestors 'self'"],
                "default-src 'self', frame-ancestors 'self' A",
            ),
            // Repeated: the first counts, for browsers and for us.
            (
                "chat",
                &["E frame-ancestors 'self'; frame-ancestors 'none'"],
                "frame-ancestors 'self' A; frame-ancestors 'none'",
            ),
            // A policy that only reports restricts nothing: ours is still needed.
            ("chat", &["R frame-ancestors 'self'"], "frame-ancestors 'self' A"),
            ("chat", &["E sandbox allow-forms"], "sandbox allow-forms, frame-ancestors 'self' A"),
            ("plain", &["E default-src 'self'"], "default-src 'self'"),
            ("plain", &[], "(keep)"),
            // Our script comes from the page's own origin.
            (
                "chat+",
                &["E script-src 'self'; frame-ancestors *"],
                "script-src 'self'; frame-ancestors 'self' A",
            ),
            (
                "chat+",
                &["E script-src cdn.example; frame-ancestors *"],
                "script-src cdn.example S; frame-ancestors 'self' A",
            ),
        ],
    );
}

#[test]
fn personas_join_what_governs_frames_in_each_policy() {
    check(
        Mode::Merge,
        &[
            ("site", &[], "frame-src 'self' P"),
            ("site", &["E frame-src 'none'"], "frame-src P"),
            ("site", &["E frame-src"], "frame-src P"),
            ("site", &["E Frame-Src 'NONE'"], "frame-src P"),
            ("site", &["E frame-src 'self'"], "frame-src 'self' P"),
            ("site", &["E frame-src https://video.example"], "frame-src https://video.example P"),
            (
                "site",
                &["E frame-src HTTPS://Chat.example"],
                "frame-src HTTPS://Chat.example https://help.example:8443",
            ),
            ("site", &["E frame-src *"], "frame-src *"),
            ("site", &["E frame-src https:"], "frame-src https:"),
            ("site", &["E frame-src wss: data:"], "frame-src wss: data: P"),
            (
                "site",
                &["E child-src 'self' blob:"],
                "child-src 'self' blob:; frame-src 'self' blob: P",
            ),
            (
                "site",
                &["E default-src 'none'; child-src blob:"],
                "default-src 'none'; child-src blob:; frame-src blob: P",
            ),
            ("site", &["E default-src 'none'"], "default-src 'none'; frame-src P"),
            ("site", &["E default-src *"], "default-src *"),
            (
                "site",
                &["E default-src 'self' 'unsafe-inline' 'nonce-abc' data:"],
                "default-src 'self' 'unsafe-inline' 'nonce-abc' data:; frame-src 'self' data: P",
            ),
            // What does not restrict frames stays as it is.
            ("site", &["E img-src 'self'"], "img-src 'self'"),
            ("site", &["E upgrade-insecure-requests"], "upgrade-insecure-requests"),
            (
                "site",
                &["E script-src 'self'; object-src 'none'"],
                "script-src 'self'; object-src 'none'",
            ),
            ("site", &["R default-src 'self'"], "frame-src 'self' P"),
            (
                "site",
                &["E default-src 'self'", "E frame-src 'none', img-src *"],
                "default-src 'self'; frame-src 'self' P, frame-src P, img-src *",
            ),
            (
                "site",
                &["E frame-src 'none'; frame-src https://chat.example"],
                "frame-src P; frame-src https://chat.example",
            ),
            ("site", &["E frame-ancestors 'none'"], "frame-ancestors 'none'"),
            (
                "shell",
                &["E default-src 'self'; frame-ancestors 'none'"],
                "default-src 'self'; frame-ancestors 'self' A; frame-src 'self' https://chat.example",
            ),
            ("shell", &[], "frame-ancestors 'self' A; frame-src 'self' https://chat.example"),
        ],
    );
}

#[test]
fn our_script_joins_only_what_already_restricts_scripts_and_connections() {
    check(
        Mode::Merge,
        &[
            // No policy: scripts are free already.
            ("site+", &[], "frame-src 'self' P"),
            ("site+", &["E img-src 'self'"], "img-src 'self'"),
            ("site+", &["E script-src 'self'"], "script-src 'self' S"),
            ("site+", &["E script-src 'none'"], "script-src S"),
            ("site+", &["E script-src https:"], "script-src https:"),
            ("site+", &["E script-src 'unsafe-inline'"], "script-src 'unsafe-inline' S"),
            (
                "site+",
                &["E script-src https://chat.example/.vestibule/EMBED.js"],
                "script-src \
                https://chat.example/.vestibule/EMBED.js S",
            ),
            ("site+", &["E script-src-elem 'self'"], "script-src-elem 'self' S"),
            (
                "site+",
                &["E script-src 'self'; script-src-elem cdn.example; script-src-attr 'none'"],
                "script-src 'self' S; script-src-elem cdn.example S; script-src-attr 'none'",
            ),
            (
                "site+",
                &["E default-src 'self' 'unsafe-eval' 'nonce-r4'"],
                "default-src 'self' 'unsafe-eval' 'nonce-r4'; frame-src 'self' P; \
                 script-src 'self' 'unsafe-eval' 'nonce-r4' S; connect-src 'self' https://chat.example",
            ),
            // Beside nonces and hashes an address counts.
            (
                "site+",
                &["E script-src 'nonce-r4nd0m' 'sha256-abc='"],
                "script-src 'nonce-r4nd0m' 'sha256-abc=' S",
            ),
            // Under 'strict-dynamic' it does not.
            (
                "site+",
                &[
                    "E script-src 'nonce-r4nd0m' 'strict-dynamic' https: 'unsafe-inline'; object-src 'none'; base-uri 'none'",
                ],
                "script-src 'nonce-r4nd0m' 'strict-dynamic' https: 'unsafe-inline'; object-src 'none'; base-uri 'none'",
            ),
            (
                "site+",
                &["E connect-src 'self' wss://a.example"],
                "connect-src 'self' wss://a.example https://chat.example",
            ),
            ("site+", &["E connect-src *"], "connect-src *"),
            (
                "site+",
                &["E default-src 'strict-dynamic' 'nonce-r4'"],
                "default-src 'strict-dynamic' 'nonce-r4'; frame-src P; connect-src https://chat.example",
            ),
        ],
    );
}

#[test]
fn a_policy_like_githubs_changes_in_the_named_places_only() {
    let chat = compiled("chat", Mode::Merge);
    let expected =
        GITHUB[2..].replace("frame-ancestors 'none'", &written_out("frame-ancestors 'self' A"));
    assert_eq!(shown(&chat.edit(fields(&[GITHUB])).enforce), expected);

    let site = compiled("site+", Mode::Merge);
    let expected = GITHUB[2..]
        .replace(
            "notebooks.githubusercontent.com",
            &written_out("notebooks.githubusercontent.com P"),
        )
        .replace(
            "script-src github.githubassets.com",
            &written_out("script-src github.githubassets.com S"),
        )
        .replace("wss://alive.github.com", "wss://alive.github.com https://chat.example");
    assert_eq!(shown(&site.edit(fields(&[GITHUB])).enforce), expected);
}

#[test]
fn bytes_that_no_header_may_hold_are_dropped_and_what_restricts_stays() {
    for (bytes, expected) in [
        (&b"script-src 'self' \x01 a.example"[..], "script-src 'self' a.example"),
        (b"script-src \x7f", "script-src"),
        (b"script-src\x00x 'self'; img-src *", "img-src *"),
        // Browsers skip a directive that is not ASCII.
        (b"script-src 'self' \xc3\xa9.example; img-src *", "img-src *"),
        (b"script-src 'self' \xff; img-src *", "img-src *"),
        (b"\xff, img-src *", "img-src *"),
        (b"  img-src\t\t*  \x0c a.example ;;  ; ", "img-src * a.example"),
        (b"img-src *\r\nSet-Cookie: x=1", "img-src * Set-Cookie: x=1"),
        (b"IMG-src *,,default-SRC", "img-src *, default-src"),
        (b"a\x01b", ""),
    ] {
        let parsed: Vec<Policy<'_>> = syntax::policies(bytes).collect();
        assert_eq!(syntax::serialise(&parsed), expected, "{:?}", bytes.escape_ascii().to_string());
    }
}
