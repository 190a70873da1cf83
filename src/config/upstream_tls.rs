//! How upstream servers are reached over TLS, and which servers are the same one.
//!
//! Both outlive a reload: equal settings give the same [`ServerId`], so that pooled connections
//! stay with their server, and share one TLS configuration, so that sessions resume.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::snapshot::{ServerAddress, ServerId};

/// Who vouches for an upstream's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authorities {
    /// Those of the operating system.
    System,
    /// Those of a PEM file, by its content.
    Private(Arc<[u8]>),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    address: ServerAddress,
    tls: Option<(Authorities, ServerName<'static>)>,
}

/// The identity of a server: the same whenever address and TLS settings are.
pub fn server_id(
    address: &ServerAddress,
    tls: Option<(&Authorities, &ServerName<'static>)>,
) -> ServerId {
    // Grows with the number of different servers that one process has ever been told of, some
    // hundred bytes each; forgetting one would let its number be given to another.
    static KNOWN: LazyLock<Mutex<HashMap<Identity, u32>>> = LazyLock::new(Mutex::default);
    let tls = tls.map(|(authorities, name)| (authorities.clone(), name.clone()));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let next = u32::try_from(known.len()).expect("fewer servers than addresses");
    ServerId(*known.entry(Identity { address: address.clone(), tls }).or_insert(next))
}

/// By the content of the authorities' file; as long as a snapshot uses them.
type Private = HashMap<Arc<[u8]>, Weak<ClientConfig>>;

/// The TLS configuration that trusts `authorities`; the error is why none can be made.
pub fn client_config(authorities: &Authorities) -> Result<Arc<ClientConfig>, String> {
    static SYSTEM: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    static PRIVATE: LazyLock<Mutex<Private>> = LazyLock::new(Mutex::default);
    match authorities {
        Authorities::System => SYSTEM.get_or_init(|| build(system_roots()?)).clone(),
        Authorities::Private(pem) => {
            let mut known = PRIVATE.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(config) = known.get(pem).and_then(Weak::upgrade) {
                return Ok(config);
            }
            known.retain(|_, config| config.strong_count() > 0);
            let config = build(private_roots(pem)?)?;
            known.insert(pem.clone(), Arc::downgrade(&config));
            Ok(config)
        }
    }
}

fn build(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err("this system has no certificate authorities installed".into());
    }
    Ok(roots)
}

fn private_roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "the file is damaged PEM".to_string())?;
        roots.add(certificate).map_err(|error| format!("an authority cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("the file holds no certificate".into());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_settings_give_the_same_server() {
        let address = |port| ServerAddress::Name("same.test".into(), port);
        let name = ServerName::try_from("same.test").expect("a name");
        let other = ServerName::try_from("other.test").expect("a name");
        let private = Authorities::Private(Arc::from(*b"pem"));
        let plain = server_id(&address(1), None);
        let tls = server_id(&address(1), Some((&Authorities::System, &name)));
        assert_eq!(plain, server_id(&address(1), None));
        assert_eq!(tls, server_id(&address(1), Some((&Authorities::System, &name))));
        assert_ne!(plain, tls);
        assert_ne!(plain, server_id(&address(2), None));
        assert_ne!(tls, server_id(&address(1), Some((&Authorities::System, &other))));
        assert_ne!(tls, server_id(&address(1), Some((&private, &name))));
    }
}
