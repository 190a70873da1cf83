//! Launches and sessions: whatever a stranger sends, nothing is let in that the rules exclude, no
//! token is accepted that was not minted, and no session reaches an app.

use vestibule::config::snapshot::Mode;
use vestibule::policy::identity::{Identity, Place, State, headers};
use vestibule::policy::metadata::{
    MetadataPolicy, Parameters, UserId, UserIdFormat, UserIdRule, Voucher, decide,
};
use vestibule::policy::query::{pairs, raw_pairs, serialise, sort};
use vestibule::policy::secret::Secret;
use vestibule::policy::session::cookie::without_sessions;
use vestibule::policy::session::keys::{PersonaKeys, SessionSecrets};
use vestibule::policy::session::{Purpose, Session, SessionId, UnixSeconds, prefix};

const NOW: UnixSeconds = UnixSeconds(1_763_683_200);

/// Two bytes choose the persona's rules and who vouches; the rest is the query.
pub fn launch_metadata(bytes: &[u8]) {
    let [rules, voucher, query @ ..] = bytes else { return };
    let policy = policy(*rules);
    let voucher = [Voucher::Browser, Voucher::Signature, Voucher::Token, Voucher::SessionApi]
        [usize::from(voucher % 4)];
    let decoded: Vec<_> = pairs(query).collect();
    let parameters = Parameters::from_raw(raw_pairs(query));
    assert_eq!(parameters, Parameters::from_pairs(&decoded), "both readings agree");
    check_canonical(query);
    let Ok(parameters) = parameters else { return };
    let Ok(metadata) = decide(&policy, parameters, voucher) else { return };
    if let UserId::Given(id) = metadata.user_id() {
        assert!(policy.user_id != UserIdRule::None);
        assert!(policy.mode == Mode::Test || policy.format.admits(id));
        assert!(UserIdFormat::Token.admits(id));
    }
    let identity = Identity::settle(&metadata, None, [7; 16]);
    assert!(identity.continues(&metadata, None), "a reload goes on");
    assert!(identity.state == State::Complete || identity.user_id.is_none());
    for (name, value) in headers(Place { tenant: "t", persona: "p" }, &identity, None) {
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
    }
}

fn policy(rules: u8) -> MetadataPolicy {
    let flag = |bit: u8| rules & (1 << bit) != 0;
    MetadataPolicy {
        mode: [Mode::Public, Mode::Customer, Mode::Employee, Mode::Test][usize::from(rules % 4)],
        user_id: [UserIdRule::Required, UserIdRule::Optional, UserIdRule::None]
            [usize::from(rules / 4 % 3)],
        format: if flag(4) { UserIdFormat::Token } else { UserIdFormat::Integer },
        allow_generated_id: flag(5),
        trust_asserted: flag(6),
        strict_config: false,
        bridge: true,
        signed: flag(7),
    }
}

/// The canonical form is a fixed point: sender and verifier can both make it.
fn check_canonical(query: &[u8]) {
    let canonical = |query: &[u8]| {
        let mut list: Vec<_> = pairs(query).collect();
        sort(&mut list);
        let mut text = String::new();
        serialise(&list, &mut text);
        text
    };
    let once = canonical(query);
    assert_eq!(canonical(once.as_bytes()), once);
}

/// The same bytes are tried as a token, as changes to a good one, as a Cookie field and as a path.
pub fn session_token(bytes: &[u8]) {
    let keys = keys();
    let good = keys.mint(Purpose::Cookie, &session()).expect("the texts are short");
    for purpose in Purpose::ALL {
        let is_good = purpose == Purpose::Cookie && bytes == good.as_str().as_bytes();
        assert_eq!(keys.verify(purpose, bytes, NOW).is_ok(), is_good);
    }
    let mut changed = good.as_str().as_bytes().to_vec();
    for (to, change) in changed.iter_mut().zip(bytes) {
        *to ^= change;
    }
    let same = changed == good.as_str().as_bytes();
    assert_eq!(keys.verify(Purpose::Cookie, &changed, NOW).is_ok(), same);
    check_cookie(&keys, bytes);
    if let Ok(path) = std::str::from_utf8(bytes) {
        check_path(path);
    }
}

fn check_cookie(keys: &PersonaKeys, field: &[u8]) {
    let left = without_sessions(field).unwrap_or_default();
    assert_eq!(keys.cookie.values(std::iter::once(&*left)).count(), 0);
    assert_eq!(without_sessions(&left).unwrap_or_default().trim_ascii(), left.trim_ascii());
    assert!(left.len() <= field.len());
    let name = keys.cookie.name();
    let with_ours = [field, b"; ", name.as_bytes(), b"=x"].concat();
    let found = keys.cookie.values(std::iter::once(&*with_ours)).last();
    assert_eq!(found, Some(&b"x"[..]));
}

fn check_path(path: &str) {
    let Some(parts) = prefix::split(path) else { return };
    assert!(parts.rest.is_empty() || parts.rest.starts_with('/'));
    assert_eq!(prefix::printable(path), format!("/.v/-{}", parts.rest));
}

fn keys() -> PersonaKeys {
    let secret = Secret::new(*b"a secret of thirty-two bytes....").expect("it is not empty");
    SessionSecrets::new(secret, Vec::new()).persona("tenant", "persona")
}

fn session() -> Session {
    let identity = Identity::anonymous(Mode::Public, Some("lobby"));
    Session::start(SessionId([7; 16]), identity, NOW, Purpose::Cookie.lifetime())
}
