//! `vestibule snippet`: text that is ready to be pasted, with the names and addresses of one persona.
//!
//! The texts are in `src/snippets`, with `{{WORDS}}` that are filled in here. What is filled in are
//! names, hosts and paths, whose characters need no escaping in any of the languages; never a
//! secret.

use std::path::PathBuf;
use std::process::ExitCode;

use super::place;
use crate::config::snapshot::{Persona, Snapshot};
use crate::policy::metadata::{UserIdRule, mode_name};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = "config/vestibule.toml")]
    config: PathBuf,
    /// What is wanted
    #[arg(value_enum)]
    kind: Kind,
    /// For which persona
    #[arg(value_name = "TENANT/PERSONA")]
    persona: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// The launcher for a page: button, frame and script
    HostPage,
    /// The header field that a page needs to frame the chat
    Csp,
    /// A page of its own to try the chat, with a log of its messages
    Starter,
    /// A function that signs launches, for Node
    SignNode,
    /// The same for Python
    SignPython,
    /// The same for PHP
    SignPhp,
    /// The same for Go
    SignGo,
    /// The same for Ruby
    SignRuby,
}

pub fn run(arguments: Arguments) -> ExitCode {
    let text = place::load(&arguments.config).and_then(|snapshot| {
        let persona = place::named(&snapshot, &arguments.persona)?;
        let signs = !matches!(arguments.kind, Kind::HostPage | Kind::Csp | Kind::Starter);
        if signs {
            place::signing(persona)?;
        }
        Ok(snippet(arguments.kind, &snapshot, persona))
    });
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => failure.report("snippet"),
    }
}

fn snippet(kind: Kind, snapshot: &Snapshot, persona: &Persona) -> String {
    let words = Words::of(snapshot, persona);
    let is_signed = persona.signing.is_some();
    let text = match kind {
        Kind::Csp => return words.csp(),
        Kind::HostPage => include_str!("../snippets/host-page.html"),
        Kind::Starter => include_str!("../snippets/starter.html"),
        Kind::SignNode => include_str!("../snippets/sign.mjs"),
        Kind::SignPython => include_str!("../snippets/sign.py"),
        Kind::SignPhp => include_str!("../snippets/sign.php"),
        Kind::SignGo => include_str!("../snippets/sign.go"),
        Kind::SignRuby => include_str!("../snippets/sign.rb"),
    };
    let (script, open) = match is_signed {
        true => (
            include_str!("../snippets/launcher-signed.js"),
            include_str!("../snippets/starter-signed.js"),
        ),
        false => (
            include_str!("../snippets/launcher.js"),
            include_str!("../snippets/starter-asserted.js"),
        ),
    };
    words.fill(&text.replace("{{SCRIPT}}", script).replace("{{OPEN}}", open))
}

/// What stands in the texts.
struct Words<'a> {
    persona: &'a Persona,
    /// Of its hosts, in their order.
    origins: Vec<String>,
}

impl<'a> Words<'a> {
    fn of(snapshot: &Snapshot, persona: &'a Persona) -> Self {
        // Behind a balancer, and on the usual port, browsers see none.
        let port = snapshot.server.https.first().map(|address| address.port());
        let port = match port {
            None | Some(0 | 443) => String::new(),
            Some(port) => format!(":{port}"),
        };
        let origins = persona.hosts.iter().map(|host| format!("https://{host}{port}"));
        Self { persona, origins: origins.collect() }
    }

    fn csp(&self) -> String {
        format!("Content-Security-Policy: frame-src 'self' {}\n", self.origins.join(" "))
    }

    /// An origin that can be typed.
    fn origin(&self) -> String {
        let exact = self.origins.iter().find(|origin| !origin.contains('*'));
        let origin = exact.or(self.origins.first()).cloned().unwrap_or_default();
        origin.replace('*', "your-name")
    }

    fn fill(&self, text: &str) -> String {
        let Persona { tenant, name, path, metadata, .. } = self.persona;
        let origin = self.origin();
        let url = format!("{origin}{}/", path.trim_end_matches('/'));
        let required = metadata.user_id == UserIdRule::Required;
        let generates = metadata.allow_generated_id;
        let (parameter, value) = match metadata.user_id {
            UserIdRule::None => ("user_name", "John"),
            UserIdRule::Required | UserIdRule::Optional => ("user_id", "12345"),
        };
        let (label, input) = match self.persona.signing {
            Some(_) => ("Signed URL (vestibule sign)", "required type=\"url\""),
            None if metadata.user_id == UserIdRule::None => {
                ("This chat takes no user id", "disabled")
            }
            None if required => ("User id", "required"),
            None => ("User id, if there is one", ""),
        };
        let hint = match metadata.user_id {
            UserIdRule::None => "This chat takes no user id.",
            UserIdRule::Optional => "Set window.currentUserId where somebody is signed in.",
            UserIdRule::Required => "Set window.currentUserId before the chat is opened.",
        };
        let user = match metadata.user_id {
            UserIdRule::None => "undefined",
            UserIdRule::Required | UserIdRule::Optional => "window.currentUserId",
        };
        let flag = |flag: bool| if flag { "true" } else { "false" };
        let words = [
            ("{{NAME}}", format!("{tenant}/{name}")),
            // What the script posts to: nothing from a page whose launches its server signs.
            (
                "{{CONNECT}}",
                match self.persona.signing {
                    Some(_) => String::new(),
                    None => format!(" and connect-src {origin}"),
                },
            ),
            ("{{ORIGIN}}", origin),
            ("{{URL}}", url),
            ("{{MODE}}", mode_name(metadata.mode).to_owned()),
            ("{{REQUIRE}}", flag(required).to_owned()),
            ("{{GENERATE}}", flag(generates).to_owned()),
            ("{{BRIDGED}}", flag(metadata.bridge).to_owned()),
            ("{{USER}}", user.to_owned()),
            ("{{USER_HINT}}", hint.to_owned()),
            ("{{LABEL}}", label.to_owned()),
            ("{{INPUT}}", input.to_owned()),
            ("{{EXAMPLE_JS}}", format!("{parameter}: '{value}'")),
            ("{{EXAMPLE_PY}}", format!("\"{parameter}\": \"{value}\"")),
            ("{{EXAMPLE_PHP}}", format!("['{parameter}', '{value}']")),
            ("{{EXAMPLE_GO}}", format!("{{\"{parameter}\", \"{value}\"}}")),
            ("{{EXAMPLE_RB}}", format!("\"{parameter}\" => \"{value}\"")),
        ];
        words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }
}
