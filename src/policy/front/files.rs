//! How a file is answered: whole, in part, or with the word that the client has it already.
//!
//! RFC 9110: preconditions in the order of section 13.2.2, one range of bytes (section 14); of
//! several ranges none is given, which the section allows. Nothing here reads a file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;

use crate::http1::fields::{Fields, Known, list};
use crate::http1::head::RequestHead;
use crate::policy::front::compression::Coding;

/// What is known about a file before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub length: u64,
    pub modified: SystemTime,
    /// The file holds its contents in this coding.
    pub coding: Option<Coding>,
}

/// What of it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// 206: from this byte on, so many.
    Range {
        first: u64,
        length: u64,
    },
    /// 304
    Known,
    /// 412
    Changed,
    /// 416
    Beyond,
}

impl Facts {
    /// Strong: another time or length, or another coding, is another file.
    pub fn etag(&self) -> String {
        let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let coding = self.coding.map_or("", Coding::as_str);
        format!("\"{since:x}-{:x}{coding}\"", self.length)
    }

    /// What of the file answers the request.
    pub fn part(&self, head: &RequestHead) -> Part {
        let (fields, etag) = (&head.fields, self.etag());
        let etag = etag.as_bytes();
        if let Some(matches) = any_tag(fields, "if-match", |tag| tag == etag) {
            if !matches {
                return Part::Changed;
            }
        } else if let Some(date) = date(fields, "if-unmodified-since")
            && self.seconds() > date
        {
            return Part::Changed;
        }
        let weak = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag) == etag;
        if let Some(matches) = any_tag(fields, "if-none-match", weak) {
            if matches {
                return Part::Known;
            }
        } else if let Some(date) = date(fields, "if-modified-since")
            && self.seconds() <= date
        {
            return Part::Known;
        }
        self.range(head, etag)
    }

    fn range(&self, head: &RequestHead, etag: &[u8]) -> Part {
        let fields = &head.fields;
        let is_same = match fields.named("if-range") {
            None => true,
            Some(tag) if tag.starts_with(b"\"") || tag.starts_with(b"W/") => tag == etag,
            Some(_) => date(fields, "if-range").is_some_and(|date| date == self.seconds()),
        };
        let Some(range) = fields.single(Known::Range).filter(|_| is_same) else {
            return Part::Whole;
        };
        if head.method != Method::GET {
            return Part::Whole;
        }
        match parse(range) {
            None => Part::Whole,
            Some((None, last)) if last == 0 || self.length == 0 => Part::Beyond,
            Some((None, last)) => {
                let length = last.min(self.length);
                Part::Range { first: self.length - length, length }
            }
            Some((Some(first), _)) if first >= self.length => Part::Beyond,
            Some((Some(first), last)) => {
                Part::Range { first, length: last.min(self.length - 1) - first + 1 }
            }
        }
    }

    /// What Last-Modified can say.
    fn seconds(&self) -> SystemTime {
        let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(since.as_secs())
    }
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-count`; anything else is no range of ours.
fn parse(range: &[u8]) -> Option<(Option<u64>, u64)> {
    let text = std::str::from_utf8(range).ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", last) => Some((None, number(last)?)),
        (first, "") => Some((Some(number(first)?), u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((Some(first), last))
        }
    }
}

/// Whether any tag of the field is one; `None` where there is no such field.
fn any_tag(fields: &Fields, name: &str, is_it: impl Fn(&[u8]) -> bool) -> Option<bool> {
    let mut lines = fields.iter().filter(|it| it.name.eq_ignore_ascii_case(name.as_bytes()));
    let first = lines.next()?;
    let mut tags = list(first.value).chain(lines.flat_map(|line| list(line.value)));
    Some(tags.any(|tag| tag == b"*" || is_it(tag)))
}

fn date(fields: &Fields, name: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(fields.named(name)?).ok()?).ok()
}

/// By the name's extension; what is not known is downloaded.
pub fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit('/').next().unwrap_or_default().rsplit_once('.');
    let extension = extension.map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let modified = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        Facts { length: 10, modified, coding: None }
    }

    fn part(lines: &[(&str, &str)]) -> Part {
        let mut head = RequestHead::default();
        for (name, value) in lines {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        facts().part(&head)
    }

    const THEN: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

    #[test]
    fn one_range_is_given() {
        let range = |first, length| Part::Range { first, length };
        for (asked, expected) in [
            ("bytes=0-3", range(0, 4)),
            ("bytes=2-", range(2, 8)),
            ("bytes=-3", range(7, 3)),
            ("bytes=-99", range(0, 10)),
            ("bytes=9-99999999999999999999999", range(9, 1)),
            ("bytes=10-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=+0-1", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            assert_eq!(part(&[("Range", asked)]), expected, "{asked}");
        }
        let etag = facts().etag();
        assert_eq!(part(&[("Range", "bytes=0-3"), ("If-Range", &etag)]), range(0, 4));
        assert_eq!(part(&[("Range", "bytes=0-3"), ("If-Range", "\"old\"")]), Part::Whole);
        let weak = format!("W/{etag}");
        assert_eq!(part(&[("Range", "bytes=0-3"), ("If-Range", &weak)]), Part::Whole);
        assert_eq!(part(&[("Range", "bytes=0-3"), ("If-Range", THEN)]), range(0, 4));
        assert_eq!(part(&[("Range", "bytes=0-3"), ("If-Range", BEFORE)]), Part::Whole);
    }

    #[test]
    fn preconditions_come_in_their_order() {
        let etag = facts().etag();
        let weak = format!("\"x\", W/{etag}");
        for (lines, expected) in [
            (&[("If-None-Match", etag.as_str())][..], Part::Known),
            (&[("If-None-Match", &weak)], Part::Known),
            (&[("If-None-Match", "*")], Part::Known),
            (&[("If-None-Match", "\"x\"")], Part::Whole),
            (&[("If-None-Match", "\"x\""), ("If-Modified-Since", THEN)], Part::Whole),
            (&[("If-Modified-Since", THEN)], Part::Known),
            (&[("If-Modified-Since", BEFORE)], Part::Whole),
            (&[("If-Modified-Since", "yesterday")], Part::Whole),
            (&[("If-Match", &etag)], Part::Whole),
            (&[("If-Match", &weak)], Part::Changed),
            (&[("If-Match", &etag), ("If-Unmodified-Since", BEFORE)], Part::Whole),
            (&[("If-Unmodified-Since", BEFORE)], Part::Changed),
            (&[("If-Unmodified-Since", THEN), ("If-None-Match", &etag)], Part::Known),
        ] {
            assert_eq!(part(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn each_form_of_a_file_has_a_tag_of_its_own() {
        let coded = Facts { coding: Some(Coding::Brotli), ..facts() };
        let later = Facts { modified: facts().modified + Duration::from_nanos(1), ..facts() };
        let longer = Facts { length: 11, ..facts() };
        for other in [coded, later, longer] {
            assert_ne!(other.etag(), facts().etag());
        }
    }

    #[test]
    fn types_follow_the_last_extension() {
        for (name, expected) in [
            ("a/b.min.JS", "text/javascript; charset=utf-8"),
            ("a.b/c", "application/octet-stream"),
            ("index.html", "text/html; charset=utf-8"),
            ("noextension", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }
}
