//! The operator's page, as it is in the binary.
//!
//! It holds no data: what it shows it asks for, with the token where there is one. Its policy lets it
//! run nothing and reach nothing that is not from here, and lets nobody frame it.

use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Response, StatusCode};

use super::content::Content;

/// One file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Page,
    Style,
    Script,
}

impl File {
    pub(super) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/page.css" => Self::Style,
            "/page.js" => Self::Script,
            _ => return None,
        })
    }

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Page => include_bytes!("page/page.html"),
            Self::Style => include_bytes!("page/page.css"),
            Self::Script => include_bytes!("page/page.js"),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
        }
    }

    /// Names the content, so that another version of the server is noticed.
    fn tag(self) -> &'static HeaderValue {
        static TAGS: [OnceLock<HeaderValue>; 3] = [const { OnceLock::new() }; 3];
        TAGS[self as usize].get_or_init(|| {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.bytes());
            let name = BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12]);
            // Letters, digits, `-` and `_` are a header's value.
            HeaderValue::try_from(format!("\"{name}\"")).unwrap_or(HeaderValue::from_static("\"\""))
        })
    }
}

const SECURITY: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The file, or that it is the one that the browser has.
pub(super) fn answer(file: File, asked: &HeaderMap) -> Response<Content> {
    let tag = file.tag();
    let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|known| names(known, tag));
    let mut response = match is_known {
        true => Response::new(Content::from("")),
        false => Response::new(Content::from(file.bytes())),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type()));
    headers.insert(ETAG, tag.clone());
    // It is asked for each time: an upgrade of the server is one of the page too.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    for (name, value) in SECURITY {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// RFC 9110, section 13.1.2: whether one of the listed tags is this one, compared weakly.
fn names(listed: &HeaderValue, tag: &HeaderValue) -> bool {
    let mut listed = listed.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    listed.any(|one| one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let tag = File::Page.tag().to_str().unwrap().to_owned();
        for (known, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"x\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"x\"".to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(IF_NONE_MATCH, HeaderValue::try_from(&known).unwrap());
            assert_eq!(answer(File::Page, &asked).status().as_u16(), status, "{known}");
        }
        let tags = [File::Page, File::Style, File::Script].map(File::tag);
        assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    }
}
