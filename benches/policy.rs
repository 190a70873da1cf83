//! What identity costs a request: the launch's parameters, the session's token, the headers.

#![allow(clippy::unwrap_used, reason = "a bench that cannot start should say where")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vestibule::config::snapshot::Mode;
use vestibule::policy::assertion::store::AssertionStore;
use vestibule::policy::assertion::{AssertionKey, AssertionPolicy, DEFAULT_TTL, audience, mint};
use vestibule::policy::identity::{Identity, Place, SessionHash, headers};
use vestibule::policy::metadata::{
    MetadataPolicy, Parameters, UserIdFormat, UserIdRule, Voucher, decide,
};
use vestibule::policy::query::raw_pairs;
use vestibule::policy::secret::Secret;
use vestibule::policy::session::cookie::without_sessions;
use vestibule::policy::session::keys::{PersonaKeys, SessionSecrets};
use vestibule::policy::session::revocation::RevocationList;
use vestibule::policy::session::{Purpose, Session, SessionId, UnixSeconds};

const NOW: UnixSeconds = UnixSeconds(1_763_683_200);
const PLACE: Place<'static> = Place { tenant: "jasser", persona: "customer" };
const QUERY: &[u8] = b"mode=customer&user_id=12345&require_user_id=true\
    &allow_generated_id=false&direction=rtl&v=1763683200000";
const POLICY: MetadataPolicy = MetadataPolicy {
    mode: Mode::Customer,
    user_id: UserIdRule::Required,
    format: UserIdFormat::Integer,
    allow_generated_id: false,
    trust_asserted: true,
    strict_config: false,
    bridge: true,
    signed: false,
};

/// One request with its session: what the pipeline will do, in its order.
struct Request {
    keys: PersonaKeys,
    revoked: RevocationList,
    cookie: String,
}

impl Request {
    fn new() -> Self {
        let secret = Secret::new([7; 32]).unwrap();
        let keys = SessionSecrets::new(secret, Vec::new()).persona("jasser", "customer");
        let metadata = metadata(QUERY);
        let identity = Identity::settle(&metadata, None, [0; 16]);
        let lifetime = Purpose::Cookie.lifetime();
        let session = Session::start(SessionId([9; 16]), identity, NOW, lifetime);
        let token = keys.mint(Purpose::Cookie, &session).unwrap();
        let cookie = format!("theme=dark; {}={}; sid=1", keys.cookie.name(), token.as_str());
        Self { keys, revoked: RevocationList::default(), cookie }
    }

    fn session(&self) -> Session {
        let fields = std::iter::once(black_box(self.cookie.as_bytes()));
        let authentic = self.keys.from_cookies(fields, NOW).unwrap();
        authentic.alive(None, |id| self.revoked.contains(id)).unwrap()
    }

    fn write_headers(&self, session: &Session, out: &mut Vec<u8>) {
        out.clear();
        let hash = session.id.hash();
        for (name, value) in headers(PLACE, &session.identity, Some(&hash)) {
            for part in [name, ": ", &value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        let cookie = without_sessions(self.cookie.as_bytes()).unwrap();
        out.extend_from_slice(&cookie);
    }
}

fn metadata(query: &[u8]) -> vestibule::policy::metadata::Metadata<'_> {
    let parameters = Parameters::from_raw(raw_pairs(query)).unwrap();
    decide(&POLICY, parameters, Voucher::Browser).unwrap()
}

fn identity(c: &mut Criterion) {
    let request = Request::new();
    let mut out = Vec::with_capacity(1024);
    let session = request.session();
    c.bench_function("metadata", |b| b.iter(|| metadata(black_box(QUERY))));
    c.bench_function("session from cookie", |b| b.iter(|| request.session()));
    c.bench_function("session mint", |b| {
        b.iter(|| request.keys.mint(Purpose::Cookie, black_box(&session)).unwrap());
    });
    c.bench_function("identity headers", |b| b.iter(|| request.write_headers(&session, &mut out)));
    c.bench_function("metadata, session and headers", |b| {
        b.iter(|| {
            black_box(metadata(black_box(QUERY)));
            let session = request.session();
            request.write_headers(&session, &mut out);
        });
    });
}

fn assertion(c: &mut Criterion) {
    let session = Request::new().session();
    let hash: SessionHash = session.id.hash();
    let secret = Secret::new([7; 32]).unwrap();
    for (name, key) in [
        ("HS256", AssertionKey::hs256(&secret).unwrap()),
        ("EdDSA", AssertionKey::ed25519_from_seed(&[7; 32]).unwrap()),
    ] {
        let policy = AssertionPolicy {
            key: key.into(),
            issuer: "vestibule".into(),
            audience: audience(PLACE).into(),
            ttl: DEFAULT_TTL,
        };
        c.bench_function(&format!("assertion mint {name}"), |b| {
            b.iter(|| mint(&policy, PLACE, black_box(&session.identity), Some(&hash), NOW));
        });
        let mut store = AssertionStore::default();
        c.bench_function(&format!("assertion kept {name}"), |b| {
            b.iter(|| store.get(&policy, PLACE, &session.identity, Some(&hash), NOW).len());
        });
    }
}

criterion_group!(benches, identity, assertion);
criterion_main!(benches);
