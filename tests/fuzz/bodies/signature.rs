//! Signed launches: what verifies has the canonical form that was signed, in whatever spelling, and
//! the app gets that form and nothing else.

use std::time::Duration;

use vestibule::policy::query::{Pair, pairs, serialise, sort};
use vestibule::policy::secret::Secret;
use vestibule::policy::signature::{
    Part, Replay, SigningPolicy, Terms, Verified, guesses, shown, verify,
};

const NOW: u64 = 1_763_683_200_000;

/// A byte of policy, the query, and after the first line feed the form.
pub fn signed_launch(bytes: &[u8]) {
    let [rules, rest @ ..] = bytes else { return };
    let policy = policy(rules & 1 != 0);
    let (query, form) = match rest.iter().position(|&byte| byte == b'\n') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let shown = shown(&policy, Some(query), form);
    let guesses = guesses(&policy, Some(query), form);
    if let Ok(verified) = verify(&policy, Some(query), form, NOW, None) {
        let shown = shown.expect("what verifies can be shown");
        let canonical = check(&policy, &verified);
        assert!(canonical == shown.canonical || Some(canonical) == shown.with_line_feeds);
        assert!(guesses.is_ok());
    }
    // What we sign ourselves verifies, whatever it was made from.
    if let Ok(signed) = policy.sign(query, NOW) {
        let verified = verify(&policy, Some(&signed), None, NOW, None);
        // The query may have brought a timestamp of its own.
        if let Ok(verified) = verified {
            let forwarded = verified.forward_query().expect("there is a timestamp").into_owned();
            assert!(signed.starts_with(&forwarded));
            check(&policy, &verified);
        } else {
            assert!(pairs(query.as_bytes()).any(|pair| pair.name == "timestamp"));
        }
    }
}

/// Returns the canonical form, made from what is said to have been signed.
fn check(policy: &SigningPolicy, verified: &Verified<'_>) -> String {
    let mut list: Vec<Pair<'_>> = verified.pairs().cloned().collect();
    sort(&mut list);
    assert!(list.iter().all(|pair| !matches!(&*pair.name, "signature" | "utm")));
    let stamps: Vec<_> = list.iter().filter(|pair| pair.name == "timestamp").collect();
    assert!(matches!(&stamps[..], [stamp] if stamp.value == verified.timestamp().to_string()));
    let mut canonical = String::new();
    serialise(&list, &mut canonical);
    let again = policy.sign(&canonical, 0).expect("it has a timestamp");
    let again = verify(policy, Some(&again), None, NOW, None).expect("it is as fresh");
    assert_eq!(again.proof(), verified.proof(), "one form, one signature");
    if let Some(query) = verified.forward_query() {
        let forwarded = pairs(query.as_bytes()).filter(|pair| pair.name != "signature");
        let mut of_query: Vec<Pair<'_>> = verified.pairs_of(Part::Query).cloned().collect();
        sort(&mut of_query);
        assert!(forwarded.eq(of_query), "{query}");
    }
    canonical
}

fn policy(forward_signature: bool) -> SigningPolicy {
    let secret = Secret::new(*b"a secret of thirty-two bytes....").expect("it is not empty");
    let terms = Terms {
        max_age: Duration::from_secs(300),
        replay: Replay::Bind,
        ignore: [Box::from("utm")].into(),
        claims: Box::default(),
        forward_signature,
    };
    SigningPolicy::new(&[secret], terms).expect("there is a secret")
}
