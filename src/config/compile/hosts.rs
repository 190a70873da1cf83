//! Which host and path belong to whom: one claimant for each address, one tenant for each host.

mod isolation;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::error::Wrong;
use super::super::raw::Root;
use super::super::snapshot::Persona;
use super::super::source::Spot;
use super::Compiler;
use super::tenants::{Claimant, Placed};
use crate::embed::template::Isolation;
use crate::route::{RouteTable, Target};

type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The first tenant seen on a host.
#[derive(Clone, Copy)]
struct Owner<'p> {
    placed: &'p Placed<'p>,
    spot: Spot,
}

/// What telling a conflict needs.
struct Known<'p> {
    /// By the address of the persona or site.
    claimants: FastMap<usize, &'p Placed<'p>>,
    shared: HashSet<&'p str>,
}

pub fn compile(root: &Root, placed: &[Placed<'_>], compiler: &mut Compiler<'_>) -> RouteTable {
    let shared = root.server.iter().filter_map(|at| at.value.shared_hosts.as_ref());
    let shared: HashSet<&str> =
        shared.flat_map(|list| &list.value).map(|at| &*at.value.0).collect();
    check_owners(&shared, placed, compiler);
    let mut routes = RouteTable::default();
    let claimants = placed.iter().map(|placed| (address_of(&placed.what), placed)).collect();
    let known = Known { claimants, shared };
    for one in placed {
        for host in one.hosts {
            claim(&mut routes, &known, one, &host.value.0, host.spot, compiler);
        }
    }
    for one in placed {
        check_nesting(&routes, one, compiler);
    }
    for host in &known.shared {
        routes.share(host);
    }
    isolation::check(root, placed, compiler);
    routes
}

/// Claims a host's path, and for a persona its devices' paths.
fn claim(
    routes: &mut RouteTable,
    known: &Known<'_>,
    one: &Placed<'_>,
    host: &str,
    spot: Spot,
    compiler: &mut Compiler<'_>,
) {
    let mut insert = |path: &str, target: Target| {
        if let Err(conflict) = routes.insert(host, path, target) {
            report(known, one, &conflict.incumbent, (host, path), spot, compiler);
        }
    };
    match &one.what {
        Claimant::Site(site) => insert("/", Target::Site(site.clone())),
        Claimant::Persona(persona) => {
            insert(&persona.path, Target::Persona(persona.clone()));
            for (number, device) in persona.devices.iter().enumerate() {
                let path = format!("{}/{}", persona.path.trim_end_matches('/'), device.slug);
                insert(&path, Target::Device(persona.clone(), number));
            }
            let isolation = match known.shared.contains(host) {
                true => Isolation::Sandbox,
                false => Isolation::None,
            };
            for (number, shell) in persona.shells.pages.iter().enumerate() {
                if shell.isolation == isolation {
                    insert(&shell.path, Target::Shell(persona.clone(), number));
                }
            }
        }
    }
}

fn address_of(what: &Claimant) -> usize {
    match what {
        Claimant::Persona(persona) => Arc::as_ptr(persona).addr(),
        Claimant::Site(site) => Arc::as_ptr(site).addr(),
    }
}

fn report(
    known: &Known<'_>,
    newcomer: &Placed<'_>,
    incumbent: &Target,
    (host, path): (&str, &str),
    spot: Spot,
    compiler: &mut Compiler<'_>,
) {
    let (address, device) = match incumbent {
        Target::Persona(persona) | Target::Shell(persona, _) => (Arc::as_ptr(persona).addr(), None),
        Target::Device(persona, number) => (Arc::as_ptr(persona).addr(), Some(*number)),
        Target::Site(site) => (Arc::as_ptr(site).addr(), None),
    };
    let Some(other) = known.claimants.get(&address).copied() else { return };
    if other.what.tenant() != newcomer.what.tenant() && !known.shared.contains(host) {
        // That one of them may not be there at all has been said already.
        return;
    }
    let same = |at: &&_| host_of(at) == host;
    let other_spot = other.hosts.iter().find(same).map_or(spot, |at| at.spot);
    let address = format!("{host}{path}");
    // The later of the two in the file is the one to mend.
    let (at, key, holder, first) = match spot >= other_spot {
        true => (spot, newcomer.what.key(), other, other_spot),
        false => (other_spot, other.what.key(), newcomer, spot),
    };
    let place = compiler.texts.place(first);
    let wrong = match device {
        _ if address_of(&newcomer.what) == address_of(&other.what) && spot != other_spot => {
            Wrong::new(format!("`{host}` is listed twice"), "leave one out")
        }
        _ if address_of(&newcomer.what) == address_of(&other.what) => {
            if is_told_already(&newcomer.what) {
                return;
            }
            let what = format!("{address} would be two things of the same persona");
            Wrong::new(what, "choose other values for path, embed, preview.id, or a device's name")
        }
        Some(number) if address_of(&holder.what) == address_of(&other.what) => {
            let slug = device_slug(incumbent, number);
            let what = format!(
                "{address} is already the device `{slug}` of {}, at {place}",
                holder.what.key()
            );
            Wrong::new(what, "choose another path, or rename the device")
        }
        _ => {
            let what = format!("{address} already belongs to {}, at {place}", holder.what.key());
            Wrong::new(what, "give one of them another host or path")
        }
    };
    compiler.problems.error(at, format!("{key}.hosts"), wrong);
}

/// `embed` at the path of the chat is told where it stands.
fn is_told_already(what: &Claimant) -> bool {
    match what {
        Claimant::Persona(persona) => {
            persona.shells.pages.iter().any(|it| it.token.is_none() && *it.path == *persona.path)
        }
        Claimant::Site(_) => false,
    }
}

fn device_slug(target: &Target, number: usize) -> &str {
    match target {
        Target::Device(persona, _) => persona.devices.get(number).map_or("", |it| &*it.slug),
        _ => "",
    }
}

fn host_of<'h>(at: &&'h super::super::source::At<super::super::addresses::Host>) -> &'h str {
    &at.value.0
}

/// Hosts belong to one tenant, unless the main file shares them.
fn check_owners(shared: &HashSet<&str>, placed: &[Placed<'_>], compiler: &mut Compiler<'_>) {
    let mut owners: FastMap<&str, Owner<'_>> = FastMap::default();
    for one in placed {
        for host in one.hosts.iter().filter(|host| !shared.contains(&*host.value.0)) {
            let this = Owner { placed: one, spot: host.spot };
            let owner = *owners.entry(&host.value.0).or_insert(this);
            if owner.placed.what.tenant() != one.what.tenant() {
                let what = |tenant: &str, place: &str| {
                    format!("`{}` belongs to the tenant `{tenant}`, at {place}", host.value.0)
                };
                let remedy = format!(
                    "choose another host, or add {:?} to shared_hosts of [server]",
                    host.value.0
                );
                refuse(this, owner, what, remedy, compiler);
            }
        }
    }
    let wildcards: FastMap<&str, Owner<'_>> = owners
        .iter()
        .filter_map(|(host, owner)| Some((host.strip_prefix("*.")?, *owner)))
        .collect();
    if wildcards.is_empty() {
        return;
    }
    for (host, this) in owners.iter().filter(|(host, _)| !host.starts_with("*.")) {
        let parent = host.split_once('.').and_then(|(_, parent)| wildcards.get(parent));
        let Some(owner) = parent else { continue };
        if owner.placed.what.tenant() != this.placed.what.tenant() {
            let what = |tenant: &str, place: &str| {
                format!(
                    "`{host}` and a wildcard over it belong to different tenants, this one and `{tenant}` at {place}"
                )
            };
            let remedy =
                format!("choose another host, or add {host:?} to shared_hosts of [server]");
            refuse(*this, *owner, what, remedy, compiler);
        }
    }
}

/// Reports at the later of two places.
fn refuse(
    this: Owner<'_>,
    that: Owner<'_>,
    what: impl Fn(&str, &str) -> String,
    remedy: String,
    compiler: &mut Compiler<'_>,
) {
    let (later, first) = if this.spot >= that.spot { (this, that) } else { (that, this) };
    let what = what(first.placed.what.tenant(), &compiler.texts.place(first.spot));
    let key = format!("{}.hosts", later.placed.what.key());
    compiler.problems.error(later.spot, key, Wrong::new(what, remedy));
}

/// A path below another's takes requests away from it: between tenants that is an error, within
/// one it may be meant. The root takes what nobody else does, which is its purpose.
fn check_nesting(routes: &RouteTable, one: &Placed<'_>, compiler: &mut Compiler<'_>) {
    let Claimant::Persona(persona) = &one.what else { return };
    let shells = persona.shells.pages.iter().map(|shell| (&*shell.path, "embed"));
    let mut paths: Vec<_> = std::iter::once((&*persona.path, "path")).chain(shells).collect();
    // One for each kind of host, and one for each device.
    paths.dedup();
    for (path, key) in paths {
        let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty())
        else {
            continue;
        };
        for host in one.hosts {
            let Some(found) = routes.find(&host.value.0, parent) else { continue };
            let Some(outer) = found.target.persona() else { continue };
            let own = routes.find(&host.value.0, path).and_then(|own| own.target.persona());
            let reported = own.is_none_or(|own| !Arc::ptr_eq(own, persona));
            if found.prefix_len == 0 || Arc::ptr_eq(outer, persona) || reported {
                continue;
            }
            nested(persona, outer, ((path, key), &parent[..found.prefix_len]), host.spot, compiler);
        }
    }
}

fn nested(
    persona: &Persona,
    outer: &Persona,
    ((path, key), outside): ((&str, &str), &str),
    spot: Spot,
    compiler: &mut Compiler<'_>,
) {
    let key = format!("tenants.{}.personas.{}.{key}", persona.tenant, persona.name);
    let what = format!(
        "`{path}` lies inside `{outside}` of tenants.{}.personas.{}",
        outer.tenant, outer.name
    );
    if outer.tenant == persona.tenant {
        let what = format!("{what}, which never sees requests below it");
        let wrong = Wrong::new(what, "choose paths of which none begins with the other");
        compiler.problems.warning(spot, key, wrong);
    } else {
        let what = format!("{what}, another tenant");
        let wrong = Wrong::new(what, "choose paths of which none begins with the other");
        compiler.problems.error(spot, key, wrong);
    }
}
