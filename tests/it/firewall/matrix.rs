//! The seed's payload matrix, and every way to get it wrong.

use super::browser::Browser;
use super::{proxy, seen, told};

/// Status and code, or the identity that the app is told: `user assurance`.
#[test]
fn every_combination_of_metadata_has_its_answer() {
    let (proxy, _upstream) = proxy();
    let mut checked = 0;
    let mut check = |persona: &'static str, query: &str, expected: &str| {
        let mut browser = Browser::new(&proxy, persona);
        let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
        let response = browser.ask("GET", &format!("/?{query}"), lines, "");
        let found = match response.status {
            200 => {
                let seen = seen(&response);
                let user = match told(&seen, "X-Vestibule-User-Id") {
                    Some(id) if id.starts_with("gen-") && id.len() == 36 => "GENERATED",
                    Some(id) => id,
                    None => "-",
                };
                let state = told(&seen, "X-Vestibule-Identity-State").unwrap_or("complete");
                let assurance = told(&seen, "X-Vestibule-Assurance").unwrap();
                format!("{user} {assurance} {state}")
            }
            status => {
                let text = response.text();
                let code = text.split("<code>").nth(1).unwrap().split('<').next().unwrap();
                format!("{status} {code}")
            }
        };
        assert_eq!(found, expected, "{persona}?{query}");
        checked += 1;
    };
    // The seed's lines, section 5.
    let public = "public.acme.test";
    check(
        public,
        "mode=public&require_user_id=false&allow_generated_id=true",
        "GENERATED generated complete",
    );
    check(
        public,
        "mode=public&user_id=fp-1.a:b_C&require_user_id=false&allow_generated_id=true&v=1",
        "fp-1.a:b_C asserted complete",
    );
    for (host, mode) in [("customer.acme.test", "customer"), ("employee.acme.test", "employee")] {
        let full = format!(
            "mode={mode}&user_id=12345&require_user_id=true&allow_generated_id=false&direction=rtl"
        );
        check(host, &full, "12345 asserted complete");
        check(host, "user_id=12345", "12345 asserted complete");
        check(host, "user_id=9007199254740991", "9007199254740991 asserted complete");
        check(host, "user%5Fid=7", "7 asserted complete");
        check(host, "user_id=7&user=8&User_id=9", "7 asserted complete");
        check(host, "", "- asserted awaiting");
        check(host, "direction=rtl&v=12&other=1&other=2", "- asserted awaiting");
        for wrong in ["0", "-1", "+1", "01", "1.0", "1e3", "abc", "%201", "1%20", "1,2", "", "%00"]
        {
            check(host, &format!("user_id={wrong}"), "400 user_id_invalid");
        }
        check(host, "user_id=9007199254740992", "400 user_id_invalid");
        check(host, "user_id=12345678901234567", "400 user_id_invalid");
        check(host, "user_id=%D9%A1%D9%A2", "400 user_id_invalid");
        check(host, &format!("mode={mode}"), "400 user_id_missing");
        check(host, "require_user_id=true", "400 user_id_missing");
        check(host, "user_id=1&require_user_id=false", "400 metadata_contradiction");
        check(host, "user_id=1&allow_generated_id=true", "400 metadata_contradiction");
        check(host, "user_id=1&require_user_id=True", "400 parameter_invalid");
        check(host, "user_id=1&allow_generated_id=0", "400 parameter_invalid");
        check(host, "user_id=1&direction=up", "400 parameter_invalid");
        check(host, "user_id=1&direction=", "400 parameter_invalid");
        check(host, "mode=public&user_id=1", "403 mode_mismatch");
        check(host, "mode=Customer&user_id=1", "403 mode_mismatch");
        check(host, "mode=&user_id=1", "403 mode_mismatch");
        check(host, "user_id=1&user_id=1", "400 parameter_duplicate");
        check(host, "user_id=1&user%5fid=2", "400 parameter_duplicate");
        check(host, &format!("mode={mode}&mode={mode}&user_id=1"), "400 parameter_duplicate");
        check(host, "user_id=1&direction=ltr&direction=ltr", "400 parameter_duplicate");
        check(host, "user_id=1&mode=x&direction=up", "403 mode_mismatch");
    }
    check(public, "", "GENERATED generated complete");
    check(public, "user_id=a%20b", "400 user_id_invalid");
    check(
        public,
        &format!("user_id={}", "x".repeat(128)),
        &format!("{} asserted complete", "x".repeat(128)),
    );
    check(public, &format!("user_id={}", "x".repeat(129)), "400 user_id_invalid");
    check(public, "mode=customer", "403 mode_mismatch");
    check(public, "require_user_id=true", "400 metadata_contradiction");
    check(public, "allow_generated_id=false", "400 metadata_contradiction");
    let test = "test.acme.test";
    check(test, "", "GENERATED generated complete");
    check(test, "mode=test&user_id=12", "12 asserted complete");
    check(test, "user_id=a.b", "a.b asserted complete");
    check(test, "require_user_id=true&allow_generated_id=false", "400 user_id_missing");
    check(test, "require_user_id=true&allow_generated_id=true", "GENERATED generated complete");
    check(test, "require_user_id=false&allow_generated_id=false", "- asserted complete");
    let open = "open.acme.test";
    check(open, "", "- asserted complete");
    check(open, "user_id=1", "400 metadata_contradiction");
    check(open, "mode=public&other=1&other=1", "- asserted complete");
    assert_eq!(checked, 94);
}
