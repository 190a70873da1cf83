//! Used signatures, for a successor process.

use std::sync::Arc;

use super::{Key, Refused, Replays, Used, lock};
use crate::policy::limits::Client;
use crate::policy::session::{SessionId, UnixSeconds};

/// One signature, and who has used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedSignature {
    /// The number of the persona's name.
    pub persona: u64,
    pub proof: [u8; 16],
    pub session: SessionId,
    pub client: Client,
    pub first: UnixSeconds,
    pub until: UnixSeconds,
    pub came_back: bool,
}

impl Replays {
    /// Tenants that something is remembered about.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        self.tenants.load().keys().map(Arc::clone).collect()
    }

    pub fn export(&self, tenant: &str) -> Vec<UsedSignature> {
        let Some(tenant) = self.tenants.load().get(tenant).map(Arc::clone) else {
            return Vec::new();
        };
        let tenant = lock(&tenant);
        let export = |(key, used): (&Key, &Used)| UsedSignature {
            persona: key.persona,
            proof: key.proof,
            session: used.session,
            client: used.client,
            first: used.first,
            until: used.until,
            came_back: used.came_back,
        };
        tenant.used.iter().map(export).collect()
    }

    pub fn import(
        &self,
        tenant: &str,
        used: &[UsedSignature],
        now: UnixSeconds,
    ) -> Result<(), Refused> {
        let tenant = self.tenant(tenant);
        let mut tenant = lock(&tenant);
        let fresh = used.iter().filter(|used| used.until >= now);
        fresh.into_iter().try_for_each(|used| {
            let key = Key { persona: used.persona, proof: used.proof };
            let entry = Used {
                session: used.session,
                client: used.client,
                first: used.first,
                until: used.until,
                came_back: used.came_back,
            };
            tenant.remember(key, entry, now, self.capacity)
        })
    }
}
