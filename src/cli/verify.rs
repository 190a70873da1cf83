//! `vestibule verify`: whether a signed launch verifies, and what its signer did otherwise.
//!
//! It knows the secrets and says what they are good for, and never says them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::place::{self, Failure, Url};
use super::sign::now_ms;
use crate::config::snapshot::Snapshot;
use crate::policy::signature::{self, Shown, SigningPolicy, Verified};
use crate::rejection::{Code, Rejection};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = "config/vestibule.toml")]
    config: PathBuf,
    /// The launch as the browser asks for it
    url: String,
    /// The moment at which it arrives, in milliseconds since 1970; by default now
    #[arg(long, value_name = "MILLISECONDS")]
    at: Option<u64>,
    /// The body of a launch by form
    #[arg(long, value_name = "BODY")]
    form: Option<String>,
}

pub fn run(arguments: Arguments) -> ExitCode {
    let loaded = place::load(&arguments.config);
    match loaded.and_then(|snapshot| verify(&snapshot, &arguments)) {
        Ok((text, verifies)) => {
            print!("{text}");
            if verifies { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => failure.report("verify"),
    }
}

fn verify(snapshot: &Snapshot, arguments: &Arguments) -> Result<(String, bool), Failure> {
    let url = Url::parse(&arguments.url)?;
    let persona = url.persona(snapshot)?;
    let policy = place::signing(persona)?;
    let launch = Launch {
        policy,
        query: url.query,
        form: arguments.form.as_deref().map(str::as_bytes),
        at: arguments.at.unwrap_or_else(now_ms),
    };
    let mut text = String::new();
    line(&mut text, "persona", &format!("{}/{}", persona.tenant, persona.name));
    let verifies = launch.write(&mut text);
    Ok((text, verifies))
}

struct Launch<'a> {
    policy: &'a SigningPolicy,
    query: Option<&'a str>,
    form: Option<&'a [u8]>,
    at: u64,
}

impl Launch<'_> {
    fn write(&self, text: &mut String) -> bool {
        let shown = signature::shown(self.policy, self.query, self.form);
        let verified = signature::verify(self.policy, self.query, self.form, self.at, None);
        if let Ok(shown) = &shown {
            self.write_launch(shown, verified.as_ref().ok(), text);
        }
        match &verified {
            Ok(_) => line(text, "verdict", "it verifies"),
            Err(rejection) => self.write_refusal(rejection, shown.as_ref().ok(), text),
        }
        verified.is_ok()
    }

    fn write_launch(&self, shown: &Shown, verified: Option<&Verified<'_>>, text: &mut String) {
        line(text, "canonical", &shown.canonical);
        if let Some(with_line_feeds) = &shown.with_line_feeds {
            line(text, "with LF", with_line_feeds);
            let which = match verified.map(|verified| verified.canonical() == with_line_feeds) {
                Some(true) => "form values have CRLF, which browsers make of LF: LF was signed",
                Some(false) => "form values have CRLF, and CRLF was signed",
                None => "form values have CRLF, which browsers make of LF: neither form was signed",
            };
            line(text, "", which);
        }
        if !shown.ignored.is_empty() {
            line(text, "ignored", &shown.ignored.join(", "));
        }
        if let Some(timestamp) = shown.timestamp {
            let max_age = self.policy.max_age().as_secs();
            let age = match (self.at.saturating_sub(timestamp), timestamp.saturating_sub(self.at)) {
                (old, 0) => format!("{} old of {max_age} s", seconds(old)),
                (_, ahead) => format!("{} ahead of 60 s", seconds(ahead)),
            };
            line(text, "signed at", &format!("{}, {age}", date(timestamp)));
        }
    }

    fn write_refusal(&self, rejection: &Rejection, shown: Option<&Shown>, text: &mut String) {
        let (status, code) = (rejection.code.status_u16(), rejection.code.as_str());
        let fits = shown.and_then(|shown| shown.fits);
        let is_mismatch = rejection.code == Code::SignatureInvalid && fits == Some(false);
        let detail = rejection.detail.as_deref().filter(|_| !is_mismatch);
        let detail = detail.unwrap_or(rejection.code.title());
        line(text, "verdict", &format!("{status} {code}: {detail}"));
        if fits == Some(true) {
            line(text, "", "the signature itself is right");
        }
        if !is_mismatch {
            return;
        }
        let guesses = signature::guesses(self.policy, self.query, self.form).unwrap_or_default();
        for guess in &guesses {
            line(text, "", &guess.to_string());
        }
        if guesses.is_empty() {
            let hint = "none of the usual mistakes explains it: compare the signer's text with the \
                        canonical one, byte by byte, and its secret with the persona's";
            line(text, "", hint);
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..3_600_000 => format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000),
        long => humantime::format_duration(Duration::from_secs(long / 1000)).to_string(),
    }
}

fn date(timestamp: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(timestamp);
    humantime::format_rfc3339_millis(time).to_string()
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name:<10} {value}");
}
