//! How upstream servers are reached over TLS, and which servers are the same one.
//!
//! Both outlive a reload: equal settings give the same [`ServerId`], so that pooled connections
//! stay with their server, and share one TLS configuration, so that sessions resume.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};

use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};

use super::snapshot::{ServerAddress, ServerId};

/// Who vouches for an upstream's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authorities {
    /// Those of the operating system.
    System,
    /// Those of a PEM file, by its content.
    Private(Arc<[u8]>),
}

/// The certificate that servers are shown, and its key. Two are the same where their files were.
#[derive(Clone)]
pub struct ClientCertificate {
    digest: [u8; 32],
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl ClientCertificate {
    /// The error is why it cannot be used; it repeats nothing of the files.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem).collect();
        let chain = chain.map_err(|_| "the file is damaged PEM")?;
        if chain.is_empty() {
            return Err("the file holds no certificate".into());
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|_| "its key's file holds no unencrypted private key")?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(|error| {
            match error {
                rustls::Error::InconsistentKeys(_) => "the key does not belong to it".to_owned(),
                error => format!("it cannot be used: {error}"),
            }
        })?;
        let digest = Sha256::new()
            .chain_update((chain_pem.len() as u64).to_be_bytes())
            .chain_update(chain_pem)
            .chain_update(key_pem)
            .finalize();
        Ok(Self { digest: digest.into(), chain, key: Arc::new(key) })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(..)")
    }
}

/// Who vouches for whom on connections to servers.
#[derive(Debug, Clone)]
pub struct Trust {
    pub authorities: Authorities,
    pub client: Option<ClientCertificate>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { authorities: Authorities::System, client: None }
    }
}

/// What makes one [`Trust`] different from another; it holds no key.
type TrustKey = (Authorities, Option<[u8; 32]>);

impl Trust {
    fn key(&self) -> TrustKey {
        (self.authorities.clone(), self.client.as_ref().map(|client| client.digest))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    address: ServerAddress,
    tls: Option<(TrustKey, ServerName<'static>)>,
}

/// The identity of a server: the same whenever address and TLS settings are.
pub fn server_id(address: &ServerAddress, tls: Option<(&Trust, &ServerName<'static>)>) -> ServerId {
    // Grows with the number of different servers that one process has ever been told of, some
    // hundred bytes each; forgetting one would let its number be given to another.
    static KNOWN: LazyLock<Mutex<HashMap<Identity, u32>>> = LazyLock::new(Mutex::default);
    let tls = tls.map(|(trust, name)| (trust.key(), name.clone()));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let next = u32::try_from(known.len()).expect("fewer servers than addresses");
    ServerId(*known.entry(Identity { address: address.clone(), tls }).or_insert(next))
}

/// As long as a snapshot uses them.
type Known = HashMap<TrustKey, Weak<ClientConfig>>;

/// The TLS configuration for connections to servers; the error is why none can be made.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = trust.key();
    if let Some(config) = known.get(&key).and_then(Weak::upgrade) {
        return Ok(config);
    }
    known.retain(|_, config| config.strong_count() > 0);
    let config = build(trust)?;
    known.insert(key, Arc::downgrade(&config));
    Ok(config)
}

fn build(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let roots = match &trust.authorities {
        Authorities::System => system_roots()?,
        Authorities::Private(pem) => Arc::new(private_roots(pem)?),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &trust.client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
            .map_err(|error| error.to_string())?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Read once: hundreds of certificates, in as many files.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    ROOTS.get_or_init(|| load_system_roots().map(Arc::new)).clone()
}

fn load_system_roots() -> Result<RootCertStore, String> {
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
        let private = Trust { authorities: Authorities::Private(Arc::from(*b"pem")), client: None };
        let plain = server_id(&address(1), None);
        let tls = server_id(&address(1), Some((&Trust::default(), &name)));
        assert_eq!(plain, server_id(&address(1), None));
        assert_eq!(tls, server_id(&address(1), Some((&Trust::default(), &name))));
        assert_ne!(plain, tls);
        assert_ne!(plain, server_id(&address(2), None));
        assert_ne!(tls, server_id(&address(1), Some((&Trust::default(), &other))));
        assert_ne!(tls, server_id(&address(1), Some((&private, &name))));
    }
}
