//! The one table of what can be asked, and the answers.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use serde_json::{Value, json};

use super::Operations;
use super::content::Content;
use super::guard::{self, Access};
use super::page::{self, File};
use super::{explained, lists, live, operate, report};
use crate::edge::respond;
use crate::net::service::Lasting;
use crate::rejection::{Code, Rejection};
use crate::telemetry::metrics::text::{self, Format};
use crate::telemetry::request_id::RequestId;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Of a request's body.
const BODY_BYTES: usize = 16 * 1024;

pub(super) type Answer = Response<Content>;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Page(File),
    Health,
    Ready,
    Status,
    Overview,
    Events,
    Personas,
    Upstreams,
    Certificates,
    Config,
    Explain,
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
            "/personas" => Self::Personas,
            "/upstreams" => Self::Upstreams,
            "/certificates" => Self::Certificates,
            "/config" => Self::Config,
            "/explain" => Self::Explain,
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
            Self::Reload | Self::Drain | Self::Explain => "POST",
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
    let query = head.uri.query().unwrap_or_default();
    match question {
        Question::Page(file) => Ok(page::answer(file, &head.headers)),
        Question::Overview => overview(operations).await,
        Question::Events => events(operations),
        Question::Personas => lists::personas(operations, query).await,
        Question::Upstreams => lists::upstreams(operations).await,
        Question::Certificates => lists::certificates(operations).await,
        Question::Config => lists::config(operations, query).await,
        Question::Explain => explained::explain(operations, &read(head, body).await?).await,
        Question::Health => Ok(json_of(StatusCode::OK, &json!({ "state": "alive" }))),
        Question::Ready => Ok(ready(operations)),
        Question::Status => Ok(json_of(StatusCode::OK, &status(operations))),
        Question::Metrics => Ok(metrics(operations, head)),
        Question::Connections => operate::connections(operations, query),
        Question::Reload => operate::reload(Arc::clone(operations)).await,
        Question::Drain => operate::drain(operations, &read(head, body).await?),
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

pub(super) fn malformed(detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(Code::RequestMalformed, "a request that says nothing useful").with_detail(detail)
}

pub(super) fn json_of(status: StatusCode, document: &Value) -> Answer {
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
