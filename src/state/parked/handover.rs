//! What launches left for the apps, for a successor process.

use std::sync::Arc;

use super::{Full, Launched, Parked, lock};
use crate::policy::identity::SessionHash;
use crate::policy::session::UnixSeconds;

/// What one session was launched with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedLaunch {
    pub persona: Arc<str>,
    pub session: SessionHash,
    pub launched: Arc<Launched>,
    pub until: UnixSeconds,
}

impl Parked {
    /// Tenants that something may be kept for.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        self.tenants.load().keys().map(Arc::clone).collect()
    }

    pub fn export(&self, tenant: &str) -> Vec<ParkedLaunch> {
        let Some(tenant) = self.tenant(tenant) else { return Vec::new() };
        let tenant = lock(&tenant);
        let export = tenant.sessions.iter().map(|(session, kept)| ParkedLaunch {
            persona: Arc::clone(&kept.persona),
            session: *session,
            launched: Arc::clone(&kept.launched),
            until: kept.until,
        });
        export.collect()
    }

    /// What belongs to a tenant that the configuration does not name is forgotten.
    pub fn import(
        &self,
        tenant: &str,
        launches: Vec<ParkedLaunch>,
        now: UnixSeconds,
    ) -> Result<(), Full> {
        if self.tenant(tenant).is_none() {
            return Ok(());
        }
        launches.into_iter().try_for_each(|kept| {
            let launched = Arc::unwrap_or_clone(kept.launched);
            self.park(tenant, (&kept.persona, kept.session), launched, now, kept.until)
        })
    }
}
