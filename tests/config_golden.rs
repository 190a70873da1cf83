//! Golden files of the configuration: what people write, and exactly what they are told.
//!
//! Each `NAME.toml` in `good` must load and each in `bad` must not; beside it `NAME.txt` holds the
//! report (absent where there is nothing to report). A folder `NAME.d` becomes `tenants/` next to
//! the file. `UPDATE_GOLDEN=1` writes the reports.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};
use vestibule::config::schema::{Kind, SectionInfo};
use vestibule::config::{self, Loaded, Loader, Severity, load_str};
use vestibule::route::Target;

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config").join(folder)
}

/// The environment of every case.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "CHAT_HOST" => "chat.example.com",
        "VESTIBULE_SESSION" | "VESTIBULE_ADMIN_TOKEN" => SECRET,
        "RASA_ASSERTION" => "fedcba9876543210fedcba9876543210",
        "SESSION_TWICE" => concat!("0123456789abcdef0123456789abcdef", "\r\n"),
        "SALES_SIGNING" | "SIGNING" => "aaaabbbbccccddddeeeeffff00001111",
        "SALES_SIGNING_OLD" => "1111000022223333444455556666ffff",
        "RAGTIME_SIGNING" => "22223333444455556666777788889999",
        "OLD_SIGNING" => "ragtime-test-secret",
        "SALES_PREVIEW" => "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
        "WWW_USERS" => "ann:$2y$10$abcdefghijklmnopqrstuuQ2yJ5Zr0X7cV8nB9mA1sD3fG5hJ7k12",
        "SHORT" => "hunter2-hunter2",
        "ONLY_A_LINE_END" => "\n",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.into())
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

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

/// Secrets that the cases speak of.
fn write_secrets(folder: &Path) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let hash = "$2y$10$abcdefghijklmnopqrstuuQ2yJ5Zr0X7cV8nB9mA1sD3fG5hJ7k12";
    write(&folder.join("htpasswd"), format!("# staff\nann:{hash}\n"), 0o600);
    write(&folder.join("htpasswd-sha"), format!("ann:{hash}\nbob:{{SHA}}x\n"), 0o600);
    write(&folder.join("htpasswd-none"), "# nobody\n", 0o600);
    write(&folder.join("assertion.pem"), key.serialize_pem(), 0o600);
    write(&folder.join("assertion.der"), key.serialize_der(), 0o600);
    write(&folder.join("ecdsa.pem"), KeyPair::generate().unwrap().serialize_pem(), 0o600);
    write(&folder.join("session"), format!("{SECRET} of a file\n"), 0o600);
    write(&folder.join("group"), format!("{SECRET} of a group\n"), 0o640);
    write(&folder.join("world"), format!("{SECRET} of the world\n"), 0o644);
    write(&folder.join("short"), "hunter2-hunter2\n", 0o600);
    write(&folder.join("empty"), "", 0o600);
}

/// Valid PEM around something that is no certificate.
fn damage(pem: &str) -> String {
    let mut lines: Vec<_> = pem.lines().collect();
    lines.remove(1);
    lines.join("\n")
}

fn copy_files(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        write(&to.join(entry.file_name()), fs::read(entry.path()).unwrap(), 0o644);
    }
}

/// Templates that the cases speak of, those of the example, and a link that leads out.
fn copy_templates(folder: &Path) {
    copy_files(&golden("templates"), folder);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/templates/ragtime");
    copy_files(&example, &folder.join("ragtime"));
    std::os::unix::fs::symlink("/etc/hostname", folder.join("link.html")).unwrap();
    // Folders that are served.
    for served in ["public", "dist", "acme"] {
        fs::create_dir_all(folder.join("..").join(served)).unwrap();
    }
}

/// Loads one case in a folder of its own and compares the report; returns what differs.
fn check(case: &Path, should_load: bool) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let main = folder.join(case.file_name().unwrap());
    fs::copy(case, &main).unwrap();
    write_certificates(&folder.join("certs"));
    write_secrets(&folder.join("secrets"));
    copy_files(&case.with_extension("d"), &folder.join("tenants"));
    copy_templates(&folder.join("templates"));

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
    write_secrets(&folder.path().join("secrets"));
    fs::create_dir(folder.path().join("tenants")).unwrap();
    copy_templates(&folder.path().join("templates"));
    let loaded = Loader::new(&environment).load(&main);
    assert!(loaded.snapshot.is_some(), "{}", report(&loaded, folder.path()));
    assert!(!report(&loaded, folder.path()).contains(SECRET));
}

/// Every key of the schema below `kind`, as `server.limits.header_bytes`.
fn keys_of(kind: &Kind, path: &str, found: &mut BTreeSet<String>) {
    match kind {
        Kind::List(item) => keys_of(item, path, found),
        Kind::Table(section) | Kind::Named(section) => {
            for key in section.keys {
                let path = format!("{path}.{}", key.name);
                keys_of(&key.kind, &path, found);
                found.insert(path);
            }
        }
        _ => {}
    }
}

/// Every key that is written below `value`.
fn written(kind: &Kind, value: &toml::Value, path: &str, found: &mut BTreeSet<String>) {
    match (kind, value) {
        (Kind::List(item), toml::Value::Array(values)) => {
            values.iter().for_each(|value| written(item, value, path, found));
        }
        (Kind::Named(section), toml::Value::Table(table)) => {
            table.values().for_each(|value| written(&Kind::Table(section), value, path, found));
        }
        (Kind::Table(section), toml::Value::Table(table)) => {
            for key in section.keys {
                let path = format!("{path}.{}", key.name);
                if let Some(value) = table.get(key.name) {
                    written(&key.kind, value, &path, found);
                    found.insert(path);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_stands_in_the_example_configuration() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/vestibule.toml");
    let example: toml::Value = toml::from_str(&fs::read_to_string(example).unwrap()).unwrap();
    let root = Kind::Table(config::schema());
    let (mut all, mut seen) = (BTreeSet::new(), BTreeSet::new());
    keys_of(&root, "", &mut all);
    written(&root, &example, "", &mut seen);
    assert!(all.len() > 90, "{}", all.len());
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_key_is_documented_and_has_an_example() {
    fn check(section: &SectionInfo) {
        for key in section.keys {
            assert!(key.doc.trim().len() > 8 && key.doc.trim().ends_with('.'), "{key:?}");
            assert!(!key.kind.example().is_empty(), "{key:?}");
            if let Kind::Table(section) | Kind::Named(section) = key.kind {
                check(section);
            }
        }
    }
    check(config::schema());
}

fn load_text(text: &str) -> Loaded {
    Loader::new(&environment).load_str("text.toml", text, Path::new(""))
}

/// `count` personas of four tenants: hosts of their own and paths of a shared host.
fn many_personas(count: usize) -> String {
    let mut text = String::from(
        "[server]\nhttp = [\"127.0.0.1:8080\"]\nhttp_mode = \"serve\"\n\
         session_secrets = [\"env:VESTIBULE_SESSION\"]\n\
         shared_hosts = [\"chat.example\"]\n\
         [upstreams.app]\nservers = [\"http://127.0.0.1:8501\"]\n",
    );
    for number in 0..count {
        let tenant = number % 4;
        let place = match number % 2 {
            0 => format!("hosts = [\"chat.example\"]\npath = \"/t{tenant}/p{number}\""),
            _ => format!("hosts = [\"p{number}.t{tenant}.example\"]"),
        };
        writeln!(text, "[tenants.t{tenant}.personas.p{number}]\n{place}\nupstream = \"app\"")
            .unwrap();
    }
    text
}

#[test]
fn each_of_two_thousand_personas_is_routed_to() {
    let loaded = load_text(&many_personas(2000));
    // That four tenants share a host.
    let keys: Vec<_> = loaded.problems.iter().map(|problem| &*problem.key).collect();
    assert_eq!(keys, ["server.shared_hosts"]);
    let routes = loaded.snapshot.unwrap().routes;
    for number in 0..2000 {
        let tenant = number % 4;
        let (host, path) = match number % 2 {
            0 => ("chat.example".to_owned(), format!("/t{tenant}/p{number}/x")),
            _ => (format!("p{number}.t{tenant}.example"), "/x".to_owned()),
        };
        let found = routes.find(&host, &path).unwrap();
        let Target::Persona(persona) = found.target else { panic!("{host}{path}") };
        assert_eq!(*persona.name, *format!("p{number}"));
        assert_eq!(&path[found.prefix_len..], "/x");
    }
}

#[test]
fn servers_keep_their_identity_over_a_reload() {
    let id = || {
        let loaded = load_text(&many_personas(1));
        loaded.snapshot.unwrap().upstreams["app"].servers[0].id
    };
    assert_eq!(id(), id());
}

proptest! {
    /// Loading is total: whatever is written, there is a report and no panic.
    #[test]
    fn loading_is_total_for_mutilated_configurations(
        cut in 0..6000_usize,
        length in 0..40_usize,
        insert in "[\\[\\]{}=\"'.,*$a-z0-9 \n/:@ä-]{0,6}",
    ) {
        let text = include_str!("../config/vestibule.toml");
        let before: String = text.chars().take(cut).collect();
        let after: String = text.chars().skip(cut + length).collect();
        let text = format!("{before}{insert}{after}");
        let loaded = load_str("x.toml", &text, Path::new("/nonexistent"));
        let errors = loaded.problems.iter().any(|it| it.severity == Severity::Error);
        prop_assert_eq!(loaded.snapshot.is_none(), errors);
        let places = loaded.problems.iter().map(|it| (it.line, it.column));
        prop_assert!(places.is_sorted());
    }

    #[test]
    fn loading_is_total_for_any_text(text in "\\PC{0,80}") {
        prop_assert!(load_str("x.toml", &text, Path::new("/nonexistent")).snapshot.is_none());
    }
}
