use super::*;
use crate::policy::limits::Rules;

fn meters() -> Arc<OwnerMeters> {
    let key = OwnerKey { tenant: "acme".into(), role: None, name: "sales".into() };
    Arc::new(OwnerMeters::new(key))
}

fn answered(status: u16) -> Tally {
    Tally { status: StatusCode::from_u16(status).ok(), ..Tally::default() }
}

#[test]
fn every_method_class_and_version_has_a_place_of_its_own() {
    let meters = meters();
    let mut places = std::collections::BTreeSet::new();
    for name in METHODS {
        let method = Method::from_bytes(name.as_bytes()).unwrap();
        for version in VERSIONS {
            for (class, class_name) in CLASSES.into_iter().enumerate() {
                let tally = match class {
                    0 => Tally::default(),
                    class => answered(class as u16 * 100),
                };
                Measured::new(&meters, &method, version).ends(Instant::now(), &tally);
                let told = meters.requests().find(|(method, told, spoken, _)| {
                    (*method, *told, *spoken) == (name, class_name, version)
                });
                assert_eq!(told.map(|told| told.3.count()), Some(1), "{name} {class}");
                places.insert((name, class, version.as_str()));
            }
        }
    }
    assert_eq!(meters.requests().count(), places.len());
    assert_eq!(places.len(), REQUESTS);
}

#[test]
fn what_is_no_common_method_is_other() {
    let meters = meters();
    for name in ["TRACE", "PROPFIND", "get"] {
        let method = Method::from_bytes(name.as_bytes()).unwrap();
        Measured::new(&meters, &method, Version::Http11).ends(Instant::now(), &answered(405));
    }
    let told: Vec<_> = meters.requests().map(|(name, class, ..)| (name, class)).collect();
    assert_eq!(told, [("_OTHER", "4xx")]);
}

#[test]
fn a_status_that_is_none_of_http_is_in_the_last_class() {
    assert_eq!(CLASSES[class(StatusCode::from_u16(999).ok())], "5xx");
}

#[test]
fn rejections_are_counted_by_code_and_limits_by_bucket() {
    let meters = meters();
    for code in Code::ALL {
        meters.rejected(&Rejection::new(*code, "a test"));
    }
    meters.rejected(&Rejection::new(Code::NotFound, "a test"));
    let told: Vec<_> = meters.rejections().collect();
    assert_eq!(told.len(), Code::ALL.len());
    for (code, count) in told {
        assert_eq!(count, if code == Code::NotFound { 2 } else { 1 });
    }
    assert_eq!(meters.limited().count(), 0);
    for (place, name) in BUCKETS.into_iter().enumerate() {
        assert_eq!(bucket(name), place);
    }
}

#[test]
fn a_limit_that_refuses_is_named() {
    use crate::policy::limits::{Client, Moment, address};
    use crate::state::limits::Limiter;

    let (meters, limiter, rules) = (meters(), Limiter::default(), Rules::default());
    limiter.follow(["acme"]);
    let refusals = (0..70).filter_map(|_| {
        let charge = crate::policy::limits::Charge::One;
        address(&limiter, &rules, ("acme", Client::V4(1)), charge, Moment::START).err()
    });
    refusals.for_each(|limited| meters.rejected(&Rejection::limited(limited)));
    assert_eq!(meters.limited().collect::<Vec<_>>(), [(BucketName::Ip, 10)]);
    assert_eq!(meters.rejections().collect::<Vec<_>>(), [(Code::RateLimited, 10)]);
}

#[test]
fn what_is_open_is_counted_as_what_it_has_become() {
    let meters = meters();
    let open = || KINDS.map(|kind| meters.open(kind));
    meters.opens();
    meters.opens();
    assert_eq!(open(), [2, 0, 0]);
    meters.becomes(Kind::Request, Kind::WebSocket);
    assert_eq!(open(), [1, 0, 1]);
    let life = || Duration::from_secs(120);
    meters.closes(Kind::WebSocket, life);
    meters.closes(Kind::Request, life);
    assert_eq!(open(), [0, 0, 0]);
    assert_eq!(meters.lives(Kind::Request), None);
    let lives = meters.lives(Kind::WebSocket).unwrap();
    assert_eq!((lives.count(), lives.seconds), (1, 120.0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_counts_with_its_first_byte_and_a_download_with_its_last() {
    let meters = meters();
    for is_stream in [true, false] {
        let started = Instant::now();
        let measured = Measured::new(&meters, &Method::GET, Version::Http2);
        tokio::time::advance(Duration::from_millis(30)).await;
        let tally = Tally { first_byte: Some(Instant::now()), is_stream, ..answered(200) };
        tokio::time::advance(Duration::from_secs(600)).await;
        measured.ends(started, &tally);
    }
    let (_, _, _, times) = meters.requests().next().unwrap();
    assert!((times.seconds - 600.06).abs() < 1e-9, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_answers_for_what_it_did_and_not_for_its_clients() {
    let meters = UpstreamMeters::new(&"app".into());
    let since = Instant::now();
    tokio::time::advance(Duration::from_millis(20)).await;
    let first = Tally { first_byte: Some(Instant::now()), ..answered(503) };
    meters.ends(since, &first, None);
    meters.ends(since, &Tally::default(), Some(Code::UpstreamUnreachable));
    for nothing in [None, Some(Code::UpstreamOverloaded), Some(Code::BodyTooLarge)] {
        meters.ends(since, &Tally::default(), nothing);
    }
    let told: Vec<_> =
        meters.answers().map(|(class, times)| (class, times.count(), times.seconds)).collect();
    assert_eq!(told, [("error", 1, 0.02), ("5xx", 1, 0.02)]);
}

#[test]
fn handshakes_are_recorded_for_their_persona() {
    let meters = meters();
    assert_eq!(meters.handshakes(), None);
    meters.handshake(Outcome::Ack, Some(Duration::from_millis(300)));
    meters.handshake(Outcome::Ack, Some(Duration::from_millis(1500)));
    let times = meters.handshakes().unwrap();
    let at_most_a_second: u64 =
        times.counts.iter().zip(times.bounds).filter(|it| *it.1 <= 1_000_000).map(|it| it.0).sum();
    assert_eq!((at_most_a_second, times.count()), (1, 2));
    meters.handshake(Outcome::Error("mode_mismatch"), None);
    meters.handshake(Outcome::Timeout, None);
    let ended: Vec<_> = meters.handshakes_ended().collect();
    assert_eq!(ended, [("ack", 2), ("error", 1), ("timeout", 1)]);
    assert_eq!(meters.handshakes().unwrap().count(), 2);
}

#[test]
fn a_refused_reload_is_told_until_the_files_can_serve() {
    let meters = ServerMeters::default();
    let refused = ReloadOutcome::Refused { problems: Vec::new() };
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    meters.reloaded(&refused, at(10));
    assert!(meters.is_refused());
    assert!(meters.applied() > 1e9, "what serves since the start");
    meters.reloaded(&ReloadOutcome::Unchanged, at(20));
    assert!(!meters.is_refused());
    meters.reloaded(&refused, at(30));
    assert_eq!(meters.reloads(), [0, 1, 2]);
}
