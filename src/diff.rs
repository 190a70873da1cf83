//! What a reload would change, and whose open streams it would end; a text to be read.
//!
//! It compares what two configurations come to (routes, certificates) and what is written in them
//! (everything else). Secrets are told by their references; whether they differ is all that is said
//! of them. It knows no server: which streams are open is for `vestibule status` to say.

mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::config::outline::{Leaf, Outline, What};
use crate::config::snapshot::Snapshot;
use crate::reload;
use crate::route::Target;

/// One of the two.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    pub snapshot: &'a Snapshot,
    pub outline: &'a Outline,
}

/// What differs, section by section; nothing where nothing does.
pub fn diff(old: Side<'_>, new: Side<'_>) -> Option<String> {
    let sections = [
        ("needs a restart: a reload is refused", restart(old, new)),
        ("settings", written(old, new, Part::Settings)),
        ("certificates", certificates(old.snapshot, new.snapshot)),
        ("upstreams", written(old, new, Part::Upstreams)),
        ("routes", routes(old.snapshot, new.snapshot)),
        ("tenants", written(old, new, Part::Tenants)),
        ("personas and sites", written(old, new, Part::Personas)),
        ("secrets", secrets(old.outline, new.outline)),
    ];
    if sections.iter().all(|(_, lines)| lines.is_empty()) {
        return None;
    }
    let live = ("live connections", live::lines(old, new));
    let mut text = String::new();
    for (title, lines) in sections.into_iter().chain([live]).filter(|(_, it)| !it.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{title}");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    Some(text)
}

fn restart(old: Side<'_>, new: Side<'_>) -> Vec<String> {
    let changed = reload::needs_restart(old.snapshot, new.snapshot).into_iter();
    changed.map(|(key, old, new)| format!("~ {key}: {old} -> {new}")).collect()
}

/// Lines for what only one of two maps has, or both with a difference, in the order of keys.
fn compare<V: PartialEq>(
    old: &BTreeMap<String, V>,
    new: &BTreeMap<String, V>,
    line: impl Fn(&str, Option<&V>, Option<&V>) -> String,
) -> Vec<String> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pairs = keys.into_iter().map(|key| (key, old.get(key), new.get(key)));
    pairs.filter(|(_, old, new)| old != new).map(|(key, old, new)| line(key, old, new)).collect()
}

fn sign<V>(old: Option<&V>, new: Option<&V>) -> char {
    match (old, new) {
        (None, _) => '+',
        (Some(_), None) => '-',
        (Some(_), Some(_)) => '~',
    }
}

fn routes(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let routes = |snapshot: &Snapshot| -> BTreeMap<String, String> {
        let entries = snapshot.routes.entries();
        entries.map(|(host, path, target)| (format!("{host}{path}"), leads_to(target))).collect()
    };
    compare(&routes(old), &routes(new), |address, old, new| {
        let sign = sign(old, new);
        let who = match (old, new) {
            (Some(old), Some(new)) => format!("{old} -> {new}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        };
        format!("{sign} {address}  {who}")
    })
}

fn leads_to(target: &Target) -> String {
    match target {
        Target::Persona(it) => format!("{}/{}", it.tenant, it.name),
        Target::Device(it, number) => {
            let slug = it.devices.get(*number).map_or("", |device| &*device.slug);
            format!("{}/{}, device {slug}", it.tenant, it.name)
        }
        Target::Shell(it, _) => format!("{}/{}, the page around it", it.tenant, it.name),
        Target::Site(it) => format!("{}/{}, a site", it.tenant, it.name),
        Target::HeldBack(tenant) => format!("{tenant}, held back"),
    }
}

fn certificates(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let by_names = |snapshot: &Snapshot| -> BTreeMap<String, (u64, i64)> {
        let all = snapshot.certificates.answering().into_iter();
        all.map(|(names, it)| (names.join(", "), (it.id, it.not_after))).collect()
    };
    compare(&by_names(old), &by_names(new), |names, old, new| {
        let sign = sign(old, new);
        let what = match (old, new) {
            (Some((_, old)), Some((_, new))) => {
                format!("another one, valid until {}, before: {}", day(*new), day(*old))
            }
            (Some((_, until)), None) | (None, Some((_, until))) => {
                format!("valid until {}", day(*until))
            }
            (None, None) => String::new(),
        };
        format!("{sign} {names}  {what}")
    })
}

fn day(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds));
    date.to_string().chars().take(10).collect()
}

/// Which section of the text a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Settings,
    Upstreams,
    Tenants,
    Personas,
}

impl Part {
    fn of(key: &str) -> Self {
        if key.starts_with("upstreams.") {
            return Self::Upstreams;
        }
        let Some(rest) = key.strip_prefix("tenants.") else { return Self::Settings };
        let below = rest.split_once('.').map_or("", |(_, below)| below);
        match below.starts_with("personas.") || below.starts_with("sites.") {
            true => Self::Personas,
            false => Self::Tenants,
        }
    }

    /// How many segments of a key name what it belongs to.
    fn depth(self) -> usize {
        match self {
            Self::Settings => 0,
            Self::Upstreams | Self::Tenants => 2,
            Self::Personas => 4,
        }
    }
}

/// What is written differently, below the names of what it belongs to.
fn written(old: Side<'_>, new: Side<'_>, part: Part) -> Vec<String> {
    let keys: BTreeSet<&String> = old.outline.keys().chain(new.outline.keys()).collect();
    let mut groups: BTreeMap<String, Vec<(&str, Option<&Leaf>, Option<&Leaf>)>> = BTreeMap::new();
    let fixed = reload::needs_restart(old.snapshot, new.snapshot);
    let is_fixed = |key: &str| fixed.iter().any(|(fixed, ..)| *fixed == key);
    for key in keys.into_iter().filter(|key| Part::of(key) == part && !is_fixed(key)) {
        let (old, new) = (old.outline.get(key), new.outline.get(key));
        if old != new && !is_secret(old, new) {
            let (name, rest) = split(key, part.depth());
            groups.entry(name).or_default().push((rest, old, new));
        }
    }
    let mut lines = Vec::new();
    for (name, changes) in groups {
        let itself = changes.iter().find(|(rest, ..)| rest.is_empty());
        let sign = itself.map_or('~', |(_, old, new)| sign(*old, *new));
        if !name.is_empty() {
            lines.push(format!("{sign} {}", shortened(&name)));
        }
        // Of what comes or goes as a whole, its name says enough.
        let indent = if name.is_empty() { "" } else { "    " };
        for (rest, old, new) in changes.iter().filter(|_| sign == '~') {
            lines.push(format!("{indent}{}", change(rest, *old, *new)));
        }
    }
    lines
}

fn is_secret(old: Option<&Leaf>, new: Option<&Leaf>) -> bool {
    old.or(new).is_some_and(|leaf| matches!(leaf.what, What::Secret(_)))
}

/// The first `depth` segments of a key, and the rest. Names have no dots.
fn split(key: &str, depth: usize) -> (String, &str) {
    let end = match depth {
        0 => return (String::new(), key),
        depth => key.match_indices('.').nth(depth - 1).map_or(key.len(), |(at, _)| at),
    };
    (key[..end].to_owned(), key[end..].trim_start_matches('.'))
}

/// `tenants.shop.personas.bot` as people write it on the command line.
fn shortened(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["tenants", tenant, "personas", persona] => format!("{tenant}/{persona}"),
        ["tenants", tenant, "sites", site] => format!("{tenant}/{site} (site)"),
        [_, name] => (*name).to_owned(),
        _ => name.to_owned(),
    }
}

fn change(key: &str, old: Option<&Leaf>, new: Option<&Leaf>) -> String {
    match (old, new) {
        (Some(old), Some(new)) if old.shown == new.shown => {
            format!("{key}: {}, with another content", shown(new))
        }
        (old, new) => {
            let shown = |leaf: Option<&Leaf>| leaf.map_or_else(|| "(none)".into(), shown);
            format!("{key}: {} -> {}", shown(old), shown(new))
        }
    }
}

fn shown(leaf: &Leaf) -> String {
    const MOST: usize = 100;
    let text = leaf.shown.replace('\n', " ");
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// That a secret is another, and never which.
fn secrets(old: &Outline, new: &Outline) -> Vec<String> {
    let all = |outline: &Outline| -> BTreeMap<String, Leaf> {
        let secrets = outline.iter().filter(|(_, leaf)| matches!(leaf.what, What::Secret(_)));
        secrets.map(|(key, leaf)| (key.clone(), leaf.clone())).collect()
    };
    compare(&all(old), &all(new), |key, old, new| {
        let sign = sign(old, new);
        let what = match (old, new) {
            (Some(old), Some(new)) if old.shown == new.shown => {
                format!("{}, another secret", new.shown)
            }
            (Some(old), Some(new)) if old.what == new.what => {
                format!("{} -> {}, the same secret", old.shown, new.shown)
            }
            (Some(old), Some(new)) => {
                format!("{} -> {}, another secret", old.shown, new.shown)
            }
            (Some(one), None) | (None, Some(one)) => one.shown.clone(),
            (None, None) => String::new(),
        };
        format!("{sign} {key}: {what}")
    })
}
