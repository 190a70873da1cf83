//! A tenant's own file is that tenant's affair: what is wrong with it holds back nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use proptest::prelude::*;
use tempfile::TempDir;
use vestibule::app::{App, Options};
use vestibule::config::snapshot::{Serves, Snapshot};
use vestibule::config::{self, History};
use vestibule::reload::{ReloadOutcome, Reloader};
use vestibule::route::Target;

const MAIN: &str = "include = [\"tenants/*.toml\"]\n\
    [server]\nhttp = [\"127.0.0.1:8080\"]\nhttp_mode = \"serve\"\n\
    shared_hosts = [\"shared.example\"]\n\
    [upstreams.app]\nservers = [\"http://127.0.0.1:8501\"]\n\
    [upstreams.other]\nservers = [\"http://127.0.0.1:8502\"]\n\
    [tenants.a]\nallow = { upstreams = [\"app\"], secrets = [\"file:secrets/a*\"] }\n\
    [tenants.b]\nallow = { upstreams = [\"app\", \"other\"] }\n\
    [tenants.c]\nallow = { upstreams = [\"app\"] }\n";

struct World {
    folder: TempDir,
    live: Option<(Arc<ArcSwap<Snapshot>>, Reloader)>,
}

impl World {
    /// The files of tenants `a`, `b` and so on, which have these hosts.
    fn new(tenants: &[(&str, &[&str])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tenants")).unwrap();
        let mut world = Self { folder, live: None };
        world.write("main.toml", MAIN);
        for (tenant, hosts) in tenants {
            world.hosts(tenant, hosts);
        }
        assert!(world.start());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn hosts(&self, tenant: &str, hosts: &[&str]) {
        self.write(&format!("tenants/{tenant}.toml"), &file(tenant, hosts));
    }

    /// What breaks it.
    fn spoil(&self, tenant: &str) {
        let path = self.path(&format!("tenants/{tenant}.toml"));
        let text = fs::read_to_string(&path).unwrap_or_else(|_| file(tenant, &[]));
        fs::write(path, format!("{text}colour = \"red\"\n")).unwrap();
    }

    /// A new process; false where it ends at once.
    fn start(&mut self) -> bool {
        let path = self.path("main.toml");
        let loaded = config::follow(&path, &History::default());
        let Some(snapshot) = loaded.snapshot else {
            self.live = None;
            return false;
        };
        let live = Arc::new(ArcSwap::from_pointee(snapshot));
        let install = live.clone();
        let mut reloader = Reloader::new(
            path,
            &live.load_full(),
            (loaded.sources, loaded.history),
            Box::new(move |new| install.swap(Arc::new(new))),
        );
        assert_eq!(reloader.keep(), None);
        self.live = Some((live, reloader));
        true
    }

    fn reload(&mut self) -> ReloadOutcome {
        self.live.as_mut().unwrap().1.reload()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.live.as_ref().unwrap().0.load_full()
    }

    /// Who answers at a host: the tenant, or `503 TENANT`.
    fn who(&self, host: &str, path: &str) -> String {
        match self.snapshot().routes.find(host, path).map(|found| found.target) {
            None => "404".into(),
            Some(Target::HeldBack(tenant)) => format!("503 {tenant}"),
            Some(Target::Site(site)) => site.tenant.to_string(),
            Some(target) => target.persona().unwrap().tenant.to_string(),
        }
    }

    #[track_caller]
    fn expect(&self, hosts: &[(&str, &str)], held_back: &[(&str, Serves)]) {
        for (host, who) in hosts {
            assert_eq!(self.who(host, "/"), *who, "{host}");
        }
        let held: Vec<_> =
            self.snapshot().held_back.iter().map(|it| (it.tenant.to_string(), it.serves)).collect();
        let wanted: Vec<_> = held_back.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect();
        assert_eq!(held, wanted);
    }
}

fn file(tenant: &str, hosts: &[&str]) -> String {
    let mut text = format!("[tenants.{tenant}]\nname = \"Tenant {tenant}\"\n");
    for (number, host) in hosts.iter().enumerate() {
        let (host, path) = host.split_once('/').unwrap_or((host, ""));
        text += &format!(
            "[tenants.{tenant}.personas.p{number}]\nhosts = [\"{host}\"]\npath = \"/{path}\"\n\
             upstream = \"app\"\n"
        );
    }
    text
}

#[test]
fn a_bad_file_holds_back_its_tenant_alone() {
    let mut it = World::new(&[("a", &["a.example"]), ("b", &["b.example"])]);
    it.spoil("a");
    it.hosts("b", &["new.b.example"]);
    let ReloadOutcome::Applied { held_back, warnings, .. } = it.reload() else { panic!() };
    assert_eq!(held_back.len(), 1);
    assert!(held_back[0].problems[0].to_string().contains("a.toml:7:1: error: tenants.a."));
    assert!(warnings.iter().all(|warning| !warning.to_string().contains("colour")));
    it.expect(
        &[("a.example", "a"), ("b.example", "404"), ("new.b.example", "b")],
        &[("a", Serves::LastGood)],
    );
    it.hosts("a", &["mended.example"]);
    it.reload();
    it.expect(&[("a.example", "404"), ("mended.example", "a")], &[]);
}

#[test]
fn what_was_good_last_serves_in_the_next_process_too() {
    let mut it = World::new(&[("a", &["a.example"]), ("b", &["b.example"])]);
    it.hosts("a", &["new.a.example"]);
    it.reload();
    it.spoil("a");
    assert!(it.start());
    it.expect(&[("new.a.example", "a"), ("b.example", "b")], &[("a", Serves::LastGood)]);
    // Nor is it lost when that process ends.
    assert!(it.start());
    it.expect(&[("new.a.example", "a"), ("b.example", "b")], &[("a", Serves::LastGood)]);
    it.hosts("a", &["a.example"]);
    it.reload();
    it.expect(&[("a.example", "a"), ("new.a.example", "404")], &[]);
}

#[test]
fn a_cold_start_without_a_good_version_answers_503_for_that_tenant() {
    let mut it = World::new(&[("b", &["b.example"])]);
    it.hosts("a", &["a.example", "shared.example/a"]);
    it.spoil("a");
    it.hosts("b", &["b.example", "shared.example/b"]);
    assert!(it.start());
    it.expect(&[("a.example", "503 a"), ("b.example", "b")], &[("a", Serves::Nothing)]);
    assert_eq!(it.who("a.example", "/any/path"), "503 a");
    assert_eq!(it.who("shared.example", "/a/x"), "503 a");
    assert_eq!(it.who("shared.example", "/b/x"), "b");
    assert_eq!(it.who("shared.example", "/ab"), "404");
}

#[test]
fn pages_around_a_chat_of_a_tenant_that_is_held_back_are_held_too() {
    let mut it = World::new(&[("b", &["b.example"])]);
    for tenant in ["a", "b"] {
        let embed = format!("embed = \"/embed/{tenant}\"\n");
        it.write(
            &format!("tenants/{tenant}.toml"),
            &(file(tenant, &[&format!("shared.example/chat/{tenant}")]) + &embed),
        );
    }
    it.spoil("a");
    assert!(it.start());
    for (path, expected) in [
        ("/chat/a/x", "503 a"),
        ("/embed/a", "503 a"),
        ("/embed/a/lobby", "503 a"),
        ("/embed/b", "b"),
        ("/embed/other", "404"),
    ] {
        assert_eq!(it.who("shared.example", path), expected, "{path}");
    }
}

#[test]
fn a_tenant_without_a_good_version_is_answered_in_the_form_that_its_reader_can_use() {
    let it = World::new(&[]);
    it.write("main.toml", &MAIN.replace(":8080", ":0"));
    it.hosts("a", &["a.example"]);
    it.spoil("a");
    let loaded = config::follow(&it.path("main.toml"), &History::default());
    let app = App::start(loaded.snapshot.unwrap(), Options::default()).unwrap();
    let ask = |fields: &str| {
        let mut stream = TcpStream::connect(app.http()[0]).unwrap();
        let head =
            format!("GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let problem = ask("");
    assert!(problem.starts_with("HTTP/1.1 503 "), "{problem}");
    assert!(problem.contains("\"code\":\"tenant_held_back\""), "{problem}");
    let page = ask("Sec-Fetch-Mode: navigate\r\n");
    assert!(page.starts_with("HTTP/1.1 503 "), "{page}");
    assert!(page.contains("<code>tenant_held_back</code>"), "{page}");
}

#[test]
fn hosts_of_a_broken_text_are_held_as_far_as_it_can_be_read() {
    let mut it = World::new(&[("b", &["b.example"])]);
    it.hosts("a", &["a.example", "b.example"]);
    fs::write(it.path("tenants/a.toml"), file("a", &["a.example", "b.example"]) + "= broken\n")
        .unwrap();
    it.reload();
    it.expect(&[("a.example", "503 a"), ("b.example", "b")], &[("a", Serves::Nothing)]);
}

#[test]
fn a_bad_main_file_refuses_the_reload_and_ends_a_start() {
    let mut it = World::new(&[("a", &["a.example"])]);
    it.hosts("a", &["new.example"]);
    it.write("main.toml", &MAIN.replace("[server]", "[server]\nhtp = 1"));
    assert!(matches!(it.reload(), ReloadOutcome::Refused { .. }));
    it.expect(&[("a.example", "a"), ("new.example", "404")], &[]);
    assert!(!it.start());
}

#[test]
fn the_incumbent_keeps_a_host() {
    let mut it = World::new(&[("b", &["host.example"]), ("c", &["c.example"])]);
    // `a` would be first in the order of files.
    it.hosts("a", &["host.example"]);
    it.hosts("c", &["c.example", "*.example"]);
    it.reload();
    it.expect(
        &[("host.example", "b"), ("c.example", "c"), ("any.example", "404")],
        &[("a", Serves::Nothing), ("c", Serves::LastGood)],
    );
    let told = it.snapshot().held_back[0].problems[0].to_string();
    assert!(told.contains("`host.example` belongs to the tenant `b`"), "{told}");
    // So it is in the next process.
    assert!(it.start());
    it.expect(&[("host.example", "b")], &[("a", Serves::Nothing), ("c", Serves::LastGood)]);
    it.hosts("b", &["b.example"]);
    it.hosts("c", &["c.example"]);
    it.reload();
    it.expect(&[("host.example", "a"), ("b.example", "b")], &[]);
}

#[test]
fn a_host_of_before_gives_no_right_to_a_wildcard_over_it() {
    let mut it = World::new(&[("b", &["2.example"]), ("c", &["1.example"])]);
    it.hosts("b", &["*.example"]);
    it.reload();
    it.expect(&[("1.example", "c"), ("2.example", "b")], &[("b", Serves::LastGood)]);
}

#[test]
fn among_newcomers_the_order_of_files_decides() {
    let mut it = World::new(&[]);
    it.hosts("b", &["host.example"]);
    it.hosts("a", &["host.example"]);
    it.reload();
    it.expect(&[("host.example", "a")], &[("b", Serves::Nothing)]);
    let mut it = World::new(&[]);
    it.hosts("c", &["shared.example/x"]);
    it.hosts("b", &["shared.example/x/y"]);
    it.hosts("a", &["shared.example/z"]);
    assert!(it.start());
    assert_eq!(it.who("shared.example", "/x/y"), "b");
    assert_eq!(it.who("shared.example", "/x"), "404", "it would be around what is b's");
    it.expect(&[], &[("c", Serves::Nothing)]);
}

/// Whoever compares everybody with everybody does not come to the end of this.
#[test]
fn a_host_that_everybody_claims_and_nobody_has_shared_is_told_of_to_all() {
    let mut it = World::new(&[]);
    let tenants: Vec<_> = (0..300).map(|number| format!("t{number:03}")).collect();
    let mut main = MAIN.to_owned();
    for tenant in &tenants {
        main += &format!("[tenants.{tenant}]\nallow = {{ upstreams = [\"app\"] }}\n");
        let hosts: Vec<_> = (0..20).map(|path| format!("host.example/{tenant}/{path}")).collect();
        it.hosts(tenant, &hosts.iter().map(|host| &**host).collect::<Vec<_>>());
    }
    it.write("main.toml", &main);
    assert!(it.start());
    assert_eq!(it.who("host.example", "/t000/7"), "t000");
    assert_eq!(it.who("host.example", "/t001/7"), "404");
    let snapshot = it.snapshot();
    assert_eq!(snapshot.held_back.len(), 299);
    assert!(snapshot.held_back.iter().all(|held| held.serves == Serves::Nothing));
    let told = snapshot.held_back[298].problems.iter().map(ToString::to_string);
    assert_eq!(told.filter(|problem| problem.contains("belongs to the tenant `t000`")).count(), 20);
}

#[test]
fn nobody_comes_to_the_root_of_a_host_where_others_are() {
    let mut it = World::new(&[("c", &["shared.example/c"])]);
    it.hosts("a", &["shared.example"]);
    it.reload();
    it.expect(&[("shared.example", "404")], &[("a", Serves::Nothing)]);
    assert_eq!(it.who("shared.example", "/c"), "c");
    let mut it = World::new(&[("c", &["shared.example"])]);
    it.hosts("a", &["shared.example/a"]);
    it.reload();
    it.expect(&[("shared.example", "c")], &[("a", Serves::Nothing)]);
    let told = it.snapshot().held_back[0].problems[0].to_string();
    assert!(told.contains("at the root of `shared.example` is tenants.c.personas.p0"), "{told}");
    // Among newcomers the root gives way.
    let mut it = World::new(&[]);
    it.hosts("a", &["shared.example"]);
    it.hosts("b", &["shared.example/b"]);
    it.reload();
    it.expect(&[("shared.example", "404")], &[("a", Serves::Nothing)]);
}

#[test]
fn hosts_are_handed_over_and_exchanged_in_one_reload() {
    let mut it = World::new(&[("a", &["1.example"]), ("b", &["2.example"]), ("c", &["3.example"])]);
    for (tenant, host) in [("a", "2.example"), ("b", "3.example"), ("c", "1.example")] {
        it.hosts(tenant, &[host]);
    }
    it.reload();
    it.expect(&[("2.example", "a"), ("3.example", "b"), ("1.example", "c")], &[]);
}

#[test]
fn who_falls_back_takes_back_what_was_given_up() {
    let mut it = World::new(&[("a", &["1.example"]), ("b", &["2.example"]), ("c", &["3.example"])]);
    it.hosts("a", &["2.example"]);
    it.hosts("b", &["3.example"]);
    it.spoil("c");
    it.reload();
    it.expect(
        &[("1.example", "a"), ("2.example", "b"), ("3.example", "c")],
        &[("a", Serves::LastGood), ("b", Serves::LastGood), ("c", Serves::LastGood)],
    );
}

#[test]
fn nobody_loses_to_a_newcomer_that_loses_itself() {
    let mut it = World::new(&[("c", &["3.example"])]);
    it.hosts("a", &["1.example", "3.example"]);
    it.hosts("b", &["1.example"]);
    it.reload();
    it.expect(&[("1.example", "b"), ("3.example", "c")], &[("a", Serves::Nothing)]);
}

#[test]
fn the_main_file_may_not_break_a_tenant_that_has_not_changed() {
    for (from, to, told) in [
        ("[upstreams.other]", "[upstreams.third]", "allow.upstreams: there is no upstream `other`"),
        (
            "[tenants.b]\nallow = { upstreams = [\"app\", \"other\"] }\n",
            "",
            "tenants.b.personas.p0.upstream: ",
        ),
        (
            "[tenants.c]",
            "[tenants.new.personas.bot]\nhosts = [\"b.example\"]\nupstream = \"app\"\n[tenants.c]",
            "`b.example` belongs to the tenant `new`",
        ),
    ] {
        let mut it = World::new(&[("b", &["b.example"])]);
        it.write("main.toml", &MAIN.replace(from, to));
        let outcome = it.reload();
        assert!(matches!(outcome, ReloadOutcome::Refused { .. }), "{to}: {outcome}");
        assert!(outcome.to_string().contains(told), "{told} in {outcome}");
        it.expect(&[("b.example", "b")], &[]);
    }
}

#[test]
fn a_tenant_can_hold_up_no_change_of_the_main_file() {
    let mut it = World::new(&[("a", &["a.example"]), ("b", &["b.example"])]);
    // The last good version needs what both have taken away.
    it.spoil("b");
    it.write("tenants/a.toml", "nonsense");
    it.reload();
    it.expect(
        &[("a.example", "a"), ("b.example", "b")],
        &[("a", Serves::LastGood), ("b", Serves::LastGood)],
    );
    let changed = MAIN.replace("http://127.0.0.1:8501", "http://127.0.0.1:8509");
    it.write("main.toml", &changed);
    assert!(matches!(it.reload(), ReloadOutcome::Applied { .. }));
    it.expect(
        &[("a.example", "a"), ("b.example", "b")],
        &[("a", Serves::LastGood), ("b", Serves::LastGood)],
    );
    let server = format!("{:?}", it.snapshot().tenants["a"].personas[0].upstream.servers);
    assert!(server.contains("8509"), "{server}");
}

#[test]
fn a_secret_that_goes_holds_back_its_tenant_and_nobody_else() {
    let mut it = World::new(&[("b", &["b.example"])]);
    fs::create_dir(it.path("secrets")).unwrap();
    it.write("secrets/a", "0123456789abcdef0123456789abcdef");
    fs::set_permissions(it.path("secrets/a"), fs::Permissions::from_mode(0o600)).unwrap();
    let signed = "signed = true\nsigning = { secrets = [\"file:secrets/a\"] }\n";
    it.write("tenants/a.toml", &(file("a", &["a.example"]) + signed));
    it.reload();
    it.expect(&[("a.example", "a")], &[]);
    fs::remove_file(it.path("secrets/a")).unwrap();
    it.reload();
    it.expect(&[("a.example", "a"), ("b.example", "b")], &[("a", Serves::LastGood)]);
    // Where the main file changes too, nothing can be compiled any more.
    it.write("main.toml", &MAIN.replace("8501", "8509"));
    it.reload();
    it.expect(&[("a.example", "503 a"), ("b.example", "b")], &[("a", Serves::Nothing)]);
    it.write("secrets/a", "0123456789abcdef0123456789abcdef");
    it.reload();
    it.expect(&[("a.example", "a"), ("b.example", "b")], &[]);
}

#[test]
fn a_file_that_cannot_be_read_is_its_tenants_affair() {
    let mut it = World::new(&[("a", &["a.example"]), ("b", &["b.example"])]);
    let path = it.path("tenants/a.toml");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    it.reload();
    it.expect(&[("a.example", "a"), ("b.example", "b")], &[("a", Serves::LastGood)]);
    fs::remove_file(&path).unwrap();
    // A pipe would be waited for.
    std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    it.reload();
    it.expect(&[("a.example", "a"), ("b.example", "b")], &[("a", Serves::LastGood)]);
    fs::remove_file(&path).unwrap();
    it.reload();
    it.expect(&[("a.example", "404"), ("b.example", "b")], &[]);
}

#[test]
fn a_file_for_a_tenant_of_the_main_file_changes_nothing() {
    let mut it = World::new(&[]);
    let tenant = "[tenants.m.personas.bot]\nhosts = [\"m.example\"]\nupstream = \"app\"\n";
    it.write("main.toml", &format!("{MAIN}{tenant}"));
    it.reload();
    it.hosts("m", &["stolen.example"]);
    assert!(matches!(it.reload(), ReloadOutcome::Applied { .. }));
    it.expect(&[("m.example", "m"), ("stolen.example", "404")], &[("m", Serves::LastGood)]);
}

#[test]
fn what_has_not_changed_is_not_made_again() {
    let mut it = World::new(&[("a", &["a.example"]), ("b", &["b.example"])]);
    let persona = |it: &World, tenant: &str| it.snapshot().tenants[tenant].personas[0].clone();
    let (a, b) = (persona(&it, "a"), persona(&it, "b"));
    it.hosts("a", &["new.example"]);
    it.reload();
    assert!(!Arc::ptr_eq(&a, &persona(&it, "a")));
    assert!(Arc::ptr_eq(&b, &persona(&it, "b")));
    // Nor when something changes in the main file that is not theirs.
    it.write("main.toml", &format!("# A comment.\n{}", MAIN.replace("8502", "8503")));
    it.reload();
    assert!(Arc::ptr_eq(&b, &persona(&it, "b")));
    it.write("main.toml", &MAIN.replace("8501", "8509"));
    it.reload();
    assert!(!Arc::ptr_eq(&b, &persona(&it, "b")));
}

#[test]
fn what_a_tenant_may_use_is_asked_again_when_it_changes() {
    let mut it = World::new(&[("a", &["a.example"])]);
    it.write("tenants/a.toml", &file("a", &["a.example"]).replace("\"app\"", "\"other\""));
    it.reload();
    it.expect(&[("a.example", "a")], &[("a", Serves::LastGood)]);
    it.write("main.toml", &MAIN.replace("[\"app\"], secrets", "[\"app\", \"other\"], secrets"));
    it.reload();
    it.expect(&[("a.example", "a")], &[]);
    assert_eq!(*it.snapshot().tenants["a"].personas[0].upstream.name, *"other");
}

#[test]
fn a_process_that_can_keep_nothing_serves_and_says_so() {
    let mut it = World::new(&[("a", &["a.example"])]);
    fs::remove_dir_all(it.path("var")).unwrap();
    it.write("var", "in the way");
    it.hosts("a", &["new.example"]);
    let ReloadOutcome::Applied { warnings, .. } = it.reload() else { panic!() };
    let told = warnings.last().unwrap().to_string();
    assert!(told.contains("state.folder: the last good files of tenants cannot be kept"), "{told}");
    it.expect(&[("new.example", "a")], &[]);
}

#[test]
fn what_is_kept_is_this_users_alone_and_goes_with_the_tenant() {
    let mut it = World::new(&[("a", &["a.example"]), ("b", &["b.example"])]);
    let mode = |name: &str| it.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("var"), mode("var/tenants/a.toml")), (0o700, 0o600));
    fs::remove_file(it.path("tenants/a.toml")).unwrap();
    it.reload();
    assert!(!it.path("var/tenants/a.toml").exists());
    assert!(it.path("var/tenants/b.toml").exists());
}

/// What somebody does to a tenant's file.
#[derive(Debug, Clone)]
enum Edit {
    Hosts(Vec<&'static str>),
    Spoil,
    Remove,
}

fn edits() -> impl Strategy<Value = Vec<(&'static str, Edit)>> {
    let hosts = [
        "1.example",
        "2.example",
        "*.example",
        "3.test",
        "shared.example",
        "shared.example/x",
        "shared.example/x/y",
        "shared.example/z",
    ];
    let hosts = proptest::sample::subsequence(hosts.to_vec(), 0..4);
    let edit = prop_oneof![
        6 => hosts.prop_map(Edit::Hosts),
        1 => Just(Edit::Spoil),
        1 => Just(Edit::Remove),
    ];
    let tenant = prop_oneof![Just("a"), Just("b"), Just("c")];
    proptest::collection::vec((tenant, edit), 1..8)
}

impl World {
    fn edit(&self, tenant: &str, edit: &Edit) {
        match edit {
            Edit::Hosts(hosts) => self.hosts(tenant, hosts),
            Edit::Spoil => self.spoil(tenant),
            Edit::Remove => {
                let _ = fs::remove_file(self.path(&format!("tenants/{tenant}.toml")));
            }
        }
    }

    /// What a tenant serves, as `HOST/PATH`.
    fn serves(&self, tenant: &str) -> Vec<String> {
        let snapshot = self.snapshot();
        let personas = snapshot.tenants.get(tenant).into_iter().flat_map(|it| &it.personas);
        let addresses =
            personas.flat_map(|it| it.hosts.iter().map(|host| format!("{host}{}", it.path)));
        addresses.collect()
    }

    fn is_held_back(&self, tenant: &str) -> bool {
        self.snapshot().held_back.iter().any(|it| &*it.tenant == tenant)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_edit_of_one_tenant_takes_anything_from_another(edits in edits()) {
        const ALL: [&str; 3] = ["a", "b", "c"];
        let mut it = World::new(&[]);
        for (editor, edit) in edits {
            let before = ALL.map(|tenant| (it.serves(tenant), it.is_held_back(tenant)));
            it.edit(editor, &edit);
            let outcome = it.reload();
            prop_assert!(!matches!(outcome, ReloadOutcome::Refused { .. }), "{outcome}");
            for (tenant, (served, was_held)) in ALL.into_iter().zip(before) {
                if tenant != editor && !was_held {
                    prop_assert_eq!(it.serves(tenant), served, "{} after {} has done {:?}", tenant, editor, edit);
                    prop_assert!(!it.is_held_back(tenant));
                }
                // And what it serves leads to it.
                for address in it.serves(tenant) {
                    let (host, path) = address.split_once('/').unwrap();
                    let host = host.replace('*', "any");
                    prop_assert_eq!(it.who(&host, &format!("/{path}")), tenant);
                }
            }
        }
        // The next process serves the same.
        let before = ALL.map(|tenant| (it.serves(tenant), it.is_held_back(tenant)));
        prop_assert!(it.start());
        let after = ALL.map(|tenant| (it.serves(tenant), it.is_held_back(tenant)));
        prop_assert_eq!(before, after);
    }
}

#[test]
fn an_equal_file_changes_nothing() {
    let mut it = World::new(&[("a", &["a.example"])]);
    let before = it.snapshot();
    it.hosts("a", &["a.example"]);
    assert!(matches!(it.reload(), ReloadOutcome::Unchanged));
    assert!(Arc::ptr_eq(&before, &it.snapshot()));
}
