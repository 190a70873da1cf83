//! Nearly valid input for bodies without a grammar: seeds with pieces put in, cut out and changed.

use std::path::Path;

use proptest::prelude::*;

pub fn of_seeds(
    body: &str,
    pieces: &'static [&'static str],
) -> impl Strategy<Value = Vec<u8>> + use<> {
    let piece = prop_oneof![
        prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    let edit = (any::<prop::sample::Index>(), 0usize..8, piece);
    (prop::sample::select(seeds(body)), prop::collection::vec(edit, 0..4)).prop_map(
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

fn seeds(body: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(body);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    // In the same order everywhere, so that a failing input is found again.
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}
