//! How a problem in the configuration is told.
//!
//! One line a problem, made to be read by a tired person and by an editor's error matcher:
//!
//! ```text
//! FILE:LINE:COLUMN: error: KEY: what is wrong; what to write
//! ```
//!
//! Lines and columns count from one, columns in characters. KEY is the dotted path of the key and
//! absent where a problem belongs to a whole file. There is deliberately no excerpt of the source
//! line: a secret that was pasted where a reference belongs must not reach a log.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use super::expansion::Expansion;
use super::source::{SourceTexts, Spot};

/// One thing to mend, or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// As the user named it, or relative to what the user named.
    pub file: Arc<str>,
    /// From one.
    pub line: u32,
    /// From one, in characters.
    pub column: u32,
    /// Dotted path of the key, such as `tenants.shop.personas.bot.upstream`; empty for a file.
    pub key: String,
    /// What is wrong.
    pub what: Cow<'static, str>,
    /// What to write instead; empty where `what` has said it.
    pub remedy: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, and does not do all that it seems to say.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: ", self.file, self.line, self.column, self.severity)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// What is wrong with a value, before anybody knows where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub what: Cow<'static, str>,
    pub remedy: Cow<'static, str>,
}

impl Wrong {
    pub fn new(what: impl Into<Cow<'static, str>>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    /// Whether it says the same of every value.
    pub fn repeats_nothing(&self) -> bool {
        matches!((&self.what, &self.remedy), (Cow::Borrowed(_), Cow::Borrowed(_)))
    }
}

/// Collects problems by position; lines and columns are worked out once, at the end.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Found>,
    /// Keys of errors, for [`Problems::has_error_below`].
    wrong_keys: BTreeSet<String>,
    errors: usize,
    /// Texts in which `${NAME}` stands: nothing of what it stands for is told.
    expanded: BTreeMap<Spot, Expansion>,
}

/// A problem whose line and column nobody has worked out yet.
#[derive(Debug, Clone)]
pub(super) struct Found {
    severity: Severity,
    spot: Spot,
    key: String,
    wrong: Wrong,
}

impl Found {
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The same, where the file with the number `from` is now number `to`.
    pub fn moved(&self, from: u32, to: u32) -> Self {
        let mut found = self.clone();
        if found.spot.file == from {
            found.spot.file = to;
        }
        found
    }
}

impl Problems {
    pub fn error(&mut self, spot: Spot, key: impl Into<String>, wrong: Wrong) {
        let key = key.into();
        let wrong = self.hidden(spot, wrong);
        self.errors += 1;
        self.wrong_keys.insert(key.clone());
        self.found.push(Found { severity: Severity::Error, spot, key, wrong });
    }

    pub fn warning(&mut self, spot: Spot, key: impl Into<String>, wrong: Wrong) {
        let wrong = self.hidden(spot, wrong);
        self.found.push(Found { severity: Severity::Warning, spot, key: key.into(), wrong });
    }

    /// Remembers what `${NAME}` has made of a text.
    pub fn expanded(&mut self, spot: Spot, expansion: Expansion) {
        self.expanded.insert(spot, expansion);
    }

    pub fn expansion(&self, spot: Spot) -> Option<&Expansion> {
        self.expanded.get(&spot)
    }

    fn hidden(&self, spot: Spot, wrong: Wrong) -> Wrong {
        match self.expansion(spot) {
            Some(expansion) => expansion.hidden(wrong),
            None => wrong,
        }
    }

    /// Whether an error was found at a key that begins with `prefix`. Used to keep silent about
    /// what is missing where it may have been written wrongly.
    pub fn has_error_below(&self, prefix: &str) -> bool {
        let after = self.wrong_keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        after.into_iter().next().is_some_and(|key| key.starts_with(prefix))
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Forgets what was found in `file` on the given lines: there the text itself is broken, and
    /// whatever else was concluded from it is noise.
    pub fn forget_lines(&mut self, file: u32, lines: &[u32], texts: &SourceTexts) {
        self.found.retain(|found| {
            found.spot.file != file || !lines.contains(&texts.position(found.spot).0)
        });
        let errors = || self.found.iter().filter(|found| found.severity == Severity::Error);
        self.errors = errors().count();
        self.wrong_keys = errors().map(|found| found.key.clone()).collect();
    }

    /// Takes problems that were found elsewhere.
    pub fn extend(&mut self, found: impl IntoIterator<Item = Found>) {
        for one in found {
            if one.is_error() {
                self.errors += 1;
                self.wrong_keys.insert(one.key.clone());
            }
            self.found.push(one);
        }
    }

    pub fn found(&self) -> &[Found] {
        &self.found
    }

    pub fn into_found(self) -> Vec<Found> {
        self.found
    }

    /// Sorted by file (in the order of reading) and position.
    pub fn finish(mut self, texts: &SourceTexts) -> Vec<Problem> {
        self.found.sort_by_key(|found| found.spot);
        let problem = |found: Found| {
            let (line, column) = texts.position(found.spot);
            Problem {
                severity: found.severity,
                file: texts.name(found.spot.file),
                line,
                column,
                key: found.key,
                what: found.wrong.what,
                remedy: found.wrong.remedy,
            }
        };
        self.found.into_iter().map(problem).collect()
    }
}
