use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::config::Loader;

const START: Moment = Moment::START;

/// Counts how often it was woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn at(milliseconds: u64) -> Moment {
    START.plus(Duration::from_millis(milliseconds))
}

/// A configuration with these personas, each `TENANT/NAME` or with more keys behind it.
fn snapshot(personas: &[(&str, &str)]) -> Snapshot {
    let mut text = "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
                    [upstreams.one]\nservers = [\"http://127.0.0.1:1\"]\n\
                    [upstreams.two]\nservers = [\"http://127.0.0.1:2\"]\n"
        .to_owned();
    for (name, more) in personas {
        let (tenant, persona) = name.split_once('/').unwrap();
        let more =
            if more.contains("upstream") { "" } else { "upstream = \"one\"\n" }.to_owned() + more;
        let host = if more.contains("hosts") {
            String::new()
        } else {
            format!("hosts = [\"{persona}.{tenant}.test\"]\n")
        };
        text += &format!("[tenants.{tenant}.personas.{persona}]\n{host}{more}\n");
    }
    let environment = |name: &str| match name {
        // A name, a cost, a salt and a hash, of which each is as good as any other here.
        "ONE" | "TWO" => Some(format!("{name}:$2b$04${}", "a".repeat(53))),
        _ if name.starts_with("OTEL_") => None,
        _ => Some("0123456789abcdef0123456789abcdef".to_owned()),
    };
    let loader = Loader::new(&environment);
    let loaded = loader.load_str("test.toml", &text, std::path::Path::new("."));
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    loaded.snapshot.unwrap_or_else(|| panic!("{}", problems.join("\n")))
}

fn holder(snapshot: &Snapshot, name: &str) -> Holder {
    let (tenant, persona) = name.split_once('/').unwrap();
    let tenant = &snapshot.tenants[tenant];
    Holder::Persona(Arc::clone(tenant.personas.iter().find(|it| *it.name == *persona).unwrap()))
}

fn ended(stream: &mut OpenStream) -> Option<Ended> {
    match stream.poll_ended(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(why) => Some(why),
        Poll::Pending => None,
    }
}

struct Case {
    streams: Streams,
    shards: [Arc<Shard>; 2],
    snapshot: Snapshot,
}

fn case() -> Case {
    let streams = Streams::default();
    let shards = [streams.shard(), streams.shard()];
    Case { streams, shards, snapshot: snapshot(&[("a/one", ""), ("a/two", ""), ("b/one", "")]) }
}

impl Case {
    fn open(&self, shard: usize, name: &str, kind: Kind) -> OpenStream {
        let mut stream = self.shards[shard].open(holder(&self.snapshot, name), START, None);
        stream.becomes(kind);
        stream
    }

    fn end_due(&self, now: Moment) {
        for shard in &self.shards {
            shard.end_due(now);
        }
    }
}

#[test]
fn whoever_is_meant_ends_and_nobody_else() {
    let names = ["a/one", "a/two", "b/one"];
    for (whose, expected) in [
        (Whose::Everybody, [true, true, true]),
        (Whose::Tenant("a"), [true, true, false]),
        (Whose::Persona("a", "one"), [true, false, false]),
        (Whose::Persona("b", "two"), [false, false, false]),
        (Whose::Site("a", "one"), [false, false, false]),
    ] {
        let case = case();
        let mut open: Vec<_> = names
            .iter()
            .flat_map(|name| [0, 1].map(|shard| case.open(shard, name, Kind::WebSocket)))
            .collect();
        let told = case.streams.end(whose, Ended::Drained, Pace::AtOnce, START);
        assert_eq!(told.websockets, 2 * expected.iter().filter(|it| **it).count(), "{whose:?}");
        case.end_due(START);
        for (index, stream) in open.iter_mut().enumerate() {
            let why = expected[index / 2].then_some(Ended::Drained);
            assert_eq!(ended(stream), why, "{whose:?} {index}");
            assert_eq!(ended(stream), why, "asked again");
        }
    }
}

#[test]
fn who_waits_is_woken_once_and_later_streams_are_not_concerned() {
    let case = case();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut one = case.open(0, "a/one", Kind::WebSocket);
    let mut two = case.open(0, "b/one", Kind::WebSocket);
    for stream in [&mut one, &mut two] {
        assert!(stream.poll_ended(&mut Context::from_waker(&waker)).is_pending());
    }
    case.streams.end(Whose::Tenant("a"), Ended::Drained, Pace::AtOnce, START);
    assert_eq!(counter.0.load(Ordering::SeqCst), 0, "its worker does it");
    case.end_due(START);
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    let mut late = case.open(0, "a/one", Kind::WebSocket);
    case.end_due(at(100_000));
    assert_eq!(
        (ended(&mut one), ended(&mut two), ended(&mut late)),
        (Some(Ended::Drained), None, None)
    );
}

#[test]
fn many_streams_end_one_after_the_other_within_the_time() {
    let case = case();
    let mut open: Vec<_> =
        (0..2000).map(|index| case.open(index % 2, "a/one", Kind::WebSocket)).collect();
    let mut request = case.open(0, "a/one", Kind::Request);
    let pace = Pace::Spread(Duration::from_secs(4));
    assert_eq!(case.streams.end(Whose::Everybody, Ended::Drained, pace, START).all(), 2001);
    for tenth in 1..=10_u64 {
        case.end_due(at(tenth * 400));
        let gone = open.iter_mut().filter_map(ended).count();
        let expected = 200 * tenth as usize;
        assert!(gone.abs_diff(expected) <= 2, "{gone} after {tenth} tenths");
        assert_eq!(ended(&mut request).is_some(), tenth == 10, "requests have all the time");
    }
    assert_eq!(case.shards.each_ref().map(|shard| shard.end_due(at(9000))), [None, None]);
}

#[test]
fn a_few_streams_are_not_kept_waiting() {
    let case = case();
    let mut open = [(); 3].map(|()| case.open(0, "a/one", Kind::Events));
    case.streams.end(
        Whose::Everybody,
        Ended::Drained,
        Pace::Spread(Duration::from_secs(60)),
        START,
    );
    case.end_due(START.plus(FEW * 3));
    assert!(open.iter_mut().all(|stream| ended(stream) == Some(Ended::Drained)));
}

#[test]
fn the_sooner_of_two_orders_counts_and_who_is_gone_leaves_nothing() {
    let case = case();
    let mut stream = case.open(0, "a/one", Kind::Request);
    let other = case.open(0, "a/one", Kind::Request);
    let spread = |seconds| Pace::Spread(Duration::from_secs(seconds));
    for (pace, told) in [(spread(9), 2), (spread(20), 0), (spread(5), 2), (spread(5), 0)] {
        let counts = case.streams.end(Whose::Everybody, Ended::Drained, pace, START);
        assert_eq!(counts.requests, told, "{pace:?}");
    }
    assert_eq!(case.shards[0].end_due(START), Some(Duration::from_secs(5)));
    drop(other);
    case.streams.end(Whose::Everybody, Ended::Revoked, Pace::AtOnce, at(1000));
    assert_eq!(case.shards[0].end_due(at(1000)), None, "the later order is forgotten");
    assert_eq!(ended(&mut stream), Some(Ended::Revoked));
    assert_eq!(case.streams.end(Whose::Everybody, Ended::Drained, spread(1), START).all(), 0);
    drop(stream);
    assert_eq!(case.streams.counts(), Counts::default());
}

#[test]
fn counts_and_ages_are_by_tenant_and_name() {
    let case = case();
    let _streams = [
        case.open(0, "a/one", Kind::WebSocket),
        case.open(1, "a/one", Kind::WebSocket),
        case.open(1, "a/one", Kind::Events),
        case.open(1, "b/one", Kind::Request),
    ];
    let mut young = case.shards[0].open(holder(&case.snapshot, "a/two"), at(1500), None);
    young.becomes(Kind::WebSocket);
    let held: Vec<_> = case
        .streams
        .held(at(2000))
        .into_iter()
        .map(|held| {
            let Counts { requests, events, websockets } = held.counts;
            let age = held.oldest.as_millis();
            format!("{}/{} {requests} {events} {websockets} {age}", held.tenant, held.name)
        })
        .collect();
    assert_eq!(held, ["a/one 0 1 2 2000", "a/two 0 0 1 500", "b/one 1 0 0 2000"]);
    assert_eq!(case.streams.counts(), Counts { requests: 1, events: 1, websockets: 3 });
    let listed = case.streams.list(Whose::Tenant("a"), 2, at(2000));
    assert_eq!(listed.iter().map(|one| one.age.as_millis()).collect::<Vec<_>>(), [2000, 2000]);
}

#[test]
fn a_reload_ends_what_is_gone_and_what_says_so_and_nothing_else() {
    let required = "user_id = \"required\"\ntrust_asserted = true";
    let revoke = "revoke = true";
    let both = format!("{required}\n{revoke}");
    for (before, after, expected) in [
        (&[("a/one", "")][..], &[("a/one", ""), ("b/new", "")][..], None),
        (&[("a/one", "")], &[("a/two", "")], Some(Ended::Removed)),
        (&[("a/one", "")], &[("b/one", "")], Some(Ended::Removed)),
        (&[("a/one", "")], &[("a/one", "hosts = [\"other.test\"]\npath = \"/x\"")], None),
        (&[("a/one", "")], &[("a/one", "upstream = \"two\"")], None),
        (&[("a/one", "")], &[("a/one", required)], None),
        (&[("a/one", revoke)], &[("a/one", revoke)], None),
        (&[("a/one", revoke)], &[("a/one", &both)], Some(Ended::Revoked)),
        (&[("a/one", &both)], &[("a/one", revoke)], Some(Ended::Revoked)),
        (&[("a/one", required)], &[("a/one", &both)], None),
        (&[("a/one", revoke)], &[("a/one", required)], None),
    ] {
        let streams = Streams::default();
        let shard = streams.shard();
        let old = snapshot(before);
        let mut stream = shard.open(holder(&old, "a/one"), START, None);
        stream.becomes(Kind::WebSocket);
        // One that was admitted with the old snapshot, and registers after the reload.
        let new = snapshot(after);
        streams.follow(&new, START);
        let mut late = shard.open(holder(&old, "a/one"), START, None);
        late.judge(|holder| fate(holder, &new));
        shard.end_due(START.plus(new.server.close_within));
        assert_eq!(ended(&mut stream), expected, "{before:?} {after:?}");
        assert_eq!(ended(&mut late), expected, "late: {before:?} {after:?}");
        // A stream keeps nothing of a configuration that is gone.
        let kept = streams.shards()[0].holders();
        if let (None, Some(Holder::Persona(kept))) = (expected, kept.first()) {
            assert!(new.tenants["a"].personas.iter().any(|one| Arc::ptr_eq(one, kept)));
        }
    }
}

#[test]
fn an_identity_policy_is_more_than_its_metadata() {
    let revoke = |more: &str| snapshot(&[("a/one", &format!("revoke = true\n{more}"))]);
    let text = "signed = true\nsigning = { secrets = [\"env:SIGNING\"]";
    let signed = |more: &str| revoke(&format!("{text}{more} }}"));
    let password =
        |users: &str| revoke(&format!("basic_auth = {{ realm = \"R\", users = \"env:{users}\" }}"));
    for (old, new, ends) in [
        (signed(""), signed(", max_age = \"5m\""), false),
        (signed(""), signed(", max_age = \"6m\""), true),
        (signed(""), signed(", replay = \"once\""), true),
        (signed(""), signed(", ignore = [\"utm\"]"), true),
        (signed(""), revoke(""), true),
        (revoke("frame_only = true"), revoke(""), true),
        (revoke("bridge = true"), revoke("bridge = true"), false),
        (revoke("deny_addresses = [\"10.0.0.0/8\"]"), revoke(""), true),
        (revoke(""), revoke("allow_addresses = [\"10.0.0.0/8\"]"), true),
        (revoke(""), password("ONE"), true),
        (password("ONE"), password("TWO"), true),
        (password("ONE"), password("ONE"), false),
        (password("ONE"), revoke(""), true),
    ] {
        let found = fate(&holder(&old, "a/one"), &new);
        assert_eq!(matches!(found, Fate::Ends(Ended::Revoked, Pace::AtOnce)), ends, "{found:?}");
    }
}

#[test]
fn a_place_is_small_and_is_used_again() {
    assert!(size_of::<OpenStream>() <= 24, "{}", size_of::<OpenStream>());
    let case = case();
    for _ in 0..1000 {
        drop(case.open(0, "a/one", Kind::Request));
    }
    let stream = case.open(0, "a/one", Kind::Request);
    assert!(format!("{stream:?}").contains("place: 0"), "{stream:?}");
}
