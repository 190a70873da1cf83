//! Every way in which configurations are replaced is noticed, and a bad one changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use arc_swap::ArcSwap;
use tempfile::TempDir;
use vestibule::config::{self, History, snapshot::Snapshot};
use vestibule::reload::{ReloadOutcome, Reloader, Watcher};

fn text(host: &str) -> String {
    format!(
        "include = [\"tenants/*.toml\"]\n\
         [server]\nhttp = [\"127.0.0.1:8080\"]\nhttp_mode = \"serve\"\n\
         [upstreams.app]\nservers = [\"http://127.0.0.1:8501\"]\n\
         [tenants.main.personas.bot]\nhosts = [\"{host}\"]\nupstream = \"app\"\n\
         [tenants.shop]\nallow = {{ upstreams = [\"app\"] }}\n"
    )
}

struct Fixture {
    folder: TempDir,
    live: Arc<ArcSwap<Snapshot>>,
    reloader: Reloader,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tenants")).unwrap();
        let path = folder.path().join("main.toml");
        fs::write(&path, text("old.example")).unwrap();
        Self::at(folder, path)
    }

    fn at(folder: TempDir, path: PathBuf) -> Self {
        let loaded = config::follow(&path, &History::default());
        let serving = loaded.snapshot.unwrap();
        let live = Arc::new(ArcSwap::from_pointee(serving));
        let install = live.clone();
        let mut reloader = Reloader::new(
            path,
            &live.load_full(),
            (loaded.sources, loaded.history),
            Box::new(move |new| install.swap(Arc::new(new))),
        );
        assert_eq!(reloader.keep(), None);
        Self { folder, live, reloader }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serves(&self, host: &str) -> bool {
        self.live.load().routes.knows_host(host)
    }

    fn expect_applied(&mut self, host: &str) {
        let outcome = self.reloader.poll();
        assert!(matches!(outcome, ReloadOutcome::Applied { .. }), "{outcome}");
        assert!(self.serves(host), "{host}");
    }

    fn expect_unchanged(&mut self) {
        let outcome = self.reloader.poll();
        assert!(matches!(outcome, ReloadOutcome::Unchanged), "{outcome}");
    }
}

#[test]
fn a_change_in_place_is_noticed_even_with_the_same_length() {
    let mut it = Fixture::new();
    it.expect_unchanged();
    for host in ["new.example", "odd.example", "old.example"] {
        fs::write(it.path("main.toml"), text(host)).unwrap();
        it.expect_applied(host);
        it.expect_unchanged();
    }
}

#[test]
fn a_rename_over_the_file_is_noticed() {
    let mut it = Fixture::new();
    fs::write(it.path("next"), text("new.example")).unwrap();
    fs::rename(it.path("next"), it.path("main.toml")).unwrap();
    it.expect_applied("new.example");
}

#[test]
fn a_swapped_symbolic_link_is_noticed() {
    // As Kubernetes does it: main.toml -> ..data/main.toml, ..data -> ..1, then ..data -> ..2.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("tenants")).unwrap();
    for (version, host) in [("..1", "old.example"), ("..2", "new.example")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("main.toml"), text(host)).unwrap();
    }
    symlink("..1", path("..data")).unwrap();
    symlink("..data/main.toml", path("main.toml")).unwrap();
    let main = path("main.toml");
    let mut it = Fixture::at(folder, main);
    it.expect_unchanged();
    symlink("..2", it.path("..tmp")).unwrap();
    fs::rename(it.path("..tmp"), it.path("..data")).unwrap();
    it.expect_applied("new.example");
}

#[test]
fn a_tenant_file_that_comes_changes_or_goes_is_noticed() {
    let mut it = Fixture::new();
    let tenant = it.path("tenants/shop.toml");
    let text = |host: &str| {
        format!("[tenants.shop.personas.bot]\nhosts = [\"{host}\"]\nupstream = \"app\"\n")
    };
    fs::write(&tenant, text("shop.example")).unwrap();
    it.expect_applied("shop.example");
    fs::write(&tenant, text("mall.example")).unwrap();
    it.expect_applied("mall.example");
    assert!(!it.serves("shop.example"));
    fs::remove_file(&tenant).unwrap();
    it.expect_applied("old.example");
    assert!(!it.serves("mall.example"));
}

#[test]
fn a_secret_that_changes_is_noticed() {
    let mut it = Fixture::new();
    let secret = "session_secrets = [\"file:secret\"]\n[upstreams";
    fs::write(it.path("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    fs::write(it.path("main.toml"), text("new.example").replace("[upstreams", secret)).unwrap();
    it.expect_applied("new.example");
    it.expect_unchanged();
    fs::write(it.path("secret"), "fedcba9876543210fedcba9876543210").unwrap();
    it.expect_applied("new.example");
    fs::write(it.path("secret"), "").unwrap();
    let outcome = it.reloader.poll().to_string();
    assert!(outcome.contains("server.session_secrets[0]: "), "{outcome}");
    assert!(outcome.contains("is empty"), "{outcome}");
}

#[test]
fn a_certificate_that_is_renewed_is_noticed_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tenants")).unwrap();
    let renew = |folder: &Path, part: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["old.example".to_owned()]).unwrap();
        let write = |name: &str, text: String, mode: u32| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        if part != "key" {
            write("leaf.pem", params.self_signed(&key).unwrap().pem(), 0o644);
        }
        if part != "cert" {
            write("leaf.key", key.serialize_pem(), 0o600);
        }
    };
    renew(folder.path(), "both");
    let path = folder.path().join("main.toml");
    let tls = "https = [\"127.0.0.1:8443\"]\n[tls]\n\
               certificates = [{ cert = \"leaf.pem\", key = \"leaf.key\" }]\n[upstreams";
    fs::write(&path, text("old.example").replace("[upstreams", tls)).unwrap();
    let mut it = Fixture::at(folder, path);
    let id = |it: &Fixture| it.live.load().certificates.find("old.example").unwrap().id;
    let first = id(&it);
    it.expect_unchanged();
    renew(it.folder.path(), "both");
    it.expect_applied("old.example");
    let second = id(&it);
    assert_ne!(first, second);
    // Between the two files of a renewal the pair does not fit: the old one goes on.
    renew(it.folder.path(), "cert");
    let outcome = it.reloader.poll().to_string();
    assert!(outcome.contains("does not belong to the certificate"), "{outcome}");
    assert_eq!(id(&it), second);
    renew(it.folder.path(), "both");
    it.expect_applied("old.example");
    assert_ne!(id(&it), second);
}

#[test]
fn an_equal_file_changes_nothing() {
    let mut it = Fixture::new();
    let before = it.live.load_full();
    fs::write(it.path("main.toml"), text("old.example")).unwrap();
    it.expect_unchanged();
    fs::write(it.path("next"), text("old.example")).unwrap();
    fs::rename(it.path("next"), it.path("main.toml")).unwrap();
    it.expect_unchanged();
    assert!(matches!(it.reloader.reload(), ReloadOutcome::Unchanged));
    assert!(Arc::ptr_eq(&before, &it.live.load_full()));
}

#[test]
fn a_bad_file_leaves_the_old_snapshot_and_says_why() {
    let mut it = Fixture::new();
    for bad in ["no toml", "[server]\n", ""] {
        fs::write(it.path("main.toml"), bad).unwrap();
        let outcome = it.reloader.poll();
        assert!(matches!(outcome, ReloadOutcome::Refused { .. }), "{bad}: {outcome}");
        assert!(it.serves("old.example"));
        it.expect_unchanged();
        let asked = it.reloader.reload();
        assert!(matches!(asked, ReloadOutcome::Refused { .. }), "asked again: {asked}");
    }
    fs::remove_file(it.path("main.toml")).unwrap();
    assert!(it.reloader.poll().to_string().contains("cannot be read"));
    fs::write(it.path("main.toml"), text("new.example")).unwrap();
    it.expect_applied("new.example");
}

#[test]
fn what_needs_a_restart_is_refused_by_name() {
    for (from, to, key) in [
        ("127.0.0.1:8080", "127.0.0.1:8081", ":3:8: error: server.http: "),
        ("[upstreams", "workers = 7\n[upstreams", ":5:11: error: server.workers: "),
        ("[upstreams", "[tls]\nmin_version = \"1.3\"\n[upstreams", "error: tls.min_version: "),
        ("[upstreams", "[admin]\nlisten = \"127.0.0.1:9180\"\n[upstreams", "admin.listen: "),
        ("[upstreams", "[internal]\nlisten = \"127.0.0.1:9181\"\n[upstreams", "internal.listen: "),
    ] {
        let mut it = Fixture::new();
        fs::write(it.path("main.toml"), text("new.example").replace(from, to)).unwrap();
        let outcome = it.reloader.poll();
        assert!(matches!(outcome, ReloadOutcome::Refused { .. }), "{key}");
        assert!(outcome.to_string().contains(key), "{key} in {outcome}");
        assert!(it.serves("old.example"));
    }
}

#[test]
fn an_old_snapshot_is_dropped_by_the_reloader_and_not_by_who_used_it() {
    let mut it = Fixture::new();
    let used = it.live.load_full();
    let weak = Arc::downgrade(&used);
    fs::write(it.path("main.toml"), text("new.example")).unwrap();
    it.expect_applied("new.example");
    drop(used);
    assert!(weak.upgrade().is_some(), "still with the reloader");
    it.expect_unchanged();
    assert!(weak.upgrade().is_none());
}

fn watch(it: Fixture, interval: Duration) -> (Watcher, Receiver<String>, TempDir) {
    let (sender, outcomes) = channel();
    let report = move |outcome: &ReloadOutcome| {
        let _ = sender.send(outcome.to_string());
    };
    let watcher = Watcher::spawn(it.reloader, interval, report).unwrap();
    (watcher, outcomes, it.folder)
}

fn next(outcomes: &Receiver<String>) -> String {
    outcomes.recv_timeout(Duration::from_secs(20)).unwrap()
}

#[test]
fn a_watcher_notices_by_itself() {
    let (_watcher, outcomes, folder) = watch(Fixture::new(), Duration::from_millis(5));
    replace(folder.path(), "new.example");
    assert!(next(&outcomes).contains("personas: 1,"));
}

#[test]
fn a_watcher_can_be_asked() {
    let (watcher, outcomes, folder) = watch(Fixture::new(), Duration::from_secs(3600));
    assert!(matches!(watcher.reload(), Some(ReloadOutcome::Unchanged)));
    assert!(next(&outcomes).contains("unchanged"));
    replace(folder.path(), "new.example");
    watcher.trigger();
    assert!(next(&outcomes).contains("personas: 1,"));
}

fn replace(folder: &Path, host: &str) {
    fs::write(folder.join("next"), text(host)).unwrap();
    fs::rename(folder.join("next"), folder.join("main.toml")).unwrap();
}
