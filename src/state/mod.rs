//! What is remembered between requests. It lives outside the snapshot, survives a reload, and
//! every map in it is bounded.

pub mod clock;
pub mod custody;
pub mod encoded;
pub mod jar;
pub mod limits;
mod names;
pub mod parked;
pub mod passwords;
pub mod replay;
pub mod sessions;
pub mod streams;

use std::collections::HashMap;
use std::sync::Arc;

/// How much of a store is used by each tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// What one tenant may have.
    pub most: usize,
    pub tenants: Vec<(Arc<str>, usize)>,
}

impl Fill {
    fn of<T, S>(
        most: usize,
        tenants: &HashMap<Arc<str>, T, S>,
        used: impl Fn(&T) -> usize,
    ) -> Self {
        let tenants = tenants.iter().map(|(name, tenant)| (Arc::clone(name), used(tenant)));
        Self { most, tenants: tenants.collect() }
    }
}
