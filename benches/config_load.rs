//! How long a configuration with 100,000 personas takes to load, and to drop.
//!
//! `cargo bench --bench config_load` prints one line a round. The bound is two seconds.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use vestibule::config::load_str;

const TENANTS: usize = 10;
const PERSONAS: usize = 100_000;

fn main() {
    let text = text();
    println!("{PERSONAS} personas of {TENANTS} tenants, {:.1} MiB", text.len() as f64 / 1048576.0);
    for round in 1..=5 {
        let start = Instant::now();
        let loaded = load_str("generated.toml", &text, Path::new(""));
        let took = start.elapsed();
        let Some(snapshot) = loaded.snapshot else {
            for problem in loaded.problems.iter().take(5) {
                eprintln!("{problem}");
            }
            std::process::exit(1);
        };
        let found = snapshot.routes.find("p7.t3.example", "/").is_some();
        assert!(black_box(found), "a generated persona is routed");
        let start = Instant::now();
        drop(black_box(snapshot));
        let (took, dropped) = (took.as_millis(), start.elapsed().as_millis());
        println!("round {round}: load {took} ms, drop {dropped} ms");
    }
}

/// Half of the personas have a host of their own, half a path on one shared host.
fn text() -> String {
    let mut text = String::from(
        "[server]\nhttp = [\"127.0.0.1:8080\"]\nhttp_mode = \"serve\"\n\
         shared_hosts = [\"chat.example\"]\n\
         [upstreams.app]\nservers = [\"http://127.0.0.1:8501\", \"http://127.0.0.1:8502\"]\n",
    );
    for tenant in 0..TENANTS {
        let _ = writeln!(text, "[tenants.t{tenant}]\nname = \"Tenant {tenant}\"");
        for persona in 0..PERSONAS / TENANTS {
            let _ = writeln!(text, "[tenants.t{tenant}.personas.p{persona}]");
            let _ = match persona % 2 {
                0 => writeln!(
                    text,
                    "hosts = [\"chat.example\"]\npath = \"/chat/t{tenant}/p{persona}\""
                ),
                _ => writeln!(text, "hosts = [\"p{persona}.t{tenant}.example\"]"),
            };
            let _ = writeln!(
                text,
                "upstream = \"app\"\napp = \"streamlit\"\nmode = \"public\"\n\
                 devices.lobby = {{ name = \"Lobby\" }}"
            );
        }
    }
    text
}
