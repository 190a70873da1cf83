//! What stands in front of a persona's app or of a site.

use super::super::raw;
use crate::policy::front::Front;

/// A persona's.
pub fn persona(raw: &raw::Persona) -> Front {
    Front { direction: raw.direction.as_ref().map(|at| at.value) }
}
