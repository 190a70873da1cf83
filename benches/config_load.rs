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
    measure("plain", "upstream = \"app\"", true);
    // Two warnings a persona: the price of telling them is part of the time.
    let warned = "upstream = \"app\"\nuser_id = \"required\"\nuser_id_format = \"integer\"\n\
                  allow_generated_id = false\ntrust_asserted = true\nstrict_config = false\n\
                  bridge = true\ncsp = { mode = \"merge\" }\nsigned = false\n\
                  forward_signature = false\nvariables = [{ name = \"plan\" }]";
    measure("with many keys, some of them not enforced yet", warned, true);
    measure(
        "with an error in each persona",
        "upstream = \"nobody\"\nuser_id = \"required\"",
        false,
    );
}

fn measure(title: &str, keys: &str, good: bool) {
    let text = text(keys);
    let size = text.len() as f64 / f64::from(1 << 20);
    println!("{title}: {PERSONAS} personas of {TENANTS} tenants, {size:.1} MiB");
    for round in 1..=5 {
        let start = Instant::now();
        let loaded = load_str("generated.toml", &text, Path::new(""));
        let took = start.elapsed().as_millis();
        assert_eq!(loaded.snapshot.is_some(), good, "{:?}", loaded.problems.first());
        let problems = loaded.problems.len();
        let start = Instant::now();
        drop(black_box(loaded.snapshot));
        let dropped = start.elapsed().as_millis();
        println!("  round {round}: load {took} ms, {problems} problems; drop {dropped} ms");
    }
}

/// Half of the personas have a host of their own, half a path on one shared host.
fn text(keys: &str) -> String {
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
                "{keys}\napp = \"streamlit\"\nmode = \"public\"\n\
                 devices.lobby = {{ name = \"Lobby\" }}"
            );
        }
    }
    text
}
