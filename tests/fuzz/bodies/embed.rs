//! What we add to documents and what their script posts: a document is never changed but for the
//! tag; a configuration, and what a page tells of its handshake, are read as any JSON parser reads them.

use serde_json::Value;
use vestibule::embed::config::parse;
use vestibule::embed::splice::{Look, Splice};

const TAG: &[u8] = b"\x01tag\x02";

/// One byte says how the document is cut, one how much is taken at once; the rest is the document.
pub fn splice_document(bytes: &[u8]) {
    let [cut, most, document @ ..] = bytes else { return };
    let whole = spliced(std::iter::once(document), usize::MAX);
    let place = whole.windows(TAG.len()).position(|part| part == TAG).expect("it has a place");
    let without = [&whole[..place], &whole[place + TAG.len()..]].concat();
    let is_ours = !document.windows(TAG.len()).any(|part| part == TAG);
    assert!(!is_ours || without == document, "nothing else changes");
    let pieces = document.chunks(usize::from(*cut % 11) + 1);
    assert_eq!(spliced(pieces, usize::from(*most % 7) + 1), whole, "pieces do not matter");
}

fn spliced<'d>(pieces: impl Iterator<Item = &'d [u8]>, most: usize) -> Vec<u8> {
    let mut splice = Splice::new(TAG.into());
    let mut out = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            send_own(&mut splice, most, &mut out);
            let count = match splice.look(piece) {
                Look::Pass(count) => {
                    let count = count.min(most);
                    out.extend_from_slice(&piece[..count]);
                    splice.passed(count);
                    count
                }
                Look::Took(count) => count,
                Look::Own if splice.is_over() => {
                    out.extend_from_slice(piece);
                    piece.len()
                }
                Look::Own => {
                    assert!(!splice.own().is_empty(), "it makes progress");
                    0
                }
            };
            piece = &piece[count..];
        }
    }
    send_own(&mut splice, most, &mut out);
    splice.end();
    send_own(&mut splice, most, &mut out);
    assert!(splice.is_over());
    out
}

fn send_own(splice: &mut Splice, most: usize, out: &mut Vec<u8>) {
    while !splice.own().is_empty() {
        let count = splice.own().len().min(most);
        out.extend_from_slice(&splice.own()[..count]);
        splice.sent(count);
    }
}

/// The whole is a posted configuration.
pub fn embed_config(bytes: &[u8]) {
    let Ok(parameters) = parse(bytes) else { return };
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        // A number, a depth or a surrogate that a value cannot hold, in a name that is not ours.
        return;
    };
    let payload = value.get("payload").filter(|payload| !payload.is_null()).unwrap_or(&value);
    for (name, read) in [
        ("mode", &parameters.mode),
        ("user_id", &parameters.user_id),
        ("require_user_id", &parameters.require_user_id),
        ("allow_generated_id", &parameters.allow_generated_id),
        ("direction", &parameters.direction),
    ] {
        match (payload.get(name), read.as_deref()) {
            (None | Some(Value::Null), None) => {}
            (Some(Value::String(text)), Some(read)) => assert_eq!(text, read, "{name}"),
            (Some(Value::Bool(flag)), Some(read)) => assert_eq!(flag.to_string(), read, "{name}"),
            (Some(Value::Number(_)), Some(read)) => {
                assert_eq!(name, "user_id");
                let is_number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
                assert!(read.bytes().all(is_number), "{read}");
            }
            (written, read) => panic!("{name}: {written:?} was read as {read:?}"),
        }
    }
}

/// The whole is what a page tells of its handshake.
pub fn beacon(bytes: &[u8]) {
    let Ok((handshake, launch)) = vestibule::policy::beacon::parse(bytes) else { return };
    let value: Value = serde_json::from_slice(bytes).expect("it is JSON");
    assert_eq!(value.get("launch").and_then(Value::as_str), launch);
    assert_eq!(value["outcome"], handshake.outcome.as_str());
    let number = |name: &str| value.get(name).and_then(Value::as_f64);
    let shown = number("shown").expect("it is required");
    let ended = Some(handshake.ended);
    for (name, read) in [("ready", handshake.ready), ("config", handshake.config), ("ended", ended)]
    {
        assert!(read <= ended, "{name} is not after the end");
        match (number(name), read) {
            (None, None) => {}
            (Some(written), Some(read)) => {
                let millis = read.as_secs_f64() * 1000.0;
                assert!((written - shown - millis).abs() < 0.001, "{name}");
            }
            (written, read) => panic!("{name}: {written:?} was read as {read:?}"),
        }
    }
    let took = handshake.took();
    assert!(took <= ended && took.is_some() == (handshake.outcome.as_str() == "ack"));
}
