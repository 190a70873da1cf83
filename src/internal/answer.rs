//! Who is answered, and with what.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;

use crate::edge::respond;
use crate::gate::host;
use crate::rejection::{Code, Rejection};
use crate::telemetry::request_id::{Generator, RequestId};

/// The keys of all tenants.
const ALL: &str = "/.well-known/jwks.json";
/// Ends of names that belong to private networks: no stranger can register one and point it here.
const PRIVATE: [&str; 4] = [".localhost", ".internal", ".svc", ".cluster.local"];

/// The JWKS document of one tenant, or of all.
pub(super) type KeySets = Box<dyn Fn(Option<&str>) -> Option<String> + Send + Sync>;

/// What the listener knows.
pub(super) struct Responder {
    key_sets: KeySets,
    names: Generator,
}

impl Responder {
    pub(super) fn new(key_sets: KeySets, seed: [u8; 16]) -> Self {
        Self { key_sets, names: Generator::seeded(seed) }
    }

    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        self.decide(request).unwrap_or_else(|rejection| self.refusal(&rejection))
    }

    fn decide<B>(&self, request: &Request<B>) -> Result<Response<Full<Bytes>>, Rejection> {
        admit(request)?;
        const NO_SUCH_PATH: Rejection =
            Rejection::new(Code::NotFound, "the internal listener has no such path");
        let tenant = match request.uri().path() {
            ALL => None,
            path => Some(tenant_of(path).ok_or(NO_SUCH_PATH)?),
        };
        let document = (self.key_sets)(tenant).ok_or(NO_SUCH_PATH)?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Rejection::new(Code::MethodNotAllowed, "key sets are only read"));
        }
        let mut response = Response::new(Full::from(document));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        Ok(response)
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
        response
    }
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
