//! The checks against a stand-in for the door: all pass where it does its work, and each fault is
//! noticed by the lines that are there for it.

mod firewall;
mod stand_in;

use std::sync::{Arc, Mutex};

use super::*;
use crate::demo::backend::{Backend, Trust};
use stand_in::{Fault, StandIn};

/// The lines that fail, with what was seen.
fn failures(fault: Fault) -> Vec<String> {
    let backend = Backend::start(Trust { command: "trust it".into() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let mut report = Report::new(move |line| sink.lock().unwrap().push(line.to_owned()));
    runtime.block_on(async {
        let door = StandIn::start(backend.address(), fault).await;
        let client = Client::new(door.address, door.ca.pem()).unwrap();
        everything(&client, &mut report).await;
    });
    report.finish();
    let lines = lines.lock().unwrap();
    let failed = lines.iter().filter_map(|line| line.strip_prefix("FAIL "));
    failed.map(str::to_owned).collect()
}

#[track_caller]
fn check(fault: Fault, expected: &[&str]) {
    let failed = failures(fault);
    assert_eq!(failed.len(), expected.len(), "{failed:#?}");
    for (line, part) in failed.iter().zip(expected) {
        assert!(line.contains(part), "“{part}” is not in “{line}”");
    }
}

#[test]
fn a_door_that_does_its_work_passes() {
    check(Fault::None, &[]);
}

#[test]
fn a_door_that_buffers_streams_is_noticed() {
    check(Fault::Buffers, &["server-sent events"]);
}

#[test]
fn a_door_that_believes_its_client_is_noticed() {
    check(
        Fault::BelievesClient,
        &["forged X-Forwarded-For", "forged identity headers", "by server-sent", "by WebSocket"],
    );
}

#[test]
fn a_door_that_gives_no_request_id_is_noticed() {
    check(
        Fault::NoRequestId,
        &["the app is told", "forged", "an id of its own", "request id of the WebSocket"],
    );
}

#[test]
fn a_door_without_a_gate_is_noticed() {
    check(
        Fault::NoGate,
        &["beside Transfer-Encoding", "two Hosts", "/%2e%2e/x", "/a//b", "/a%2fb", "/%00"],
    );
}

#[test]
fn a_door_that_shows_any_certificate_and_serves_any_host_is_noticed() {
    check(Fault::AnyName, &["unknown host", "another certificate's connection"]);
}

#[test]
fn a_door_that_rewrites_queries_is_noticed() {
    check(Fault::RewritesQuery, &["URL fallback"]);
}

#[test]
fn a_door_that_opens_streams_before_anybody_is_known_is_noticed() {
    check(
        Fault::OpensAwaiting,
        &[
            "its event stream gets 401",
            "its message gets 401",
            "its WebSocket",
            "completes nothing",
        ],
    );
}

#[test]
fn a_door_that_takes_any_launch_is_noticed() {
    check(
        Fault::TakesAnyLaunch,
        &[
            "403 mode_mismatch",
            "400 user_id_missing",
            "400 user_id_invalid",
            "400 parameter_duplicate",
            "400 metadata_contradiction",
            "in another mode is refused",
        ],
    );
}

#[test]
fn a_door_that_any_page_may_call_is_noticed() {
    check(Fault::AnyOrigin, &["what another page tells is not", "of another page are refused"]);
}

#[test]
fn a_door_that_does_not_tell_a_socket_who_is_asking_is_noticed() {
    check(
        Fault::SilentSockets,
        &[
            "user id and request id of the WebSocket",
            "nor do they by WebSocket",
            "the same session",
        ],
    );
}

#[test]
fn a_door_that_is_careless_with_sessions_is_noticed() {
    check(Fault::KeepsSessions, &["another user's launch ends"]);
    check(Fault::SharesSessions, &["worth nothing at the employees'"]);
    check(Fault::TakesAlteredSessions, &["one letter changed"]);
}

#[test]
fn a_door_without_a_limit_is_noticed() {
    check(Fault::NoLimit, &["more than 60 launches"]);
}
