//! The whole decision about a request: gate, route, metadata, session, origin, limits, and the head
//! that goes upstream, from the parsed head to bytes ready for the wire. No socket.

#![allow(clippy::unwrap_used, reason = "a bench that cannot start should say where")]
#![allow(unsafe_code, reason = "an allocator that counts can be written in no other way")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use vestibule::config::snapshot::Snapshot;
use vestibule::edge::headers::{Outbound, write_request};
use vestibule::http1::head::RequestHead;
use vestibule::pipeline::{Action, Admission, Ambient, ConnectionFacts, Scheme, admit};
use vestibule::policy::assertion::store::AssertionStore;
use vestibule::policy::identity::Place;
use vestibule::policy::limits::Moment;
use vestibule::policy::session::UnixSeconds;
use vestibule::state::jar::Jars;
use vestibule::state::limits::Limiter;
use vestibule::state::parked::Parked;
use vestibule::state::passwords::Passwords;
use vestibule::state::replay::Replays;
use vestibule::state::sessions::Sessions;
use vestibule::telemetry::request_id::{Generator, RequestId};
use vestibule::telemetry::trace::Tracer;
use vestibule::telemetry::trace::sampler::Sampler;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is mimalloc's own; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { mimalloc::MiMalloc.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONFIGURATION: &str = r#"
[server]
http = ["127.0.0.1:8080"]
http_mode = "serve"
[internal]
listen = "127.0.0.1:9181"
[upstreams.app]
servers = ["http://127.0.0.1:8501"]
[tenants.jasser]
embed_origins = ["https://www.jasserknows.online"]
limits = { ip = "1000000/s", tenant = "1000000/s", launcher = "1000000/s" }
[tenants.jasser.personas.customer]
hosts = ["chat-customer.jasserknows.online"]
upstream = "app"
app = "streamlit"
mode = "customer"
user_id = "required"
trust_asserted = true
"#;

const QUERY: &str = "mode=customer&user_id=12345&require_user_id=true&allow_generated_id=false\
                     &direction=rtl&v=1763683200000";

/// A server without sockets.
struct World {
    snapshot: Snapshot,
    connection: ConnectionFacts,
    limiter: Limiter,
    sessions: Sessions,
    jars: Arc<Jars>,
    replays: Replays,
    parked: Parked,
    passwords: Passwords,
    assertions: RefCell<AssertionStore>,
    /// Of requests that are not traced.
    tracer: Tracer,
    names: Generator,
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

impl World {
    fn new() -> Self {
        let loaded = vestibule::config::load_str("bench.toml", CONFIGURATION, Path::new("."));
        let snapshot = loaded.snapshot.expect("the configuration is sound");
        let (limiter, sessions) = (Limiter::default(), Sessions::default());
        limiter.follow(["jasser"]);
        sessions.follow(["jasser"]);
        let connection = ConnectionFacts {
            client: [192, 0, 2, 7].into(),
            trusted: false,
            scheme: Scheme::Https,
            server_name: None,
        };
        let (jars, replays, parked) = (Arc::default(), Replays::default(), Parked::default());
        let passwords = Passwords::new(&[7; 32]);
        let assertions = RefCell::default();
        Self {
            snapshot,
            connection,
            limiter,
            sessions,
            jars,
            replays,
            parked,
            passwords,
            assertions,
            tracer: Tracer::new(Sampler::never(), None),
            names: Generator::seeded([7; 16]),
        }
    }

    fn admit<'h>(&self, head: &'h RequestHead, moment: Moment) -> Admission<'h> {
        let ambient = Ambient {
            now: UnixSeconds(1_763_683_200),
            moment,
            random: &random,
            is_ours: true,
            limiter: &self.limiter,
            sessions: &self.sessions,
            jars: &self.jars,
            replays: &self.replays,
            parked: &self.parked,
            passwords: &self.passwords,
            body: None,
            journal: None,
        };
        admit(&self.snapshot, &self.connection, head, &ambient)
    }

    /// The decision, and the upstream's head.
    fn decide(&self, head: &RequestHead, moment: Moment, out: &mut Vec<u8>) {
        out.clear();
        let admission = self.admit(head, moment);
        let (Ok(Action::Forward(forward)), Some(address)) = (admission.verdict, admission.address)
        else {
            unreachable!("it is forwarded");
        };
        let random = || self.names.next();
        let (trace, _) = self.tracer.begin(&self.connection, head, RequestId::default(), random);
        let outbound = Outbound {
            head,
            address: &address,
            forward: &forward,
            connection: &self.connection,
            request_id: b"0123456789abcdef0123456789abcdef",
            trace: Some(&trace),
            websocket_key: None,
            cookies: None,
            xsrf: None,
        };
        write_request(out, &outbound, |out| {
            let passport = forward.passport.as_ref().unwrap();
            let persona = &passport.persona;
            let place = Place { tenant: &persona.tenant, persona: &persona.name };
            let policy = persona.assertion.as_ref().unwrap();
            let now = UnixSeconds(1_763_683_200);
            let mut store = self.assertions.borrow_mut();
            let token =
                store.get(policy, place, &passport.identity, passport.session.as_ref(), now);
            out.extend_from_slice(token.as_bytes());
        });
    }

    /// The cookie that a launch sets.
    fn cookie(&self) -> String {
        let head = head(&format!("/?{QUERY}"), "navigate", "");
        let admission = self.admit(&head, Moment::START);
        let set = admission.fields.iter().find(|(name, _)| *name == "Set-Cookie").unwrap();
        set.1.split(';').next().unwrap().to_owned()
    }
}

/// What Chromium sends.
fn head(target: &str, mode: &str, cookie: &str) -> RequestHead {
    let dest = if mode == "navigate" { "document" } else { "script" };
    let text = format!(
        "GET {target} HTTP/1.1\r\nHost: chat-customer.jasserknows.online\r\n\
         Connection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
         sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n\
         Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
         AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
         Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\n\
         Sec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
         Cookie: theme=dark; {cookie}; sid=1\r\n\r\n"
    );
    let mut head = RequestHead::default();
    assert!(head.parse(text.as_bytes()).is_ok(), "the head is sound");
    head
}

fn decision(c: &mut Criterion) {
    let world = World::new();
    let cookie = world.cookie();
    let launch = head(&format!("/?{QUERY}"), "navigate", &cookie);
    let asset = head("/static/js/index.DormvYxC.js", "no-cors", &cookie);
    let mut out = Vec::with_capacity(4096);
    // A bucket must not fill while the bench runs: every launch comes a while after the last.
    let mut time = Moment::START;
    let mut next = || {
        time = time.plus(Duration::from_millis(1));
        time
    };
    for (name, head) in [("launch of a live session", &launch), ("asset of a live session", &asset)]
    {
        world.decide(head, next(), &mut out);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..1000 {
            world.decide(head, next(), &mut out);
        }
        let each = (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / 1000.0;
        println!("decision: {name}: {each} allocations, {} bytes to the upstream", out.len());
        c.bench_function(&format!("decision: {name}"), |b| {
            b.iter(|| world.decide(black_box(head), next(), &mut out));
        });
    }
}

criterion_group!(benches, decision);
criterion_main!(benches);
