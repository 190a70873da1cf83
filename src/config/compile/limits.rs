//! How often a tenant's personas may be launched.

use std::num::NonZeroU32;

use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::Entry;
use super::super::source::At;
use super::super::values::Rate as Written;
use super::Compiler;
use crate::policy::limits::{Rate, Rules};

/// Rates are counted in whole microseconds.
const FASTEST_PER_SECOND: u64 = 1_000_000;

pub fn compile(tenant: &Entry<raw::Tenant>, compiler: &mut Compiler<'_>) -> Rules {
    let default = Rules::default();
    let Some(raw) = tenant.value.limits.as_ref().map(|at| &at.value) else { return default };
    let key = |name: &str| format!("tenants.{}.limits.{name}", tenant.name);
    let mut rate = |at: &Option<At<Written>>, name| rate(at.as_ref()?, &key(name), compiler);
    let ip = rate(&raw.ip, "ip").unwrap_or_else(|| default.ip());
    let all = rate(&raw.tenant, "tenant").unwrap_or_else(|| default.tenant());
    let launcher = rate(&raw.launcher, "launcher");
    if let (Some(at), Some(launcher)) = (&raw.launcher, launcher)
        && launcher.period() == ip.period()
        && launcher.count() >= ip.count()
    {
        let what = "the limit of an address at all personas is met before this one";
        let wrong = Wrong::new(what, "write a lower rate than that of `ip`, or leave it out");
        compiler.problems.warning(at.spot, key("launcher"), wrong);
    }
    Rules::new(ip, all, launcher)
}

fn rate(at: &At<Written>, key: &str, compiler: &mut Compiler<'_>) -> Option<Rate> {
    let written = at.value;
    let rate = NonZeroU32::new(written.count).and_then(|count| Rate::new(count, written.per).ok());
    if rate.is_none() {
        let seconds = written.per.as_secs();
        let most = (seconds * FASTEST_PER_SECOND).min(u64::from(u32::MAX));
        let unit = match seconds {
            1 => "s",
            60 => "min",
            _ => "h",
        };
        let what = "no more than a million a second can be told apart";
        let wrong = Wrong::new(what, format!("write at most \"{most}/{unit}\""));
        compiler.problems.error(at.spot, key, wrong);
    }
    rate
}
