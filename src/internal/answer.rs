//! Who is answered, and with what.

use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN,
    WWW_AUTHENTICATE,
};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;

use crate::edge::respond;
use crate::gate::host;
use crate::rejection::{Code, Rejection};
use crate::telemetry::request_id::{Generator, RequestId};

/// The keys of all tenants.
const ALL: &str = "/.well-known/jwks.json";
/// What a session was launched with.
const LAUNCH: &str = "/v1/launch";
/// Ends of names that belong to private networks: no stranger can register one and point it here.
const PRIVATE: [&str; 4] = [".localhost", ".internal", ".svc", ".cluster.local"];

/// What apps may ask.
pub(super) struct Apps {
    /// The JWKS document of one tenant, or of all.
    pub key_set: Box<dyn Fn(Option<&str>) -> Option<String> + Send + Sync>,
    /// What the session of an assertion was launched with.
    pub launch: Box<dyn Fn(&str) -> Option<String> + Send + Sync>,
}

/// What the listener knows.
pub(super) struct Responder {
    apps: Apps,
    names: Generator,
}

impl Responder {
    pub(super) fn new(apps: Apps, seed: [u8; 16]) -> Self {
        Self { apps, names: Generator::seeded(seed) }
    }

    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        self.decide(request).unwrap_or_else(|rejection| self.refusal(&rejection))
    }

    fn decide<B>(&self, request: &Request<B>) -> Result<Response<Full<Bytes>>, Rejection> {
        admit(request)?;
        if request.uri().path() == LAUNCH {
            only_read(request)?;
            return self.launch(request.headers());
        }
        const NO_SUCH_PATH: Rejection =
            Rejection::new(Code::NotFound, "the internal listener has no such path");
        let tenant = match request.uri().path() {
            ALL => None,
            path => Some(tenant_of(path).ok_or(NO_SUCH_PATH)?),
        };
        let document = (self.apps.key_set)(tenant).ok_or(NO_SUCH_PATH)?;
        only_read(request)?;
        Ok(found(document, "application/jwk-set+json", "max-age=60"))
    }

    fn launch(&self, headers: &HeaderMap) -> Result<Response<Full<Bytes>>, Rejection> {
        let refused = |reason| Rejection::new(Code::AssertionInvalid, reason);
        let assertion = bearer(headers).ok_or(refused("a request without a Bearer token"))?;
        let document = (self.apps.launch)(assertion);
        let document = document.ok_or(refused("an assertion that does not count"))?;
        Ok(found(document, "application/json", "no-store"))
    }

    fn refusal(&self, rejection: &Rejection) -> Response<Full<Bytes>> {
        let id = RequestId::new(self.names.next());
        let answer = respond::problem(rejection, id.as_str());
        let mut response = Response::new(Full::from(answer.body));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        for (name, value) in answer.fields {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        if rejection.code == Code::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if rejection.code == Code::AssertionInvalid {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn found(
    document: String,
    media_type: &'static str,
    caching: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

fn only_read<B>(request: &Request<B>) -> Result<(), Rejection> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Rejection::new(Code::MethodNotAllowed, "the internal listener is only read")),
    }
}

/// The one token of RFC 6750, section 2.1. Nobody is to choose which of two counts.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_matches(' '))
}

/// Whether it is an app that asks.
fn admit<B>(request: &Request<B>) -> Result<(), Rejection> {
    let headers = request.headers();
    if headers.contains_key(ORIGIN) {
        return Err(Rejection::new(
            Code::OriginNotAllowed,
            "a web page calls the internal listener",
        ));
    }
    // A target in absolute form names a host too, and nobody is to choose which of them counts.
    let target = request.uri().authority().map(Authority::as_str);
    for name in target.into_iter().chain([host_of(headers)?]) {
        let Ok(host) = host::canonical(name) else {
            return Err(Rejection::new(Code::HostInvalid, "the host cannot be read"));
        };
        if !is_ours_alone(&host.name) {
            return Err(Rejection::new(
                Code::OriginNotAllowed,
                "the internal listener is called by a name that a stranger could own",
            ));
        }
    }
    Ok(())
}

/// Names of tenants need no escape in a path, and are read in one way: as they are.
fn tenant_of(path: &str) -> Option<&str> {
    path.strip_prefix("/tenants/")?.strip_suffix("/jwks.json")
}

fn host_of(headers: &HeaderMap) -> Result<&str, Rejection> {
    let mut fields = headers.get_all(HOST).iter();
    match (fields.next().map(HeaderValue::to_str), fields.next()) {
        (Some(Ok(host)), None) => Ok(host),
        _ => Err(Rejection::new(Code::HostInvalid, "the request needs exactly one host")),
    }
}

/// An address is not a name, so nobody can point it elsewhere. A name of one label (`localhost`, a
/// service of a container network) is nobody's in the public DNS.
fn is_ours_alone(host: &str) -> bool {
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    is_address || !host.contains('.') || PRIVATE.iter().any(|end| host.ends_with(end))
}
