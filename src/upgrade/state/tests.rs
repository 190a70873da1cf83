use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::app::{App, Options};
use crate::policy::identity::SessionHash;
use crate::policy::injection::Injection;
use crate::policy::limits::{Charge, Client, Rate, Rules, address};
use crate::policy::session::SessionId;
use crate::policy::variables::Variables;
use crate::state::jar::KeptJar;
use crate::state::parked::Launched;
use crate::state::replay::UsedSignature;

const CONFIGURATION: &str = r#"
[server]
http = ["127.0.0.1:0"]
http_mode = "serve"
workers = 1
[telemetry]
access_log = "off"
[upstreams.app]
servers = ["http://127.0.0.1:9"]
[tenants.acme.personas.chat]
hosts = ["chat.test"]
upstream = "app"
[tenants.shop.personas.chat]
hosts = ["shop.test"]
upstream = "app"
"#;

fn app() -> App {
    let loaded = crate::config::load_str("test.toml", CONFIGURATION, Path::new("."));
    App::start(loaded.snapshot.unwrap(), Options::default()).unwrap()
}

/// Every message, through its bytes.
fn hand_over(from: &Shared, to: &Shared) -> Result<(), String> {
    let mut messages = Vec::new();
    let mut send = |message: &Message| {
        let mut frame = Vec::new();
        message.write(&mut frame);
        messages.push(frame);
        Ok(())
    };
    send_limits(from, &mut send).unwrap();
    send_rest(from, &mut send).unwrap();
    messages.iter().try_for_each(|frame| match Message::read(&frame[4..]).unwrap() {
        Message::Clock(nanos) => {
            import_clock(to, nanos);
            Ok(())
        }
        Message::State(batch) => import(to, batch),
        other => panic!("{other:?}"),
    })
}

fn id(number: u32) -> SessionId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    SessionId(id)
}

fn now() -> UnixSeconds {
    UnixSeconds::from(SystemTime::now())
}

fn later() -> UnixSeconds {
    UnixSeconds(now().0 + 3600)
}

fn rules() -> Rules {
    let rate = Rate::new(NonZeroU32::new(3).unwrap(), Duration::from_secs(60)).unwrap();
    Rules::new(rate, rate, None)
}

/// Whether one more launch of this client passes.
fn passes(shared: &Shared, tenant: &str, client: u32) -> bool {
    let client = Client::of(IpAddr::V4(Ipv4Addr::from_bits(client)));
    let (limiter, now) = (&shared.limiter, shared.moment());
    address(limiter, &rules(), (tenant, client), Charge::One, now).is_ok()
}

fn fill(shared: &Shared, tenant: &str, count: u32) {
    for number in 0..count {
        shared.sessions.revoke(tenant, id(number), later(), now()).unwrap();
        let variables = Variables::from_parts([("plan", "gold", true)]).unwrap();
        let launched = Launched {
            variables,
            injection: Injection::from_parts(None, Some("[\"Zoë\"]".into())),
        };
        let place = (&Arc::from("chat"), SessionHash::of(&id(number).0));
        shared.parked.park(tenant, place, launched, now(), later()).unwrap();
        let _ = passes(shared, tenant, number);
        let cookie = b"sid=1; Path=/";
        let _ = shared.jars.take(tenant, id(number), cookie, "/", now(), later());
    }
    let used = (0..count).map(|number| UsedSignature {
        persona: u64::from(number) << 32,
        proof: id(number).0,
        session: id(number),
        client: Client::V4(number),
        first: now(),
        until: later(),
        came_back: number % 2 == 0,
    });
    shared.replays.import(tenant, &used.collect::<Vec<_>>(), now()).unwrap();
}

#[test]
fn whatever_one_server_remembers_the_other_does_afterwards() {
    let (old, new) = (app(), app());
    let (old, new) = (old.shared(), new.shared());
    for tenant in ["acme", "shop"] {
        fill(old, tenant, 300);
    }
    while passes(old, "acme", 7) {}
    hand_over(old, new).unwrap();
    let by_session = |jar: &KeptJar| jar.session.0;
    for tenant in ["acme", "shop"] {
        let sorted = |shared: &Shared| {
            let mut ended = shared.sessions.export(tenant);
            ended.sort_by_key(|ended| ended.id.0);
            let mut used = shared.replays.export(tenant);
            used.sort_by_key(|used| used.proof);
            let mut parked = shared.parked.export(tenant);
            parked.sort_by_key(|parked| parked.session.as_str().to_owned());
            let mut jars = shared.jars.export(tenant);
            jars.sort_by_key(by_session);
            let mut limits = shared.limiter.export(tenant);
            limits.keys.sort_by_key(|key| key.0);
            (ended, used, parked, jars, limits)
        };
        let handed = sorted(new);
        assert_eq!((handed.0.len(), handed.1.len(), handed.2.len()), (300, 300, 300));
        assert_eq!(handed, sorted(old), "{tenant}");
    }
    assert!(new.sessions.is_revoked("acme", id(7)) && !new.sessions.is_revoked("acme", id(300)));
    assert!(!passes(new, "acme", 7), "used up before");
    assert!(passes(new, "acme", 8) && passes(new, "acme", 1_000));
    // Behind by the time that it was on its way.
    let ages = [new, old].map(|shared| shared.moment().nanos());
    assert!(ages[0] < ages[1] + 1_000_000_000 && ages[1] < ages[0] + 60_000_000_000, "{ages:?}");
}

#[test]
fn what_does_not_fit_fails_the_hand_over_and_who_is_unknown_does_not() {
    let old = app();
    fill(old.shared(), "acme", 3);
    let mut new = app();
    let text = CONFIGURATION.replace("acme", "other");
    let other = crate::config::load_str("test.toml", &text, Path::new("."));
    new.replace(other.snapshot.unwrap());
    hand_over(old.shared(), new.shared()).unwrap();
    assert_eq!(new.shared().replays.len(), 3, "the tenant may come back with the next reload");
    assert_eq!(new.shared().parked.sessions(), 0);
    new = app();
    let full = crate::state::replay::DEFAULT_CAPACITY as u32;
    let batches = batches("acme", Items::Used(used_by_others(full)));
    batches.into_iter().for_each(|batch| import(new.shared(), batch).unwrap());
    let error = hand_over(old.shared(), new.shared()).unwrap_err();
    assert!(error.contains("the tenant acme does not fit"), "{error}");
}

fn used_by_others(count: u32) -> Vec<UsedSignature> {
    let one = |number: u32| UsedSignature {
        persona: 1,
        proof: id(number).0,
        session: id(number),
        client: Client::V4(1),
        first: now(),
        until: later(),
        came_back: false,
    };
    (0..count).map(one).collect()
}
