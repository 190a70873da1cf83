//! TLS to servers: a private authority, and a certificate that we show.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::harness::h2_server::H2Server;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
type Pair = (String, String);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server of that name which wants its clients vouched for by the authority, and says "ok".
fn serve(authority: &Authority, name: &str) -> SocketAddr {
    let config = Arc::new(server(authority, name));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = rustls::StreamOwned::new(session, stream.unwrap());
            std::thread::spawn(move || say_ok(stream));
        }
    });
    address
}

fn server(authority: &Authority, name: &str) -> rustls::ServerConfig {
    let (chain, key) = authority.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap()
}

fn say_ok(mut stream: impl Read + Write) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).is_ok_and(|count| count > 0) {
        seen.push(byte[0]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            let _ = stream.write_all(ok).and_then(|()| stream.flush());
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn a_server_with_a_private_authority_is_shown_our_certificate() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let address = serve(&authority, "app.internal");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ca = write(folder, "ca.pem", &authority.pem);
    let other_ca = write(folder, "other-ca.pem", &stranger.pem);
    let pair = |name: &str, by: &Authority| {
        let (cert, key) = by.issue(name, ExtendedKeyUsagePurpose::ClientAuth);
        let cert = write(folder, &format!("{name}.pem"), &cert);
        let key = write(folder, &format!("{name}.key"), &key);
        format!("cert = \"{cert}\", key = \"{key}\", ")
    };
    let (good, bad) = (pair("us", &authority), pair("them", &stranger));
    let text = |certificate: &str, ca: &str, name: &str| {
        let tls = format!("tls = {{ {certificate}ca = \"{ca}\", server_name = \"{name}\" }}");
        let health = "health = { path = \"/\", interval = \"100ms\", unhealthy_threshold = 1 }";
        over(&format!("\"https://{address}\""), &format!("{tls}\n{health}"), "")
    };
    let proxy = Proxy::resolving(&text(&good, &ca, "app.internal"), None);
    let mut client = proxy.client();
    let mut ask =
        || client.send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n").read_response().unwrap();
    assert_eq!(ask().text(), "ok");
    for (certificate, ca, name) in [
        ("", &ca, "app.internal"),
        (&*bad, &ca, "app.internal"),
        (&*good, &other_ca, "app.internal"),
        (&*good, &ca, "other.internal"),
    ] {
        proxy.reload(&text(certificate, ca, name));
        assert_eq!(ask().status, 502, "{certificate} {ca} {name}");
        wait_until("checks go the same way", || states(&proxy) == "unhealthy");
    }
    proxy.reload(&text(&good, &ca, "app.internal"));
    assert_eq!(ask().text(), "ok", "a reload is enough");
    wait_until("checks go the same way", || states(&proxy) == "healthy");
}

#[test]
fn http_2_over_tls_is_asked_for_and_must_be_chosen() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ca = write(folder, "ca.pem", &authority.pem);
    let (cert, key) = authority.issue("us", ExtendedKeyUsagePurpose::ClientAuth);
    let (cert, key) = (write(folder, "us.pem", &cert), write(folder, "us.key", &key));
    for (alpn, works) in [(&["h2", "http/1.1"][..], true), (&["h2"], true), (&["http/1.1"], false)]
    {
        let mut config = server(&authority, "app.internal");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let server = H2Server::start(Some(Arc::new(config)), |request, mut answer| async move {
            assert_eq!(request.uri().scheme_str(), Some("https"));
            let _ = answer.send_response(http::Response::new(()), true);
        });
        let tls = format!(
            "protocol = \"h2\"\ntls = {{ ca = \"{ca}\", cert = \"{cert}\", key = \"{key}\", \
             server_name = \"app.internal\" }}"
        );
        let proxy =
            Proxy::resolving(&over(&format!("\"https://{}\"", server.address), &tls, ""), None);
        let mut client = proxy.client();
        let answer = client.send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n").read_response();
        assert_eq!(answer.unwrap().status, if works { 200 } else { 502 }, "{alpn:?}");
    }
}
