//! The apps' cookies, for a successor process.

use std::sync::Arc;

use super::{Jar, Jars, Kept, NotKept, lock};
use crate::policy::session::{SessionId, UnixSeconds};

/// The cookies of one session, in the order of their creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptJar {
    pub session: SessionId,
    pub until: UnixSeconds,
    pub cookies: Vec<KeptCookie>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCookie {
    pub name: Box<str>,
    pub value: Box<str>,
    pub path: Box<str>,
    pub expires: UnixSeconds,
}

impl Jars {
    /// Tenants that something may be kept for.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        self.tenants.load().keys().map(Arc::clone).collect()
    }

    pub fn export(&self, tenant: &str) -> Vec<KeptJar> {
        let Some(tenant) = self.tenant(tenant) else { return Vec::new() };
        let tenant = lock(&tenant);
        let cookie = |kept: &Kept| KeptCookie {
            name: kept.name.clone(),
            value: kept.value.clone(),
            path: kept.path.clone(),
            expires: kept.expires,
        };
        let export = |(session, jar): (&SessionId, &Jar)| KeptJar {
            session: *session,
            until: jar.until,
            cookies: jar.cookies.iter().map(cookie).collect(),
        };
        tenant.jars.iter().map(export).collect()
    }

    /// What belongs to a tenant that the configuration does not name is forgotten.
    pub fn import(
        &self,
        tenant: &str,
        jars: Vec<KeptJar>,
        now: UnixSeconds,
    ) -> Result<(), NotKept> {
        let Some(tenant) = self.tenant(tenant) else { return Ok(()) };
        let mut tenant = lock(&tenant);
        for KeptJar { session, until, cookies } in jars {
            for KeptCookie { name, value, path, expires } in cookies {
                let kept = Kept { name, value, path, expires };
                tenant.take(session, kept, now, until, self.capacity)?;
            }
        }
        Ok(())
    }
}
