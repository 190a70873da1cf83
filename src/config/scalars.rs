//! Values that are not strings, and what is said where one kind of value stands for another.

use toml::de::DeValue;

use super::error::Wrong;
use super::reader::{Read, Reading};
use super::schema::Kind;
use super::source::Spot;

impl Read for bool {
    const KIND: Kind = Kind::Boolean;

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Boolean(value) = value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        Some(value)
    }
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count<const LOW: u64, const HIGH: u64>(pub u64);

impl<const LOW: u64, const HIGH: u64> Read for Count<LOW, HIGH> {
    const KIND: Kind = Kind::Integer(LOW, HIGH);

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Integer(number) = &value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        match parsed.filter(|number| (LOW..=HIGH).contains(number)) {
            Some(number) => Some(Self(number)),
            None => {
                let what = format!("{number} is out of range");
                let remedy = format!("write a whole number from {LOW} to {HIGH}");
                reading.error(spot, Wrong::new(what, remedy));
                None
            }
        }
    }
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fraction(pub f64);

impl Read for Fraction {
    const KIND: Kind = Kind::Fraction;

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let number = match &value {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => {
                mismatch(&Self::KIND, &value, spot, reading);
                return None;
            }
        };
        let number = number.filter(|number| (0.0..=1.0).contains(number));
        if number.is_none() {
            let wrong = Wrong::new("the number is out of range", "write a number from 0 to 1");
            reading.error(spot, wrong);
        }
        number.map(Fraction)
    }
}

/// Reports a value of another kind than `kind`.
pub(super) fn mismatch(kind: &Kind, found: &DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) {
    let what = format!("expected {}, found {}", kind.describe(), name_of(found));
    let remedy = match suggestion(kind, found) {
        Some(text) => format!("write {text}"),
        None => format!("write something like {}", kind.example()),
    };
    reading.error(spot, Wrong::new(what, remedy));
}

/// What the user probably meant, where that is plain.
fn suggestion(kind: &Kind, found: &DeValue<'_>) -> Option<String> {
    if kind.is_confidential() {
        return None;
    }
    match (kind, found) {
        (Kind::Boolean, DeValue::String(text)) if matches!(&**text, "true" | "false") => {
            Some(text.to_string())
        }
        (Kind::Integer(..), DeValue::String(text)) => {
            text.parse::<u64>().ok().map(|number| number.to_string())
        }
        (Kind::Text(text), DeValue::Integer(number)) => {
            let unit = text.example.trim_start_matches(|c: char| c.is_ascii_digit());
            // Plain numbers of bytes are what other servers want.
            let unit = if unit == "KiB" { "B" } else { unit };
            let counted = unit.len() < text.example.len() && !unit.contains('.');
            counted.then(|| format!("\"{number}{unit}\""))
        }
        (Kind::List(_), DeValue::String(text)) => Some(format!("[{:?}]", &**text)),
        _ => None,
    }
}

fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
