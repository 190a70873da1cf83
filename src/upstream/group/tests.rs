use std::time::Duration;

use super::*;
use crate::policy::identity::SessionHash;
use crate::upstream::policy::{CircuitLimits, EjectionPolicy, RetryPolicy};

/// An upstream with servers at these ports of the loopback address; their ids are the ports.
pub fn upstream(name: &str, ports: &[u16], change: impl FnOnce(&mut Upstream)) -> Arc<Upstream> {
    let server = |&port: &u16| Server {
        address: ServerAddress::Ip(SocketAddr::from(([127, 0, 0, 1], port))),
        tls: None,
        id: ServerId(port.into()),
    };
    let mut upstream = Upstream {
        name: name.into(),
        servers: ports.iter().map(server).collect(),
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
        meters: Default::default(),
        policy: Policy::default(),
    };
    change(&mut upstream);
    Arc::new(upstream)
}

fn group(ports: &[u16], change: impl FnOnce(&mut Upstream)) -> Arc<Group> {
    Arc::new(Group::new(0, &upstream("app", ports, change), Instant::now()))
}

fn port(member: &Member) -> u16 {
    match member.server.address {
        ServerAddress::Ip(address) => address.port(),
        _ => 0,
    }
}

/// The ports that requests in turn would be sent to.
pub fn used(group: &Group) -> Vec<u16> {
    let policy = &Policy::default();
    let picked = (0..group.members().len() as u64)
        .map(|turn| port(group.pick(policy, &Key::default(), turn, &[]).unwrap().member()));
    let mut ports: Vec<u16> = Vec::new();
    picked.for_each(|port| {
        if !ports.contains(&port) {
            ports.push(port);
        }
    });
    ports
}

fn member(group: &Group, wanted: u16) -> Arc<Member> {
    group.members().into_iter().find(|member| port(member) == wanted).unwrap()
}

fn session(number: u8) -> Key {
    Key::session("acme", &SessionHash::of(&[number; 16]))
}

fn pick(group: &Group, key: &Key) -> u16 {
    port(group.pick(&group.upstream().policy, key, 0, &[]).unwrap().member())
}

fn take_out(group: &Group, port: u16, now: Instant) {
    group.checked(&member(group, port), false, &HealthPolicy::default(), now);
    (0..2).for_each(|_| group.checked(&member(group, port), false, &HealthPolicy::default(), now));
}

fn bring_back(group: &Group, port: u16, now: Instant) {
    (0..2).for_each(|_| group.checked(&member(group, port), true, &HealthPolicy::default(), now));
}

#[test]
fn a_server_that_is_out_gets_nothing_until_it_is_back() {
    let group = group(&[1, 2, 3], |_| {});
    let now = Instant::now();
    assert_eq!(used(&group), [1, 2, 3]);
    take_out(&group, 2, now);
    assert_eq!(used(&group), [1, 3]);
    bring_back(&group, 2, now);
    assert_eq!(used(&group), [1, 2, 3]);
}

#[test]
fn where_none_is_usable_all_are_used() {
    let group = group(&[1, 2], |_| {});
    let now = Instant::now();
    take_out(&group, 1, now);
    assert_eq!(used(&group), [2]);
    take_out(&group, 2, now);
    assert_eq!(used(&group), [1, 2]);
}

#[test]
fn where_too_few_are_usable_all_are_used() {
    let group = group(&[1, 2, 3, 4], |upstream| upstream.policy.panic_threshold = 50);
    let now = Instant::now();
    take_out(&group, 1, now);
    take_out(&group, 2, now);
    assert_eq!(used(&group), [3, 4]);
    take_out(&group, 3, now);
    assert_eq!(used(&group), [1, 2, 3, 4]);
}

#[test]
fn no_more_servers_are_ejected_than_may_be() {
    let check = |ports: &[u16], max_percent, expected: &[u16]| {
        let ejection = EjectionPolicy { max_percent, ..EjectionPolicy::default() };
        let group = group(ports, |upstream| upstream.policy.ejection = ejection);
        let now = Instant::now();
        for port in ports {
            (0..9).for_each(|_| group.failed(&member(&group, *port), Failed::Unreached, now));
        }
        assert_eq!(used(&group), expected, "{max_percent} % of {ports:?}");
    };
    check(&[1], 50, &[1]);
    check(&[1, 2], 50, &[2]);
    check(&[1, 2, 3], 50, &[2, 3]);
    check(&[1, 2, 3, 4], 50, &[3, 4]);
    check(&[1, 2], 0, &[1, 2]);
}

#[test]
fn an_ejected_server_comes_back_by_itself() {
    let group = group(&[1, 2], |_| {});
    let now = Instant::now();
    (0..5).for_each(|_| group.failed(&member(&group, 1), Failed::Unreached, now));
    assert_eq!(used(&group), [2]);
    group.tick(now + Duration::from_secs(9));
    assert_eq!(used(&group), [2]);
    group.tick(now + Duration::from_secs(10));
    assert_eq!(used(&group), [1, 2]);
    assert!(member(&group, 1).is_troubled());
    group.succeeded(&member(&group, 1));
    assert!(!member(&group, 1).is_troubled());
}

#[test]
fn a_request_tries_each_server_once_and_no_more_than_it_may() {
    let check = |max, expected| {
        let group = group(&[1, 2, 3], |upstream| {
            upstream.policy.retries = RetryPolicy { max, ..RetryPolicy::default() };
        });
        let (policy, mut tried, mut ports) = (&group.upstream().policy, Vec::new(), Vec::new());
        while let Ok(lease) = group.pick(policy, &Key::default(), 1, &tried) {
            tried.push(lease.member().id);
            ports.push(port(lease.member()));
        }
        assert_eq!(ports, expected, "{max} retries");
    };
    check(3, vec![2, 3, 1]);
    check(1, vec![2, 3]);
    check(0, vec![2]);
}

#[test]
fn a_server_that_is_out_is_tried_after_the_others() {
    let group = group(&[1, 2], |_| {});
    take_out(&group, 1, Instant::now());
    let policy = &group.upstream().policy;
    let first = group.pick(policy, &Key::default(), 0, &[]).unwrap();
    let second = group.pick(policy, &Key::default(), 0, &[first.member().id]).unwrap();
    assert_eq!([port(first.member()), port(second.member())], [2, 1]);
}

#[test]
fn connections_and_waiting_requests_are_counted_and_limited() {
    let limits = CircuitLimits { max_connections: Some(2), max_pending: Some(1) };
    let group = group(&[1, 2], |upstream| upstream.policy.limits = limits);
    let policy = &group.upstream().policy;
    let pick = || group.pick(policy, &Key::default(), 0, &[]);
    let (one, two) = (pick().unwrap(), pick().unwrap());
    assert_eq!(pick().map(drop), Err(Refused::Overloaded));
    drop(one);
    let three = pick().unwrap();
    assert_eq!(pick().map(drop), Err(Refused::Overloaded));
    drop((two, three));
    assert!(pick().is_ok());

    let waiting = group.wait(policy, false).unwrap();
    assert_eq!(group.wait(policy, false).map(drop), Err(Refused::Overloaded));
    drop(waiting);
    assert!(group.wait(policy, true).is_ok());
    assert_eq!(group.load(&group.members.load()), Load { active: 0, pending: 0, retrying: 0 });
}

#[test]
fn streams_at_a_server_that_has_left_still_count() {
    let limits = CircuitLimits { max_connections: Some(1), max_pending: None };
    let change = |upstream: &mut Upstream| upstream.policy.limits = limits;
    let group = group(&[1], change);
    let stream = group.pick(&group.upstream().policy, &Key::default(), 0, &[]).unwrap();
    let after = upstream("app", &[2], change);
    group.follow(&after, Instant::now());
    let pick = || group.pick(&after.policy, &Key::default(), 0, &[]);
    assert_eq!(pick().map(drop), Err(Refused::Overloaded));
    drop(stream);
    assert_eq!(port(pick().unwrap().member()), 2);
    group.tick(Instant::now());
    assert!(group.members.load().leaving.is_empty());
}

#[test]
fn the_least_busy_server_is_asked() {
    let group = group(&[1, 2], |upstream| upstream.policy.balance = Balance::LeastConnections);
    let one = group.pick(&group.upstream().policy, &Key::default(), 0, &[]).unwrap();
    assert_eq!(port(one.member()), 1);
    assert_eq!([pick(&group, &session(1)), pick(&group, &session(1))], [2, 2]);
}

#[test]
fn a_user_goes_back_to_the_server_that_hashing_says_as_soon_as_it_is_back() {
    let group = group(&[1, 2, 3], |upstream| upstream.policy.balance = Balance::HashUserId);
    let now = Instant::now();
    for user in ["1", "2", "3", "4", "5"] {
        let key = Key::user("acme", user);
        let home = pick(&group, &key);
        take_out(&group, home, now);
        let next = pick(&group, &key);
        assert_ne!(next, home);
        bring_back(&group, home, now);
        assert_eq!(pick(&group, &key), home);
    }
}

#[test]
fn a_session_stays_with_the_server_it_was_moved_to() {
    let group = group(&[1, 2, 3], |upstream| upstream.policy.balance = Balance::Sticky);
    let now = Instant::now();
    let home = pick(&group, &session(1));
    take_out(&group, home, now);
    let next = pick(&group, &session(1));
    assert_ne!(next, home);
    bring_back(&group, home, now);
    assert_eq!(pick(&group, &session(1)), next, "what it has is there now");
    take_out(&group, next, now);
    assert_eq!(pick(&group, &session(1)), home);
}

#[test]
fn a_session_with_an_open_stream_stays_when_servers_are_added() {
    let sticky = |upstream: &mut Upstream| upstream.policy.balance = Balance::Sticky;
    let group = group(&[1, 2], sticky);
    let before: Vec<_> = (0..50).map(|number| pick(&group, &session(number))).collect();
    let streams: Vec<_> = (0..25)
        .map(|number| {
            let at = member(&group, before[usize::from(number)]);
            group.stream(Balance::Sticky, &session(number), &at)
        })
        .collect();
    group.follow(&upstream("app", &[1, 2, 3, 4, 5], sticky), Instant::now());
    let after: Vec<_> = (0..50).map(|number| pick(&group, &session(number))).collect();
    assert_eq!(before[..25], after[..25]);
    assert_ne!(before[25..], after[25..]);
    assert!(streams.iter().all(Option::is_some));
}

#[test]
fn an_engine_io_connection_stays_whatever_address_it_comes_from() {
    let group = group(&[1, 2, 3, 4], |upstream| upstream.policy.balance = Balance::Sticky);
    let from = |last| Key::address("shop", [192, 0, 2, last].into());
    let begun = pick(&group, &from(1));
    group.begun(&from(1), b"abc", &member(&group, begun));
    for last in 0..50 {
        assert_eq!(pick(&group, &from(last).with_sid(Some(b"abc"))), begun);
    }
}

/// The addresses that a name stands for, one answer after the other.
#[test]
fn all_addresses_of_a_name_are_used_and_those_that_stay_keep_their_condition() {
    let named = |upstream: &mut Upstream| {
        upstream.servers[0].address = ServerAddress::Name("app.test".into(), 80);
    };
    let group = group(&[9], named);
    let now = Instant::now();
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let resolve = |ports: &[u16]| {
        let addresses: Vec<_> = ports.iter().map(|&port| address(port)).collect();
        group.resolved(ServerId(9), &addresses, now);
    };
    assert_eq!(used(&group), [0], "the name itself, until it was resolved");
    resolve(&[1, 2]);
    assert_eq!(used(&group), [1, 2]);
    take_out(&group, 1, now);
    let kept = member(&group, 2).id;
    resolve(&[2, 1, 3]);
    assert_eq!(used(&group), [2, 3]);
    assert_eq!(member(&group, 2).id, kept);
    resolve(&[]);
    assert_eq!(used(&group), [2, 3], "an empty answer is no answer");
    group.follow(&upstream("app", &[9], named), now);
    assert_eq!(used(&group), [2, 1, 3], "nobody checks them any more, and no name was forgotten");
}

#[test]
fn what_operators_are_told() {
    let group = group(&[1, 2, 3], |upstream| upstream.policy.slow_start = Duration::from_secs(10));
    let now = Instant::now();
    take_out(&group, 1, now);
    (0..5).for_each(|_| group.failed(&member(&group, 2), Failed::Unreached, now));
    let states = |now| group.status(now).into_iter().map(|it| it.state).collect::<Vec<_>>();
    assert_eq!(states(now), [State::Unhealthy, State::Ejected, State::Healthy]);
    bring_back(&group, 1, now);
    assert_eq!(states(now), [State::SlowStart, State::Ejected, State::Healthy]);
    assert_eq!(group.status(now)[0].address, "127.0.0.1:1");
}
