//! Where secrets are fetched: from variables and files, once, when a configuration is compiled.
//!
//! Decides whether a reference leads to something that can be used. What it leads to must not get
//! into a problem, not even its length where it is long enough.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::error::Wrong;
use super::super::file::unreadable;
use super::super::process_secret;
use super::super::raw::Root;
use super::super::source::{At, Spot};
use super::super::values::SecretRef;
use super::Compiler;
use crate::policy::secret::Secret;
use crate::policy::session::keys::SessionSecrets;

/// Shorter ones can be guessed: an HMAC-SHA256 key is as long as its output (RFC 2104, section 3).
const SHORTEST: usize = 32;

/// What the reference leads to. Line ends after it do not count: `echo` writes one, and the same
/// secret is the same key wherever it comes from.
fn secret(at: &At<SecretRef>, key: &str, compiler: &mut Compiler<'_>) -> Option<Secret> {
    let bytes = bytes(at, key, compiler)?;
    let kept = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    let secret = kept.and_then(|last| Secret::new(&bytes[..=last]));
    if secret.is_none() {
        empty(at, key, compiler);
    }
    secret
}

/// [`secret`], refused where it is too short to sign with.
pub fn signing(at: &At<SecretRef>, key: &str, compiler: &mut Compiler<'_>) -> Option<Secret> {
    let secret = secret(at, key, compiler)?;
    if secret.len() >= SHORTEST {
        return Some(secret);
    }
    let what =
        format!("{} is shorter than {SHORTEST} bytes, and can be guessed", name(at, compiler));
    let remedy = "write there what `openssl rand -hex 32` prints";
    compiler.problems.error(at.spot, key, Wrong::new(what, remedy));
    None
}

/// [`secret`], with which a tenant's own server signs too: it may be older than we are, so that one
/// which nobody guesses in a lifetime will do.
pub fn agreed(at: &At<SecretRef>, key: &str, compiler: &mut Compiler<'_>) -> Option<Secret> {
    const SHORTEST_AGREED: usize = 16;
    let secret = secret(at, key, compiler)?;
    let remedy = "write there, and where launches are signed, what `openssl rand -hex 32` prints";
    if secret.len() < SHORTEST_AGREED {
        let name = name(at, compiler);
        let what = format!("{name} is shorter than {SHORTEST_AGREED} bytes, and can be guessed");
        compiler.problems.error(at.spot, key, Wrong::new(what, remedy));
        return None;
    }
    if secret.len() < SHORTEST {
        let what = format!("{} is shorter than {SHORTEST} bytes", name(at, compiler));
        compiler.problems.warning(at.spot, key, Wrong::new(what, remedy));
    }
    Some(secret)
}

/// What the reference leads to, byte for byte; never nothing.
pub fn bytes(at: &At<SecretRef>, key: &str, compiler: &mut Compiler<'_>) -> Option<Vec<u8>> {
    if !may_use(at, key, compiler) {
        return None;
    }
    let bytes = match &at.value {
        SecretRef::Environment(variable) => match (compiler.environment)(variable) {
            Some(value) => value.into_bytes(),
            None => {
                let what = format!("the environment variable `{variable}` is not set");
                let wrong = Wrong::new(what, format!("set {variable}, or write another reference"));
                compiler.problems.error(at.spot, key, wrong);
                return None;
            }
        },
        SecretRef::File(path) => {
            let path = compiler.base.join(path);
            match compiler.sources.read(&path) {
                Ok(bytes) => {
                    warn_of_readers(at.spot, &path, key, compiler);
                    bytes
                }
                Err(error) => {
                    let wrong = unreadable(&path.display().to_string(), &error);
                    compiler.problems.error(at.spot, key, wrong);
                    return None;
                }
            }
        }
    };
    if bytes.is_empty() {
        empty(at, key, compiler);
        return None;
    }
    Some(bytes)
}

/// Whether who wrote the reference may; said where not.
pub fn may_use(at: &At<SecretRef>, key: &str, compiler: &mut Compiler<'_>) -> bool {
    let verdict = compiler.trust.secret(&at.value);
    let is_fine = verdict.is_ok();
    if let Err(wrong) = verdict {
        compiler.problems.error(at.spot, key, wrong);
    }
    is_fine
}

/// What the reference names.
pub fn name(at: &At<SecretRef>, compiler: &Compiler<'_>) -> String {
    match &at.value {
        SecretRef::Environment(variable) => format!("the environment variable `{variable}`"),
        SecretRef::File(path) => compiler.base.join(path).display().to_string(),
    }
}

fn empty(at: &At<SecretRef>, key: &str, compiler: &mut Compiler<'_>) {
    let what = format!("{} is empty", name(at, compiler));
    let wrong = Wrong::new(what, "put the secret there, or write another reference");
    compiler.problems.error(at.spot, key, wrong);
}

/// A warning where a private key of TLS would be refused: secrets that container platforms mount
/// are readable by everyone in the container unless somebody says otherwise.
fn warn_of_readers(spot: Spot, path: &Path, key: &str, compiler: &mut Compiler<'_>) {
    let Ok(meta) = path.metadata() else { return };
    let path = path.display();
    let what = match meta.permissions().mode() {
        mode if mode & 0o007 != 0 => {
            format!("every user of this machine can read the secret {path}")
        }
        mode if mode & 0o070 != 0 => format!("the group of {path} can read the secret"),
        _ => return,
    };
    let remedy = format!("chmod 600 {path} (a Kubernetes secret: defaultMode: 0400)");
    compiler.problems.warning(spot, key, Wrong::new(what, remedy));
}

/// What signs and verifies sessions. `has_files`: tenants have files of their own.
pub fn sessions(root: &Root, has_files: bool, compiler: &mut Compiler<'_>) -> SessionSecrets {
    const KEY: &str = "server.session_secrets";
    let server = root.server.as_ref();
    let Some(list) = server.and_then(|at| at.value.session_secrets.as_ref()) else {
        let mut tenants = root.tenants.iter().flat_map(|at| at.value.iter());
        let has_persona = has_files
            || tenants.any(|it| it.value.personas.iter().any(|at| !at.value.0.is_empty()));
        if has_persona && !compiler.problems.has_error_below(KEY) {
            let spot = server.map_or_else(Spot::default, |at| at.spot);
            let what = "there are none: sessions end when this process stops";
            let remedy = "write session_secrets = [\"env:NAME\"], and in NAME what `openssl rand \
                          -hex 32` prints";
            compiler.problems.warning(spot, KEY, Wrong::new(what, remedy));
        }
        return SessionSecrets::new(process_secret::get(), Vec::new());
    };
    if list.value.is_empty() {
        let wrong = Wrong::new("the list is empty", "write [\"env:NAME\"], or leave the key out");
        compiler.problems.error(list.spot, KEY, wrong);
    }
    let mut secrets: Vec<Secret> = Vec::with_capacity(list.value.len());
    for (index, at) in list.value.iter().enumerate() {
        let key = format!("{KEY}[{index}]");
        let Some(secret) = signing(at, &key, compiler) else { continue };
        if secrets.contains(&secret) {
            let what = "the same secret stands before this one";
            let wrong = Wrong::new(what, "write another one, or leave this one out");
            compiler.problems.warning(at.spot, key, wrong);
            continue;
        }
        secrets.push(secret);
    }
    let mut secrets = secrets.into_iter();
    // Where none was good there was an error, and nothing is ever signed with this.
    let signs = secrets.next().unwrap_or_else(process_secret::get);
    SessionSecrets::new(signs, secrets.collect())
}
