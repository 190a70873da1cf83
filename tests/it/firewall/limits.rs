//! What is counted, what is not, and what the client is told.

use super::browser::Browser;
use super::{configuration, reflecting};
use crate::harness::proxy::Proxy;

#[test]
fn the_sixty_first_launch_of_a_minute_is_refused_by_name() {
    let upstream = reflecting();
    let proxy = Proxy::configured(&configuration(""), upstream.address);
    for launch in 0..60 {
        let response = Browser::new(&proxy, "public.acme.test").open(&format!("/?v={launch}"));
        assert_eq!(response.status, 200, "launch {launch}: {}", response.text());
    }
    let mut browser = Browser::new(&proxy, "public.acme.test");
    let refused = browser.ask("GET", "/", "Accept: text/html\r\n", "");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert!(refused.text().contains(r#""bucket":"ip""#), "{}", refused.text());
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(refused.field("ratelimit-policy"), Some(r#""ip";q=60;w=60"#));
    let standing = refused.field("ratelimit").unwrap();
    assert_eq!(standing, format!(r#""ip";r=0;t={wait}"#));
    // A person gets a page.
    let page = browser.open("/");
    assert_eq!(page.status, 429);
    assert!(page.text().contains("<code>rate_limited</code>"), "{}", page.text());
    // Everything that is no launch goes on.
    for path in ["/asset.js", "/_stcore/health", "/poll?x"] {
        assert_eq!(browser.fetch(path).status, 200, "{path}");
    }
}

#[test]
fn a_refused_launch_costs_its_address_and_nobody_else() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "3/min", tenant = "100/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    for _ in 0..3 {
        assert_eq!(browser.open("/?user_id=x").status, 400);
    }
    assert_eq!(browser.open("/?user_id=1").status, 429);
    assert!(upstream.received().is_empty());
}

#[test]
fn a_launch_with_its_redirects_is_one() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "4/min", tenant = "100/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    let mut browser = Browser::new(&proxy, "customer.acme.test");
    assert_eq!(browser.open("/?user_id=1").status, 200);
    assert_eq!(browser.way.len(), 2, "{:?}", browser.way);
    assert_eq!(browser.open("/?user_id=1").status, 200, "a reload is a launch");
    assert!(browser.way.is_empty());
    let mut other = Browser::without_cookies(&proxy, "streamlit.acme.test");
    assert_eq!(other.open("/?user_id=2").status, 200);
    assert_eq!(other.way.len(), 1);
    assert_eq!(browser.open("/").status, 200);
    assert_eq!(browser.open("/").status, 429);
}

#[test]
fn one_address_takes_at_most_a_quarter_where_its_own_limit_is_wide() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "1000/min", tenant = "12/min" }"#;
    let proxy = Proxy::configured(&configuration(limits), upstream.address);
    for _ in 0..3 {
        assert_eq!(Browser::new(&proxy, "open.acme.test").open("/").status, 200);
    }
    let refused =
        Browser::new(&proxy, "open.acme.test").ask("GET", "/", "Accept: text/html\r\n", "");
    assert!(refused.text().contains(r#""bucket":"share""#), "{}", refused.text());
}

#[test]
fn a_reload_keeps_what_was_used() {
    let upstream = reflecting();
    let limits = r#"limits = { ip = "2/min", tenant = "100/min" }"#;
    let text = configuration(limits);
    let proxy = Proxy::configured(&text, upstream.address);
    for _ in 0..2 {
        assert_eq!(Browser::new(&proxy, "open.acme.test").open("/").status, 200);
    }
    let text = text.replace("UPSTREAM", &upstream.address.to_string());
    let loaded = vestibule::config::load_str("again.toml", &text, std::path::Path::new("."));
    proxy.app.replace(loaded.snapshot.unwrap());
    assert_eq!(Browser::new(&proxy, "open.acme.test").open("/").status, 429);
}
