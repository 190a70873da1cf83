//! What stands in front of a persona's app or of a site.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;

use super::super::addresses::Host;
use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::{Entry, Table};
use super::super::shown::without_secrets;
use super::super::source::At;
use super::{Compiler, Facts, secrets};
use crate::gate::path;
use crate::policy::front::Front;
use crate::policy::front::addresses::Addresses;
use crate::policy::front::compression::{Coding, Compression, MediaRange};
use crate::policy::front::headers::{self, Headers, Hsts};
use crate::policy::front::password::{self, BadLine, Password};
use crate::policy::front::redirects::{From, Redirect, Redirects};
use crate::policy::limits::Rules;
use crate::policy::shared_host::speaks_for_the_host;

/// Whose, and where problems go.
type For<'t, 'c, 'p> = (&'t Arc<str>, &'t Arc<Rules>, &'c mut Compiler<'p>);

/// A persona's.
pub fn persona(
    one: &Entry<raw::Persona>,
    hosts: &[At<Host>],
    facts: &Facts,
    (tenant, rules, compiler): For<'_, '_, '_>,
) -> Front {
    let raw = &*one.value;
    let key = format!("tenants.{tenant}.personas.{}", one.name);
    Front {
        direction: raw.direction.as_ref().map(|at| at.value),
        addresses: addresses(&raw.allow_addresses, &raw.deny_addresses),
        password: password(raw.basic_auth.as_ref(), (&key, &one.name), (tenant, rules), compiler),
        redirects: redirects(raw.redirects.as_ref(), hosts, &key, compiler),
        headers: headers(
            raw.headers.as_ref(),
            raw.hsts.as_ref(),
            (&key, shares(facts, hosts)),
            compiler,
        ),
        compression: facts.front.compression(raw.compression.as_ref(), &key, compiler),
    }
}

/// A site's.
pub fn site(
    one: &Entry<raw::Site>,
    hosts: &[At<Host>],
    facts: &Facts,
    (tenant, rules, compiler): For<'_, '_, '_>,
) -> Front {
    let raw = &*one.value;
    let key = format!("tenants.{tenant}.sites.{}", one.name);
    Front {
        direction: None,
        addresses: addresses(&raw.allow_addresses, &raw.deny_addresses),
        password: password(raw.basic_auth.as_ref(), (&key, &one.name), (tenant, rules), compiler),
        redirects: redirects(raw.redirects.as_ref(), hosts, &key, compiler),
        headers: headers(
            raw.headers.as_ref(),
            raw.hsts.as_ref(),
            (&key, shares(facts, hosts)),
            compiler,
        ),
        compression: facts.front.compression(raw.compression.as_ref(), &key, compiler),
    }
}

/// Whether one of these hosts is other tenants' too.
fn shares(facts: &Facts, hosts: &[At<Host>]) -> bool {
    hosts.iter().any(|at| facts.shared_hosts.contains(&at.value.0))
}

fn password(
    raw: Option<&At<Table<raw::BasicAuth>>>,
    (key, name): (&str, &Arc<str>),
    (tenant, rules): (&Arc<str>, &Arc<Rules>),
    compiler: &mut Compiler<'_>,
) -> Option<Password> {
    let raw = raw?;
    let users = raw.value.users.as_ref()?;
    let key = format!("{key}.basic_auth.users");
    let text = secrets::bytes(users, &key, compiler)?;
    let from = secrets::name(users, compiler);
    let known = match std::str::from_utf8(&text).map(password::users) {
        Ok(Ok(known)) => known,
        Ok(Err((line, why))) => {
            let why = match why {
                BadLine::NoColon => "no name and hash",
                BadLine::NoName => "no name",
                BadLine::Twice => "a name that stands there already",
                BadLine::Hash => "a hash that is not bcrypt's",
                BadLine::Cost => "a hash that takes seconds to verify",
            };
            let wrong = Wrong::new(
                format!("line {line} of {from} has {why}"),
                "write what `htpasswd -nB -C 10 NAME` prints",
            );
            compiler.problems.error(users.spot, key, wrong);
            return None;
        }
        Err(_) => {
            let wrong = Wrong::new(format!("{from} is no text"), "write lines NAME:HASH");
            compiler.problems.error(users.spot, key, wrong);
            return None;
        }
    };
    let realm = raw.value.realm.as_ref();
    let realm = realm.map_or_else(|| name.to_string(), |at| at.value.0.to_string());
    if let Some(at) = &raw.value.realm
        && (!headers::is_value(&realm) || realm.contains(['"', '\\']))
    {
        let wrong = Wrong::new("the realm cannot stand in a header", "write plain ASCII text");
        compiler.problems.error(at.spot, key.replace(".users", ".realm"), wrong);
    }
    let forwards = raw.value.forward.as_ref().is_some_and(|at| at.value);
    let password = Password::new(&realm, known, forwards, (tenant.clone(), rules.clone()));
    if password.is_none() {
        let wrong = Wrong::new(format!("{from} has no user"), "add one with `htpasswd -B`");
        compiler.problems.error(users.spot, key, wrong);
    }
    password
}

type Nets = Option<At<Vec<At<IpNet>>>>;

fn addresses(allow: &Nets, deny: &Nets) -> Addresses {
    let nets = |list: &Nets| list.iter().flat_map(|list| &list.value).map(|at| at.value).collect();
    Addresses { allow: nets(allow), deny: nets(deny) }
}

fn headers(
    raw: Option<&At<Table<raw::Headers>>>,
    hsts: Option<&At<Table<raw::Hsts>>>,
    (key, is_shared): (&str, bool),
    compiler: &mut Compiler<'_>,
) -> Headers {
    let set = raw.and_then(|at| at.value.set.as_ref()).map_or(&[][..], |at| &at.value.0);
    let remove = raw.and_then(|at| at.value.remove.as_ref()).map_or(&[][..], |at| &at.value);
    let mut names: Vec<String> = Vec::new();
    for (index, pair) in set.iter().enumerate() {
        let key = || format!("{key}.headers.set.{}", field_name(&pair.name));
        let twice = set[..index].iter().any(|other| other.name.eq_ignore_ascii_case(&pair.name));
        if twice {
            let wrong = Wrong::new("the field is set twice", "write one of the two");
            compiler.problems.error(pair.spot, key(), wrong);
        } else if let Err(wrong) = may_touch(&pair.name) {
            compiler.problems.error(pair.spot, key(), wrong);
        } else if is_shared && speaks_for_the_host(pair.name.as_bytes()) {
            let what =
                format!("{} speaks for the whole host, which other tenants share", pair.name);
            let wrong = Wrong::new(what, "leave it out, or use a host that is not shared");
            compiler.problems.error(pair.spot, key(), wrong);
        } else if !headers::is_value(&pair.value.0) {
            let wrong = Wrong::new("the value cannot stand in a header", "write plain ASCII text");
            compiler.problems.error(pair.spot, key(), wrong);
        }
        names.push(pair.name.to_ascii_lowercase());
    }
    for (index, at) in remove.iter().enumerate() {
        let key = || format!("{key}.headers.remove[{index}]");
        if names.contains(&at.value.0.to_ascii_lowercase()) {
            let what = "the field is set, which removes the app's already";
            compiler.problems.error(at.spot, key(), Wrong::new(what, "leave one of the two out"));
        } else if let Err(wrong) = may_touch(&at.value.0) {
            compiler.problems.error(at.spot, key(), wrong);
        }
    }
    Headers {
        set: set.iter().map(|pair| ((*pair.name).into(), pair.value.0.clone())).collect(),
        remove: remove.iter().map(|at| at.value.0.clone()).collect(),
        hsts: hsts.map(|at| {
            if is_shared {
                let what = "it would hold for the whole host, which other tenants share";
                let wrong = Wrong::new(what, "leave it out, or use a host that is not shared");
                compiler.problems.error(at.spot, format!("{key}.hsts"), wrong);
            }
            hsts_value(&at.value, &format!("{key}.hsts"), compiler)
        }),
    }
}

/// What to repeat of a name: the value may have been written with it.
fn field_name(name: &str) -> &str {
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    if headers::is_name(name) { name } else { &name[..end.unwrap_or(name.len())] }
}

fn may_touch(name: &str) -> Result<(), Wrong> {
    if !headers::is_name(name) {
        let what = format!("what begins with {:?} is no name of a header field", field_name(name));
        return Err(Wrong::new(what, "write letters, digits and `-`"));
    }
    let Some(owner) = headers::owner(name) else { return Ok(()) };
    let (what, remedy) = owner.split_once(": ").unwrap_or((owner, "leave it out"));
    Err(Wrong::new(format!("{name} {what}"), remedy))
}

fn hsts_value(raw: &raw::Hsts, key: &str, compiler: &mut Compiler<'_>) -> Box<str> {
    let on = |flag: &Option<At<bool>>| flag.as_ref().is_some_and(|at| at.value);
    let hsts = Hsts {
        max_age: raw.max_age.as_ref().map_or(Duration::ZERO, |at| at.value),
        include_subdomains: on(&raw.include_subdomains),
        preload: on(&raw.preload),
    };
    if let Some(at) = raw.preload.as_ref().filter(|at| at.value)
        && (!hsts.include_subdomains || hsts.max_age < Hsts::PRELOAD)
    {
        let what = "preload lists take a year and all subdomains only";
        let remedy = "write max_age = \"8760h\" and include_subdomains = true, or leave it out";
        compiler.problems.error(at.spot, format!("{key}.preload"), Wrong::new(what, remedy));
    }
    hsts.value()
}

fn redirects(
    list: Option<&At<Vec<At<Table<raw::Redirect>>>>>,
    hosts: &[At<Host>],
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Redirects {
    let mut redirects = Redirects::default();
    let Some(list) = list else { return redirects };
    for (index, at) in list.value.iter().enumerate() {
        let key = |name: &str| format!("{key}.redirects[{index}].{name}");
        let (Some(from), Some(to)) = (&at.value.from, &at.value.to) else { continue };
        let parsed_from = parse_from(&from.value.0);
        let parsed_to = parse_to(&to.value.0, &from.value.0);
        let status = at.value.status.as_ref().map_or(308, |at| at.value.0);
        if let Some(at) = at.value.status.as_ref().filter(|at| matches!(at.value.0, 304..=306)) {
            let wrong = Wrong::new(format!("{} leads nowhere", at.value.0), "write 308, or 302");
            compiler.problems.error(at.spot, key("status"), wrong);
        }
        let status = u16::try_from(status).ok().and_then(|code| StatusCode::from_u16(code).ok());
        match (parsed_from, parsed_to) {
            (Ok(path), Ok((target, appends))) => {
                let is_path = target.starts_with('/');
                let has_query = target.contains('?');
                let keeps = at.value.keep_query.as_ref();
                if let Some(at) = keeps.filter(|at| at.value && has_query) {
                    let what = "the target has a query of its own";
                    let wrong = Wrong::new(what, "leave one of the two out");
                    compiler.problems.error(at.spot, key("keep_query"), wrong);
                }
                let redirect = Redirect {
                    to: target.into(),
                    appends,
                    status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
                    keeps_query: !has_query && keeps.map_or(is_path, |at| at.value),
                };
                if !redirects.insert(path, redirect) {
                    let what = format!("{} is redirected already", from.value.0);
                    let wrong = Wrong::new(what, "leave one of the two out");
                    compiler.problems.error(from.spot, key("from"), wrong);
                }
            }
            (path, target) => {
                if let Err(wrong) = path {
                    compiler.problems.error(from.spot, key("from"), wrong);
                }
                if let Err(wrong) = target {
                    compiler.problems.error(to.spot, key("to"), wrong);
                }
            }
        }
    }
    let own = |to: &str| {
        let uri: http::Uri = to.parse().ok()?;
        let host = uri.host()?.to_ascii_lowercase();
        let is_own = hosts.iter().any(|at| *at.value.0 == *host);
        is_own.then(|| uri.path().to_owned())
    };
    if let Some(path) = redirects.circle(own) {
        let froms = list.value.iter().filter_map(|at| at.value.from.as_ref());
        let path = froms.fold(path, |path, at| match compiler.problems.expansion(at.spot) {
            Some(expansion) => expansion.hidden_in(path),
            None => path,
        });
        let what = format!("who asks for {path} is redirected without end");
        let wrong = Wrong::new(what, "let one of them lead elsewhere");
        compiler.problems.error(list.spot, format!("{key}.redirects"), wrong);
    }
    redirects
}

fn parse_from(text: &str) -> Result<From, Wrong> {
    let (path, is_below) = match text.strip_suffix("/*") {
        Some(path) => ([path, "/"].concat(), true),
        None => (text.to_owned(), false),
    };
    let is_canonical = path.starts_with('/') && path::canonical(&path).is_ok_and(|it| it == path);
    if !is_canonical || path.contains('*') {
        let what = format!("{:?} is not a path as requests have it", without_secrets(text));
        return Err(Wrong::new(what, "write \"/old\", or \"/old/*\" for all below it"));
    }
    if is_below {
        return Ok(From::Below(path.into()));
    }
    let bare = if path == "/" { &path } else { path.trim_end_matches('/') };
    Ok(From::Exactly(bare.into()))
}

/// The target without its `*`, and whether it has one.
fn parse_to<'t>(text: &'t str, from: &str) -> Result<(&'t str, bool), Wrong> {
    let appends = text.ends_with("/*");
    let target = if appends { &text[..text.len() - 1] } else { text };
    let path_of = |uri: &http::Uri| path::canonical(uri.path()).is_ok_and(|it| it == uri.path());
    let sound = target.parse::<http::Uri>().is_ok_and(|uri| {
        // Neither a user, nor a password for a port.
        let is_plain =
            uri.authority().is_some_and(|it| it.as_str() == it.host() || it.port_u16().is_some());
        let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
        match uri.scheme_str() {
            None => target.starts_with('/') && path_of(&uri),
            Some("http" | "https") => {
                is_plain && !has_user && uri.host().is_some() && path_of(&uri)
            }
            Some(_) => false,
        }
    });
    if !sound || target.contains('*') {
        let what = format!("{:?} is neither a path nor an address", without_secrets(text));
        return Err(Wrong::new(what, "write \"/new\" or \"https://www.example.com/new\""));
    }
    if appends && !from.ends_with("/*") {
        let what = "there is nothing to stand for the `*`";
        return Err(Wrong::new(what, "end `from` with `/*`, too, or take it off"));
    }
    Ok((target, appends))
}

/// What personas and sites have from the server, made once for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    asked: Asked,
    compression: Option<Arc<Compression>>,
}

impl Defaults {
    pub fn new(root: &raw::Root) -> Self {
        let raw = root.server.as_ref().and_then(|at| at.value.compression.as_ref());
        let asked = Asked::of(raw.map(|at| &*at.value));
        Self { compression: asked.clone().compiled(), asked }
    }

    fn compression(
        &self,
        own: Option<&At<Table<raw::Compression>>>,
        key: &str,
        compiler: &mut Compiler<'_>,
    ) -> Option<Arc<Compression>> {
        let Some(own) = own else { return self.compression.clone() };
        let own = &*own.value;
        if let Some(encodings) = own.encodings.as_ref().filter(|at| at.value.is_empty())
            && (own.min_bytes.is_some() || own.types.is_some())
        {
            let what = "nothing is compressed, so that the keys beside it have no effect";
            let remedy = "leave them out, or write encodings = [\"zstd\", \"gzip\"]";
            let key = format!("{key}.compression.encodings");
            compiler.problems.error(encodings.spot, key, Wrong::new(what, remedy));
        }
        Asked::of(Some(own)).or(self.asked.clone()).compiled()
    }
}

/// What a table of compression says, key by key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    codings: Option<Box<[Coding]>>,
    types: Option<Box<[MediaRange]>>,
    min_bytes: Option<u64>,
}

impl Asked {
    fn of(table: Option<&raw::Compression>) -> Self {
        let codings = table.and_then(|table| table.encodings.as_ref());
        let types = table.and_then(|table| table.types.as_ref());
        Self {
            codings: codings.map(|list| list.value.iter().map(|at| at.value).collect()),
            types: types.map(|list| list.value.iter().map(|at| at.value.clone()).collect()),
            min_bytes: table.and_then(|table| table.min_bytes.as_ref()).map(|at| at.value.0),
        }
    }

    /// Where this one says nothing, that one may.
    fn or(self, other: Self) -> Self {
        Self {
            codings: self.codings.or(other.codings),
            types: self.types.or(other.types),
            min_bytes: self.min_bytes.or(other.min_bytes),
        }
    }

    /// Nothing where nothing is to be compressed.
    fn compiled(self) -> Option<Arc<Compression>> {
        let codings = self.codings.unwrap_or_else(|| Compression::CODINGS.into());
        let types = self.types.unwrap_or_else(|| {
            Compression::TYPES.into_iter().filter_map(MediaRange::parse).collect()
        });
        let min_bytes = self.min_bytes.unwrap_or(Compression::MIN_BYTES);
        (!codings.is_empty()).then(|| Arc::new(Compression { codings, min_bytes, types }))
    }
}
