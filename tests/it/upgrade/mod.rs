//! One process takes the place of another: the real binary, on loopback.

mod failing;
pub mod process;
mod remembered;
mod systemd;
mod under_load;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use process::Process;
use vestibule::tls::dev::DevCa;

/// A configuration in a folder of its own, and processes that serve it one after the other.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    /// `UPSTREAM` in the text is this address; `[server]` is written here.
    fn new(upstream: SocketAddr, server: &str, text: &str) -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap() };
        let text = text.replace("UPSTREAM", &upstream.to_string());
        house.configure(&format!(
            "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
             upgrade_socket = \"upgrade.sock\"\n{server}\n[telemetry]\naccess_log = \"access.log\"\n\
             [upstreams.app]\nservers = [\"http://{upstream}\"]\n{text}"
        ));
        house
    }

    /// One persona for `chat.test`.
    fn plain(upstream: SocketAddr, server: &str) -> Self {
        let text = "[tenants.acme.personas.chat]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n";
        Self::new(upstream, server, text)
    }

    /// The same behind TLS too.
    fn with_tls(upstream: SocketAddr, server: &str) -> (Self, DevCa) {
        let ca = DevCa::generate().unwrap();
        let leaf = ca.issue(&["chat.test"]).unwrap();
        let text = "[tls]\ncertificates = [{ cert = \"leaf.pem\", key = \"leaf.key\" }]\n\
                    [tenants.acme.personas.chat]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n";
        let server = format!("https = [\"127.0.0.1:0\"]\n{server}");
        let house = Self::new(upstream, &server, text);
        std::fs::write(house.path("leaf.pem"), leaf.cert_chain_pem).unwrap();
        std::fs::write(house.path("leaf.key"), leaf.key_pem).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(house.path("leaf.key"), private).unwrap();
        (house, ca)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.path("main.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("run").arg("-c").arg(self.path("main.toml")).args(arguments);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"] {
            command.env_remove(name);
        }
        command
    }

    fn serve(&self) -> Process {
        Process::serving(self.command(&[]))
    }

    fn upgrade(&self) -> Process {
        let process = Process::serving(self.command(&["--upgrade"]));
        process.line("took over from process ");
        process
    }
}
