//! `X-Vestibule-Assertion`: the identity of a session as a short-lived JWT, for apps that do not
//! trust their network.
//!
//! Decides what the token claims and which key signs it; [`store`] decides when it is made anew. One
//! token serves every request of a session for a while: it has no `jti`, because an app that
//! refused it twice would refuse its own page. The audience is the persona, so that an app that
//! serves several can tell them apart. `sub` is there only when there is a user id, and
//! `assurance` says what it is worth.

pub mod store;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL;
use hmac::Mac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::identity::{Identity, Place, SessionHash, State, push_hex};
use super::metadata::mode_name;
use super::secret::{HmacSha256, Secret};
use super::session::UnixSeconds;

#[cfg(test)]
mod tests;

/// How long an assertion is valid, where nothing else is configured.
pub const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// The persona's part of the configuration, compiled.
#[derive(Debug)]
pub struct AssertionPolicy {
    pub key: Arc<AssertionKey>,
    /// `iss`: which Vestibule speaks; [`ISSUER`] where nothing else is configured.
    pub issuer: Box<str>,
    /// `aud`: whom it speaks to; [`audience`] where nothing else is configured.
    pub audience: Box<str>,
    /// Whole seconds, at least one.
    pub ttl: Duration,
}

/// Who issues assertions.
pub const ISSUER: &str = "vestibule";

/// `TENANT/PERSONA`.
pub fn audience(place: Place<'_>) -> String {
    [place.tenant, "/", place.persona].concat()
}

/// What signs assertions. The algorithm belongs to the key: a token's own `alg` decides nothing.
pub struct AssertionKey {
    signer: Signer,
    id: Box<str>,
    /// The JOSE header, encoded, with its dot.
    header: Box<str>,
}

enum Signer {
    Hs256(Box<HmacSha256>),
    EdDsa(Box<Ed25519KeyPair>),
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// HS256 needs 32 bytes (RFC 7518, section 3.2).
    TooShort,
    /// Not an Ed25519 key in PKCS#8.
    NotEd25519,
}

impl AssertionKey {
    /// A key that the tenant's app shares with us.
    pub fn hs256(secret: &Secret) -> Result<Self, KeyError> {
        if secret.len() < 32 {
            return Err(KeyError::TooShort);
        }
        // The name is computed under another label, so that it tells nothing that a signature
        // does not.
        let name = secret.derive("vestibule assertion kid", &[]).finalize().into_bytes();
        let mut id = String::new();
        push_hex(&name[..8], &mut id);
        Ok(Self::named(Signer::Hs256(Box::new(secret.hmac())), id))
    }

    /// A tenant's key where none is configured, the same on every machine that has the secret;
    /// apps learn it from the JWKS.
    pub fn of_tenant(secret: &Secret, tenant: &str) -> Result<Self, KeyError> {
        Self::ed25519_from_seed(&secret.seed("vestibule assertion 1 ed25519", &[tenant]))
    }

    /// A key from 32 random bytes.
    pub fn ed25519_from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::NotEd25519)?;
        Ok(Self::ed25519(pair))
    }

    /// A key as `openssl genpkey -algorithm ed25519 -outform DER` makes it.
    pub fn ed25519_from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::NotEd25519)?;
        Ok(Self::ed25519(pair))
    }

    fn ed25519(pair: Ed25519KeyPair) -> Self {
        // The thumbprint of RFC 7638: these members, in this order, without space.
        let x = BASE64_URL.encode(pair.public_key().as_ref());
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let id = BASE64_URL.encode(Sha256::digest(members));
        Self::named(Signer::EdDsa(Box::new(pair)), id)
    }

    fn named(signer: Signer, id: String) -> Self {
        let alg = algorithm(&signer);
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{id}"}}"#);
        let header = BASE64_URL.encode(header) + ".";
        Self { signer, id: id.into(), header: header.into() }
    }

    /// `kid`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half as a JWK (RFC 8037); a shared secret has none.
    fn jwk(&self) -> Option<serde_json::Value> {
        let Signer::EdDsa(pair) = &self.signer else { return None };
        Some(serde_json::json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": self.id,
            "x": BASE64_URL.encode(pair.public_key().as_ref()),
        }))
    }

    fn sign(&self, input: &[u8]) -> String {
        match &self.signer {
            Signer::Hs256(key) => BASE64_URL
                .encode(HmacSha256::clone(key).chain_update(input).finalize().into_bytes()),
            Signer::EdDsa(pair) => BASE64_URL.encode(pair.sign(input).as_ref()),
        }
    }

    fn signed(&self, input: &[u8], signature: &[u8]) -> bool {
        match &self.signer {
            Signer::Hs256(key) => {
                HmacSha256::clone(key).chain_update(input).verify_slice(signature).is_ok()
            }
            Signer::EdDsa(pair) => UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref())
                .verify(input, signature)
                .is_ok(),
        }
    }
}

fn algorithm(signer: &Signer) -> &'static str {
    match signer {
        Signer::Hs256(_) => "HS256",
        Signer::EdDsa(_) => "EdDSA",
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey")
            .field("algorithm", &algorithm(&self.signer))
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The JWKS document of the public keys among these; equal keys appear once.
pub fn jwks<'k>(keys: impl IntoIterator<Item = &'k AssertionKey>) -> String {
    // The id is a hash of the key.
    let mut seen = HashSet::new();
    let keys = keys.into_iter().filter(|key| seen.insert(key.id()));
    let documents: Vec<_> = keys.filter_map(AssertionKey::jwk).collect();
    serde_json::json!({ "keys": documents }).to_string()
}

/// What an assertion says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims<T> {
    pub iss: T,
    pub aud: T,
    /// The user id.
    #[serde(skip_serializing_if = "Option::is_none", default = "absent")]
    pub sub: Option<T>,
    pub tenant: T,
    pub persona: T,
    #[serde(skip_serializing_if = "Option::is_none", default = "absent")]
    pub device: Option<T>,
    pub mode: T,
    pub assurance: T,
    /// `awaiting`, or absent.
    #[serde(skip_serializing_if = "Option::is_none", default = "absent")]
    pub identity_state: Option<T>,
    /// `X-Vestibule-Session`.
    #[serde(skip_serializing_if = "Option::is_none", default = "absent")]
    pub session: Option<T>,
    pub iat: u64,
    pub exp: u64,
}

fn absent<T>() -> Option<T> {
    None
}

/// Signs what is known about the asking.
pub fn mint(
    policy: &AssertionPolicy,
    place: Place<'_>,
    identity: &Identity,
    session: Option<&SessionHash>,
    now: UnixSeconds,
) -> String {
    let claims = Claims {
        iss: &*policy.issuer,
        aud: &*policy.audience,
        sub: identity.user_id.as_deref(),
        tenant: place.tenant,
        persona: place.persona,
        device: identity.device.as_deref(),
        mode: mode_name(identity.mode),
        assurance: identity.assurance.as_str(),
        identity_state: (identity.state == State::Awaiting).then_some("awaiting"),
        session: session.map(SessionHash::as_str),
        iat: now.0,
        exp: now.0.saturating_add(policy.ttl.as_secs().max(1)),
    };
    let claims = serde_json::to_vec(&claims).expect("strings and numbers are JSON");
    let mut token = String::with_capacity(policy.key.header.len() + claims.len() * 4 / 3 + 96);
    token.push_str(&policy.key.header);
    BASE64_URL.encode_string(claims, &mut token);
    let signature = policy.key.sign(token.as_bytes());
    token.push('.');
    token.push_str(&signature);
    token
}

/// The tenant and persona that an assertion claims to be of. Nothing is verified: it says whose key
/// to try, and no more.
pub fn claimed_place(token: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Claimed {
        tenant: String,
        persona: String,
    }
    let (_, rest) = token.split_once('.')?;
    let (claims, _) = rest.split_once('.')?;
    let claims: Claimed = serde_json::from_slice(&BASE64_URL.decode(claims).ok()?).ok()?;
    Some((claims.tenant, claims.persona))
}

/// Reads an assertion as a strict app would; nothing where the app would refuse it.
pub fn verify(policy: &AssertionPolicy, token: &str, now: UnixSeconds) -> Option<Claims<String>> {
    let (input, signature) = token.rsplit_once('.')?;
    let (header, claims) = input.split_at_checked(policy.key.header.len())?;
    let signature = BASE64_URL.decode(signature).ok()?;
    if *header != *policy.key.header || !policy.key.signed(input.as_bytes(), &signature) {
        return None;
    }
    let claims = BASE64_URL.decode(claims).ok()?;
    let claims: Claims<String> = serde_json::from_slice(&claims).ok()?;
    let is_for_us = *claims.iss == *policy.issuer && *claims.aud == *policy.audience;
    (is_for_us && now.0 < claims.exp).then_some(claims)
}
