//! What a launch claims, and on whose word: a signature, its session, or nobody's but the browser's.

use super::super::visit::Visit;
use super::is_urlencoded;
use crate::http1::fields::Known;
use crate::policy::injection;
use crate::policy::metadata::{self, Metadata, Parameters, Voucher};
use crate::policy::origin::Credential;
use crate::policy::query::{RawPair, raw_pairs};
use crate::policy::session::Session;
use crate::policy::signature::{self, Basis};
use crate::policy::variables::{self, Variables};
use crate::rejection::{Code, Rejection};
use crate::state::parked::Launched;

/// What a launch of a signed persona rests on; nothing where launches are not signed.
pub(super) fn basis<'v>(
    visit: &Visit<'v>,
    form: Option<&'v [u8]>,
    held: Option<&Session>,
) -> Result<Option<Basis<'v>>, Rejection> {
    let Some(policy) = &visit.persona.signing else { return Ok(None) };
    let now = visit.ambient.now.0.saturating_mul(1000);
    let basis = signature::basis(policy, visit.address.query, form, now, held)?;
    visit.ambient.note("signature", || match &basis {
        Basis::Signature(_) => "verified".to_owned(),
        Basis::Session => "none is needed: the session has one, and nothing is claimed".to_owned(),
    });
    Ok(Some(basis))
}

pub(super) fn credential(basis: Option<&Basis<'_>>) -> Credential {
    match basis {
        Some(Basis::Signature(_)) => Credential::Explicit,
        Some(Basis::Session) => Credential::Cookie,
        None => Credential::None,
    }
}

/// What a launch says about identity, as far as it may.
pub(super) struct Claim<'c> {
    /// None where the session says it, and the launch claims nothing.
    pub metadata: Option<Metadata<'c>>,
    /// It says nothing about identity, and nobody vouches for it.
    pub is_bare: bool,
}

impl<'c> Claim<'c> {
    pub fn of(
        visit: &Visit<'c>,
        form: Option<&'c [u8]>,
        basis: Option<&'c Basis<'_>>,
    ) -> Result<Self, Rejection> {
        let policy = &visit.persona.metadata;
        let (metadata, is_bare) = match basis {
            Some(Basis::Session) => return Ok(Self { metadata: None, is_bare: false }),
            Some(Basis::Signature(verified)) => {
                let parameters = Parameters::from_pairs(verified.pairs())?;
                (metadata::decide(policy, parameters, Voucher::Signature)?, false)
            }
            None => {
                // Query and form together; a name in both is a repetition.
                let query = raw_pairs(visit.address.query.unwrap_or_default().as_bytes());
                let parameters =
                    Parameters::from_raw(query.chain(raw_pairs(form.unwrap_or_default())))?;
                let is_bare = parameters.is_bare();
                (metadata::decide(policy, parameters, Voucher::Browser)?, is_bare)
            }
        };
        visit.ambient.note("metadata", || metadata.to_string());
        Ok(Self { metadata: Some(metadata), is_bare })
    }
}

/// What the launch brings for the app: variables, instructions, messages.
pub(super) fn launched(
    visit: &Visit<'_>,
    form: Option<&[u8]>,
    basis: Option<&Basis<'_>>,
) -> Result<Launched, Rejection> {
    let persona = visit.persona;
    let (injection, variables) = match basis {
        // What the session's own launch brought stays.
        Some(Basis::Session) => return Ok(Launched::default()),
        Some(Basis::Signature(verified)) => {
            let of = |part| verified.pairs_of(part).cloned();
            let (query, form) = (|| of(signature::Part::Query), || of(signature::Part::Form));
            (
                injection::decide(persona.injection, query(), form())?,
                variables::decide(&persona.variables, query(), form())?,
            )
        }
        None => {
            // Only what is ours is decoded: most launches bring nothing.
            let query = || raw_pairs(visit.address.query.unwrap_or_default().as_bytes());
            let form = || raw_pairs(form.unwrap_or_default());
            let injected = |pair: &RawPair<'_>| injection::is_ours(*pair);
            let declared = |pair: &RawPair<'_>| persona.variables.declares(&pair.decoded_name());
            let variables = match persona.variables.is_empty() {
                true => Variables::default(),
                false => variables::decide(
                    &persona.variables,
                    query().filter(declared).map(RawPair::decoded),
                    form().filter(declared).map(RawPair::decoded),
                )?,
            };
            let query = query().filter(injected).map(RawPair::decoded);
            let form = form().filter(injected).map(RawPair::decoded);
            (injection::decide(persona.injection, query, form)?, variables)
        }
    };
    if !injection.is_empty() {
        visit.ambient.note("injection", || injection.to_string());
    }
    if !variables.is_empty() {
        visit.ambient.note("variables", || variables.to_string());
    }
    Ok(Launched { variables, injection })
}

/// The body of a form.
pub(super) fn form<'v>(visit: &Visit<'v>) -> Result<&'v [u8], Rejection> {
    if !visit.head.fields.get(Known::ContentType).is_some_and(is_urlencoded) {
        let why = "a launch by POST is application/x-www-form-urlencoded";
        return Err(Rejection::new(Code::MediaTypeUnsupported, why));
    }
    Ok(visit.ambient.body.unwrap_or_default())
}
