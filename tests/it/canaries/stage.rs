//! The real program, with everything switched on that could say something, and all that it says.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vestibule::tls::dev::DevCa;

use super::secrets::{ADMIN, COLLECTOR, MARK, PASSWORD, PREVIEW, SESSION_SECRET, SIGNING};
use crate::harness::client::{Client, Response};
use crate::harness::collector::{Collector, Speaks};
use crate::harness::upstream::Upstream;

/// For a process of a debug build on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stage {
    pub child: Child,
    pub folder: tempfile::TempDir,
    pub ca: DevCa,
    pub collector: Collector,
    pub app: Upstream,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub internal: SocketAddr,
    pub admin: SocketAddr,
    /// Whoever watches the server sees only the last refusals, so these are read all the time.
    events: Arc<Mutex<Vec<u8>>>,
}

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An app that answers, misbehaves or is silent, as the path says; everything that it says by itself
/// has a canary.
fn app() -> Upstream {
    Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let said = |head: &str, body: &str| {
                format!(
                    "HTTP/1.1 {head}\r\nContent-Length: {}\r\nX-Own: {MARK}-header\r\n\
                     Set-Cookie: app={MARK}-cookie\r\n\r\n{body}",
                    body.len()
                )
            };
            if request.contains("Upgrade: websocket\r\n") {
                conversation.switch(&request, &format!("X-Own: {MARK}-socket\r\n"), b"");
                while conversation.read(&mut [0; 4096]) > 0 {}
                return;
            }
            match path {
                it if it.contains("closed") => return,
                it if it.contains("invalid") => {
                    let head = format!("HTTP/1.1 200 OK\r\n{MARK} : \u{1}{MARK}\r\n\r\n");
                    return conversation.write(head.as_bytes());
                }
                it if it.contains("cut") => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{MARK}");
                    return conversation.write(head.as_bytes());
                }
                it if it.contains("silent") => {
                    conversation.read(&mut [0; 1]);
                    return;
                }
                it if it.contains("broken") => conversation
                    .write(said("500 Oh", &format!("Traceback: {MARK}-traceback")).as_bytes()),
                it if it.contains("moved") => {
                    let to = format!("302 x\r\nLocation: /.v/{MARK}-place/?token={MARK}-moved");
                    conversation.write(said(&to, "").as_bytes());
                }
                _ => conversation.write(said("200 OK", &format!("{MARK}-body")).as_bytes()),
            }
        }
    })
}

fn configuration(folder: &Path, stage: (SocketAddr, SocketAddr, u16, u16)) -> String {
    let (app, collector, internal, admin) = stage;
    let at = folder.display();
    let persona = |name: &str, more: &str| {
        let upstream = if more.contains("upstream =") { "" } else { "upstream = \"app\"\n" };
        format!("[tenants.acme.personas.{name}]\nhosts = [\"{name}.test\"]\n{upstream}{more}\n")
    };
    let claimed = "user_id = \"required\"\ntrust_asserted = true\nbridge = true\n";
    let optional = "user_id = \"optional\"\ntrust_asserted = true\n";
    let signed = format!(
        "signed = true\nbridge = true\nsigning = {{ secrets = [\"file:{at}/signing\"], replay = \"once\" }}\n"
    );
    [
        &*format!(
            "include = [\"tenants/*.toml\"]\n\
             [server]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
             workers = 1\nsession_secrets = [\"file:{at}/session\"]\ndrain_timeout = \"1h\"\nclose_within = \"1s\"\n\
             [server.limits]\nheader_timeout = \"3s\"\nbody_timeout = \"8s\"\nheader_bytes = \"16KiB\"\nbody_bytes = \"1MiB\"\n\
             [internal]\nlisten = \"127.0.0.1:{internal}\"\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\ntoken = \"env:CANARY_ADMIN\"\n\
             [tls]\ncertificates = [{{ cert = \"{at}/chat.pem\", key = \"{at}/chat.key\" }}, \
             {{ cert = \"{at}/elsewhere.pem\", key = \"{at}/elsewhere.key\" }}]\n\
             [telemetry]\notlp_endpoint = \"http://{collector}\"\nsample_ratio = 1.0\n\
             access_log = \"{at}/access.log\"\n\
             [state]\nfolder = \"{at}/var\"\nredis = \"redis://ann:{MARK}-redis@127.0.0.1:6379\"\n\
             [upstreams.app]\nservers = [\"http://{app}\"]\nresponse_timeout = \"1m\"\n\
             [upstreams.hasty]\nservers = [\"http://{app}\"]\nresponse_timeout = \"300ms\"\n\
             [upstreams.narrow]\nservers = [\"http://{app}\"]\nmax_connections = 1\n\
             [upstreams.away]\nservers = [\"http://127.0.0.1:1\"]\nejection = {{ consecutive_failures = 0 }}\n\
             [tenants.held]\nallow = {{ upstreams = [\"app\"] }}\n\
             [tenants.tight]\nlimits = {{ ip = \"1/h\", tenant = \"1000/min\" }}\n\
             [tenants.tight.personas.bot]\nhosts = [\"tight.test\"]\nupstream = \"app\"\n\
             [tenants.acme]\nembed_origins = [\"https://www.acme.test\"]\n\
             limits = {{ ip = \"60000/min\", tenant = \"60000/min\" }}\n"
        ),
        &persona("chat", &format!("{claimed}mode = \"customer\"\n")),
        &persona("strict", &format!("{claimed}strict_config = true\n")),
        &persona("plain", "user_id = \"none\"\n"),
        &persona(
            "signed",
            &format!("{signed}{optional}preview = {{ id = \"prj_42\", token = \"env:CANARY_PREVIEW\" }}\n"),
        ),
        &persona(
            "injected",
            &format!(
                "{optional}injection = {{ enabled = true, persona = \"custom\" }}\n\
                 variables = [{{ name = \"plan\", source = \"query\", max = \"20B\" }}]\n"
            ),
        ),
        &persona("streamlit", &format!("{claimed}app = \"streamlit\"\n")),
        &persona("framed", "frame_only = true\n"),
        &persona("locked", &format!("basic_auth = {{ users = \"file:{at}/users\" }}\n")),
        &persona("denied", "deny_addresses = [\"127.0.0.0/8\"]\n"),
        &persona("hasty", "upstream = \"hasty\"\n"),
        &persona("narrow", "upstream = \"narrow\"\n"),
        &persona("away", "upstream = \"away\"\n"),
        &persona("other", ""),
        &persona("elsewhere", ""),
        "[tenants.acme.sites.home]\nhosts = [\"home.test\"]\nupstream = \"app\"\n",
    ]
    .concat()
}

fn write(path: PathBuf, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file =
        std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
}

/// The program, with what could make it or what it is built of talk.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("CANARY_ADMIN", ADMIN)
        .env("CANARY_PREVIEW", PREVIEW)
        .stdin(Stdio::null());
    command
}

impl Stage {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With this instead of that in the configuration.
    pub fn start_with(changes: &[(&str, &str)]) -> Self {
        let (app, collector) = (app(), Collector::start(Speaks::Http));
        let (folder, ca) = (tempfile::tempdir().unwrap(), DevCa::generate().unwrap());
        let at = |name: &str| folder.path().join(name);
        write(at("session"), SESSION_SECRET);
        write(at("signing"), SIGNING);
        write(at("users"), &format!("ann:{}\n", bcrypt::hash(PASSWORD, 4).unwrap()));
        // One connection may ask for all hosts but one.
        for (name, hosts) in
            [("chat", &["chat.test", "*.test"][..]), ("elsewhere", &["elsewhere.test"])]
        {
            let leaf = ca.issue(hosts).unwrap();
            write(at(&format!("{name}.pem")), &leaf.cert_chain_pem);
            write(at(&format!("{name}.key")), &leaf.key_pem);
        }
        // What nobody may use, and so is held back.
        write(
            at("tenants/held.toml"),
            &format!(
                "[tenants.held.personas.bot]\nhosts = [\"held.test\"]\nupstream = \"app\"\n\
                 signed = true\nsigning = {{ secrets = [\"{MARK}-literal-of-a-tenant\"] }}\n"
            ),
        );
        let (internal, admin) = (port(), port());
        let stage = (app.address, collector.address, internal, admin);
        let mut text = configuration(folder.path(), stage);
        for (that, this) in changes {
            assert!(text.contains(that), "{that}");
            text = text.replacen(that, this, 1);
        }
        write(at("vestibule.toml"), &text);
        let child = program()
            .args(["run", "-c"])
            .arg(at("vestibule.toml"))
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {COLLECTOR}"))
            .env("OTEL_BSP_SCHEDULE_DELAY", "20")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
            .stdout(File::create(at("stdout")).unwrap())
            .stderr(File::create(at("stderr")).unwrap())
            .spawn()
            .unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut stage = Self {
            child,
            ca,
            collector,
            app,
            http: local(0),
            https: local(0),
            internal: local(internal),
            admin: local(admin),
            events: Arc::default(),
            folder,
        };
        let said = stage.says("listening for operators");
        let door = |scheme: &str| {
            let line = said.lines().find_map(|line| line.split_once(&format!(" on {scheme}://")));
            line.unwrap().1.parse().unwrap()
        };
        (stage.http, stage.https) = (door("http"), door("https"));
        stage.watch();
        stage
    }

    /// Reads the admin listener's events, from now to the end.
    fn watch(&self) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let events = Arc::clone(&self.events);
        std::thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                events.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
    }

    /// All events so far.
    pub fn events(&self) -> Vec<u8> {
        self.events.lock().unwrap().clone()
    }

    /// Waits until the events tell of one of these requests, which were refused just now; a
    /// refusal that is noted while somebody reads is left out.
    pub fn tells_of(&self, request_ids: &[String]) {
        let until = Instant::now() + PATIENCE;
        let is_there = |events: &[u8], id: &String| memchr::memmem::find(events, id.as_bytes());
        while request_ids.iter().all(|id| is_there(&self.events(), id).is_none()) {
            assert!(Instant::now() < until, "no event tells of {request_ids:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Waits until standard error has these words; all of it.
    pub fn says(&self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.read("stderr");
            if said.contains(words) {
                return said;
            }
            assert!(Instant::now() < until, "no {words:?} in {said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn client(&self) -> Client {
        Client::plain(self.http)
    }

    /// What the admin listener answers to somebody who may ask.
    pub fn ask_admin(&self, method: &str, target: &str, body: &str) -> Response {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut client = Client::plain(self.admin);
        let mut answer = client.send(request).read_head().unwrap();
        let is_live = answer.field("content-type").is_some_and(|it| it.starts_with("text/event-s"));
        if is_live {
            // The first event is the whole of it.
            let chunk = usize::from_str_radix(&client.read_line(), 16).unwrap();
            answer.body = client.read_exactly(chunk);
        } else if let Some(length) = answer.field("content-length") {
            answer.body = client.read_exactly(length.parse().unwrap());
        }
        answer
    }

    /// Waits for the end of the process.
    pub fn ends(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
