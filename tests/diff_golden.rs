//! Golden files of `vestibule diff`: what it says of two configurations, and the code it exits with.
//!
//! Each folder of `tests/golden/diff` holds `old.toml` and `new.toml` (with `old/` and `new/` for
//! tenants' files) and `expected.txt`: the code, what is printed, and what is said to be wrong.
//! `UPDATE_GOLDEN=1` writes it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diff");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    cases.sort();
    cases
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Certificates of these names, and secrets of which `a` and `same` hold one.
fn write_files(folder: &Path) {
    for (file, names, year) in [
        ("first", &["*.example.com"][..], 3000),
        ("renewed", &["*.example.com"], 3001),
        ("more", &["more.example.org"], 3002),
    ] {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(folder.join(format!("{file}.pem")), pem).unwrap();
        private(&folder.join(format!("{file}.key")), &key.serialize_pem());
    }
    private(&folder.join("a"), "0123456789abcdef0123456789abcdef");
    private(&folder.join("same"), "0123456789abcdef0123456789abcdef\n");
    private(&folder.join("b"), "fedcba9876543210fedcba9876543210");
}

#[test]
fn what_a_reload_would_change_is_told() {
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 6, "{} cases", cases.len());
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        copy(&case, folder.path());
        write_files(folder.path());
        let ran = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["diff", "old.toml", "new.toml"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = format!(
            "exit code {}\n{}{}",
            ran.status.code().unwrap(),
            String::from_utf8(ran.stdout).unwrap(),
            String::from_utf8(ran.stderr).unwrap()
        );
        assert!(!text.contains("0123456789abcdef"), "a secret is printed: {text}");
        let expected = case.join("expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if text != wanted {
            failures.push(format!("{}:\n--- wanted\n{wanted}--- got\n{text}", case.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
