//! `GET /v1/launch`: what an app is told about the session that it shows an assertion of.
//!
//! The assertion is all that is believed. What it says before it is verified chooses the persona
//! whose key must have signed it, and nothing else; and a persona's app learns about that persona's
//! sessions, whichever session it names. A session that brought nothing, and a request without one,
//! are answered with the identity alone: an app asks at every launch, and one without variables is
//! no error.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::snapshot::Snapshot;
use crate::policy::assertion::{claimed_place, verify};
use crate::policy::identity::SessionHash;
use crate::policy::session::UnixSeconds;
use crate::state::parked::Parked;

/// Every key is always there, so that an app needs to ask for none before it reads it.
#[derive(Serialize)]
struct Answer<'a> {
    tenant: &'a str,
    persona: &'a str,
    device: Option<&'a str>,
    mode: &'a str,
    user_id: Option<&'a str>,
    assurance: &'a str,
    session: Option<&'a str>,
    variables: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "instructionOverrides")]
    instruction_overrides: &'a RawValue,
    #[serde(rename = "prefillMessages")]
    prefill_messages: &'a RawValue,
}

/// The JSON document for whoever shows `assertion`; nothing where it is not one that counts.
pub fn launch(
    snapshot: &Snapshot,
    parked: &Parked,
    assertion: &str,
    now: UnixSeconds,
) -> Option<String> {
    let (tenant, persona) = claimed_place(assertion)?;
    let personas = &snapshot.tenants.get(&*tenant)?.personas;
    let persona = personas.iter().find(|one| *one.name == *persona)?;
    let claims = verify(persona.assertion.as_deref()?, assertion, now)?;
    // What was claimed chose the key; what was signed counts.
    if *claims.tenant != *persona.tenant || *claims.persona != *persona.name {
        return None;
    }
    let session = claims.session.as_deref().and_then(SessionHash::parse);
    let launched =
        session.and_then(|session| parked.get(&persona.tenant, &persona.name, &session, now));
    let launched = launched.unwrap_or_default();
    let raw = |json| serde_json::from_str(json).expect("what was injected was written by us");
    let answer = Answer {
        tenant: &claims.tenant,
        persona: &claims.persona,
        device: claims.device.as_deref(),
        mode: &claims.mode,
        user_id: claims.sub.as_deref(),
        assurance: &claims.assurance,
        session: claims.session.as_deref(),
        variables: launched.variables.iter().collect(),
        instruction_overrides: raw(launched.injection.instruction_overrides().unwrap_or("{}")),
        prefill_messages: raw(launched.injection.prefill_messages().unwrap_or("[]")),
    };
    Some(serde_json::to_string(&answer).expect("texts and JSON are JSON"))
}

#[cfg(test)]
mod tests;
