//! The certificates of a snapshot, found by server name.
//!
//! Decides which certificate answers for a name, and whether a certificate can be used at all. It
//! reads bytes, never files, and must never let a key that does not fit its certificate through.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

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
    /// First and last second of the leaf's validity, since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

/// Why a certificate and its key cannot be used. None of these repeats what the files hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateError {
    NoCertificate,
    /// The certificate file is not PEM, or its leaf not X.509.
    Damaged(String),
    /// The leaf has no DNS name.
    NoNames,
    NoKey,
    UnusableKey,
    /// The key is not the leaf's.
    Mismatch,
}

impl CertificateError {
    /// Whether the key's file is to be mended, and not the certificate's.
    pub fn is_about_the_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::UnusableKey | Self::Mismatch)
    }
}

impl Certificate {
    /// Makes a certificate from PEM: the chain with its leaf first, and the leaf's private key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let damaged = |error: pem::Error| CertificateError::Damaged(error.to_string());
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(damaged)?;
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        // The parser's own words speak of ASN.1 tags, which help nobody.
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| {
            CertificateError::Damaged("what it holds is not an X.509 certificate".into())
        })?;
        let names = dns_names(&parsed);
        if names.is_empty() {
            return Err(CertificateError::NoNames);
        }
        let (not_before, not_after) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let mut hasher = DefaultHasher::new();
        leaf.as_ref().hash(&mut hasher);

        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|_| CertificateError::UnusableKey)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // Unknown is for keys that cannot tell their public half; ours all can.
            Ok(()) => {}
            Err(_) => return Err(CertificateError::Mismatch),
        }
        Ok(Self { id: hasher.finish(), key: Arc::new(key), names, not_before, not_after })
    }
}

impl Certificate {
    /// Who has signed it, for people: the organisation and the common name, as far as they are said.
    pub fn issuer(&self) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(self.key.cert.first()?).ok()?;
        let issuer = parsed.issuer();
        let organization = issuer.iter_organization().next().and_then(|it| it.as_str().ok());
        let name = issuer.iter_common_name().next().and_then(|it| it.as_str().ok());
        match (organization, name) {
            (Some(organization), Some(name)) => Some(format!("{organization}, {name}")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    }
}

/// The leaf's DNS names, lower case. The common name does not count: browsers ignore it.
fn dns_names(leaf: &X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    });
    names.collect()
}

impl CertStore {
    /// Adds a certificate under each of its names; on a shared name the first one stays. False
    /// where it has no name of its own, so that it will never be used.
    pub fn insert(&mut self, certificate: Arc<Certificate>) -> bool {
        let before = self.exact.len() + self.wildcard.len();
        for name in &certificate.names {
            let (map, key) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, &**name),
            };
            map.entry(key.into()).or_insert_with(|| certificate.clone());
        }
        self.exact.len() + self.wildcard.len() > before
    }

    /// The certificate for a canonical host.
    pub fn find(&self, host: &str) -> Option<&Arc<Certificate>> {
        if let Some(certificate) = self.exact.get(host) {
            return Some(certificate);
        }
        let (_, parent) = host.split_once('.')?;
        self.wildcard.get(parent)
    }

    /// Each certificate that answers for some name, at least once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.exact.values().chain(self.wildcard.values())
    }

    /// Every name that is covered, sorted.
    pub fn names(&self) -> Vec<Box<str>> {
        let wildcards = self.wildcard.keys().map(|parent| format!("*.{parent}").into_boxed_str());
        let mut names: Vec<_> = self.exact.keys().cloned().chain(wildcards).collect();
        names.sort_unstable();
        names
    }

    /// Every certificate that answers for some name, and the names that it does answer for, sorted.
    pub fn answering(&self) -> Vec<(Vec<Box<str>>, &Arc<Certificate>)> {
        let mut by_id: HashMap<u64, (Vec<Box<str>>, &Arc<Certificate>)> = HashMap::new();
        let wildcards = self.wildcard.iter().map(|(parent, it)| (format!("*.{parent}").into(), it));
        for (name, it) in self.exact.iter().map(|(name, it)| (name.clone(), it)).chain(wildcards) {
            by_id.entry(it.id).or_insert_with(|| (Vec::new(), it)).0.push(name);
        }
        let mut all: Vec<_> = by_id.into_values().collect();
        all.iter_mut().for_each(|(names, _)| names.sort_unstable());
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}
