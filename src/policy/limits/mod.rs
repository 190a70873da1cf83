//! How often: one address at a tenant, the tenant as a whole, one address at a persona.
//!
//! Two stages. [`address`] comes first and is charged whatever becomes of the request, so that
//! guessing signatures costs as much as launching. [`launch`] comes last: the tenant's bucket, the
//! launcher's and, on unsigned personas, the address's quarter of the tenant's bucket are looked
//! at together and charged together, so that a refused launch takes nothing from anybody but its
//! own address.
//!
//! What pages tell of their chats ([`beacon`]) has the rate of an address's launches and a bucket of its
//! own: it neither takes from a launch nor is refused for one.
//!
//! The quarter is for tenants whose address limit leaves one address too much. Where that limit
//! alone keeps an address to a third of the tenant's, there is no quarter: of 60/min and 200/min it
//! would refuse the 51st launch, and nobody who reads these two numbers expects that.
//!
//! What must not happen: one tenant's traffic changes another's decisions; a launch is charged to
//! one bucket and refused by the next; a sub-request is charged; memory grows with the number of
//! addresses that somebody can invent.
//!
//! The rules are the snapshot's, the buckets are the [`Limiter`]'s and survive a reload. What was
//! used is remembered as a fraction of the period: with 30 of 60/min used, 15 of a new 30/min are
//! used. A new period shorter than the debt caps it: nobody waits longer than the new period.

mod answer;
mod rate;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::launch::Kind;
use crate::state::limits::{FormMemory, Limiter, Scope, TenantBuckets};
pub use answer::{BucketName, Fields, Limited, Standing};
pub use rate::{Bucket, Moment, REFILLS, Rate, RateError, Taken, Wait};

/// A tenant's rules, compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    ip: Rate,
    tenant: Rate,
    share: Option<Rate>,
    launcher: Option<Rate>,
}

impl Rules {
    pub fn new(ip: Rate, tenant: Rate, launcher: Option<Rate>) -> Self {
        let share = (!ip.is_within_a_third_of(tenant)).then(|| tenant.quarter());
        Self { ip, tenant, share, launcher }
    }

    pub fn ip(&self) -> Rate {
        self.ip
    }

    pub fn tenant(&self) -> Rate {
        self.tenant
    }

    /// What one address may take of the tenant's bucket on unsigned personas, where its own limit
    /// does not see to that.
    pub fn share(&self) -> Option<Rate> {
        self.share
    }

    pub fn launcher(&self) -> Option<Rate> {
        self.launcher
    }
}

impl Default for Rules {
    /// 60 a minute for an address, 200 for the tenant.
    fn default() -> Self {
        const IP: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
        const TENANT: NonZeroU32 = NonZeroU32::new(200).expect("200 is not zero");
        Self::new(Rate::per_minute(IP), Rate::per_minute(TENANT), None)
    }
}

/// Who is limited: an IPv4 address, or the /64 of an IPv6 address, which is what one subscriber
/// is given. An IPv4 address mapped into IPv6 is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    V4(u32),
    V6(u64),
}

impl Client {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Client::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Client::V6([a, b, c, d].iter().fold(0, |all, &one| all << 16 | u64::from(one)))
            }
        }
    }
}

/// Whether a request belongs to a launch that was charged already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It stands for itself.
    First,
    /// The shell's inner frame, or the target of our own 303.
    Continuation,
}

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    One,
    Nothing,
}

/// Launches and messages count; assets, probes, polls, frames and continuations do not.
pub fn counts(kind: Kind, part: Part) -> Charge {
    match (kind, part) {
        (Kind::Launch(_) | Kind::Message, Part::First) => Charge::One,
        (Kind::Launch(_) | Kind::Message, Part::Continuation) | (Kind::Other, _) => Charge::Nothing,
    }
}

/// Whether a launch must prove where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By a signature, a token or an API key.
    Signed,
    /// Anybody may launch: [`Rules::share`] holds.
    Unsigned,
}

/// Witness: the address is within its limit, and was charged if the request counts.
#[derive(Debug)]
#[must_use = "the tenant's limit has not been asked yet"]
pub struct AddressPassed {
    client: Client,
    charged: Option<(Arc<TenantBuckets>, Standing)>,
}

impl AddressPassed {
    /// What the tenant's launches may hold in memory; nothing where nothing was charged.
    pub fn form_memory(&self) -> Option<FormMemory> {
        self.charged.as_ref().map(|(buckets, _)| FormMemory::of(buckets))
    }
}

/// Witness: every limit is met and charged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it allows a request to be forwarded"]
pub struct Charged {
    own: [Option<Standing>; 3],
}

impl Charged {
    /// The client's own buckets, and how they stand.
    pub fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.own.iter().flatten()
    }

    /// The fields for the answer; none for a request that cost nothing.
    pub fn fields(&self) -> Option<Fields> {
        let standings: Vec<Standing> = self.standings().copied().collect();
        (!standings.is_empty()).then(|| Fields::of(&standings))
    }
}

/// The first stage.
pub fn address(
    limiter: &Limiter,
    rules: &Rules,
    (tenant, client): (&str, Client),
    charge: Charge,
    now: Moment,
) -> Result<AddressPassed, Limited> {
    if charge == Charge::Nothing {
        return Ok(AddressPassed { client, charged: None });
    }
    let buckets = limiter.tenant(tenant);
    let key = buckets.key(client, Scope::Ip);
    let taken = {
        let mut held = buckets.lock();
        let taken = held.read(key).take(rules.ip, now);
        if let Ok(taken) = taken {
            held.write(key, taken.bucket, rules.ip, now);
        }
        taken
    };
    match taken {
        Ok(taken) => {
            let standing = Standing::after(BucketName::Ip, rules.ip, &taken);
            Ok(AddressPassed { client, charged: Some((buckets, standing)) })
        }
        Err(wait) => Err(Limited::new(BucketName::Ip, rules.ip, wait)),
    }
}

/// The last stage, for a request that every other stage let through.
pub fn launch(
    passed: AddressPassed,
    rules: &Rules,
    (persona, proof): (&str, Proof),
    now: Moment,
) -> Result<Charged, Limited> {
    let Some((buckets, ip)) = passed.charged else { return Ok(Charged { own: [None; 3] }) };
    let launcher = rules.launcher.map(|rate| Asked {
        name: BucketName::Launcher,
        key: buckets.key(passed.client, Scope::Launcher(persona)),
        rate,
    });
    let share = rules.share.filter(|_| proof == Proof::Unsigned).map(|rate| Asked {
        name: BucketName::Share,
        key: buckets.key(passed.client, Scope::Share),
        rate,
    });
    let mut held = buckets.lock();
    let tenant = held.tenant.take(rules.tenant, now);
    let own = [launcher, share]
        .map(|asked| asked.map(|asked| (asked, held.read(asked.key).take(asked.rate, now))));
    // The most particular first: it wins where two would wait equally long.
    let refusals = own
        .iter()
        .flatten()
        .filter_map(|(asked, taken)| Some(Limited::new(asked.name, asked.rate, taken.err()?)))
        .chain(tenant.err().map(|wait| Limited::new(BucketName::Tenant, rules.tenant, wait)));
    let longest = refusals.reduce(|one, other| match other.waits_longer_than(&one) {
        true => other,
        false => one,
    });
    if let Some(limited) = longest {
        return Err(limited);
    }
    if let Ok(taken) = tenant {
        held.tenant = taken.bucket;
    }
    let [launcher, share] = own.map(|decision| {
        let (asked, taken) = decision?;
        let taken = taken.ok()?;
        held.write(asked.key, taken.bucket, asked.rate, now);
        Some(Standing::after(asked.name, asked.rate, &taken))
    });
    Ok(Charged { own: [Some(ip), launcher, share] })
}

/// For a launch that turns out to be a [`Part::Continuation`] only after the first stage, when its
/// session was read: gives the address its permit back and asks nothing more.
pub fn continuation(passed: AddressPassed, rules: &Rules, now: Moment) -> Charged {
    if let Some((buckets, _)) = passed.charged {
        let key = buckets.key(passed.client, Scope::Ip);
        let mut held = buckets.lock();
        let bucket = held.read(key).give_back(rules.ip);
        held.write(key, bucket, rules.ip, now);
    }
    Charged { own: [None; 3] }
}

/// What a page tells of its chat: as much as its address may launch, in a bucket of its own.
pub fn beacon(
    limiter: &Limiter,
    rules: &Rules,
    (tenant, client): (&str, Client),
    now: Moment,
) -> Result<(), Limited> {
    let buckets = limiter.tenant(tenant);
    let key = buckets.key(client, Scope::Beacon);
    let mut held = buckets.lock();
    let taken = held.read(key).take(rules.ip, now);
    let taken = taken.map_err(|wait| Limited::new(BucketName::Beacon, rules.ip, wait))?;
    held.write(key, taken.bucket, rules.ip, now);
    Ok(())
}

/// A bucket of the client that a launch is held against.
#[derive(Debug, Clone, Copy)]
struct Asked {
    name: BucketName,
    key: crate::state::limits::Key,
    rate: Rate,
}

#[cfg(test)]
mod tests;
