//! What it costs to verify a signed launch, from the query and the form to the witness.

#![allow(clippy::unwrap_used, reason = "a bench that cannot start should say where")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use vestibule::policy::metadata::Parameters;
use vestibule::policy::secret::Secret;
use vestibule::policy::signature::{Replay, SigningPolicy, Terms, verify};

const NOW: u64 = 1_763_683_200_000;

fn policy(secrets: usize) -> SigningPolicy {
    let secrets: Vec<_> = (1..=secrets).map(|n| Secret::new([n as u8; 32]).unwrap()).collect();
    let terms = Terms {
        max_age: Duration::from_secs(300),
        replay: Replay::Bind,
        ignore: ["utm_source", "utm_medium", "fbclid"].map(Box::from).into(),
        claims: ["mode", "user_id", "user_name"].map(Box::from).into(),
        forward_signature: false,
    };
    SigningPolicy::new(&secrets, terms).unwrap()
}

fn launches(c: &mut Criterion) {
    let one = policy(1);
    let seed = one.sign("user_name=John", NOW).unwrap();
    let full = "mode=customer&user_id=12345&user_name=Zo%C3%AB+%E6%9D%8E&locale=en&plan=gold\
                &direction=rtl&utm_source=mail";
    let full = one.sign(full, NOW).unwrap();
    let changed = seed.replace("John", "Jane");
    for (name, secrets, query) in
        [("the seed's", 1, &seed), ("eight parameters", 1, &full), ("three secrets", 3, &full)]
    {
        let policy = policy(secrets);
        c.bench_function(&format!("signature: {name}"), |b| {
            b.iter(|| {
                let query = Some(black_box(&**query));
                let verified = verify(&policy, query, None, NOW, None).unwrap();
                black_box(verified.forward_query().is_some())
            });
        });
    }
    c.bench_function("signature: eight parameters, and metadata from them", |b| {
        b.iter(|| {
            let verified = verify(&one, Some(black_box(&*full)), None, NOW, None).unwrap();
            Parameters::from_pairs(verified.pairs()).unwrap().is_bare()
        });
    });
    c.bench_function("signature: refused", |b| {
        b.iter(|| verify(&one, Some(black_box(&*changed)), None, NOW, None).is_err());
    });
    // Fifty messages of 2,000 Chinese characters: 900 KB of escapes.
    let messages = format!("prefillMessages={}", "%E6%9D%8E".repeat(100_000));
    let form = one.sign(&messages, NOW).unwrap();
    c.bench_function("signature: a form of 900 KB", |b| {
        b.iter(|| verify(&one, None, Some(black_box(form.as_bytes())), NOW, None).is_ok());
    });
}

criterion_group!(benches, launches);
criterion_main!(benches);
