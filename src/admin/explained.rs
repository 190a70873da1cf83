//! `POST /explain`: what would become of a request, as data.
//!
//! It tells whoever may operate the server what `vestibule explain` tells whoever may read its
//! configuration, and nothing more. What is asked is not kept: an address that is pasted here may
//! hold a signature that is still good.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Operations;
use super::answer::{Answer, json_of, malformed};
use crate::explain::{
    Cookies, Explanation, Note, Place, Question, Step, Verdict, explain as decide,
};
use crate::rejection::Rejection;

const HOW: &str = "write {\"url\": \"https://HOST/PATH\"}, and where it matters \"method\", \
                   \"headers\", \"body\", \"place\": \"frame\", \"tab\" or \"fetch\", \"cookies\": \
                   \"kept\" or \"refused\", \"launched\", \"client\"";

/// The body of the request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: Headers,
    body: Option<String>,
    #[serde(default)]
    place: Where,
    #[serde(default)]
    cookies: Keeps,
    launched: Option<String>,
    client: Option<IpAddr>,
}

/// `["Name: value"]` or `{"Name": "value"}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Headers {
    Lines(Vec<String>),
    Named(BTreeMap<String, String>),
}

impl Default for Headers {
    fn default() -> Self {
        Self::Lines(Vec::new())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Where {
    #[default]
    Frame,
    Tab,
    Fetch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Keeps {
    #[default]
    Kept,
    Refused,
}

pub(super) async fn explain(
    operations: &Arc<Operations>,
    body: &[u8],
) -> Result<Answer, Rejection> {
    let asked: Asked = serde_json::from_slice(body).map_err(|_| malformed(HOW))?;
    let question = asked.question()?;
    let snapshot = operations.shared.snapshot.load_full();
    // Signatures are computed, and a snapshot may have thousands of tenants.
    let explained = operations.turns.take(move || decide(&snapshot, &question)).await?;
    let explanation = explained.map_err(malformed)?;
    Ok(json_of(StatusCode::OK, &told(&explanation)))
}

impl Asked {
    fn question(self) -> Result<Question, Rejection> {
        let method = match self.method {
            None if self.body.is_some() => Method::POST,
            None => Method::GET,
            Some(method) => Method::from_bytes(method.as_bytes())
                .map_err(|_| malformed("`method` is no method of HTTP"))?,
        };
        Ok(Question {
            url: self.url,
            method,
            headers: match self.headers {
                Headers::Lines(lines) => lines,
                Headers::Named(named) => {
                    named.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
                }
            },
            body: self.body,
            place: match self.place {
                Where::Frame => Place::Frame,
                Where::Tab => Place::Tab,
                Where::Fetch => Place::Fetch,
            },
            cookies: match self.cookies {
                Keeps::Kept => Cookies::Kept,
                Keeps::Refused => Cookies::Refused,
            },
            launched: self.launched,
            client: self.client,
        })
    }
}

fn told(explanation: &Explanation) -> Value {
    json!({
        "steps": explanation.steps.iter().map(step).collect::<Vec<_>>(),
        "goes_on": explanation.goes_on,
        "verdict": verdict(explanation.verdict()),
        "text": explanation.to_string(),
    })
}

fn step(step: &Step) -> Value {
    let (mut stages, mut sent) = (Vec::new(), Vec::new());
    for note in &step.notes {
        match note {
            Note::Stage(stage, text) => stages.push(json!({ "stage": stage, "text": text })),
            Note::Sent(line) => sent.push(Value::from(line.as_str())),
        }
    }
    let mut into = Map::new();
    into.insert("number".into(), step.number.into());
    into.insert("method".into(), step.method.as_str().into());
    into.insert("target".into(), step.target.as_str().into());
    into.insert("stages".into(), stages.into());
    if !sent.is_empty() {
        into.insert("sent".into(), sent.into());
    }
    into.insert("verdict".into(), verdict(&step.verdict));
    into.into()
}

fn verdict(verdict: &Verdict) -> Value {
    let Verdict { state, status, code, detail, remedy } = verdict;
    let mut into = Map::new();
    into.insert("state".into(), state.as_str().into());
    if let Some(status) = status {
        into.insert("status".into(), (*status).into());
    }
    if let Some(code) = code {
        into.insert("code".into(), code.as_str().into());
        into.insert("title".into(), code.title().into());
    }
    for (name, text) in [("detail", detail), ("remedy", remedy)] {
        if let Some(text) = text {
            into.insert(name.into(), text.as_ref().into());
        }
    }
    into.into()
}
