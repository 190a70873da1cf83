//! Tenants, their personas, devices and sites.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::addresses::Host;
use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::Entry;
use super::super::snapshot::{AppKind, Device, Persona, Site, Tenant, Upstream};
use super::super::source::At;
use super::super::values::Name;
use super::assertion::Assertions;
use super::framing::Framing;
use super::signing::{Signers, Signing};
use super::{Compiler, Surroundings, dangling, identity, injection, limits, shells};
use crate::apps::streamlit::HostConfig;
use crate::embed::{Around, Bridge};
use crate::policy::limits::Rules;
use crate::policy::origin::AllowedOrigin;
use crate::policy::session::UnixSeconds;
use crate::policy::session::keys::SessionSecrets;

pub type Upstreams = HashMap<Arc<str>, Arc<Upstream>>;

/// Something that claims hosts, with where it does so.
pub struct Placed<'r> {
    pub what: Claimant,
    pub hosts: &'r [At<Host>],
}

/// What claims hosts.
#[derive(Clone)]
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

    /// Its key in the configuration.
    pub fn key(&self) -> String {
        match self {
            Claimant::Persona(it) => format!("tenants.{}.personas.{}", it.tenant, it.name),
            Claimant::Site(it) => format!("tenants.{}.sites.{}", it.tenant, it.name),
        }
    }
}

/// All tenants, and everything of theirs that claims hosts.
pub fn compile<'r>(
    around: &Surroundings<'_, 'r>,
    compiler: &mut Compiler<'_>,
) -> (HashMap<Arc<str>, Arc<Tenant>>, Vec<Placed<'r>>) {
    let mut placed = Vec::new();
    let mut tenants = HashMap::new();
    let mut signers = Signers::default();
    for entry in around.root.tenants.iter().flat_map(|at| at.value.iter()) {
        let tenant = tenant(entry, around, (&mut placed, &mut signers), compiler);
        tenants.insert(entry.name.clone(), Arc::new(tenant));
    }
    signers.report(compiler);
    (tenants, placed)
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
}

fn tenant<'r>(
    entry: &'r Entry<raw::Tenant>,
    around: &Surroundings<'_, 'r>,
    (placed, signers): (&mut Vec<Placed<'r>>, &mut Signers),
    compiler: &mut Compiler<'_>,
) -> Tenant {
    let raw = &*entry.value;
    warn_of_files(entry, compiler);
    let is_asked_for = around.root.internal.as_ref().is_some_and(|at| at.value.listen.is_some());
    let rules = Arc::new(limits::compile(entry, compiler));
    let mut inherited = Inherited {
        tenant: entry,
        framing: Framing::new(around.root, entry),
        sessions: around.sessions,
        assertions: Assertions::new(entry, around.sessions, is_asked_for, compiler),
        signing: Signing::new(entry, around.sessions, &rules, signers, compiler),
        rules,
        revoked_before: revoked_before(
            raw.revoke_before.as_ref(),
            &format!("tenants.{}.revoke_before", entry.name),
            compiler,
        ),
        around: injection::Around { tenant: &entry.name, has_internal: is_asked_for },
    };
    let mut personas = Vec::new();
    for one in raw.personas.iter().flat_map(|at| at.value.iter()) {
        let embedders = inherited.framing.embedders(&one.name, compiler);
        identity::check(entry, one, &embedders, compiler);
        let key = format!("tenants.{}.personas.{}", entry.name, one.name);
        let hosts = hosts(one.value.hosts.as_ref(), &key, compiler);
        let upstream = upstream(one.value.upstream.as_ref(), &key, around.upstreams, compiler);
        // A stand-in keeps the persona in the checks of hosts and paths.
        let upstream = upstream.unwrap_or_else(|| stand_in(&one.name));
        let persona =
            Arc::new(persona(one, &mut inherited, embedders, (hosts, upstream), around, compiler));
        placed.push(Placed { what: Claimant::Persona(persona.clone()), hosts });
        personas.push(persona);
    }
    let framing = &inherited.framing;
    let mut sites = Vec::new();
    for one in raw.sites.iter().flat_map(|at| at.value.iter()) {
        let key = format!("tenants.{}.sites.{}", entry.name, one.name);
        embeds(entry, one, &key, compiler);
        let hosts = hosts(one.value.hosts.as_ref(), &key, compiler);
        let upstream = upstream(one.value.upstream.as_ref(), &key, around.upstreams, compiler);
        let site = Arc::new(Site {
            tenant: entry.name.clone(),
            name: one.name.clone(),
            hosts: hosts.iter().map(|at| at.value.0.clone()).collect(),
            upstream: upstream.unwrap_or_else(|| stand_in(&one.name)),
            framing: framing.site(one, compiler),
        });
        placed.push(Placed { what: Claimant::Site(site.clone()), hosts });
        sites.push(site);
    }
    let origins = raw.embed_origins.iter().flat_map(|list| &list.value);
    Tenant {
        id: entry.name.clone(),
        name: raw.name.as_ref().map_or_else(|| entry.name.clone(), |at| (&*at.value.0).into()),
        personas,
        sites,
        embed_origins: origins.map(|at| at.value.0.clone()).collect(),
        assertion_keys: inherited.assertions.published(),
    }
}

fn persona(
    one: &Entry<raw::Persona>,
    inherited: &mut Inherited<'_, '_>,
    embedders: Vec<AllowedOrigin>,
    (hosts, upstream): (&[At<Host>], Arc<Upstream>),
    surroundings: &Surroundings<'_, '_>,
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

fn hosts<'r>(
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
    if found.is_none() {
        let wrong = dangling("upstream", &name.value.0, upstreams.keys().map(|name| &**name));
        compiler.problems.error(name.spot, format!("{key}.upstream"), wrong);
    }
    found.cloned()
}

fn stand_in(name: &Arc<str>) -> Arc<Upstream> {
    Arc::new(Upstream {
        name: name.clone(),
        servers: Vec::new(),
        connect_timeout: Default::default(),
        policy: Default::default(),
        response_timeout: Default::default(),
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
