//! What somebody tries who wants another's session, another's state, or more than is his.

use super::browser::Browser;
use super::{ROOM, configuration, proxy, reflecting, seen, told};
use crate::harness::proxy::Proxy;

/// Where a launch without cookies ends: `/.v/TOKEN`.
fn base_of(proxy: &Proxy, host: &'static str, target: &str) -> String {
    let mut browser = Browser::without_cookies(proxy, host);
    let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n";
    let sent = browser.ask("GET", target, lines, "");
    assert_eq!(sent.status, 303, "{}", sent.text());
    let location = sent.field("location").unwrap();
    location.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

#[test]
fn a_token_of_another_does_not_become_the_browsers_session() {
    let (proxy, _upstream) = proxy();
    let stolen = base_of(&proxy, "customer.acme.test", "/?user_id=666");
    let mut victim = Browser::new(&proxy, "customer.acme.test");
    victim.open("/?user_id=1");
    let before = victim.cookies.clone();
    let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                 Sec-Fetch-Site: cross-site\r\n";
    let answer = victim.ask("GET", &format!("{stolen}/"), lines, "");
    assert_eq!(answer.field("set-cookie"), None, "{}", answer.head);
    assert_eq!(victim.cookies, before);
    assert_eq!(told(&seen(&victim.fetch("/a.js")), "X-Vestibule-User-Id"), Some("1"));
}

#[test]
fn a_token_is_good_for_its_own_device() {
    let (proxy, _upstream) = proxy();
    let base = base_of(&proxy, "below.acme.test", "/chat/lobby/?user_id=u-1");
    let mut browser = Browser::without_cookies(&proxy, "below.acme.test");
    let page = seen(&browser.open(&format!("{base}/chat/")));
    assert_eq!(told(&page, "X-Vestibule-User-Id"), None, "{page}");
    assert_eq!(told(&page, "X-Vestibule-Device"), None);
}
