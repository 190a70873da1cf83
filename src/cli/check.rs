//! `vestibule check`: every problem at once.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Problem, Severity};

/// Loads the file as `run` would, and serves nothing.
pub fn check(file: &Path) -> ExitCode {
    let loaded = crate::config::load(file);
    let mut text = String::new();
    for problem in &loaded.problems {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{problem}");
    }
    let (errors, warnings) = count(&loaded.problems);
    let verdict = if loaded.snapshot.is_some() { "ok" } else { "not usable" };
    let _ = writeln!(text, "{}: {verdict}; errors: {errors}, warnings: {warnings}", file.display());
    // A reader that has seen enough (`| head`) is no reason to fail.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if loaded.snapshot.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn count(problems: &[Problem]) -> (usize, usize) {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    (errors, problems.len() - errors)
}
