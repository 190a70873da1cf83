use super::*;
use crate::policy::csp::syntax;

const AGAIN: [Again; 5] =
    [Again::ByItself, Again::ByHand(None), Again::ByHand(Some(7)), Again::SendAgain, Again::Never];
const PLAIN: (Again, Option<Direction>) = (Again::Never, None);

fn all() -> Vec<Page> {
    let tag = super::super::tag("/chat/a", "", super::super::Own::default());
    let mut pages = Vec::new();
    for direction in [None, Some(Direction::Ltr), Some(Direction::Rtl), Some(Direction::Auto)] {
        pages.push(waiting(&tag, direction));
        pages.push(cookies_refused(None, direction));
        pages.push(cookies_refused(Some("/?mode=customer&user_id=\"><script>"), direction));
        for again in AGAIN {
            let refused = |&code| refused(code, None, "id-\"'<b>&", (again, direction));
            pages.extend(Code::ALL.iter().map(refused));
        }
    }
    pages
}

#[test]
fn every_page_is_one_accessible_document() {
    for Page { body, .. } in all() {
        assert!(body.starts_with("<!doctype html>\n<html lang=\"en\" dir=\""), "{body}");
        for once in ["<title>", "<main>", "</main>", "charset=\"utf-8\"", "viewport", "</html>"] {
            assert_eq!(body.matches(once).count(), 1, "{once} in {body}");
        }
        let has_name = body.contains("<h1>") || body.contains("role=\"status\"");
        assert!(has_name, "{body}");
        assert_eq!(body.matches("<bdi>").count(), body.matches("</bdi>").count(), "{body}");
        assert!(body.is_ascii() && body.len() < 6144, "{} bytes", body.len());
    }
}

#[test]
fn nothing_is_loaded_and_nothing_runs_but_the_bridge_and_the_retry() {
    for Page { body, csp } in all() {
        let bridges = body.matches("<script src=\"/chat/a/.vestibule/bridge.js\"").count();
        let retries = body.matches(&format!("<script>{RETRY}</script>")).count();
        assert_eq!(body.matches("<script").count(), bridges + retries);
        assert_eq!(bridges, usize::from(csp.contains("script-src 'self'")));
        let hash = format!("script-src 'sha256-{}'", digest(RETRY));
        assert_eq!(retries, usize::from(csp.contains(&hash)));
        assert_eq!(bridges + retries, usize::from(csp.contains("connect-src 'self'")));
        for forbidden in [" style=", " onclick=", " onload=", "@import", "url(", "//", "<img"] {
            assert!(!body.contains(forbidden), "{forbidden} in {body}");
        }
        assert!(csp.starts_with("default-src 'none'; "), "{csp}");
        for closed in ["base-uri 'none'", "form-action 'none'"] {
            assert!(csp.contains(closed), "{csp}");
        }
    }
}

#[test]
fn the_policy_admits_the_style_that_is_sent() {
    let Page { body, csp } = refused(Code::NotFound, None, "id", PLAIN);
    let style = body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = digest(style);
    let policies: Vec<_> = syntax::policies(csp.as_bytes()).collect();
    let list = policies[0].get("style-src").unwrap();
    assert_eq!(list.values.as_slice(), [format!("'sha256-{hash}'").as_str()]);
}

#[test]
fn values_are_escaped() {
    let page = refused(Code::UserIdMissing, Some("<i>5 < 6"), "<b>\"'&", PLAIN);
    assert!(page.body.contains("<p><bdi>&lt;i&gt;5 &lt; 6</bdi></p>"), "{}", page.body);
    assert!(page.body.contains("<code>&lt;b&gt;&quot;&#39;&amp;</code>"), "{}", page.body);
    let page = cookies_refused(Some("/?a=1&b=\"><script>"), None);
    let href = "href=\"/?a=1&amp;b=&quot;&gt;&lt;script&gt;\"";
    assert!(page.body.contains(href), "{}", page.body);
}

#[test]
fn a_visitor_is_told_what_may_help() {
    for (again, said) in [
        (Again::ByItself, "It opens by itself"),
        (Again::ByItself, ">try again</a> in a moment"),
        (Again::ByHand(None), ">try again</a> in a moment"),
        (Again::ByHand(Some(7)), ">try again</a> in 7 s."),
        (Again::SendAgain, "Go back, look, and send it again"),
        (Again::Never, "tell those who run the page"),
    ] {
        let page = refused(Code::UpstreamTimeout, None, "id", (again, None));
        assert!(page.body.contains(said), "{again:?}: {}", page.body);
        assert!(page.body.contains("upstream_timeout"));
    }
}

#[test]
fn the_pages_say_their_direction() {
    for (direction, expected) in [
        (None, "dir=\"ltr\""),
        (Some(Direction::Rtl), "dir=\"rtl\""),
        (Some(Direction::Auto), "dir=\"auto\""),
    ] {
        assert!(waiting("", direction).body.contains(expected));
    }
}
