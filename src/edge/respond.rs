//! Answers of our own: refusals and redirects. The only place that turns a `Rejection` into bytes.

use http::StatusCode;

use crate::apps::streamlit::HostConfig;
use crate::config::snapshot::Persona;
use crate::rejection::{Code, Rejection};

/// A complete answer that needs no upstream.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub fields: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// The problem document (RFC 9457) of a refusal.
pub fn problem(rejection: &Rejection, request_id: &str) -> Answer {
    let code = rejection.code;
    let body = serde_json::json!({
        "type": "about:blank",
        "title": code.title(),
        "status": code.status_u16(),
        "code": code.as_str(),
        "request_id": request_id,
    });
    let mut fields = vec![
        ("Content-Type", "application/problem+json".to_owned()),
        ("Cache-Control", "no-store".to_owned()),
    ];
    if code == Code::MethodNotAllowed {
        fields.push(("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned()));
    }
    Answer { status: rejection.status(), fields, body: body.to_string().into_bytes() }
}

/// What Streamlit's frontend asks about its host page, answered from the configuration.
pub fn host_config(persona: &Persona) -> Answer {
    let body = persona.host_config.as_ref().map(|config| config.body().into());
    Answer {
        status: StatusCode::OK,
        fields: vec![
            ("Content-Type", HostConfig::CONTENT_TYPE.to_owned()),
            ("Cache-Control", HostConfig::CACHE_CONTROL.to_owned()),
        ],
        body: body.unwrap_or_default(),
    }
}

/// 308: the method and the body stay what they are.
pub fn redirect(location: String) -> Answer {
    Answer {
        status: StatusCode::PERMANENT_REDIRECT,
        fields: vec![("Location", location)],
        body: Vec::new(),
    }
}
