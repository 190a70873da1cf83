//! What a client is told about its limits: `Retry-After`, `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11, structured fields).
//!
//! A client learns about its own buckets. The tenant's is named only where it refuses: how much of
//! it is left would tell any visitor how busy the tenant is.

use super::rate::{Rate, Taken, Wait};

/// A bucket, by the name that stands in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BucketName {
    /// One address at one tenant.
    Ip,
    /// All launches of a tenant.
    Tenant,
    /// One address at one persona.
    Launcher,
    /// One address at all unsigned personas of a tenant.
    Share,
    /// What the pages of one address tell of a tenant's chats.
    Beacon,
}

impl BucketName {
    pub const fn as_str(self) -> &'static str {
        match self {
            BucketName::Ip => "ip",
            BucketName::Tenant => "tenant",
            BucketName::Launcher => "launcher",
            BucketName::Share => "share",
            BucketName::Beacon => "beacon",
        }
    }
}

/// How a bucket stands after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub bucket: BucketName,
    pub rate: Rate,
    pub remaining: u32,
    /// Seconds within which no more than `remaining` should be sent.
    pub window: u64,
}

impl Standing {
    /// The window is the time that the remaining uses take at the sustained pace, so that a client
    /// that spreads them evenly never exceeds the policy (section 6 of the draft asks for a cap).
    pub(super) fn after(bucket: BucketName, rate: Rate, taken: &Taken) -> Self {
        let window = match taken.remaining {
            0 => taken.next.seconds(),
            some => rate.seconds_for(some),
        };
        Self { bucket, rate, remaining: taken.remaining, window }
    }
}

/// A refusal: 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub bucket: BucketName,
    pub rate: Rate,
    wait: Wait,
}

impl Limited {
    pub(super) fn new(bucket: BucketName, rate: Rate, wait: Wait) -> Self {
        Self { bucket, rate, wait }
    }

    /// For `Retry-After`: seconds, rounded up, at least one.
    pub fn retry_after(&self) -> u64 {
        self.wait.seconds()
    }

    /// For the log.
    pub const fn reason(&self) -> &'static str {
        match self.bucket {
            BucketName::Ip => "the address's limit at this tenant is used up",
            BucketName::Tenant => "the tenant's limit is used up",
            BucketName::Launcher => "the address's limit at this persona is used up",
            BucketName::Share => "the address has used its quarter of the tenant's limit",
            BucketName::Beacon => "the address tells of more handshakes than it may launch",
        }
    }

    /// Only the bucket that refused: `Retry-After` must not end before a window that is told.
    pub fn fields(&self) -> Fields {
        Fields::of(&[Standing {
            bucket: self.bucket,
            rate: self.rate,
            remaining: 0,
            window: self.retry_after(),
        }])
    }

    pub(super) fn waits_longer_than(&self, other: &Self) -> bool {
        self.wait.0 > other.wait.0
    }
}

/// The two header fields; both lists have an item per bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// `RateLimit-Policy`
    pub policy: String,
    /// `RateLimit`
    pub limit: String,
}

impl Fields {
    /// The fields of `standings`, of which there is at least one.
    pub(super) fn of(standings: &[Standing]) -> Self {
        let (mut policy, mut limit) = (String::with_capacity(64), String::with_capacity(64));
        for (index, standing) in standings.iter().enumerate() {
            let quota = standing.rate.count().get().into();
            // The draft wants whole seconds, at least one.
            let window = standing.rate.period_seconds();
            let name = standing.bucket.as_str();
            item(&mut policy, index, name, [(";q=", quota), (";w=", window)]);
            let reset = [(";r=", standing.remaining.into()), (";t=", standing.window)];
            item(&mut limit, index, name, reset);
        }
        Self { policy, limit }
    }
}

/// One item of a list. For every launch: the formatting machinery costs more than all the rest.
fn item(out: &mut String, index: usize, name: &str, parameters: [(&str, u64); 2]) {
    if index > 0 {
        out.push_str(", ");
    }
    out.push('"');
    out.push_str(name);
    out.push('"');
    for (parameter, value) in parameters {
        out.push_str(parameter);
        out.push_str(itoa::Buffer::new().format(value));
    }
}
