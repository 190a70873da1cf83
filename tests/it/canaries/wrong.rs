//! Configurations that are wrong, with secrets where somebody may put them by mistake: what is said
//! about them repeats none.

use super::secrets::{ADMIN, MARK, Needles};
use super::stage::program;

const GOOD: &str = "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
                    [upstreams.app]\nservers = [\"http://127.0.0.1:1\"]\n";

/// What is said about a configuration by `command`, and whether it could be used.
fn said(command: &str, text: &str, files: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("FOLDER", &at)).unwrap();
    };
    files.iter().for_each(|(name, text)| write(name, text));
    write("vestibule.toml", text);
    let file = folder.path().join("vestibule.toml");
    let mut program = program();
    program
        .env("CANARY_SHORT", "canary7Zx")
        .env("CANARY_URL", "http://ann:canary7Zx-password@app.test")
        .env("CANARY_PATH", "canary7Zx-path")
        .env("CANARY_TARGET", "https://me:canary7Zx-password@files.test/x y?key=canary7Zx")
        .env("CANARY_WORD", "canary7zx")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer canary7Zx")
        .arg(command);
    match command {
        "diff" => program.arg(&file).arg(&file),
        "explain" => program.arg("-c").arg(&file).arg("http://chat.test/?user_id=1"),
        "log-id" => program.arg("-c").arg(&file).args(["acme", "1"]),
        _ => program.arg("-c").arg(&file),
    };
    let output = program.output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn what_is_said_about_a_wrong_configuration_repeats_no_secret() {
    let persona = |more: &str| {
        format!(
            "{GOOD}[tenants.acme.personas.chat]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n{more}"
        )
    };
    let secret = format!("{MARK}-0123456789-0123456789-0123456789");
    let texts = [
        GOOD.replace("http_mode", &format!("session_secrets = [\"{secret}\"]\nhttp_mode")),
        GOOD.replace("http_mode", &format!("session_secrets = \"{secret}\"\nhttp_mode")),
        GOOD.replace("http_mode", "session_secrets = [\"env:CANARY_SHORT\"]\nhttp_mode"),
        GOOD.replace("http_mode", &format!("sesion_secrets = [\"{secret}\"]\nhttp_mode")),
        format!("{GOOD}[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{secret}\"\n"),
        format!("{GOOD}[admin]\nlisten = \"127.0.0.1:0\"\ntoken = {{ value = \"{secret}\" }}\n"),
        format!("{GOOD}[admin]\nlisten = \"127.0.0.1:0\"\ntokn = \"{secret}\"\n"),
        format!("{GOOD}[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"env:{secret}\"\n"),
        format!("{GOOD}[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"env:CANARY_SHORT\"\n"),
        // The line itself is broken.
        format!("{GOOD}[admin]\ntoken = \"{secret}\n"),
        format!("{GOOD}[admin]\ntoken = {secret}\n"),
        format!("{GOOD}[admin]\ntoken = \"{secret}\"\ntoken = \"{secret}\"\n"),
        format!("{GOOD}[admin]\ntoken \"{secret}\"\n"),
        GOOD.replace("127.0.0.1:1", &format!("ann:{secret}@127.0.0.1:1")),
        GOOD.replace("http://127.0.0.1:1", "${CANARY_URL}"),
        GOOD.replace("http://127.0.0.1:1", &format!("http://app.test/?token={secret}")),
        GOOD.replace("http://127.0.0.1:1", &format!("app.test?token={secret}")),
        GOOD.replace("http://127.0.0.1:1", &format!("wss://app.test/x?token={secret}")),
        format!("{GOOD}[telemetry]\notlp_endpoint = \"http://ann:{secret}@collector.test\"\n"),
        format!("{GOOD}[telemetry]\notlp_endpoint = \"http://collector.test/?token={secret}#x\"\n"),
        format!("{GOOD}[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"\n"),
        format!("{GOOD}[state]\nredis = \"http://ann:{secret}@redis.test\"\n"),
        format!("{GOOD}[state]\nredis = \"redis://ann:{secret}@redis.test:x\"\n"),
        persona(&format!("signed = true\nsigning = {{ secrets = [\"{secret}\"] }}\n")),
        persona(&format!("signed = true\nsigning = {{ secrets = \"{secret}\" }}\n")),
        persona(&format!("signed = true\nsigning = \"{secret}\"\n")),
        persona("signed = true\nsigning = { secrets = [\"env:CANARY_SHORT\"] }\n"),
        persona(&format!("jwt = {{ secret = \"{secret}\", algorithm = \"HS256\" }}\n")),
        persona(&format!(
            "embed = \"/embed/x\"\npreview = {{ id = \"p\", token = \"{secret}\" }}\n"
        )),
        persona("embed = \"/embed/x\"\npreview = { id = \"p\", token = \"env:CANARY_SHORT\" }\n"),
        persona(&format!("assertion = {{ algorithm = \"HS256\", secret = \"{secret}\" }}\n")),
        persona(&format!("basic_auth = {{ users = \"{secret}\" }}\n")),
        persona("basic_auth = { users = \"file:FOLDER/users\" }\n"),
        persona("basic_auth = { users = \"file:FOLDER/plain\" }\n"),
        format!(
            "{GOOD}[tls]\ncertificates = [{{ cert = \"FOLDER/plain\", key = \"FOLDER/users\" }}]\n"
        ),
        format!("include = [\"tenants/*.toml\"]\n{GOOD}"),
    ];
    let redirect =
        |to: &str| persona(&format!("redirects = [{{ from = \"/old\", to = \"{to}\" }}]\n"));
    let server = |url: &str| GOOD.replace("http://127.0.0.1:1", url);
    let health = |path: &str| format!("{GOOD}health = {{ path = \"{path}\" }}\n");
    let host = |host: &str| persona("").replace("chat.test", host);
    // Addresses, in which secrets are often a part.
    let addresses = [
        redirect(&format!("https://me:{secret}@files.test/x y?key={secret}")),
        redirect(&format!("https://me:{secret}@files.test/")),
        redirect(&format!("//me:{secret}@files.test/x")),
        redirect(&format!("https://me:x/{secret}@files.test/x")),
        redirect(&format!("https://me:{secret}?x@files.test/x")),
        redirect(&format!("me:{secret}@files.test/x")),
        redirect(&format!("ftp://files.test/x?key={secret}")),
        redirect("${CANARY_TARGET}"),
        redirect("${CANARY_PATH}"),
        redirect("/x y/${CANARY_PATH}?key=1"),
        persona(&format!("redirects = [{{ from = \"/old?key={secret}\", to = \"/\" }}]\n")),
        persona("redirects = [{ from = \"/${CANARY_PATH}/*\", to = \"/${CANARY_PATH}/*\" }]\n"),
        persona(&format!("redirects = \"https://me:{secret}@files.test/?key={secret}\"\n")),
        health(&format!("health?k={secret}")),
        health(&format!("/health?k={secret} x")),
        health("${CANARY_PATH}"),
        health("/health ${CANARY_WORD}"),
        server(&format!("http://app.test/{secret}")),
        server(&format!("app.test/{secret}")),
        server("${CANARY_PATH}"),
        server("http://app.test/${CANARY_PATH}"),
        server("http://app.test:${CANARY_WORD}"),
        GOOD.replace("[\"http://127.0.0.1:1\"]", &format!("\"http://me:{secret}@a/?k={secret}\"")),
        GOOD.replace("127.0.0.1:0", &format!("http://me:{secret}@127.0.0.1/?k={secret}")),
        GOOD.replace("127.0.0.1:0", "${CANARY_TARGET}"),
        GOOD.replace("\"serve\"", "\"${CANARY_WORD}\""),
        host(&format!("https://me:{secret}@chat.test/?key={secret}")),
        host(&format!("me:{secret}@chat.test/x?key={secret}")),
        host("${CANARY_PATH}"),
        host("${CANARY_TARGET}"),
        persona(&format!("path = \"/x?key={secret}\"\n")),
        persona("path = \"${CANARY_PATH}\"\n"),
        persona("").replace("\"app\"", "\"${CANARY_WORD}\""),
        persona("template = \"FOLDER/${CANARY_PATH}.html\"\n"),
        persona(&format!("headers = {{ remove = [\"authorization: Bearer {secret}\"] }}\n")),
        persona(&format!("headers = {{ remove = \"authorization: Bearer {secret}\" }}\n")),
        persona(&format!("headers.set.\"authorization: Bearer {secret}\" = \"\"\n")),
        persona(&format!("headers.set.\"authorization: {secret}\" = \"x\"\n")),
        persona(&format!("\"authorization: {secret}\" = 1\n")),
        format!("{GOOD}[upstreams.\"http://me:{secret}@app.test\"]\nservers = []\n"),
        persona("headers.remove = [\"x ${CANARY_PATH}\"]\n"),
        format!(
            "{GOOD}[tenants.acme]\nembed_origins = [\"me:{secret}@a.test\", \"${{CANARY_PATH}}\", \
             \"https://a.test/{secret}\", \"a.test/?key={secret}\"]\n{}",
            &persona("")[GOOD.len()..]
        ),
    ];
    let is_good = |text: &&String| said("check", text, &[]).0;
    let good: Vec<_> = addresses.iter().filter(is_good).collect();
    assert!(good.is_empty(), "nothing is wrong with {good:#?}");
    let files = [
        ("users", format!("ann:{secret}\neve:$2y$10${secret}\n{secret}\n")),
        ("plain", secret.clone()),
        (
            "tenants/acme.toml",
            format!(
                "[tenants.acme.personas.chat]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n\
                 signed = true\nsigning = {{ secrets = [\"{secret}\"] }}\ntoken = {secret}\n"
            ),
        ),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, &**text)).collect();
    let needles = Needles::new();
    let mut problems = Vec::new();
    for text in texts.iter().chain(&addresses) {
        let (is_good, _) = said("check", text, &files);
        for command in ["check", "run", "diff", "explain", "log-id", "status"] {
            // It would serve, also where only a tenant's own file is wrong.
            if (is_good || text.starts_with("include")) && command == "run" {
                continue;
            }
            let (_, said) = said(command, text, &files);
            assert!(!said.contains("panicked"), "{said}");
            if let Some(found) = needles.find(said.as_bytes()) {
                problems.push(format!("{command} of\n{text}\nsays {found:?}"));
            }
        }
    }
    assert!(ADMIN.contains(MARK) && problems.is_empty(), "{}", problems.join("\n\n"));
}
