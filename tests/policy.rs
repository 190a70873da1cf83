//! The rules of launches and sessions, on seeds, on nearly valid input and on noise.

#![allow(clippy::unwrap_used, reason = "a property that does not hold panics")]

#[path = "fuzz/bodies/identity.rs"]
mod identity;

use proptest::prelude::*;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/tests/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds
}

/// A seed with pieces put in, cut out and changed.
fn nearly(name: &str, pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    let edit = (any::<prop::sample::Index>(), 0usize..8, piece);
    (proptest::sample::select(seeds(name)), proptest::collection::vec(edit, 0..4)).prop_map(
        |(mut bytes, edits)| {
            for (at, cut, piece) in edits {
                let start = at.index(bytes.len() + 1);
                let end = (start + cut).min(bytes.len());
                bytes.splice(start..end, piece);
            }
            bytes
        },
    )
}

#[test]
fn seeds_keep_the_rules() {
    seeds("launch_metadata").iter().for_each(|seed| identity::launch_metadata(seed));
    seeds("session_token").iter().for_each(|seed| identity::session_token(seed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn launches_keep_the_rules(bytes in nearly("launch_metadata", &[
        "&", "=", "%", "+", "user_id=", "mode=", "customer", "test", "true", "&user%5fid=9", "0",
    ])) {
        identity::launch_metadata(&bytes);
    }

    #[test]
    fn sessions_keep_the_rules(bytes in nearly("session_token", &[
        ";", "=", "\"", " ", "__Host-vestibule-", "__host-VESTIBULE-x=1", "/.v/", "/", "\0\0\0",
    ])) {
        identity::session_token(&bytes);
    }
}
