//! Whose open streams a reload would end.
//!
//! A stream belongs to a persona or a site and lives on as long as that is there, whatever becomes
//! of its address, its upstream or its policies; new requests meet those. Only where the persona says
//! `revoke` it ends with the policy that let it in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Side;
use crate::config::snapshot::{Persona, Snapshot};
use crate::policy::session::UnixSeconds;

/// One line for each persona and site with something that ends, and one for the others.
pub fn lines(old: Side<'_>, new: Side<'_>) -> Vec<String> {
    let within = humantime::format_duration(new.snapshot.server.close_within);
    let (there, will_be) = (personas(old.snapshot), personas(new.snapshot));
    let mut lines = Vec::new();
    for (name, persona) in &there {
        match will_be.get(name) {
            None => {
                lines.push(format!("- {name}  is gone: its streams end within {within} (1012)"));
            }
            Some(now) if now.revoked_before > persona.revoked_before => {
                let moment = now.revoked_before.map_or_else(String::new, moment);
                lines.push(format!(
                    "~ {name}  revoke_before: streams of sessions from before {moment} end at once (1008)"
                ));
            }
            Some(now) if now.revoke && !now.identifies_like(persona) => lines.push(format!(
                "~ {name}  revoke = true, and who may open it changes: its streams end at once (1008)"
            )),
            Some(_) => {}
        }
    }
    let sites = sites_of(new.snapshot);
    for (name, ()) in sites_of(old.snapshot) {
        if !sites.contains_key(&name) {
            lines.push(format!("- {name} (site)  is gone: its streams end within {within} (1012)"));
        }
    }
    if there_is_one_secret_less(old, new) {
        lines.push(
            "session secrets: who has a session that was signed with one that is gone launches \
             again; open streams go on"
                .into(),
        );
    }
    let others = if lines.is_empty() { "every stream goes on" } else { "all other streams go on" };
    lines.push(others.into());
    lines
}

fn personas(snapshot: &Snapshot) -> BTreeMap<String, &Arc<Persona>> {
    let personas = snapshot.tenants.values().flat_map(|tenant| &tenant.personas);
    personas.map(|it| (format!("{}/{}", it.tenant, it.name), it)).collect()
}

fn sites_of(snapshot: &Snapshot) -> BTreeMap<String, ()> {
    let sites = snapshot.tenants.values().flat_map(|tenant| &tenant.sites);
    sites.map(|it| (format!("{}/{}", it.tenant, it.name), ())).collect()
}

fn moment(at: UnixSeconds) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at.0);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A session secret of the old configuration is not in the new one.
fn there_is_one_secret_less(old: Side<'_>, new: Side<'_>) -> bool {
    const KEY: &str = "server.session_secrets[";
    let all = |side: Side<'_>| {
        let listed = side.outline.iter().filter(|(key, _)| key.starts_with(KEY));
        listed.map(|(_, leaf)| leaf.what.clone()).collect::<Vec<_>>()
    };
    let new = all(new);
    all(old).iter().any(|one| !new.contains(one))
}
