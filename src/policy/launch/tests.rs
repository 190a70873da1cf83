use super::*;
use AppKind::{Generic, Rasa, SocketIo, Sse, Streamlit};

const GET: Kind = Kind::Launch(Launch::Get);
const POST: Kind = Kind::Launch(Launch::Post);
const HANDSHAKE: Kind = Kind::Launch(Launch::Handshake);
const MESSAGE: Kind = Kind::Message;
const OTHER: Kind = Kind::Other;

/// `request` is a method, a target and header lines, separated by " | ".
fn check(app: AppKind, request: &str, expected: Kind) {
    let mut parts = request.split(" | ");
    let (method, target) = parts.next().and_then(|line| line.split_once(' ')).unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let fields: Vec<(&str, &str)> = parts.map(|line| line.split_once(": ").unwrap()).collect();
    let field = |name| fields.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_bytes());
    let facts = Facts {
        method: &method,
        path,
        query,
        fetch_mode: field("mode"),
        accept: field("accept"),
        content_type: field("type"),
    };
    assert_eq!(classify(app, &facts), expected, "{app:?}: {request}");
}

#[test]
fn a_navigation_to_a_document_path_is_a_launch() {
    for (app, request, expected) in [
        (Streamlit, "GET / | mode: navigate", GET),
        (Streamlit, "GET /?mode=public | mode: navigate", GET),
        (Streamlit, "GET /reports | mode: navigate", GET),
        (Streamlit, "GET /reports/ | mode: navigate", GET),
        (Streamlit, "GET /nested/page | mode: navigate", GET),
        (Streamlit, "GET /media | mode: navigate", GET),
        (Streamlit, "GET /caf%C3%A9 | mode: navigate", GET),
        (Streamlit, "POST / | mode: navigate | type: application/x-www-form-urlencoded", POST),
        // A navigation all the same; the signature stage answers 415.
        (Streamlit, "POST / | mode: navigate | type: text/plain", POST),
        (Streamlit, "POST / | mode: navigate", POST),
        (Generic, "GET / | mode: navigate", GET),
        (Generic, "POST / | mode: navigate", POST),
        (Generic, "GET /page | mode: navigate", OTHER),
        (Streamlit, "HEAD / | mode: navigate", OTHER),
        (Streamlit, "OPTIONS / | mode: navigate", OTHER),
        (Streamlit, "GET / | mode: cors | accept: text/html", OTHER),
        (Streamlit, "GET / | mode: no-cors | accept: text/html", OTHER),
        (Streamlit, "GET / | mode: websocket", OTHER),
        (Streamlit, "GET / | mode: Navigate", OTHER),
        (Streamlit, "POST / | mode: cors | type: application/x-www-form-urlencoded", OTHER),
    ] {
        check(app, request, expected);
    }
}

#[test]
fn without_fetch_metadata_a_page_request_or_a_form_is_a_launch() {
    for (request, expected) in [
        ("GET / | accept: text/html,application/xhtml+xml,*/*;q=0.8", GET),
        ("GET / | accept: application/json, TEXT/HTML;level=1", GET),
        ("GET / | accept: text/*", GET),
        ("GET / | accept: */*", GET),
        ("GET /", GET),
        ("GET / | accept: application/json", OTHER),
        ("GET / | accept: text/event-stream", OTHER),
        ("GET / | accept: image/avif,image/webp", OTHER),
        ("GET / | accept: text/html;q=0, */*", OTHER),
        ("GET / | accept: text/html; q=0.000", OTHER),
        ("GET / | accept: text/html;q=0.1", GET),
        ("GET / | accept: ", OTHER),
        ("POST / | type: application/x-www-form-urlencoded", POST),
        ("POST / | type: Application/X-WWW-Form-Urlencoded ; charset=utf-8", POST),
        ("POST / | type: multipart/form-data; boundary=x", POST),
        ("POST / | type: application/json | accept: text/html", OTHER),
        ("POST / | type: text/plain", OTHER),
        ("POST / | accept: text/html", OTHER),
        ("PUT / | type: application/x-www-form-urlencoded", OTHER),
    ] {
        check(Streamlit, request, expected);
        check(Generic, request, expected);
    }
}

#[test]
fn what_a_cold_streamlit_page_loads_is_no_launch() {
    for path in [
        "/_stcore/health",
        "/_stcore/host-config",
        "/_stcore/stream",
        "/_stcore/upload_file/session/file",
        "/_stcore",
        "/page/_stcore/health",
        "/healthz",
        "/static/js/index.CbQtRkVt.js",
        "/static/css/main",
        "/media/4f2a",
        "/media/4f2a.png",
        "/component/my.component/index",
        "/component/my.component/index.html",
        "/vendor/bokeh/bokeh",
        "/app/static/logo",
        "/.vestibule/embed.js",
        "/.vestibule/config",
        "/favicon.ico",
        "/favicon.png",
        "/manifest.json",
        "/reports.csv",
    ] {
        for fields in ["", " | accept: */*", " | mode: navigate | accept: text/html"] {
            check(Streamlit, &format!("GET {path}{fields}"), OTHER);
            check(Streamlit, &format!("POST {path}{fields} | type: multipart/form-data"), OTHER);
        }
    }
}

#[test]
fn a_message_is_a_post_to_a_message_endpoint() {
    for (app, request, expected) in [
        (Rasa, "POST /webhooks/rest/webhook", MESSAGE),
        (Rasa, "POST /webhooks/rest/webhook/", MESSAGE),
        (Rasa, "POST /webhooks/rest/webhook?stream=true | mode: cors", MESSAGE),
        (Rasa, "POST /webhooks/callback/webhook", MESSAGE),
        (Rasa, "GET /webhooks/rest/", OTHER),
        (Rasa, "OPTIONS /webhooks/rest/webhook", OTHER),
        (Rasa, "POST /webhooks/", OTHER),
        (Rasa, "POST /webhooksx/rest", OTHER),
        (Rasa, "POST /model/parse", OTHER),
        (Rasa, "GET / | mode: navigate", OTHER),
        (Sse, "POST /chat", MESSAGE),
        (Sse, "POST / | mode: cors", MESSAGE),
        (Sse, "GET /chat | accept: text/event-stream", OTHER),
        (Sse, "OPTIONS /chat", OTHER),
        (Sse, "DELETE /chat", OTHER),
        // Streamlit's messages are socket frames, and a generic app has no endpoint that we know.
        (Streamlit, "POST /reports | type: application/json", OTHER),
        (Generic, "POST /api/chat | type: application/json", OTHER),
    ] {
        check(app, request, expected);
    }
}

#[test]
fn a_socket_io_connection_is_a_launch_once() {
    for app in [Rasa, SocketIo] {
        for (request, expected) in [
            ("GET /socket.io/?EIO=4&transport=polling", HANDSHAKE),
            ("GET /socket.io/?EIO=4&transport=websocket | mode: websocket", HANDSHAKE),
            ("GET /socket.io?EIO=4&transport=polling", HANDSHAKE),
            ("GET /socket.io/", HANDSHAKE),
            ("GET /socket.io/?EIO=4&transport=polling&sid=", HANDSHAKE),
            ("GET /socket.io/?EIO=4&transport=polling&notsid=x", HANDSHAKE),
            ("GET /socket.io/?EIO=4&transport=polling&sid=abc", OTHER),
            ("GET /socket.io/?sid=abc&EIO=4&transport=websocket", OTHER),
            ("POST /socket.io/?EIO=4&transport=polling&sid=abc", OTHER),
            ("POST /socket.io/?EIO=4&transport=polling", OTHER),
            ("OPTIONS /socket.io/?EIO=4&transport=polling", OTHER),
            ("GET /socket.io/socket.io.js", OTHER),
            ("GET /socket.iox/?EIO=4", OTHER),
        ] {
            check(app, request, expected);
        }
    }
}
