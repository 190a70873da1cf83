//! Compression of an answer on its way: which encoder, and what its head says then.
//!
//! Applies what [`crate::policy::front::compression`] decides. A strong ETag becomes weak, because
//! the bytes are others than the app's; Accept-Ranges goes, because ranges would be of the app's.

use crate::compress::{Effort, Encoder};
use crate::http1::fields::{Field, Fields, Known};
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, ResponseHead};
use crate::pipeline::Dress;
use crate::policy::front::compression::{Verdict, keepsake, varies};
use crate::state::encoded::{Asset, Place};

/// Decides about a final answer, whose body, spliced, is framed so; `dress` remembers it for the
/// head. None where the body passes as it is, or there is none.
pub fn encoder(
    asked: &RequestHead,
    head: &ResponseHead,
    framing: Framing,
    dress: &mut Dress,
) -> Option<Encoder> {
    let Dress { owner: Some(owner), order: Some(order), bridge, .. } = dress else { return None };
    let policy = owner.front().compression.as_ref()?;
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Empty => declared_length(&head.fields),
        Framing::Chunked | Framing::UntilClose => None,
    };
    order.verdict = policy.decide(asked, head, length);
    let Verdict::Encode(coding) = order.verdict else { return None };
    if !framing.has_body() {
        return None;
    }
    // Where the client says nothing about codings, nothing was negotiated.
    let compressor = order.compressor.as_ref()?;
    let own = || head.fields.named("etag").filter(|_| order.is_file);
    let place = match (keepsake(asked, head).or_else(own), length) {
        (Some(validator), Some(length)) if !*bridge => Some(Place {
            tenant: owner.tenant().clone(),
            asset: Asset {
                upstream: owner.upstream().name.clone(),
                target: order.target.as_str().into(),
                validator: validator.into(),
                length,
                coding,
            },
            now: order.now,
        }),
        _ => None,
    };
    if let Some(kept) = place.as_ref().and_then(|place| compressor.kept.get(place)) {
        return Some(Encoder::kept(kept));
    }
    let effort = if place.is_some() { Effort::ToKeep } else { Effort::Once };
    let Some(encoder) = compressor.encoder(coding, length, effort) else {
        order.verdict = Verdict::Vary;
        return None;
    };
    Some(match place {
        Some(place) => encoder.keeping(compressor.clone(), place),
        None => encoder,
    })
}

pub fn verdict(dress: &Dress) -> Verdict {
    dress.order.as_ref().map_or(Verdict::Pass, |order| order.verdict)
}

/// What the upstream said about the length is not about what the client gets.
pub fn is_encoded(dress: &Dress) -> bool {
    matches!(verdict(dress), Verdict::Encode(_))
}

/// Whether a field of the upstream does not pass as it is; what passes instead was put.
pub fn replaces(verdict: Verdict, field: &Field<'_>, put: &mut impl FnMut(&[u8], &[u8])) -> bool {
    let is_about_bytes = match verdict {
        Verdict::Pass | Verdict::Vary => return false,
        Verdict::Encode(_) | Verdict::Confirm => field.known == Known::Other,
    };
    let is = |name: &[u8]| is_about_bytes && field.name.eq_ignore_ascii_case(name);
    if is(b"etag") && field.value.starts_with(b"\"") {
        put(field.name, &[b"W/", field.value].concat());
        return true;
    }
    is(b"accept-ranges") && matches!(verdict, Verdict::Encode(_))
}

/// Fields that join the upstream's.
pub fn add(verdict: Verdict, fields: &Fields, put: &mut impl FnMut(&[u8], &[u8])) {
    if verdict == Verdict::Pass {
        return;
    }
    if let Verdict::Encode(coding) = verdict {
        put(b"Content-Encoding", coding.as_str().as_bytes());
    }
    if !varies(fields) {
        put(b"Vary", b"Accept-Encoding");
    }
}

/// Of an answer without a body, to HEAD.
fn declared_length(fields: &Fields) -> Option<u64> {
    std::str::from_utf8(fields.single(Known::ContentLength)?).ok()?.parse().ok()
}
