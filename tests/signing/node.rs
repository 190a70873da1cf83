//! A thousand random launches in each direction.

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use vestibule::policy::query::{Pair, serialise};
use vestibule::policy::secret::Secret;
use vestibule::policy::signature::{Replay, SigningPolicy, Terms, verify};

use super::{NOW, printed, run, source};

pub fn policy() -> SigningPolicy {
    let terms = Terms {
        max_age: Duration::from_secs(300),
        replay: Replay::Bind,
        ignore: Box::default(),
        claims: Box::default(),
        forward_signature: false,
    };
    SigningPolicy::new(&[Secret::new(*b"ragtime-test-secret").unwrap()], terms).unwrap()
}

/// Another one at each run; a failure names it, and VESTIBULE_SEED repeats it.
fn seed() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = std::env::var("VESTIBULE_SEED").map_or(now.subsec_nanos(), |it| it.parse().unwrap());
    println!("VESTIBULE_SEED={seed}");
    seed
}

pub fn launches(count: usize) -> Vec<Value> {
    let mut node = Command::new("node");
    node.arg(source("tests/signing/oracle.mjs"));
    node.args(["sign", &seed().to_string(), &count.to_string()]);
    let output = run(&mut node, "").expect("Node signs what is verified here: install it");
    serde_json::from_str(printed(&output)).unwrap()
}

#[test]
fn what_node_signs_verifies_and_nothing_else_does() {
    let launches = launches(1000);
    assert_eq!(launches.len(), 1000);
    let mut forms = 0;
    for (index, launch) in launches.iter().enumerate() {
        let query = launch["query"].as_str().unwrap();
        let form = launch["form"].as_str();
        forms += usize::from(form.is_some());
        let check = |query: &str, form: Option<&str>| {
            let form = form.map(str::as_bytes);
            verify(&policy(), Some(query), form, NOW, None).map(|it| it.canonical().to_owned())
        };
        let canonical = check(query, form);
        assert_eq!(canonical.as_deref().ok(), launch["payload"].as_str(), "{launch}");
        // One digit of the time, wherever it stands.
        let later = |text: &str| text.replace("timestamp=17", "timestamp=16");
        let (query, form) = (later(query), form.map(later));
        assert!(check(&query, form.as_deref()).is_err(), "{index}: {query} {form:?}");
    }
    assert!((300..700).contains(&forms), "{forms} forms");
}

#[test]
fn node_verifies_what_we_sign() {
    let mut signed = String::new();
    for launch in launches(1000) {
        // As it came, signature and all; then as pairs that nobody has sorted.
        let query = launch["query"].as_str().unwrap();
        let form = launch["form"].as_str().unwrap_or_default();
        let mut pairs: Vec<Pair<'_>> = vestibule::policy::query::pairs(query.as_bytes())
            .chain(vestibule::policy::query::pairs(form.as_bytes()))
            .collect();
        pairs.reverse();
        let mut text = String::new();
        serialise(&pairs, &mut text);
        signed.push_str(&policy().sign(&text, NOW).unwrap());
        signed.push('\n');
    }
    assert_eq!(signed.lines().count(), 1000);
    let mut node = Command::new("node");
    node.arg(source("tests/signing/oracle.mjs")).arg("verify");
    assert_eq!(printed(&run(&mut node, &signed).unwrap()), "");
}
