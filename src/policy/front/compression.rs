//! Which answers are compressed, and with what.
//!
//! Decides from the heads of both sides. The client's wishes are RFC 9110's: the highest weight
//! wins, our own order where weights are equal, and nothing is compressed for whoever asked for
//! nothing. What an answer is decides the rest: never what is encoded already, what may not be
//! transformed, a part of something (206), an event stream, or what is too small to gain.
//!
//! **BREACH.** Compression tells the length of a secret to whoever can make a visitor's browser ask
//! for it again and again, with guesses in the address, and watch the wire. NGINX and Caddy leave
//! that to their operators. Here an answer to another site's request (`Sec-Fetch-Site: cross-site`,
//! which no script can forge) is compressed only if it is nobody's secret: its Cache-Control says
//! public or immutable, or it is a script, a style, a font, an image. Everything a chat loads for
//! itself comes from its own site. That leaves the page itself in the frame of another site, which
//! is small, and old browsers that do not say where they ask from.
//!
//! What must not happen: an answer changes with Accept-Encoding and does not say so (`Vary`).

#[cfg(test)]
mod tests;

use http::{Method, StatusCode};

use crate::http1::fields::{Field, Fields, Known, list};
use crate::http1::head::{RequestHead, ResponseHead, Version};

/// A content coding that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// As it stands in Content-Encoding.
    pub const fn as_str(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }
}

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// The first is taken where the client likes several equally. Not empty.
    pub codings: Box<[Coding]>,
    /// Answers that say that they are shorter pass as they are.
    pub min_bytes: u64,
    pub types: Box<[MediaRange]>,
}

impl Compression {
    pub const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    /// Below, head and checksum eat the gain.
    pub const MIN_BYTES: u64 = 1024;
    /// Text in all its forms; what is compressed by nature is left alone.
    pub const TYPES: [&'static str; 15] = [
        "text/*",
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/xml",
        "application/wasm",
        "application/x-javascript",
        "application/vnd.ms-fontobject",
        "*/*+json",
        "*/*+xml",
        "font/ttf",
        "font/otf",
        "image/bmp",
        "image/x-icon",
        "image/vnd.microsoft.icon",
    ];

    /// What the client would like best of what we make. An HTTP/1.0 client gets what it always got.
    pub fn negotiate(&self, head: &RequestHead) -> Option<Coding> {
        if head.version == Version::Http10 || forbids_transforming(&head.fields) {
            return None;
        }
        let mut best: Option<(u16, Coding)> = None;
        for &coding in &self.codings {
            let weight = weight(&head.fields, coding);
            if weight > best.map_or(0, |(weight, _)| weight) {
                best = Some((weight, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }

    /// Decides about an answer whose body is so long, if that is known.
    pub fn decide(&self, asked: &RequestHead, head: &ResponseHead, length: Option<u64>) -> Verdict {
        let fields = &head.fields;
        if head.status == StatusCode::NOT_MODIFIED {
            let knows_coded = knows_weakened(asked, fields);
            return if knows_coded { Verdict::Confirm } else { Verdict::Pass };
        }
        let has_room = head.status.is_success() || head.status.is_client_error();
        let is_whole = !matches!(head.status.as_u16(), 204..=206);
        let fits = has_room
            && is_whole
            && asked.method != Method::CONNECT
            && fields.get(Known::ContentEncoding).is_none()
            && length.is_none_or(|length| length >= self.min_bytes)
            && fields.single(Known::ContentType).is_some_and(|value| self.has_type(value))
            && !forbids_transforming(fields)
            && !fields.iter().any(|field| is_digest(&field));
        if !fits {
            return Verdict::Pass;
        }
        match self.negotiate(asked) {
            Some(coding) if !may_be_guessed_at(asked, head) => Verdict::Encode(coding),
            _ => Verdict::Vary,
        }
    }

    fn has_type(&self, value: &[u8]) -> bool {
        let essence = essence(value);
        let Some(at) = memchr::memchr(b'/', essence) else { return false };
        let (kind, what) = (&essence[..at], &essence[at + 1..]);
        !essence.eq_ignore_ascii_case(b"text/event-stream")
            && self.types.iter().any(|range| range.matches(kind, what))
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// It passes as it is.
    #[default]
    Pass,
    /// It passes as it is, and would not for everybody.
    Vary,
    Encode(Coding),
    /// A 304 about something that was encoded here.
    Confirm,
}

/// Media types: `text/css`, `text/*`, `*/*+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange {
    kind: Option<Box<str>>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Any,
    Exactly(Box<str>),
    Suffix(Box<str>),
}

impl MediaRange {
    /// `None` where it is not written as above.
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |text: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
            !text.is_empty() && text.chars().all(good)
        };
        let (kind, what) = text.split_once('/')?;
        let (any_kind, any) = (kind == "*", what == "*");
        let suffix = what.strip_prefix('*').filter(|suffix| suffix.len() > 1);
        let sound = match suffix {
            Some(suffix) => suffix.starts_with('+') && is_token(&suffix[1..]),
            None => !any_kind && (any || is_token(what)),
        };
        if !sound || !any_kind && !is_token(kind) {
            return None;
        }
        let what = match suffix {
            _ if any => What::Any,
            Some(suffix) => What::Suffix(suffix.into()),
            None => What::Exactly(what.into()),
        };
        Some(Self { kind: (!any_kind).then(|| kind.into()), what })
    }

    /// The second half first: many ranges have the same first one.
    fn matches(&self, kind: &[u8], what: &[u8]) -> bool {
        let same = |text: &str, bytes: &[u8]| text.as_bytes().eq_ignore_ascii_case(bytes);
        let is_what = match &self.what {
            What::Any => true,
            What::Exactly(wanted) => same(wanted, what),
            What::Suffix(suffix) => what
                .len()
                .checked_sub(suffix.len())
                .is_some_and(|start| start > 0 && same(suffix, &what[start..])),
        };
        is_what && self.kind.as_deref().is_none_or(|wanted| same(wanted, kind))
    }
}

/// What proves that two answers to the same address have the same body, where they may be kept for
/// everybody: Streamlit's and other bundlers' assets with hashed names.
pub fn keepsake<'h>(asked: &RequestHead, head: &'h ResponseHead) -> Option<&'h [u8]> {
    let fields = &head.fields;
    let varies = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"vary"));
    let same_for_all = varies.flat_map(|field| list(field.value)).all(|name| {
        name.eq_ignore_ascii_case(b"accept-encoding") || name.eq_ignore_ascii_case(b"origin")
    });
    let is_plain = asked.method == Method::GET
        && head.status == StatusCode::OK
        && asked.fields.get(Known::Authorization).is_none()
        && fields.get(Known::SetCookie).is_none();
    if !is_plain || !same_for_all || !stays(fields) {
        return None;
    }
    let etag = fields.named("etag").filter(|etag| etag.starts_with(b"\""));
    etag.or_else(|| fields.named("last-modified"))
}

/// Cache-Control says that it is everybody's for a day or longer.
fn stays(fields: &Fields) -> bool {
    const DAY: u64 = 86_400;
    let mut stays = false;
    for directive in cache_control(fields) {
        let (name, value) = match memchr::memchr(b'=', directive) {
            Some(at) => (&directive[..at], &directive[at + 1..]),
            None => (directive, &b""[..]),
        };
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        if is(b"no-store") || is(b"no-cache") || is(b"private") {
            return false;
        }
        let seconds = || std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        stays |= is(b"immutable") || is(b"max-age") && seconds().is_some_and(|age: u64| age >= DAY);
    }
    stays
}

/// Whether Vary names Accept-Encoding already, or everything.
pub fn varies(fields: &Fields) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(b"vary"))
        .flat_map(|field| list(field.value))
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// What the client makes of a coding, in thousandths; none where it is not named or malformed.
fn weight(fields: &Fields, coding: Coding) -> u16 {
    let mut any = 0;
    for member in fields.all(Known::AcceptEncoding).flat_map(list) {
        let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = match (parts.next(), parts.next()) {
            (None, _) => 1000,
            (Some(weight), None) => thousandths(weight).unwrap_or(0),
            (Some(_), Some(_)) => 0,
        };
        let is_alias = coding == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip");
        if name.eq_ignore_ascii_case(coding.as_str().as_bytes()) || is_alias {
            return weight;
        }
        if name == b"*" {
            any = weight;
        }
    }
    any
}

/// `q=0.5` (RFC 9110, section 12.4.2).
fn thousandths(weight: &[u8]) -> Option<u16> {
    let value = weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut sum = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, worth) in fraction.iter().zip([100, 10, 1]) {
        sum += u16::from(digit.checked_sub(b'0').filter(|&digit| digit < 10)?) * worth;
    }
    (sum <= 1000).then_some(sum)
}

fn may_be_guessed_at(asked: &RequestHead, head: &ResponseHead) -> bool {
    let site = asked.fields.get(Known::SecFetchSite);
    if !site.is_some_and(|site| site.eq_ignore_ascii_case(b"cross-site")) {
        return false;
    }
    let is_public = cache_control(&head.fields).any(|directive| {
        directive.eq_ignore_ascii_case(b"public") || directive.eq_ignore_ascii_case(b"immutable")
    });
    let essence = head.fields.get(Known::ContentType).map(essence).unwrap_or_default();
    let begins = |kind: &[u8]| {
        essence.get(..kind.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(kind))
    };
    let ends = essence.len() >= 10 && {
        let end = &essence[essence.len() - 10..];
        end.eq_ignore_ascii_case(b"javascript")
    };
    let is_asset = ends
        || [&b"text/css"[..], b"font/", b"image/", b"application/wasm"].into_iter().any(begins);
    !is_public && !is_asset
}

fn forbids_transforming(fields: &Fields) -> bool {
    cache_control(fields).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

fn cache_control(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    let is_it = |field: &Field<'_>| {
        field.known == Known::Other && field.name.eq_ignore_ascii_case(b"cache-control")
    };
    fields.iter().filter(is_it).flat_map(|field| list(field.value))
}

/// Digests are of the bytes as they were.
fn is_digest(field: &Field<'_>) -> bool {
    const NAMES: [&[u8]; 4] = [b"content-digest", b"content-md5", b"digest", b"repr-digest"];
    field.known == Known::Other && NAMES.iter().any(|name| field.name.eq_ignore_ascii_case(name))
}

/// Whether the client asked about our form of what a 304 confirms: its ETag made weak.
fn knows_weakened(asked: &RequestHead, fields: &Fields) -> bool {
    let Some(etag) = fields.named("etag").filter(|etag| etag.starts_with(b"\"")) else {
        return false;
    };
    let known = asked.fields.iter().filter(|it| it.name.eq_ignore_ascii_case(b"if-none-match"));
    known.flat_map(|field| list(field.value)).any(|it| it.strip_prefix(b"W/") == Some(etag))
}

fn essence(value: &[u8]) -> &[u8] {
    value[..memchr::memchr(b';', value).unwrap_or(value.len())].trim_ascii()
}
