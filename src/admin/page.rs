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

/// One file of the page, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File(usize);

#[derive(Debug)]
struct Entry {
    path: &'static str,
    bytes: &'static [u8],
    media_type: &'static str,
    tag: OnceLock<HeaderValue>,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $media_type:ident $name:literal;)*) => {
        /// Each by the path that a browser asks for.
        static FILES: [Entry; 24] = [$(Entry {
            path: $path,
            bytes: include_bytes!(concat!("page/", $name)),
            media_type: $media_type,
            tag: OnceLock::new(),
        },)*];
    };
}

files! {
    "/" HTML "page.html";
    "/door.svg" IMAGE "door.svg";
    "/base.css" STYLE "base.css";
    "/page.css" STYLE "page.css";
    "/parts.css" STYLE "parts.css";
    "/forms.css" STYLE "forms.css";
    "/tables.css" STYLE "tables.css";
    "/page.js" SCRIPT "page.js";
    "/attention.js" SCRIPT "attention.js";
    "/call.js" SCRIPT "call.js";
    "/dom.js" SCRIPT "dom.js";
    "/explain.js" SCRIPT "explain.js";
    "/feed.js" SCRIPT "feed.js";
    "/format.js" SCRIPT "format.js";
    "/handshakes.js" SCRIPT "handshakes.js";
    "/history.js" SCRIPT "history.js";
    "/operate.js" SCRIPT "operate.js";
    "/personas.js" SCRIPT "personas.js";
    "/refusals.js" SCRIPT "refusals.js";
    "/spark.js" SCRIPT "spark.js";
    "/tiles.js" SCRIPT "tiles.js";
    "/upkeep.js" SCRIPT "upkeep.js";
    "/upstreams.js" SCRIPT "upstreams.js";
    "/words.js" SCRIPT "words.js";
}

impl File {
    pub(super) fn at(path: &str) -> Option<Self> {
        FILES.iter().position(|file| file.path == path).map(Self)
    }
}

impl Entry {
    /// Names the content, so that another version of the server is noticed.
    fn tag(&self) -> &HeaderValue {
        self.tag.get_or_init(|| {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.bytes);
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
    let file = &FILES[file.0];
    let tag = file.tag();
    let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|known| names(known, tag));
    let mut response = match is_known {
        true => Response::new(Content::from("")),
        false => Response::new(Content::from(file.bytes)),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
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
    use crate::rejection::Code;

    fn text_of(path: &str) -> &'static str {
        std::str::from_utf8(FILES[File::at(path).unwrap().0].bytes).unwrap()
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let page = File::at("/").unwrap();
        let tag = FILES[page.0].tag().to_str().unwrap().to_owned();
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
            assert_eq!(answer(page, &asked).status().as_u16(), status, "{known}");
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_differs() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
        let there = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
        let mut there: Vec<_> = there.map(|name| format!("/{}", name.to_str().unwrap())).collect();
        let mut served: Vec<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
        served[0] = "/page.html".to_owned();
        there.sort_unstable();
        served.sort_unstable();
        assert_eq!(there, served);
        let tags: std::collections::HashSet<_> = FILES.iter().map(Entry::tag).collect();
        assert_eq!(tags.len(), FILES.len());
    }

    #[test]
    fn what_the_files_name_is_served() {
        let mut named = 0;
        for file in FILES.iter().filter(|file| file.media_type != IMAGE) {
            let text = text_of(file.path);
            for (before, after) in [("from './", "'"), ("src=\"/", "\""), ("\" href=\"/", "\"")] {
                for rest in text.split(before).skip(1) {
                    let name = rest.split(after).next().unwrap();
                    assert!(File::at(&format!("/{name}")).is_some(), "{}: {name}", file.path);
                    named += 1;
                }
            }
        }
        assert!(named > 30, "{named}");
    }

    #[test]
    fn the_page_writes_no_markup() {
        for file in FILES.iter().filter(|file| file.media_type == SCRIPT) {
            let text = text_of(file.path);
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(sink), "{}: {sink}", file.path);
            }
        }
    }

    #[test]
    fn the_page_has_words_for_every_reason() {
        let words = text_of("/words.js");
        for code in Code::ALL {
            assert!(words.contains(&format!("\n  {}: '", code.as_str())), "{}", code.as_str());
        }
    }
}
