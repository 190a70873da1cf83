//! Pages of our own that a frame shows in the app's place: while it waits for its user, where the
//! browser keeps no cookie, and where a launch is refused.
//!
//! Decides their words and their policies. They are for visitors, so they say what a visitor can
//! do, and give those who run the chat the two words that they need: the code and the request id.
//!
//! A page about an app that cannot be reached tries again by itself ([`Again::ByItself`]): its
//! script asks with HEAD, which starts no session and costs no launch, ever more seldom, at random
//! moments and not in hidden tabs, and loads the page anew once something else than a failure of
//! the app comes back. After some six minutes, or five loads in ten minutes, that is over.
//!
//! What must not happen: a page loads anything from elsewhere, runs a script other than the bridge
//! and the one that tries again, sends anything a second time, or says a value that was not escaped.
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

/// Tries again; see above.
const RETRY: &str = include_str!("pages/retry.js");

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

/// What a visitor who was refused may hope for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The page looks for itself. Only for what was asked for by GET: what a form sent is never
    /// sent twice.
    ByItself,
    /// Trying again by hand may help; after so many seconds, where that is known.
    ByHand(Option<u64>),
    /// A form may have arrived or not: whoever sent it decides.
    SendAgain,
    Never,
}

/// The friendly face of a problem document, for the navigation of a frame or a tab.
pub fn refused(
    code: Code,
    detail: Option<&str>,
    request_id: &str,
    (again, direction): (Again, Option<Direction>),
) -> Page {
    let mut main = String::from("<h1><bdi>The chat did not open</bdi></h1>\n<p><bdi>");
    escape(code.title(), &mut main);
    if let Some(detail) = detail {
        main.push_str("</bdi></p>\n<p><bdi>");
        escape(detail, &mut main);
    }
    main.push_str("</bdi></p>\n<p id=\"again\"><bdi>");
    match again {
        Again::ByItself | Again::ByHand(None) => {
            main.push_str("This often passes by itself: <a href=\"\">try again</a> in a moment.");
        }
        Again::ByHand(Some(seconds)) => {
            let _ = write!(main, "You can <a href=\"\">try again</a> in {seconds} s.");
        }
        Again::SendAgain => main.push_str(
            "What you sent may not have arrived. Go back, look, and send it again if need be.",
        ),
        Again::Never => {
            main.push_str("If this stays so, tell those who run the page, with these two words:");
        }
    }
    main.push_str("</bdi></p>\n");
    if again == Again::ByItself {
        main.push_str(
            "<p id=\"wait\" role=\"status\" hidden><bdi>It opens by itself as soon as it can be \
             reached<i class=\"dots\" aria-hidden=\"true\"></i></bdi></p>\n",
        );
    }
    main.push_str("<p class=\"words\"><code>");
    escape(code.as_str(), &mut main);
    main.push_str("</code> <code>");
    escape(request_id, &mut main);
    main.push_str("</code></p>");
    let csp = if again == Again::ByItself {
        let _ = write!(main, "\n<script>{RETRY}</script>");
        static HASH: LazyLock<String> = LazyLock::new(|| digest(RETRY));
        policy(&format!("; script-src 'sha256-{}'; connect-src 'self'", *HASH))
    } else {
        policy("")
    };
    Page { body: page("The chat did not open", "", &main, direction), csp }
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
    static HASH: LazyLock<String> = LazyLock::new(|| digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{}'{more}; base-uri 'none'; form-action 'none'",
        *HASH
    )
}

fn digest(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text))
}
