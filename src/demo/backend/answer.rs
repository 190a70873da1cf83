//! The backend's response bodies, and the few shapes of answer it gives.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// All at once, or piece by piece as a task sends them.
#[derive(Debug)]
pub enum Body {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Stream(pieces) => pieces.poll_recv(context),
        };
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Stream(_) => hyper::body::SizeHint::default(),
        }
    }
}

pub fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    of(status, "text/plain; charset=utf-8", text.into())
}

pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = of(status, "application/json", value.to_string().into());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub fn problem(status: StatusCode, code: &str) -> Response<Body> {
    let problem = serde_json::json!({ "status": status.as_u16(), "code": code });
    of(status, "application/problem+json", problem.to_string().into())
}

pub fn of(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    with_body(status, content_type, Body::Whole(Some(body)))
}

pub fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
