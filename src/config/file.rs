//! From the bytes of one file to what it says, with every problem of its own.
//!
//! Decides what is text, what is TOML, and which keys a file may hold by its [`Role`]: a tenant's
//! file holds that one tenant and nothing else. It must not look at what a key means.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::allow::Trust;
use super::error::{Problems, Wrong};
use super::raw::{Root, Tenant};
use super::reader::{Entry, Lookup, Reading, Section, read_section};
use super::source::{SourceText, SourceTexts, Spot};

/// What a file may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Main,
    Tenant,
}

/// What a file says.
pub struct Parsed {
    pub root: Root,
    /// False where the text has syntax errors: something is missing.
    pub is_complete: bool,
    /// Images of the tables below `upstreams`, equal where they say the same.
    pub upstreams: HashMap<Box<str>, u64>,
}

/// One file, and what reading it needs.
pub struct File<'l> {
    pub problems: &'l mut Problems,
    pub texts: &'l mut SourceTexts,
    pub environment: Lookup<'l>,
    pub trust: &'l Trust,
    pub role: Role,
}

/// The text of a file and its number; None with what is wrong where it is none.
pub fn text(
    name: &str,
    bytes: io::Result<Vec<u8>>,
    texts: &mut SourceTexts,
) -> Result<(Arc<SourceText>, u32), (Spot, Wrong)> {
    let (text, wrong) = match bytes.map(String::from_utf8) {
        Ok(Ok(text)) if u32::try_from(text.len()).is_err() => {
            let wrong = Wrong::new("the file is larger than 4 GiB", "split it with include");
            (String::new(), Some(wrong))
        }
        Ok(Ok(text)) => (text, None),
        Ok(Err(error)) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let wrong = Wrong::new("the file is not UTF-8", "save it as UTF-8");
            (String::from_utf8_lossy(valid).into(), Some(wrong))
        }
        Err(error) => (String::new(), Some(unreadable("the file", &error))),
    };
    let offset = text.len() as u32;
    let text = SourceText::new(name, text.into());
    let file = texts.add(text.clone());
    match wrong {
        None => Ok((text, file)),
        Some(wrong) => Err((Spot { file, offset }, wrong)),
    }
}

impl File<'_> {
    /// Reads the text of the file with this number.
    pub fn parse(&mut self, text: &str, file: u32) -> Parsed {
        let (table, errors) = DeTable::parse_recoverable(text);
        let is_complete = errors.is_empty();
        let mut table = table.into_inner();
        if self.role == Role::Tenant {
            self.refuse_foreign(&mut table, file);
        }
        let upstreams = images(&table, "upstreams");
        let mut root = Root::default();
        let environment = (self.environment, self.trust);
        let mut reading = Reading::new(self.problems, file, environment, is_complete);
        read_section(&mut root, table, Spot { file, offset: 0 }, &mut reading);
        if !is_complete {
            self.syntax(file, text, &errors);
        }
        Parsed { root, is_complete, upstreams }
    }

    /// Reports what is not TOML, and forgets what was concluded from the same lines.
    fn syntax(&mut self, file: u32, text: &str, errors: &[toml::de::Error]) {
        let spot = |error: &toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start) as u32;
            Spot { file, offset }
        };
        let lines: Vec<_> = errors.iter().map(|error| self.texts.position(spot(error)).0).collect();
        self.problems.forget_lines(file, &lines, self.texts);
        for (index, error) in errors.iter().enumerate() {
            // One mistake often breaks the rest of its line; the first message is the useful one.
            if !lines[..index].contains(&lines[index]) {
                let span = error.span().and_then(|span| text.get(span)).unwrap_or_default();
                self.problems.error(spot(error), "", syntax_error(error.message(), span));
            }
        }
    }

    /// A tenant's file must not speak about anything but its tenant.
    fn refuse_foreign(&mut self, table: &mut DeTable<'_>, file: u32) {
        let known = |name: &str| Root::INFO.keys.iter().any(|key| key.name == name);
        for (key, value) in std::mem::take(table) {
            if key.get_ref() == "tenants" || !known(key.get_ref()) {
                table.insert(key, value);
                continue;
            }
            let what = format!("`{}` belongs in the main file", key.get_ref());
            let wrong = Wrong::new(what, "an included file holds one [tenants.NAME], nothing else");
            let spot = Spot { file, offset: key.span().start as u32 };
            self.problems.error(spot, key.into_inner(), wrong);
        }
    }

    /// The tenant of an included file, which is called as the file is.
    pub fn tenant(&mut self, parsed: Parsed, name: &str, file: u32) -> Option<Entry<Tenant>> {
        let start = Spot { file, offset: 0 };
        let spot = parsed.root.tenants.as_ref().map_or(start, |tenants| tenants.spot);
        let found = parsed.root.tenants.map_or_else(Vec::new, |tenants| tenants.value.0);
        if found.is_empty() && parsed.is_complete {
            let what = "the file holds no tenant";
            let wrong = Wrong::new(what, format!("write [tenants.{name}]"));
            self.problems.error(spot, "tenants", wrong);
        }
        let mut own = None;
        for tenant in found {
            let key = format!("tenants.{}", tenant.name);
            if *tenant.name != *name {
                let what = format!("the file may hold only [tenants.{name}], after its name");
                let remedy = format!("move [tenants.{0}] to {0}.toml", tenant.name);
                self.problems.error(tenant.spot, key, Wrong::new(what, remedy));
                continue;
            }
            if let Some(allow) = &tenant.value.allow {
                let what = "what a tenant may use is not for its own file to say";
                let remedy =
                    format!("write it in the main file: [tenants.{name}] allow = {{ ... }}");
                self.problems.error(allow.spot, format!("{key}.allow"), Wrong::new(what, remedy));
            }
            own = Some(tenant);
        }
        own
    }
}

/// Says why a file cannot be read.
pub fn unreadable(file: &str, error: &io::Error) -> Wrong {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "write the path of a file that exists",
        io::ErrorKind::PermissionDenied => "let the user that runs Vestibule read it",
        io::ErrorKind::IsADirectory => "write the path of a file, not of a folder",
        _ => "make it readable",
    };
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or(&reason).to_lowercase();
    Wrong::new(format!("{file} cannot be read: {reason}"), remedy)
}

/// Images of the tables in the table `name`.
fn images(table: &DeTable<'_>, name: &str) -> HashMap<Box<str>, u64> {
    let named = table.iter().find(|(key, _)| key.get_ref() == name);
    let Some(DeValue::Table(tables)) = named.map(|(_, value)| value.get_ref()) else {
        return HashMap::new();
    };
    let image = |value: &DeValue<'_>| {
        let mut hasher = DefaultHasher::new();
        put(value, &mut hasher);
        hasher.finish()
    };
    let images = tables.iter().map(|(key, value)| (&**key.get_ref(), image(value.get_ref())));
    images.map(|(name, image)| (name.into(), image)).collect()
}

/// What is written, wherever it stands.
fn put(value: &DeValue<'_>, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        DeValue::String(text) => text.hash(hasher),
        DeValue::Integer(number) => (number.as_str(), number.radix()).hash(hasher),
        DeValue::Float(number) => number.as_str().hash(hasher),
        DeValue::Boolean(flag) => flag.hash(hasher),
        DeValue::Datetime(moment) => moment.to_string().hash(hasher),
        DeValue::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| put(item.get_ref(), hasher));
        }
        DeValue::Table(table) => {
            table.len().hash(hasher);
            let mut keys: Vec<_> = table.iter().collect();
            keys.sort_unstable_by(|(one, _), (other, _)| one.get_ref().cmp(other.get_ref()));
            for (key, value) in keys {
                key.get_ref().hash(hasher);
                put(value.get_ref(), hasher);
            }
        }
    }
}

/// The parser's words, with what to write. `span` is shown only where it is a key.
fn syntax_error(message: &str, span: &str) -> Wrong {
    let first = message.lines().next().unwrap_or(message);
    let first = first.trim_end_matches(", expected literal string");
    if first.contains("duplicate key") {
        let what = format!("`{}` is here for the second time", span.trim());
        return Wrong::new(what, "keep one of the two");
    }
    let remedy = match first {
        text if text.contains("must be quoted") => {
            "write one value: text in double quotes, a number, true or false"
        }
        text if text.contains("unclosed array") => "close the list with `]`",
        text if text.contains("missing comma") => {
            "put a comma between the values, or close the list with `]` before this"
        }
        text if text.contains("missing value") => "write a value after `=`",
        text if text.contains("unclosed table") => "close the section's name with `]`",
        text if text.contains("unclosed inline table") => "close the table with `}`",
        text if text.contains("no value") => "write KEY = VALUE, without spaces in KEY",
        _ => "see https://toml.io for how TOML is written",
    };
    Wrong::new(format!("this is not TOML: {first}"), remedy)
}
