//! Answers of our own. The only place that turns a `Rejection` into bytes.
//!
//! Whoever navigates gets a page, everybody else a problem document (RFC 9457); both say the same.

use std::borrow::Cow;

use http::{Method, StatusCode};

use crate::apps::streamlit::HostConfig;
use crate::embed::pages::{self, Again, Page};
use crate::embed::{self, Own};
use crate::http1::fields::Known;
use crate::http1::head::RequestHead;
use crate::pipeline::{self, AnswerField, Configured, Dress, Owner};
use crate::policy::beacon::launch::Launch;
use crate::policy::csp::{Disposition, FieldEdit};
use crate::policy::metadata::Direction;
use crate::policy::query;
use crate::policy::signature::Replay;
use crate::rejection::{Code, Rejection};

/// Seconds: requests end all the time, and an upstream at its limit has room again soon.
const RETRY_OVERLOADED: &str = "2";

/// A complete answer that needs no upstream.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub fields: Vec<(Cow<'static, str>, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn new(status: StatusCode, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let fields = vec![("Content-Type".into(), content_type.to_owned())];
        Self { status, fields, body: body.into() }
    }

    /// What `Content-Length` says: nothing where the status rules content out (RFC 9110, section 8.6).
    pub fn length(&self) -> Option<u64> {
        let has_none = self.status.is_informational()
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        (!has_none).then_some(self.body.len() as u64)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}

/// A refusal, in the form that its reader can use. `direction` is the session's, where there is one.
pub fn refusal(
    rejection: &Rejection,
    request_id: &str,
    head: &RequestHead,
    (owner, direction): (Option<&Owner>, Option<Direction>),
) -> Answer {
    if navigates(head) {
        let direction = direction
            .or_else(|| asked_direction(head))
            .or_else(|| owner.and_then(|owner| owner.front().direction));
        let page = match rejection.code {
            Code::CookiesRequired => pages::cookies_refused(None, direction),
            code => {
                let how = (again(rejection, head, owner), direction);
                pages::refused(code, rejection.detail.as_deref(), request_id, how)
            }
        };
        return with_limits(shown(rejection.status(), page, owner), rejection);
    }
    problem(rejection, request_id)
}

/// What may help. A limit is not tried again by the page: that would only spend it further. Nor is
/// a link that opens once: it was used, whatever came of it.
fn again(rejection: &Rejection, head: &RequestHead, owner: Option<&Owner>) -> Again {
    let is_used_up = || {
        let signing = owner.and_then(Owner::persona).and_then(|persona| persona.signing.as_ref());
        signing.is_some_and(|signing| signing.replay() == Replay::Once)
    };
    match rejection.code.status_u16() {
        408 | 425 | 429 | 500 | 502..=504 if head.method != Method::GET => Again::SendAgain,
        502..=504 if !is_used_up() => Again::ByItself,
        408 | 425 | 429 | 500 | 502..=504 => {
            Again::ByHand(rejection.limited.as_ref().map(|limited| limited.retry_after()))
        }
        _ => Again::Never,
    }
}

/// What the address asks for, where it asks for one thing.
fn asked_direction(head: &RequestHead) -> Option<Direction> {
    let (_, query) = head.target.split_once('?')?;
    let mut asked = query::raw_pairs(query.as_bytes()).filter(|pair| pair.is("direction"));
    let first = asked.next()?.decoded_value();
    let directions = [Direction::Ltr, Direction::Rtl, Direction::Auto];
    let direction = directions.into_iter().find(|direction| direction.as_str() == first)?;
    asked.next().is_none().then_some(direction)
}

/// A page of ours, which may be framed by whoever may frame the owner's.
fn shown(status: StatusCode, page: Page, owner: Option<&Owner>) -> Answer {
    let dress = Dress { owner: owner.cloned(), ..Dress::default() };
    let edit = dress.csp().map(|csp| csp.edit([(Disposition::Enforce, page.csp.as_bytes())]));
    let policy = match edit.map(|edit| edit.enforce) {
        Some(FieldEdit::Set(policy)) => policy.to_string(),
        _ => page.csp.clone(),
    };
    Answer::new(status, Page::CONTENT_TYPE, page.body)
        .with("Content-Security-Policy", policy)
        .with("Cache-Control", "no-store")
}

fn navigates(head: &RequestHead) -> bool {
    head.fields.single(Known::SecFetchMode).is_some_and(|mode| mode == b"navigate")
        && matches!(head.method, Method::GET | Method::POST)
}

/// The problem document of a refusal.
pub fn problem(rejection: &Rejection, request_id: &str) -> Answer {
    let code = rejection.code;
    let mut body = serde_json::json!({
        "type": "about:blank",
        "title": code.title(),
        "status": code.status_u16(),
        "code": code.as_str(),
        "request_id": request_id,
    });
    if let Some(detail) = &rejection.detail {
        body["detail"] = detail.as_ref().into();
    }
    if let Some(limited) = &rejection.limited {
        body["bucket"] = limited.bucket.as_str().into();
        body["retry_after"] = limited.retry_after().into();
    }
    let answer =
        Answer::new(rejection.status(), "application/problem+json", body.to_string().into_bytes())
            .with("Cache-Control", "no-store");
    if code == Code::MethodNotAllowed {
        return answer.with("Allow", rejection.methods.as_str());
    }
    with_limits(answer, rejection)
}

/// Seconds after which an app that is not available may be asked for again.
const SOON: &str = "5";

fn with_limits(answer: Answer, rejection: &Rejection) -> Answer {
    if rejection.code == Code::UpstreamOverloaded {
        return answer.with("Retry-After", RETRY_OVERLOADED);
    }
    let Some(limited) = &rejection.limited else {
        let is_unavailable = rejection.status() == StatusCode::SERVICE_UNAVAILABLE;
        return if is_unavailable { answer.with("Retry-After", SOON) } else { answer };
    };
    let fields = limited.fields();
    answer
        .with("Retry-After", limited.retry_after().to_string())
        .with("RateLimit-Policy", fields.policy)
        .with("RateLimit", fields.limit)
}

/// What the pipeline answers in an app's place; `launch` is this request, for pages with a bridge.
pub fn ours(answer: &pipeline::Answer, head: &RequestHead, launch: &Launch) -> Answer {
    match answer {
        pipeline::Answer::HostConfig(persona) => {
            let body = persona.host_config.as_ref().map(|config| config.body().to_owned());
            Answer::new(StatusCode::OK, HostConfig::CONTENT_TYPE, body.unwrap_or_default())
                .with("Cache-Control", HostConfig::CACHE_CONTROL)
        }
        pipeline::Answer::Preflight | pipeline::Answer::Told(_) => {
            Answer { status: StatusCode::NO_CONTENT, fields: Vec::new(), body: Vec::new() }
        }
        pipeline::Answer::Bridge => script(head, embed::BRIDGE_JS, embed::bridge_etag()),
        pipeline::Answer::ShellScript => script(head, embed::SHELL_JS, embed::shell_etag()),
        pipeline::Answer::Shell { owner, chat } => shell(owner, chat),
        pipeline::Answer::Configured(configured) => {
            let body = match configured {
                Configured::Already => serde_json::json!({ "state": "complete" }),
                Configured::Anew { prefix } => {
                    serde_json::json!({ "state": "complete", "prefix": prefix })
                }
            };
            Answer::new(StatusCode::OK, "application/json", body.to_string())
        }
        pipeline::Answer::Waiting(owner) => {
            let element = owner.persona().and_then(|persona| {
                let launch = launch.write(&persona.keys);
                let own = Own { launch: Some(&launch), nonce: None };
                Some(persona.bridge.as_ref()?.element(owner.device().map(|slug| &**slug), own))
            });
            let direction = asked_direction(head).or(owner.front().direction);
            let page = pages::waiting(&element.unwrap_or_default(), direction);
            shown(StatusCode::OK, page, Some(owner))
        }
    }
}

/// A page around a chat. What it was asked with stands in its address, which nobody else needs.
fn shell(owner: &Owner, chat: &str) -> Answer {
    let body = owner.shell().map(|shell| shell.page.with(chat)).unwrap_or_default();
    let dress = Dress { owner: Some(owner.clone()), ..Dress::default() };
    let mut answer = Answer::new(StatusCode::OK, Page::CONTENT_TYPE, body)
        .with("Cache-Control", "no-store")
        .with("Referrer-Policy", "strict-origin")
        .with("X-Content-Type-Options", "nosniff");
    if let Some(FieldEdit::Set(policy)) = dress.csp().map(|csp| csp.edit([]).enforce) {
        answer = answer.with("Content-Security-Policy", policy);
    }
    answer
}

/// A script of ours.
fn script(head: &RequestHead, text: &str, tag: &'static str) -> Answer {
    let is_known = head.fields.named("if-none-match").is_some_and(|known| known == tag.as_bytes());
    let answer = if is_known {
        Answer { status: StatusCode::NOT_MODIFIED, fields: Vec::new(), body: Vec::new() }
    } else {
        Answer::new(StatusCode::OK, "text/javascript; charset=utf-8", text)
    };
    answer.with("ETag", tag).with("Cache-Control", embed::SCRIPT_CACHE_CONTROL)
}

/// What the pipeline lets any answer say, and after it what the operator does.
pub fn complete(
    answer: &mut Answer,
    fields: Vec<AnswerField>,
    (owner, is_https): (Option<&Owner>, bool),
) {
    answer.fields.extend(fields.into_iter().map(|(name, value)| (name.into(), value)));
    join(answer, owner, is_https);
}

/// What the operator lets all answers of a persona or site say, where ours does not say otherwise.
fn join(answer: &mut Answer, owner: Option<&Owner>, is_https: bool) {
    let Some(owner) = owner else { return };
    for (name, value) in owner.front().headers.joining(is_https) {
        if !answer.fields.iter().any(|(said, _)| said.eq_ignore_ascii_case(name)) {
            answer.fields.push((name.to_owned().into(), value.to_owned()));
        }
    }
}

/// 308: the method and the body stay what they are.
pub fn redirect(location: String) -> Answer {
    to(StatusCode::PERMANENT_REDIRECT, location)
}

/// 303: to be fetched by GET.
pub fn see_other(location: String) -> Answer {
    to(StatusCode::SEE_OTHER, location)
}

/// Anywhere, as somebody says who knows.
pub fn to(status: StatusCode, location: String) -> Answer {
    Answer { status, fields: vec![("Location".into(), location)], body: Vec::new() }
}
