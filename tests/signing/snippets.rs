//! Every snippet that signs, run by its language on the vectors and on random launches.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use vestibule::policy::query::pairs;
use vestibule::rejection::Code;

use super::node::launches;
use super::{Configured, printed, run, source};

/// What is signed, and what must come out.
fn cases() -> (Value, Vec<String>) {
    let vectors = fs::read_to_string(source("tests/vectors/signed-url.json")).unwrap();
    let vectors: Value = serde_json::from_str(&vectors).unwrap();
    let (mut inputs, mut expected) = (Vec::new(), Vec::new());
    for case in vectors["sign"].as_array().unwrap() {
        let mut list = case["params"].as_array().unwrap().clone();
        list.push(json!(["timestamp", "1763683200000"]));
        inputs.push(json!(list));
        expected.push(case["query"].as_str().unwrap().to_owned());
    }
    for launch in launches(300) {
        let payload = launch["payload"].as_str().unwrap();
        // Out of order, except for equal names.
        let mut list: Vec<_> = pairs(payload.as_bytes()).collect();
        list.sort_by_key(|pair| std::cmp::Reverse(pair.name.len()));
        let list = list.iter().map(|pair| json!([pair.name, pair.value]));
        inputs.push(list.collect());
        expected.push(format!("{payload}&signature={}", launch["signature"].as_str().unwrap()));
    }
    (json!(inputs), expected)
}

struct Language {
    kind: &'static str,
    /// The snippet's file, and the driver's.
    files: [&'static str; 2],
    program: &'static str,
    arguments: &'static [&'static str],
    is_required: bool,
}

const LANGUAGES: [Language; 5] = [
    Language {
        kind: "sign-node",
        files: ["snippet.mjs", "sign.mjs"],
        program: "node",
        arguments: &["sign.mjs"],
        is_required: true,
    },
    Language {
        kind: "sign-python",
        files: ["snippet.py", "sign.py"],
        program: "python3",
        arguments: &["sign.py"],
        is_required: true,
    },
    Language {
        kind: "sign-php",
        files: ["snippet.php", "sign.php"],
        program: "php",
        arguments: &["sign.php"],
        is_required: false,
    },
    Language {
        kind: "sign-ruby",
        files: ["snippet.rb", "sign.rb"],
        program: "ruby",
        arguments: &["sign.rb"],
        is_required: false,
    },
    Language {
        kind: "sign-go",
        files: ["snippet.go", "cmd/main.go"],
        program: "go",
        arguments: &["run", "./cmd"],
        is_required: false,
    },
];

fn signs_as_node_does(language: &Language) {
    let configured = Configured::new();
    let snippet = configured.vestibule(&["snippet", language.kind, "ragtime/sales"]);
    let folder = configured.folder.path().join("code");
    fs::create_dir_all(folder.join("cmd")).unwrap();
    fs::write(folder.join(language.files[0]), printed(&snippet)).unwrap();
    fs::write(folder.join("go.mod"), "module example.test/signing\n\ngo 1.19\n").unwrap();
    let driver = Path::new(language.files[1]).file_name().unwrap().to_str().unwrap();
    let driver = source("tests/signing/drivers").join(driver);
    fs::copy(driver, folder.join(language.files[1])).unwrap();

    let (inputs, expected) = cases();
    let mut command = Command::new(language.program);
    command.current_dir(&folder).args(language.arguments).arg("ragtime-test-secret");
    // Nothing is written beside, or fetched.
    command.env("GOCACHE", folder.join("cache")).env("GOFLAGS", "-mod=mod");
    command.env("GOPROXY", "off").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = match run(&mut command, &inputs.to_string()) {
        Ok(output) => output,
        Err(_) if !language.is_required => {
            println!("{} is not here: {} was not run", language.program, language.kind);
            return;
        }
        Err(error) => panic!("{} must be installed: {error}", language.program),
    };
    let lines: Vec<&str> = printed(&output).lines().collect();
    assert_eq!(lines.len(), expected.len());
    for (index, (line, expected)) in lines.iter().zip(&expected).enumerate() {
        assert_eq!(line, expected, "{}", inputs[index]);
    }
}

#[test]
fn the_documentation_shows_what_is_run_here() {
    let page = fs::read_to_string(source("docs/signing.md")).unwrap();
    for (file, from) in [("sign.mjs", "export function"), ("sign.py", "def sign")] {
        let snippet = fs::read_to_string(source("src/snippets").join(file)).unwrap();
        let code = &snippet[snippet.find(from).unwrap()..];
        // Up to the closing remarks.
        let code = code.split("\n// ").next().unwrap().split("\n# ").next().unwrap().trim_end();
        assert!(page.contains(code), "{file}:\n{code}");
    }
    for code in Code::ALL.iter().filter(|code| {
        ["signature_", "timestamp_", "replay_"].iter().any(|it| code.as_str().starts_with(it))
    }) {
        assert!(
            page.contains(&format!("| {} `{}` |", code.status_u16(), code.as_str())),
            "{code:?}"
        );
    }
}

#[test]
fn the_node_snippet_signs_as_the_document_does() {
    signs_as_node_does(&LANGUAGES[0]);
}

#[test]
fn the_python_snippet_signs_as_node_does() {
    signs_as_node_does(&LANGUAGES[1]);
}

#[test]
fn the_php_snippet_signs_as_node_does() {
    signs_as_node_does(&LANGUAGES[2]);
}

#[test]
fn the_ruby_snippet_signs_as_node_does() {
    signs_as_node_does(&LANGUAGES[3]);
}

#[test]
fn the_go_snippet_signs_as_node_does() {
    signs_as_node_does(&LANGUAGES[4]);
}
