//! The shape of the configuration as data: one table for each section.
//!
//! The tables are made by the `section!` macro of `raw`, from the very fields that hold the
//! values, so that a key cannot be in one and not in the other. Unknown keys and their
//! suggestions, "not enforced yet" and the documentation all come from here. Nothing here reads a
//! file or checks a value.

/// One section: `[server]`, or the inline table of `health = { ... }`.
#[derive(Debug)]
pub struct SectionInfo {
    pub doc: &'static str,
    pub keys: &'static [KeyInfo],
}

/// The "default" of a key that its section cannot do without.
pub const REQUIRED: &str = "required";

/// One key of a section.
#[derive(Debug)]
pub struct KeyInfo {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
    /// What holds where the key is absent, for people; [`REQUIRED`] where it may not be absent.
    pub default: &'static str,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The key does what it says.
    Enforced,
    /// The key is accepted and checked, and each use of it is warned about.
    NotYet,
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Boolean,
    /// Inclusive bounds.
    Integer(u64, u64),
    /// From 0 to 1.
    Fraction,
    /// A date, a time and its zone, without quotes.
    Moment,
    /// A string with a form of its own.
    Text(TextKind),
    /// One of these words.
    Choice(&'static [&'static str]),
    List(&'static Kind),
    Table(&'static SectionInfo),
    /// A table of such values whose names the user chooses.
    Map(&'static Kind),
    /// A table of tables whose names the user chooses.
    Named(&'static SectionInfo),
}

/// A string with a form of its own: what it is called, and one that is right.
#[derive(Debug, Clone, Copy)]
pub struct TextKind {
    /// With its article: "a duration".
    pub name: &'static str,
    pub example: &'static str,
    /// Never print what the user wrote: it may be a secret.
    pub confidential: bool,
}

impl Kind {
    /// With its article.
    pub fn describe(&self) -> String {
        match self {
            Kind::Boolean => "true or false".into(),
            Kind::Integer(..) => "a whole number".into(),
            Kind::Fraction => "a number from 0 to 1".into(),
            Kind::Moment => "a date and time with its zone".into(),
            Kind::Text(_) => format!("{} in quotes", self.meaning()),
            Kind::Choice(words) => one_of(words),
            Kind::List(_) => "a list".into(),
            Kind::Table(_) | Kind::Named(_) | Kind::Map(_) => "a table".into(),
        }
    }

    /// With its article, and without how it is written.
    pub fn meaning(&self) -> String {
        match self {
            Kind::Text(text) => text.name.to_owned(),
            kind => kind.describe(),
        }
    }

    /// A value of this kind, as it would be written.
    pub fn example(&self) -> String {
        match self {
            Kind::Boolean => "true".into(),
            Kind::Integer(low, _) => (*low).max(4).to_string(),
            Kind::Fraction => "0.01".into(),
            Kind::Moment => "2026-11-21T12:00:00Z".into(),
            Kind::Text(text) => format!("\"{}\"", text.example),
            Kind::Choice(words) => format!("\"{}\"", words[0]),
            Kind::List(item) => format!("[{}]", item.example()),
            Kind::Table(section) => section
                .keys
                .first()
                .map_or("{}".into(), |key| format!("{{ {} = {} }}", key.name, key.kind.example())),
            Kind::Map(value) => format!("{{ NAME = {} }}", value.example()),
            Kind::Named(_) => "{ NAME = { ... } }".into(),
        }
    }

    pub fn is_confidential(&self) -> bool {
        match self {
            Kind::Text(text) => text.confidential,
            Kind::List(item) => item.is_confidential(),
            _ => false,
        }
    }
}

/// `"a", "b" or "c"`.
pub fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The word of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase().replace('-', "_");
    let close = |candidate: &&str| {
        let allowed = (candidate.len().max(word.len()) / 3).max(1);
        strsim::osa_distance(&folded, &candidate.to_lowercase().replace('-', "_")) <= allowed
    };
    known
        .into_iter()
        .filter(close)
        .min_by_key(|candidate| strsim::osa_distance(&folded, &candidate.to_lowercase()))
}
