//! `vestibule check`: every problem at once.

use std::path::Path;
use std::process::ExitCode;

/// Loads the file as `run` would, and serves nothing.
pub fn check(file: &Path) -> ExitCode {
    let loaded = crate::config::load(file);
    for problem in &loaded.problems {
        println!("{problem}");
    }
    if loaded.snapshot.is_some() {
        println!("{}: ok", file.display());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
