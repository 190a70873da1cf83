//! The files of the page, and who gets them.

use super::*;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

#[test]
fn the_page_comes_from_the_binary_and_can_do_nothing_elsewhere() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), "");
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = ask(&proxy, "GET", path, "", "");
        assert_eq!((answer.status, answer.field("content-type")), (200, Some(media_type)));
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{path}");
        }
        assert!(!answer.body.is_empty(), "{path}");
        let known = format!("If-None-Match: {}\r\n", answer.field("etag").unwrap());
        let again = ask(&proxy, "GET", path, &known, "");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.field("etag"), answer.field("etag"), "{path}");
        assert_eq!(ask(&proxy, "POST", path, "", "").status, 405, "{path}");
    }
}
