//! What the server said, for people.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

/// A reader that has seen enough (`| head`) is no reason to fail.
fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

pub fn json(document: &Value) {
    out(&format!("{document:#}\n"));
}

pub fn reload(document: &Value) {
    for problem in document["problems"].as_array().into_iter().flatten() {
        eprintln!("{}", word(&problem["text"]));
    }
    let held_back = document["held_back"].as_array().into_iter().flatten();
    for tenant in held_back.clone() {
        for problem in tenant["problems"].as_array().into_iter().flatten() {
            eprintln!("{}", word(&problem["text"]));
        }
    }
    let first = word(&document["text"]).lines().next().unwrap_or_default();
    out(&format!("{first}\n"));
    held_back.for_each(|tenant| out(&held_back_text(tenant)));
}

fn held_back_text(tenant: &Value) -> String {
    let serves = match word(&tenant["serves"]) {
        "last_good" => "its last good version serves",
        _ => "its hosts answer 503",
    };
    format!("held back since {}: {}, {serves}\n", word(&tenant["since"]), word(&tenant["tenant"]))
}

pub fn drain(document: &Value, whose: &str) {
    let told = &document["told"];
    let within = document["within_s"].as_f64().unwrap_or_default();
    out(&match number(&told["events"]) + number(&told["websockets"]) + number(&told["requests"]) {
        0 => format!("{whose} has nothing open\n"),
        _ => format!("{whose}: {}, told to end within {within} s\n", counts(told)),
    });
}

pub fn status(status: &Value, connections: &Value, address: SocketAddr) {
    out(&status_text(status, connections, address));
}

fn status_text(status: &Value, connections: &Value, address: SocketAddr) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "Vestibule {} at {address}: {}, for {}, process {}",
        word(&status["version"]),
        word(&status["state"]),
        age(&status["uptime_s"]),
        status["pid"],
    );
    let _ = writeln!(
        text,
        "tenants: {}, personas: {}, sites: {}, workers: {}",
        status["tenants"], status["personas"], status["sites"], status["workers"]
    );
    for tenant in status["held_back"].as_array().into_iter().flatten() {
        text.push_str(&held_back_text(tenant));
    }
    let open = &status["connections"];
    let _ = writeln!(text, "connections: {} of {}", open["open"], open["allowed"]);
    upstreams(&mut text, &status["upstreams"]);
    let _ = writeln!(text, "open: {}", counts(&status["streams"]));
    for held in connections["holders"].as_array().into_iter().flatten() {
        let name = if held["persona"].is_null() { &held["site"] } else { &held["persona"] };
        let _ = writeln!(
            text,
            "  {}/{}: {}, the oldest for {}",
            word(&held["tenant"]),
            word(name),
            counts(held),
            age(&held["oldest_s"])
        );
    }
    text
}

/// How many servers are well, and which are not.
fn upstreams(text: &mut String, upstreams: &Value) {
    let upstreams = upstreams.as_object().into_iter().flatten();
    let servers = upstreams.flat_map(|(name, servers)| {
        servers.as_array().into_iter().flatten().map(move |server| (name, server))
    });
    let (well, others): (Vec<_>, Vec<_>) =
        servers.partition(|(_, server)| word(&server["state"]) == "healthy");
    let _ = writeln!(text, "upstream servers: {} healthy, {} not", well.len(), others.len());
    for (name, server) in others {
        let state = match word(&server["state"]) {
            "slow_start" => "starting slowly",
            state => state,
        };
        let _ = writeln!(text, "  {name}: {} is {state}", word(&server["address"]));
    }
}

fn counts(counts: &Value) -> String {
    let kinds = [
        ("websockets", "WebSocket", "WebSockets"),
        ("events", "event stream", "event streams"),
        ("requests", "request", "requests"),
    ];
    let open: Vec<_> = kinds
        .into_iter()
        .filter_map(|(key, one, many)| match number(&counts[key]) {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        })
        .collect();
    if open.is_empty() { "nothing".to_owned() } else { open.join(", ") }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn age(seconds: &Value) -> String {
    let seconds = seconds.as_f64().unwrap_or_default() as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_told_in_sentences() {
        let status = json!({
            "version": "0.1.0", "state": "ready", "uptime_s": 7300.5, "pid": 12, "tenants": 1,
            "personas": 2, "sites": 0, "workers": 4, "connections": { "open": 3, "allowed": 20_000 },
            "streams": { "requests": 0, "events": 1, "websockets": 2 },
            "upstreams": { "app": [
                { "address": "127.0.0.1:1", "state": "healthy", "weight": 100, "active": 3 },
                { "address": "127.0.0.1:2", "state": "slow_start", "weight": 30, "active": 0 },
            ] },
        });
        let connections = json!({ "holders": [
            { "tenant": "a", "persona": "b", "requests": 0, "events": 1, "websockets": 2, "oldest_s": 7.25 },
            { "tenant": "a", "site": "www", "requests": 1, "events": 0, "websockets": 0, "oldest_s": 0.1 },
        ] });
        let expected = "Vestibule 0.1.0 at 127.0.0.1:9180: ready, for 2 h, process 12\n\
                        tenants: 1, personas: 2, sites: 0, workers: 4\n\
                        connections: 3 of 20000\n\
                        upstream servers: 1 healthy, 1 not\n  \
                        app: 127.0.0.1:2 is starting slowly\n\
                        open: 2 WebSockets, 1 event stream\n  \
                        a/b: 2 WebSockets, 1 event stream, the oldest for 7 s\n  \
                        a/www: 1 request, the oldest for 0 s\n";
        let address = "127.0.0.1:9180".parse().unwrap();
        assert_eq!(status_text(&status, &connections, address), expected);
    }
}
