//! `vestibule diff`: what a reload would change. Exit codes as `diff` has them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::outline::{Outline, outline};
use crate::config::snapshot::Snapshot;
use crate::config::{self, Severity};
use crate::diff::{Side, diff};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The main file that serves
    old: PathBuf,
    /// The main file that would
    new: PathBuf,
}

/// Nothing differs.
const EQUAL: u8 = 0;
const DIFFERENT: u8 = 1;
/// One of the two cannot be used.
const UNUSABLE: u8 = 2;

pub fn run(arguments: &Arguments) -> ExitCode {
    // Images of secrets are good for this comparison alone.
    let mut salt = [0; 16];
    if getrandom::fill(&mut salt).is_err() {
        eprintln!("vestibule diff: the system gives no randomness");
        return ExitCode::from(UNUSABLE);
    }
    let salt = format!("{:032x}", u128::from_ne_bytes(salt));
    let (Some(old), Some(new)) = (load(&arguments.old, &salt), load(&arguments.new, &salt)) else {
        return ExitCode::from(UNUSABLE);
    };
    match diff(side(&old), side(&new)) {
        Some(text) => {
            print!("{text}");
            ExitCode::from(DIFFERENT)
        }
        None => {
            println!("nothing changes");
            ExitCode::from(EQUAL)
        }
    }
}

fn side((snapshot, outline): &(Snapshot, Outline)) -> Side<'_> {
    Side { snapshot, outline }
}

fn load(file: &Path, salt: &str) -> Option<(Snapshot, Outline)> {
    let mut loaded = config::load(file);
    let Some(snapshot) = loaded.snapshot.take() else {
        let errors = loaded.problems.iter().filter(|it| it.severity == Severity::Error);
        errors.for_each(|problem| eprintln!("{problem}"));
        eprintln!("vestibule diff: {} is not usable, see above", file.display());
        return None;
    };
    let outline = outline(&loaded, file, salt);
    Some((snapshot, outline))
}
