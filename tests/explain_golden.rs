//! `vestibule explain`, as people see it: each file in tests/golden/explain begins with the command
//! and goes on with what it prints. `UPDATE_GOLDEN=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/explain");

#[test]
fn a_decision_is_explained_stage_by_stage() {
    let mut cases: Vec<_> = std::fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 10, "{cases:?}");
    let mut wrong = Vec::new();
    for path in cases {
        let expected = std::fs::read_to_string(&path).unwrap();
        let command = expected.lines().next().unwrap();
        let found = format!("{command}\n{}", run(command));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &found).unwrap();
        } else if found != expected {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs `$ vestibule explain ...`; arguments with spaces are quoted, by `'` where they quote.
fn run(command: &str) -> String {
    let mut rest = command.strip_prefix("$ vestibule explain ").unwrap();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (part, after) = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].split_once(quote).unwrap(),
            _ => rest.split_once(' ').unwrap_or((rest, "")),
        };
        parts.push(part.to_owned());
        rest = after.trim_start();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["explain", "-c"])
        .arg(Path::new(FOLDER).join("vestibule.toml"))
        .args(parts)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let code = output.status.code().unwrap();
    let exit = if code == 0 { String::new() } else { format!("exit {code}\n") };
    masked(&String::from_utf8(text).unwrap()) + &exit
}

/// What is random at each run: hashes of sessions, and ids that were made up.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|it: char| it.is_ascii_hexdigit()) {
        let run = rest[at..].find(|it: char| !it.is_ascii_hexdigit()).unwrap_or(rest.len() - at);
        out.push_str(&rest[..at]);
        out.push_str(if run == 32 { "HEX" } else { &rest[at..at + run] });
        rest = &rest[at + run..];
    }
    out + rest
}
