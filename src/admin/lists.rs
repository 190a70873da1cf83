//! `GET /personas`, `/upstreams`, `/certificates`, `/config`: all of them, where the overview has
//! some.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Operations;
use super::answer::{Answer, json_of, malformed};
use super::content::Content;
use super::overview::{self, Scene};
use super::{live, report};
use crate::config::snapshot::{Persona, Site, Snapshot};
use crate::policy::metadata::mode_name;
use crate::policy::query::pairs;
use crate::rejection::{Code, Rejection};
use crate::state::streams::Role;
use crate::telemetry::metrics::roster::OwnerKey;

/// Personas of one answer, where nothing is said, and at most.
const LISTED: usize = 100;
const MOST: usize = 1000;

/// What a query of `/personas` asks for.
#[derive(Debug)]
struct Asked {
    tenant: Option<String>,
    /// Part of a tenant, a name or a host, in lower case.
    search: String,
    limit: usize,
    after: Option<String>,
}

impl Asked {
    fn of(query: &str) -> Result<Self, Rejection> {
        let mut asked = Self { tenant: None, search: String::new(), limit: LISTED, after: None };
        for pair in pairs(query.as_bytes()) {
            let value = pair.value.into_owned();
            match &*pair.name {
                "tenant" => asked.tenant = Some(value),
                "search" => asked.search = value.to_lowercase(),
                "after" => asked.after = Some(value),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    asked.limit = limit.ok_or(malformed("`limit` is a number from 1 to 1000"))?;
                }
                _ => return Err(malformed("the query takes tenant, search, limit and after")),
            }
        }
        Ok(asked)
    }
}

/// Where a persona or site stands in the list: tenant, personas before sites, name.
type Place<'a> = (&'a str, Role, &'a str);

#[derive(Clone, Copy)]
enum Owner<'a> {
    Persona(&'a Persona),
    Site(&'a Site),
}

impl<'a> Owner<'a> {
    fn place(&self) -> Place<'a> {
        match self {
            Self::Persona(persona) => (&persona.tenant, Role::Persona, &persona.name),
            Self::Site(site) => (&site.tenant, Role::Site, &site.name),
        }
    }

    fn hosts(&self) -> &'a [Box<str>] {
        match self {
            Self::Persona(persona) => &persona.hosts,
            Self::Site(site) => &site.hosts,
        }
    }

    fn key(&self) -> OwnerKey {
        let (tenant, role, name) = self.place();
        OwnerKey { tenant: tenant.into(), role: Some(role), name: name.into() }
    }
}

pub(super) async fn personas(
    operations: &Arc<Operations>,
    query: &str,
) -> Result<Answer, Rejection> {
    let asked = Asked::of(query)?;
    seen(operations, move |scene| listed(scene, &asked)).await
}

pub(super) async fn upstreams(operations: &Arc<Operations>) -> Result<Answer, Rejection> {
    let all = |scene: &Scene<'_>| json!({ "upstreams": overview::upstreams(scene, usize::MAX) });
    seen(operations, all).await
}

pub(super) async fn certificates(operations: &Arc<Operations>) -> Result<Answer, Rejection> {
    blocking(operations, |operations| {
        let all =
            |scene: &Scene<'_>| overview::certificates(scene.snapshot, scene.time, usize::MAX);
        json!({ "certificates": operations.tell(all) })
    })
    .await
    .map(|document| json_of(StatusCode::OK, &document))
}

pub(super) async fn config(operations: &Arc<Operations>, query: &str) -> Result<Answer, Rejection> {
    let mut tenant = None;
    for pair in pairs(query.as_bytes()) {
        match &*pair.name {
            "tenant" => tenant = Some(pair.value.into_owned()),
            _ => return Err(malformed("the query takes tenant")),
        }
    }
    let shown = blocking(operations, move |operations| {
        operations.shared.snapshot.load_full().written.shown(tenant.as_deref())
    });
    let mut response = Response::new(Content::from(shown.await?));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/toml; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What there is to tell of what was seen just now.
async fn seen(
    operations: &Arc<Operations>,
    tell: impl FnOnce(&Scene<'_>) -> Value + Send + 'static,
) -> Result<Answer, Rejection> {
    let stopping = Rejection::new(Code::NotServing, "the server is stopping");
    live::overview(operations).await.ok_or(stopping)?;
    let told = blocking(operations, |operations| {
        operations.tell(|scene| {
            let mut told = tell(scene);
            told["interval_s"] = report::seconds(scene.sight.interval()).into();
            told["window_s"] = report::seconds(scene.sight.seen()).into();
            told
        })
    });
    Ok(json_of(StatusCode::OK, &told.await?))
}

/// Where a while hurts nobody.
async fn blocking<T: Send + 'static>(
    operations: &Arc<Operations>,
    tell: impl FnOnce(&Operations) -> T + Send + 'static,
) -> Result<T, Rejection> {
    let looked_at = Arc::clone(operations);
    operations.turns.take(move || tell(&looked_at)).await
}

fn listed(scene: &Scene<'_>, asked: &Asked) -> Value {
    let plan = scene.shared.metrics.plan();
    let known: HashMap<_, _> = scene.reading.owners.iter().map(|it| (&it.key, it)).collect();
    let found = matching(scene.snapshot, asked);
    let after = asked.after.as_deref().and_then(place);
    let first = after.map_or(0, |after| found.partition_point(|owner| owner.place() <= after));
    let page = &found[first..found.len().min(first + asked.limit)];
    let entry = |owner: &Owner<'_>| {
        let key = owner.key();
        let counted_as = plan.owner(key.clone());
        let mut told = match known.get(&counted_as).filter(|_| counted_as == key) {
            Some(reading) => overview::numbers(scene.sight, reading),
            None if counted_as == key => overview::of_nothing(scene.sight, &key),
            None => overview::sharing(&key, &counted_as),
        };
        describe(owner, &mut told);
        told
    };
    let mut told = json!({
        "count": found.len(),
        "personas": page.iter().map(entry).collect::<Vec<_>>(),
    });
    if let Some(last) = page.last().filter(|_| first + page.len() < found.len()) {
        let (tenant, role, name) = last.place();
        told["next"] = format!("{tenant}/{}/{name}", report::role(role)).into();
    }
    told
}

/// All that is asked for, in order.
fn matching<'a>(snapshot: &'a Snapshot, asked: &Asked) -> Vec<Owner<'a>> {
    let is_wanted = |owner: &Owner<'_>| {
        let (tenant, _, name) = owner.place();
        let has = |text: &str| text.to_lowercase().contains(&asked.search);
        has(tenant) || has(name) || owner.hosts().iter().any(|host| has(host))
    };
    let tenants = snapshot.tenants.values();
    let tenants = tenants.filter(|it| asked.tenant.as_deref().is_none_or(|name| *it.id == *name));
    let mut found: Vec<_> = tenants
        .flat_map(|tenant| {
            let personas = tenant.personas.iter().map(|it| Owner::Persona(it));
            personas.chain(tenant.sites.iter().map(|it| Owner::Site(it)))
        })
        .filter(is_wanted)
        .collect();
    found.sort_unstable_by_key(Owner::place);
    found
}

/// Reads what `next` has said.
fn place(text: &str) -> Option<Place<'_>> {
    let mut parts = text.splitn(3, '/');
    let (tenant, role, name) = (parts.next()?, parts.next()?, parts.next()?);
    let role = [Role::Persona, Role::Site].into_iter().find(|it| report::role(*it) == role)?;
    Some((tenant, role, name))
}

/// What the configuration says of it.
fn describe(owner: &Owner<'_>, told: &mut Value) {
    told["hosts"] = owner.hosts().iter().map(|host| &**host).collect();
    match owner {
        Owner::Persona(persona) => {
            told["path"] = (*persona.path).into();
            told["upstream"] = (*persona.upstream.name).into();
            told["app"] = persona.app.as_str().into();
            told["mode"] = mode_name(persona.mode).into();
            told["signed"] = persona.signing.is_some().into();
            told["bridge"] = persona.bridge.is_some().into();
            told["devices"] = persona.devices.iter().map(|device| &*device.slug).collect();
        }
        Owner::Site(site) => told["upstream"] = (*site.upstream.name).into(),
    }
}
