//! The one table of what can be asked, and the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Operations;
use super::content::Content;
use super::guard::{self, Access};
use super::page::{self, File};
use super::{live, report};
use crate::edge::respond;
use crate::net::service::Lasting;
use crate::policy::query::pairs;
use crate::rejection::{Code, Rejection};
use crate::state::streams::{Ended, Pace, Whose};
use crate::telemetry::metrics::text::{self, Format};
use crate::telemetry::request_id::RequestId;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Of a request's body.
const BODY_BYTES: usize = 16 * 1024;
/// Streams that one answer lists.
const LISTED: usize = 1000;
/// The longest time over which a drain may be spread.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

type Answer = Response<Content>;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Page(File),
    Health,
    Ready,
    Status,
    Overview,
    Events,
    Metrics,
    Connections,
    Reload,
    Drain,
}

impl Question {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/status" => Self::Status,
            "/overview" => Self::Overview,
            "/events" => Self::Events,
            "/metrics" => Self::Metrics,
            "/connections" => Self::Connections,
            "/reload" => Self::Reload,
            "/drain" => Self::Drain,
            path => Self::Page(File::at(path)?),
        })
    }

    fn access(self) -> Access {
        match self {
            Self::Health | Self::Ready => Access::Probe,
            Self::Page(_) => Access::Page,
            _ => Access::Operator,
        }
    }

    /// As in an Allow field.
    fn methods(self) -> &'static str {
        match self {
            Self::Events => "GET",
            Self::Reload | Self::Drain => "POST",
            _ => "GET, HEAD",
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|allowed| allowed == method.as_str())
    }
}

pub(super) async fn answer<B>(operations: Arc<Operations>, request: Request<B>) -> Answer
where
    B: Body + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let answered = decide(&operations, &head, body).await;
    answered.unwrap_or_else(|rejection| refusal(&operations, &head, &rejection))
}

async fn decide<B>(operations: &Arc<Operations>, head: &Parts, body: B) -> Result<Answer, Rejection>
where
    B: Body + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let question = Question::of(head.uri.path());
    let access = question.map_or(Access::Operator, Question::access);
    guard::admit(head, access, &operations.shared.snapshot.load().admin)?;
    let question = question.ok_or(Rejection::new(Code::NotFound, "no such path"))?;
    if !question.allows(&head.method) {
        return Err(Rejection::new(Code::MethodNotAllowed, "not the method of this path"));
    }
    match question {
        Question::Page(file) => Ok(page::answer(file, &head.headers)),
        Question::Overview => overview(operations).await,
        Question::Events => events(operations),
        Question::Health => Ok(json_of(StatusCode::OK, &json!({ "state": "alive" }))),
        Question::Ready => Ok(ready(operations)),
        Question::Status => Ok(json_of(StatusCode::OK, &status(operations))),
        Question::Metrics => Ok(metrics(operations, head)),
        Question::Connections => connections(operations, head.uri.query().unwrap_or_default()),
        Question::Reload => reload(Arc::clone(operations)).await,
        Question::Drain => drain(operations, &read(head, body).await?),
    }
}

fn ready(operations: &Operations) -> Answer {
    match operations.shared.is_draining() {
        false => json_of(StatusCode::OK, &json!({ "state": "ready" })),
        true => json_of(StatusCode::SERVICE_UNAVAILABLE, &json!({ "state": "draining" })),
    }
}

fn status(operations: &Operations) -> Value {
    let shared = &operations.shared;
    let snapshot = shared.snapshot.load();
    let tenants = || snapshot.tenants.values();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "state": if shared.is_draining() { "draining" } else { "ready" },
        "uptime_s": report::seconds(operations.started.elapsed()),
        "workers": snapshot.server.workers,
        "tenants": snapshot.tenants.len(),
        "held_back": report::held_back(&snapshot.held_back),
        "personas": tenants().map(|tenant| tenant.personas.len()).sum::<usize>(),
        "sites": tenants().map(|tenant| tenant.sites.len()).sum::<usize>(),
        "connections": { "open": shared.connections(), "allowed": shared.allowed_connections() },
        "streams": report::counts(shared.streams.counts()),
        "upstreams": report::upstreams(&shared.upstreams.status(std::time::Instant::now())),
    })
}

async fn overview(operations: &Arc<Operations>) -> Result<Answer, Rejection> {
    let overview = live::overview(operations).await;
    let overview = overview.ok_or(Rejection::new(Code::NotServing, "the server is stopping"))?;
    Ok(json_of(StatusCode::OK, &overview))
}

fn events(operations: &Arc<Operations>) -> Result<Answer, Rejection> {
    let mut response = Response::new(live::watch(operations)?);
    response.extensions_mut().insert(Lasting);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy in between passes each event on at once.
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// In the form that is asked for.
fn metrics(operations: &Operations, head: &Parts) -> Answer {
    let accept = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::wanted(accept.unwrap_or_default());
    let mut text = String::new();
    text::render(&operations.shared.families(), format, &mut text);
    let mut response = Response::new(Content::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a query of `/connections` asks for.
#[derive(Debug, Default)]
struct Asked {
    tenant: Option<String>,
    persona: Option<String>,
    site: Option<String>,
    each: bool,
}

fn connections(operations: &Operations, query: &str) -> Result<Answer, Rejection> {
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
async fn reload(operations: Arc<Operations>) -> Result<Answer, Rejection> {
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

fn drain(operations: &Operations, body: &[u8]) -> Result<Answer, Rejection> {
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

async fn read<B>(head: &Parts, body: B) -> Result<Bytes, Rejection>
where
    B: Body + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let media_type = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    // A form of a web page cannot say this without asking first.
    let media_type = media_type.and_then(|it| it.split(|byte| *byte == b';').next());
    if media_type != Some(b"application/json") {
        return Err(Rejection::new(Code::MediaTypeUnsupported, "the body is not application/json"));
    }
    match Limited::new(body, BODY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(_) => Err(Rejection::new(Code::BodyTooLarge, "the body is too large, or broke off")),
    }
}

fn malformed(detail: &'static str) -> Rejection {
    Rejection::new(Code::RequestMalformed, "a request that says nothing useful").with_detail(detail)
}

fn json_of(status: StatusCode, document: &Value) -> Answer {
    let mut response = Response::new(Content::from(format!("{document}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refusal(operations: &Operations, head: &Parts, rejection: &Rejection) -> Answer {
    let id = RequestId::new(operations.names.next());
    let answer = respond::problem(rejection, id.as_str());
    let mut response = Response::new(Content::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    for (name, value) in answer.fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    match rejection.code {
        Code::MethodNotAllowed => {
            let allowed = Question::of(head.uri.path()).map_or("GET", Question::methods);
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Code::TokenInvalid => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Code::CapacityExhausted => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        _ => {}
    }
    response
}
