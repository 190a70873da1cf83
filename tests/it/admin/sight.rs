//! The overview and the live feed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::harness::proxy::Builder;

/// As in `src/admin/live.rs`.
const WATCHERS: usize = 16;

/// Begins to watch.
fn watch(proxy: &Proxy) -> Client {
    let mut client = admin(proxy);
    let head = client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").read_head().unwrap();
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    assert_eq!(head.field("cache-control"), Some("no-store"));
    client
}

/// The next event: each is one chunk.
fn event(client: &mut Client) -> Value {
    let size = usize::from_str_radix(&client.read_line(), 16).unwrap();
    let event = String::from_utf8(client.read_exactly(size)).unwrap();
    assert_eq!(client.read_line(), "");
    let data = event.strip_prefix("event: overview\ndata: ").unwrap();
    serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap()
}

#[test]
fn the_overview_tells_what_is_going_on() {
    let upstream = app();
    let proxy = configured(upstream.address, "");
    let mut watcher = watch(&proxy);
    let first = event(&mut watcher);
    assert_eq!((&first["state"], &first["persona_count"]), (&"ready".into(), &1.into()));
    assert!(first["totals"].get("requests_per_s").is_none(), "one look tells no rate: {first}");
    for _ in 0..3 {
        assert_eq!(visit(&proxy, "a.test", "/"), 200);
    }
    assert_eq!(visit(&proxy, "a.test", "/broken"), 500);
    assert_eq!(visit(&proxy, "nobody.test", "/secret?token=hunter2"), 404);
    // What is told next may have been looked at before the last of these was counted.
    let told = loop {
        let told = event(&mut watcher);
        if told["totals"]["requests_total"] == 5 {
            break told;
        }
    };
    assert!(told["totals"]["requests_per_s"].as_f64().unwrap() > 0.0, "{told}");
    assert!(told["totals"]["p95_ms"].as_f64().unwrap() > 0.0, "{told}");
    let persona = &told["personas"][0];
    assert_eq!((&persona["tenant"], &persona["persona"]), (&"acme".into(), &"a".into()));
    assert_eq!((&persona["requests_total"], &persona["open"]["requests"]), (&4.into(), &0.into()));
    assert!(persona["p50_ms"].as_f64().unwrap() > 0.0, "{persona}");
    assert_eq!(told["personas"][1]["site"], "www", "what is idle is there too");
    assert_eq!(told["upstreams"][0]["name"], "app");
    assert_eq!(told["upstreams"][0]["servers"][0]["state"], "healthy");
    let refused = &told["rejections"][0];
    assert_eq!((&refused["code"], &refused["count"]), (&"not_found".into(), &1.into()));
    assert_eq!((&refused["per_minute"], &refused["personas"]), (&1.into(), &serde_json::json!([])));
    let recent = &told["recent_rejections"][0];
    assert_eq!(recent["reason"], "no persona or site has this address");
    assert_eq!(recent["trace_id"].as_str().unwrap().len(), 32);
    let text = told.to_string();
    assert!(!text.contains("hunter2") && !text.contains("secret"), "{text}");
    // What the watchers are told is told to whoever asks.
    let asked = json(&ask(&proxy, "GET", "/overview", "", ""));
    assert_eq!(asked["totals"]["requests_total"], 5);
    assert!(asked["totals"].get("requests_per_s").is_some());
}

#[test]
fn who_asks_alone_is_told_rates_too() {
    let upstream = app();
    let proxy = configured(upstream.address, "");
    assert_eq!(visit(&proxy, "a.test", "/"), 200);
    let overview = json(&ask(&proxy, "GET", "/overview", "", ""));
    assert_eq!(overview["totals"]["requests_per_s"], 0.0);
    assert!(overview["interval_s"].as_f64().unwrap() >= 1.0);
    assert_eq!(overview["telemetry"]["watchers"], 0);
}

#[test]
fn an_upstream_that_fails_is_told_of() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), "");
    let mut watcher = watch(&proxy);
    event(&mut watcher);
    assert_eq!(visit(&proxy, "a.test", "/"), 502);
    let told = loop {
        let told = event(&mut watcher);
        if told["totals"]["requests_total"] == 1 {
            break told;
        }
    };
    assert_eq!(told["recent_rejections"][0]["persona"], "a");
    assert_eq!(told["recent_rejections"][0]["code"], "upstream_unreachable");
    assert!(told["recent_rejections"][0].get("trace_id").is_some());
    assert_eq!(told["rejections"][0]["personas"][0]["persona"], "a");
    assert!(told["totals"]["errors_per_s"].as_f64().unwrap() > 0.0);
    assert!(told["upstreams"][0]["failures_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn so_many_may_watch_and_the_place_of_one_who_goes_is_free() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), "");
    let mut watchers: Vec<_> = (0..WATCHERS).map(|_| watch(&proxy)).collect();
    watchers.iter_mut().for_each(|watcher| _ = event(watcher));
    let refused = ask(&proxy, "GET", "/events", "", "");
    assert_eq!((refused.status, refused.code()), (503, "capacity_exhausted".to_owned()));
    assert!(refused.field("retry-after").is_some(), "{refused:?}");
    // Others are answered all the same.
    assert_eq!(ask(&proxy, "GET", "/overview", "", "").status, 200);
    drop(watchers.pop());
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let mut client = admin(&proxy);
        client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
        match client.read_head().unwrap().status {
            200 => break,
            _ => assert!(Instant::now() < until, "the place is never free"),
        }
    }
}

#[test]
fn the_feed_ends_with_the_server() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), "");
    let mut watcher = watch(&proxy);
    event(&mut watcher);
    drop(proxy);
    watcher.read_to_end();
}

#[test]
fn who_may_no_longer_ask_is_told_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef").unwrap();
    let proxy = configured("127.0.0.1:1".parse().unwrap(), "");
    let mut watcher = watch(&proxy);
    event(&mut watcher);
    proxy.reload(&format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"file:{}\"\n",
        file.display()
    ));
    // One event may be on its way.
    let rest = String::from_utf8(watcher.read_to_end()).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    assert!(rest.matches("event: overview").count() <= 1, "{rest}");
    assert_eq!(ask(&proxy, "GET", "/events", "", "").status, 401);
    assert_eq!(ask(&proxy, "GET", "/overview", "", "").status, 401);
}

#[test]
fn a_reader_that_takes_nothing_does_not_keep_others_from_it() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), "");
    let _slow = watch(&proxy);
    let mut quick = watch(&proxy);
    let one = event(&mut quick);
    let other = event(&mut quick);
    assert!(one["time"].as_str() < other["time"].as_str());
}

/// Keys of objects, by their path; elements of a list have the same.
fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                keys(value, &format!("{path}.{name}"), into);
            }
        }
        Value::Array(values) => values.iter().for_each(|it| keys(it, &format!("{path}[]"), into)),
        value => {
            let kind = match value {
                Value::String(_) => "text",
                Value::Bool(_) => "true or false",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "whole number",
                _ => "null",
            };
            into.insert(format!("{} {kind}", path.trim_start_matches('.')));
        }
    }
}

#[test]
fn scripts_can_rely_on_the_keys_of_the_overview() {
    use std::time::SystemTime;
    use vestibule::config::snapshot::{HeldBack, Serves};
    use vestibule::config::{Problem, Severity};
    use vestibule::policy::beacon::Outcome;
    use vestibule::reload::ReloadOutcome;

    let problem = Problem {
        severity: Severity::Error,
        file: "acme.toml".into(),
        line: 1,
        column: 1,
        key: "tenants.acme".into(),
        what: "what is wrong".into(),
        remedy: "what to write".into(),
    };
    let upstream = app();
    let builder = || {
        Builder::default()
            .with(|it| it.admin = true)
            .persona("a.test", "/", &[upstream.address])
            .persona("b.test", "/", &["127.0.0.1:1".parse().unwrap()])
    };
    let proxy = builder().start();
    let shared = proxy.app.shared();
    visit(&proxy, "a.test", "/");
    let problems = vec![problem.clone()];
    let refused = ReloadOutcome::Refused { problems: problems.clone() };
    shared.recent.reloaded(&refused, SystemTime::now());
    let applied = ReloadOutcome::Applied {
        warnings: Vec::new(),
        personas: 2,
        held_back: Vec::new(),
        took: Duration::from_millis(7),
    };
    shared.recent.reloaded(&applied, SystemTime::now());
    let took = Some(Duration::from_millis(80));
    shared.metrics.owners().iter().for_each(|owner| owner.handshake(Outcome::Ack, took));
    proxy.rebuild_with(&builder(), |snapshot| {
        snapshot.held_back.push(HeldBack {
            tenant: "late".into(),
            problems,
            since: SystemTime::now(),
            serves: Serves::LastGood,
        });
    });
    let mut found = BTreeSet::new();
    let mut watcher = watch(&proxy);
    event(&mut watcher);
    // What happens from now on has rates, and a last minute.
    for host in ["a.test", "b.test", "nobody.test"] {
        visit(&proxy, host, "/");
    }
    let told = loop {
        let told = event(&mut watcher);
        if told["totals"]["requests_total"] == 4 {
            break told;
        }
    };
    keys(&told, "", &mut found);
    let found = found.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/admin/overview.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(golden).parent().unwrap()).unwrap();
        std::fs::write(golden, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(golden).unwrap());
}
