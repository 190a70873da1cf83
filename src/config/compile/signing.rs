//! What the launches of each signed persona are verified with.
//!
//! Decides which secrets a persona has, its own or its tenant's, and which parameters are outside
//! of a signature. The secrets of launches must not sign anything else, and whoever shares one
//! among personas is told what that means: the signed text names neither host nor path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::error::{Problems, Wrong};
use super::super::raw;
use super::super::reader::Entry;
use super::super::source::{At, Spot};
use super::super::values::{Name, Replay as Written, SecretRef, Timeout};
use super::identity::RESERVED;
use super::{Compiler, secrets};
use crate::policy::limits::{Rate, Rules};
use crate::policy::secret::Secret;
use crate::policy::session::keys::SessionSecrets;
use crate::policy::signature::{Replay, SigningPolicy, Terms};
use crate::state::replay::DEFAULT_CAPACITY;

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// Shorter ones end while the page loads. Longer ones are no launches but passwords, and every
/// signature is remembered as long as it counts.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A persona that launches with a secret.
#[derive(Debug)]
pub struct Signer {
    /// A one-way image of the secret.
    image: [u8; 32],
    persona: String,
    spot: Spot,
    key: String,
}

/// Who signs with which secret, of all tenants.
#[derive(Default)]
pub struct Signers<'p> {
    /// By the secret's image, in the order of the files; with the number of the file.
    users: BTreeMap<[u8; 32], Vec<(&'p Signer, u32)>>,
}

impl<'p> Signers<'p> {
    /// Those of one file.
    pub fn add(&mut self, signers: &'p [Signer], file: u32) {
        for signer in signers {
            self.users.entry(signer.image).or_default().push((signer, file));
        }
    }

    /// Warns where one secret is that of several personas.
    pub fn report(self, problems: &mut Problems) {
        for users in self.users.into_values() {
            let [(first, _), .., (last, file)] = users.as_slice() else { continue };
            let (who, others) = match users.len() {
                2 => (format!("{} and {}", first.persona, last.persona), "the other"),
                all => (
                    format!("{}, {} and {} more", first.persona, last.persona, all - 2),
                    "the others",
                ),
            };
            let what =
                format!("{who} have the same secret: a link that is signed for one opens {others}");
            let remedy = "give each a secret of its own, where that matters";
            let spot = Spot { file: *file, ..last.spot };
            problems.warning(spot, last.key.clone(), Wrong::new(what, remedy));
        }
    }
}

/// The signatures of one tenant's launches.
pub struct Signing<'c, 'r> {
    tenant: &'r Entry<raw::Tenant>,
    sessions: &'c SessionSecrets,
    signers: Vec<Signer>,
    /// Of all its launches together.
    rate: Rate,
    /// For personas that have nothing of their own.
    common: Option<Settings>,
}

#[derive(Clone)]
struct Settings {
    secrets: Vec<(Secret, Spot, String)>,
    max_age: Duration,
    replay: Replay,
    ignore: Box<[Box<str>]>,
}

impl<'c, 'r> Signing<'c, 'r> {
    pub fn new(
        tenant: &'r Entry<raw::Tenant>,
        sessions: &'c SessionSecrets,
        rules: &Rules,
        compiler: &mut Compiler<'_>,
    ) -> Self {
        let rate = rules.tenant();
        let mut it = Self { tenant, sessions, signers: Vec::new(), rate, common: None };
        if let Some(at) = &tenant.value.signing {
            let key = format!("tenants.{}.signing", tenant.name);
            it.common = Some(it.settings(&at.value, &key, compiler));
            let mut personas = tenant.value.personas.iter().flat_map(|at| at.value.iter());
            let uses = |one: &Entry<raw::Persona>| is_signed(one) && one.value.signing.is_none();
            if !personas.any(uses) {
                let what = "no signed persona is without its own, so that the key has no effect";
                let remedy = "add signed = true to a persona without signing, or leave it out";
                compiler.problems.error(at.spot, key, Wrong::new(what, remedy));
            }
        }
        it
    }

    /// Every persona and the secrets that its launches are signed with.
    pub fn signers(self) -> Vec<Signer> {
        self.signers
    }

    /// Nothing for an unsigned persona, and where nothing was right.
    pub fn persona(
        &mut self,
        one: &Entry<raw::Persona>,
        compiler: &mut Compiler<'_>,
    ) -> Option<Arc<SigningPolicy>> {
        let raw = &*one.value;
        let settings = match &raw.signing {
            Some(at) => {
                let key = format!("tenants.{}.personas.{}.signing", self.tenant.name, one.name);
                Some(self.settings(&at.value, &key, compiler))
            }
            None => self.common.clone(),
        };
        let settings = settings.filter(|_| is_signed(one))?;
        self.refuse_unsigned_variables(one, &settings, compiler);
        let persona = format!("{}/{}", self.tenant.name, one.name);
        self.signers.extend(settings.secrets.iter().map(|(secret, spot, key)| Signer {
            image: secret.seed("signer", &[]),
            persona: persona.clone(),
            spot: *spot,
            key: key.clone(),
        }));
        let variables = raw.variables.iter().flat_map(|list| &list.value);
        let variables = variables.filter_map(|at| at.value.name.as_ref()).map(|at| &*at.value.0);
        // The direction of text is nobody's secret, and pages change it.
        let reserved = RESERVED.into_iter().filter(|name| *name != "direction");
        let terms = Terms {
            max_age: settings.max_age,
            replay: settings.replay,
            ignore: settings.ignore,
            claims: reserved.chain(variables).map(Box::from).collect(),
            forward_signature: raw.forward_signature.as_ref().is_some_and(|at| at.value),
        };
        let secrets: Vec<Secret> = settings.secrets.into_iter().map(|(it, ..)| it).collect();
        SigningPolicy::new(&secrets, terms).map(Arc::new)
    }

    fn settings(&self, raw: &raw::Signing, key: &str, compiler: &mut Compiler<'_>) -> Settings {
        let settings = Settings {
            secrets: self.secrets(raw.secrets.as_ref(), &format!("{key}.secrets"), compiler),
            max_age: raw.max_age.as_ref().map_or(DEFAULT_MAX_AGE, |at| max_age(at, key, compiler)),
            replay: match raw.replay.as_ref().map(|at| at.value) {
                Some(Written::Bind) | None => Replay::Bind,
                Some(Written::Once) => Replay::Once,
                Some(Written::Off) => Replay::Off,
            },
            ignore: ignore(raw.ignore.as_ref(), &format!("{key}.ignore"), compiler),
        };
        if let Some(at) = raw.max_age.as_ref().filter(|_| settings.replay != Replay::Off) {
            self.warn_of_full_memory(at, key, compiler);
        }
        settings
    }

    /// Every signature is remembered as long as it counts.
    fn warn_of_full_memory(&self, at: &At<Timeout>, key: &str, compiler: &mut Compiler<'_>) {
        let (count, period) = (u128::from(self.rate.count().get()), self.rate.period());
        let launches = count * at.value.0.as_millis() / period.as_millis().max(1);
        if launches > DEFAULT_CAPACITY as u128 {
            let what = format!(
                "the tenant's limit allows {launches} launches in that time, and {DEFAULT_CAPACITY} \
                 signatures are remembered: those beyond are refused"
            );
            let remedy = "write a shorter max_age, or replay = \"off\"";
            compiler.problems.warning(at.spot, format!("{key}.max_age"), Wrong::new(what, remedy));
        }
    }

    fn secrets(
        &self,
        list: Option<&At<Vec<At<SecretRef>>>>,
        key: &str,
        compiler: &mut Compiler<'_>,
    ) -> Vec<(Secret, Spot, String)> {
        let mut known: Vec<(Secret, Spot, String)> = Vec::new();
        if let Some(list) = list.filter(|list| list.value.is_empty()) {
            let wrong = Wrong::new("the list is empty", "write secrets = [\"env:NAME\"]");
            compiler.problems.error(list.spot, key, wrong);
        }
        for (index, at) in list.iter().flat_map(|list| &list.value).enumerate() {
            let key = format!("{key}[{index}]");
            let Some(secret) = secrets::agreed(at, &key, compiler) else { continue };
            if self.sessions.iter().any(|one| *one == secret) {
                let what = "it signs sessions too, and whoever signs launches could make any";
                let remedy = "write another secret, which `openssl rand -hex 32` prints";
                compiler.problems.error(at.spot, key, Wrong::new(what, remedy));
            } else if known.iter().any(|(one, ..)| *one == secret) {
                let what = "the same secret stands before this one";
                let wrong = Wrong::new(what, "write another one, or leave this one out");
                compiler.problems.warning(at.spot, key, wrong);
            } else {
                known.push((secret, at.spot, key));
            }
        }
        known
    }

    fn refuse_unsigned_variables(
        &self,
        one: &Entry<raw::Persona>,
        settings: &Settings,
        compiler: &mut Compiler<'_>,
    ) {
        for at in one.value.variables.iter().flat_map(|list| &list.value) {
            let Some(name) = &at.value.name else { continue };
            if settings.ignore.contains(&name.value.0) {
                let what = format!("`{}` is in signing.ignore: nobody would sign it", name.value.0);
                let wrong = Wrong::new(what, "take it out of ignore, or do not declare it");
                let key = format!("tenants.{}.personas.{}.variables", self.tenant.name, one.name);
                compiler.problems.error(name.spot, key, wrong);
            }
        }
    }
}

fn is_signed(one: &Entry<raw::Persona>) -> bool {
    one.value.signed.as_ref().is_some_and(|at| at.value)
}

fn max_age(at: &At<Timeout>, key: &str, compiler: &mut Compiler<'_>) -> Duration {
    let max_age = at.value.0;
    if !(SHORTEST..=LONGEST).contains(&max_age) || max_age.subsec_nanos() != 0 {
        let what = "a signature counts for whole seconds, from 10s to 24h";
        let remedy = "write max_age = \"5m\"; a session that was launched goes on after it";
        compiler.problems.error(at.spot, format!("{key}.max_age"), Wrong::new(what, remedy));
    }
    max_age
}

/// Names of parameters that others add to links.
fn ignore(
    list: Option<&At<Vec<At<Name>>>>,
    key: &str,
    compiler: &mut Compiler<'_>,
) -> Box<[Box<str>]> {
    let mut names: Vec<Box<str>> = Vec::new();
    for at in list.into_iter().flat_map(|list| &list.value) {
        let name = &at.value.0;
        let wrong = if RESERVED.contains(&&**name) {
            let what =
                format!("`{name}` has a meaning of its own in every launch, and must be signed");
            Wrong::new(what, "write names of parameters that others add, such as \"utm_source\"")
        } else if names.contains(name) {
            Wrong::new(format!("`{name}` is named twice"), "keep one of the two")
        } else {
            names.push(name.clone());
            continue;
        };
        compiler.problems.error(at.spot, key, wrong);
    }
    names.into()
}
