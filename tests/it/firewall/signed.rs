//! Signed launches on the wire: what is refused and how, who may repeat one, what the app reads.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::browser::Browser;
use super::{reflecting, seen, told};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

fn proxy(replay: &str) -> (Proxy, Upstream, tempfile::TempDir) {
    let upstream = reflecting();
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in [("new", "a-new-signing-secret"), ("old", "an-old-signing-secret")] {
        std::fs::write(folder.path().join(name), secret).unwrap();
    }
    let at = folder.path().display();
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme]\nembed_origins = [\"https://www.acme.test\"]\n\
         limits = {{ ip = \"6000/min\", tenant = \"60000/min\" }}\n\
         [tenants.acme.personas.sales]\nhosts = [\"sales.acme.test\"]\nupstream = \"app\"\n\
         user_id = \"optional\"\nsigned = true\nbridge = true\n\
         signing = {{ secrets = [\"file:{at}/new\", \"file:{at}/old\"], replay = \"{replay}\" }}\n"
    );
    (Proxy::configured(&text, upstream.address), upstream, folder)
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn mac(secret: &str, canonical: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(canonical.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As the embedding document's five lines do it, for parameters that need no escapes.
pub fn signed(secret: &str, parameters: &[(&str, &str)], at: u64) -> String {
    let at = at.to_string();
    let mut pairs: Vec<_> = parameters.to_vec();
    pairs.push(("timestamp", &at));
    pairs.sort_by_key(|(name, _)| *name);
    let canonical: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let canonical = canonical.join("&");
    format!("{canonical}&signature={}", mac(secret, &canonical))
}

#[test]
fn a_signed_launch_opens_and_the_app_reads_what_was_signed() {
    let (proxy, _upstream, _folder) = proxy("bind");
    for secret in ["a-new-signing-secret", "an-old-signing-secret"] {
        let mut browser = Browser::new(&proxy, "sales.acme.test");
        let query = signed(secret, &[("user_id", "u-1"), ("b", "2"), ("a", "1")], now());
        let page = seen(&browser.open(&format!("/?{query}")));
        assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("u-1"));
        assert_eq!(told(&page, "X-Vestibule-Assurance"), Some("signed"));
        let sent = query.split("&signature").next().unwrap();
        assert!(page.contains(&format!("GET /?{sent} HTTP/1.1")), "{page}");
        assert_eq!(told(&seen(&browser.fetch("/a.js")), "X-Vestibule-Assurance"), Some("signed"));
        // Reload and other documents of the persona.
        assert_eq!(browser.open(&format!("/?{query}")).status, 200);
        let bare = seen(&browser.open("/"));
        assert_eq!(told(&bare, "X-Vestibule-User-Id"), Some("u-1"));
    }
}

#[test]
fn what_is_not_signed_is_refused_with_a_code_that_helps() {
    let (proxy, upstream, _folder) = proxy("bind");
    let good = signed("a-new-signing-secret", &[("user_id", "u-1")], now());
    let flipped = good.replace("user_id=u-1", "user_id=u-2");
    let old = signed("a-new-signing-secret", &[("user_id", "u-1")], now() - 6 * 60_000);
    let early = signed("a-new-signing-secret", &[("user_id", "u-1")], now() + 5 * 60_000);
    let stranger = signed("another-secret-of-someone", &[("user_id", "u-1")], now());
    let seconds = signed("a-new-signing-secret", &[("user_id", "u-1")], now() / 1000);
    for (query, status, code) in [
        ("", 401, "signature_missing"),
        ("user_id=u-1", 401, "signature_missing"),
        (&*flipped, 401, "signature_invalid"),
        (&*stranger, 401, "signature_invalid"),
        (&*format!("{good}&extra=1"), 401, "signature_invalid"),
        (&*old, 401, "timestamp_stale"),
        (&*early, 401, "timestamp_stale"),
        (&*seconds, 401, "timestamp_invalid"),
    ] {
        let mut browser = Browser::new(&proxy, "sales.acme.test");
        let lines = "Accept: text/html\r\n";
        let response = browser.ask("GET", &format!("/?{query}"), lines, "");
        assert_eq!((response.status, response.code().as_str()), (status, code), "{query}");
        for word in ["a-new-signing", "an-old-signing", "acme"] {
            assert!(!response.text().contains(word), "{}", response.text());
        }
    }
    assert!(upstream.received().is_empty());
    assert_eq!(Browser::new(&proxy, "sales.acme.test").fetch("/a.js").code(), "session_missing");
}

#[test]
fn a_signature_belongs_to_whoever_used_it_first() {
    let (proxy, _upstream, _folder) = proxy("bind");
    let query = signed("a-new-signing-secret", &[("user_id", "u-1")], now());
    let target = format!("/?{query}");
    let mut first = Browser::new(&proxy, "sales.acme.test");
    assert_eq!(first.open(&target).status, 200);
    let mut second = Browser::new(&proxy, "sales.acme.test");
    let refused = second.open(&target);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("signature_replayed"), "{}", refused.text());
    assert_eq!(first.open(&target).status, 200, "its own holder may");
}

#[test]
fn a_signature_for_one_launch_is_used_up() {
    let (proxy, _upstream, _folder) = proxy("once");
    let query = signed("a-new-signing-secret", &[("user_id", "u-1")], now());
    let mut browser = Browser::new(&proxy, "sales.acme.test");
    assert_eq!(browser.open(&format!("/?{query}")).status, 200);
    assert_eq!(browser.way.len(), 2, "with its redirects: {:?}", browser.way);
    assert_eq!(browser.open(&format!("/?{query}")).status, 403);
}

#[test]
fn a_signed_form_leads_to_a_clean_document() {
    let (proxy, upstream, _folder) = proxy("bind");
    let form = signed("a-new-signing-secret", &[("user_id", "u-1"), ("note", "x")], now());
    let mut browser = Browser::new(&proxy, "sales.acme.test");
    let page = seen(&browser.submit("/", &form));
    assert_eq!(browser.at, "/");
    assert_eq!(told(&page, "X-Vestibule-User-Id"), Some("u-1"));
    assert_eq!(told(&page, "X-Vestibule-Assurance"), Some("signed"));
    assert!(!upstream.received().contains("note=x"));
    let twice = browser.submit("/?user_id=u-1", &form);
    assert!(twice.text().contains("parameter_duplicate"), "{}", twice.text());
}

#[test]
fn the_page_around_a_signed_chat_can_only_repeat_what_was_signed() {
    let (proxy, _upstream, _folder) = proxy("bind");
    let mut browser = Browser::new(&proxy, "sales.acme.test");
    let query = signed("a-new-signing-secret", &[("user_id", "u-1")], now());
    assert_eq!(browser.open(&format!("/?{query}")).status, 200);
    let same = browser.configure("", r#"{"mode":"public","user_id":"u-1"}"#);
    assert_eq!(same.text(), r#"{"state":"complete"}"#);
    assert_eq!(browser.configure("", r#"{"user_id":"u-2"}"#).code(), "identity_unproven");
}

#[test]
fn going_back_to_an_older_signed_launch_opens_it() {
    let (proxy, _upstream, _folder) = proxy("bind");
    let mut browser = Browser::new(&proxy, "sales.acme.test");
    let secret = "a-new-signing-secret";
    // Nearly too old when they are opened, too old when the browser goes back.
    let at = now() - 299_000;
    let pages: Vec<_> = ["red", "green", "blue"]
        .map(|color| signed(secret, &[("color", color), ("user_id", "u-1")], at))
        .into();
    for query in &pages {
        assert_eq!(browser.open(&format!("/?{query}")).status, 200);
    }
    std::thread::sleep(std::time::Duration::from_millis(2100));
    for query in pages.iter().rev() {
        let page = browser.open(&format!("/?{query}"));
        assert_eq!(page.status, 200);
        assert_eq!(told(&seen(&page), "X-Vestibule-User-Id"), Some("u-1"));
    }
    // Nobody else can.
    let mut other = Browser::new(&proxy, "sales.acme.test");
    assert_eq!(other.open(&format!("/?{}", pages[0])).status, 401);
}
