//! Who may claim to be whom: combinations of a persona's keys that would let anyone in, and those
//! of which one half has no effect.

use super::super::error::Wrong;
use super::super::raw::{Persona, Tenant};
use super::super::reader::Entry;
use super::super::snapshot::{AppKind, Mode};
use super::super::source::{At, Spot};
use super::super::values::{UserId, UserIdFormat as Format};
use super::Compiler;
use crate::policy::metadata::{MetadataPolicy, UserIdFormat, UserIdRule};
use crate::policy::origin::{AllowedOrigin, OpaqueLaunch, Opens, OriginRules};

/// Parameters that have a meaning of their own in a launch.
pub const RESERVED: [&str; 9] = [
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

pub fn mode(persona: &Persona) -> Mode {
    persona.mode.as_ref().map_or(Mode::Public, |at| at.value)
}

/// What a launch must and may say about its user.
pub fn metadata(persona: &Persona) -> MetadataPolicy {
    let mode = mode(persona);
    MetadataPolicy {
        mode,
        user_id: match user_id(persona) {
            UserId::Required => UserIdRule::Required,
            UserId::Optional => UserIdRule::Optional,
            UserId::None => UserIdRule::None,
        },
        format: match persona.user_id_format.as_ref().map(|at| at.value) {
            Some(Format::Integer) => UserIdFormat::Integer,
            Some(Format::Token) => UserIdFormat::Token,
            None if matches!(mode, Mode::Customer | Mode::Employee) => UserIdFormat::Integer,
            None => UserIdFormat::Token,
        },
        allow_generated_id: on(&persona.allow_generated_id),
        trust_asserted: on(&persona.trust_asserted),
        strict_config: on(&persona.strict_config),
        bridge: on(&persona.bridge),
        signed: on(&persona.signed),
    }
}

/// Which pages may call it.
pub fn origin(persona: &Persona, embedders: Vec<AllowedOrigin>) -> OriginRules {
    let is_free = mode(persona) == Mode::Public && !on(&persona.signed) && persona.jwt.is_none();
    OriginRules {
        embed: embedders.into(),
        opens: if on(&persona.frame_only) { Opens::InFrames } else { Opens::Anywhere },
        opaque_launch: if is_free { OpaqueLaunch::Free } else { OpaqueLaunch::Proven },
    }
}

fn user_id(persona: &Persona) -> UserId {
    persona.user_id.as_ref().map_or(UserId::None, |at| at.value)
}

pub fn check(
    tenant: &Entry<Tenant>,
    one: &Entry<Persona>,
    embedders: &[AllowedOrigin],
    compiler: &mut Compiler<'_>,
) {
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
    if let Some(at) = persona.forward_signature.as_ref().filter(|at| at.value && !signed) {
        let what = "launches are not signed, so that the key has no effect";
        error(at.spot, "forward_signature", what, "add signed = true, or leave it out");
    }
    if let Some(at) = &persona.embed
        && persona.path.as_ref().is_some_and(|path| path.value == at.value)
    {
        let what = "the shell and the chat cannot have the same path";
        error(at.spot, "embed", what, "write another path, such as \"/embed/...\"");
    }
    check_user_id(persona, &key, compiler);
    check_documents(persona, embedders, &key, compiler);
}

/// Keys about a user id that say something about nothing.
fn check_user_id(persona: &Persona, key: &dyn Fn(&str) -> String, compiler: &mut Compiler<'_>) {
    // A rule that was written wrongly was reported; what would follow from it is not known.
    if compiler.problems.has_error_below(&key("user_id")) {
        return;
    }
    let (rule, mode) = (user_id(persona), mode(persona));
    let mut error = |spot: Spot, name: &str, what: &'static str, remedy: &'static str| {
        compiler.problems.error(spot, key(name), Wrong::new(what, remedy));
    };
    const OPTIONAL: &str = "write user_id = \"optional\"";
    const NO_USER_ID: &str = "launches have no user id, so that the key has no effect";
    const REQUIRE: &str = "write user_id = \"required\", or leave it out";
    if let Some(at) = persona.allow_generated_id.as_ref().filter(|at| at.value) {
        match rule {
            UserId::None => error(at.spot, "allow_generated_id", NO_USER_ID, OPTIONAL),
            // The launches of a test persona say themselves which rules they want.
            UserId::Required if mode != Mode::Test => {
                let what = "a user id that is made up where none came is not required";
                error(at.spot, "allow_generated_id", what, OPTIONAL);
            }
            UserId::Required | UserId::Optional => {}
        }
    }
    if let Some(at) = &persona.user_id_format {
        if rule == UserId::None {
            error(at.spot, "user_id_format", NO_USER_ID, OPTIONAL);
        } else if mode == Mode::Test {
            let what = "a test persona takes every format, so that the key has no effect";
            error(at.spot, "user_id_format", what, "leave it out");
        }
    }
    if let Some(at) = persona.strict_config.as_ref().filter(|at| at.value) {
        if rule != UserId::Required {
            let what = "launches without a user id are complete, so that the key has no effect";
            error(at.spot, "strict_config", what, REQUIRE);
        } else if on(&persona.signed) {
            let what = "a signed persona refuses a launch without a user id, so that the key has \
                        no effect";
            error(at.spot, "strict_config", what, "leave it out");
        }
    }
}

/// Keys about documents, of which some apps have none, and which somebody must be able to open.
fn check_documents(
    persona: &Persona,
    embedders: &[AllowedOrigin],
    key: &dyn Fn(&str) -> String,
    compiler: &mut Compiler<'_>,
) {
    let app = persona.app.as_ref().map_or(AppKind::Generic, |at| at.value);
    let flags = [
        ("bridge", &persona.bridge),
        ("strict_config", &persona.strict_config),
        ("frame_only", &persona.frame_only),
    ];
    if matches!(app, AppKind::Rasa | AppKind::SocketIo | AppKind::Sse) {
        for (name, flag) in flags {
            if let Some(at) = flag.as_ref().filter(|at| at.value) {
                let what = "apps of this kind serve no documents, so that the key has no effect";
                let remedy = "leave it out, or write app = \"streamlit\" or \"generic\"";
                compiler.problems.error(at.spot, key(name), Wrong::new(what, remedy));
            }
        }
        if let Some(at) = persona.signed.as_ref().filter(|at| at.value) {
            let what = "apps of this kind serve no documents, and only those are launched signed";
            let remedy =
                "write jwt = { secret = \"env:NAME\" }, or app = \"streamlit\" or \"generic\"";
            compiler.problems.error(at.spot, key("signed"), Wrong::new(what, remedy));
        }
    } else if let Some(at) = persona.frame_only.as_ref().filter(|at| at.value)
        && embedders.is_empty()
    {
        let what = "no page of another origin may embed it, so that hardly anything can open it";
        let remedy = "add embed_origins to the tenant, or embeds to one of its sites";
        compiler.problems.warning(at.spot, key("frame_only"), Wrong::new(what, remedy));
    }
}

fn on(flag: &Option<At<bool>>) -> bool {
    flag.as_ref().is_some_and(|at| at.value)
}

fn needs_proof(persona: &Persona) -> bool {
    persona.user_id.is_some() || persona.injection.is_some()
}
