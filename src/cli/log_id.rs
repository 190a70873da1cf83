//! `vestibule log-id`: what the access log calls a user.
//!
//! It prints what to look for, one a line and nothing else, so that `grep -f` takes it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::place::{self, Failure};
use crate::config::process_secret;
use crate::config::snapshot::{Snapshot, UserIds};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = "config/vestibule.toml")]
    config: PathBuf,
    /// Whose user it is
    tenant: String,
    /// The user id, as the tenant's pages give it
    user_id: String,
}

pub fn run(arguments: Arguments) -> ExitCode {
    let loaded = place::load(&arguments.config);
    match loaded.and_then(|snapshot| names(&snapshot, &arguments)) {
        Ok(names) => {
            names.iter().for_each(|name| println!("{name}"));
            ExitCode::SUCCESS
        }
        Err(failure) => failure.report("log-id"),
    }
}

/// The one that is written now first, then those of session secrets on their way out.
fn names(snapshot: &Snapshot, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let Arguments { tenant, user_id, .. } = arguments;
    if !snapshot.tenants.contains_key(&**tenant) {
        return Err(Failure::Typed(format!("there is no tenant {tenant:?}")));
    }
    match &snapshot.telemetry.user_ids {
        UserIds::Off => {
            let why = "telemetry.user_id is \"off\": no line says who asked";
            Err(Failure::Configured(why.into()))
        }
        UserIds::Plain => Ok(vec![user_id.clone()]),
        UserIds::Hashed(_) if process_secret::known().is_some() => {
            let why = "there are no server.session_secrets: the hashes of a server that runs can \
                       be computed by nobody else, and end with it";
            Err(Failure::Configured(why.into()))
        }
        UserIds::Hashed(pseudonyms) => {
            let names = pseudonyms.all(tenant, user_id);
            Ok(names.iter().map(|name| name.as_str().to_owned()).collect())
        }
    }
}
