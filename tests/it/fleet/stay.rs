//! Who stays with which server.

use super::*;

#[test]
fn a_session_stays_with_its_server_and_sessions_are_spread() {
    let replicas = ["a", "b", "c"].map(Replica::start);
    let proxy = start(&replicas.each_ref(), "balance = \"sticky\"", "");
    let mut seen = Vec::new();
    for _ in 0..16 {
        let cookie = launched(&proxy);
        let mut client = proxy.client();
        let home = asked(&mut client, &cookie);
        for _ in 0..3 {
            assert_eq!(asked(&mut client, &cookie), home);
        }
        assert_eq!(open(&proxy, &cookie).unwrap().1, home);
        seen.push(home);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["a", "b", "c"]);
}

#[test]
fn without_a_session_the_address_decides() {
    let replicas = ["a", "b", "c"].map(Replica::start);
    let proxy = start(&replicas.each_ref(), "balance = \"sticky\"", "");
    let mut client = proxy.client();
    let mut seen = Vec::new();
    for last in 1..20 {
        let from = format!("X-Forwarded-For: 192.0.2.{last}\r\n");
        let home = asked(&mut client, &from);
        assert_eq!(asked(&mut client, &from), home);
        seen.push(home);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["a", "b", "c"]);
}

#[test]
fn a_user_has_one_server_in_whatever_session() {
    let replicas = ["a", "b", "c"].map(Replica::start);
    let persona = "user_id = \"required\"\ntrust_asserted = true\nmode = \"customer\"";
    let proxy = start(&replicas.each_ref(), "balance = \"hash:user_id\"", persona);
    let mut homes = Vec::new();
    // Ports differ from run to run, and with them the homes: of so many one is empty once in a
    // hundred million runs.
    for user in 1..50 {
        let launch = || {
            let launch = format!(
                "GET /?mode=customer&user_id={user} HTTP/1.1\r\nHost: chat.test\r\n\
                 Sec-Fetch-Mode: navigate\r\nX-Forwarded-Proto: https\r\n\
                 Referer: https://www.acme.test/\r\nConnection: close\r\n\r\n"
            );
            let response = proxy.client().send(launch).read_response().unwrap();
            let cookie = response.field("set-cookie").unwrap_or_else(|| panic!("{response:?}"));
            let cookie = cookie.split(';').next().unwrap();
            asked(&mut proxy.client(), &format!("Cookie: {cookie}\r\nX-Forwarded-Proto: https\r\n"))
        };
        let home = launch();
        assert_eq!(launch(), home);
        homes.push(home);
    }
    homes.sort_unstable();
    homes.dedup();
    assert_eq!(homes, ["a", "b", "c"]);
}

#[test]
fn an_engine_io_connection_stays_whatever_address_its_polls_come_from() {
    let replicas = ["a", "b", "c"].map(Replica::start);
    let proxy = start(&replicas.each_ref(), "balance = \"sticky\"", "app = \"socketio\"");
    let mut client = proxy.client();
    let mut poll = |last: u8, sid: &str| {
        let request = format!(
            "GET /socket.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\nHost: chat.test\r\n\
             X-Forwarded-For: 192.0.2.{last}\r\nOrigin: http://chat.test\r\n\r\n"
        );
        let response = client.send(request).read_response().unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        response.text()
    };
    let mut begun = Vec::new();
    for first in 1..40 {
        let answer = poll(first, "");
        let sid = answer.split('"').nth(3).unwrap().to_owned();
        let home = sid.strip_prefix("sid-of-").unwrap().to_owned();
        for last in 50..60 {
            assert_eq!(poll(last, &format!("&sid={sid}")), home, "from address {last}");
        }
        begun.push(home);
    }
    begun.dedup();
    assert!(begun.len() > 1, "connections are spread");
}
