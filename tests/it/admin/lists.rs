//! Personas, upstreams, certificates and the configuration, all of them.

use super::*;

const MANY: &str = "[tenants.beta.personas.x]\nhosts = [\"x.beta.test\"]\nupstream = \"app\"\n\
                    mode = \"test\"\napp = \"sse\"\n[tenants.beta.personas.y]\n\
                    hosts = [\"y.beta.test\"]\nupstream = \"other\"\n\
                    [upstreams.other]\nservers = [\"http://127.0.0.1:1\"]\nmax_connections = 7\n";

fn names(document: &serde_json::Value) -> Vec<String> {
    let name = |it: &serde_json::Value| {
        let name = it.get("persona").or(it.get("site")).unwrap();
        format!("{}/{}", it["tenant"].as_str().unwrap(), name.as_str().unwrap())
    };
    document["personas"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn every_persona_is_listed_and_found() {
    let upstream = app();
    let proxy = configured(upstream.address, MANY);
    visit(&proxy, "x.beta.test", "/");
    let get = |path: &str| json(&ask(&proxy, "GET", path, "", ""));
    let all = get("/personas");
    assert_eq!(names(&all), ["acme/a", "acme/www", "beta/x", "beta/y"]);
    assert_eq!((&all["count"], all.get("next")), (&4.into(), None));
    let x = &all["personas"][2];
    assert_eq!((&x["hosts"][0], &x["path"]), (&"x.beta.test".into(), &"/".into()));
    assert_eq!(
        (&x["mode"], &x["app"], &x["upstream"]),
        (&"test".into(), &"sse".into(), &"app".into())
    );
    assert_eq!(
        (&x["requests_total"], &all["personas"][3]["requests_total"]),
        (&1.into(), &0.into())
    );
    for (query, expected) in [
        ("tenant=beta", vec!["beta/x", "beta/y"]),
        ("tenant=bet", vec![]),
        ("search=Y.BETA", vec!["beta/y"]),
        ("search=acme", vec!["acme/a", "acme/www"]),
        ("search=w.test&tenant=acme", vec!["acme/www"]),
        ("after=zzz/persona/a", vec![]),
        ("after=beta/persona/gone", vec!["beta/x", "beta/y"]),
    ] {
        assert_eq!(names(&get(&format!("/personas?{query}"))), expected, "{query}");
    }
    // Page by page.
    let mut found = Vec::new();
    let mut query = "limit=1".to_owned();
    loop {
        let page = get(&format!("/personas?{query}"));
        assert_eq!((names(&page).len(), &page["count"]), (1, &4.into()));
        found.extend(names(&page));
        let Some(next) = page.get("next") else { break };
        query = format!("limit=1&after={}", next.as_str().unwrap());
    }
    assert_eq!(found, names(&all));
    for wrong in ["limit=0", "limit=1001", "limit=x", "tenants=a"] {
        let answer = ask(&proxy, "GET", &format!("/personas?{wrong}"), "", "");
        assert_eq!(answer.code(), "request_malformed", "{wrong}");
    }
}

#[test]
fn those_that_share_their_numbers_say_with_whom() {
    let more = format!("{MANY}[telemetry]\npersona_metrics = 2\n");
    let proxy = configured("127.0.0.1:1".parse().unwrap(), &more);
    let all = json(&ask(&proxy, "GET", "/personas", "", ""));
    let shared = all["personas"].as_array().unwrap().iter().find(|it| it["site"] == "www").unwrap();
    let other = serde_json::json!({ "tenant": "acme", "persona": "_other" });
    assert_eq!((&shared["counted_as"], shared.get("requests_total")), (&other, None));
}

#[test]
fn every_upstream_and_certificate_is_listed() {
    let proxy = configured("127.0.0.1:1".parse().unwrap(), MANY);
    let told = json(&ask(&proxy, "GET", "/upstreams", "", ""));
    let upstreams = told["upstreams"].as_array().unwrap();
    assert_eq!((&upstreams[0]["name"], &upstreams[1]["name"]), (&"app".into(), &"other".into()));
    assert_eq!(upstreams[1]["circuit"]["max_connections"], 7);
    let proxy = crate::harness::proxy::Builder::default()
        .with(|it| it.admin = true)
        .certificate(&["late.test", "other.test"])
        .start();
    let told = json(&ask(&proxy, "GET", "/certificates", "", ""));
    let certificates = told["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 2);
    for certificate in certificates {
        assert!(certificate["expires_in_s"].as_i64().unwrap() > 0, "{certificate}");
        assert!(certificate["expires"].as_str().unwrap().ends_with('Z'), "{certificate}");
    }
    let names: Vec<_> =
        certificates.iter().flat_map(|it| it["names"].as_array()).flatten().collect();
    assert_eq!(names.len(), 4);
}

#[test]
fn the_configuration_that_serves_is_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef-hunter2-hunter2").unwrap();
    let secret = secret.display();
    let more = format!(
        "session_hint = 1\n[server.limits]\nheader_timeout = \"7s\"\n\
         [tenants.beta.personas.x]\nhosts = [\"x.beta.test\"]\nupstream = \"app\"\nsigned = true\n\
         signing = {{ secrets = [\"file:{secret}\"], max_age = \"1m\" }}\n\
         headers = {{ set = {{ X-Key = \"hunter2\" }} }}\n# hunter2\n"
    )
    .replace("session_hint = 1\n", "");
    let proxy = configured("127.0.0.1:1".parse().unwrap(), &more);
    let answer = ask(&proxy, "GET", "/config", "", "");
    assert_eq!(answer.field("content-type"), Some("application/toml; charset=utf-8"));
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["server"]["limits"]["header_timeout"].as_str(), Some("7s"));
    let persona = &table["tenants"]["beta"]["personas"]["x"];
    let reference = format!("file:{secret}");
    assert_eq!(persona["signing"]["secrets"][0].as_str(), Some(&*reference));
    assert_eq!(persona["headers"]["set"]["X-Key"].as_str(), Some("redacted"));
    let one = ask(&proxy, "GET", "/config?tenant=acme", "", "").text();
    assert!(one.contains("tenants.acme") && !one.contains("tenants.beta"), "{one}");
    assert_eq!(ask(&proxy, "GET", "/config?x=1", "", "").code(), "request_malformed");
    // What a reload has put in its place.
    proxy.reload(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[upstreams.new]\nservers = [\"http://127.0.0.1:2\"]\n",
    );
    let text = ask(&proxy, "GET", "/config", "", "").text();
    assert!(text.contains("upstreams.new") && !text.contains("tenants"), "{text}");
}
