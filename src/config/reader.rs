//! Walks a parsed TOML tree into raw types, collecting every problem on the way.
//!
//! A value of the wrong kind, an unknown key or a malformed string is reported and left out; the
//! walk goes on. Nothing here knows what a key means or how keys relate: that is `compile`'s.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::allow::Trust;
use super::error::{Problems, Wrong};
use super::expansion::Expansion;
use super::scalars::mismatch;
use super::schema::{Kind, REQUIRED, SectionInfo, Status, nearest};
use super::shown::without_secrets;
use super::source::{At, Spot};
use crate::policy::session::token::MAX_DEVICE;

/// Looks up an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the walk is, and what it has found wrong.
pub(super) struct Reading<'a> {
    pub problems: &'a mut Problems,
    pub file: u32,
    pub environment: Lookup<'a>,
    /// Which variables the file may use.
    trust: &'a Trust,
    path: Vec<Segment>,
    /// Below a key that is not enforced yet: one warning, at the top, is enough.
    warned: bool,
    /// False where the text has syntax errors: what seems to be missing may stand in them.
    complete: bool,
}

#[derive(Debug, Clone)]
enum Segment {
    Key(&'static str),
    Name(Arc<str>),
    Index(usize),
}

impl<'a> Reading<'a> {
    pub fn new(
        problems: &'a mut Problems,
        file: u32,
        (environment, trust): (Lookup<'a>, &'a Trust),
        complete: bool,
    ) -> Self {
        Self { problems, file, environment, trust, path: Vec::new(), warned: false, complete }
    }

    fn spot(&self, span: Range<usize>) -> Spot {
        Spot { file: self.file, offset: span.start as u32 }
    }

    pub fn error(&mut self, spot: Spot, wrong: Wrong) {
        let key = self.key();
        self.problems.error(spot, key, wrong);
    }

    fn key(&self) -> String {
        let mut key = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(name) => push_name(&mut key, name),
                Segment::Name(name) => push_name(&mut key, name_shown(name)),
                Segment::Index(index) => {
                    let _ = write!(key, "[{index}]");
                }
            }
        }
        key
    }

    fn within<T>(&mut self, segment: Segment, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let result = read(self);
        self.path.pop();
        result
    }

    /// Replaces each `${NAME}`.
    fn expand<'t>(&mut self, text: Cow<'t, str>, spot: Spot) -> Option<Cow<'t, str>> {
        if !text.contains("${") {
            return Some(text);
        }
        let mut expanded = String::new();
        let mut variables = Vec::new();
        let mut rest = &*text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}') else {
                self.error(spot, Wrong::new("`${` is never closed", "write ${NAME}"));
                return None;
            };
            if let Err(wrong) = self.trust.variable(name) {
                self.error(spot, wrong);
                return None;
            }
            let Some(value) = (self.environment)(name) else {
                let what = format!("the environment variable `{name}` is not set");
                self.error(spot, Wrong::new(what, format!("set {name}, or write the value here")));
                return None;
            };
            expanded.push_str(before);
            expanded.push_str(&value);
            variables.push((name.into(), value.into()));
            rest = tail;
        }
        expanded.push_str(rest);
        let (written, value) = ((&*text).into(), (&*expanded).into());
        self.problems.expanded(spot, Expansion { written, value, variables });
        Some(Cow::Owned(expanded))
    }
}

/// What problems repeat of a name: a whole header field may stand in its place.
fn name_shown(name: &str) -> &str {
    name.split([':', '=']).next().unwrap_or_default()
}

/// Appends `.name`, quoted where TOML would need quotes.
pub(super) fn push_name(key: &mut String, name: &str) {
    if !key.is_empty() {
        key.push('.');
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        key.push_str(name);
    } else {
        let _ = write!(key, "{name:?}");
    }
}

/// Something that can be read from a TOML value.
pub(super) trait Read: Sized {
    const KIND: Kind;
    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self>;
}

/// Something that is written as a string with a form of its own.
pub(super) trait Text: Sized {
    const KIND: Kind;
    /// Secrets are references, in which `${NAME}` must not be expanded.
    const EXPANDS: bool = true;
    fn parse(text: &str) -> Result<Self, Wrong>;
}

impl<T: Text> Read for T {
    const KIND: Kind = T::KIND;

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::String(text) = value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        let text = if T::EXPANDS { reading.expand(text, spot)? } else { text };
        match T::parse(&text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let wrong = match reading.problems.expansion(spot) {
                    Some(expansion) => expansion.unreadable(&Self::KIND, wrong),
                    None => without_secrets_of::<T>(&text, wrong),
                };
                reading.error(spot, wrong);
                None
            }
        }
    }
}

/// What is wrong with a text, said of as much of it as may be repeated.
fn without_secrets_of<T: Text>(text: &str, wrong: Wrong) -> Wrong {
    let shown = without_secrets(text);
    if shown == text || wrong.repeats_nothing() {
        return wrong;
    }
    // What is wrong with the rest is as good a reason.
    T::parse(&shown).err().unwrap_or_else(|| {
        let what = format!("the value is not {}", T::KIND.meaning());
        Wrong::new(what, format!("write something like {}", T::KIND.example()))
    })
}

impl<T: Read> Read for Vec<At<T>> {
    const KIND: Kind = Kind::List(&T::KIND);

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Array(items) = value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        let written = items.len();
        let mut list = Vec::with_capacity(written);
        for (index, item) in items.into_iter().enumerate() {
            let spot = reading.spot(item.span());
            let read = |reading: &mut Reading<'_>| T::read(item.into_inner(), spot, reading);
            if let Some(value) = reading.within(Segment::Index(index), read) {
                list.push(At { spot, value });
            }
        }
        // A list of which nothing was good is not an empty list.
        (written == 0 || !list.is_empty()).then_some(list)
    }
}

/// A table with a fixed set of keys.
pub(super) trait Section: Default {
    const INFO: SectionInfo;
    /// Reads the value of a key that [`Section::INFO`] lists.
    fn set(&mut self, key: &str, spot: Spot, value: DeValue<'_>, reading: &mut Reading<'_>);
    /// The names of the keys that have a value.
    fn written(&self) -> Vec<&'static str>;
}

/// A table with a fixed set of keys, as a value.
#[derive(Debug, Default)]
pub struct Table<T>(Box<T>);

impl<T> std::ops::Deref for Table<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Section> Read for Table<T> {
    const KIND: Kind = Kind::Table(&T::INFO);

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        let mut section = Table::<T>::default();
        read_section(&mut *section.0, table, spot, reading);
        Some(section)
    }
}

/// Reads every key of `table`, which begins at `spot`, into `section`.
pub(super) fn read_section<T: Section>(
    section: &mut T,
    table: DeTable<'_>,
    spot: Spot,
    reading: &mut Reading<'_>,
) {
    let mut seen = 0_u64;
    for (key, value) in table {
        let key_spot = reading.spot(key.span());
        let Some(index) = T::INFO.keys.iter().position(|info| info.name == *key.get_ref()) else {
            seen |= unknown_key(&T::INFO, key.get_ref(), key_spot, reading);
            continue;
        };
        seen |= 1 << index;
        let info = &T::INFO.keys[index];
        let spot = spot_of(&key, &value, reading);
        reading.within(Segment::Key(info.name), |reading| {
            let outer = reading.warned;
            if info.status == Status::NotYet && !outer {
                not_enforced_yet(key_spot, reading);
            }
            section.set(info.name, spot, value.into_inner(), reading);
            reading.warned = outer;
        });
    }
    for (index, info) in T::INFO.keys.iter().enumerate() {
        if info.default == REQUIRED && seen & (1 << index) == 0 && reading.complete {
            let remedy = format!("add {} = {}", info.name, info.kind.example());
            reading.error(spot, Wrong::new(format!("the key `{}` is missing", info.name), remedy));
        }
    }
}

fn not_enforced_yet(spot: Spot, reading: &mut Reading<'_>) {
    reading.warned = true;
    let key = reading.key();
    let what = "not enforced yet: the key is checked, and has no effect in this version";
    reading.problems.warning(spot, key, Wrong::new(what, ""));
}

/// A table is found by its name, anything else by its value.
fn spot_of(key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>, at: &Reading<'_>) -> Spot {
    match value.get_ref() {
        DeValue::Table(_) => at.spot(key.span()),
        _ => at.spot(value.span()),
    }
}

/// Returns the bit of the key that was probably meant, which then does not count as missing.
fn unknown_key(info: &SectionInfo, name: &str, spot: Spot, reading: &mut Reading<'_>) -> u64 {
    let known = || info.keys.iter().map(|key| key.name);
    let name = name_shown(name);
    let mut meant = 0;
    let wrong = match nearest(name, known()) {
        Some(near) => {
            meant = known().position(|key| key == near).map_or(0, |index| 1 << index);
            Wrong::new(format!("unknown key `{name}`, did you mean `{near}`?"), "")
        }
        // After a broken header, keys seem to stand in the section before it.
        None if !reading.complete => return 0,
        None => {
            let names: Vec<_> = known().collect();
            let remedy = format!("the keys here are {}", names.join(", "));
            Wrong::new(format!("unknown key `{name}`"), remedy)
        }
    };
    let mut key = reading.key();
    push_name(&mut key, name);
    reading.problems.error(spot, key, wrong);
    meant
}

/// Tables whose names the user chooses, by name.
#[derive(Debug)]
pub struct Named<T>(pub Vec<Entry<T>>);

#[derive(Debug)]
pub struct Entry<T> {
    pub name: Arc<str>,
    /// Of the name.
    pub spot: Spot,
    pub value: Table<T>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    pub fn iter(&self) -> std::slice::Iter<'_, Entry<T>> {
        self.0.iter()
    }
}

impl<T: Section> Read for Named<T> {
    const KIND: Kind = Kind::Named(&T::INFO);

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let spot = reading.spot(key.span());
            let name: Arc<str> = key.into_inner().into();
            reading.within(Segment::Name(name.clone()), |reading| {
                if let Err(wrong) = check_name(&name) {
                    reading.error(spot, wrong);
                }
                if let Some(value) = Table::<T>::read(value.into_inner(), spot, reading) {
                    // What is built of the names of sections, such as keys, repeats no more.
                    let name = name_shown(&name).into();
                    entries.push(Entry { name, spot, value });
                }
            });
        }
        Some(Self(entries))
    }
}

/// Values whose names the user chooses, as they were written.
#[derive(Debug)]
pub struct Map<T>(pub Vec<Pair<T>>);

/// One of them; the spot is the name's.
#[derive(Debug)]
pub struct Pair<T> {
    pub name: Arc<str>,
    pub spot: Spot,
    pub value: T,
}

impl<T: Read> Read for Map<T> {
    const KIND: Kind = Kind::Map(&T::KIND);

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        let mut pairs = Vec::with_capacity(table.len());
        for (key, value) in table {
            let spot = reading.spot(key.span());
            let name: Arc<str> = key.into_inner().into();
            reading.within(Segment::Name(name.clone()), |reading| {
                let value = T::read(value.into_inner(), spot, reading);
                pairs.extend(value.map(|value| Pair { name, spot, value }));
            });
        }
        Some(Self(pairs))
    }
}

/// In bytes. Every device fits into a session.
const MAX_NAME: usize = 64;
const _: () = assert!(MAX_NAME <= MAX_DEVICE);

/// Names travel in headers, in `TENANT/PERSONA` and in file names.
fn check_name(name: &str) -> Result<(), Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && name.len() <= MAX_NAME && name.chars().all(good) {
        return Ok(());
    }
    let remedy = "write at most 64 letters, digits, `-` and `_`, beginning with a letter or digit";
    Err(Wrong::new(format!("`{}` cannot be a name", name_shown(name)), remedy))
}

/// Makes a section's struct and its table of keys from one list.
macro_rules! section {
    (
        #[doc = $doc:literal]
        $name:ident {
            $( $(#[doc = $key_doc:literal])+ $key:ident: $kind:ty, $default:expr, $status:ident; )*
        }
    ) => {
        #[doc = $doc]
        #[derive(Debug, Default)]
        pub struct $name {
            $( $(#[doc = $key_doc])+ pub $key: Option<At<$kind>>, )*
        }

        impl Section for $name {
            const INFO: SectionInfo = SectionInfo {
                doc: $doc,
                keys: &[$( KeyInfo {
                    name: stringify!($key),
                    kind: <$kind as Read>::KIND,
                    doc: concat!($($key_doc),+),
                    default: $default,
                    status: Status::$status,
                }, )*],
            };

            fn set(&mut self, key: &str, spot: Spot, value: DeValue<'_>, reading: &mut Reading<'_>) {
                match key {
                    $( stringify!($key) => {
                        let value = <$kind as Read>::read(value, spot, reading);
                        self.$key = value.map(|value| At { spot, value });
                    } )*
                    other => unreachable!("`{other}` is not in the table of {}", stringify!($name)),
                }
            }

            fn written(&self) -> Vec<&'static str> {
                let keys = [$( self.$key.is_some().then_some(stringify!($key)), )*];
                keys.into_iter().flatten().collect()
            }
        }
    };
}
pub(super) use section;
