//! A launch's parameters, read, put into their order and printed.

use std::borrow::Cow;
use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{MAX_PARAMETERS, SIGNATURE, SigningPolicy, TIMESTAMP};
use crate::policy::query::{self, Pair, raw_pairs, serialise};
use crate::rejection::{Code, Rejection};

/// Where a parameter came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Query,
    Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent<'r> {
    pub pair: Pair<'r>,
    pub part: Part,
}

/// A request's parameters, decoded and sorted out, and nothing checked.
pub(super) struct Read<'r> {
    /// Without signatures and what is ignored, in the order in which they came.
    pub sent: Vec<Sent<'r>>,
    pub signatures: SmallVec<[(Cow<'r, str>, Part); 1]>,
    pub timestamps: SmallVec<[Cow<'r, str>; 1]>,
}

impl<'r> Read<'r> {
    pub fn of(
        policy: &SigningPolicy,
        query: Option<&'r str>,
        form: Option<&'r [u8]>,
    ) -> Result<Self, Rejection> {
        let query = query.unwrap_or_default().as_bytes();
        let form = form.unwrap_or_default();
        let most = (query.len() + form.len()).div_ceil(2).min(16);
        let mut read = Self {
            sent: Vec::with_capacity(most),
            signatures: SmallVec::new(),
            timestamps: SmallVec::new(),
        };
        let query = raw_pairs(query).map(|raw| (raw, Part::Query));
        let both = query.chain(raw_pairs(form).map(|raw| (raw, Part::Form)));
        for (index, (raw, part)) in both.enumerate() {
            if index == MAX_PARAMETERS {
                let why = "more parameters than a signed launch may have";
                return Err(Rejection::new(Code::ParameterInvalid, why)
                    .with_detail("A signed launch has at most 1000 parameters."));
            }
            let pair = raw.decoded();
            match &*pair.name {
                SIGNATURE => read.signatures.push((pair.value, part)),
                name if policy.ignores(name) => {}
                name => {
                    if name == TIMESTAMP {
                        read.timestamps.push(pair.value.clone());
                    }
                    read.sent.push(Sent { pair, part });
                }
            }
        }
        Ok(read)
    }

    pub fn signature(&self) -> Result<[u8; 32], Rejection> {
        let invalid = |reason, detail: &'static str| {
            Err(Rejection::new(Code::SignatureInvalid, reason).with_detail(detail))
        };
        match self.signatures.as_slice() {
            [] => Err(Rejection::new(Code::SignatureMissing, "no signature")),
            [(text, _)] => match hex(text) {
                Some(signature) => Ok(signature),
                None => invalid(
                    "the signature is not hexadecimal",
                    "A signature is the 64 hexadecimal digits of an HMAC-SHA256.",
                ),
            },
            _ => invalid("several signatures", "There is more than one signature."),
        }
    }

    pub fn timestamp(&self) -> Result<u64, Rejection> {
        let invalid = |reason, detail: &'static str| {
            Err(Rejection::new(Code::TimestampInvalid, reason).with_detail(detail))
        };
        let text = match self.timestamps.as_slice() {
            [] => return Err(Rejection::new(Code::TimestampMissing, "no timestamp")),
            [text] => text,
            _ => return invalid("several timestamps", "There is more than one timestamp."),
        };
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match (is_number, text.len()) {
            (true, 13) => Ok(text.parse().expect("13 digits are a number")),
            (true, 10) => invalid(
                "the timestamp is in seconds",
                "The timestamp looks like seconds: send milliseconds, which have 13 digits.",
            ),
            _ => invalid(
                "the timestamp is not 13 digits",
                "A timestamp is the milliseconds since 1970, which have 13 digits.",
            ),
        }
    }
}

/// In the order of the canonical form.
pub(super) fn sorted(mut sent: Vec<Sent<'_>>) -> Result<Vec<Sent<'_>>, Rejection> {
    sent.sort_by(by_name);
    let in_both =
        |pair: &[Sent<'_>]| pair[0].part != pair[1].part && pair[0].pair.name == pair[1].pair.name;
    if sent.windows(2).any(in_both) {
        return Err(Rejection::new(
            Code::ParameterDuplicate,
            "a name in the query and in the form",
        )
        .with_detail("A parameter stands in the query and in the form."));
    }
    Ok(sent)
}

pub(super) fn by_name(one: &Sent<'_>, other: &Sent<'_>) -> Ordering {
    query::by_code_unit(&one.pair.name, &other.pair.name)
}

pub(super) fn printed(sent: &[Sent<'_>]) -> String {
    let size = |sent: &Sent<'_>| sent.pair.name.len() + sent.pair.value.len() + 2;
    let mut text = String::with_capacity(sent.iter().map(size).sum::<usize>() + 32);
    serialise(sent.iter().map(|sent| &sent.pair), &mut text);
    text
}

/// Takes the carriage returns back that a browser put into the values of a form; false where there
/// are none.
pub(super) fn with_line_feeds(sent: &mut [Sent<'_>]) -> bool {
    let mut changed = false;
    for Sent { pair, .. } in sent.iter_mut().filter(|sent| sent.part == Part::Form) {
        if pair.value.contains("\r\n") {
            pair.value = Cow::Owned(pair.value.replace("\r\n", "\n"));
            changed = true;
        }
    }
    changed
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if digits.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        let value = |digit: &u8| char::from(*digit).to_digit(16).map(|value| value as u8);
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

pub(super) fn push_signature(signature: &[u8], query: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str("signature=");
    for byte in signature {
        query.push(char::from(DIGITS[usize::from(byte >> 4)]));
        query.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
