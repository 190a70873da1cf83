//! Pages of our own that a frame shows in the app's place: while it waits for its user, where the
//! browser keeps no cookie, and where a launch is refused.
//!
//! Decides their words and their policies. They are for visitors, so they say what a visitor can
//! do, and give those who run the chat the two words that they need: the code and the request id.
//!
//! What must not happen: a page loads anything from elsewhere, runs a script other than the
//! bridge, or says a value that was not escaped.
//!
//! The policy of each page is complete except for `frame-ancestors`: that is added as to any
//! document, by [`crate::policy::csp::CompiledCsp::edit`] with [`Page::csp`] as the upstream's.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::escape;
use crate::policy::metadata::Direction;
use crate::rejection::Code;

/// A complete page; to be sent with `Cache-Control: no-store`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub body: String,
    /// The value of its Content-Security-Policy.
    pub csp: String,
}

impl Page {
    pub const CONTENT_TYPE: &'static str = "text/html; charset=utf-8";
}

const STYLE: &str = include_str!("pages/style.css");

/// Waits for the page around it to say who is asking (`strict_config`). `tag` is the bridge's
/// element, from [`super::tag`]: the bridge loads the chat once the session is complete.
pub fn waiting(tag: &str, direction: Option<Direction>) -> Page {
    let main = "<p role=\"status\"><bdi>Connecting<i class=\"dots\" aria-hidden=\"true\"></i>\
                </bdi></p>\n<p class=\"late\"><bdi>This takes longer than it should. Reload the \
                page that this chat is part of.</bdi></p>\n<noscript><p><bdi>This chat needs \
                JavaScript.</bdi></p></noscript>";
    Page {
        body: page("Connecting", tag, main, direction),
        csp: policy("; script-src 'self'; connect-src 'self'"),
    }
}

/// Says what to do where the browser keeps no cookie for the chat. `open` is the path and query at
/// which the chat opens in a tab of its own; `None` where it must not.
pub fn cookies_refused(open: Option<&str>, direction: Option<Direction>) -> Page {
    let mut main = String::from(
        "<h1><bdi>This browser keeps no cookies for the chat</bdi></h1>\n<p><bdi>The chat needs \
         one, to know that it is still talking to you. You can:</bdi></p>\n<ul>\n<li><bdi>allow \
         cookies for this page in the settings of the browser, often at the symbol beside the \
         address, and <a href=\"\">try again</a>;</bdi></li>\n<li><bdi>leave private browsing, \
         which often refuses them",
    );
    if let Some(open) = open {
        main.push_str(
            ";</bdi></li>\n<li><bdi><a target=\"_blank\" rel=\"noopener noreferrer\" href=\"",
        );
        escape(open, &mut main);
        main.push_str("\">open the chat in a tab of its own</a>");
    }
    main.push_str(".</bdi></li>\n</ul>");
    Page { body: page("The chat needs a cookie", "", &main, direction), csp: policy("") }
}

/// The friendly face of a problem document, for the navigation of a frame or a tab.
pub fn refused(
    code: Code,
    detail: Option<&str>,
    request_id: &str,
    direction: Option<Direction>,
) -> Page {
    let mut main = String::from("<h1><bdi>The chat did not open</bdi></h1>\n<p><bdi>");
    escape(code.title(), &mut main);
    if let Some(detail) = detail {
        main.push_str("</bdi></p>\n<p><bdi>");
        escape(detail, &mut main);
    }
    main.push_str("</bdi></p>\n<p><bdi>");
    main.push_str(if passes_by_itself(code) {
        "This often passes by itself: <a href=\"\">try again</a> in a moment."
    } else {
        "If this stays so, tell those who run the page, with these two words:"
    });
    main.push_str("</bdi></p>\n<p class=\"words\"><code>");
    escape(code.as_str(), &mut main);
    main.push_str("</code> <code>");
    escape(request_id, &mut main);
    main.push_str("</code></p>");
    Page { body: page("The chat did not open", "", &main, direction), csp: policy("") }
}

fn passes_by_itself(code: Code) -> bool {
    matches!(code.status_u16(), 408 | 425 | 429 | 500 | 502..=504)
}

/// `head` and `main` are ours or escaped.
fn page(title: &str, head: &str, main: &str, direction: Option<Direction>) -> String {
    let direction = direction.unwrap_or(Direction::Ltr).as_str();
    let mut page = String::with_capacity(STYLE.len() + head.len() + main.len() + 512);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\" dir=\"{direction}\">\n<head>{head}\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{main}\n</main>\n</body>\n</html>\n"
    );
    page
}

fn policy(more: &str) -> String {
    static HASH: LazyLock<String> = LazyLock::new(|| BASE64_STANDARD.encode(Sha256::digest(STYLE)));
    format!(
        "default-src 'none'; style-src 'sha256-{}'{more}; base-uri 'none'; form-action 'none'",
        *HASH
    )
}
