use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::Loader;
use crate::config::snapshot::{Mode, Persona, Snapshot};
use crate::internal::tests::{code, door, sent};
use crate::internal::{InternalServer, start};
use crate::policy::assertion::{AssertionPolicy, mint};
use crate::policy::identity::{Identity, Place, SessionHash};
use crate::policy::injection::{self, InjectionPolicy};
use crate::policy::query::pairs;
use crate::policy::session::UnixSeconds;
use crate::policy::variables;
use crate::state::parked::{Launched, Parked};

const NOW: UnixSeconds = UnixSeconds(1_763_683_200);
const LATER: UnixSeconds = UnixSeconds(NOW.0 + 3_600);

/// `shop` signs with keys of ours, both of its personas with one; `own` with one that its app has.
const CONFIGURATION: &str = r#"
[server]
http = ["127.0.0.1:8080"]
http_mode = "serve"
session_secrets = ["env:SESSION"]
[internal]
listen = "127.0.0.1:9181"
[upstreams.app]
servers = ["http://127.0.0.1:8501"]
[tenants.shop.personas.sales]
hosts = ["sales.example"]
upstream = "app"
trust_asserted = true
injection = { enabled = true }
variables = [{ name = "plan", source = "body" }, { name = "user_name" }]
[tenants.shop.personas.support]
hosts = ["support.example"]
upstream = "app"
[tenants.own]
assertion = { algorithm = "HS256", key = "env:OWN" }
[tenants.own.personas.bot]
hosts = ["bot.example"]
upstream = "app"
"#;

fn snapshot() -> Snapshot {
    let environment = |name: &str| (!name.starts_with("OTEL_")).then(|| name.repeat(16));
    let loaded = Loader::new(&environment).load_str("test.toml", CONFIGURATION, Path::new(""));
    loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

fn persona(snapshot: &Snapshot, tenant: &str, name: &str) -> Arc<Persona> {
    let personas = &snapshot.tenants[tenant].personas;
    Arc::clone(personas.iter().find(|one| &*one.name == name).unwrap())
}

fn hash(number: u8) -> SessionHash {
    SessionHash::of(&[number; 16])
}

fn identity() -> Identity {
    Identity { user_id: Some("12345".into()), ..Identity::anonymous(Mode::Public, Some("lobby")) }
}

/// As a worker mints it.
fn assertion(persona: &Persona, session: Option<SessionHash>, now: UnixSeconds) -> String {
    let place = Place { tenant: &persona.tenant, persona: &persona.name };
    mint(persona.assertion.as_ref().unwrap(), place, &identity(), session.as_ref(), now)
}

/// What session 1 of `sales` was launched with.
fn parked(sales: &Persona) -> Parked {
    let form = b"plan=gold&prefillMessages=[{\"type\":\"message\",\
        \"role\":\"user\",\"content\":\"Gr%C3%BC%C3%9Fe\"}]";
    let query = b"user_name=J%C3%B6hn";
    let launched = Launched {
        variables: variables::decide(&sales.variables, pairs(query), pairs(form)).unwrap(),
        injection: injection::decide(Some(InjectionPolicy::Custom), pairs(query), pairs(form))
            .unwrap(),
    };
    let parked = Parked::default();
    parked.follow(["shop", "own"]);
    parked.park("shop", (&sales.name, hash(1)), launched, NOW, LATER).unwrap();
    parked
}

fn serve(snapshot: &Arc<Snapshot>, parked: &Arc<Parked>) -> InternalServer {
    let (snapshot, parked) = (Arc::clone(snapshot), Arc::clone(parked));
    let launch = move |assertion: &str| super::launch(&snapshot, &parked, assertion, NOW);
    start(door(), |_| None, launch).unwrap()
}

/// A server, and the personas `sales`, `support` and `bot`.
fn server() -> (InternalServer, [Arc<Persona>; 3]) {
    let snapshot = Arc::new(snapshot());
    let find = |(tenant, name)| persona(&snapshot, tenant, name);
    let personas = [("shop", "sales"), ("shop", "support"), ("own", "bot")].map(find);
    let server = serve(&snapshot, &Arc::new(parked(&personas[0])));
    (server, personas)
}

fn ask(server: &InternalServer, fields: &str) -> String {
    sent(server, &format!("GET /v1/launch HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
}

fn told(server: &InternalServer, assertion: &str) -> Value {
    let answer = ask(server, &format!("Authorization: Bearer {assertion}\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = head.to_lowercase();
    assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
    assert!(head.contains("\r\ncache-control: no-store"), "{head}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn an_app_learns_what_its_session_was_launched_with() {
    let (server, [sales, ..]) = server();
    let expected = json!({
        "tenant": "shop", "persona": "sales", "device": "lobby", "mode": "public",
        "user_id": "12345", "assurance": "asserted", "session": hash(1).as_str(),
        "variables": { "plan": "gold", "user_name": "Jöhn" },
        "instructionOverrides": {},
        "prefillMessages": [{ "type": "message", "role": "user", "content": "Grüße" }],
    });
    let assertion = assertion(&sales, Some(hash(1)), NOW);
    assert_eq!(told(&server, &assertion), expected);
    for spelling in ["authorization: bearer ", "AUTHORIZATION: BEARER  "] {
        let answer = ask(&server, &format!("{spelling}{assertion}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_session_that_brought_nothing_has_its_identity() {
    let (server, [sales, support, bot]) = server();
    for (assertion, session) in [
        (assertion(&sales, Some(hash(2)), NOW), Some(hash(2))),
        (assertion(&sales, None, NOW), None),
        // The same tenant's key, and another persona's session.
        (assertion(&support, Some(hash(1)), NOW), Some(hash(1))),
        (assertion(&bot, Some(hash(1)), NOW), Some(hash(1))),
    ] {
        let told = told(&server, &assertion);
        assert_eq!(told["user_id"], "12345");
        assert_eq!(told["session"].as_str(), session.as_ref().map(SessionHash::as_str));
        assert_eq!(told["variables"], json!({}), "{told}");
        assert_eq!(told["instructionOverrides"], json!({}));
        assert_eq!(told["prefillMessages"], json!([]));
    }
}

#[test]
fn nothing_but_a_valid_assertion_counts() {
    let (server, [sales, support, bot]) = server();
    let good = assertion(&sales, Some(hash(1)), NOW);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let old = assertion(&sales, Some(hash(1)), UnixSeconds(NOW.0 - 60));
    let others = assertion(&support, Some(hash(1)), NOW);
    let (others_input, _) = others.rsplit_once('.').unwrap();
    // Signed with the key that the tenant `own` knows, in the name of `shop`.
    let own = bot.assertion.as_ref().unwrap();
    let forged = |audience: &str| {
        let audience = audience.into();
        let policy = AssertionPolicy {
            key: own.key.clone(),
            issuer: own.issuer.clone(),
            audience,
            ttl: own.ttl,
        };
        let place = Place { tenant: "shop", persona: "sales" };
        mint(&policy, place, &identity(), Some(&hash(1)), NOW)
    };
    let of_nobody = mint(own, Place { tenant: "x", persona: "y" }, &identity(), None, NOW);
    for fields in [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization: Bearer a.b.c\r\n".to_owned(),
        format!("Authorization: Basic {good}\r\n"),
        format!("Authorization: {good}\r\n"),
        format!("X-Vestibule-Assertion: {good}\r\n"),
        format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n"),
        format!("Authorization: Bearer {good}, Bearer {good}\r\n"),
        format!("Authorization: Bearer {input}.\r\n"),
        format!("Authorization: Bearer {others_input}.{signature}\r\n"),
        format!("Authorization: Bearer {old}\r\n"),
        format!("Authorization: Bearer {}\r\n", forged("shop/sales")),
        format!("Authorization: Bearer {}\r\n", forged("own/bot")),
        format!("Authorization: Bearer {of_nobody}\r\n"),
    ] {
        let answer = ask(&server, &fields);
        assert_eq!(code(&answer), "401 assertion_invalid", "{fields}");
        assert!(answer.to_lowercase().contains("\r\nwww-authenticate: bearer\r\n"), "{answer}");
    }
}

#[test]
fn it_is_only_read_and_only_under_this_name() {
    let (server, [sales, ..]) = server();
    let bearer = format!("Authorization: Bearer {}\r\n", assertion(&sales, Some(hash(1)), NOW));
    for (line, expected) in [
        ("POST /v1/launch", "405 method_not_allowed"),
        ("GET /v1/launch/", "404 not_found"),
        ("GET /v1/Launch", "404 not_found"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\n");
        assert_eq!(code(&sent(&server, &request)), expected, "{line}");
    }
    let request = format!("HEAD /v1/launch HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\n");
    let answer = sent(&server, &request);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    let page = ask(&server, &format!("{bearer}Origin: http://localhost\r\n"));
    assert_eq!(code(&page), "403 origin_not_allowed");
}

#[test]
fn everything_that_can_be_injected_in_chinese_is_told() {
    let message =
        format!(r#"{{"type":"message","role":"user","content":"{}"}}"#, "中".repeat(2_000));
    let form = format!("prefillMessages=[{}]", vec![message; 50].join(","));
    let snapshot = Arc::new(snapshot());
    let sales = persona(&snapshot, "shop", "sales");
    let parked = Arc::new(parked(&sales));
    let injection = injection::decide(sales.injection, [], pairs(form.as_bytes())).unwrap();
    let launched = Launched { injection, ..Launched::default() };
    parked.park("shop", (&sales.name, hash(3)), launched, NOW, LATER).unwrap();
    let server = serve(&snapshot, &parked);
    let told = told(&server, &assertion(&sales, Some(hash(3)), NOW));
    let messages = told["prefillMessages"].as_array().unwrap();
    assert_eq!(messages.len(), 50);
    assert!(messages.iter().all(|one| one["content"] == "中".repeat(2_000)));
}
