//! What people type.
//!
//! It parses arguments, prints, installs signal handlers and chooses exit codes: 0 done, 1 the
//! configuration or the server failed, 2 the command line was wrong (clap's own). `diff` has those of
//! its namesake.

mod check;
mod diff;
mod explain;
mod log_id;
mod operate;
mod place;
mod run;
mod sign;
mod snippet;
mod verify;
mod voice;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "vestibule", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything on loopback, with nothing to configure: four chat personas behind TLS
    Demo {
        /// Port of the TLS listener
        #[arg(long, default_value_t = crate::demo::DemoOptions::default().https_port)]
        port: u16,
        /// Where the demo keeps its certificate authority
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Run the embedding checklist against the demo over real TLS sockets, then exit
        #[arg(long)]
        check: bool,
    },
    /// Serve
    Run(Run),
    /// Tell the running server to reload, and print what came of it
    Reload(ConfigFile),
    /// Print how the running server is, and what is open
    Status(operate::StatusArguments),
    /// End the WebSockets and event streams of a tenant or persona; new ones are served
    Drain(operate::DrainArguments),
    /// Report every problem of a configuration, with its place and its remedy
    Check(ConfigFile),
    /// Say what a reload would change; exits with 0 where nothing would, 1 where something would, 2
    /// where a file is not usable
    Diff(diff::Arguments),
    /// Say what would become of a request, stage by stage, without sending it
    Explain(explain::Arguments),
    /// Print a signed URL
    Sign(sign::Arguments),
    /// Say whether a signed URL or form verifies, and what its signer did otherwise
    Verify(verify::Arguments),
    /// Print what the access log calls a user
    LogId(log_id::Arguments),
    /// Print text that is ready to be pasted
    Snippet(snippet::Arguments),
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Take the place of the process that serves, which is found at `upgrade_socket`
    #[arg(long)]
    upgrade: bool,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = "config/vestibule.toml")]
    config: PathBuf,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo { port, dir, check } => {
            crate::demo::run(&crate::demo::DemoOptions { https_port: port, dir, check })
        }
        Command::Run(Run { file, upgrade }) => {
            let start = if upgrade { run::Start::Upgrade } else { run::Start::Alone };
            run::run(&file.config, start)
        }
        Command::Reload(file) => operate::reload(&file),
        Command::Status(arguments) => operate::status(&arguments),
        Command::Drain(arguments) => operate::drain(&arguments),
        Command::Check(file) => check::check(&file.config),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Sign(arguments) => sign::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::LogId(arguments) => log_id::run(arguments),
        Command::Snippet(arguments) => snippet::run(arguments),
    }
}
