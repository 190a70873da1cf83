//! Pages around a chat on the wire: what they show, what goes on to the frame, who is refused; and
//! what apps of several tenants have of each other on one host.

use super::browser::Browser;
use super::signed::{now, signed};
use super::{reflecting, seen, told};
use crate::harness::client::Response;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

const SECRET: &str = "a-signing-secret-of-the-tenant";
const TOKEN: &str = "a-token-for-the-preview";

struct Stage {
    proxy: Proxy,
    _upstream: Upstream,
    _folder: tempfile::TempDir,
}

fn stage() -> Stage {
    stage_with("[tenants.acme]\nlimits = { ip = \"6000/min\", tenant = \"60000/min\" }\n")
}

fn stage_with(acme: &str) -> Stage {
    let upstream = reflecting();
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("secret", SECRET),
        ("token", TOKEN),
        (
            "kiosk.html",
            "<title>{{DEVICE_NAME}}</title><p data-slug=\"{{DEVICE_SLUG}}\">{{RAGTIME_IFRAME}}",
        ),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let at = folder.path().display();
    let shared = |tenant: &str, persona: &str| {
        format!(
            "[tenants.{tenant}.personas.{persona}]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n\
             path = \"/chat/{tenant}/{persona}\"\nembed = \"/embed/{tenant}/{persona}\"\n\
             template = \"{at}/kiosk.html\"\n"
        )
    };
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         shared_hosts = [\"chat.test\"]\n[upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         {acme}embed_origins = [\"https://www.acme.test\"]\nallow.folders = [\"{at}\"]\n\
         [tenants.acme.personas.sales]\nhosts = [\"sales.test\"]\nupstream = \"app\"\n\
         path = \"/chat/acme/sales\"\nembed = \"/embed/acme/sales\"\ntemplate = \"{at}/kiosk.html\"\n\
         user_id = \"optional\"\nsigned = true\nsigning = {{ secrets = [\"file:{at}/secret\"] }}\n\
         variables = [{{ name = \"plan\", source = \"body\" }}]\n\
         devices.lobby = {{ name = '\"><script>alert(1)</script>' }}\n\
         preview = {{ id = \"prj_42\", token = \"file:{at}/token\" }}\n\
         [tenants.acme.personas.open]\nhosts = [\"open.test\"]\nupstream = \"app\"\n\
         embed = \"/embed/open\"\nuser_id = \"optional\"\nallow_generated_id = true\n\
         [tenants.acme.personas.moved]\nhosts = [\"moved.test\"]\nupstream = \"app\"\n\
         embed = \"/embed/moved\"\nredirects = [{{ from = \"/\", to = \"/home\" }}]\n\
         [tenants.acme.personas.app]\nhosts = [\"app.test\"]\nupstream = \"app\"\n\
         app = \"streamlit\"\nembed = \"/embed/app\"\nuser_id = \"required\"\ntrust_asserted = true\n\
         [tenants.other]\nallow.folders = [\"{at}\"]\n{}{}",
        shared("acme", "one"),
        shared("other", "two"),
    );
    let proxy = Proxy::configured(&text, upstream.address);
    Stage { proxy, _upstream: upstream, _folder: folder }
}

/// The address of the chat in a page around it.
fn chat(page: &str) -> String {
    let frame = page.split_once("title=\"Chat\" data-vestibule-chat").expect("a frame").1;
    let source = frame.split_once("src=\"").unwrap().1.split_once('"').unwrap().0;
    source.replace("&amp;", "&")
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

fn code(response: &Response) -> (u16, String) {
    let body = text(response);
    let code = body.split("<code>").nth(1).and_then(|rest| rest.split("</code>").next());
    let json = body.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
    (response.status, code.or(json).unwrap_or_default().to_owned())
}

#[test]
fn a_signed_launch_of_a_devices_page_opens_the_devices_chat() {
    let stage = stage();
    let mut browser = Browser::new(&stage.proxy, "sales.test");
    let query = signed(SECRET, &[("user_id", "u-1"), ("x", "y")], now());
    for _ in ["opened", "reloaded"] {
        let page = browser.open(&format!("/embed/acme/sales/lobby/?{query}"));
        assert_eq!(page.status, 200);
        let body = text(&page);
        assert!(body.contains("<title>&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>"));
        assert!(body.contains("<p data-slug=\"lobby\">"), "{body}");
        assert!(body.contains("src=\"/chat/acme/sales/.vestibule/shell.js\" data-part=\"shell\""));
        assert_eq!(
            page.field("content-security-policy"),
            Some(
                "frame-ancestors 'self' https://www.acme.test; frame-src 'self' https://sales.test"
            )
        );
        assert_eq!(page.field("cache-control"), Some("no-store"));
        assert_eq!(page.field("referrer-policy"), Some("strict-origin"));
        assert_eq!(chat(&body), format!("/chat/acme/sales/lobby/?{query}"));
        let inner = seen(&browser.replace(&chat(&body)));
        assert_eq!(told(&inner, "X-Vestibule-User-Id"), Some("u-1"));
        assert_eq!(told(&inner, "X-Vestibule-Device"), Some("lobby"));
    }
    let script = browser.fetch("/chat/acme/sales/.vestibule/shell.js");
    assert_eq!(script.status, 200);
    assert!(script.field("content-type").unwrap().starts_with("text/javascript"));
}

#[test]
fn where_no_cookies_are_kept_the_chat_in_the_page_opens_all_the_same() {
    let stage = stage();
    let mut browser = Browser::without_cookies(&stage.proxy, "app.test");
    let page = browser.open("/embed/app/?user_id=u-1");
    let inner = seen(&browser.replace(&chat(&text(&page))));
    assert_eq!(told(&inner, "X-Vestibule-User-Id"), Some("u-1"));
    assert!(browser.at.starts_with("/.v/"), "{}", browser.at);
}

#[test]
fn a_form_to_the_page_reaches_the_chat_in_it() {
    for keeps_cookies in [true, false] {
        let stage = stage();
        let mut browser = Browser::new(&stage.proxy, "app.test");
        browser.keeps_cookies = keeps_cookies;
        let page = browser.submit("/embed/app/?keep=1", "user_id=u-7");
        assert_eq!(page.status, 200, "{}", text(&page));
        let inner = seen(&browser.replace(&chat(&text(&page))));
        assert_eq!(told(&inner, "X-Vestibule-User-Id"), Some("u-7"));
        assert!(
            inner.starts_with("<!doctype html><html><head><title>app</title></head>GET /?keep=1 "),
            "{inner}"
        );
        // Reloading the page does not send the form again.
        let at = page_address(&browser);
        let page = browser.replace(&at);
        let inner = seen(&browser.replace(&chat(&text(&page))));
        assert_eq!(told(&inner, "X-Vestibule-User-Id"), Some("u-7"));
    }
}

/// Where the page itself ended up: the last place on the way that is one.
fn page_address(browser: &Browser) -> String {
    match browser.at.split_once("/.v/") {
        None => "/embed/app/?keep=1".to_owned(),
        Some((_, rest)) => {
            let (token, _) = rest.split_once('/').unwrap();
            format!("/.v/{token}/embed/app/?keep=1")
        }
    }
}

#[test]
fn a_signed_form_keeps_its_variables_for_the_chat_in_the_page() {
    let stage = stage();
    let mut browser = Browser::new(&stage.proxy, "sales.test");
    let form = signed(SECRET, &[("plan", "gold"), ("user_id", "u-1")], now());
    let page = browser.submit("/embed/acme/sales/lobby/", &form);
    assert_eq!(chat(&text(&page)), "/chat/acme/sales/lobby/");
    let inner = seen(&browser.replace(&chat(&text(&page))));
    assert_eq!(told(&inner, "X-Vestibule-User-Id"), Some("u-1"));
    assert_eq!(told(&inner, "X-Vestibule-Var-plan"), Some("gold"));
}

#[test]
fn what_would_not_launch_is_refused_at_the_page() {
    let stage = stage();
    let old = signed(SECRET, &[("user_id", "u-1")], now() - 10 * 60_000);
    let foreign = signed("another-secret-of-somebody", &[("user_id", "u-1")], now());
    let cases = [
        ("sales.test", "GET", "/embed/acme/sales/".to_owned(), 401, "signature_missing"),
        ("sales.test", "GET", format!("/embed/acme/sales/?{foreign}"), 401, "signature_invalid"),
        ("sales.test", "GET", format!("/embed/acme/sales/lobby/?{old}"), 401, "timestamp_stale"),
        ("sales.test", "GET", "/embed/acme/sales/lobby/other".to_owned(), 404, "not_found"),
        (
            "sales.test",
            "GET",
            "/embed/acme/sales/lobby/.vestibule/shell.js".to_owned(),
            404,
            "not_found",
        ),
        ("sales.test", "GET", "/embed/prj_42/".to_owned(), 401, "token_missing"),
        ("sales.test", "GET", "/embed/prj_42/?token=x".to_owned(), 401, "token_invalid"),
        (
            "sales.test",
            "GET",
            format!("/embed/prj_42/?token={TOKEN}&token={TOKEN}"),
            400,
            "parameter_duplicate",
        ),
        (
            "sales.test",
            "GET",
            format!("/embed/prj_42/?token={TOKEN}&user_id=u-1"),
            401,
            "signature_missing",
        ),
        (
            "sales.test",
            "GET",
            format!("/embed/prj_42/?token={TOKEN}&timestamp=1999999999999"),
            401,
            "signature_missing",
        ),
        ("sales.test", "POST", format!("/embed/prj_42/?token={TOKEN}"), 405, "method_not_allowed"),
        ("sales.test", "DELETE", "/embed/acme/sales/".to_owned(), 405, "method_not_allowed"),
        ("open.test", "GET", "/embed/open/?mode=employee".to_owned(), 403, "mode_mismatch"),
        (
            "open.test",
            "GET",
            "/embed/open/?instructionOverrides=e30".to_owned(),
            403,
            "injection_not_allowed",
        ),
        ("app.test", "GET", "/embed/app/?user_id=a/b".to_owned(), 400, "user_id_invalid"),
        ("open.test", "GET", "/chat/.vestibule/shell.js".to_owned(), 404, ""),
    ];
    for (host, method, target, status, expected) in cases {
        let mut browser = Browser::new(&stage.proxy, host);
        let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                     Sec-Fetch-Site: cross-site\r\nOrigin: https://www.acme.test\r\n\
                     Content-Type: application/x-www-form-urlencoded\r\n";
        let response =
            browser.ask(method, &target, lines, if method == "POST" { "a=b" } else { "" });
        if !expected.is_empty() {
            assert_eq!(code(&response), (status, expected.to_owned()), "{method} {host}{target}");
        }
    }
}

#[test]
fn a_preview_signs_for_nobody_and_its_token_goes_no_further() {
    let stage = stage();
    let mut browser = Browser::new(&stage.proxy, "sales.test");
    let page = browser.open(&format!("/embed/prj_42/?color=red&token={TOKEN}"));
    let body = text(&page);
    assert!(body.contains("<title>Preview</title>") && body.contains("data-slug=\"preview\""));
    assert!(!body.contains(TOKEN), "{body}");
    let address = chat(&body);
    assert!(address.starts_with("/chat/acme/sales/?color=red&timestamp="), "{address}");
    let inner = seen(&browser.replace(&address));
    assert_eq!(told(&inner, "X-Vestibule-User-Id"), None);
    assert!(inner.contains("GET /?color=red&timestamp=") && !inner.contains(TOKEN), "{inner}");
    // For a user only the tenant can sign.
    let query = signed(SECRET, &[("user_id", "u-1")], now());
    let page = browser.open(&format!("/embed/prj_42/?{query}&token={TOKEN}"));
    let inner = seen(&browser.replace(&chat(&text(&page))));
    assert_eq!(told(&inner, "X-Vestibule-User-Id"), Some("u-1"));
}

#[test]
fn the_page_and_its_chat_cost_one_launch() {
    let stage = stage_with("[tenants.acme]\nlimits = { ip = \"3/min\", tenant = \"60/min\" }\n");
    let mut browser = Browser::new(&stage.proxy, "open.test");
    for number in 1..=3 {
        let page = browser.open("/embed/open/?user_id=a");
        assert_eq!(page.status, 200, "{number}");
        let inner = browser.replace(&chat(&text(&page)));
        assert_eq!(inner.status, 200, "{number}");
    }
    assert_eq!(browser.open("/embed/open/").status, 429);
}

#[test]
fn refusals_cost_what_a_launch_costs() {
    let stage = stage_with("[tenants.acme]\nlimits = { ip = \"3/min\", tenant = \"60/min\" }\n");
    let mut browser = Browser::new(&stage.proxy, "sales.test");
    for _ in 0..3 {
        assert_eq!(browser.open("/embed/prj_42/?token=guess").status, 401);
    }
    assert_eq!(browser.open(&format!("/embed/prj_42/?token={TOKEN}")).status, 429);
}

#[test]
fn a_head_request_tells_about_the_page_without_it() {
    let stage = stage();
    let mut browser = Browser::new(&stage.proxy, "open.test");
    let mut client = stage.proxy.client();
    let request = "HEAD /embed/open/ HTTP/1.1\r\nHost: open.test\r\nConnection: close\r\n\r\n";
    let head = client.send(request).read_head().unwrap();
    assert_eq!((head.status, head.field("set-cookie")), (200, None));
    assert!(head.field("content-length").unwrap().parse::<u32>().unwrap() > 100);
    assert_eq!(client.read_to_end(), b"");
    let moved = browser.ask("GET", "/embed/open?a=b", "", "");
    assert_eq!((moved.status, moved.field("location")), (308, Some("/embed/open/?a=b")));
}

#[test]
fn redirects_are_for_the_apps_paths_and_not_for_the_page_around_its_chat() {
    let stage = stage();
    let mut browser = Browser::new(&stage.proxy, "moved.test");
    assert_eq!(browser.ask("GET", "/", "", "").field("location"), Some("/home"));
    assert_eq!(browser.open("/embed/moved/?a=b").status, 200);
}

#[test]
fn a_prefetch_launches_nothing() {
    let stage = stage();
    let query = signed(SECRET, &[("user_id", "u-1")], now());
    let target = format!("/chat/acme/sales/?{query}");
    let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                 Sec-Fetch-Site: cross-site\r\nSec-Purpose: prefetch;prerender\r\n";
    let mut first = Browser::new(&stage.proxy, "sales.test");
    let early = first.ask("GET", &target, lines, "");
    assert_eq!(code(&early), (503, "prefetch_refused".to_owned()));
    assert_eq!(early.field("set-cookie"), None);
    // The signature is still everybody's.
    let mut second = Browser::new(&stage.proxy, "sales.test");
    assert_eq!(second.open(&target).status, 200);
}

#[test]
fn on_a_shared_host_the_template_runs_in_a_sandbox_beside_the_chat() {
    let stage = stage();
    let mut browser = Browser::new(&stage.proxy, "chat.test");
    let page = text(&browser.open("/embed/other/two/?a=b"));
    assert!(page.contains("sandbox=\"allow-scripts "), "{page}");
    assert!(!page.contains("allow-same-origin"), "{page}");
    assert_eq!(chat(&page), "/chat/other/two/?a=b");
}

#[test]
fn apps_on_a_shared_host_do_not_get_each_others_cookies() {
    let stage = stage();
    let mut browser = Browser::new(&stage.proxy, "chat.test");
    let answer = browser.fetch("/chat/acme/one/cookie");
    assert_eq!(answer.field("set-cookie"), Some("sid=1; SameSite=Lax; Path=/chat/acme/one"));
    let alone = Browser::new(&stage.proxy, "open.test").fetch("/cookie");
    assert_eq!(alone.field("set-cookie"), Some("sid=1; Path=/; SameSite=Lax"));
    browser.cookies = vec!["__Secure-Host-s=1".to_owned(), "t=2".to_owned()];
    assert_eq!(told(&seen(&browser.fetch("/chat/acme/one/x")), "Cookie"), Some("__Host-s=1; t=2"));
    assert_eq!(
        told(&seen(&browser.fetch("/chat/acme/one/clear-site-data")), "Clear-Site-Data"),
        None
    );
}
