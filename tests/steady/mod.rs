//! A steady load, and reloads that concern others: HTTP and WebSockets, over TLS and plain, while
//! tenants change, personas come and go, and certificates rotate.
//!
//! Nothing may fail and nothing may be lost. The test runs it small, the bench at full size.

#![allow(clippy::disallowed_methods, reason = "the load's own threads, no worker")]

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use vestibule::app::{App, Options};
use vestibule::config::History;
use vestibule::reload::{ReloadOutcome, Reloader};
use vestibule::tls::dev::DevCa;

const HOST: &str = "chat.steady.test";
/// Longer than anything takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);
const FRAME: &[u8] = b"\x82\x84\0\0\0\0echo";
/// Requests of one connection.
const REQUESTS: usize = 20;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub websockets: usize,
    pub clients: usize,
    pub reloads: usize,
    /// Between two messages of one WebSocket, and between two reloads.
    pub pause: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub requests: usize,
    pub messages: usize,
    /// Requests that failed, and WebSockets that were lost, in words.
    pub failures: Vec<String>,
    /// The slowest reload.
    pub slowest: Duration,
}

struct Tally {
    done: AtomicBool,
    open: AtomicUsize,
    requests: AtomicUsize,
    messages: AtomicUsize,
}

/// Runs the load until all reloads are done.
pub fn run(size: Size) -> Outcome {
    allow_files();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = DevCa::generate().expect("an authority");
    let server = Server::start(folder.path(), &ca);
    let tally = Arc::new(Tally {
        done: AtomicBool::new(false),
        open: AtomicUsize::new(0),
        requests: AtomicUsize::new(0),
        messages: AtomicUsize::new(0),
    });
    let load = {
        let (tally, tls) = (Arc::clone(&tally), connector(&ca));
        let (http, https) = (server.app.http()[0], server.app.https()[0]);
        std::thread::spawn(move || load(size, &tally, &tls, http, https))
    };
    let started = Instant::now();
    while tally.open.load(Ordering::SeqCst) < size.websockets && !load.is_finished() {
        assert!(started.elapsed() < PATIENCE * 4, "not every WebSocket opens");
        std::thread::sleep(Duration::from_millis(5));
    }
    let slowest = server.reload(&ca, size);
    tally.done.store(true, Ordering::SeqCst);
    let mut failures = load.join().expect("the load ends");
    let ended = Instant::now();
    while server.app.streams().all() > 0 {
        if ended.elapsed() > PATIENCE {
            failures.push(format!("still open: {:?}", server.app.streams()));
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let (requests, messages) = (&tally.requests, &tally.messages);
    Outcome {
        requests: requests.load(Ordering::SeqCst),
        messages: messages.load(Ordering::SeqCst),
        failures,
        slowest,
    }
}

/// A WebSocket has four ends here, and each is an open file.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    // What is missing then will be said by whoever cannot connect.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

struct Server {
    app: App,
    reloader: std::sync::Mutex<Reloader>,
    folder: PathBuf,
}

impl Server {
    fn start(folder: &Path, ca: &DevCa) -> Self {
        let upstream = upstream();
        rotate(folder, ca);
        let file = folder.join("vestibule.toml");
        write(&file, &main_file(upstream));
        std::fs::create_dir(folder.join("tenants")).expect("a folder");
        write(&folder.join(OTHER), &other(0));
        let loaded = vestibule::config::follow(&file, &History::default());
        let snapshot = loaded.snapshot.ok_or(loaded.problems).expect("a sound configuration");
        let app = App::start(snapshot, Options::default()).expect("loopback can be bound");
        let install = Box::new(app.installer());
        let sources = (loaded.sources, loaded.history);
        let reloader = Reloader::new(file, &app.snapshot(), sources, install);
        Self { app, reloader: reloader.into(), folder: folder.to_owned() }
    }

    /// The slowest.
    fn reload(&self, ca: &DevCa, size: Size) -> Duration {
        let mut reloader = self.reloader.lock().expect("one at a time");
        let mut slowest = Duration::ZERO;
        for round in 1..=size.reloads {
            rotate(&self.folder, ca);
            write(&self.folder.join(OTHER), &other(round));
            let start = Instant::now();
            let outcome = reloader.reload();
            let is_whole = |held_back: &[_]| held_back.is_empty();
            assert!(
                matches!(&outcome, ReloadOutcome::Applied { held_back, .. } if is_whole(held_back)),
                "{round}: {outcome}"
            );
            slowest = slowest.max(start.elapsed());
            std::thread::sleep(size.pause);
        }
        slowest
    }
}

/// Another leaf of the same authority, with another key.
fn rotate(folder: &Path, ca: &DevCa) {
    let leaf = ca.issue(&[HOST, "*.other.test"]).expect("a leaf");
    std::fs::write(folder.join("leaf.pem"), &leaf.cert_chain_pem).expect("a certificate");
    let key = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(folder.join("leaf.key"));
    std::io::Write::write_all(&mut key.expect("a key"), leaf.key_pem.as_bytes()).expect("a key");
}

/// The persona under load.
fn main_file(upstream: SocketAddr) -> String {
    format!(
        "include = [\"tenants/*.toml\"]\n\
         [server]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
         workers = 2\n[telemetry]\naccess_log = \"off\"\n\
         [tls]\ncertificates = [{{ cert = \"leaf.pem\", key = \"leaf.key\" }}]\n\
         [upstreams.app]\nservers = [\"http://{upstream}\"]\n\
         [tenants.steady.personas.chat]\nhosts = [\"{HOST}\"]\nupstream = \"app\"\n\
         [tenants.other]\nallow = {{ upstreams = [\"app\"] }}\n"
    )
}

const OTHER: &str = "tenants/other.toml";

/// A tenant that changes, whose personas come and go.
fn other(round: usize) -> String {
    let personas = (round..round + 5).map(|persona| {
        format!(
            "[tenants.other.personas.p{persona}]\nhosts = [\"p{persona}.other.test\"]\n\
             upstream = \"app\"\n"
        )
    });
    format!("[tenants.other]\nname = \"Round {round}\"\n{}", personas.collect::<String>())
}

fn write(file: &Path, text: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, text).expect("a file");
    std::fs::rename(next, file).expect("a file");
}

/// Answers requests, echoes WebSockets.
fn upstream() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("an option");
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream));
            }
        });
    });
    address
}

async fn talk(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    while let Some(head) = read_head(&mut stream).await {
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let answer = match key {
            None => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Some(key) => format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                vestibule::upstream::forward::websocket_accept(key.as_bytes())
            ),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if key.is_some() {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            return;
        }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn connector(ca: &DevCa) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("a certificate");
    roots.add(authority).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Every second connection is TLS.
#[derive(Clone)]
struct Way {
    tls: Option<TlsConnector>,
    to: SocketAddr,
}

impl Way {
    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect(self.to).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(HOST).expect("a name");
        let stream = tls.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
        Ok(Box::new(stream))
    }
}

fn load(
    size: Size,
    tally: &Arc<Tally>,
    tls: &TlsConnector,
    http: SocketAddr,
    https: SocketAddr,
) -> Vec<String> {
    runtime().block_on(async {
        let mut tasks = Vec::new();
        let way = |index: usize| match index % 2 {
            0 => Way { tls: None, to: http },
            _ => Way { tls: Some(tls.clone()), to: https },
        };
        for index in 0..size.websockets {
            let (tally, way) = (Arc::clone(tally), way(index));
            tasks.push(tokio::spawn(async move {
                let lost = websocket(&way, &tally, size.pause).await.err()?;
                Some(format!("WebSocket {index}: {lost}"))
            }));
        }
        for index in 0..size.clients {
            let (tally, way) = (Arc::clone(tally), way(index));
            tasks.push(tokio::spawn(async move {
                let failed = client(&way, &tally).await.err()?;
                Some(format!("client {index}: {failed}"))
            }));
        }
        let mut failures = Vec::new();
        for task in tasks {
            failures.extend(task.await.expect("a task ends"));
        }
        failures
    })
}

async fn soon<T>(
    what: &str,
    future: impl Future<Output = std::io::Result<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: nothing for {PATIENCE:?}")),
    }
}

/// One that goes on to the end, and then says goodbye.
async fn websocket(way: &Way, tally: &Tally, pause: Duration) -> Result<(), String> {
    let mut stream = way.connect().await?;
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    soon("handshake", stream.write_all(handshake.as_bytes())).await?;
    let head = read_head(&mut stream).await.unwrap_or_default();
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(format!("the handshake is answered {head:?}"));
    }
    tally.open.fetch_add(1, Ordering::SeqCst);
    loop {
        let is_last = tally.done.load(Ordering::SeqCst);
        soon("send", stream.write_all(FRAME)).await?;
        let mut echo = [0; FRAME.len()];
        soon("echo", stream.read_exact(&mut echo)).await?;
        if echo != FRAME {
            return Err(format!("not the echo but {:?}", echo.escape_ascii().to_string()));
        }
        tally.messages.fetch_add(1, Ordering::SeqCst);
        if is_last {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
    }
}

/// Asks on, a few requests a connection.
async fn client(way: &Way, tally: &Tally) -> Result<(), String> {
    let request = format!("GET /asset.js HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    while !tally.done.load(Ordering::SeqCst) {
        let mut stream = way.connect().await?;
        for _ in 0..REQUESTS {
            soon("send", stream.write_all(request.as_bytes())).await?;
            let head = read_head(&mut stream).await.ok_or("no answer")?;
            if !head.starts_with("HTTP/1.1 200 ") {
                return Err(format!("answered {head:?}"));
            }
            let mut body = [0; 2];
            soon("body", stream.read_exact(&mut body)).await?;
            tally.requests.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}
