//! Golden files of the configuration: what people write, and exactly what they are told.
//!
//! Each `NAME.toml` in `good` must load and each in `bad` must not; beside it `NAME.txt` holds the
//! report (absent where there is nothing to report). A folder `NAME.d` becomes `tenants/` next to
//! the file. `UPDATE_GOLDEN=1` writes the reports.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use vestibule::config::{Loaded, Loader, Severity};

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config").join(folder)
}

/// The environment of every case.
fn environment(name: &str) -> Option<String> {
    matches!(name, "CHAT_HOST").then(|| "chat.example.com".into())
}

fn report(loaded: &Loaded, folder: &Path) -> String {
    let mut text = String::new();
    for problem in &loaded.problems {
        writeln!(text, "{problem}").unwrap();
    }
    text.replace(&format!("{}/", folder.display()), "")
}

fn write(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Certificates that the cases speak of: good, and wrong in one way each.
fn write_certificates(folder: &Path) {
    let names = ["example.com", "*.example.com", "*.jasserknows.online", "*.shop.example"];
    let key = KeyPair::generate().unwrap();
    let certificate = |names: &[&str], last_year: i32| {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        params.self_signed(&key).unwrap().pem()
    };
    let good = certificate(&names, 4000);
    write(&folder.join("example.pem"), &good, 0o644);
    write(&folder.join("internal-ca.pem"), &good, 0o644);
    write(&folder.join("expired.pem"), certificate(&names, 2021), 0o644);
    write(&folder.join("nameless.pem"), certificate(&[], 4000), 0o644);
    write(&folder.join("garbage.pem"), "not a certificate\n", 0o644);
    write(&folder.join("damaged.pem"), damage(&good), 0o644);
    write(&folder.join("example.key"), key.serialize_pem(), 0o600);
    write(&folder.join("group.key"), key.serialize_pem(), 0o640);
    write(&folder.join("world.key"), key.serialize_pem(), 0o644);
    write(&folder.join("other.key"), KeyPair::generate().unwrap().serialize_pem(), 0o600);
}

/// Valid PEM around something that is no certificate.
fn damage(pem: &str) -> String {
    let mut lines: Vec<_> = pem.lines().collect();
    lines.remove(1);
    lines.join("\n")
}

fn copy_tenants(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        write(&to.join(entry.file_name()), fs::read(entry.path()).unwrap(), 0o644);
    }
}

/// Loads one case in a folder of its own and compares the report; returns what differs.
fn check(case: &Path, should_load: bool) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let main = folder.join(case.file_name().unwrap());
    fs::copy(case, &main).unwrap();
    write_certificates(&folder.join("certs"));
    copy_tenants(&case.with_extension("d"), &folder.join("tenants"));

    let loaded = Loader::new(&environment).load(&main);
    let report = report(&loaded, folder);
    let errors = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(loaded.snapshot.is_none(), errors, "a snapshot exactly where there is no error");
    if loaded.snapshot.is_some() != should_load {
        return Err(format!("{}: loads: {}\n{report}", case.display(), !should_load));
    }
    let expected = case.with_extension("txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        match report.is_empty() {
            true => drop(fs::remove_file(&expected)),
            false => fs::write(&expected, &report).unwrap(),
        }
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    match report == wanted {
        true => Ok(()),
        false => Err(format!("{}:\n--- wanted\n{wanted}--- got\n{report}", expected.display())),
    }
}

fn check_all(folder: &str, should_load: bool, at_least: usize) {
    let entries = fs::read_dir(golden(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    cases.sort();
    assert!(cases.len() >= at_least, "{} cases in {folder}", cases.len());
    let failures: Vec<_> = cases.iter().filter_map(|case| check(case, should_load).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn good_configurations_load_and_say_what_is_not_enforced() {
    check_all("good", true, 3);
}

#[test]
fn bad_configurations_are_told_every_problem_and_what_to_write() {
    check_all("bad", false, 30);
}

#[test]
fn the_example_configuration_loads_without_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("vestibule.toml");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/vestibule.toml"), &main).unwrap();
    write_certificates(&folder.path().join("certs"));
    fs::create_dir(folder.path().join("tenants")).unwrap();
    let loaded = Loader::new(&environment).load(&main);
    assert!(loaded.snapshot.is_some(), "{}", report(&loaded, folder.path()));
}
