//! Paths, answers and cookies of Streamlit, as tables.

use proptest::prelude::*;

use super::*;
use crate::gate::path::canonical;
use crate::policy::origin::AllowedOrigin;

#[test]
fn paths_are_what_streamlit_makes_of_them() {
    use Endpoint::*;
    for (path, base, expected) in [
        ("/", "", Page),
        ("/page", "", Page),
        ("/page/", "", Page),
        ("/a/page", "", Page),
        ("/favicon.png", "", Asset),
        ("/manifest.json", "", Asset),
        ("/static/js/index.DormvYxC.js", "", Asset),
        ("/static/media/font", "", Asset),
        ("/app/static/logo", "", Asset),
        ("/media/0123abcd.png", "", Asset),
        ("/component/my.component/index.html", "", Asset),
        ("/_stcore/bidi-components/x/y", "", Asset),
        ("/static", "", Page),
        ("/_stcore/health", "", Health),
        ("/_stcore/health/", "", Health),
        ("/healthz", "", Page),
        ("/_stcore/host-config", "", HostConfig),
        ("/_stcore/host-config/", "", HostConfig),
        ("/_stcore/stream", "", Stream),
        ("/_stcore/stream/", "", Stream),
        ("/_stcore/upload_file/5e55/f11e", "", Upload),
        ("/_stcore/upload_file", "", Core),
        ("/_stcore/message", "", Message),
        ("/_stcore/other", "", Core),
        ("/auth/login", "", Auth),
        ("/oauth2callback", "", Auth),
        // The browser looks for its base here, and must not find it.
        ("/page/_stcore/host-config", "", Page),
        ("/page/_stcore/health", "", Page),
        ("/my_stcore/host-config", "", Page),
        // Behind server.baseUrlPath everything moves.
        ("/base", "/base", Page),
        ("/base/", "/base", Page),
        ("/base/page", "/base", Page),
        ("/base/_stcore/host-config", "/base", HostConfig),
        ("/base/_stcore/stream", "/base", Stream),
        ("/base/a/_stcore/stream", "/base", Page),
        ("/_stcore/host-config", "/base", Page),
        ("/basement/_stcore/stream", "/base", Page),
    ] {
        assert_eq!(endpoint(path, base), expected, "{path} at {base:?}");
    }
}

#[test]
fn closed_paths_are_closed_in_every_spelling() {
    for sent in [
        "/_stcore/metrics",
        "/_stcore/metrics/",
        "/%5fstcore/metrics",
        "/%5Fstcore/%6detrics",
        "/_stcore/%6D%65%74%72%69%63%73",
        "/_STCORE/Metrics",
        "/page/_stcore/metrics",
        "/a/b/_stcore/metrics/",
        "/_stcore/metrics/more",
        "/_stcore/agent",
        "/_stcore/agent/",
        "/_stcore/agent/interact",
        "/_stcore/agent/mcp/",
        "/_stcore/agent/openapi.json",
        "/page/_stcore/agent/anything/at/all",
        "/_stcore/script-health-check",
        "/_stcore/script-health-check/",
        "/base/_stcore/script-health-check",
        "/st-metrics",
        "/st-metrics/",
        "/base/st-metrics",
        "/script-health-check",
        "/base/script-health-check/",
    ] {
        let path = canonical(sent).unwrap();
        assert!(is_closed(&path), "{sent}");
        for base in ["", "/base"] {
            assert_eq!(endpoint(&path, base), Endpoint::Closed, "{sent} at {base:?}");
        }
    }
    // The gate does not let these become a path at all.
    for sent in
        ["/_stcore%2fmetrics", "/x/../_stcore/metrics", "/_stcore/./metrics", "//_stcore/metrics"]
    {
        assert!(canonical(sent).is_err(), "{sent}");
    }
    for open in
        ["/_stcore/metricsx", "/_stcore/health", "/metrics", "/agent", "/agent/metrics", "/_stcore"]
    {
        assert!(!is_closed(open), "{open}");
    }
}

#[test]
fn an_uploads_session_is_not_printed() {
    for (path, expected) in [
        ("/_stcore/upload_file/5e55/f11e", "/_stcore/upload_file/-/f11e"),
        ("/base/_stcore/upload_file/5e55", "/base/_stcore/upload_file/-"),
        ("/_stcore/upload_file/", "/_stcore/upload_file/-"),
        ("/_stcore/stream", "/_stcore/stream"),
    ] {
        assert_eq!(printable(path), expected);
    }
}

#[test]
fn host_config_names_the_embed_origins_and_has_the_fields_of_the_frontends() {
    let body = |texts: &[&str]| {
        let embed: Vec<_> = texts.iter().map(|text| AllowedOrigin::parse(text).unwrap()).collect();
        HostConfig::new(&embed).body().to_owned()
    };
    let rest = r#""useExternalAuthToken":false,"enableCustomParentMessages":false,"enforceDownloadInNewTab":false,"metricsUrl":"off","blockErrorDialogs":false,"resourceCrossOriginMode":null}"#;
    for (embed, origins) in [
        (&[][..], "[]"),
        (&["https://www.shop.example", "file:"], r#"["https://www.shop.example"]"#),
        (
            &["https://*.shop.example", "http://localhost:3000"],
            r#"["https://*.shop.example","http://localhost:3000"]"#,
        ),
    ] {
        assert_eq!(body(embed), format!(r#"{{"allowedOrigins":{origins},{rest}"#));
    }
}

#[test]
fn the_xsrf_cookie_works_in_a_frame_and_others_are_left_alone() {
    const FRAMED: &str = "SameSite=None; Secure; Partitioned";
    let framed = |cookie: &str| {
        framed_xsrf_cookie(cookie.as_bytes()).map(|framed| String::from_utf8(framed).unwrap())
    };
    for (cookie, expected) in [
        // As 1.39 and 1.67 send it.
        (
            "_streamlit_xsrf=2|df28f57a|bbd6|1795240094; Path=/",
            "_streamlit_xsrf=2|df28f57a|bbd6|1795240094; Path=/",
        ),
        ("_streamlit_xsrf=2|a|b|1; Path=/; SameSite=Lax", "_streamlit_xsrf=2|a|b|1; Path=/"),
        ("_streamlit_xsrf=2; Path=/; SameSite=None; Secure", "_streamlit_xsrf=2; Path=/"),
        (
            "_streamlit_xsrf=2;path=/base;samesite = strict;SECURE;partitioned",
            "_streamlit_xsrf=2; path=/base",
        ),
        (
            "_streamlit_xsrf=2; Expires=Mon, 01 Jan 2029 00:00:00 GMT; ;",
            "_streamlit_xsrf=2; Expires=Mon, 01 Jan 2029 00:00:00 GMT",
        ),
        ("_streamlit_xsrf=", "_streamlit_xsrf="),
        ("_streamlit_xsrf = 2", "_streamlit_xsrf = 2"),
    ] {
        let expected = format!("{expected}; {FRAMED}");
        assert_eq!(framed(cookie).as_deref(), Some(&*expected), "{cookie}");
        assert_eq!(framed(&expected), Some(expected), "once is enough");
    }
    for other in [
        "_streamlit_user=x; Path=/; SameSite=Lax",
        "_streamlit_xsrf2=x; Path=/",
        "_STREAMLIT_XSRF=x",
        "session=_streamlit_xsrf=2",
        "_streamlit_xsrf",
        "",
        ";",
    ] {
        assert_eq!(framed(other), None, "{other}");
    }
}

/// The body of a fuzz target: any bytes as a path and as a cookie.
fn fuzz(bytes: &[u8]) {
    if let Some(framed) = framed_xsrf_cookie(bytes) {
        assert!(framed.ends_with(b"; SameSite=None; Secure; Partitioned"));
        assert_eq!(framed_xsrf_cookie(&framed), Some(framed));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(path) = canonical(if text.starts_with('/') { text } else { "/" }) else { return };
    let _ = printable(&path);
    let lower = path.to_ascii_lowercase();
    let is_core = |name: &str| format!("{lower}/").contains(&format!("/_stcore/{name}/"));
    let must_close = ["metrics", "agent", "script-health-check"].iter().any(|name| is_core(name));
    for base in ["", "/base"] {
        assert!(!must_close || endpoint(&path, base) == Endpoint::Closed, "{path}");
    }
}

proptest! {
    #[test]
    fn no_canonical_path_reaches_what_is_closed(
        path in "(/(_|%5[fF])?(stcore|STCORE|base|page|metrics|agent|%6detrics|st-metrics|x|\\.\\.|;)){0,4}/?",
    ) {
        fuzz(path.as_bytes());
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        fuzz(&bytes);
        fuzz(&[b"_streamlit_xsrf=", &bytes[..]].concat());
    }
}
