//! What commands about one persona need: the configuration, and where a URL or a name leads.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::snapshot::{Persona, Snapshot};
use crate::gate::{host, path};
use crate::policy::signature::SigningPolicy;
use crate::route::Target;

/// Why a command did nothing, and whose fault that is.
#[derive(Debug)]
pub enum Failure {
    /// Of what was typed.
    Typed(String),
    /// Of the configuration.
    Configured(String),
}

impl Failure {
    /// Says it, and chooses the exit code.
    pub fn report(self, command: &str) -> ExitCode {
        let (text, code) = match self {
            Failure::Typed(text) => (text, ExitCode::from(2)),
            Failure::Configured(text) => (text, ExitCode::FAILURE),
        };
        eprintln!("vestibule {command}: {text}");
        code
    }
}

/// The configuration, with its problems on standard error where it has errors.
pub fn load(file: &Path) -> Result<Snapshot, Failure> {
    let loaded = crate::config::load(file);
    loaded.snapshot.ok_or_else(|| {
        for problem in &loaded.problems {
            eprintln!("{problem}");
        }
        Failure::Configured(format!("{} is not usable, see above", file.display()))
    })
}

/// A persona by `TENANT/PERSONA`.
pub fn named<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Arc<Persona>, Failure> {
    let all = || snapshot.tenants.values().flat_map(|tenant| &tenant.personas);
    let full = |persona: &Persona| format!("{}/{}", persona.tenant, persona.name);
    all().find(|persona| full(persona) == name).ok_or_else(|| {
        let mut known: Vec<String> = all().map(|persona| full(persona)).collect();
        known.sort_unstable();
        known.truncate(8);
        let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
        Failure::Typed(format!("there is no persona {name:?}; there is {known}"))
    })
}

/// What its launches are verified with.
pub fn signing(persona: &Persona) -> Result<&SigningPolicy, Failure> {
    persona.signing.as_deref().ok_or_else(|| {
        let (tenant, name) = (&persona.tenant, &persona.name);
        Failure::Configured(format!(
            "{tenant}/{name} is not signed: add signed = true and signing = {{ secrets = \
             [\"env:NAME\"] }}"
        ))
    })
}

/// A URL that somebody typed.
#[derive(Debug, Clone, Copy)]
pub struct Url<'u> {
    /// Scheme, authority and path, as typed.
    pub base: &'u str,
    authority: &'u str,
    path: &'u str,
    pub query: Option<&'u str>,
    /// With its `#`.
    pub fragment: &'u str,
}

impl<'u> Url<'u> {
    pub fn parse(text: &'u str) -> Result<Self, Failure> {
        let wrong = |what| Failure::Typed(format!("{text:?} {what}: write https://HOST/PATH"));
        let (text, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
        let (base, query) = match text.split_once('?') {
            Some((base, query)) => (base, Some(query)),
            None => (text, None),
        };
        let rest = ["https://", "http://"].iter().find_map(|scheme| base.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| wrong("is no URL"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(wrong("has no host"));
        }
        Ok(Self {
            base,
            authority,
            path: if path.is_empty() { "/" } else { path },
            query,
            fragment,
        })
    }

    /// The persona that it leads to.
    pub fn persona<'s>(&self, snapshot: &'s Snapshot) -> Result<&'s Arc<Persona>, Failure> {
        let wrong = |what: &str| Failure::Typed(format!("{:?} {what}", self.base));
        let host = host::canonical(self.authority).map_err(|_| wrong("has no valid host"))?;
        let path = path::canonical(self.path)
            .map_err(|_| wrong("has a path that can be read in more than one way"))?;
        match snapshot.routes.find(&host.name, &path).map(|found| found.target) {
            Some(
                Target::Persona(persona) | Target::Device(persona, _) | Target::Shell(persona, _),
            ) => Ok(persona),
            Some(Target::Site(site)) => {
                Err(wrong(&format!("leads to the site {}/{}", site.tenant, site.name)))
            }
            Some(Target::HeldBack(tenant)) => {
                Err(wrong(&format!("leads to the tenant {tenant}, which is held back")))
            }
            None => Err(wrong("leads to no persona")),
        }
    }
}
