//! Who may call, as tables; and that no spelling gets around them.

use proptest::prelude::*;

use super::*;
use crate::gate::host;
use crate::pipeline::Scheme;

const EMBED: [&str; 3] =
    ["https://www.shop.example", "https://*.partner.example", "http://localhost:3000"];

fn rules(embed: &[&str]) -> OriginRules {
    OriginRules {
        embed: embed.iter().map(|text| AllowedOrigin::parse(text).unwrap()).collect(),
        opens: Opens::Anywhere,
        opaque_launch: OpaqueLaunch::Proven,
    }
}

/// A request to `https://chat.example:8443` with these header fields.
struct Case<'c> {
    method: Method,
    kind: Kind,
    fields: &'c [(&'c str, &'c str)],
}

impl Case<'_> {
    fn with<T>(&self, judge: impl Fn(&Facts<'_>) -> T) -> T {
        let mut fields = Fields::default();
        for (name, value) in self.fields {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let host = host::canonical("Chat.example:8443").unwrap();
        let own = Address::own(Scheme::Https, &host);
        let headers = Headers::read(&fields);
        judge(&Facts { method: &self.method, kind: self.kind, own: &own, headers: &headers })
    }

    fn code(&self, rules: &OriginRules, reach: Reach, credential: Credential) -> &'static str {
        self.with(|facts| match rules.check(reach, facts, credential) {
            Ok(checked) => match checked.caller() {
                Caller::Unknown => "unknown",
                Caller::Own => "own",
                Caller::Embedder => "embedder",
                Caller::Opaque => "opaque",
            },
            Err(rejection) => rejection.code.as_str(),
        })
    }
}

const NO: &str = "origin_not_allowed";

#[test]
fn a_cookie_alone_carries_only_requests_of_known_pages() {
    use Credential::{Cookie, Explicit, None};
    use Kind::{Launch, Request, WebSocket};
    use Reach::{EmbedOrigins, OwnOrigin};
    let own = "https://chat.example:8443";
    let shop = "https://www.shop.example";
    for (reach, kind, method, origin, credential, expected) in [
        // Without Origin.
        (OwnOrigin, Request, "GET", "", Cookie, "unknown"),
        (OwnOrigin, Request, "HEAD", "", None, "unknown"),
        (OwnOrigin, Request, "OPTIONS", "", Cookie, "unknown"),
        (OwnOrigin, Launch, "GET", "", Cookie, "unknown"),
        (OwnOrigin, Request, "POST", "", Cookie, NO),
        (OwnOrigin, Request, "POST", "", None, "unknown"),
        (OwnOrigin, Request, "PUT", "", Cookie, NO),
        (OwnOrigin, Request, "DELETE", "", Cookie, NO),
        (OwnOrigin, Request, "POST", "", Explicit, "unknown"),
        (EmbedOrigins, Request, "POST", "", Explicit, "unknown"),
        (EmbedOrigins, Request, "POST", "", Cookie, NO),
        (OwnOrigin, WebSocket, "GET", "", Cookie, NO),
        (EmbedOrigins, WebSocket, "GET", "", Explicit, "unknown"),
        (OwnOrigin, WebSocket, "CONNECT", "", None, "unknown"),
        (OwnOrigin, Launch, "POST", "", None, NO),
        (OwnOrigin, Launch, "POST", "", Cookie, NO),
        (OwnOrigin, Launch, "POST", "", Explicit, "unknown"),
        // The persona's own.
        (OwnOrigin, Request, "POST", own, Cookie, "own"),
        (OwnOrigin, WebSocket, "GET", own, Cookie, "own"),
        (EmbedOrigins, WebSocket, "GET", own, None, "own"),
        (OwnOrigin, Launch, "POST", "HTTPS://CHAT.example:8443", Cookie, "own"),
        (OwnOrigin, Request, "POST", "https://chat.example", Cookie, NO),
        (OwnOrigin, Request, "POST", "http://chat.example:8443", Cookie, NO),
        (OwnOrigin, Request, "POST", "https://chat.example.evil.example:8443", Cookie, NO),
        // One that may embed.
        (OwnOrigin, Request, "POST", shop, Cookie, NO),
        (OwnOrigin, Request, "GET", shop, Cookie, NO),
        (OwnOrigin, Request, "POST", shop, Explicit, NO),
        (OwnOrigin, WebSocket, "GET", shop, Cookie, NO),
        (OwnOrigin, Launch, "POST", shop, None, "embedder"),
        (EmbedOrigins, Request, "POST", shop, Cookie, "embedder"),
        (EmbedOrigins, Request, "GET", shop, None, "embedder"),
        (EmbedOrigins, WebSocket, "GET", shop, Explicit, "embedder"),
        (EmbedOrigins, WebSocket, "GET", "https://a.partner.example", Cookie, "embedder"),
        (EmbedOrigins, WebSocket, "GET", "https://a.b.partner.example", Cookie, "embedder"),
        (EmbedOrigins, WebSocket, "GET", "https://partner.example", Cookie, NO),
        (EmbedOrigins, WebSocket, "GET", "https://evilpartner.example", Cookie, NO),
        (EmbedOrigins, WebSocket, "GET", "http://a.partner.example", Cookie, NO),
        (EmbedOrigins, Request, "POST", "http://localhost:3000", Cookie, "embedder"),
        (EmbedOrigins, Request, "POST", "http://localhost:3001", Cookie, NO),
        // Any other: a token does not help a foreign page.
        (EmbedOrigins, Request, "POST", "https://evil.example", Explicit, NO),
        (EmbedOrigins, WebSocket, "GET", "https://evil.example", Explicit, NO),
        (OwnOrigin, Launch, "POST", "https://evil.example", Explicit, NO),
        (EmbedOrigins, Request, "POST", "https://www.shop.example/", Cookie, NO),
        (EmbedOrigins, Request, "POST", "https://www.shop.example https://x", Cookie, NO),
        (EmbedOrigins, Request, "POST", "https://x@www.shop.example", Cookie, NO),
        (EmbedOrigins, Request, "POST", "www.shop.example", Cookie, NO),
        (EmbedOrigins, Request, "POST", "chrome-extension://abc", Explicit, NO),
        // null.
        (EmbedOrigins, Request, "POST", "null", Explicit, NO),
        (EmbedOrigins, WebSocket, "GET", "null", Cookie, NO),
        (OwnOrigin, Request, "GET", "null", Cookie, NO),
        (OwnOrigin, Launch, "POST", "null", Cookie, NO),
        (OwnOrigin, Launch, "POST", "null", Explicit, "opaque"),
        (OwnOrigin, Launch, "POST", "NULL", Explicit, NO),
    ] {
        let sent = [("Origin", origin)];
        let fields = if origin.is_empty() { &[][..] } else { &sent[..] };
        let case = Case { method: method.parse().unwrap(), kind, fields };
        let found = case.code(&rules(&EMBED), reach, credential);
        assert_eq!(found, expected, "{reach:?} {kind:?} {method} {origin:?} {credential:?}");
    }
}

#[test]
fn an_unsigned_public_persona_is_launched_by_pages_without_an_origin() {
    let free = OriginRules { opaque_launch: OpaqueLaunch::Free, ..rules(&EMBED) };
    for (kind, fields, expected) in [
        (Kind::Launch, &[("Origin", "null")][..], "opaque"),
        (Kind::Launch, &[("Origin", "file://")], "opaque"),
        (Kind::Launch, &[], "unknown"),
        (Kind::Launch, &[("Origin", "https://evil.example")], NO),
        (Kind::Request, &[("Origin", "null")], NO),
        (Kind::Request, &[], "unknown"),
        (Kind::WebSocket, &[], "unknown"),
    ] {
        let case = Case { method: Method::POST, kind, fields };
        assert_eq!(case.code(&free, Reach::OwnOrigin, Credential::None), expected, "{fields:?}");
    }
}

#[test]
fn pages_from_files_call_with_a_token_where_files_may_embed() {
    for (embed, credential, expected) in [
        (&["file:"][..], Credential::Explicit, "opaque"),
        (&["file:"], Credential::Cookie, NO),
        (&[], Credential::Explicit, NO),
    ] {
        for origin in ["null", "file://"] {
            let case =
                Case { method: Method::POST, kind: Kind::Request, fields: &[("Origin", origin)] };
            assert_eq!(case.code(&rules(embed), Reach::EmbedOrigins, credential), expected);
        }
    }
}

#[test]
fn only_a_page_that_may_embed_the_chat_is_around_it() {
    let files = ["file:", "https://www.shop.example"];
    for (embed, fields, expected) in [
        (&EMBED[..], &[("origin", "https://www.shop.example")][..], Some(Caller::Embedder)),
        (&EMBED, &[("origin", "https://a.partner.example")], Some(Caller::Embedder)),
        (&EMBED, &[("origin", "http://www.shop.example")], None),
        (&EMBED, &[("origin", "https://chat.example:8443")], None),
        (&EMBED, &[("origin", "https://evil.example")], None),
        (&EMBED, &[("origin", "null")], None),
        (&EMBED, &[("origin", "null"), ("sec-fetch-site", "same-origin")], None),
        (&EMBED, &[("origin", "https://www.shop.example/")], None),
        (&EMBED, &[("origin", "https://www.shop.example"), ("origin", "null")], None),
        (&EMBED, &[], None),
        (&[], &[("origin", "https://www.shop.example")], None),
        (&files, &[("origin", "null")], Some(Caller::Opaque)),
        (
            &["https://chat.example:8443"],
            &[("origin", "https://chat.example:8443")],
            Some(Caller::Embedder),
        ),
    ] {
        let case = Case { method: Method::POST, kind: Kind::Request, fields };
        let rules = rules(embed);
        case.with(|facts| match (rules.embedder(facts.headers), expected) {
            (Ok(caller), Some(expected)) => assert_eq!(caller, expected, "{embed:?} {fields:?}"),
            (Err(refused), None) => assert_eq!(refused.code.as_str(), NO),
            (judged, _) => panic!("{embed:?} {fields:?}: {judged:?}"),
        });
    }
}

#[test]
fn sec_fetch_site_speaks_for_null_and_refutes_an_origin_of_ours() {
    let own = ("Origin", "https://chat.example:8443");
    for (kind, fields, expected) in [
        (Kind::Request, [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")], "own"),
        (Kind::Launch, [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")], "own"),
        (Kind::Request, [("Origin", "null"), ("Sec-Fetch-Site", "same-site")], NO),
        (Kind::WebSocket, [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")], NO),
        (Kind::Request, [own, ("Sec-Fetch-Site", "same-origin")], "own"),
        (Kind::Request, [own, ("sec-fetch-site", "cross-site")], NO),
        (Kind::Request, [("X", ""), ("Sec-Fetch-Site", "same-origin")], NO),
        (
            Kind::Request,
            [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")],
            NO,
        ),
        (Kind::Request, [own, own], NO),
        (Kind::Request, [own, ("Origin", "https://evil.example")], NO),
    ] {
        let case = Case { method: Method::POST, kind, fields: &fields };
        let found = case.code(&rules(&EMBED), Reach::OwnOrigin, Credential::Cookie);
        assert_eq!(found, expected, "{fields:?}");
    }
}

#[test]
fn a_frame_only_persona_does_not_open_in_a_tab() {
    let framed = OriginRules { opens: Opens::InFrames, ..rules(&EMBED) };
    for (fields, expected) in [
        (&[("Sec-Fetch-Dest", "document")][..], "frame_only"),
        (&[("sec-fetch-dest", "iframe"), ("Sec-Fetch-Dest", "document")], "frame_only"),
        (&[("Sec-Fetch-Dest", "iframe")], "unknown"),
        (&[("Sec-Fetch-Dest", "script")], "unknown"),
        // An old browser does not tell.
        (&[], "unknown"),
    ] {
        let case = Case { method: Method::GET, kind: Kind::Launch, fields };
        assert_eq!(case.code(&framed, Reach::OwnOrigin, Credential::None), expected, "{fields:?}");
    }
    let case =
        Case { method: Method::GET, kind: Kind::Launch, fields: &[("Sec-Fetch-Dest", "document")] };
    assert_eq!(case.code(&rules(&[]), Reach::OwnOrigin, Credential::None), "unknown");
}

/// The fields of an answer, one a line.
fn cors(embed: &[&str], reach: Reach, kind: Kind, origin: &str) -> String {
    let sent = [("Origin", origin)];
    let fields = if origin.is_empty() { &[][..] } else { &sent[..] };
    Case { method: Method::GET, kind, fields }.with(|facts| {
        let cors = rules(embed).cors(reach, facts);
        let lines: Vec<_> = cors.fields().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(cors.replaces_the_upstreams(), !lines.is_empty());
        lines.join("\n")
    })
}

#[test]
fn cors_names_the_exact_origin_and_never_null_with_credentials() {
    let granted = |origin: &str, credentials: &str| {
        format!(
            "Access-Control-Allow-Origin: {origin}\n{credentials}Access-Control-Expose-Headers: \
             X-Request-Id, Retry-After, RateLimit, RateLimit-Policy\nVary: Origin"
        )
    };
    let with = "Access-Control-Allow-Credentials: true\n";
    for (embed, reach, kind, origin, expected) in [
        (&EMBED[..], Reach::EmbedOrigins, Kind::Request, EMBED[0], granted(EMBED[0], with)),
        (
            &EMBED,
            Reach::EmbedOrigins,
            Kind::Request,
            "https://a.partner.example",
            granted("https://a.partner.example", with),
        ),
        (&["file:"], Reach::EmbedOrigins, Kind::Request, "null", granted("null", "")),
        (&EMBED, Reach::EmbedOrigins, Kind::Request, "null", "Vary: Origin".into()),
        (&EMBED, Reach::EmbedOrigins, Kind::Request, "https://evil.example", "Vary: Origin".into()),
        (&EMBED, Reach::EmbedOrigins, Kind::Request, "", "Vary: Origin".into()),
        (&EMBED, Reach::OwnOrigin, Kind::Request, EMBED[0], String::new()),
        (&EMBED, Reach::EmbedOrigins, Kind::Launch, EMBED[0], String::new()),
        (&EMBED, Reach::EmbedOrigins, Kind::WebSocket, EMBED[0], String::new()),
    ] {
        assert_eq!(cors(embed, reach, kind, origin), expected, "{reach:?} {kind:?} {origin}");
    }
}

#[test]
fn a_preflight_is_granted_what_it_asks_for_by_name() {
    let asks = ("Access-Control-Request-Method", "POST");
    let names = "Access-Control-Request-Headers";
    let shop = ("Origin", "https://www.shop.example");
    let granted = |method: &str, headers: &str| {
        format!(
            "Access-Control-Allow-Origin: https://www.shop.example\n\
             Access-Control-Allow-Credentials: true\nAccess-Control-Allow-Methods: {method}\n\
             {headers}Access-Control-Max-Age: 600\nVary: Origin, Access-Control-Request-Method, \
             Access-Control-Request-Headers"
        )
    };
    let put = ("Access-Control-Request-Method", "PUT");
    for (reach, fields, expected) in [
        (Reach::EmbedOrigins, &[shop, asks][..], granted("POST", "")),
        (Reach::EmbedOrigins, &[shop, put, (names, "")], granted("PUT", "")),
        (
            Reach::EmbedOrigins,
            &[shop, asks, (names, "authorization, x-session-token")],
            granted("POST", "Access-Control-Allow-Headers: authorization, x-session-token\n"),
        ),
        (Reach::EmbedOrigins, &[shop, asks, (names, "a b")], NO.into()),
        (Reach::EmbedOrigins, &[shop, asks, (names, "a:b")], NO.into()),
        (Reach::EmbedOrigins, &[shop, ("Access-Control-Request-Method", "BREW")], NO.into()),
        (Reach::EmbedOrigins, &[("Origin", "https://evil.example"), asks], NO.into()),
        (Reach::EmbedOrigins, &[("Origin", "null"), asks], NO.into()),
        (Reach::OwnOrigin, &[shop, asks], NO.into()),
        // No preflights.
        (Reach::OwnOrigin, &[("Origin", "https://chat.example:8443"), asks], "none".into()),
        (Reach::EmbedOrigins, &[shop], "none".into()),
        (Reach::EmbedOrigins, &[asks], "none".into()),
    ] {
        let case = Case { method: Method::OPTIONS, kind: Kind::Request, fields };
        let found = case.with(|facts| match rules(&EMBED).preflight(reach, facts) {
            Ok(Some(preflight)) => {
                let line = |(name, value)| format!("{name}: {value}");
                preflight.fields().map(line).collect::<Vec<_>>().join("\n")
            }
            Ok(None) => "none".into(),
            Err(rejection) => rejection.code.as_str().into(),
        });
        assert_eq!(found, expected, "{fields:?}");
    }
    let case = Case { method: Method::POST, kind: Kind::Request, fields: &[shop, asks] };
    assert!(case.with(|facts| rules(&EMBED).preflight(Reach::EmbedOrigins, facts) == Ok(None)));
}

#[test]
fn configured_origins_are_serialised_as_browsers_do() {
    for (text, expected) in [
        ("https://www.Example.com", "https://www.example.com"),
        ("HTTPS://example.com:443", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("https://*.Example.com:8443", "https://*.example.com:8443"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::0:1]:3000", "http://[::1]:3000"),
        ("file:", "file:"),
    ] {
        let allowed = AllowedOrigin::parse(text).unwrap();
        assert_eq!(allowed.as_str(), expected);
        assert_eq!(AllowedOrigin::parse(expected), Ok(allowed));
    }
}

#[test]
fn what_is_no_origin_is_refused_with_what_to_write() {
    for (text, hint) in [
        ("", "scheme and host"),
        ("www.example.com", "scheme and host"),
        ("null", "scheme and host"),
        ("*", "scheme and host"),
        ("https://www.example.com/", "write https://www.example.com"),
        ("https://www.example.com/page?x", "write https://www.example.com"),
        ("ftp://www.example.com", "https://HOST"),
        ("https://a b", "https://HOST"),
        ("https://user@example.com", "https://HOST"),
        ("https://example.com:99999", "https://HOST"),
        ("https://*", "https://HOST"),
        ("https://*.com", "domain of its own"),
        ("https://*.1.2.3.4", "domain of its own"),
        ("https://a.*.example.com", "https://HOST"),
        ("https://a.example;x", "https://HOST"),
    ] {
        let why = AllowedOrigin::parse(text).expect_err(text);
        assert!(why.contains(hint), "{why}");
    }
}

#[test]
fn each_app_kind_has_its_reach() {
    for (app, expected) in [
        (AppKind::Streamlit, Reach::OwnOrigin),
        (AppKind::Generic, Reach::OwnOrigin),
        (AppKind::Rasa, Reach::EmbedOrigins),
        (AppKind::SocketIo, Reach::EmbedOrigins),
        (AppKind::Sse, Reach::EmbedOrigins),
    ] {
        assert_eq!(Reach::of(app), expected, "{app:?}");
    }
}

/// The body of a fuzz target: any bytes as `Origin`, at every endpoint, for every request.
fn fuzz(bytes: &[u8]) {
    let host = host::canonical("chat.example").unwrap();
    let own = Address::own(Scheme::Https, &host);
    let headers = Headers { origin: OriginField::parse(bytes), ..Headers::default() };
    let known = ["https://chat.example", "https://www.shop.example", "http://localhost:3000"];
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let plain = text.replacen(":443", "", 1).replacen("example.", "example", 1);
    let is_known = known.contains(&&*plain) || text.contains(".partner.example");
    for kind in [Kind::Launch, Kind::Request, Kind::WebSocket] {
        for reach in [Reach::OwnOrigin, Reach::EmbedOrigins] {
            let facts = Facts { method: &Method::POST, kind, own: &own, headers: &headers };
            let passes = rules(&EMBED).check(reach, &facts, Credential::Cookie).is_ok();
            assert!(!passes || is_known, "{:?} passes", bytes.escape_ascii().to_string());
        }
    }
}

#[test]
fn nobody_listens_at_port_zero() {
    for text in ["http://a:0", "https://*.a.example:00"] {
        let wrong = AllowedOrigin::parse(text).unwrap_err();
        assert!(wrong.contains("from 1 to 65535"), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_bytes_pass_for_a_known_origin(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        fuzz(&bytes);
    }

    #[test]
    fn no_spelling_passes_for_a_known_origin(
        scheme in "(https?|HTTPS|wss|)(://|:/|:)?",
        host in "(chat|www\\.shop|a\\.partner|partner|evil|localhost|[a-z.@:/ ]{1,4}){1,2}(\\.example)?",
        end in "(\\.|:443|:3000|/|@|%00|)",
    ) {
        fuzz(format!("{scheme}{host}{end}").as_bytes());
    }

    #[test]
    fn what_the_configuration_accepts_can_stand_in_a_policy(text in "https?://(\\*\\.)?[a-zA-Z0-9._:;, '-]{1,20}") {
        if let Ok(origin) = AllowedOrigin::parse(&text) {
            prop_assert_eq!(crate::policy::csp::check_source(origin.as_str()), Ok(()));
        }
    }
}
