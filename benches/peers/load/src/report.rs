//! Counts, and the JSON lines and pauses that the caller steers by.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::Write;

use crate::args::Result;

/// What the tasks of one generator saw. One thread, hence cells.
#[derive(Default)]
pub struct Tally {
    pub ok: Cell<u64>,
    pub failed: Cell<u64>,
    first_failure: RefCell<Option<String>>,
}

impl Tally {
    pub fn add_ok(&self, count: u64) {
        self.ok.set(self.ok.get() + count);
    }

    pub fn fail(&self, why: impl Display) {
        self.failed.set(self.failed.get() + 1);
        self.first_failure.borrow_mut().get_or_insert_with(|| why.to_string());
    }

    /// An error if anything failed, or nothing was done at all.
    pub fn verdict(&self) -> Result<()> {
        match &*self.first_failure.borrow() {
            Some(why) => Err(format!("{} failed, the first: {why}", self.failed.get()).into()),
            None if self.ok.get() == 0 => Err("nothing was completed".into()),
            None => Ok(()),
        }
    }
}

/// Prints `line` and waits until the caller answers with a line (or goes away).
///
/// It blocks the only thread on purpose: at these points no connection has anything to do.
pub fn pause(line: &str) -> Result<()> {
    println!("{line}");
    std::io::stdout().flush()?;
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
