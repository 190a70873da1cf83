//! What is written in a configuration, key by key, so that two can be laid side by side.
//!
//! Only for a configuration that was loaded without an error. Files and secrets that it names count
//! with what is in them, of which an image is kept: equal where they are equal, and good for nothing
//! else. A secret is shown by its reference alone.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::Loaded;
use super::reader::push_name;
use super::schema::Kind;
use super::values::FilePath;
use crate::config;
use crate::policy::secret::Secret;

/// Every key that has a value, by its dotted path.
pub type Outline = BTreeMap<String, Leaf>;

/// One key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// As it is written.
    pub shown: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Plain,
    /// A file, with an image of its content.
    File(Image),
    /// A reference to a secret, with an image of it.
    Secret(Image),
}

/// None where there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image(Option<[u8; 32]>);

/// How images are made: different in every process.
pub struct Outliner<'a> {
    /// Where relative paths start.
    base: &'a Path,
    /// Nobody can compare images of one process with those of another.
    salt: &'a str,
    leaves: Outline,
}

/// The outline of what was loaded from `path`. Outlines can be compared that have the same salt.
pub fn outline(loaded: &Loaded, path: &Path, salt: &str) -> Outline {
    let base = path.parent().unwrap_or(Path::new(""));
    let mut outliner = Outliner { base, salt, leaves: Outline::new() };
    for text in loaded.texts.iter() {
        // What was loaded without an error is TOML.
        if let Ok(table) = text.parse::<Table>() {
            outliner.walk(&Kind::Table(config::schema()), &Value::Table(table), "");
        }
    }
    outliner.leaves
}

impl Outliner<'_> {
    fn walk(&mut self, kind: &Kind, value: &Value, path: &str) {
        let below = |name: &str| {
            let mut key = path.to_owned();
            push_name(&mut key, name);
            key
        };
        match (kind, value) {
            (Kind::Table(section), Value::Table(table)) => {
                for key in section.keys {
                    if let Some(value) = table.get(key.name) {
                        self.walk(&key.kind, value, &below(key.name));
                    }
                }
            }
            (Kind::Named(section), Value::Table(table)) => {
                for (name, value) in table {
                    let key = below(name);
                    // It is there even where nothing is said of it.
                    self.add(&format!("{key}."), String::new(), What::Plain);
                    self.walk(&Kind::Table(section), value, &key);
                }
            }
            (Kind::List(item), Value::Array(values)) if !is_simple(item) => {
                for (index, value) in values.iter().enumerate() {
                    self.walk(item, value, &format!("{path}[{index}]"));
                }
            }
            (kind, Value::String(text)) if kind.is_confidential() => {
                // Patterns of references are no references.
                let what = match path.contains(".allow.") {
                    true => What::Plain,
                    false => What::Secret(self.secret(text)),
                };
                self.add(path, text.clone(), what);
            }
            (Kind::Text(it), Value::String(text)) if is_file(it.name) && !is_folder(path) => {
                let content = std::fs::read(self.base.join(text)).ok();
                let what = What::File(self.image(content));
                self.add(path, value.to_string(), what);
            }
            (_, value) => self.add(path, value.to_string(), What::Plain),
        }
    }

    fn add(&mut self, path: &str, shown: String, what: What) {
        self.leaves.insert(path.to_owned(), Leaf { shown, what });
    }

    fn secret(&self, reference: &str) -> Image {
        let content = match reference.split_once(':') {
            Some(("env", name)) => std::env::var(name).ok().map(String::into_bytes),
            Some(("file", path)) => std::fs::read(self.base.join(path)).ok(),
            _ => None,
        };
        // The line end after a secret does not count.
        let trimmed = content.map(|mut bytes| {
            while matches!(bytes.last(), Some(b'\r' | b'\n')) {
                bytes.pop();
            }
            bytes
        });
        self.image(trimmed)
    }

    fn image(&self, content: Option<Vec<u8>>) -> Image {
        Image(content.and_then(Secret::new).map(|content| content.seed("outline", &[self.salt])))
    }
}

/// A list that is shown as one value.
fn is_simple(item: &Kind) -> bool {
    !item.is_confidential() && !matches!(item, Kind::Table(_) | Kind::Named(_) | Kind::List(_))
}

fn is_file(kind: &str) -> bool {
    use super::reader::Text as _;
    matches!(FilePath::KIND, Kind::Text(file) if file.name == kind)
}

/// Where state lives is no part of the configuration.
fn is_folder(path: &str) -> bool {
    matches!(path, "state.folder" | "tls.acme.storage")
}
