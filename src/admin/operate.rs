//! What operators do, and what is open that they do it to.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Operations;
use super::answer::{Answer, json_of, malformed};
use super::report;
use crate::policy::query::pairs;
use crate::rejection::{Code, Rejection};
use crate::state::streams::{Ended, Pace, Whose};

/// Streams that one answer lists.
const LISTED: usize = 1000;
/// The longest time over which a drain may be spread.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a query of `/connections` asks for.
#[derive(Debug, Default)]
struct Asked {
    tenant: Option<String>,
    persona: Option<String>,
    site: Option<String>,
    each: bool,
}

pub(super) fn connections(operations: &Operations, query: &str) -> Result<Answer, Rejection> {
    let mut asked = Asked::default();
    for pair in pairs(query.as_bytes()) {
        let value = pair.value.into_owned();
        match (&*pair.name, &*value) {
            ("tenant", _) => asked.tenant = Some(value),
            ("persona", _) => asked.persona = Some(value),
            ("site", _) => asked.site = Some(value),
            ("each", "true" | "false") => asked.each = value == "true",
            _ => return Err(malformed("the query takes tenant, persona, site and each=true")),
        }
    }
    let Asked { tenant, persona, site, each } = &asked;
    let whose = match (tenant, persona, site) {
        (None, None, None) => Whose::Everybody,
        _ => whose(tenant.as_deref(), persona.as_deref(), site.as_deref())?,
    };
    let (streams, now) = (&operations.shared.streams, operations.shared.moment());
    let held = streams.held(now);
    let held = held.iter().filter(|held| whose.names(&held.tenant, &held.name, held.role));
    let mut found = json!({ "holders": held.map(report::held).collect::<Vec<_>>() });
    if *each {
        let listed = streams.list(whose, LISTED, now);
        found["streams"] = listed.iter().map(report::listed).collect();
    }
    Ok(json_of(StatusCode::OK, &found))
}

/// Waits where waiting hurts nobody.
pub(super) async fn reload(operations: Arc<Operations>) -> Result<Answer, Rejection> {
    let shared = Arc::clone(&operations.shared);
    let reload = move || operations.reload.get().and_then(|reload| reload());
    let outcome = tokio::task::spawn_blocking(reload).await.ok().flatten();
    let outcome =
        outcome.ok_or(Rejection::new(Code::NotServing, "the server is starting or stopping"))?;
    let (mut document, is_good) = report::outcome(&outcome);
    // Also where nothing has changed: who asks wants to know whether all of it serves.
    document["held_back"] = report::held_back(&shared.snapshot.load().held_back);
    let status = if is_good { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(json_of(status, &document))
}

/// The body of `/drain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    tenant: String,
    persona: Option<String>,
    site: Option<String>,
    /// As in the configuration: "30s".
    within: Option<String>,
}

pub(super) fn drain(operations: &Operations, body: &[u8]) -> Result<Answer, Rejection> {
    let Drain { tenant, persona, site, within } = serde_json::from_slice(body).map_err(|_| {
        malformed("write {\"tenant\": \"…\", \"persona\": \"…\", \"within\": \"10s\"}")
    })?;
    let shared = &operations.shared;
    let whose = whose(Some(&tenant), persona.as_deref(), site.as_deref())?;
    let (snapshot, now) = (shared.snapshot.load(), shared.moment());
    // What a reload has removed may still have streams.
    let has_streams =
        || shared.streams.held(now).iter().any(|it| whose.names(&it.tenant, &it.name, it.role));
    if !whose.exists(&snapshot) && !has_streams() {
        let gone = Rejection::new(Code::NotFound, "a drain of what is not there");
        return Err(gone.with_detail("no such tenant, persona or site is configured"));
    }
    let within = match within.as_deref().map(humantime::parse_duration) {
        None => snapshot.server.close_within,
        Some(Ok(within)) if within <= LONGEST => within,
        Some(_) => return Err(malformed("`within` is a duration, \"30s\", of at most 24h")),
    };
    let told = shared.streams.end(whose, Ended::Drained, Pace::Spread(within), now);
    let within = report::seconds(within);
    let document = json!({ "told": report::counts(told), "within_s": within });
    Ok(json_of(StatusCode::OK, &document))
}

fn whose<'a>(
    tenant: Option<&'a str>,
    persona: Option<&'a str>,
    site: Option<&'a str>,
) -> Result<Whose<'a>, Rejection> {
    match (tenant, persona, site) {
        (Some(tenant), None, None) => Ok(Whose::Tenant(tenant)),
        (Some(tenant), Some(persona), None) => Ok(Whose::Persona(tenant, persona)),
        (Some(tenant), None, Some(site)) => Ok(Whose::Site(tenant, site)),
        _ => Err(malformed("name a tenant, and at most one of persona and site")),
    }
}
