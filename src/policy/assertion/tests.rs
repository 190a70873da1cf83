use super::*;
use crate::config::snapshot::Mode;
use crate::policy::metadata::Assurance;

const NOW: UnixSeconds = UnixSeconds(1_763_683_200);
const PLACE: Place<'static> = Place { tenant: "jasser", persona: "customer" };

fn policy(key: AssertionKey) -> AssertionPolicy {
    AssertionPolicy {
        key: key.into(),
        issuer: ISSUER.into(),
        audience: audience(PLACE).into(),
        ttl: DEFAULT_TTL,
    }
}

fn hs256(byte: u8) -> AssertionKey {
    AssertionKey::hs256(&Secret::new([byte; 32]).unwrap()).unwrap()
}

fn ed25519(byte: u8) -> AssertionKey {
    AssertionKey::ed25519_from_seed(&[byte; 32]).unwrap()
}

fn customer() -> Identity {
    Identity {
        user_id: Some("12345".into()),
        device: Some("lobby".into()),
        ..Identity::anonymous(Mode::Customer, None)
    }
}

fn hash() -> SessionHash {
    SessionHash::of(&[7; 16])
}

#[test]
fn a_tenants_key_is_its_own_and_follows_from_the_secret() {
    let secrets = [1, 2].map(|byte| Secret::new([byte; 32]).unwrap());
    let id =
        |secret: &Secret, tenant| AssertionKey::of_tenant(secret, tenant).unwrap().id().to_owned();
    assert_eq!(id(&secrets[0], "jasser"), id(&secrets[0].clone(), "jasser"));
    assert_ne!(id(&secrets[0], "jasser"), id(&secrets[0], "shop"));
    assert_ne!(id(&secrets[0], "jasser"), id(&secrets[1], "jasser"));
}

#[test]
fn an_app_reads_what_is_known_and_what_it_is_worth() {
    for key in [hs256(1), ed25519(1)] {
        let policy = policy(key);
        let token = mint(&policy, PLACE, &customer(), Some(&hash()), NOW);
        let claims = verify(&policy, &token, NOW).unwrap();
        let expected = serde_json::json!({
            "iss": "vestibule", "aud": "jasser/customer", "sub": "12345",
            "tenant": "jasser", "persona": "customer", "device": "lobby",
            "mode": "customer", "assurance": "asserted", "session": hash().as_str(),
            "iat": NOW.0, "exp": NOW.0 + 60,
        });
        assert_eq!(serde_json::to_value(claims).unwrap(), expected);
    }
}

#[test]
fn nobody_is_named_where_nobody_is_known() {
    let policy = policy(hs256(1));
    let mut identity = Identity::anonymous(Mode::Customer, None);
    identity.state = State::Awaiting;
    let claims = mint(&policy, PLACE, &identity, None, NOW);
    let claims = verify(&policy, &claims, NOW).unwrap();
    assert_eq!((claims.sub, claims.session, claims.device), (None, None, None));
    assert_eq!(claims.identity_state.as_deref(), Some("awaiting"));
    assert_eq!(claims.assurance, Assurance::Asserted.as_str());
}

#[test]
fn an_assertion_has_an_end_an_audience_and_one_key() {
    for (key, other) in [
        (hs256(1), hs256(2)),
        (ed25519(1), ed25519(2)),
        (hs256(1), ed25519(1)),
        (ed25519(1), hs256(1)),
    ] {
        let (ours, mut theirs) = (policy(key), policy(other));
        let token = mint(&ours, PLACE, &customer(), Some(&hash()), NOW);
        assert!(verify(&ours, &token, UnixSeconds(NOW.0 + 59)).is_some());
        assert!(verify(&ours, &token, UnixSeconds(NOW.0 + 60)).is_none());
        assert!(verify(&theirs, &token, NOW).is_none());
        theirs.key = ours.key;
        theirs.audience = "jasser/employee".into();
        assert!(verify(&theirs, &token, NOW).is_none());
    }
}

#[test]
fn any_single_bit_of_an_assertion_matters() {
    let policy = policy(hs256(1));
    let token = mint(&policy, PLACE, &customer(), Some(&hash()), NOW);
    for bit in 0..token.len() * 8 {
        let mut bytes = token.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(verify(&policy, &changed, NOW).is_none(), "bit {bit}");
    }
}

#[test]
fn the_key_set_has_public_keys_once_and_no_secret() {
    // RFC 8032, section 7.1, test 1.
    let mut seed = [0; 32];
    let digits = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    for (at, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap();
    }
    let key = AssertionKey::ed25519_from_seed(&seed).unwrap();
    let document: serde_json::Value = serde_json::from_str(&jwks([&key, &hs256(1), &key])).unwrap();
    // RFC 8037, appendix A.2 and A.3.
    let expected = serde_json::json!({ "keys": [{
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }] });
    assert_eq!(document, expected);
}

#[test]
fn short_keys_and_foreign_keys_are_refused() {
    let short = AssertionKey::hs256(&Secret::new([1; 31]).unwrap());
    assert_eq!(short.unwrap_err(), KeyError::TooShort);
    assert_eq!(AssertionKey::ed25519_from_pkcs8(b"x").unwrap_err(), KeyError::NotEd25519);
}

#[test]
fn keys_are_not_printed() {
    let shown = format!("{:?} {:?}", hs256(b'k'), ed25519(b'k'));
    assert!(!shown.contains("107, 107") && !shown.contains("kkkk"), "{shown}");
}
