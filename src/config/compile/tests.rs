use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Loader;
use crate::config::snapshot::{Mode, Persona, Snapshot};
use crate::policy::assertion::AssertionPolicy;
use crate::policy::identity::Identity;
use crate::policy::injection::InjectionPolicy;
use crate::policy::metadata::{MetadataPolicy, UserIdFormat, UserIdRule};
use crate::policy::origin::{AllowedOrigin, OpaqueLaunch, Opens};
use crate::policy::session::keys::PersonaKeys;
use crate::policy::session::{Purpose, Session, SessionId, UnixSeconds};
use crate::policy::signature::{Replay, basis, verify};
use crate::policy::variables::Source;

const NOW: UnixSeconds = UnixSeconds(1_763_683_200);

/// The tenant `shop` with these keys, followed by its personas; each of them gets a host and `app`.
fn load(server: &str, tenant: &str, personas: &[(&str, &str)]) -> Snapshot {
    let mut text = format!(
        "[server]\nhttp = [\"127.0.0.1:8080\"]\nhttp_mode = \"serve\"\n{server}\n\
         [upstreams.app]\nservers = [\"http://127.0.0.1:8501\"]\n[tenants.shop]\n{tenant}\n"
    );
    for (name, keys) in personas {
        text += &format!(
            "[tenants.shop.personas.{name}]\nhosts = [\"{name}.example\"]\n\
             upstream = \"app\"\n{keys}\n"
        );
    }
    let environment = |name: &str| {
        let byte = name.strip_prefix("SECRET_")?;
        Some(byte.repeat(32))
    };
    let loaded = Loader::new(&environment).load_str("test.toml", &text, Path::new(""));
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    loaded.snapshot.unwrap_or_else(|| panic!("{}", problems.join("\n")))
}

fn persona(snapshot: &Snapshot, name: &str) -> Arc<Persona> {
    let personas = &snapshot.tenants["shop"].personas;
    Arc::clone(personas.iter().find(|persona| &*persona.name == name).unwrap())
}

/// A tenant whose only persona has these keys.
fn bot(keys: &str) -> Arc<Persona> {
    persona(&load("", "", &[("bot", keys)]), "bot")
}

#[test]
fn a_launch_needs_what_the_persona_says() {
    let none = MetadataPolicy {
        mode: Mode::Public,
        user_id: UserIdRule::None,
        format: UserIdFormat::Token,
        allow_generated_id: false,
        trust_asserted: false,
        strict_config: false,
        bridge: false,
        signed: false,
    };
    let customer = MetadataPolicy {
        mode: Mode::Customer,
        user_id: UserIdRule::Required,
        format: UserIdFormat::Integer,
        trust_asserted: true,
        ..none
    };
    for (keys, expected) in [
        ("", none),
        ("bridge = true", MetadataPolicy { bridge: true, ..none }),
        (
            "user_id = \"optional\"\nallow_generated_id = true",
            MetadataPolicy { user_id: UserIdRule::Optional, allow_generated_id: true, ..none },
        ),
        ("mode = \"customer\"\nuser_id = \"required\"\ntrust_asserted = true", customer),
        (
            "mode = \"employee\"\nuser_id = \"required\"\ntrust_asserted = true\n\
             user_id_format = \"token\"\nstrict_config = true",
            MetadataPolicy {
                mode: Mode::Employee,
                format: UserIdFormat::Token,
                strict_config: true,
                ..customer
            },
        ),
        (
            "signed = true\nsigning = { secrets = [\"env:SECRET_X\"] }",
            MetadataPolicy { signed: true, ..none },
        ),
    ] {
        assert_eq!(bot(keys).metadata, expected, "{keys}");
    }
}

#[test]
fn a_page_that_hides_its_origin_may_launch_what_anybody_may() {
    for (keys, expected) in [
        ("", OpaqueLaunch::Free),
        ("mode = \"customer\"", OpaqueLaunch::Proven),
        ("mode = \"test\"", OpaqueLaunch::Proven),
        ("signed = true\nsigning = { secrets = [\"env:SECRET_X\"] }", OpaqueLaunch::Proven),
        ("jwt = { secret = \"env:X\" }", OpaqueLaunch::Proven),
    ] {
        assert_eq!(bot(keys).origin.opaque_launch, expected, "{keys}");
    }
}

#[test]
fn its_embedders_may_call_it_and_it_may_be_for_frames_alone() {
    let snapshot = load(
        "",
        "embed_origins = [\"https://www.shop.example\"]\n\
         sites.www = { hosts = [\"www.example\"], upstream = \"app\", embeds = [\"framed\"] }",
        &[("framed", "frame_only = true"), ("free", "")],
    );
    let embed = |name| {
        let origins = persona(&snapshot, name).origin.embed.clone();
        origins.iter().map(|origin| origin.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(embed("framed"), ["https://www.shop.example", "https://www.example"]);
    assert_eq!(embed("free"), ["https://www.shop.example"]);
    assert_eq!(persona(&snapshot, "framed").origin.opens, Opens::InFrames);
    assert_eq!(persona(&snapshot, "free").origin.opens, Opens::Anywhere);
}

#[test]
fn an_embedder_that_is_named_twice_is_one() {
    let snapshot = load(
        "",
        "embed_origins = [\"https://www.example\"]\n\
         sites.www = { hosts = [\"www.example\"], upstream = \"app\", embeds = [\"chat\"] }",
        &[("chat", "mode = \"public\"")],
    );
    let embed = &persona(&snapshot, "chat").origin.embed;
    let embed: Vec<&str> = embed.iter().map(AllowedOrigin::as_str).collect();
    assert_eq!(embed, ["https://www.example"]);
}

#[test]
fn limits_that_are_not_written_are_the_usual_ones() {
    for (tenant, ip, all, launcher) in [
        ("", 60, 200, None),
        ("limits = {}", 60, 200, None),
        ("limits = { tenant = \"500/h\", launcher = \"5/s\" }", 60, 500, Some(5)),
        ("limits = { ip = \"7/min\" }", 7, 200, None),
    ] {
        let rules = Arc::clone(&persona(&load("", tenant, &[("bot", "")]), "bot").rules);
        let counts = (rules.ip().count().get(), rules.tenant().count().get());
        assert_eq!(counts, (ip, all), "{tenant}");
        assert_eq!(rules.launcher().map(|rate| rate.count().get()), launcher, "{tenant}");
    }
}

#[test]
fn the_later_of_two_revocations_counts() {
    let early = "revoke_before = 2025-01-01T00:00:00Z";
    let late = "revoke_before = 2025-01-01T00:00:00-01:00";
    let (first, second) = (UnixSeconds(1_735_689_600), UnixSeconds(1_735_693_200));
    for (tenant, own, expected) in [
        ("", "", None),
        (early, "", Some(first)),
        ("", early, Some(first)),
        (early, late, Some(second)),
        (late, early, Some(second)),
    ] {
        let bot = persona(&load("", tenant, &[("bot", own)]), "bot");
        assert_eq!(bot.revoked_before, expected, "{tenant} {own}");
    }
}

/// Whether a session that `one` signed is one to `other`.
fn knows(one: &PersonaKeys, other: &PersonaKeys) -> bool {
    let identity = Identity::anonymous(Mode::Public, None);
    let lifetime = Purpose::Cookie.lifetime();
    let session = Session::start(SessionId([7; 16]), identity, NOW, lifetime);
    let token = one.mint(Purpose::Cookie, &session).unwrap();
    other.verify(Purpose::Cookie, token.as_str().as_bytes(), NOW).is_ok()
}

#[test]
fn secrets_rotate_and_a_random_one_survives_a_reload() {
    let keys = |server: &str| persona(&load(server, "", &[("bot", "")]), "bot").keys.clone();
    let old = keys("session_secrets = [\"env:SECRET_a\"]");
    let both = keys("session_secrets = [\"env:SECRET_b\", \"env:SECRET_a\"]");
    let new = keys("session_secrets = [\"env:SECRET_b\"]");
    assert!(knows(&old, &both) && knows(&both, &new));
    assert!(!knows(&old, &new) && !knows(&both, &old));
    assert!(knows(&keys(""), &keys("")), "without a secret, for the life of the process");
    assert!(!knows(&keys(""), &new));
}

const INTERNAL: &str = "[internal]\nlisten = \"127.0.0.1:9181\"\n";

#[test]
fn there_is_an_assertion_where_somebody_can_verify_it() {
    for (server, tenant, own, expected) in [
        ("", "", "", None),
        (INTERNAL, "", "", Some(60)),
        ("[internal]", "", "", None),
        ("", "assertion = {}", "", Some(60)),
        ("", "assertion = { ttl = \"2m\" }", "", Some(120)),
        ("", "assertion = { ttl = \"2m\" }", "assertion = { ttl = \"1h\" }", Some(3600)),
        ("", "", "assertion = { algorithm = \"HS256\", key = \"env:SECRET_k\" }", Some(60)),
    ] {
        let bot = persona(&load(server, tenant, &[("bot", own)]), "bot");
        let policy = bot.assertion.as_deref();
        let seconds = policy.map(|policy| policy.ttl.as_secs());
        assert_eq!(seconds, expected, "{server} {tenant} {own}");
        let names = policy.map(|policy| (&*policy.issuer, &*policy.audience));
        assert!(names.is_none_or(|names| names == ("vestibule", "shop/bot")), "{names:?}");
    }
}

#[test]
fn apps_can_ask_for_every_key_that_may_have_signed() {
    let secrets = "session_secrets = [\"env:SECRET_b\", \"env:SECRET_a\"]\n";
    let shared = "assertion = { algorithm = \"HS256\", key = \"env:SECRET_k\" }";
    let server = [secrets, INTERNAL].concat();
    let snapshot = load(&server, "", &[("one", ""), ("two", "assertion = {}"), ("hs", shared)]);
    let policy = |name: &str| Arc::clone(persona(&snapshot, name).assertion.as_ref().unwrap());
    let id = |policy: Arc<AssertionPolicy>| policy.key.id().to_owned();
    assert_eq!(id(policy("one")), id(policy("two")), "a key for each tenant");
    let published: Vec<_> = snapshot.assertion_keys().map(|key| key.id().to_owned()).collect();
    assert_eq!(published.len(), 2, "one for each session secret, and no shared one");
    assert_eq!(published[0], id(policy("one")));
    let old = load(&["session_secrets = [\"env:SECRET_a\"]\n", INTERNAL].concat(), "", &[]);
    assert_eq!(old.assertion_keys().next().unwrap().id(), published[1]);
}

#[test]
fn the_internal_listener_is_where_it_says() {
    let snapshot = load(INTERNAL, "", &[]);
    assert_eq!(snapshot.internal.listen, Some("127.0.0.1:9181".parse().unwrap()));
    assert_eq!(load("", "", &[]).internal.listen, None);
}

#[test]
fn a_launch_may_inject_where_the_persona_says_so() {
    for (keys, expected) in [
        ("", None),
        ("injection = {}", None),
        ("injection = { enabled = false }", None),
        ("trust_asserted = true\ninjection = { enabled = true }", Some(InjectionPolicy::Custom)),
        (
            "trust_asserted = true\ninjection = { enabled = true, persona = \"preset\" }",
            Some(InjectionPolicy::Preset),
        ),
    ] {
        assert_eq!(bot(keys).injection, expected, "{keys}");
    }
}

#[test]
fn a_launch_may_bring_the_variables_that_are_declared() {
    assert!(bot("").variables.is_empty());
    let bot = bot("variables = [{ name = \"user_name\" }, { name = \"plan\", source = \"body\" }]");
    let declared = bot.variables.iter().map(|one| (one.name(), one.source()));
    assert!(declared.eq([("plan", Source::Body), ("user_name", Source::Query)]));
}
#[test]
fn a_signed_persona_verifies_with_its_own_secrets_or_its_tenants() {
    let snapshot = load(
        "",
        "signing = { secrets = [\"env:SECRET_T\"], max_age = \"10m\", replay = \"once\" }",
        &[
            ("inherits", "signed = true\nforward_signature = true"),
            (
                "own",
                "signed = true\nvariables = [{ name = \"plan\" }]\n\
                 signing = { secrets = [\"env:SECRET_N\", \"env:SECRET_O\"], ignore = [\"gclid\"] }",
            ),
            ("unsigned", ""),
        ],
    );
    let signing = |name: &str| persona(&snapshot, name).signing.clone();
    assert!(signing("unsigned").is_none());
    let (inherits, own) = (signing("inherits").unwrap(), signing("own").unwrap());
    assert_eq!((inherits.replay(), inherits.max_age()), (Replay::Once, Duration::from_secs(600)));
    assert_eq!((own.replay(), own.max_age()), (Replay::Bind, Duration::from_secs(300)));
    let now = NOW.0 * 1000;
    let signed = inherits.sign("a=1", now).unwrap();
    let verified = verify(&inherits, Some(&signed), None, now, None).unwrap();
    assert_eq!(verified.forward_query().as_deref(), Some(&*signed));
    assert!(verify(&own, Some(&signed), None, now, None).is_err());
    let signed = own.sign("a=1&gclid=2", now).unwrap();
    let verified = verify(&own, Some(&signed), None, now, None).unwrap();
    assert_eq!(verified.forward_query().as_deref(), Some(&*format!("a=1&timestamp={now}")));
    let alone = bot("signed = true\nsigning = { secrets = [\"env:SECRET_O\"] }").signing.clone();
    let by_old = alone.unwrap().sign("a=1", now).unwrap();
    assert!(verify(&own, Some(&by_old), None, now, None).is_ok());
    // A declared variable is a claim, wherever it comes from; a direction is none.
    let mut session = Session::start(
        SessionId([1; 16]),
        Identity::anonymous(Mode::Public, None),
        NOW,
        Purpose::Cookie.lifetime(),
    );
    session.proof = Some(verified.proof());
    for (query, opens) in [("page=2", true), ("direction=rtl", true), ("plan=gold", false)] {
        let basis = basis(&own, Some(query), None, now, Some(&session));
        assert_eq!(basis.is_ok(), opens, "{query}");
    }
}
