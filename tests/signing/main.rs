//! Signatures against other people's code: Node signs what we verify and verifies what we sign, the
//! snippets that we hand out sign as they should, and the commands say what is wrong.
//!
//! Node and Python must be there; PHP, Go and Ruby are asked where they are.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod commands;
mod node;
mod snippets;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const NOW: u64 = 1_763_683_200_000;

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a program with this input.
fn run(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output()?;
    writer.join().unwrap();
    Ok(output)
}

/// What a program prints that must succeed.
fn printed(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

/// A configuration with the personas that the tests speak of, in a folder of its own.
struct Configured {
    folder: TempDir,
}

impl Configured {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("vestibule.toml"), CONFIGURATION).unwrap();
        Self { folder }
    }

    fn vestibule(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg(arguments[0]).arg("-c").arg(self.folder.path().join("vestibule.toml"));
        command.args(&arguments[1..]).env("SALES_SIGNING", "ragtime-test-secret");
        command.env("HELP_SIGNING", "a secret of the help persona, long enough");
        run(&mut command, "").unwrap()
    }
}

const CONFIGURATION: &str = r#"
[server]
http = ["127.0.0.1:8080"]
http_mode = "serve"
shared_hosts = ["chat.example.com"]

[upstreams.app]
servers = ["http://127.0.0.1:8501"]

[tenants.ragtime.personas.sales]
hosts = ["chat.example.com"]
path = "/chat/ragtime/sales"
upstream = "app"
user_id = "optional"
signed = true
signing = { secrets = ["env:HELP_SIGNING", "env:SALES_SIGNING"], ignore = ["gclid"] }

[tenants.ragtime.personas.help]
hosts = ["help.example.com", "*.help.example.com"]
upstream = "app"
signed = true
signing = { secrets = ["env:SALES_SIGNING"] }

[tenants.jasser.personas.customer]
hosts = ["*.jasserknows.online", "chat-customer.jasserknows.online"]
upstream = "app"
mode = "customer"
user_id = "required"
trust_asserted = true

[tenants.jasser.personas.public]
hosts = ["*.public.example"]
upstream = "app"
bridge = true

[tenants.jasser.sites.www]
hosts = ["www.example.com"]
upstream = "app"
"#;
