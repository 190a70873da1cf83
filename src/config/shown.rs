//! The configuration that serves, for people: what is written, without what nobody should read.
//!
//! Nothing is shown because nobody thought of hiding it. Booleans, numbers, moments and words of
//! closed lists are; of every other key a line of [`SHOWN`] says how much, and a key without a line
//! is [`REDACTED`]. It is shown as it is written: `${NAME}` and references to secrets are names, and
//! what stands behind them is not looked at. Comments are not shown, whatever they say.

use std::fmt;
use std::sync::Arc;

use toml::{Table, Value};

use super::reader::Text as _;
use super::schema::{Kind, SectionInfo};
use super::source::SourceText;
use super::values::{SecretPattern, SecretRef};

/// In place of a value.
pub const REDACTED: &str = "redacted";

/// The files that a snapshot was made from, the main one first; of tenants those versions that
/// serve.
#[derive(Clone, Default)]
pub struct Written(Vec<Arc<SourceText>>);

impl Written {
    pub(super) fn new(texts: Vec<Arc<SourceText>>) -> Self {
        Self(texts)
    }

    /// As one TOML document; where a tenant is named, of tenants that one alone.
    pub fn shown(&self, tenant: Option<&str>) -> String {
        let mut all = Table::new();
        for text in &self.0 {
            // What serves is TOML.
            let Ok(table) = text.text.parse::<Table>() else { continue };
            merge(&mut all, shown(&table, super::schema(), ""));
        }
        if let (Some(tenant), Some(Value::Table(tenants))) = (tenant, all.get_mut("tenants")) {
            tenants.retain(|name, _| name == tenant);
        }
        all.to_string()
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("files", &self.0.len()).finish()
    }
}

/// How much of a text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Whole,
    /// Where a secret is: `env:NAME`, `file:PATH`.
    Reference,
    /// Of a URL scheme, host and port: a path or a query may hold a key.
    Origin,
    /// What comes before a query, without a user and a password.
    Path,
}
use How::{Origin, Path, Reference, Whole};

/// Every text that is shown; `*` stands for a name that the user chooses.
const SHOWN: &[(&str, How)] = &[
    ("include", Whole),
    ("server.https", Whole),
    ("server.http", Whole),
    ("server.trusted_proxies", Whole),
    ("server.drain_timeout", Whole),
    ("server.close_within", Whole),
    ("server.shared_hosts", Whole),
    ("server.session_secrets", Reference),
    ("server.acme_webroot", Whole),
    ("server.upgrade_socket", Whole),
    ("server.limits.header_timeout", Whole),
    ("server.limits.header_bytes", Whole),
    ("server.limits.idle_timeout", Whole),
    ("server.limits.form_bytes", Whole),
    ("server.limits.body_bytes", Whole),
    ("server.limits.body_timeout", Whole),
    ("server.compression.min_bytes", Whole),
    ("server.compression.types", Whole),
    ("admin.listen", Whole),
    ("admin.token", Reference),
    ("internal.listen", Whole),
    ("tls.certificates.cert", Whole),
    ("tls.certificates.key", Whole),
    ("tls.acme.directory", Origin),
    ("tls.acme.contact", Whole),
    ("tls.acme.storage", Whole),
    ("telemetry.otlp_endpoint", Origin),
    ("telemetry.access_log", Whole),
    ("state.folder", Whole),
    ("upstreams.*.servers", Whole),
    ("upstreams.*.health.path", Path),
    ("upstreams.*.health.interval", Whole),
    ("upstreams.*.health.timeout", Whole),
    ("upstreams.*.ejection.base_time", Whole),
    ("upstreams.*.ejection.max_time", Whole),
    ("upstreams.*.slow_start", Whole),
    ("upstreams.*.resolve_interval", Whole),
    ("upstreams.*.connect_timeout", Whole),
    ("upstreams.*.response_timeout", Whole),
    ("upstreams.*.tls.ca", Whole),
    ("upstreams.*.tls.cert", Whole),
    ("upstreams.*.tls.key", Whole),
    ("upstreams.*.tls.server_name", Whole),
    ("tenants.*.name", Whole),
    ("tenants.*.embed_origins", Whole),
    ("tenants.*.limits.ip", Whole),
    ("tenants.*.limits.tenant", Whole),
    ("tenants.*.limits.launcher", Whole),
    ("tenants.*.allow.upstreams", Whole),
    ("tenants.*.allow.secrets", Reference),
    ("tenants.*.allow.folders", Whole),
    ("tenants.*.signing.secrets", Reference),
    ("tenants.*.signing.max_age", Whole),
    ("tenants.*.signing.ignore", Whole),
    ("tenants.*.assertion.key", Reference),
    ("tenants.*.assertion.ttl", Whole),
    ("tenants.*.personas.*.hosts", Whole),
    ("tenants.*.personas.*.path", Whole),
    ("tenants.*.personas.*.embed", Whole),
    ("tenants.*.personas.*.template", Whole),
    ("tenants.*.personas.*.upstream", Whole),
    ("tenants.*.personas.*.allow_addresses", Whole),
    ("tenants.*.personas.*.deny_addresses", Whole),
    ("tenants.*.personas.*.basic_auth.realm", Whole),
    ("tenants.*.personas.*.basic_auth.users", Reference),
    ("tenants.*.personas.*.redirects.from", Whole),
    ("tenants.*.personas.*.redirects.to", Path),
    ("tenants.*.personas.*.headers.remove", Whole),
    ("tenants.*.personas.*.hsts.max_age", Whole),
    ("tenants.*.personas.*.compression.min_bytes", Whole),
    ("tenants.*.personas.*.compression.types", Whole),
    ("tenants.*.personas.*.signing.secrets", Reference),
    ("tenants.*.personas.*.signing.max_age", Whole),
    ("tenants.*.personas.*.signing.ignore", Whole),
    ("tenants.*.personas.*.variables.name", Whole),
    ("tenants.*.personas.*.variables.max", Whole),
    ("tenants.*.personas.*.devices.*.name", Whole),
    ("tenants.*.personas.*.devices.*.template", Whole),
    ("tenants.*.personas.*.preview.id", Whole),
    ("tenants.*.personas.*.preview.token", Reference),
    ("tenants.*.personas.*.preview.template", Whole),
    ("tenants.*.personas.*.jwt.secret", Reference),
    ("tenants.*.personas.*.assertion.key", Reference),
    ("tenants.*.personas.*.assertion.ttl", Whole),
    ("tenants.*.sites.*.hosts", Whole),
    ("tenants.*.sites.*.upstream", Whole),
    ("tenants.*.sites.*.root", Whole),
    ("tenants.*.sites.*.folders.*", Whole),
    ("tenants.*.sites.*.embeds", Whole),
    ("tenants.*.sites.*.allow_addresses", Whole),
    ("tenants.*.sites.*.deny_addresses", Whole),
    ("tenants.*.sites.*.basic_auth.realm", Whole),
    ("tenants.*.sites.*.basic_auth.users", Reference),
    ("tenants.*.sites.*.redirects.from", Whole),
    ("tenants.*.sites.*.redirects.to", Path),
    ("tenants.*.sites.*.headers.remove", Whole),
    ("tenants.*.sites.*.hsts.max_age", Whole),
    ("tenants.*.sites.*.compression.min_bytes", Whole),
    ("tenants.*.sites.*.compression.types", Whole),
];

/// What may be shown of a table; `path` is its place in the schema.
fn shown(table: &Table, section: &SectionInfo, path: &str) -> Table {
    let keys = section.keys.iter().filter_map(|key| {
        let value = table.get(key.name)?;
        Some((key.name.to_owned(), value_shown(value, &key.kind, &below(path, key.name))))
    });
    keys.collect()
}

fn value_shown(value: &Value, kind: &Kind, path: &str) -> Value {
    let named = |table: &Table, show: &dyn Fn(&Value) -> Value| {
        table.iter().map(|(name, value)| (name.clone(), show(value))).collect()
    };
    match (kind, value) {
        (Kind::Boolean, Value::Boolean(_))
        | (Kind::Integer(..), Value::Integer(_))
        | (Kind::Fraction, Value::Float(_) | Value::Integer(_))
        | (Kind::Moment, Value::Datetime(_)) => value.clone(),
        (Kind::Choice(words), Value::String(word)) if words.contains(&&**word) => value.clone(),
        (Kind::Text(_), Value::String(text)) => text_shown(text, path),
        (Kind::List(item), Value::Array(values)) => {
            Value::Array(values.iter().map(|value| value_shown(value, item, path)).collect())
        }
        (Kind::Table(section), Value::Table(table)) => shown(table, section, path).into(),
        (Kind::Named(section), Value::Table(table)) => {
            let path = below(path, "*");
            let show = |value: &Value| match value {
                Value::Table(table) => shown(table, section, &path).into(),
                _ => REDACTED.into(),
            };
            Value::Table(named(table, &show))
        }
        (Kind::Map(kind), Value::Table(table)) => {
            let path = below(path, "*");
            Value::Table(named(table, &|value| value_shown(value, kind, &path)))
        }
        _ => REDACTED.into(),
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn text_shown(text: &str, path: &str) -> Value {
    let how = SHOWN.iter().find(|(shown, _)| *shown == path).map(|(_, how)| *how);
    let shown = match how {
        Some(Whole) => Some(text.to_owned()),
        // What is no reference may be the secret itself.
        Some(Reference) => {
            let is_one = SecretRef::parse(text).is_ok() || SecretPattern::parse(text).is_ok();
            is_one.then(|| text.to_owned())
        }
        Some(Origin) => origin(text),
        Some(Path) => Some(without_secrets(text)),
        None => None,
    };
    shown.unwrap_or_else(|| REDACTED.to_owned()).into()
}

/// `https://host:port/redacted`, where there is something to hide.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let hidden = if matches!(path, "" | "/") { path } else { "/redacted" };
    Some(format!("{scheme}://{host}{hidden}"))
}

/// A path or a URL without a user, a password and a query; what repeats a value that may be one
/// shows it so. Also of what is no URL, as somebody may have meant one.
pub(super) fn without_secrets(text: &str) -> String {
    let (place, query) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
    let query_shown = if query.is_empty() { "" } else { "?redacted" };
    let (before, rest) = match (place.find("://"), place.strip_prefix("//")) {
        (Some(at), _) => place.split_at(at + 3),
        (None, Some(rest)) => ("//", rest),
        (None, None) => ("", place),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_host = match authority.rsplit_once(':') {
        None => !authority.is_empty() || before.is_empty(),
        Some((_, port)) if port.ends_with(']') => true,
        Some((_, port)) => !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()),
    };
    let has_user = path.split_once(':').is_some_and(|(_, rest)| rest.contains('@'));
    match authority.rsplit_once('@') {
        _ if has_user => format!("{before}{REDACTED}"),
        Some((_, host)) => format!("{before}{host}{path}{query_shown}"),
        // A password may have had a slash or a question mark in it.
        None if !is_host && (path.contains('@') || query.contains('@')) => {
            format!("{before}{REDACTED}")
        }
        None => format!("{before}{authority}{path}{query_shown}"),
    }
}

/// Adds what another file says; of a tenant the main file may say something too.
fn merge(into: &mut Table, more: Table) {
    for (name, value) in more {
        match (into.get_mut(&name), value) {
            (Some(Value::Table(known)), Value::Table(more)) => merge(known, more),
            (Some(known), value) => *known = value,
            (None, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
