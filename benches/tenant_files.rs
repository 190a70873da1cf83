//! How long a reload takes with 100,000 personas in 1,000 tenant files.
//!
//! `cargo bench --bench tenant_files` loads them all, then changes one tenant's file, one server of
//! an upstream that all use, and one that none does, and prints how long each reload took, from the
//! look at the files to the new snapshot.

#![allow(clippy::disallowed_methods, reason = "the bench's own thread, no worker")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use vestibule::config::{History, follow};
use vestibule::reload::{ReloadOutcome, Reloader};

const TENANTS: usize = 1000;
const PERSONAS: usize = 100;
const ROUNDS: usize = 10;

fn main() {
    let folder = std::env::temp_dir().join(format!("vestibule-tenants-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("tenants")).expect("a temporary folder can be made");
    write_main(&folder, 0, 0);
    (0..TENANTS).for_each(|tenant| write_tenant(&folder, tenant, 0));
    // Files that have just been written are read twice, because clocks are coarse.
    std::thread::sleep(Duration::from_secs(4));
    let path = folder.join("main.toml");
    let start = Instant::now();
    let loaded = follow(&path, &History::default());
    println!("{} personas in {TENANTS} files", TENANTS * PERSONAS);
    println!("  cold start: {} ms", start.elapsed().as_millis());
    let live = Arc::new(ArcSwap::from_pointee(loaded.snapshot.expect("it is sound")));
    let install = live.clone();
    let install = Box::new(move |new| install.swap(Arc::new(new)));
    let serving = live.load_full();
    let mut reloader = Reloader::new(path, &serving, (loaded.sources, loaded.history), install);
    drop(serving);
    let start = Instant::now();
    assert_eq!(reloader.keep(), None);
    println!("  every file kept for the first time: {} ms", start.elapsed().as_millis());
    measure("nothing has changed", &mut reloader, |_| ());
    measure("one tenant's file", &mut reloader, |round| write_tenant(&folder, 7, round));
    measure("an upstream that nobody uses", &mut reloader, |round| write_main(&folder, 0, round));
    measure("an upstream that all use", &mut reloader, |round| write_main(&folder, round, 0));
    let _ = std::fs::remove_dir_all(folder);
}

fn measure(title: &str, reloader: &mut Reloader, change: impl Fn(usize)) {
    let mut whole = Vec::new();
    let mut serving = Vec::new();
    for round in 1..=ROUNDS {
        change(round);
        let start = Instant::now();
        match reloader.reload() {
            ReloadOutcome::Applied { took, .. } => serving.push(took.as_millis()),
            ReloadOutcome::Unchanged => {}
            refused => println!("{refused}"),
        }
        whole.push(start.elapsed().as_millis());
    }
    whole.sort_unstable();
    serving.sort_unstable();
    println!(
        "  {title}: {} to {} ms, until it serves {:?} to {:?}",
        whole[0],
        whole[ROUNDS - 1],
        serving.first(),
        serving.last()
    );
}

fn write_main(folder: &Path, used: usize, unused: usize) {
    let mut text = format!(
        "include = [\"tenants/*.toml\"]\n\
         [server]\nhttp = [\"127.0.0.1:8080\"]\nhttp_mode = \"serve\"\n\
         shared_hosts = [\"chat.example\"]\n\
         [upstreams.app]\nservers = [\"http://127.0.0.1:{}\"]\n\
         [upstreams.unused]\nservers = [\"http://127.0.0.1:{}\"]\n",
        8500 + used,
        8600 + unused
    );
    for tenant in 0..TENANTS {
        let _ = writeln!(text, "[tenants.t{tenant}]\nallow = {{ upstreams = [\"app\"] }}");
    }
    std::fs::write(folder.join("main.toml"), text).expect("it can be written");
}

/// Half of the personas have a host of their own, half a path on one shared host.
fn write_tenant(folder: &Path, tenant: usize, round: usize) {
    let mut text = format!("[tenants.t{tenant}]\nname = \"Tenant {tenant}, round {round}\"\n");
    for persona in 0..PERSONAS {
        let _ = writeln!(text, "[tenants.t{tenant}.personas.p{persona}]");
        let _ = match persona % 2 {
            0 => {
                writeln!(text, "hosts = [\"chat.example\"]\npath = \"/chat/t{tenant}/p{persona}\"")
            }
            _ => writeln!(text, "hosts = [\"p{persona}.t{tenant}.example\"]"),
        };
        let _ = writeln!(
            text,
            "upstream = \"app\"\napp = \"streamlit\"\ndevices.lobby = {{ name = \"Lobby\" }}"
        );
    }
    let path = folder.join(format!("tenants/t{tenant}.toml"));
    std::fs::write(path, text).expect("it can be written");
}
