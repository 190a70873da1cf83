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
    for text in &texts {
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
