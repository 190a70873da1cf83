//! What CORS says to scripts of other origins, as header fields (Fetch standard, section 3.2).
//!
//! The upstream's own `Access-Control-*` fields give way to these: two answers are no answer.

/// Fields of ours that such scripts may read.
const EXPOSED: &str = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy";
/// Seconds for which a preflight holds; short, because a reload may take an origin away.
const MAX_AGE: &str = "600";

/// What is added to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors<'r> {
    grant: Grant<'r>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant<'r> {
    /// The endpoint has nothing to do with CORS.
    None,
    /// It has, but this caller is granted nothing.
    Varying,
    /// The exact origin, with credentials.
    Named(&'r str),
    /// Any page can be `null`: never with credentials that browsers attach by themselves.
    Opaque(&'r str),
}

/// A field to set, beside those of the upstream where it is `Vary`.
pub type HeaderField<'h> = (&'static str, &'h str);

impl<'r> Cors<'r> {
    pub(super) fn none() -> Self {
        Self { grant: Grant::None }
    }

    pub(super) fn varying() -> Self {
        Self { grant: Grant::Varying }
    }

    pub(super) fn named(origin: &'r str) -> Self {
        Self { grant: Grant::Named(origin) }
    }

    pub(super) fn opaque(origin: &'r str) -> Self {
        Self { grant: Grant::Opaque(origin) }
    }

    /// Whether the upstream's `Access-Control-*` fields are to be removed.
    pub fn replaces_the_upstreams(&self) -> bool {
        self.grant != Grant::None
    }

    /// The fields of an answer. `Vary` stands there for callers without `Origin` too: what a cache
    /// keeps of theirs must not serve others.
    pub fn fields(&self) -> impl Iterator<Item = HeaderField<'_>> {
        let expose = self.origin().map(|_| ("Access-Control-Expose-Headers", EXPOSED));
        let vary = (self.grant != Grant::None).then_some(("Vary", "Origin"));
        self.grants().chain(expose).chain(vary)
    }

    fn origin(&self) -> Option<&str> {
        match self.grant {
            Grant::None | Grant::Varying => None,
            Grant::Named(origin) | Grant::Opaque(origin) => Some(origin),
        }
    }

    fn grants(&self) -> impl Iterator<Item = HeaderField<'_>> {
        let origin = self.origin().map(|origin| ("Access-Control-Allow-Origin", origin));
        let is_named = matches!(self.grant, Grant::Named(_));
        let credentials = is_named.then_some(("Access-Control-Allow-Credentials", "true"));
        origin.into_iter().chain(credentials)
    }
}

/// A 204 that says what the real request may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight<'r> {
    cors: Cors<'r>,
    method: &'r str,
    headers: Option<&'r str>,
}

impl<'r> Preflight<'r> {
    /// `None` where the origin is granted nothing or what it asks for is no method or field name.
    pub(super) fn new(cors: Cors<'r>, method: &'r [u8], headers: Option<&'r [u8]>) -> Option<Self> {
        const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        cors.origin()?;
        let method = std::str::from_utf8(method).ok().filter(|name| METHODS.contains(name))?;
        let headers = match headers {
            None => None,
            Some(names) => Some(std::str::from_utf8(names).ok().filter(|names| is_names(names))?),
        };
        Some(Self { cors, method, headers: headers.filter(|names| !names.is_empty()) })
    }

    /// What was asked for is granted by name, because `*` means nothing beside credentials. Fields
    /// that only we may set are removed from requests, however they got there.
    pub fn fields(&self) -> impl Iterator<Item = HeaderField<'_>> {
        let headers = self.headers.map(|names| ("Access-Control-Allow-Headers", names));
        self.cors
            .grants()
            .chain([("Access-Control-Allow-Methods", self.method)])
            .chain(headers)
            .chain([
                ("Access-Control-Max-Age", MAX_AGE),
                ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
            ])
    }
}

/// A list of field names (RFC 9110, section 5.1).
fn is_names(list: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    list.split(',').all(|name| name.trim_matches([' ', '\t']).bytes().all(is_token))
}
