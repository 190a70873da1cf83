//! What `sign`, `verify` and `snippet` print, and the exit codes.

use std::fs;
use std::process::{Command, Output};

use super::{Configured, printed, run, source};

const SALES: &str = "https://chat.example.com/chat/ragtime/sales/";

fn text(output: &Output) -> (i32, &str, &str) {
    let utf8 = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), utf8(&output.stdout), utf8(&output.stderr))
}

/// `{SALES}` stands for the persona's URL.
fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let filled: Vec<String> = arguments.iter().map(|it| it.replace("{SALES}", SALES)).collect();
    let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
    let output = Configured::new().vestibule(&filled);
    let expected = (code, stdout.replace("{SALES}", SALES), stderr.to_owned());
    let (code, stdout, stderr) = text(&output);
    let bare = stderr.strip_prefix(&format!("vestibule {}: ", arguments[0])).unwrap_or(stderr);
    assert_eq!((code, stdout.to_owned(), bare.trim_end().to_owned()), expected, "{arguments:?}");
}

const JOHN: &str = "timestamp=1763683200000&user_name=John&signature=\
                    f3f81b3f334928241507f38932af201829ec345c9912b0d5d1d90fe973a8302e";

#[test]
fn what_is_signed_by_the_command_keeps_its_other_parameters() {
    // The help persona has the secret of the vectors.
    check(
        &["sign", "https://help.example.com/?user_name=John&timestamp=1763683200000"],
        0,
        &format!("https://help.example.com/?{JOHN}\n"),
        "",
    );
    check(
        &["sign", "--persona", "ragtime/help", &format!("https://a.help.example.com/x?{JOHN}#top")],
        0,
        &format!("https://a.help.example.com/x?{JOHN}#top\n"),
        "",
    );
    let configured = Configured::new();
    let output = configured.vestibule(&["sign", "--persona", "ragtime/sales", SALES]);
    let url = printed(&output).trim_end();
    assert!(url.starts_with(&format!("{SALES}?timestamp=")), "{url}");
    let verdict = configured.vestibule(&["verify", url]);
    assert!(printed(&verdict).ends_with("verdict    it verifies\n"));
    let with_ignored = format!("{url}&gclid=7");
    assert!(
        printed(&configured.vestibule(&["verify", &with_ignored])).contains("ignored    gclid")
    );
}

#[test]
fn what_cannot_be_signed_is_said() {
    for (arguments, code, stderr) in [
        (
            vec!["sign", "chat.example.com"],
            2,
            "\"chat.example.com\" is no URL: write https://HOST/PATH",
        ),
        (vec!["sign", "https:///x"], 2, "\"https:///x\" has no host: write https://HOST/PATH"),
        (vec!["sign", "https://a b/"], 2, "\"https://a b/\" has no valid host"),
        (
            vec!["sign", "https://nobody.example/"],
            2,
            "\"https://nobody.example/\" leads to no persona",
        ),
        (
            vec!["sign", "https://www.example.com/"],
            2,
            "\"https://www.example.com/\" leads to the site jasser/www",
        ),
        (
            vec!["sign", "--persona", "ragtime/help", "{SALES}"],
            2,
            "the URL leads to ragtime/sales, not to ragtime/help",
        ),
        (
            vec!["sign", "--persona", "ragtime/nobody", "{SALES}"],
            2,
            "there is no persona \"ragtime/nobody\"; there is jasser/customer, jasser/public, \
             ragtime/help, ragtime/sales",
        ),
        (
            vec!["sign", "{SALES}?timestamp=1763683200"],
            2,
            "The timestamp looks like seconds: send milliseconds, which have 13 digits.",
        ),
        (
            vec!["sign", "https://chat-customer.jasserknows.online/"],
            1,
            "jasser/customer is not signed: add signed = true and signing = { secrets = \
             [\"env:NAME\"] }",
        ),
    ] {
        check(&arguments, code, "", stderr);
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["sign", "-c", "/nonexistent/vestibule.toml", SALES])
        .output()
        .unwrap();
    assert_eq!(text(&missing).0, 1);
}

#[test]
fn a_launch_that_verifies_is_shown_with_its_age() {
    check(
        &["verify", "--at", "1763683212345", &format!("{{SALES}}?{JOHN}")],
        0,
        "persona    ragtime/sales\n\
         canonical  timestamp=1763683200000&user_name=John\n\
         signed at  2025-11-21T00:00:00.000Z, 12.345 s old of 300 s\n\
         verdict    it verifies\n",
        "",
    );
    let lines = "msg=a%0D%0Ab&timestamp=1763683200000&signature=";
    for (signature, which) in [
        (
            "3a6b956037207c0c3e4f7a962238aa0318c53f287e8a8dd816dcbab49a6ee84d",
            "form values have CRLF, which browsers make of LF: LF was signed",
        ),
        (
            "31bf3e4e0d6523429ab0c02aa8867fa488f40952f81dc8fc77ca13e195d976b4",
            "form values have CRLF, and CRLF was signed",
        ),
    ] {
        check(
            &[
                "verify",
                "--at",
                "1763683200000",
                "--form",
                &format!("{lines}{signature}"),
                "{SALES}",
            ],
            0,
            &format!(
                "persona    ragtime/sales\n\
                 canonical  msg=a%0D%0Ab&timestamp=1763683200000\n\
                 with LF    msg=a%0Ab&timestamp=1763683200000\n{:11}{which}\n\
                 signed at  2025-11-21T00:00:00.000Z, 0.000 s old of 300 s\n\
                 verdict    it verifies\n",
                ""
            ),
            "",
        );
    }
}

#[test]
fn a_launch_that_does_not_verify_is_told_why() {
    let seconds = "a=1&timestamp=1763683200&signature=\
                   d857fbc0dcc78412da76879d73975b607721a2de2f68f4e2de265c4b634710ad";
    for (query, at, lines) in [
        (
            format!("{JOHN}&utm_source=x"),
            "1763683200000",
            &[
                "verdict    401 signature_invalid: The signature does not fit what was sent.\n",
                "           it verifies without `utm_source`: that was added after signing; ",
            ][..],
        ),
        (
            JOHN.replace("John", "Jane"),
            "1763683200000",
            &[
                "canonical  timestamp=1763683200000&user_name=Jane\n",
                "           none of the usual mistakes explains it: ",
            ],
        ),
        (
            JOHN.to_owned(),
            "1763687200000",
            &[
                "signed at  2025-11-21T00:00:00.000Z, 1h 6m 40s old of 300 s\n",
                "verdict    401 timestamp_stale: The timestamp is 4000 seconds old; 300 are allowed.\n",
                "           the signature itself is right\n",
            ],
        ),
        (
            JOHN.to_owned(),
            "1763683100000",
            &[
                "100.000 s ahead of 60 s\n",
                "is 100 seconds ahead of this server's clock; 60 are allowed.",
            ],
        ),
        (
            seconds.to_owned(),
            "1763683200000",
            &[
                "verdict    401 timestamp_invalid: The timestamp looks like seconds: ",
                "           the signature itself is right\n",
            ],
        ),
        (
            JOHN.replace("signature=f", "signature="),
            "1763683200000",
            &["verdict    401 signature_invalid: A signature is the 64 hexadecimal digits of "],
        ),
        (String::new(), "0", &["canonical  \n", "verdict    401 signature_missing: "]),
    ] {
        let url = format!("{SALES}?{query}");
        let output = Configured::new().vestibule(&["verify", "--at", at, &url]);
        let (code, stdout, stderr) = text(&output);
        assert_eq!((code, stderr), (1, ""));
        for line in lines {
            assert!(stdout.contains(line), "{line:?} in {stdout}");
        }
        for secret in ["ragtime-test-secret", "a secret of the help persona"] {
            assert!(!stdout.contains(secret));
        }
    }
}

#[test]
fn the_header_field_names_every_host() {
    check(
        &["snippet", "csp", "jasser/customer"],
        0,
        "Content-Security-Policy: frame-src 'self' https://*.jasserknows.online \
         https://chat-customer.jasserknows.online\n",
        "",
    );
}

#[test]
fn snippets_are_filled_in() {
    for (kind, persona, phrase) in [
        ("sign-node", "ragtime/sales", "'https://chat.example.com/chat/ragtime/sales/?' + sign("),
        ("sign-python", "ragtime/help", "\"https://help.example.com/?\" + sign("),
        ("sign-php", "ragtime/help", "[['user_name', 'John']]"),
        ("sign-go", "ragtime/sales", "[][2]string{ {\"user_id\", \"12345\"} }"),
        ("sign-ruby", "ragtime/sales", "{ \"user_id\" => \"12345\" }"),
        (
            "host-page",
            "jasser/customer",
            "data-origin=\"https://chat-customer.jasserknows.online/\"",
        ),
        ("host-page", "jasser/public", "data-origin=\"https://your-name.public.example/\""),
        ("host-page", "ragtime/sales", "vestibule snippet sign-node ragtime/sales"),
        ("starter", "jasser/customer", "<title>jasser/customer: starter page</title>"),
        ("starter", "ragtime/sales", "Signed URL (vestibule sign)"),
    ] {
        let output = Configured::new().vestibule(&["snippet", kind, persona]);
        let snippet = printed(&output);
        assert!(snippet.contains(phrase), "{phrase} in {snippet}");
        assert!(
            !snippet.contains("{{") && !snippet.contains("}}") && !snippet.contains("secret of")
        );
    }
    let unsigned = "jasser/customer is not signed: add signed = true and signing = { secrets = \
                    [\"env:NAME\"] }";
    check(&["snippet", "sign-node", "jasser/customer"], 1, "", unsigned);
    assert_eq!(Configured::new().vestibule(&["snippet", "x", "a/b"]).status.code(), Some(2));
}

#[test]
fn the_pages_hold_valid_scripts() {
    for (kind, persona) in ["host-page", "starter"]
        .iter()
        .flat_map(|kind| [(kind, "ragtime/sales"), (kind, "jasser/public")])
    {
        let configured = Configured::new();
        let page = configured.vestibule(&["snippet", kind, persona]);
        let (_, script) = printed(&page).rsplit_once("<script>").unwrap();
        let (script, _) = script.split_once("</script>").unwrap();
        let file = configured.folder.path().join("page.cjs");
        fs::write(&file, script).unwrap();
        printed(&run(Command::new("node").arg("--check").arg(&file), "").unwrap());
    }
}

/// What the launcher of a persona does when it is pressed twice, with messages in between.
fn launcher(persona: &str, user: &str, signed: &str) -> String {
    let configured = Configured::new();
    let page = configured.vestibule(&["snippet", "host-page", persona]);
    let file = configured.folder.path().join("page.html");
    fs::write(&file, printed(&page)).unwrap();
    let mut node = Command::new("node");
    node.arg(source("tests/signing/drivers/page.mjs")).arg(file).args([user, signed]);
    printed(&run(&mut node, "").unwrap()).to_owned()
}

#[test]
fn the_launcher_says_who_is_asking_when_the_frame_is_ready() {
    let payload = "{\"mode\":\"customer\",\"user_id\":\"7\",\"require_user_id\":true,\
                   \"allow_generated_id\":false,\"direction\":\"ltr\"}";
    let done = launcher("jasser/customer", "7", "");
    let (first, rest) = done.split_once("tell ").unwrap();
    assert!(rest.contains("\nhidden true\nsrc https://"), "it opens again: {rest}");
    assert_eq!(
        first,
        format!(
            "src https://chat-customer.jasserknows.online/?mode=customer&user_id=7\
             &require_user_id=true&allow_generated_id=false&direction=ltr&v=NOW\n\
             hidden false\n\
             post {{\"type\":\"chat-embed-config\",\"payload\":{payload}}} \
             https://chat-customer.jasserknows.online\n\
             debug The chat knows who is asking.\n"
        )
    );
    let refused = launcher("jasser/customer", "", "");
    assert!(refused.starts_with("error The chat needs window.currentUserId.\nhidden true\n"));
    assert!(launcher("jasser/public", "7", "").contains("/?mode=public&require_user_id=false"));
}

#[test]
fn the_launcher_tells_how_each_handshake_went_once() {
    let tells = |persona: &str| {
        let done = launcher(persona, "7", "");
        let tells = done.lines().filter_map(|line| line.strip_prefix("tell ").map(str::to_owned));
        tells.collect::<Vec<_>>()
    };
    let ack = "\"v\":1,\"shown\":100,\"ready\":200,\"config\":300,\"launch\":\"of-the-document\",\
               \"ended\":400,\"outcome\":\"ack\"";
    let timeout = "\"v\":1,\"shown\":500,\"ended\":600,\"outcome\":\"timeout\"";
    let error = |shown: u32| {
        let [ready, config, ended] = [1, 2, 3].map(|ticks| shown + ticks * 100);
        format!(
            "\"v\":1,\"shown\":{shown},\"ready\":{ready},\"config\":{config},\"ended\":{ended},\
             \"outcome\":\"error\",\"error\":\"mode_mismatch\""
        )
    };
    let told = |host: &str, told: &[&str]| {
        let line =
            |it: &&str| format!("https://{host}/.vestibule/beacon POST no-cors omit {{{it}}}");
        told.iter().map(line).collect::<Vec<_>>()
    };
    // Whether an app without the bridge answers at all, nobody knows before it is ready.
    let customer = told("chat-customer.jasserknows.online", &[ack, &error(600)]);
    assert_eq!(tells("jasser/customer"), customer);
    let public = told("your-name.public.example", &[ack, timeout, &error(700)]);
    assert_eq!(tells("jasser/public"), public);
    assert!(
        !launcher("ragtime/sales", "", SALES).contains("tell "),
        "a signed one has no handshake"
    );
}

#[test]
fn the_launcher_of_a_signed_persona_asks_its_server_for_the_url() {
    let url = format!("{SALES}?{JOHN}");
    let done = launcher("ragtime/sales", "", &url);
    assert!(done.contains(&format!("fetch /chat-url\nsrc {url}\nhidden false\n")), "{done}");
    assert!(!launcher("ragtime/sales", "", "https://evil.example/").contains("src "));
}
