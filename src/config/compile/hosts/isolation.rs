//! What tenants on one host have of each other, and what keeps them apart.

use std::collections::BTreeSet;

use super::super::super::error::Wrong;
use super::super::super::raw::Root;
use super::super::Compiler;
use super::super::tenants::{Claimant, Placed};

/// Warns of what a host of one's own would add, and refuses what nothing could keep apart: at the
/// root of a host an app's cookies reach all of it.
pub fn check(root: &Root, placed: &[Placed<'_>], compiler: &mut Compiler<'_>) {
    let shared = root.server.iter().filter_map(|at| at.value.shared_hosts.as_ref());
    for at in shared.flat_map(|list| &list.value) {
        let there = || placed.iter().filter(|one| one.hosts.iter().any(|it| it.value == at.value));
        let tenants: BTreeSet<_> = there().map(|one| &**one.what.tenant()).collect();
        if tenants.len() < 2 {
            continue;
        }
        let host = &at.value.0;
        let what = format!(
            "the scripts of {} tenants' apps on `{host}` are of one origin: they can read each \
             other's pages and storage; cookies alone are kept apart, and templates run in a sandbox",
            tenants.len()
        );
        let wrong =
            Wrong::new(what, "give tenants that do not trust each other hosts of their own");
        compiler.problems.warning(at.spot, "server.shared_hosts", wrong);
        for one in there() {
            let is_everywhere = match &one.what {
                Claimant::Persona(persona) => &*persona.path == "/",
                Claimant::Site(_) => true,
            };
            let Some(own) = one.hosts.iter().find(|it| is_everywhere && it.value == at.value)
            else {
                continue;
            };
            let what = format!(
                "at the root of `{host}` its cookies would be sent to other tenants' apps there"
            );
            let remedy = match &one.what {
                Claimant::Persona(_) => "give it a path, or a host of its own",
                Claimant::Site(_) => "give it a host of its own",
            };
            let key = format!("{}.hosts", one.what.key());
            compiler.problems.error(own.spot, key, Wrong::new(what, remedy));
        }
    }
}
