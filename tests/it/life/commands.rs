//! What an operator types, against the real program.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::*;
use crate::harness::PATIENCE;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// `vestibule run`, and what it says on standard error.
struct Running {
    child: Child,
    lines: Receiver<String>,
    http: SocketAddr,
    file: PathBuf,
    admin: u16,
    upstream: SocketAddr,
    _folder: tempfile::TempDir,
}

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Running {
    fn start(upstream: SocketAddr, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vestibule.toml");
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        let admin = port();
        std::fs::write(&file, text(admin, upstream, more)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["run", "-c"])
            .arg(&file)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut it = Self { child, lines, http, file, admin, upstream, _folder: folder };
        let listening = it.says("listening on http://");
        it.http = listening.rsplit("//").next().unwrap().parse().unwrap();
        it.says("listening for operators");
        it
    }

    fn says(&self, what: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("not {what:?} but {heard:?}"));
            if line.contains(what) {
                return line;
            }
            heard.push(line);
        }
    }

    fn write(&self, more: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, text(self.admin, self.upstream, more)).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }

    fn vestibule(&self, arguments: &[&str]) -> (i32, String, String) {
        let file = self.file.to_str().unwrap();
        vestibule(&[&arguments[..1], &["-c", file], &arguments[1..]].concat())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The exit code.
    fn ends(mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(Instant::now() < until, "it is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn websocket(&self, host: &str) -> Client {
        let mut client = Client::plain(self.http);
        client.send(handshake(host));
        assert_eq!(client.read_head().unwrap().status, 101);
        echoes(&mut client);
        client
    }

    fn is_ready(&self) -> u16 {
        let admin = SocketAddr::from(([127, 0, 0, 1], self.admin));
        let ready = get("localhost", "/readyz");
        Client::plain(admin).send(ready).read_response().unwrap().status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(admin: u16, upstream: SocketAddr, more: &str) -> String {
    format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         drain_timeout = \"1h\"\n\
         [admin]\nlisten = \"127.0.0.1:{admin}\"\ntoken = \"file:token\"\n\
         [telemetry]\naccess_log = \"off\"\n\
         [upstreams.app]\nservers = [\"http://{upstream}\"]\n\
         [tenants.acme.personas.a]\nhosts = [\"a.test\"]\nupstream = \"app\"\n{more}"
    )
}

fn vestibule(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_vestibule")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn reload_status_and_drain_tell_what_came_of_them() {
    let upstream = app();
    let server = Running::start(upstream.address, "");
    let mut socket = server.websocket("a.test");
    let (code, out, err) = server.vestibule(&["status"]);
    assert_eq!((code, &*err), (0, ""));
    assert!(
        out.contains(": ready, for 0 s, process ") || out.contains(": ready, for 1 s"),
        "{out}"
    );
    assert!(out.contains("open: 1 WebSocket\n  acme/a: 1 WebSocket, the oldest for "), "{out}");
    let (code, out, _) = server.vestibule(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &status["holders"][0]["websockets"]), (0, &1.into()));

    // A watcher notices a change by itself, too; who asks hears what serves, or why it does not.
    let (code, out, _) = server.vestibule(&["reload"]);
    assert_eq!((code, &*out), (0, "the configuration is unchanged\n"));
    server.write("[tenants.acme.personas.b]\nhosts = [\"b.test\"]\nupstream = \"nowhere\"\n");
    let (code, out, err) = server.vestibule(&["reload"]);
    assert_eq!(
        (code, &*out),
        (1, "the new configuration is refused, the old one goes on serving\n")
    );
    assert!(err.contains("there is no upstream `nowhere`"), "{err}");
    server.write("[tenants.acme.personas.b]\nhosts = [\"b.test\"]\nupstream = \"app\"\n");
    let (code, out, err) = server.vestibule(&["reload"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = server.vestibule(&["status"]);
    assert!(out.contains("personas: 2,"), "{out}");
    echoes(&mut socket);

    let (code, out, _) = server.vestibule(&["drain", "acme/b"]);
    assert_eq!((code, &*out), (0, "acme/b has nothing open\n"));
    let (code, out, _) = server.vestibule(&["drain", "acme", "--within", "100ms"]);
    assert_eq!((code, &*out), (0, "acme: 1 WebSocket, told to end within 0.1 s\n"));
    assert_eq!(closes(&mut socket).0, 1012);
    let (code, _, err) = server.vestibule(&["drain", "acme/c"]);
    assert_eq!(code, 1);
    assert_eq!(err, "vestibule drain: the server has no persona or site \"acme/c\"\n");
    let (code, _, err) = server.vestibule(&["drain", "acme", "--within", "soon"]);
    assert_eq!(code, 1);
    assert!(err.contains("`within` is a duration"), "{err}");
}

#[test]
fn a_tenant_that_is_held_back_is_told_and_keeps_its_streams() {
    let upstream = app();
    let server = Running::start(upstream.address, "");
    let tenants = server.file.with_file_name("tenants");
    std::fs::create_dir(&tenants).unwrap();
    let tenant = |more: &str| {
        let text = format!(
            "[tenants.shop]\n{more}\n\
             [tenants.shop.personas.a]\nhosts = [\"shop.test\"]\nupstream = \"app\"\n"
        );
        std::fs::write(tenants.join("shop.toml"), text).unwrap();
    };
    tenant("");
    let main = std::fs::read_to_string(&server.file).unwrap();
    let allow = "[tenants.shop]\nallow = { upstreams = [\"app\"] }\n";
    std::fs::write(&server.file, format!("include = [\"tenants/*.toml\"]\n{main}{allow}")).unwrap();
    let (code, out, err) = server.vestibule(&["reload"]);
    assert_eq!(code, 0, "{out}{err}");
    let mut socket = server.websocket("shop.test");
    tenant("colour = \"red\"");
    let (code, out, err) = server.vestibule(&["reload"]);
    assert_eq!(code, 2, "{out}{err}");
    assert!(err.contains("unknown key `colour`"), "{err}");
    assert!(out.contains("held back since ") && out.contains(": shop, its last good"), "{out}");
    let (code, out, _) = server.vestibule(&["status"]);
    assert!(code == 0 && out.contains("\nheld back since "), "{out}");
    echoes(&mut socket);
    // Now its file goes, and with it the tenant.
    std::fs::remove_file(tenants.join("shop.toml")).unwrap();
    let (code, out, err) = server.vestibule(&["reload"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(closes(&mut socket), (1012, "no longer served".to_owned()));
}

#[test]
fn a_tenant_that_is_held_back_is_told_of_each_time() {
    let upstream = app();
    let server = Running::start(upstream.address, "");
    let folder = server.file.parent().unwrap();
    let tenant = folder.join("tenants/b.toml");
    let bot = "[tenants.b.personas.bot]\nhosts = [\"b.test\"]\nupstream = \"app\"\n";
    std::fs::create_dir(tenant.parent().unwrap()).unwrap();
    std::fs::write(&tenant, bot).unwrap();
    let allow = "[tenants.b]\nallow = { upstreams = [\"app\"] }\n";
    let main = text(server.admin, server.upstream, allow);
    std::fs::write(&server.file, format!("include = [\"tenants/*.toml\"]\n{main}")).unwrap();
    let (code, said, _) = server.vestibule(&["reload"]);
    assert_eq!(code, 0, "{said}");
    std::fs::write(&tenant, format!("{bot}mod = \"public\"\n")).unwrap();
    for _ in 0..2 {
        let (code, said, problems) = server.vestibule(&["reload"]);
        assert_eq!(code, 2, "{said}{problems}");
        assert!(said.contains(": b, its last good version serves\n"), "{said}");
        assert!(problems.contains("b.toml:4:1: error: tenants.b.personas.bot.mod: "), "{problems}");
    }
    let (code, said, _) = server.vestibule(&["status"]);
    assert!(code == 0 && said.contains(": b, its last good"), "{said}");
    std::fs::write(&tenant, bot).unwrap();
    let (code, said, _) = server.vestibule(&["reload"]);
    assert!(code == 0 && !said.contains("held back"), "{said}");
}

#[test]
fn what_stands_in_the_way_is_said() {
    let upstream = app();
    let server = Running::start(upstream.address, "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.toml");
    let path = file.to_str().unwrap();
    let other = text(port(), upstream.address, "").replace("token = \"file:token\"\n", "");
    for (text, expected) in [
        (other.clone(), "is the server running, and with this file?"),
        (other.replace("[admin]\nlisten = ", "[internal]\nlisten = "), "has no [admin] listen"),
        (other.replace("listen = \"127.0.0.1", "listen = \"127.0.0"), "see above"),
        ("this is not TOML".to_owned(), "see above"),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in ["reload", "status"] {
            let (code, out, err) = vestibule(&[command, "-c", path]);
            assert_eq!((code, &*out), (1, ""), "{err}");
            assert!(err.contains(expected), "{expected} in {err}");
        }
    }
    std::fs::write(folder.path().join("token"), TOKEN.to_uppercase()).unwrap();
    std::fs::write(&file, text(server.admin, upstream.address, "")).unwrap();
    for command in
        [&["reload", "-c", path][..], &["status", "-c", path], &["drain", "-c", path, "acme"]]
    {
        let (code, _, err) = vestibule(command);
        assert_eq!(code, 1);
        assert!(err.contains("the server does not know the token"), "{err}");
    }
    let (code, _, err) = vestibule(&["status", "-c", "/nowhere.toml"]);
    assert_eq!(code, 1);
    assert!(err.contains("cannot be read"), "{err}");
    let (code, _, _) = vestibule(&["drain", "-c", path]);
    assert_eq!(code, 2, "whose?");
}

#[test]
fn sigterm_drains_a_second_one_hurries_and_the_program_ends() {
    let upstream = app();
    let server = Running::start(upstream.address, "");
    let mut socket = server.websocket("a.test");
    assert_eq!(server.is_ready(), 200);
    server.signal("TERM");
    server.says("draining; open: 0 requests, 0 event streams, 1 WebSockets");
    assert_eq!(server.is_ready(), 503);
    echoes(&mut socket);
    let (code, out, _) = server.vestibule(&["status"]);
    assert_eq!((code, out.contains(": draining, ")), (0, true), "{out}");
    let (code, _, err) = server.vestibule(&["reload"]);
    assert_eq!(code, 1);
    assert!(err.contains("starting or stopping"), "{err}");
    server.signal("TERM");
    assert_eq!(closes(&mut socket), (1012, "service restart".to_owned()));
    drop(socket);
    assert_eq!(server.ends(), 0);
}

#[test]
fn sigint_stops_at_once_also_while_it_drains() {
    let upstream = app();
    for signals in [&["INT"][..], &["TERM", "INT"]] {
        let server = Running::start(upstream.address, "");
        let mut socket = server.websocket("a.test");
        for signal in signals {
            server.signal(signal);
            if *signal == "TERM" {
                server.says("draining");
            }
        }
        assert!(socket.is_closed());
        assert_eq!(server.ends(), 0);
    }
}

#[test]
fn the_last_stream_ends_the_program() {
    let upstream = app();
    let server = Running::start(upstream.address, "");
    let mut socket = server.websocket("a.test");
    server.signal("TERM");
    server.says("draining");
    echoes(&mut socket);
    drop(socket);
    assert_eq!(server.ends(), 0);
}
