//! `vestibule sign`: a signed URL, as the tenant's server would make it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use super::place::{self, Failure, Url};
use crate::config::snapshot::Snapshot;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = "config/vestibule.toml")]
    config: PathBuf,
    /// Whose secret signs; by default that of the persona which the URL leads to
    #[arg(long, value_name = "TENANT/PERSONA")]
    persona: Option<String>,
    /// What is to be signed; a timestamp in it is kept, a signature in it is replaced
    url: String,
}

pub fn run(arguments: Arguments) -> ExitCode {
    let loaded = place::load(&arguments.config);
    match loaded.and_then(|snapshot| sign(&snapshot, &arguments, now_ms())) {
        Ok(url) => {
            println!("{url}");
            ExitCode::SUCCESS
        }
        Err(failure) => failure.report("sign"),
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn sign(snapshot: &Snapshot, arguments: &Arguments, now_ms: u64) -> Result<String, Failure> {
    let url = Url::parse(&arguments.url)?;
    let found = url.persona(snapshot)?;
    if let Some(name) = &arguments.persona {
        let wanted = place::named(snapshot, name)?;
        if !std::ptr::eq(&**wanted, &**found) {
            let leads = format!("{}/{}", found.tenant, found.name);
            return Err(Failure::Typed(format!("the URL leads to {leads}, not to {name}")));
        }
    }
    let policy = place::signing(found)?;
    let query = policy.sign(url.query.unwrap_or_default(), now_ms).map_err(|rejection| {
        let detail = rejection.detail.as_deref().unwrap_or(rejection.code.title());
        Failure::Typed(detail.to_owned())
    })?;
    Ok(format!("{}?{query}{}", url.base, url.fragment))
}
