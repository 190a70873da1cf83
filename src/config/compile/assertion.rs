//! What signs the assertions of each persona, and which keys apps may ask for.
//!
//! Decides whether anybody could verify an assertion: only where one is configured, for the persona
//! or its tenant, or where the apps can fetch keys from the internal listener. A key of one tenant
//! must never sign for another.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::Entry;
use super::super::source::{At, Spot};
use super::super::values::{AssertionAlgorithm, SecretRef, Timeout};
use super::{Compiler, secrets};
use crate::policy::assertion::{AssertionKey, AssertionPolicy, DEFAULT_TTL, ISSUER, audience};
use crate::policy::identity::Place;
use crate::policy::session::keys::SessionSecrets;

/// Shorter ones would expire under way, and longer ones outlive what they say.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The assertions of one tenant.
pub struct Assertions<'c> {
    tenant: Arc<str>,
    sessions: &'c SessionSecrets,
    /// For personas that have nothing of their own.
    common: Option<Settings>,
    /// Made when first needed, one for each session secret; the first signs.
    derived: Vec<Arc<AssertionKey>>,
    configured: Vec<Arc<AssertionKey>>,
}

#[derive(Clone)]
struct Settings {
    key: Arc<AssertionKey>,
    ttl: Duration,
}

impl<'c> Assertions<'c> {
    /// `is_asked_for`: apps can fetch keys, so that every persona has assertions.
    pub fn new(
        tenant: &Entry<raw::Tenant>,
        sessions: &'c SessionSecrets,
        is_asked_for: bool,
        compiler: &mut Compiler<'_>,
    ) -> Self {
        let name = tenant.name.clone();
        let (derived, configured) = (Vec::new(), Vec::new());
        let mut it = Self { tenant: name, sessions, common: None, derived, configured };
        it.common = match &tenant.value.assertion {
            Some(at) => {
                let key = format!("tenants.{}.assertion", tenant.name);
                it.settings(at.spot, &at.value, &key, compiler)
            }
            None if is_asked_for => Some(Settings { key: it.derived(), ttl: DEFAULT_TTL }),
            None => None,
        };
        it
    }

    pub fn persona(
        &mut self,
        one: &Entry<raw::Persona>,
        compiler: &mut Compiler<'_>,
    ) -> Option<Arc<AssertionPolicy>> {
        let settings = match &one.value.assertion {
            Some(at) => {
                let key = format!("tenants.{}.personas.{}.assertion", self.tenant, one.name);
                self.settings(at.spot, &at.value, &key, compiler)
            }
            None => self.common.clone(),
        }?;
        let place = Place { tenant: &self.tenant, persona: &one.name };
        Some(Arc::new(AssertionPolicy {
            key: settings.key,
            issuer: ISSUER.into(),
            audience: audience(place).into(),
            ttl: settings.ttl,
        }))
    }

    /// The EdDSA keys of this tenant's personas.
    pub fn published(self) -> Vec<Arc<AssertionKey>> {
        let mut keys = self.derived;
        keys.extend(self.configured);
        keys
    }

    fn settings(
        &mut self,
        spot: Spot,
        raw: &raw::Assertion,
        key: &str,
        compiler: &mut Compiler<'_>,
    ) -> Option<Settings> {
        let ttl = raw.ttl.as_ref().map_or(DEFAULT_TTL, |at| ttl(at, key, compiler));
        let algorithm = raw.algorithm.as_ref().map(|at| at.value);
        let name = format!("{key}.key");
        // What was written wrongly was reported, and is not missing.
        let is_broken = |name: &str| compiler.problems.has_error_below(&format!("{key}.{name}"));
        let key = match (algorithm, &raw.key) {
            (None, _) if is_broken("algorithm") => None,
            (_, None) if is_broken("key") => None,
            (Some(AssertionAlgorithm::Hs256), Some(at)) => {
                let secret = secrets::signing(at, &name, compiler)?;
                if self.sessions.iter().any(|one| *one == secret) {
                    let what = "it signs sessions too, and the app could sign its own";
                    let remedy = "write another secret, which `openssl rand -hex 32` prints";
                    compiler.problems.error(at.spot, name, Wrong::new(what, remedy));
                }
                AssertionKey::hs256(&secret).ok().map(Arc::new)
            }
            (Some(AssertionAlgorithm::Hs256), None) => {
                let what = "HS256 needs a key that the app knows too";
                let remedy = "add key = \"env:NAME\", and in NAME what `openssl rand -hex 32` \
                              prints; or write algorithm = \"EdDSA\"";
                compiler.problems.error(spot, key, Wrong::new(what, remedy));
                None
            }
            (Some(AssertionAlgorithm::EdDsa) | None, Some(at)) => {
                let key = Arc::new(ed25519(at, &name, compiler)?);
                self.configured.push(Arc::clone(&key));
                Some(key)
            }
            (Some(AssertionAlgorithm::EdDsa) | None, None) => Some(self.derived()),
        };
        key.map(|key| Settings { key, ttl })
    }

    fn derived(&mut self) -> Arc<AssertionKey> {
        if self.derived.is_empty() {
            let key = |secret| AssertionKey::of_tenant(secret, &self.tenant);
            let keys = self.sessions.iter().map(|secret| key(secret).map(Arc::new));
            self.derived =
                keys.collect::<Result<_, _>>().expect("any 32 bytes make an Ed25519 key");
        }
        Arc::clone(&self.derived[0])
    }
}

fn ttl(at: &At<Timeout>, key: &str, compiler: &mut Compiler<'_>) -> Duration {
    let ttl = at.value.0;
    if !(SHORTEST..=LONGEST).contains(&ttl) || ttl.subsec_nanos() != 0 {
        let what = "an assertion is valid for whole seconds, from 10s to 1h";
        let remedy = "write ttl = \"60s\"; a session's is made anew when half of its time is over";
        compiler.problems.error(at.spot, format!("{key}.ttl"), Wrong::new(what, remedy));
    }
    ttl
}

/// A key as `openssl genpkey -algorithm ed25519` makes it, in PEM or DER.
fn ed25519(at: &At<SecretRef>, key: &str, compiler: &mut Compiler<'_>) -> Option<AssertionKey> {
    let bytes = secrets::bytes(at, key, compiler)?;
    let parsed = match PrivatePkcs8KeyDer::from_pem_slice(&bytes) {
        Ok(der) => AssertionKey::ed25519_from_pkcs8(der.secret_pkcs8_der()),
        Err(_) => AssertionKey::ed25519_from_pkcs8(&bytes),
    };
    if parsed.is_err() {
        let what =
            format!("{} is not a private Ed25519 key in PKCS#8", secrets::name(at, compiler));
        let remedy = "make one with `openssl genpkey -algorithm ed25519`; a secret that the app \
                      shares needs algorithm = \"HS256\"";
        compiler.problems.error(at.spot, key, Wrong::new(what, remedy));
    }
    parsed.ok()
}
