//! Files as answers, and what an ACME client leaves, on the wire.

use std::fs;
use std::path::Path;

use http::Method;

use crate::harness::client::Response;
use crate::harness::h2::{self, request, soon};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

/// A site from the disk, another with an upstream, and the folder of it all.
fn site() -> (Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("public/sub")).unwrap();
    fs::create_dir_all(at("dist")).unwrap();
    fs::write(at("public/index.html"), "<!doctype html><title>home</title>").unwrap();
    fs::write(at("public/404.html"), "<!doctype html><title>none</title>").unwrap();
    fs::write(at("public/sub/index.html"), "sub").unwrap();
    fs::write(at("public/.env"), "secret").unwrap();
    fs::write(at("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", at("public/link")).unwrap();
    fs::write(at("public/big.txt"), big()).unwrap();
    fs::write(at("dist/a.css"), "a { color: red }").unwrap();
    fs::write(at("dist/a.css.br"), "not really brotli").unwrap();
    let path = folder.path().display();
    let text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [upstreams.app]\nservers = [\"http://UPSTREAM\"]\n\
         [tenants.acme.personas.chat]\nhosts = [\"chat.test\"]\nupstream = \"app\"\n\
         [tenants.acme.sites.disk]\nhosts = [\"disk.test\"]\nroot = \"{path}/public\"\n\
         embeds = [\"chat\"]\nheaders = {{ set = {{ Cache-Control = \"max-age=60\" }} }}\n\
         [tenants.acme.sites.mixed]\nhosts = [\"mixed.test\"]\nupstream = \"app\"\n\
         folders = {{ \"/assets\" = \"{path}/dist\" }}\n"
    );
    let upstream = Upstream::ok();
    (Proxy::configured(&text, upstream.address), folder)
}

fn big() -> String {
    (0..200_000).map(|line| format!("{line}\n")).collect()
}

fn ask(proxy: &Proxy, host: &str, lines: &str) -> Response {
    let (start, rest) = lines.split_once('\n').unwrap_or((lines, "A: b"));
    let rest = rest.replace('\n', "\r\n");
    let mut client = proxy.client();
    client.send(format!("{start} HTTP/1.1\r\nHost: {host}.test\r\n{rest}\r\n\r\n"));
    if start.starts_with("HEAD") {
        return client.read_head().unwrap();
    }
    client.read_response().unwrap()
}

#[test]
fn a_folder_is_a_site() {
    let (proxy, _folder) = site();
    let home = ask(&proxy, "disk", "GET /");
    assert_eq!((home.status, home.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(home.text().contains("home"));
    assert_eq!(home.field("cache-control"), Some("max-age=60"));
    // What a site's pages get from an upstream, they get from the disk.
    let csp = home.field("content-security-policy").unwrap();
    assert!(csp.contains("frame-src 'self' https://chat.test"), "{csp}");
    let sub = ask(&proxy, "disk", "GET /sub?x=1");
    assert_eq!((sub.status, sub.field("location")), (308, Some("/sub/?x=1")));
    assert_eq!(ask(&proxy, "disk", "GET /sub/").text(), "sub");
    let head = ask(&proxy, "disk", "HEAD /big.txt");
    assert_eq!(head.field("content-length"), Some(big().len().to_string().as_str()));
    let log = proxy.log(4);
    assert_eq!((&log[0]["status"], &log[0]["persona"]), (&200.into(), &"disk".into()));
}

#[test]
fn what_is_not_to_be_seen_is_not_there() {
    let (proxy, _folder) = site();
    for path in ["/none", "/.env", "/link", "/sub/none/", "/%2e%2e%2fsecret", "/..%2fsecret"] {
        let answer = ask(&proxy, "disk", &format!("GET {path}"));
        assert!(matches!(answer.status, 404 | 400), "{path}: {answer:?}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
    let none = ask(&proxy, "disk", "GET /none");
    assert!(none.text().contains("<title>none</title>"), "{}", none.text());
    let none = ask(&proxy, "mixed", "GET /assets/none");
    assert_eq!((none.status, none.code().as_str()), (404, "not_found"));
    assert_eq!(ask(&proxy, "mixed", "GET /other").text(), "ok", "the upstream's");
    let post = ask(&proxy, "disk", "POST /\nContent-Length: 0");
    assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_client_that_has_it_or_a_part_of_it_is_told_so() {
    let (proxy, folder) = site();
    let whole = ask(&proxy, "disk", "GET /sub/index.html");
    let etag = whole.field("etag").unwrap();
    let known = ask(&proxy, "disk", &format!("GET /sub/index.html\nIf-None-Match: {etag}"));
    assert_eq!((known.status, known.field("etag")), (304, Some(etag)));
    let since = whole.field("last-modified").unwrap();
    let known = ask(&proxy, "disk", &format!("GET /sub/index.html\nIf-Modified-Since: {since}"));
    assert_eq!(known.status, 304);
    let part = ask(&proxy, "disk", "GET /big.txt\nRange: bytes=2-5\nAccept-Encoding: gzip");
    assert_eq!((part.status, part.text().as_str()), (206, &big()[2..6]));
    let range = format!("bytes 2-5/{}", big().len());
    assert_eq!(part.field("content-range"), Some(range.as_str()));
    let late = format!("GET /big.txt\nRange: bytes={}-", 1_000_000);
    assert_eq!(ask(&proxy, "disk", &late).text(), big()[1_000_000..]);
    let beyond = ask(&proxy, "disk", "GET /big.txt\nRange: bytes=99999999-");
    assert_eq!(beyond.status, 416);
    let changed = ask(&proxy, "disk", "GET /sub/index.html\nIf-Match: \"x\"");
    assert_eq!(changed.status, 412);
    fs::write(folder.path().join("public/sub/index.html"), "other").unwrap();
    let now = ask(&proxy, "disk", &format!("GET /sub/index.html\nIf-None-Match: {etag}"));
    assert_eq!((now.status, now.text().as_str()), (200, "other"));
}

#[test]
fn a_form_that_was_compressed_before_is_taken() {
    let (proxy, _folder) = site();
    let coded = ask(&proxy, "mixed", "GET /assets/a.css\nAccept-Encoding: gzip, br");
    assert_eq!(coded.field("content-encoding"), Some("br"));
    assert_eq!(coded.field("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(coded.field("vary"), Some("Accept-Encoding"));
    assert_eq!(coded.text(), "not really brotli");
    let plain = ask(&proxy, "mixed", "GET /assets/a.css\nAccept-Encoding: gzip");
    assert_eq!(plain.text(), "a { color: red }");
    assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
    assert_ne!(plain.field("etag"), coded.field("etag"));
}

#[test]
fn a_file_is_compressed_once() {
    let (proxy, _folder) = site();
    let first = ask(&proxy, "disk", "GET /big.txt\nAccept-Encoding: gzip");
    assert_eq!(
        (first.field("content-encoding"), first.field("content-length")),
        (Some("gzip"), None)
    );
    let again = ask(&proxy, "disk", "GET /big.txt\nAccept-Encoding: gzip");
    let length = first.body.len().to_string();
    assert_eq!(again.field("content-length"), Some(length.as_str()));
    assert!(again.body == first.body);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&first.body[..]), &mut text)
        .unwrap();
    assert!(text == big());
    let etag = again.field("etag").unwrap();
    assert!(etag.starts_with("W/"));
    let known = format!("GET /big.txt\nAccept-Encoding: gzip\nIf-None-Match: {etag}");
    let known = ask(&proxy, "disk", &known);
    assert_eq!((known.status, known.field("etag")), (304, Some(etag)));
}

#[test]
fn files_come_over_http2_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("big.txt"), big()).unwrap();
    let proxy = on_disk(folder.path());
    soon(async {
        let mut client = h2::Client::connect(&proxy).await;
        let answer = client.ask(h2::get("/big.txt")).await;
        assert!(answer.text() == big());
        assert_eq!(answer.field("content-length"), Some(big().len().to_string().as_str()));
        let asked = request(Method::GET, "/big.txt").header("range", "bytes=-3");
        assert_eq!(client.ask(asked.body(()).unwrap()).await.text(), "99\n");
        let asked = request(Method::HEAD, "/big.txt").body(()).unwrap();
        let answer = client.ask(asked).await;
        assert_eq!(answer.field("content-length"), Some(big().len().to_string().as_str()));
        assert_eq!(client.ask(h2::get("/none")).await.code(), "not_found");
    });
}

fn on_disk(folder: &Path) -> Proxy {
    use crate::harness::proxy::Builder;
    Builder::default().site("chat.test", folder).start()
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_file_leaves_a_server_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("huge.txt"), vec![b'x'; 64 << 20]).unwrap();
    fs::write(folder.path().join("a.txt"), "a").unwrap();
    let proxy = on_disk(folder.path());
    for _ in 0..20 {
        let mut client = proxy.tls();
        client.send("GET /huge.txt HTTP/1.1\r\nHost: chat.test\r\n\r\n");
        client.read_head().unwrap();
        client.reset();
    }
    let mut client = proxy.tls();
    client.send("GET /a.txt HTTP/1.1\r\nHost: chat.test\r\n\r\n");
    assert_eq!(client.read_response().unwrap().text(), "a");
}

#[test]
fn a_challenge_is_served_before_the_redirect_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join(".well-known/acme-challenge");
    fs::create_dir_all(&at).unwrap();
    fs::write(at.join("Tok-en_1"), "Tok-en_1.thumb").unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", at.join("link")).unwrap();
    let webroot = folder.path().to_owned();
    let proxy = crate::harness::proxy::Builder::default()
        .persona("chat.test", "/", &["127.0.0.1:9".parse().unwrap()])
        .with(|builder| {
            builder.http_mode = vestibule::config::snapshot::HttpMode::Redirect;
            builder.acme_webroot = Some(webroot);
        })
        .start();
    let begin = "/.well-known/acme-challenge";
    for host in ["chat", "another"] {
        let answer = ask(&proxy, host, &format!("GET {begin}/Tok-en_1"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "Tok-en_1.thumb"), "{host}");
        assert_eq!(answer.field("content-type"), Some("text/plain"));
    }
    assert_eq!(ask(&proxy, "chat", &format!("GET {begin}/missing")).status, 404);
    assert_eq!(ask(&proxy, "chat", &format!("GET {begin}/link")).status, 404);
    for path in [&format!("{begin}/a.b"), &format!("{begin}/"), "/secret", "/.well-known/secret"] {
        assert_eq!(ask(&proxy, "chat", &format!("GET {path}")).status, 308, "{path}");
    }
    let mut tls = proxy.tls();
    tls.send(format!("GET {begin}/Tok-en_1 HTTP/1.1\r\nHost: chat.test\r\n\r\n"));
    assert_eq!(tls.read_response().unwrap().status, 502, "over https it is the app's");
}
