//! A tenant, its personas, devices and sites: everything that can be said of one tenant alone.
//!
//! What comes out is kept as long as nothing that went in has changed: the tenant's keys, the
//! files they name, [`Surroundings`] and what the tenant may use. So nothing else may be looked at.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::addresses::Host;
use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::Entry;
use super::super::schema::nearest;
use super::super::snapshot::{AppKind, Device, Persona, Site, Tenant, Upstream};
use super::super::source::{At, Spot};
use super::super::values::Name;
use super::assertion::Assertions;
use super::framing::Framing;
use super::signing::{Signer, Signing};
use super::{
    Compiler, Facts, Surroundings, dangling, folders, front, hosts, identity, injection, limits,
    secrets, shells,
};
use crate::apps::streamlit::HostConfig;
use crate::embed::{Around, Bridge};
use crate::policy::limits::Rules;
use crate::policy::origin::AllowedOrigin;
use crate::policy::session::UnixSeconds;
use crate::policy::session::keys::SessionSecrets;
use crate::telemetry::metrics::Slot;

pub type Upstreams = HashMap<Arc<str>, Arc<Upstream>>;

/// One tenant, and what has to be held against the others'.
#[derive(Debug)]
pub struct Part {
    pub tenant: Arc<Tenant>,
    pub placed: Vec<Placed>,
    pub signers: Vec<Signer>,
}

/// Something that claims hosts, with where it does so.
#[derive(Debug)]
pub struct Placed {
    pub what: Claimant,
    /// Of each of its hosts, in their order.
    pub spots: Box<[Spot]>,
}

impl Placed {
    fn new(what: Claimant, hosts: &[At<Host>]) -> Self {
        Self { what, spots: hosts.iter().map(|at| at.spot).collect() }
    }

    /// Its hosts, and where they stand.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, Spot)> {
        self.what.hosts().iter().map(|host| &**host).zip(self.spots.iter().copied())
    }
}

/// What claims hosts.
#[derive(Debug, Clone)]
pub enum Claimant {
    Persona(Arc<Persona>),
    Site(Arc<Site>),
}

impl Claimant {
    pub fn tenant(&self) -> &Arc<str> {
        match self {
            Claimant::Persona(persona) => &persona.tenant,
            Claimant::Site(site) => &site.tenant,
        }
    }

    fn hosts(&self) -> &[Box<str>] {
        match self {
            Claimant::Persona(persona) => &persona.hosts,
            Claimant::Site(site) => &site.hosts,
        }
    }

    /// Its key in the configuration.
    pub fn key(&self) -> String {
        match self {
            Claimant::Persona(it) => format!("tenants.{}.personas.{}", it.tenant, it.name),
            Claimant::Site(it) => format!("tenants.{}.sites.{}", it.tenant, it.name),
        }
    }
}

/// What its personas have from their tenant.
struct Inherited<'c, 'r> {
    tenant: &'r Entry<raw::Tenant>,
    framing: Framing<'r>,
    sessions: &'c SessionSecrets,
    assertions: Assertions<'c>,
    signing: Signing<'c, 'r>,
    rules: Arc<Rules>,
    revoked_before: Option<UnixSeconds>,
    around: injection::Around<'r>,
    facts: &'c Facts,
}

/// Compiles a tenant.
pub fn part(
    entry: &Entry<raw::Tenant>,
    around: &Surroundings<'_>,
    compiler: &mut Compiler<'_>,
) -> Part {
    let raw = &*entry.value;
    let mut placed = Vec::new();
    warn_of_files(entry, compiler);
    let is_asked_for = around.facts.has_internal;
    let rules = Arc::new(limits::compile(entry, compiler));
    let mut inherited = Inherited {
        tenant: entry,
        framing: Framing::new(around.facts.https_port, entry),
        sessions: around.sessions,
        assertions: Assertions::new(entry, around.sessions, is_asked_for, compiler),
        signing: Signing::new(entry, around.sessions, &rules, compiler),
        rules,
        revoked_before: revoked_before(
            raw.revoke_before.as_ref(),
            &format!("tenants.{}.revoke_before", entry.name),
            compiler,
        ),
        around: injection::Around { tenant: &entry.name, has_internal: is_asked_for },
        facts: around.facts,
    };
    let mut personas = Vec::new();
    for one in raw.personas.iter().flat_map(|at| at.value.iter()) {
        let embedders = inherited.framing.embedders(&one.name, compiler);
        identity::check(entry, one, &embedders, compiler);
        let key = format!("tenants.{}.personas.{}", entry.name, one.name);
        let hosts = host_list(one.value.hosts.as_ref(), &key, compiler);
        let upstream = upstream(one.value.upstream.as_ref(), &key, around.upstreams, compiler);
        // A stand-in keeps the persona in the checks of hosts and paths.
        let upstream = upstream.unwrap_or_else(|| stand_in(&one.name));
        let persona =
            Arc::new(persona(one, &mut inherited, embedders, (hosts, upstream), around, compiler));
        placed.push(Placed::new(Claimant::Persona(persona.clone()), hosts));
        personas.push(persona);
    }
    let framing = &inherited.framing;
    let mut sites = Vec::new();
    for one in raw.sites.iter().flat_map(|at| at.value.iter()) {
        let key = format!("tenants.{}.sites.{}", entry.name, one.name);
        embeds(entry, one, &key, compiler);
        let hosts = host_list(one.value.hosts.as_ref(), &key, compiler);
        let upstream = upstream(one.value.upstream.as_ref(), &key, around.upstreams, compiler);
        let folders = folders::compile(one, &key, compiler);
        let site = Arc::new(Site {
            tenant: entry.name.clone(),
            name: one.name.clone(),
            hosts: hosts.iter().map(|at| at.value.0.clone()).collect(),
            upstream: upstream.unwrap_or_else(|| stand_in(&one.name)),
            framing: framing.site(one, compiler),
            folders,
            front: front::site(
                one,
                hosts,
                inherited.facts,
                (&entry.name, &inherited.rules, compiler),
            ),
            meters: Slot::default(),
        });
        placed.push(Placed::new(Claimant::Site(site.clone()), hosts));
        sites.push(site);
    }
    hosts::check(&placed, &around.facts.shared_hosts, compiler);
    let origins = raw.embed_origins.iter().flat_map(|list| &list.value);
    let tenant = Tenant {
        id: entry.name.clone(),
        name: raw.name.as_ref().map_or_else(|| entry.name.clone(), |at| (&*at.value.0).into()),
        personas,
        sites,
        embed_origins: origins.map(|at| at.value.0.clone()).collect(),
        assertion_keys: inherited.assertions.published(),
    };
    Part { tenant: Arc::new(tenant), placed, signers: inherited.signing.signers() }
}

fn persona(
    one: &Entry<raw::Persona>,
    inherited: &mut Inherited<'_, '_>,
    embedders: Vec<AllowedOrigin>,
    (hosts, upstream): (&[At<Host>], Arc<Upstream>),
    surroundings: &Surroundings<'_>,
    compiler: &mut Compiler<'_>,
) -> Persona {
    let tenant = inherited.tenant;
    let own = one.value.revoke_before.as_ref();
    let key = || format!("tenants.{}.personas.{}.revoke_before", tenant.name, one.name);
    let own = own.and_then(|at| revoked_before(Some(at), &key(), compiler));
    let raw = &*one.value;
    let devices = raw.devices.iter().flat_map(|at| at.value.iter()).map(|device| {
        let name = device.value.name.as_ref();
        Device {
            slug: device.name.clone(),
            name: name.map_or_else(|| device.name.clone(), |at| (&*at.value.0).into()),
        }
    });
    check_references(one, tenant, compiler);
    let app = raw.app.as_ref().map_or(AppKind::Generic, |at| at.value);
    let metadata = identity::metadata(raw);
    let path: Box<str> = raw.path.as_ref().map_or_else(|| "/".into(), |at| at.value.0.clone());
    let shells = shells::compile(
        shells::Around {
            tenant,
            persona: one,
            path: &path,
            app,
            embedders: &embedders,
            framing: inherited.framing.shells(one, &embedders, compiler),
        },
        surroundings,
        compiler,
    );
    let around = if shells.pages.is_empty() { Around::Page } else { Around::PageOrShell };
    let bridged = |path: &str| Bridge::new(path.trim_end_matches('/'), &embedders, around);
    let bridge = metadata.bridge.then(|| bridged(&path));
    Persona {
        tenant: tenant.name.clone(),
        name: one.name.clone(),
        hosts: hosts.iter().map(|at| at.value.0.clone()).collect(),
        path,
        strip_prefix: raw.strip_prefix.as_ref().is_none_or(|at| at.value),
        upstream,
        app,
        mode: identity::mode(raw),
        devices: devices.collect(),
        shells,
        framing: inherited.framing.persona(one, &embedders, compiler),
        host_config: (app == AppKind::Streamlit).then(|| HostConfig::new(&embedders)),
        bridge,
        metadata,
        keys: inherited.sessions.persona(tenant.name.clone(), one.name.clone()),
        revoked_before: own.max(inherited.revoked_before),
        revoke: raw.revoke.as_ref().is_some_and(|at| at.value),
        origin: identity::origin(raw, embedders),
        rules: Arc::clone(&inherited.rules),
        assertion: inherited.assertions.persona(one, compiler),
        injection: injection::compile(one, inherited.around, compiler),
        variables: injection::variables(one, inherited.around, compiler),
        signing: inherited.signing.persona(one, compiler),
        front: front::persona(
            one,
            hosts,
            inherited.facts,
            (&tenant.name, &inherited.rules, compiler),
        ),
        meters: Slot::default(),
    }
}

/// What a tenant's file may not even name, also where nothing is read from there yet.
fn check_references(
    one: &Entry<raw::Persona>,
    tenant: &Entry<raw::Tenant>,
    compiler: &mut Compiler<'_>,
) {
    let key = |rest: &str| format!("tenants.{}.personas.{}.{rest}", tenant.name, one.name);
    if let Some(at) = one.value.jwt.as_ref().and_then(|at| at.value.secret.as_ref()) {
        secrets::may_use(at, &key("jwt.secret"), compiler);
    }
}

/// The moment, with a warning where it is still to come.
fn revoked_before(
    at: Option<&At<UnixSeconds>>,
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Option<UnixSeconds> {
    let at = at?;
    if at.value > UnixSeconds::from(compiler.now) {
        let what = "the moment is still to come: no session can be valid until then";
        let wrong = Wrong::new(what, "write a moment that has passed, such as now");
        compiler.problems.warning(at.spot, key, wrong);
    }
    Some(at.value)
}

fn host_list<'r>(
    hosts: Option<&'r At<Vec<At<Host>>>>,
    key: &str,
    compiler: &mut Compiler<'_>,
) -> &'r [At<Host>] {
    let Some(hosts) = hosts else { return &[] };
    if hosts.value.is_empty() {
        let wrong = Wrong::new("the list is empty", "write hosts = [\"chat.example.com\"]");
        compiler.problems.error(hosts.spot, format!("{key}.hosts"), wrong);
    }
    &hosts.value
}

fn upstream(
    name: Option<&At<Name>>,
    key: &str,
    upstreams: &Upstreams,
    compiler: &mut Compiler<'_>,
) -> Option<Arc<Upstream>> {
    let name = name?;
    let found = upstreams.get(&*name.value.0);
    let verdict = compiler.trust.upstream(&name.value.0);
    if found.is_some() && verdict.is_ok() {
        return found.cloned();
    }
    // A tenant is not told which upstreams there are beyond its own.
    let own = upstreams.keys().map(|name| &**name).filter(|it| compiler.trust.upstream(it).is_ok());
    let own: Vec<_> = own.collect();
    let is_slip = found.is_none() && nearest(&name.value.0, own.iter().copied()).is_some();
    let wrong = match verdict {
        Err(wrong) if !is_slip => wrong,
        _ => dangling("upstream", &name.value.0, own.into_iter()),
    };
    compiler.problems.error(name.spot, format!("{key}.upstream"), wrong);
    None
}

fn stand_in(name: &Arc<str>) -> Arc<Upstream> {
    Arc::new(Upstream {
        name: name.clone(),
        servers: Vec::new(),
        connect_timeout: Default::default(),
        policy: Default::default(),
        response_timeout: Default::default(),
        meters: Slot::default(),
    })
}

fn embeds(
    tenant: &Entry<raw::Tenant>,
    site: &Entry<raw::Site>,
    key: &str,
    compiler: &mut Compiler<'_>,
) {
    let personas = || tenant.value.personas.iter().flat_map(|at| at.value.iter());
    for name in site.value.embeds.iter().flat_map(|list| &list.value) {
        if !personas().any(|persona| *persona.name == *name.value.0) {
            let what = format!("persona of {}", tenant.name);
            let wrong = dangling(&what, &name.value.0, personas().map(|persona| &*persona.name));
            compiler.problems.error(name.spot, format!("{key}.embeds"), wrong);
        }
    }
}

fn warn_of_files(tenant: &Entry<raw::Tenant>, compiler: &mut Compiler<'_>) {
    for at in tenant.value.embed_origins.iter().flat_map(|list| &list.value) {
        if &*at.value.0 == "file:" {
            let what = "any HTML file on anyone's disk may embed this tenant's personas";
            let wrong = Wrong::new(what, "leave \"file:\" to trials");
            let key = format!("tenants.{}.embed_origins", tenant.name);
            compiler.problems.warning(at.spot, key, wrong);
        }
    }
}
