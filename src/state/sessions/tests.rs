use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_000);
const LATER: UnixSeconds = UnixSeconds(2_000);

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn id(number: u32) -> SessionId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    SessionId(id)
}

fn ended(guard: &StreamGuard) -> Option<Ended> {
    match guard.poll_ended(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(why) => Some(why),
        Poll::Pending => None,
    }
}

fn sessions() -> (Sessions, Arc<str>) {
    let sessions = Sessions::new(4);
    sessions.follow(["a", "b"]);
    (sessions, Arc::from("chat"))
}

#[test]
fn a_revoked_session_loses_its_streams_and_no_other_does() {
    let (sessions, chat) = sessions();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let guards: Vec<_> = [("a", 1), ("a", 1), ("a", 2), ("b", 1)]
        .map(|(tenant, number)| sessions.open(tenant, &chat, id(number), NOW))
        .into();
    for guard in &guards {
        assert!(guard.poll_ended(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(sessions.revoke("a", id(1), LATER, NOW), Ok(()));
    let seen: Vec<_> = guards.iter().map(ended).collect();
    assert_eq!(seen, [Some(Ended::Revoked), Some(Ended::Revoked), None, None]);
    assert_eq!(counter.0.load(Ordering::SeqCst), 2);
    assert!(sessions.is_revoked("a", id(1)) && !sessions.is_revoked("a", id(2)));
    assert!(!sessions.is_revoked("b", id(1)) && !sessions.is_revoked("nobody", id(1)));
    assert_eq!(ended(&sessions.open("a", &chat, id(1), NOW)), Some(Ended::Revoked));
    sessions.tidy(LATER);
    assert_eq!((sessions.revoked(), sessions.is_revoked("a", id(1))), (0, false));
    assert_eq!(sessions.open_streams(), 4);
}

#[test]
fn a_full_list_ends_nothing() {
    let (sessions, chat) = sessions();
    for number in 0..4 {
        sessions.revoke("a", id(number), LATER, NOW).unwrap();
    }
    let guard = sessions.open("a", &chat, id(9), NOW);
    assert_eq!(sessions.revoke("a", id(9), LATER, NOW), Err(Full));
    assert_eq!((ended(&guard), sessions.is_revoked("a", id(9))), (None, false));
    assert_eq!(sessions.revoke("b", id(9), LATER, NOW), Ok(()));
}

#[test]
fn sessions_launched_before_a_moment_end_at_that_persona_now_and_later() {
    let (sessions, chat) = sessions();
    let open = |tenant, persona: &str, at| {
        sessions.open(tenant, &Arc::from(persona), id(1), UnixSeconds(at))
    };
    let guards = [
        open("a", "chat", 99),
        open("a", "chat", 100),
        open("a", "other", 99),
        open("b", "chat", 99),
    ];
    sessions.end_launched_before("a", "chat", UnixSeconds(100));
    assert_eq!(guards.each_ref().map(|guard| ended(guard).is_some()), [true, false, false, false]);
    // Admitted with the snapshot before.
    assert!(ended(&open("a", "chat", 99)).is_some() && ended(&open("a", "chat", 100)).is_none());
    sessions.follow(["a", "b"]);
    assert!(ended(&sessions.open("a", &chat, id(1), UnixSeconds(99))).is_none());
    assert!(!sessions.is_revoked("a", id(1)), "the snapshot says it, not the list");
}

#[test]
fn the_first_reason_stays() {
    let (sessions, chat) = sessions();
    let guard = sessions.open("a", &chat, id(1), NOW);
    guard.0.end(Ended::Drained);
    sessions.revoke("a", id(1), LATER, NOW).unwrap();
    assert_eq!(ended(&guard), Some(Ended::Drained));
    assert_eq!((Ended::Drained.code(), Ended::Revoked.code()), (1012, 1008));
}

#[test]
fn ten_thousand_streams_leave_nothing_behind() {
    let (sessions, chat) = sessions();
    let guards: Vec<_> =
        (0..10_000).map(|number| sessions.open("a", &chat, id(number % 700), NOW)).collect();
    assert_eq!(sessions.open_streams(), 10_000);
    sessions.revoke("a", id(5), LATER, NOW).unwrap();
    assert_eq!(guards.iter().filter(|guard| ended(guard).is_some()).count(), 15);
    drop(guards);
    assert_eq!(sessions.open_streams(), 0);
    assert_eq!(Arc::strong_count(&sessions.tenant("a")), 2, "the map's and this one");
}

#[test]
fn a_tenant_that_is_gone_is_forgotten_when_nothing_of_it_lives() {
    let (sessions, chat) = sessions();
    let guard = sessions.open("b", &chat, id(1), NOW);
    sessions.revoke("a", id(2), LATER, NOW).unwrap();
    sessions.follow(["c"]);
    assert!(sessions.is_revoked("a", id(2)), "it may come back with the same secrets");
    sessions.follow(["b", "c"]);
    sessions.revoke("b", id(1), LATER, NOW).unwrap();
    assert!(ended(&guard).is_some());
    drop(guard);
    sessions.tidy(LATER);
    sessions.follow(["c"]);
    assert_eq!(sessions.tenants.load().len(), 1);
}

#[test]
fn a_stream_that_registers_while_its_session_is_revoked_is_ended() {
    let (sessions, chat) = sessions();
    for round in 0..200_u32 {
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| {
                start.wait();
                sessions.open("a", &chat, id(round), NOW)
            });
            start.wait();
            sessions.revoke("a", id(round), LATER, NOW).unwrap();
            assert_eq!(ended(&opening.join().unwrap()), Some(Ended::Revoked), "{round}");
        });
        sessions.tidy(LATER);
    }
}

#[test]
fn a_guard_is_a_pointer() {
    assert_eq!(size_of::<Option<StreamGuard>>(), 8);
    assert!(size_of::<Stream>() <= 96, "{}", size_of::<Stream>());
}
