//! Requests that are refused, each with canaries in all places where a request has a secret.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use vestibule::rejection::Code;

use super::secrets::{MARK, NUMBERS, SIGNING};
use crate::firewall::signed::{now, signed};

/// A refusal, and a request that meets it.
pub struct Case {
    pub code: Code,
    pub request: String,
}

/// As a frame of another site asks.
pub const FRAME: &str =
    "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\nSec-Fetch-Site: cross-site\r\n";

/// What browsers, apps and proxies send that others must not have.
pub fn fields() -> String {
    let jwt = format!("{}.{MARK}-jwt.{MARK}", BASE64_STANDARD.encode(r#"{"alg":"HS256"}"#));
    [
        format!("Cookie: sid={MARK}-cookie; __Host-vestibule-0123456789abcdef={MARK}-session\r\n"),
        format!("Authorization: Bearer {jwt}\r\n"),
        format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(MARK)),
        format!(
            "X-Api-Key: {MARK}-key\r\nX-Amz-Security-Token: {MARK}-key\r\nX-Csrf-Token: {MARK}\r\n"
        ),
        format!("X-Vestibule-Assertion: {jwt}\r\nX-Vestibule-User-Id: {MARK}-claim\r\n"),
        format!("Referer: https://chat.test/.v/{MARK}-referer/?signature={MARK}\r\n"),
        format!("User-Agent: {MARK}-agent\r\nX-Request-Id: {MARK}-request\r\n"),
        format!("traceparent: {MARK}-parent\r\ntracestate: a={MARK}\r\nbaggage: user={MARK}\r\n"),
        format!("If-None-Match: \"{MARK}-tag\"\r\nRange: bytes={MARK}\r\n"),
    ]
    .concat()
}

pub fn request(method: &str, host: &str, target: &str, more: &str, body: &str) -> String {
    let length = match body.is_empty() {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let fields = fields();
    format!("{method} {target} HTTP/1.1\r\nHost: {host}.test\r\n{fields}{more}{length}\r\n{body}")
}

pub fn get(host: &str, target: &str) -> String {
    request("GET", host, target, "", "")
}

pub fn frame(host: &str, target: &str) -> String {
    request("GET", host, target, FRAME, "")
}

pub fn form(host: &str, target: &str, body: &str) -> String {
    let more = format!(
        "{FRAME}Origin: https://www.acme.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    );
    request("POST", host, target, &more, body)
}

/// What the bridge says.
pub fn configure(host: &str, origin: &str, json: &str) -> String {
    let more = format!("Origin: {origin}\r\nContent-Type: application/json\r\n");
    request("POST", host, "/.vestibule/config", &more, json)
}

/// What the page around the chat tells of its handshake.
pub fn beacon(json: &str) -> String {
    let more = "Origin: https://www.acme.test\r\nContent-Type: text/plain\r\n";
    request("POST", "chat", &format!("/.vestibule/beacon?t={MARK}"), more, json)
}

pub fn websocket(host: &str, target: &str, key: &str) -> String {
    let more = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: streamlit, {MARK}-protocol\r\n\
         Origin: http://{host}.test\r\n"
    );
    request("GET", host, target, &more, "")
}

/// What a page says to an app that is asked for with these, in the plainest way.
pub fn cases() -> Vec<Case> {
    let mut cases = messages();
    cases.extend(launches());
    cases.extend(signed_launches());
    cases.extend(upstreams());
    cases
}

/// Refused before anybody's rules are looked at, or by those of the place.
fn messages() -> Vec<Case> {
    let query = format!("q={MARK}-query");
    let to = |path: &str| format!("{path}?{query}");
    let field = |line: &str| request("GET", "plain", &to("/a.js"), &format!("{line}\r\n"), "");
    let basic = |more: &str| {
        let request = request("GET", "locked", &to("/a.js"), more, "");
        request.replacen("\r\nAuthorization: Bearer", "\r\nX-Bearer: Bearer", 1)
    };
    let pair = |pair: &str| format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair));
    let case = |code, request| Case { code, request };
    vec![
        case(Code::RequestMalformed, field(&format!("Bad Name: {MARK}"))),
        case(Code::RequestMalformed, format!("{MARK}\r\n\r\n")),
        case(Code::FramingAmbiguous, field("Content-Length: 3\r\nTransfer-Encoding: chunked")),
        case(Code::FramingAmbiguous, field(&format!("Content-Length: {MARK}"))),
        case(Code::HostInvalid, field(&format!("Host: {MARK}"))),
        case(Code::HostInvalid, get("plain", &format!("http://ann:{MARK}@plain.test{}", to("/")))),
        case(Code::PathAmbiguous, get("plain", &to("/a//b"))),
        case(Code::PathAmbiguous, get("plain", &format!("/%zz{MARK}"))),
        case(Code::TargetInvalid, get("plain", &format!("/?{query}#{MARK}"))),
        case(Code::UpgradeInvalid, websocket("plain", &to("/ws"), MARK)),
        case(Code::AddressDenied, get("denied", &to("/"))),
        case(Code::PasswordMissing, basic("")),
        case(Code::PasswordWrong, basic(&pair(&format!("ann:{MARK}-wrong")))),
        case(Code::PasswordWrong, basic(&pair(&format!("{MARK}:{MARK}")))),
        case(Code::NotFound, get("nobody", &to("/"))),
        case(Code::NotFound, get("nobody", &format!("/_stcore/upload_file/{MARK}-upload/file-1"))),
        case(Code::NotFound, get("home", &format!("/.v/{MARK}-token-of-somebody-or-other/x"))),
        case(Code::NotFound, get("chat", &to("/.vestibule/nothing"))),
        case(Code::MethodNotAllowed, request("TRACE", "plain", &to("/"), "", "")),
        case(Code::BodyTooLarge, {
            request("POST", "plain", &to("/a"), "Content-Length: 99999999\r\n", "")
        }),
        case(Code::ExpectationFailed, field(&format!("Expect: {MARK}"))),
        case(Code::HeadersTooLarge, field(&format!("X-Long: {}", MARK.repeat(2000)))),
        case(Code::TransferCodingUnsupported, field(&format!("Transfer-Encoding: {MARK}"))),
        case(Code::VersionUnsupported, get("plain", &to("/")).replacen("HTTP/1.1", "HTTP/2.0", 1)),
        case(Code::TenantHeldBack, get("held", &to("/"))),
        case(Code::PathClosed, get("streamlit", &to("/_stcore/metrics"))),
        case(Code::SessionMissing, {
            get("streamlit", &format!("/_stcore/upload_file/{MARK}-upload/file-1?{query}"))
        }),
        case(Code::SessionInvalid, {
            let below = format!("_stcore/upload_file/{MARK}-upload/file-1?{query}");
            get("streamlit", &format!("/.v/{}/{below}", MARK.repeat(20)))
        }),
    ]
}

fn launches() -> Vec<Case> {
    let open = |host: &str, query: String| frame(host, &format!("/?t={MARK}-query&{query}"));
    let [user, ..] = NUMBERS;
    let prefill = |json: String| {
        open(
            "injected",
            format!("prefillMessages={}", BASE64_STANDARD.encode(json)).replace('+', "%2B"),
        )
    };
    let message = |kind: &str| format!(r#"[{{"role":"user","type":"{kind}","content":"{MARK}"}}]"#);
    let many = vec![message("message").trim_matches(['[', ']']).to_owned(); 51].join(",");
    let case = |code, request| Case { code, request };
    vec![
        case(Code::ParameterDuplicate, open("chat", format!("user_id={MARK}&user_id={user}"))),
        case(Code::ParameterInvalid, open("chat", format!("user_id={user}&direction={MARK}"))),
        case(Code::MetadataContradiction, open("plain", format!("user_id={user}"))),
        case(Code::MetadataContradiction, {
            open("chat", format!("user_id={user}&require_user_id=false"))
        }),
        case(Code::UserIdMissing, open("chat", "mode=customer".into())),
        case(Code::UserIdInvalid, open("chat", format!("user_id={MARK}"))),
        case(Code::UserIdInvalid, form("chat", "/", &format!("user_id={MARK}-form"))),
        case(Code::ModeMismatch, open("chat", format!("mode={MARK}&user_id={user}"))),
        case(Code::ModeMismatch, {
            configure(
                "chat",
                "http://chat.test",
                &format!(r#"{{"mode":"{MARK}","user_id":"{user}"}}"#),
            )
        }),
        case(Code::ParameterInvalid, configure("chat", "http://chat.test", &format!("{{{MARK}"))),
        case(Code::OriginNotAllowed, {
            configure(
                "chat",
                "https://evil.test",
                &format!(r#"{{"mode":"customer","user_id":"{user}"}}"#),
            )
        }),
        case(Code::MediaTypeUnsupported, {
            form("chat", "/", &format!("user_id={user}")).replacen(
                "x-www-form-urlencoded",
                "json",
                1,
            )
        }),
        case(Code::FrameOnly, {
            let tab = FRAME.replace("iframe", "document");
            request("GET", "framed", &format!("/?t={MARK}"), &tab, "")
        }),
        case(Code::PrefetchRefused, {
            let more = format!("{FRAME}Sec-Purpose: prefetch\r\n");
            request("GET", "chat", &format!("/?user_id={user}&t={MARK}"), &more, "")
        }),
        case(Code::BeaconInvalid, beacon(&format!("{{{MARK}"))),
        case(Code::BeaconInvalid, {
            let times = r#""shown":1,"ready":2,"config":3,"ended":4"#;
            beacon(&format!(r#"{{"v":1,{times},"outcome":"ack","launch":"{MARK}"}}"#))
        }),
        case(Code::InjectionNotAllowed, open("other", format!("prefillMessages={MARK}"))),
        case(
            Code::InjectionNotAllowed,
            form("other", "/", &format!("instructionOverrides={MARK}")),
        ),
        case(Code::InjectionMalformed, open("injected", format!("prefillMessages={MARK}!"))),
        case(Code::InjectionMalformed, prefill(format!(r#"{{"{MARK}":"{MARK}"}}"#))),
        case(Code::InjectionMalformed, form("injected", "/", &format!("prefillMessages=[{MARK}"))),
        case(Code::MessageTypeUnknown, prefill(message(MARK))),
        case(Code::ContentOverLimit, open("injected", format!("plan={}", MARK.repeat(5)))),
        case(Code::ContentOverLimit, prefill(format!("[{many}]"))),
    ]
}

fn signed_launches() -> Vec<Case> {
    let [_, user, _] = NUMBERS;
    let words = [("user_id", user), ("t", MARK)];
    let open = |query: &str| frame("signed", &format!("/?{query}"));
    let good = signed(SIGNING, &words, now());
    let case = |code, request| Case { code, request };
    vec![
        case(Code::SignatureMissing, open(&format!("user_id={user}&t={MARK}"))),
        case(Code::SignatureInvalid, open(&good.replace(MARK, &format!("{MARK}2")))),
        case(Code::SignatureInvalid, open(&format!("{}x", good))),
        case(Code::SignatureInvalid, open(&signed(MARK, &words, now()))),
        case(Code::SignatureInvalid, form("signed", "/", &signed(MARK, &words, now()))),
        case(
            Code::TimestampMissing,
            open(&format!("user_id={user}&signature={}", "ab".repeat(32))),
        ),
        case(Code::TimestampInvalid, {
            open(&format!("user_id={user}&timestamp={MARK}&signature={}", "ab".repeat(32)))
        }),
        case(Code::TimestampInvalid, open(&signed(SIGNING, &words, now() / 1000))),
        case(Code::TimestampStale, open(&signed(SIGNING, &words, now() - 600_000))),
        case(Code::IdentityUnproven, {
            configure("signed", "http://signed.test", &format!(r#"{{"user_id":"{user}"}}"#))
        }),
        case(Code::TokenMissing, frame("signed", &format!("/embed/prj_42/?t={MARK}"))),
        case(Code::TokenInvalid, frame("signed", &format!("/embed/prj_42/?token={MARK}"))),
    ]
}

/// The app is at fault, and whoever asked was let through.
fn upstreams() -> Vec<Case> {
    let query = format!("q={MARK}-query");
    let case = |code, request| Case { code, request };
    vec![
        case(Code::UpstreamUnreachable, get("away", &format!("/a?{query}"))),
        case(Code::UpstreamInvalid, get("plain", &format!("/invalid?{query}"))),
        case(Code::UpstreamClosed, request("POST", "plain", &format!("/closed?{query}"), "", MARK)),
        case(Code::UpstreamTimeout, get("hasty", &format!("/silent?{query}"))),
    ]
}
