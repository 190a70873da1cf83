//! A development certificate authority and its leaves, made with rcgen and never committed.
//!
//! Two users: tests, which keep everything in memory ([`DevCa::generate`]), and the demo, which
//! keeps its authority in a directory ([`DevStore`]) so that a browser that trusts it once goes on
//! trusting it.
//!
//! The demo's authority must be harmless to trust: its name constraints permit `localhost`, names
//! under it, and the loopback addresses, and a verifier refuses anything else that its key signs.
//! Keys are written with mode 0600 and appear in no `Debug` output.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks of browsers and virtual machines lag.
const BACKDATE: Duration = DAY;
const CA_VALIDITY: Duration = Duration::from_secs(3 * 365 * 24 * 60 * 60);
/// With [`BACKDATE`] below the 397 days that browsers allow a leaf.
const LEAF_VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// A certificate with less than this left is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate authority whose key is in memory.
pub struct DevCa {
    name: String,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf certificate for TLS servers, and its key.
#[derive(Clone)]
pub struct Leaf {
    /// The leaf, then whatever a client needs to reach the authority (nothing, here).
    pub cert_chain_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// Why a certificate could not be made or kept.
#[derive(Debug)]
pub enum DevError {
    /// A name is not a DNS name, or the system gave no randomness.
    Certificate(rcgen::Error),
    Io(PathBuf, io::Error),
}

/// Which names an authority may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Anything,
    Loopback,
}

impl DevCa {
    /// A fresh authority without limits on names, for tests; it touches no disk.
    pub fn generate() -> Result<Self, DevError> {
        Self::make(Scope::Anything, SystemTime::now())
    }

    /// A fresh authority that can vouch for `localhost`, `*.localhost` and loopback addresses only.
    pub fn generate_for_loopback() -> Result<Self, DevError> {
        Self::make(Scope::Loopback, SystemTime::now())
    }

    /// Its common name: a different one for each key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The authority's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these DNS names (wildcards too) and IP addresses.
    pub fn issue(&self, names: &[&str]) -> Result<Leaf, DevError> {
        self.issue_at(names, SystemTime::now())
    }

    fn make(scope: Scope, now: SystemTime) -> Result<Self, DevError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        let id = params.key_identifier(&key);
        // One name for one key: two authorities under one name confuse browsers' stores.
        let tag: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("Vestibule demo CA {tag}");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Vestibule development");
        params.distinguished_name.push(DnType::CommonName, name.clone());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, CA_VALIDITY);
        if scope == Scope::Loopback {
            params.name_constraints = Some(loopback_only());
        }
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { name, pem, issuer: Issuer::new(params, key) })
    }

    fn issue_at(&self, names: &[&str], now: SystemTime) -> Result<Leaf, DevError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let common_name = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, LEAF_VALIDITY);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { cert_chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The authority in these two files' texts, unless they do not belong together or it expires
    /// soon.
    fn read(pem: &str, key_pem: &str, now: SystemTime) -> Option<Self> {
        let key = KeyPair::from_pem(key_pem).ok()?;
        let certificate = Parsed::read(pem)?;
        if !certificate.usable(&key, now) {
            return None;
        }
        let issuer = Issuer::from_ca_cert_pem(pem, key).ok()?;
        Some(Self { name: certificate.common_name?, pem: pem.to_owned(), issuer })
    }
}

/// An authority kept in a directory, with its leaves beside it.
#[derive(Debug)]
pub struct DevStore {
    directory: PathBuf,
    ca: DevCa,
    now: SystemTime,
}

/// Where a kept leaf lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl DevStore {
    /// Opens `directory`, made when missing, and its authority, made when missing or used up.
    pub fn open(directory: &Path) -> Result<Self, DevError> {
        Self::open_at(directory, SystemTime::now())
    }

    fn open_at(directory: &Path, now: SystemTime) -> Result<Self, DevError> {
        make_private_directory(directory).map_err(at(directory))?;
        let (cert, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        let kept = match (read_if_there(&cert)?, read_if_there(&key)?) {
            (Some(pem), Some(key_pem)) => DevCa::read(&pem, &key_pem, now),
            _ => None,
        };
        let ca = match kept {
            Some(ca) => ca,
            None => {
                let ca = DevCa::make(Scope::Loopback, now)?;
                // The key first: a certificate without its key would be trusted for nothing.
                write_private(&key, &ca.issuer.key().serialize_pem())?;
                write_private(&cert, &ca.pem)?;
                ca
            }
        };
        Ok(Self { directory: directory.to_owned(), ca, now })
    }

    pub fn ca(&self) -> &DevCa {
        &self.ca
    }

    /// The file that a browser is told to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The leaf `name` for exactly these DNS names and addresses; made anew when it covers others,
    /// comes from another authority, or expires soon.
    pub fn leaf(&self, name: &str, names: &[&str]) -> Result<LeafFiles, DevError> {
        let files = LeafFiles {
            cert: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        if !self.is_current(&files, names)? {
            let leaf = self.ca.issue_at(names, self.now)?;
            write_private(&files.key, &leaf.key_pem)?;
            write_private(&files.cert, &leaf.cert_chain_pem)?;
        }
        Ok(files)
    }

    fn is_current(&self, files: &LeafFiles, names: &[&str]) -> Result<bool, DevError> {
        let (Some(pem), Some(key_pem)) = (read_if_there(&files.cert)?, read_if_there(&files.key)?)
        else {
            return Ok(false);
        };
        let (Some(leaf), Ok(key)) = (Parsed::read(&pem), KeyPair::from_pem(&key_pem)) else {
            return Ok(false);
        };
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let ours = Parsed::read(&self.ca.pem).is_some_and(|ca| ca.subject == leaf.issuer);
        Ok(ours && leaf.usable(&key, self.now) && leaf.names == wanted)
    }
}

/// What is decided on in a kept certificate.
struct Parsed {
    common_name: Option<String>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    public_key: Vec<u8>,
    names: BTreeSet<String>,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

impl Parsed {
    fn read(pem: &str) -> Option<Self> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
        let alternatives = certificate.subject_alternative_name().ok()?;
        let names = alternatives
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(name_text)
            .collect();
        let common_name = certificate.subject().iter_common_name().next();
        Some(Self {
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            subject: certificate.subject().as_raw().to_owned(),
            issuer: certificate.issuer().as_raw().to_owned(),
            public_key: certificate.public_key().raw.to_owned(),
            names,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }

    fn usable(&self, key: &KeyPair, now: SystemTime) -> bool {
        let now = since_1970(now).as_secs() as i64;
        let fresh = self.not_before <= now && now + RENEW_BEFORE.as_secs() as i64 <= self.not_after;
        fresh && self.public_key == key.subject_public_key_info()
    }
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn loopback_only() -> NameConstraints {
    NameConstraints {
        permitted_subtrees: vec![
            // RFC 5280: a DNS constraint covers the name and everything below it.
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(Ipv4Addr::LOCALHOST.octets(), 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(
                Ipv6Addr::LOCALHOST.octets(),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    }
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, length: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(now).saturating_sub(BACKDATE);
    params.not_after = epoch + since_1970(now) + length;
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn make_private_directory(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn read_if_there(path: &Path) -> Result<Option<String>, DevError> {
    match std::fs::read(path) {
        // Not text: no certificate of ours, so it is replaced like any other that cannot be used.
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DevError::Io(path.to_owned(), error)),
    }
}

/// Writes beside and renames, so that no reader sees half a file and no key is ever readable by
/// others, not even for a moment.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), DevError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        DevError::Io(path.to_owned(), error)
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DevError {
    let path = path.to_owned();
    move |error| DevError::Io(path, error)
}

impl From<rcgen::Error> for DevError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

impl fmt::Display for DevError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "cannot make a certificate: {error}"),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DevError {}

impl fmt::Debug for DevCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevCa").field("pem", &self.pem).finish_non_exhaustive()
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("cert_chain_pem", &self.cert_chain_pem).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
