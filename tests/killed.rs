//! A process that is killed at any moment of a reload starts again with something good.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const MAIN: &str = "include = [\"tenants/*.toml\"]\n\
    [server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
    session_secrets = [\"file:secret\"]\n\
    [telemetry]\naccess_log = \"off\"\n\
    [upstreams.app]\nservers = [\"unix:/nonexistent/socket\"]\n\
    [tenants.a]\nallow = { upstreams = [\"app\"] }\n\
    [tenants.b]\nallow = { upstreams = [\"app\"] }\n";

/// The tenant has its own host in every version, and one more that tells the version.
fn file(tenant: &str, version: usize) -> String {
    let filler = "# A file that is written in one call is still not written at once.\n".repeat(300);
    format!(
        "{filler}[tenants.{tenant}.personas.p]\nhosts = [\"{tenant}.example\", \
         \"v{version}.{tenant}.example\"]\nupstream = \"app\"\n"
    )
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["run", "-c"])
            .arg(folder.join("main.toml"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it says where it listens").unwrap();
            if let Some(address) = line.strip_prefix("vestibule: listening on http://") {
                break address.to_owned();
            }
        };
        // Nobody waits for a reader who has gone.
        thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    /// 502 where a tenant serves: there is no app behind it.
    fn status(&self, host: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn hang_up(&self) {
        let id = Pid::from_child(&self.process);
        kill_process(id, Signal::HUP).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Kill -9: nothing is tidied up.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_process_that_is_killed_during_reloads_starts_again_with_a_good_version() {
    const ROUNDS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |tenant: &str, text: &str| {
        fs::write(folder.join(format!("tenants/{tenant}.toml")), text).unwrap();
    };
    fs::create_dir(folder.join("tenants")).unwrap();
    fs::write(folder.join("main.toml"), MAIN).unwrap();
    fs::write(folder.join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    write("a", &file("a", 0));
    write("b", &file("b", 0));
    let first = Server::start(folder);
    let kept = folder.join("var/tenants/b.toml");
    let until = Instant::now() + Duration::from_secs(30);
    while !(kept.exists() && folder.join("var/tenants/a.toml").exists()) {
        assert!(Instant::now() < until, "nothing was kept");
        thread::sleep(Duration::from_millis(5));
    }
    drop(first);
    let mut version = 0;
    for round in 0..ROUNDS {
        let server = Server::start(folder);
        // Reloads follow each other while it is killed, a little later in every round.
        for _ in 0..3 {
            version += 1;
            write("a", &file("a", version));
            server.hang_up();
            thread::sleep(Duration::from_millis(4 * round as u64));
        }
        drop(server);
        // What was being written when the machine stopped may be anything.
        write("a", &file("a", version)[..2000 + 7 * round]);
        let server = Server::start(folder);
        assert_eq!(server.status("b.example"), 502, "round {round}");
        assert_eq!(server.status("a.example"), 502, "round {round}: some good version serves");
        let serving = |one: &usize| server.status(&format!("v{one}.a.example")) == 502;
        let versions: Vec<_> = (0..=version).filter(serving).collect();
        assert_eq!(versions.len(), 1, "round {round}: one version, and the whole of it");
        drop(server);
        write("a", &file("a", version));
    }
}
