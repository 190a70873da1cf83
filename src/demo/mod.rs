//! `vestibule demo`: the whole thing on loopback, with nothing to configure.
//!
//! Makes certificates in a private directory, starts a chat backend for four personas and a page
//! that embeds them, and puts a real Vestibule in front of both, from a configuration text like
//! anyone else's. It must not listen beyond loopback, and must not change what the browser or the
//! system trusts: it prints the command for that.

mod backend;
mod check;
mod configuration;
mod persona;
mod secret;
mod trust;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::app::App;
use crate::tls::dev::{DevError, DevStore, LeafFiles};
use backend::{Backend, Trust};
use persona::{APP_HOST, Persona};

pub use configuration::{Values, configuration};

/// Where the operator's page is; the contract says so.
const ADMIN_PORT: u16 = 9180;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Of the https listeners on loopback; the contract says 8443.
    pub https_port: u16,
    /// Where certificates are kept; `$XDG_STATE_HOME/vestibule/demo` when absent.
    pub dir: Option<PathBuf>,
    /// Run the checks against a demo of their own, then stop.
    pub check: bool,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { https_port: 8443, dir: None, check: false }
    }
}

/// Runs the demo until it is interrupted, or its checks until they are done; prints to stdout.
pub fn run(options: &DemoOptions) -> ExitCode {
    let done = if options.check { check::run() } else { serve(options) };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vestibule demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is no demo.
#[derive(Debug)]
enum DemoError {
    Certificates(DevError),
    Backend(io::Error),
    PortTaken(u16),
    Listen(SocketAddr, io::Error),
    /// A path that the configuration, which is text, cannot hold.
    PathNotText(PathBuf),
    NoHome,
    Start(String),
    Signals(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates(error) => write!(f, "{error}"),
            Self::Backend(error) => write!(f, "cannot start the chat backend: {error}"),
            Self::PortTaken(port) => write!(
                f,
                "port {port} is taken, perhaps by another demo; stop that one, or choose another \
                 port: vestibule demo --port {}",
                if *port == 8443 { 9443 } else { 8443 }
            ),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::PathNotText(path) => {
                write!(f, "{}: not valid UTF-8; choose another with --dir", path.display())
            }
            Self::NoHome => write!(f, "neither XDG_STATE_HOME nor HOME is set; say --dir DIR"),
            Self::Start(reason) => write!(f, "{reason}"),
            Self::Signals(error) => write!(f, "cannot wait for Ctrl-C: {error}"),
        }
    }
}

impl From<DevError> for DemoError {
    fn from(error: DevError) -> Self {
        Self::Certificates(error)
    }
}

/// A whole demo: dropping it stops the door, then the app behind it.
struct Demo {
    store: DevStore,
    port: u16,
    app: App,
    backend: Backend,
}

impl Demo {
    /// `admin` is where the listener for operators should be; where that port is taken, it is elsewhere.
    fn start(directory: &Path, port: u16, admin: u16) -> Result<Self, DemoError> {
        let listeners = loopback_listeners(port)?;
        let admin = free_or_any(admin)?;
        let store = DevStore::open(directory)?;
        let chat_hosts = Persona::ALL.map(Persona::host);
        let chat = store.leaf("chat", &chat_hosts)?;
        let app = store.leaf("app", &[APP_HOST, "localhost", "127.0.0.1", "::1"])?;
        let command = trust::command(store.ca().name(), &text_of(&store.ca_file())?);
        let backend = Backend::start(Trust { command }).map_err(DemoError::Backend)?;
        let secret = secret::kept(directory)?;
        let places = Places { https: &listeners, port, admin, backend: backend.address() };
        let text = render(directory, &places, &chat, &app, &secret)?;
        let app = start_app(&text, directory)?;
        Ok(Self { store, port, app, backend })
    }

    fn stop(self) {
        self.app.drain();
        drop(self.backend);
    }
}

/// Where everything listens.
struct Places<'a> {
    https: &'a [SocketAddr],
    port: u16,
    admin: SocketAddr,
    backend: SocketAddr,
}

fn render(
    directory: &Path,
    places: &Places<'_>,
    chat: &LeafFiles,
    app: &LeafFiles,
    secret: &Path,
) -> Result<String, DemoError> {
    let Places { https, port, admin, backend } = places;
    Ok(configuration(&Values {
        https: https.iter().map(SocketAddr::to_string).collect(),
        admin: admin.to_string(),
        app_origin: format!("https://{APP_HOST}:{port}"),
        backend: format!("http://{backend}"),
        chat_cert: text_of(&chat.cert)?,
        chat_key: text_of(&chat.key)?,
        app_cert: text_of(&app.cert)?,
        app_key: text_of(&app.key)?,
        session_secret: text_of(secret)?,
        access_log: text_of(&directory.join("access.log"))?,
    }))
}

/// The one place where the demo meets the rest: a configuration text becomes a running server.
fn start_app(text: &str, base: &Path) -> Result<App, DemoError> {
    let loaded = crate::config::load_str("demo.toml", text, base);
    let Some(snapshot) = loaded.snapshot else {
        let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        return Err(DemoError::Start(format!(
            "the demo's own configuration is refused:\n{}",
            lines.join("\n")
        )));
    };
    // Warnings ("not enforced yet") are for people who write configurations; this one is ours.
    App::start(snapshot, crate::app::Options::default()).map_err(|error| DemoError::Start(error.0))
}

/// IPv4 loopback, and IPv6 where the machine has it: browsers try both for `*.localhost`.
///
/// Tried here first, without SO_REUSEPORT: the server's own listeners would share a port with
/// another demo of the same user and take half of its connections.
fn loopback_listeners(port: u16) -> Result<Vec<SocketAddr>, DemoError> {
    let mut addresses = Vec::new();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        let address = SocketAddr::new(ip, port);
        match TcpListener::bind(address) {
            Ok(_) => addresses.push(address),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(DemoError::PortTaken(port));
            }
            Err(_) if ip.is_ipv6() => {}
            Err(error) => return Err(DemoError::Listen(address, error)),
        }
    }
    Ok(addresses)
}

/// Nobody's chat depends on this port: where it is taken, by another demo or by a server that is
/// being tried out, the page is somewhere else and the banner says where.
fn free_or_any(port: u16) -> Result<SocketAddr, DemoError> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(wanted).or_else(|_| any());
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_err(|error| DemoError::Listen(wanted, error))
}

fn serve(options: &DemoOptions) -> Result<ExitCode, DemoError> {
    let directory = match &options.dir {
        Some(directory) => std::path::absolute(directory).map_err(|_| DemoError::NoHome)?,
        None => state_directory()?,
    };
    let signals = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DemoError::Signals)?;
    let demo = Demo::start(&directory, options.https_port, ADMIN_PORT)?;
    print!("{}", banner(&demo)?);
    signals.block_on(interrupted()).map_err(DemoError::Signals)?;
    println!("\nStopping.");
    demo.stop();
    Ok(ExitCode::SUCCESS)
}

#[cfg(unix)]
async fn interrupted() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminated.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn interrupted() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn state_directory() -> Result<PathBuf, DemoError> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = from("XDG_STATE_HOME").or_else(|| Some(from("HOME")?.join(".local/state")));
    Ok(state.ok_or(DemoError::NoHome)?.join("vestibule/demo"))
}

fn banner(demo: &Demo) -> Result<String, DemoError> {
    let (port, ca) = (demo.port, text_of(&demo.store.ca_file())?);
    let mut chats = String::new();
    for persona in Persona::ALL {
        let example = match persona {
            Persona::Customer => "?mode=customer&user_id=12345",
            Persona::Employee => "?mode=employee&user_id=2041",
            Persona::Public | Persona::Test => "",
        };
        chats += &format!("  {:<9} https://{}:{port}/{example}\n", persona.name(), persona.host());
    }
    Ok(format!(
        "Vestibule demo: four chats behind one door, on this machine only.\n\n\
         Open       https://{APP_HOST}:{port}/\n{chats}{}\n\n\
         Your browser will not trust it yet. Run this once, then restart the browser:\n\n  {}\n\n\
         {}\n\
         Requests are logged to {}.\n\
         Stop with Ctrl-C.\n",
        operators(demo.app.admin()),
        trust::command(demo.store.ca().name(), &ca),
        trust::firefox(&ca),
        text_of(&demo.store.ca_file().with_file_name("access.log"))?,
    ))
}

/// The line of the operator's page.
fn operators(address: Option<SocketAddr>) -> String {
    let Some(address) = address else { return String::new() };
    let elsewhere = match address.port() {
        ADMIN_PORT => String::new(),
        _ => format!("   ({ADMIN_PORT} is taken)"),
    };
    format!("Watch      http://{address}/{elsewhere}")
}

fn text_of(path: &Path) -> Result<String, DemoError> {
    let text = path.to_str().ok_or_else(|| DemoError::PathNotText(path.to_owned()))?;
    Ok(text.to_owned())
}
