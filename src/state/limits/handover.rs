//! Buckets, for a successor process. Those that strangers share at the cap stay behind.

use std::sync::Arc;

use super::{Key, Limiter};
use crate::policy::limits::Bucket;

/// What one tenant's limits have come to, or a part of it. Moments are those of the clock that is
/// handed over too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// The bucket of the tenant as a whole.
    pub tenant: Bucket,
    /// In nanoseconds.
    pub longest_step: u64,
    pub keys: Vec<([u64; 2], Bucket)>,
}

impl Limiter {
    /// Tenants that have buckets.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        self.tenants.load().keys().map(Arc::clone).collect()
    }

    pub fn export(&self, tenant: &str) -> TenantLimits {
        let Some(tenant) = self.tenants.load().get(tenant).map(Arc::clone) else {
            return TenantLimits::default();
        };
        let held = tenant.lock();
        let export = |(key, bucket): (&Key, &Bucket)| ([key.client, key.scope], *bucket);
        TenantLimits {
            tenant: held.tenant,
            longest_step: held.longest_step,
            keys: held.keys.iter().map(export).collect(),
        }
    }

    /// Keys that find no place are forgotten: limits are the one part that need not be exact.
    pub fn import(&self, tenant: &str, limits: &TenantLimits) {
        let buckets = self.tenant(tenant);
        let mut held = buckets.lock();
        let room = held.most.saturating_sub(held.keys.len());
        held.tenant = limits.tenant;
        held.longest_step = held.longest_step.max(limits.longest_step);
        for &([client, scope], bucket) in limits.keys.iter().take(room) {
            held.keys.insert(Key { client, scope }, bucket);
        }
    }
}
