//! Values that are not strings, and what is said where one kind of value stands for another.

use toml::de::DeValue;
use toml::value::{Date, Datetime, Offset, Time};

use super::error::Wrong;
use super::reader::{Read, Reading};
use super::schema::Kind;
use super::shown::without_secrets;
use super::source::Spot;
use crate::policy::session::UnixSeconds;

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

/// A moment; a fraction of a second is rounded up.
impl Read for UnixSeconds {
    const KIND: Kind = Kind::Moment;

    fn read(value: DeValue<'_>, spot: Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Datetime(written) = value else {
            mismatch(&Self::KIND, &value, spot, reading);
            return None;
        };
        let wrong = match written {
            Datetime { date: Some(date), time: Some(time), offset: Some(offset) } => {
                match unix_seconds(date, time, offset) {
                    Some(moment) => return Some(moment),
                    None => Wrong::new("the moment is before 1970", "write one after it"),
                }
            }
            Datetime { date: Some(_), time: Some(_), offset: None } => Wrong::new(
                "the time has no zone: which moment it is would depend on the machine",
                format!("add the zone: {written}Z for UTC, or one like {written}+02:00"),
            ),
            _ => Wrong::new(
                "a moment is a date, a time and a zone",
                format!("write something like {}", Self::KIND.example()),
            ),
        };
        reading.error(spot, wrong);
        None
    }
}

fn unix_seconds(date: Date, time: Time, offset: Offset) -> Option<UnixSeconds> {
    let offset = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes) * 60,
    };
    let second = i64::from(time.second.unwrap_or(0));
    let of_day = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + second;
    let fraction = i64::from(time.nanosecond.is_some_and(|nanos| nanos > 0));
    let seconds = days_since_1970(date) * 86_400 + of_day - offset + fraction;
    u64::try_from(seconds).ok().map(UnixSeconds)
}

/// In the calendar that RFC 3339 means, whatever the year.
fn days_since_1970(date: Date) -> i64 {
    // Years begin in March here, so that a leap day is the last of its year.
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + of_year - 719_468
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
        (Kind::Moment, DeValue::String(text)) => {
            text.parse::<Datetime>().ok().map(|_| format!("{text}, without quotes"))
        }
        // What is no name, path or URL is not repeated, and of these not what may be a secret.
        (Kind::List(_), DeValue::String(text)) => {
            let is_word = !text.contains(char::is_whitespace);
            is_word.then(|| format!("[{:?}]", without_secrets(text)))
        }
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn moment(text: &str) -> Option<u64> {
        let Datetime { date, time, offset } = text.parse().unwrap();
        unix_seconds(date.unwrap(), time.unwrap(), offset.unwrap()).map(|moment| moment.0)
    }

    #[test]
    fn a_moment_is_the_same_in_every_zone_and_never_early() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59Z", None),
            ("1970-01-01T01:00:00+02:00", None),
            ("2026-11-21T12:00:00Z", Some(1_795_262_400)),
            ("2026-11-21T14:00:00+02:00", Some(1_795_262_400)),
            ("2026-11-21T06:30:00-05:30", Some(1_795_262_400)),
            ("2026-11-21T11:59:59.001Z", Some(1_795_262_400)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800)),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
    }

    #[test]
    fn every_day_of_the_calendar_follows_the_one_before() {
        for day in (0..2_932_896).step_by(13) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
            let text = humantime::format_rfc3339_seconds(time).to_string();
            assert_eq!(moment(&text), Some(day * 86_400), "{text}");
        }
    }
}
