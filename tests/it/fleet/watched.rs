//! Health checks, ejection, and what a reload leaves alone.

use std::sync::{Arc, Mutex};

use vestibule::telemetry::warn::Warn;

use super::*;

const CHECKED: &str = "health = { path = \"/health\", interval = \"100ms\", timeout = \"1s\", \
                       healthy_threshold = 2, unhealthy_threshold = 2 }";

#[test]
fn a_server_that_checks_find_ill_is_left_alone_until_it_is_well() {
    let (one, two) = (Replica::start("a"), Replica::start("b"));
    let proxy = start(&[&one, &two], CHECKED, "");
    let mut client = proxy.client();
    assert_eq!(answering(&mut client, 4), "a b");
    one.set_well(false);
    wait_until("it is out", || states(&proxy) == "unhealthy healthy");
    assert_eq!(answering(&mut client, 4), "b");
    one.set_well(true);
    wait_until("it is back", || states(&proxy) == "healthy healthy");
    assert_eq!(answering(&mut client, 4), "a b");
}

#[test]
fn a_server_that_is_gone_fails_checks_by_tcp_too() {
    let (mut one, two) = (Replica::start("a"), Replica::start("b"));
    let tcp = "health = { interval = \"100ms\", unhealthy_threshold = 2 }";
    let proxy = start(&[&one, &two], tcp, "");
    wait_until("it was checked", || one.connections() > 0);
    one.kill();
    wait_until("it is out", || states(&proxy) == "unhealthy healthy");
    assert_eq!(answering(&mut proxy.client(), 4), "b");
    one.revive();
    wait_until("it is back", || states(&proxy) == "healthy healthy");
    assert_eq!(one.checks(), 0, "an open connection was enough");
}

#[test]
fn a_reload_keeps_what_is_known_of_servers_and_their_connections() {
    let (one, two, three) = (Replica::start("a"), Replica::start("b"), Replica::start("c"));
    one.set_well(false);
    let rarely = "health = { path = \"/health\", interval = \"1h\" }";
    let proxy = start(&[&one, &two], rarely, "");
    wait_until("the first check has decided", || states(&proxy) == "unhealthy healthy");
    let mut client = proxy.client();
    assert_eq!(answering(&mut client, 4), "b");
    wait_until("both are checked", || two.checks() == 1);
    let connections = two.connections();

    proxy.reload(&configuration(&[&three, &one, &two], rarely, "user_id = \"optional\""));
    assert_eq!(states(&proxy), "healthy unhealthy healthy");
    assert_eq!(answering(&mut client, 6), "b c");
    assert_eq!(two.connections(), connections, "idle connections are still used");
    assert_eq!((one.checks(), two.checks()), (1, 1), "nobody is asked again because of a reload");

    proxy.reload(&configuration(&[&one, &two], "", ""));
    assert_eq!(answering(&mut client, 4), "a b", "nobody is checked any more");
}

#[test]
fn a_server_that_fails_requests_is_left_alone_for_a_while() {
    let (mut one, two) = (Replica::start("a"), Replica::start("b"));
    let ejection = "ejection = { consecutive_failures = 3, base_time = \"3s\" }";
    let proxy = start(&[&one, &two], ejection, "");
    let mut client = proxy.client();
    assert_eq!(answering(&mut client, 4), "a b");
    one.kill();
    assert_eq!(answering(&mut client, 8), "b", "nobody notices");
    assert_eq!(states(&proxy), "ejected healthy");
    one.revive();
    let connections = one.connections();
    assert_eq!(answering(&mut client, 8), "b");
    assert_eq!(one.connections(), connections, "it is not even tried");
    wait_until("it is back", || states(&proxy) == "healthy healthy");
    assert_eq!(answering(&mut client, 4), "a b");
}

#[test]
fn where_every_server_is_ill_all_are_used() {
    let (one, two) = (Replica::start("a"), Replica::start("b"));
    one.set_well(false);
    two.set_well(false);
    let proxy = start(&[&one, &two], CHECKED, "");
    wait_until("both are ill", || states(&proxy) == "unhealthy unhealthy");
    assert_eq!(answering(&mut proxy.client(), 4), "a b");
}

#[test]
fn an_operator_is_told_of_a_server_that_is_out_and_of_its_return() {
    let (one, two) = (Replica::start("a"), Replica::start("b"));
    let text = configuration(&[&one, &two], CHECKED, "");
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let warn = Warn::new(move |what| heard.lock().unwrap().push(what.to_owned()));
    let proxy = Proxy::with_environment(&text, &|_| None, warn);
    one.set_well(false);
    wait_until("it is out", || states(&proxy) == "unhealthy healthy");
    one.set_well(true);
    wait_until("it is told of", || said.lock().unwrap().len() == 2);
    let server = format!("upstream app: the server {}", one.address);
    let expected = [" fails its health checks and is left alone", " is used again"];
    assert_eq!(*said.lock().unwrap(), expected.map(|what| format!("{server}{what}")));
}
