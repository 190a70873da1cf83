//! The certificates of a snapshot, found by server name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

/// All certificates, by the DNS names inside them (RFC 6125: a wildcard stands for one label).
#[derive(Debug, Default)]
pub struct CertStore {
    exact: HashMap<Box<str>, Arc<Certificate>, foldhash::fast::RandomState>,
    /// Key: what follows `*.`.
    wildcard: HashMap<Box<str>, Arc<Certificate>, foldhash::fast::RandomState>,
}

#[derive(Debug)]
pub struct Certificate {
    /// Equal for equal leaf certificates; used to tell whether two names share one.
    pub id: u64,
    pub key: Arc<CertifiedKey>,
    /// The names that the leaf covers, canonical.
    pub names: Vec<Box<str>>,
}

impl CertStore {
    /// Adds a certificate under each of its names; on a shared name the first one stays.
    pub fn insert(&mut self, certificate: Arc<Certificate>) {
        for name in &certificate.names {
            let (map, key) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, &**name),
            };
            map.entry(key.into()).or_insert_with(|| certificate.clone());
        }
    }

    /// The certificate for a canonical host.
    pub fn find(&self, host: &str) -> Option<&Arc<Certificate>> {
        if let Some(certificate) = self.exact.get(host) {
            return Some(certificate);
        }
        let (_, parent) = host.split_once('.')?;
        self.wildcard.get(parent)
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}
