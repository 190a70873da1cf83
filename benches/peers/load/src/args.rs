//! `--name value` pairs, and nothing else.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub struct Args(HashMap<String, String>);

impl Args {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut pairs = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("unexpected `{word}`"))?;
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
            pairs.insert(name.to_owned(), value);
        }
        Ok(Self(pairs))
    }

    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T> {
        let text = self.0.get(name).ok_or_else(|| format!("`--{name}` is missing"))?;
        text.parse().map_err(|error| format!("`--{name} {text}`: {error}").into())
    }
}
