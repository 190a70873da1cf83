use std::io::Read;

use super::*;
use crate::state::encoded::Asset;

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => {
            // What a stream has so far may be read, too.
            let _ = flate2::read::GzDecoder::new(bytes).read_to_end(&mut out);
        }
        Coding::Brotli => {
            let _ = brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out);
        }
        Coding::Zstd => {
            let mut context = zstd_safe::DCtx::create();
            let mut input = InBuffer::around(bytes);
            let mut piece = vec![0; 1 << 16];
            loop {
                let mut output = OutBuffer::around(&mut piece[..]);
                context.decompress_stream(&mut output, &mut input).unwrap();
                let count = output.pos();
                out.extend_from_slice(&piece[..count]);
                if count == 0 {
                    break;
                }
            }
        }
    }
    out
}

fn take(encoder: &mut Encoder, into: &mut Vec<u8>) {
    // As a slow client does.
    while !encoder.own().is_empty() {
        let count = encoder.own().len().min(1000);
        into.extend_from_slice(&encoder.own()[..count]);
        encoder.sent(count);
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| b"the quick brown fox "[(index * index / 7) % 20]).collect()
}

#[test]
fn what_goes_in_comes_out() {
    let compressor = Arc::new(Compressor::default());
    for coding in ALL {
        for effort in [Effort::Once, Effort::ToKeep] {
            for (length, is_known) in [(0, false), (1, true), (70_000, true), (3_000_000, false)] {
                let text = text(length);
                let known = is_known.then_some(length as u64);
                let mut encoder = compressor.encoder(coding, known, effort).unwrap();
                let mut out = Vec::new();
                for piece in text.chunks(65_536) {
                    take(&mut encoder, &mut out);
                    encoder.write(piece).unwrap();
                }
                encoder.finish().unwrap();
                take(&mut encoder, &mut out);
                assert_eq!(decoded(coding, &out), text, "{coding:?} {length}");
                assert!(length < 1000 || out.len() < length / 2, "{coding:?} {}", out.len());
            }
        }
    }
}

#[test]
fn a_flush_holds_nothing_back() {
    let compressor = Arc::new(Compressor::default());
    for coding in ALL {
        let mut encoder = compressor.encoder(coding, None, Effort::Once).unwrap();
        let mut out = Vec::new();
        let mut sent = Vec::new();
        for index in 0..50 {
            let event = format!("{{\"token\": {index}}}\n").repeat(index % 7 + 1);
            encoder.write(event.as_bytes()).unwrap();
            sent.extend_from_slice(event.as_bytes());
            encoder.flush().unwrap();
            take(&mut encoder, &mut out);
            assert_eq!(decoded(coding, &out), sent, "{coding:?} {index}");
            let before = out.len();
            encoder.flush().unwrap();
            take(&mut encoder, &mut out);
            assert_eq!(out.len(), before, "a second pause costs nothing");
        }
    }
}

#[test]
fn memory_is_lent_and_given_back() {
    let compressor = Arc::new(Compressor::default());
    let mut lent = Vec::new();
    while let Some(share) = compressor.lend(memory(Coding::Gzip, Effort::Once)) {
        lent.push(share);
        assert!(lent.len() < 1000);
    }
    assert!(lent.len() > 300, "{}", lent.len());
    assert!(compressor.encoder(Coding::Gzip, None, Effort::Once).is_none());
    lent.pop();
    assert!(compressor.encoder(Coding::Gzip, None, Effort::Once).is_some());
    drop(lent);
    assert_eq!(compressor.taken.load(Ordering::Acquire), 0);
}

#[test]
fn what_was_kept_is_passed_and_nothing_else_is_looked_at() {
    let compressor = Arc::new(Compressor::default());
    compressor.kept.follow(["acme"]);
    let place = Place {
        tenant: "acme".into(),
        asset: Asset {
            upstream: "app".into(),
            target: "/a.js".into(),
            validator: b"\"1\"".as_slice().into(),
            length: 100_000,
            coding: Coding::Gzip,
        },
        now: UnixSeconds(0),
    };
    let encoder = compressor.encoder(Coding::Gzip, Some(100_000), Effort::ToKeep).unwrap();
    let mut encoder = encoder.keeping(Arc::clone(&compressor), place.clone());
    let mut out = Vec::new();
    for piece in text(100_000).chunks(777) {
        encoder.write(piece).unwrap();
        encoder.flush().unwrap();
        take(&mut encoder, &mut out);
    }
    assert_eq!(compressor.kept.get(&place), None, "half of it is not kept");
    encoder.finish().unwrap();
    take(&mut encoder, &mut out);
    let kept = compressor.kept.get(&place).unwrap();
    assert_eq!(*kept, *out);
    let mut again = Encoder::kept(kept);
    assert_eq!(again.length(), Some(out.len() as u64));
    let mut passed = Vec::new();
    again.write(b"anything").unwrap();
    again.flush().unwrap();
    take(&mut again, &mut passed);
    again.finish().unwrap();
    take(&mut again, &mut passed);
    assert_eq!(passed, out);
}
