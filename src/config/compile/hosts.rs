//! The routes of tenants: one claimant for each address of a tenant, and the table of them all.
//!
//! Whether addresses of different tenants get into each other's way is decided in `claims`, before
//! the table is made.

pub mod isolation;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::error::Wrong;
use super::super::snapshot::Persona;
use super::super::source::Spot;
use super::tenants::{Claimant, Placed};
use super::{Compiler, Part};
use crate::embed::template::Isolation;
use crate::route::{RouteTable, Target};

type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What telling a conflict needs: claimants by the address of the persona or site.
struct Known<'p>(FastMap<usize, &'p Placed>);

/// Holds the personas and sites of one tenant against each other.
pub fn check(placed: &[Placed], shared: &HashSet<Box<str>>, compiler: &mut Compiler<'_>) {
    let mut routes = RouteTable::default();
    let known = Known(placed.iter().map(|placed| (address_of(&placed.what), placed)).collect());
    for one in placed {
        for (host, spot) in one.hosts() {
            let isolation = isolation::of(shared, host);
            claim(&mut routes, &one.what, (host, isolation), |incumbent, path| {
                report(&known, one, &incumbent, (host, path), spot, compiler);
            });
        }
    }
    for one in placed {
        check_nesting(&routes, one, compiler);
    }
}

/// Adds the routes of a tenant that was checked, and whose addresses are nobody else's.
pub fn add(routes: &mut RouteTable, part: &Part, shared: &HashSet<Box<str>>) {
    for one in &part.placed {
        for (host, _) in one.hosts() {
            // Where something was wrong it was told, and the table is thrown away.
            claim(routes, &one.what, (host, isolation::of(shared, host)), |_, _| ());
        }
    }
}

/// Claims a host's path, and for a persona the paths of its devices and of the pages around it.
fn claim(
    routes: &mut RouteTable,
    what: &Claimant,
    (host, isolation): (&str, Isolation),
    mut taken: impl FnMut(Target, &str),
) {
    let mut insert = |path: &str, target: Target| {
        if let Err(conflict) = routes.insert(host, path, target) {
            taken(conflict.incumbent, path);
        }
    };
    match what {
        Claimant::Site(site) => insert("/", Target::Site(site.clone())),
        Claimant::Persona(persona) => {
            insert(&persona.path, Target::Persona(persona.clone()));
            for (number, device) in persona.devices.iter().enumerate() {
                let path = device_path(persona, &device.slug);
                insert(&path, Target::Device(persona.clone(), number));
            }
            for (number, shell) in persona.shells.pages.iter().enumerate() {
                if shell.isolation == isolation {
                    insert(&shell.path, Target::Shell(persona.clone(), number));
                }
            }
        }
    }
}

/// Where a device of a persona answers.
pub fn device_path(persona: &Persona, slug: &str) -> String {
    format!("{}/{slug}", persona.path.trim_end_matches('/'))
}

fn address_of(what: &Claimant) -> usize {
    match what {
        Claimant::Persona(persona) => Arc::as_ptr(persona).addr(),
        Claimant::Site(site) => Arc::as_ptr(site).addr(),
    }
}

fn report(
    known: &Known<'_>,
    newcomer: &Placed,
    incumbent: &Target,
    (host, path): (&str, &str),
    spot: Spot,
    compiler: &mut Compiler<'_>,
) {
    let (address, device) = match incumbent {
        Target::Persona(persona) | Target::Shell(persona, _) => (Arc::as_ptr(persona).addr(), None),
        Target::Device(persona, number) => (Arc::as_ptr(persona).addr(), Some(*number)),
        Target::Site(site) => (Arc::as_ptr(site).addr(), None),
        Target::HeldBack(_) => return,
    };
    let Some(other) = known.0.get(&address).copied() else { return };
    let other_spot = other.hosts().find(|(name, _)| *name == host).map_or(spot, |(_, at)| at);
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

/// A path below another's takes requests away from it, which may be meant. The root takes what
/// nobody else does, which is its purpose.
fn check_nesting(routes: &RouteTable, one: &Placed, compiler: &mut Compiler<'_>) {
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
        for (host, spot) in one.hosts() {
            let Some(found) = routes.find(host, parent) else { continue };
            let Some(outer) = found.target.persona() else { continue };
            let own = routes.find(host, path).and_then(|own| own.target.persona());
            let reported = own.is_none_or(|own| !Arc::ptr_eq(own, persona));
            if found.prefix_len == 0 || Arc::ptr_eq(outer, persona) || reported {
                continue;
            }
            nested(persona, outer, ((path, key), &parent[..found.prefix_len]), spot, compiler);
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
    let what = format!("{what}, which never sees requests below it");
    let wrong = Wrong::new(what, "choose paths of which none begins with the other");
    compiler.problems.warning(spot, key, wrong);
}
