//! What a launch brings to the app besides who is asking: a persona's declared variables.
//!
//! Decides which parameters are variables: those that are declared, each taken from its own source.
//! The same name in the other source is a parameter like any undeclared one. It is no variable and
//! no error: where a variable comes from is how its owner keeps it out of addresses and histories,
//! and a query that anybody can extend must not be able to stop a launch. Given twice, wherever,
//! it could be read in two ways and is refused.
//!
//! A value reaches the app as it was given, never cut: one that is too long is refused. A short one
//! also travels as a header, percent-encoded like every header of ours. No value may reach a log,
//! an error or a `Debug`.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::identity::header_value;
use super::query::Pair;
use crate::rejection::{Code, Rejection};

/// Bytes of a value that travels as a header, as it stands there.
pub const MAX_HEADER: usize = 256;
/// Bytes of all of a launch's variables that travel as headers, names and values.
pub const MAX_HEADERS: usize = 2 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Query,
    /// A form that launches.
    Body,
}

impl Source {
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Query => "query",
            Source::Body => "body",
        }
    }
}

/// A declared variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    name: Arc<str>,
    header: Arc<str>,
    source: Source,
    max: usize,
}

/// Why a name cannot be a variable's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAName;

/// In bytes.
pub const MAX_NAME: usize = 64;

impl Variable {
    /// `max`: bytes of the longest value.
    pub fn new(name: &str, source: Source, max: usize) -> Result<Self, NotAName> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let starts = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !starts || name.len() > MAX_NAME || !name.bytes().all(is_good) {
            return Err(NotAName);
        }
        Ok(Self { name: name.into(), header: header(name).into(), source, max })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn source(&self) -> Source {
        self.source
    }

    /// Headers are the same in every case.
    pub fn shares_header(&self, other: &Self) -> bool {
        self.header.eq_ignore_ascii_case(&other.header)
    }
}

/// With `-` for `_`: servers drop header names with underscores, or take both for the same.
fn header(name: &str) -> String {
    ["X-Vestibule-Var-", &name.replace('_', "-")].concat()
}

/// The persona's part of the configuration, compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariablesPolicy(Box<[Variable]>);

impl VariablesPolicy {
    /// Names and headers are unique: the configuration sees to it.
    pub fn new(variables: impl IntoIterator<Item = Variable>) -> Self {
        let mut variables: Vec<_> = variables.into_iter().collect();
        variables.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Self(variables.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter()
    }

    pub fn declares(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0.binary_search_by(|variable| (*variable.name).cmp(name)).ok()
    }
}

/// Witness: these variables are declared and within their limits.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(Box<[Brought]>);

#[derive(Clone, PartialEq, Eq)]
struct Brought {
    name: Arc<str>,
    /// Where the value also travels as a header.
    header: Option<Arc<str>>,
    value: Box<str>,
}

impl Variables {
    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|one| (&*one.name, &*one.value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Memory that belongs to the launch; names are the configuration's.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|one| size_of::<Brought>() + one.value.len()).sum()
    }

    /// Names, values, and whether they travel as headers: for a successor process.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.0.iter().map(|one| (&*one.name, &*one.value, one.header.is_some()))
    }

    /// What [`Variables::parts`] gave: it was decided about by the process before.
    pub fn from_parts<'p>(
        parts: impl IntoIterator<Item = (&'p str, &'p str, bool)>,
    ) -> Result<Self, NotAName> {
        let brought = parts.into_iter().map(|(name, value, travels)| {
            let variable = Variable::new(name, Source::Body, usize::MAX)?;
            let header = travels.then_some(variable.header);
            Ok(Brought { name: variable.name, header, value: value.into() })
        });
        brought.collect::<Result<_, _>>().map(Self)
    }

    /// `X-Vestibule-Var-NAME` and its value, for those that are short enough.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.0.iter().filter_map(|one| Some((&**one.header.as_ref()?, header_value(&one.value))))
    }
}

/// Names only.
impl fmt::Display for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, (name, _)) in self.iter().enumerate() {
            write!(f, "{}{name}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({self})")
    }
}

/// Decides about what one launch brings; `form` is empty where it is a GET.
pub fn decide<'q>(
    policy: &VariablesPolicy,
    query: impl IntoIterator<Item = Pair<'q>>,
    form: impl IntoIterator<Item = Pair<'q>>,
) -> Result<Variables, Rejection> {
    if policy.is_empty() {
        return Ok(Variables::default());
    }
    let mut found: Vec<Option<(Source, Cow<'q, str>)>> = vec![None; policy.0.len()];
    let query = query.into_iter().map(|pair| (Source::Query, pair));
    for (source, pair) in query.chain(form.into_iter().map(|pair| (Source::Body, pair))) {
        let Some(index) = policy.find(&pair.name) else { continue };
        if found[index].replace((source, pair.value)).is_some() {
            let reason = "a declared variable is given more than once";
            let name = policy.0[index].name();
            let detail = format!("{name} is given more than once.");
            return Err(Rejection::new(Code::ParameterDuplicate, reason).with_detail(detail));
        }
    }
    let mut room = MAX_HEADERS;
    let mut brought = Vec::new();
    for (variable, found) in policy.0.iter().zip(found) {
        let Some((_, value)) = found.filter(|(source, _)| *source == variable.source) else {
            continue;
        };
        if value.len() > variable.max {
            return Err(too_long(variable, value.len()));
        }
        brought.push(Brought {
            name: Arc::clone(&variable.name),
            header: travels(variable, &value, &mut room).then(|| Arc::clone(&variable.header)),
            value: value.into(),
        });
    }
    Ok(Variables(brought.into()))
}

fn too_long(variable: &Variable, length: usize) -> Rejection {
    let detail = format!("{} has {length} bytes and may have {}.", variable.name, variable.max);
    Rejection::new(Code::ContentOverLimit, "a variable is over its limit").with_detail(detail)
}

/// Whether a value is also a header; `room` is what is left for all of them.
fn travels(variable: &Variable, value: &str, room: &mut usize) -> bool {
    if value.len() > MAX_HEADER {
        return false;
    }
    let length = header_value(value).len();
    let Some(left) = room.checked_sub(variable.header.len() + length) else { return false };
    if length > MAX_HEADER {
        return false;
    }
    *room = left;
    true
}

/// Declared variables that came from the other source, which are none, for whoever looks for them.
pub fn misplaced<'p, 'q>(
    policy: &'p VariablesPolicy,
    source: Source,
    pairs: impl IntoIterator<Item = Pair<'q>>,
) -> impl Iterator<Item = &'p Variable> {
    let found = pairs.into_iter().filter_map(|pair| policy.find(&pair.name));
    found.map(|index| &policy.0[index]).filter(move |variable| variable.source != source)
}
