//! Which certificates there are, whether they can be used, and whether every host is covered.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::super::error::{Problems, Wrong};
use super::super::file::unreadable;
use super::super::raw::{CertificateFiles, Root};
use super::super::reader::Table;
use super::super::snapshot::{ServerSettings, TlsSettings};
use super::super::source::At;
use super::super::values::{FilePath, TlsVersion};
use super::{Compiler, Part};
use crate::tls::store::{CertStore, Certificate, CertificateError};

/// Whether every host needs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    Needed,
    /// Nobody speaks TLS, or what is missing was told already.
    Unchecked,
}

pub fn compile(
    root: &Root,
    server: &ServerSettings,
    compiler: &mut Compiler<'_>,
) -> (CertStore, TlsSettings, Coverage) {
    let raw = root.tls.as_ref().map(|at| &at.value);
    let version = raw.and_then(|tls| tls.min_version.as_ref());
    let settings =
        TlsSettings { min_version: version.map_or(TlsVersion::Tls12, |version| version.value) };
    let mut store = CertStore::default();
    let mut all_good = true;
    let files = raw.and_then(|tls| tls.certificates.as_ref());
    for (index, at) in files.iter().flat_map(|list| &list.value).enumerate() {
        let key = format!("tls.certificates[{index}]");
        match certificate(at, &key, compiler).map(|it| store.insert(Arc::new(it))) {
            Some(true) => {}
            Some(false) => {
                let what = "certificates before this one have all its names: it is never used";
                let wrong = Wrong::new(what, "leave it out, or put it first");
                compiler.problems.warning(at.spot, key, wrong);
            }
            None => all_good = false,
        }
    }
    let none = files
        .map_or(raw.is_none_or(|tls| tls.certificates.is_none()), |list| list.value.is_empty());
    if let Some(https) = root.server.as_ref().and_then(|at| at.value.https.as_ref())
        && !https.value.is_empty()
        && none
    {
        let what = "an https listener needs a certificate";
        let remedy = "write [tls] certificates = [{ cert = \"FILE\", key = \"FILE\" }]";
        compiler.problems.error(https.spot, "server.https", Wrong::new(what, remedy));
    } else if !server.https.is_empty() && all_good {
        return (store, settings, Coverage::Needed);
    }
    (store, settings, Coverage::Unchecked)
}

fn certificate(
    at: &At<Table<CertificateFiles>>,
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Option<Certificate> {
    let cert = at.value.cert.as_ref();
    let private = at.value.key.as_ref();
    let chain_pem = cert.and_then(|at| read(at, &format!("{key}.cert"), compiler));
    let key_pem = private.and_then(|at| read(at, &format!("{key}.key"), compiler));
    if let Some(at) = private {
        check_mode(at, &format!("{key}.key"), compiler);
    }
    let (cert, private) = (cert?, private?);
    match Certificate::from_pem(&chain_pem?, &key_pem?) {
        Ok(certificate) => {
            check_validity(&certificate, cert, &format!("{key}.cert"), compiler);
            Some(certificate)
        }
        Err(error) => {
            let (at, part) = match error.is_about_the_key() {
                true => (private, "key"),
                false => (cert, "cert"),
            };
            let file = compiler.base.join(&at.value.0).display().to_string();
            let wrong = describe(&error, &file);
            compiler.problems.error(at.spot, format!("{key}.{part}"), wrong);
            None
        }
    }
}

fn describe(error: &CertificateError, file: &str) -> Wrong {
    match error {
        CertificateError::NoCertificate => Wrong::new(
            format!("{file} holds no certificate"),
            "write a PEM file that begins with the leaf certificate",
        ),
        CertificateError::Damaged(why) => {
            Wrong::new(format!("{file} is damaged: {why}"), "write a PEM file")
        }
        CertificateError::NoNames => Wrong::new(
            format!("the certificate in {file} names no host"),
            "use one with DNS names as subject alternative names; browsers ignore the common name",
        ),
        CertificateError::NoKey => Wrong::new(
            format!("{file} holds no private key"),
            "write a PEM file with an unencrypted PKCS#8, PKCS#1 or SEC1 key",
        ),
        CertificateError::UnusableKey => Wrong::new(
            format!("the private key in {file} cannot be used"),
            "use an RSA key of 2048 bits or more, P-256, P-384 or Ed25519",
        ),
        CertificateError::Mismatch => Wrong::new(
            format!("the private key in {file} does not belong to the certificate"),
            "write the key that the certificate was made with; in the certificate's file the \
             leaf comes first",
        ),
    }
}

pub(super) fn read(at: &At<FilePath>, key: &str, compiler: &mut Compiler<'_>) -> Option<Vec<u8>> {
    let path = compiler.base.join(&at.value.0);
    match compiler.sources.read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let wrong = unreadable(&path.display().to_string(), &error);
            compiler.problems.error(at.spot, key, wrong);
            None
        }
    }
}

/// A private key is for the user that runs Vestibule.
pub(super) fn check_mode(at: &At<FilePath>, key: &str, compiler: &mut Compiler<'_>) {
    let path = compiler.base.join(&at.value.0);
    let Ok(meta) = Path::metadata(&path) else { return };
    let mode = meta.permissions().mode() & 0o777;
    let path = path.display();
    let remedy = format!("chmod 600 {path} (a Kubernetes secret: defaultMode: 0400)");
    if mode & 0o007 != 0 {
        let what = format!("every user of this machine can read the private key {path}");
        compiler.problems.error(at.spot, key, Wrong::new(what, remedy));
    } else if mode & 0o070 != 0 {
        let what = format!("the group of {path} can read the private key");
        compiler.problems.warning(at.spot, key, Wrong::new(what, remedy));
    }
}

fn check_validity(
    certificate: &Certificate,
    at: &At<FilePath>,
    key: &str,
    compiler: &mut Compiler<'_>,
) {
    let now = compiler.now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs() as i64);
    let file = compiler.base.join(&at.value.0);
    let file = file.display();
    let what = if now > certificate.not_after {
        format!("the certificate in {file} expired on {}", day(certificate.not_after))
    } else if now < certificate.not_before {
        format!("the certificate in {file} is not valid before {}", day(certificate.not_before))
    } else {
        return;
    };
    compiler.problems.warning(at.spot, key, Wrong::new(what, "browsers will refuse it; renew it"));
}

fn day(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + std::time::Duration::from_secs(seconds));
    // "Sun, 06 Nov 1994 08:49:37 GMT"
    date.get(5..16).unwrap_or(&date).to_owned()
}

/// Says which hosts of a tenant no certificate covers.
pub fn check_coverage(part: &Part, store: &CertStore, problems: &mut Problems) {
    // Thousands of personas may share a host; saying it once is enough.
    let mut reported: HashSet<&str> = HashSet::new();
    for placed in &part.placed {
        for (host, spot) in placed.hosts() {
            if store.find(host).is_none() && reported.insert(host) {
                let key = format!("{}.hosts", placed.what.key());
                problems.error(spot, key, uncovered(host, store));
            }
        }
    }
}

fn uncovered(host: &str, store: &CertStore) -> Wrong {
    let names = store.names();
    let mut covered = names.iter().take(5).map(|name| &**name).collect::<Vec<_>>().join(", ");
    if names.len() > 5 {
        covered = format!("{covered} and {} more", names.len() - 5);
    }
    let what = format!("no certificate covers `{host}`; there are certificates for {covered}");
    let remedy = match host.strip_prefix("*.") {
        Some(_) => format!("add a wildcard certificate for {host} to certificates of [tls]"),
        None => "add one to certificates of [tls]".into(),
    };
    Wrong::new(what, remedy)
}
