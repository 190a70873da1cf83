//! Who may claim to be whom: combinations of a persona's keys that would let anyone in.

use super::super::error::Wrong;
use super::super::raw::{Persona, Tenant};
use super::super::reader::Entry;
use super::super::source::{At, Spot};
use super::super::values::UserId;
use super::Compiler;

/// Parameters that have a meaning of their own in a launch.
const RESERVED: [&str; 9] = [
    "mode",
    "user_id",
    "require_user_id",
    "allow_generated_id",
    "direction",
    "timestamp",
    "signature",
    "instructionOverrides",
    "prefillMessages",
];

pub fn check(tenant: &Entry<Tenant>, one: &Entry<Persona>, compiler: &mut Compiler<'_>) {
    let persona = &*one.value;
    let key = |key: &str| format!("tenants.{}.personas.{}.{key}", tenant.name, one.name);
    let signed = on(&persona.signed);
    // Where a key of the persona was written wrongly, it may have been the proof.
    let proved = signed
        || persona.jwt.is_some()
        || on(&persona.trust_asserted)
        || needs_proof(persona) && compiler.problems.has_error_below(&key(""));
    let mut error = |spot: Spot, name: &str, what: &'static str, remedy: &'static str| {
        compiler.problems.error(spot, key(name), Wrong::new(what, remedy));
    };
    const PROOF: &str = "write signed = true, or jwt = { secret = \"env:NAME\" }; or accept that \
                         with trust_asserted = true";
    if let Some(at) = persona.user_id.as_ref().filter(|at| at.value == UserId::Required)
        && !proved
    {
        let what = "anyone could claim any user id, because launches are neither signed nor carry \
                    a token";
        error(at.spot, "user_id", what, PROOF);
    }
    if let Some(at) = persona.injection.as_ref().filter(|at| on(&at.value.enabled))
        && !proved
    {
        let what = "anyone could inject instructions, because launches are neither signed nor \
                    carry a token";
        error(at.spot, "injection", what, PROOF);
    }
    if let Some(at) = persona.signed.as_ref().filter(|at| at.value)
        && persona.signing.is_none()
        && tenant.value.signing.is_none()
    {
        let what = "there is no secret to check signatures with";
        error(at.spot, "signed", what, "add signing = { secrets = [\"env:NAME\"] }");
    }
    if let Some(at) = persona.signing.as_ref().filter(|_| !signed) {
        let what = "launches are not signed, so that the key has no effect";
        error(at.spot, "signing", what, "add signed = true, or leave signing out");
    }
    if let Some(at) = &persona.embed
        && persona.path.as_ref().is_some_and(|path| path.value == at.value)
    {
        let what = "the shell and the chat cannot have the same path";
        error(at.spot, "embed", what, "write another path, such as \"/embed/...\"");
    }
    check_secrets(tenant, one, compiler);
    check_variables(one, &key("variables"), compiler);
}

fn on(flag: &Option<At<bool>>) -> bool {
    flag.as_ref().is_some_and(|at| at.value)
}

fn needs_proof(persona: &Persona) -> bool {
    persona.user_id.is_some() || persona.injection.is_some()
}

fn check_secrets(tenant: &Entry<Tenant>, one: &Entry<Persona>, compiler: &mut Compiler<'_>) {
    let secrets = one.value.signing.as_ref().and_then(|at| at.value.secrets.as_ref());
    if let Some(at) = secrets.filter(|at| at.value.is_empty()) {
        let key = format!("tenants.{}.personas.{}.signing.secrets", tenant.name, one.name);
        let wrong = Wrong::new("the list is empty", "write secrets = [\"env:NAME\"]");
        compiler.problems.error(at.spot, key, wrong);
    }
}

fn check_variables(one: &Entry<Persona>, key: &str, compiler: &mut Compiler<'_>) {
    let names = one.value.variables.iter().flat_map(|list| &list.value);
    let names: Vec<_> = names.filter_map(|at| at.value.name.as_ref()).collect();
    for (index, at) in names.iter().enumerate() {
        let name = &*at.value.0;
        if RESERVED.contains(&name) {
            let what = format!("`{name}` has a meaning of its own in every launch");
            let wrong = Wrong::new(what, "give the variable another name");
            compiler.problems.error(at.spot, key, wrong);
        }
        if names[..index].iter().any(|other| other.value == at.value) {
            let wrong = Wrong::new(format!("`{name}` is declared twice"), "keep one of the two");
            compiler.problems.error(at.spot, key, wrong);
        }
    }
}
