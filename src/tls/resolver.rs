//! The rustls side of the store: one server configuration for the whole life of the process.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::snapshot::Snapshot;
use crate::config::values::TlsVersion;

/// Reads the live snapshot for each handshake, so that a reload needs no new `ServerConfig` and
/// session tickets stay valid across it.
#[derive(Debug)]
struct LiveResolver(Arc<ArcSwap<Snapshot>>);

impl ResolvesServerCert for LiveResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.trim_end_matches('.').to_ascii_lowercase();
        self.0.load().certificates.find(&name).map(|certificate| certificate.key.clone())
    }
}

/// TLS 1.3, and 1.2 unless the snapshot of the start forbids it, ALPN `h2` and `http/1.1`, stateless tickets.
pub fn server_config(snapshot: Arc<ArcSwap<Snapshot>>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[_] = match snapshot.load().tls.min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(LiveResolver(snapshot)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    // Two TLS 1.3 tickets are the default; browsers open more connections than one, but each
    // costs an encryption and ~250 bytes of every handshake.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
