//! What the strings of the configuration mean: durations, sizes, rates, references to secrets,
//! words from closed lists.
//!
//! Each type has one way to be written and says so when it is written differently. Names and
//! addresses of the network are in `addresses`.

use std::path::PathBuf;
use std::time::Duration;

use super::error::Wrong;
use super::reader::Text;
use super::schema::{Kind, TextKind, nearest, one_of};
use super::snapshot::{AppKind, HttpMode, Mode};
use crate::policy::front::compression::{Coding, MediaRange};
use crate::policy::metadata::Direction;

pub(super) const fn text(name: &'static str, example: &'static str) -> Kind {
    Kind::Text(TextKind { name, example, confidential: false })
}

const fn confidential(name: &'static str, example: &'static str) -> Kind {
    Kind::Text(TextKind { name, example, confidential: true })
}

/// Any text, but not none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(pub Box<str>);

impl Text for Line {
    const KIND: Kind = text("text", "Some text");

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.trim().is_empty() {
            return Err(Wrong::new("the text is empty", "write something, or leave the key out"));
        }
        if text.chars().any(char::is_control) {
            return Err(Wrong::new(
                "the text has a line break or another control character in it",
                "write it on one line",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// The name of something else in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub Box<str>);

impl Text for Name {
    const KIND: Kind = text("a name", "chat-app");

    fn parse(text: &str) -> Result<Self, Wrong> {
        Line::parse(text).map(|line| Self(line.0))
    }
}

/// A file, relative to the folder of the main configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

impl Text for FilePath {
    const KIND: Kind = text("the path of a file", "certs/example.pem");

    fn parse(text: &str) -> Result<Self, Wrong> {
        Line::parse(text).map(|line| Self(PathBuf::from(&*line.0)))
    }
}

/// A span of time; may be none.
impl Text for Duration {
    const KIND: Kind = text("a duration", "30s");

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a whole number and ms, s, m or h, such as \"30s\" or \"5m\"";
        let wrong = || Wrong::new(format!("{text:?} is not a duration"), REMEDY);
        let (number, unit) = number_and_unit(text);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let scale = match unit {
            "ms" => return Ok(Duration::from_millis(number)),
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        // A century is more than anybody waits, and no clock arithmetic overflows on it.
        let seconds = number.checked_mul(scale).filter(|&seconds| seconds < 100 * 366 * 86_400);
        seconds.map(Duration::from_secs).ok_or_else(wrong)
    }
}

/// A span of time after which something is given up; never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Duration);

impl Text for Timeout {
    const KIND: Kind = <Duration as Text>::KIND;

    fn parse(text: &str) -> Result<Self, Wrong> {
        match Duration::parse(text)? {
            Duration::ZERO => Err(Wrong::new(
                format!("{text:?} would give up at once"),
                "write a duration longer than zero",
            )),
            duration => Ok(Self(duration)),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Text for Size {
    const KIND: Kind = text("a size", "64KiB");

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a whole number and B, KiB, MiB or GiB, such as \"64KiB\"";
        let wrong = || Wrong::new(format!("{text:?} is not a size"), REMEDY);
        let (digits, unit) = number_and_unit(text);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(wrong()),
        };
        number.checked_shl(shift).filter(|size| size >> shift == number).map(Self).ok_or_else(wrong)
    }
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Text for Rate {
    const KIND: Kind = text("a rate", "60/min");

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write a whole number, a slash and s, min or h, such as \"60/min\"";
        let wrong = || Wrong::new(format!("{text:?} is not a rate"), REMEDY);
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.parse().ok().filter(|&count| count > 0).ok_or_else(wrong)?;
        let per = match per {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        Ok(Self { count, per: Duration::from_secs(per) })
    }
}

/// Where a secret is to be found; never the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    Environment(Box<str>),
    File(PathBuf),
}

impl Text for SecretRef {
    const KIND: Kind = confidential("a reference to a secret", "env:NAME");
    const EXPANDS: bool = false;

    fn parse(text: &str) -> Result<Self, Wrong> {
        const REMEDY: &str = "write \"env:NAME\" or \"file:PATH\" and keep the secret there";
        if let Some(name) = text.strip_prefix("env:") {
            if is_variable_name(name) {
                return Ok(Self::Environment(name.into()));
            }
            let what = "`env:` is not followed by the name of an environment variable";
            return Err(Wrong::new(what, "write \"env:NAME\": letters, digits and `_`"));
        }
        match text.strip_prefix("file:") {
            Some("") => Err(Wrong::new("`file:` is not followed by a path", REMEDY)),
            Some(path) => Ok(Self::File(path.into())),
            None => Err(Wrong::new(
                "a secret must not stand in the configuration (it is not repeated here)",
                REMEDY,
            )),
        }
    }
}

/// Which secrets a tenant may use: a reference in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPattern(pub Box<str>);

impl Text for SecretPattern {
    const KIND: Kind = confidential("a pattern of references to secrets", "env:SHOP_*");
    const EXPANDS: bool = false;

    fn parse(text: &str) -> Result<Self, Wrong> {
        SecretRef::parse(&text.replace('*', "X")).map(|_| Self(text.into()))
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where access log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    Off,
    File(PathBuf),
}

impl Text for LogTarget {
    const KIND: Kind = text("\"stdout\", \"off\" or the path of a file", "stdout");

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "off" => Ok(Self::Off),
            // A word that only differs in case, or a stream nobody offers, is no file name.
            "stderr" | "-" | "none" | "false" | "STDOUT" | "OFF" => Err(Wrong::new(
                format!("{text:?} is not a place for the access log"),
                "write \"stdout\", \"off\" or the path of a file",
            )),
            path => FilePath::parse(path).map(|path| Self::File(path.0)),
        }
    }
}

/// Makes a [`Text`] from a closed list of words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($word:literal => $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($variant,)* }
        words!($name { $($word => $variant,)* });
    };
}

macro_rules! words {
    ($name:ident { $($word:literal => $variant:ident,)* }) => {
        impl Text for $name {
            const KIND: Kind = Kind::Choice(&[$($word,)*]);

            fn parse(text: &str) -> Result<Self, Wrong> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err(not_a_choice(other, &[$($word,)*])),
                }
            }
        }
    };
}

impl Text for MediaRange {
    const KIND: Kind = text("a media type", "text/*");

    fn parse(text: &str) -> Result<Self, Wrong> {
        MediaRange::parse(text).ok_or_else(|| {
            let what = format!("{text:?} is not a media type");
            Wrong::new(what, "write one such as \"text/css\", \"text/*\" or \"*/*+json\"")
        })
    }
}

fn not_a_choice(text: &str, words: &[&'static str]) -> Wrong {
    match nearest(text, words.iter().copied()) {
        Some(near) => Wrong::new(format!("unknown value {text:?}, did you mean {near:?}?"), ""),
        None => Wrong::new(format!("unknown value {text:?}"), format!("write {}", one_of(words))),
    }
}

words! { HttpMode { "redirect" => Redirect, "serve" => Serve, } }
words! { AppKind {
    "streamlit" => Streamlit,
    "rasa" => Rasa,
    "socketio" => SocketIo,
    "sse" => Sse,
    "generic" => Generic,
} }
words! { Mode {
    "public" => Public, "customer" => Customer, "employee" => Employee, "test" => Test,
} }

words! { Coding { "zstd" => Zstd, "br" => Brotli, "gzip" => Gzip, } }
words! { Direction { "ltr" => Ltr, "rtl" => Rtl, "auto" => Auto, } }

choice! { Balance {
    "round-robin" => RoundRobin,
    "least-connections" => LeastConnections,
    "sticky" => Sticky,
    "hash:user_id" => HashUserId,
} }
choice! { Protocol { "http/1.1" => Http1, "h2" => Http2, } }
choice! { TlsVersion { "1.2" => Tls12, "1.3" => Tls13, } }
choice! { OnUnavailable { "local" => Local, "deny" => Deny, "allow" => Allow, } }
choice! { UserId { "required" => Required, "optional" => Optional, "none" => None, } }
choice! { UserIdsAs { "hash" => Hash, "plain" => Plain, "off" => Off, } }
choice! { UserIdFormat { "integer" => Integer, "token" => Token, } }
choice! { CspMode { "merge" => Merge, "replace" => Replace, "report-only" => ReportOnly, } }
choice! { Replay { "bind" => Bind, "once" => Once, "off" => Off, } }
choice! { InjectionPersona { "custom" => Custom, "preset" => Preset, } }
choice! { VariableSource { "query" => Query, "body" => Body, } }
choice! { JwtAlgorithm { "HS256" => Hs256, "HS384" => Hs384, "HS512" => Hs512, } }
choice! { AssertionAlgorithm { "HS256" => Hs256, "EdDSA" => EdDsa, } }

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Text + std::fmt::Debug + PartialEq>(text: &str, expected: Option<T>) {
        assert_eq!(T::parse(text).ok(), expected, "{text}");
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let seconds = |n| Some(Duration::from_secs(n));
        check("30s", seconds(30));
        check("5m", seconds(300));
        check("2h", seconds(7200));
        check("500ms", Some(Duration::from_millis(500)));
        for bad in ["", "30", "s", "1.5s", "30 s", "-1s", "30S", "1d", "99999999999999999999s"] {
            check::<Duration>(bad, None);
        }
        check::<Timeout>("0s", None);
    }

    #[test]
    fn sizes_are_a_number_and_a_binary_unit() {
        check("16KiB", Some(Size(16 << 10)));
        check("2MiB", Some(Size(2 << 20)));
        check("100B", Some(Size(100)));
        for bad in ["", "16", "16KB", "16k", "1.5MiB", "99999999999GiB"] {
            check::<Size>(bad, None);
        }
    }

    #[test]
    fn rates_are_a_number_and_a_time() {
        check("60/min", Some(Rate { count: 60, per: Duration::from_secs(60) }));
        for bad in ["60", "0/min", "60/minute", "60 / min", "/min"] {
            check::<Rate>(bad, None);
        }
    }

    #[test]
    fn a_secret_that_is_no_reference_is_not_repeated() {
        for bad in ["hunter2", "ENV:NAME", "env:", "env:hunter 2", "file:"] {
            let wrong = SecretRef::parse(bad).expect_err(bad);
            assert!(!format!("{wrong:?}").contains("hunter"), "{wrong:?}");
        }
    }
}
