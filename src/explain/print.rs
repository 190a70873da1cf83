//! What `vestibule explain` prints.

use std::fmt;

use super::{Explanation, Note, Step};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| step.fmt(f))?;
        if self.goes_on { f.write_str("It goes on redirecting.\n") } else { Ok(()) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {} {}", self.number, self.method, self.target)?;
        self.notes.iter().try_for_each(|note| match note {
            Note::Stage(stage, text) => writeln!(f, "   {stage:<12} {text}"),
            Note::Sent(line) => writeln!(f, "                {line}"),
        })
    }
}
