//! Parts of the state: what of one kind is remembered about one tenant.

use std::sync::Arc;

use super::{MAX_FRAME, MAX_NAME, Malformed, Reader, write_bytes};
use crate::policy::identity::SessionHash;
use crate::policy::injection::Injection;
use crate::policy::limits::{Bucket, Client};
use crate::policy::variables::Variables;
use crate::state::jar::{KeptCookie, KeptJar};
use crate::state::limits::TenantLimits;
use crate::state::parked::{Launched, ParkedLaunch};
use crate::state::replay::UsedSignature;
use crate::state::sessions::EndedSession;

/// Bytes of a frame after which the next one begins.
const ENOUGH: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub tenant: Box<str>,
    pub items: Items,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Items {
    Ended(Vec<EndedSession>),
    Used(Vec<UsedSignature>),
    Parked(Vec<ParkedLaunch>),
    Jars(Vec<KeptJar>),
    Limits(TenantLimits),
}

/// What is remembered about a tenant, in parts that fit into frames. Nothing where there is nothing.
pub fn batches(tenant: &str, items: Items) -> Vec<Batch> {
    let batch = |items| Batch { tenant: tenant.into(), items };
    match items {
        Items::Ended(all) => cut(all, |_| 24).map(Items::Ended).map(batch).collect(),
        Items::Used(all) => cut(all, |_| 96).map(Items::Used).map(batch).collect(),
        Items::Parked(all) => {
            // Quoting costs nothing here, names a few bytes each.
            let size = |one: &ParkedLaunch| one.persona.len() + 2 * one.launched.bytes();
            cut(all, size).map(Items::Parked).map(batch).collect()
        }
        Items::Jars(all) => {
            let size = |jar: &KeptJar| {
                let bytes =
                    |one: &KeptCookie| 32 + one.name.len() + one.value.len() + one.path.len();
                jar.cookies.iter().map(bytes).sum::<usize>()
            };
            cut(all, size).map(Items::Jars).map(batch).collect()
        }
        Items::Limits(TenantLimits { tenant, longest_step, keys }) => {
            if keys.is_empty() && tenant == Bucket::default() {
                return Vec::new();
            }
            let mut parts: Vec<_> = cut(keys, |_| 32).collect();
            if parts.is_empty() {
                parts.push(Vec::new());
            }
            let limits = |keys| Items::Limits(TenantLimits { tenant, longest_step, keys });
            parts.into_iter().map(limits).map(batch).collect()
        }
    }
}

/// In order, each part about [`ENOUGH`] large.
fn cut<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        items.peek()?;
        let (mut part, mut bytes) = (Vec::new(), 0);
        while bytes < ENOUGH
            && let Some(item) = items.next()
        {
            bytes += size(&item);
            part.push(item);
        }
        Some(part)
    })
}

impl Batch {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.tenant.as_bytes(), out);
        match &self.items {
            Items::Ended(all) => {
                out.push(1);
                all.iter().for_each(|one| ended(one, out));
            }
            Items::Used(all) => {
                out.push(2);
                all.iter().for_each(|one| used(one, out));
            }
            Items::Parked(all) => {
                out.push(3);
                all.iter().for_each(|one| parked(one, out));
            }
            Items::Jars(all) => {
                out.push(4);
                all.iter().for_each(|one| jar(one, out));
            }
            Items::Limits(limits) => {
                out.push(5);
                bucket(limits.tenant, out);
                out.extend_from_slice(&limits.longest_step.to_be_bytes());
                for ([client, scope], state) in &limits.keys {
                    out.extend_from_slice(&client.to_be_bytes());
                    out.extend_from_slice(&scope.to_be_bytes());
                    bucket(*state, out);
                }
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let tenant = from.text(MAX_NAME)?.into();
        let items = match from.byte()? {
            1 => Items::Ended(all(from, |from| {
                Ok(EndedSession { id: from.session()?, until: from.moment()? })
            })?),
            2 => Items::Used(all(from, read_used)?),
            3 => Items::Parked(all(from, read_parked)?),
            4 => Items::Jars(all(from, read_jar)?),
            5 => Items::Limits(TenantLimits {
                tenant: read_bucket(from)?,
                longest_step: from.long()?,
                keys: all(from, |from| Ok(([from.long()?, from.long()?], read_bucket(from)?)))?,
            }),
            _ => return Err(Malformed),
        };
        Ok(Self { tenant, items })
    }
}

/// Items to the end of the frame.
fn all<'a, T>(
    from: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut items = Vec::new();
    while !from.0.is_empty() {
        items.push(read(from)?);
    }
    Ok(items)
}

fn ended(one: &EndedSession, out: &mut Vec<u8>) {
    out.extend_from_slice(&one.id.0);
    out.extend_from_slice(&one.until.0.to_be_bytes());
}

fn used(one: &UsedSignature, out: &mut Vec<u8>) {
    out.extend_from_slice(&one.persona.to_be_bytes());
    out.extend_from_slice(&one.proof);
    out.extend_from_slice(&one.session.0);
    let (family, client) = match one.client {
        Client::V4(address) => (4, u64::from(address)),
        Client::V6(prefix) => (6, prefix),
    };
    out.push(family);
    out.extend_from_slice(&client.to_be_bytes());
    out.extend_from_slice(&one.first.0.to_be_bytes());
    out.extend_from_slice(&one.until.0.to_be_bytes());
    out.push(u8::from(one.came_back));
}

fn read_used(from: &mut Reader<'_>) -> Result<UsedSignature, Malformed> {
    Ok(UsedSignature {
        persona: from.long()?,
        proof: from.array()?,
        session: from.session()?,
        client: match (from.byte()?, from.long()?) {
            (4, address) => Client::V4(u32::try_from(address).map_err(|_| Malformed)?),
            (6, prefix) => Client::V6(prefix),
            _ => return Err(Malformed),
        },
        first: from.moment()?,
        until: from.moment()?,
        came_back: from.flag()?,
    })
}

fn parked(one: &ParkedLaunch, out: &mut Vec<u8>) {
    write_bytes(one.persona.as_bytes(), out);
    out.extend_from_slice(one.session.as_str().as_bytes());
    out.extend_from_slice(&one.until.0.to_be_bytes());
    let variables = &one.launched.variables;
    out.extend_from_slice(&(variables.parts().count() as u64).to_be_bytes());
    for (name, value, travels) in variables.parts() {
        write_bytes(name.as_bytes(), out);
        write_bytes(value.as_bytes(), out);
        out.push(u8::from(travels));
    }
    let injection = &one.launched.injection;
    for part in [injection.instruction_overrides(), injection.prefill_messages()] {
        out.push(u8::from(part.is_some()));
        if let Some(json) = part {
            write_bytes(json.as_bytes(), out);
        }
    }
}

fn read_parked(from: &mut Reader<'_>) -> Result<ParkedLaunch, Malformed> {
    let persona = Arc::from(from.text(MAX_NAME)?);
    let session = std::str::from_utf8(from.take(32)?).map_err(|_| Malformed)?;
    let session = SessionHash::parse(session).ok_or(Malformed)?;
    let until = from.moment()?;
    let mut parts = Vec::new();
    for _ in 0..from.long()? {
        parts.push((from.text(MAX_NAME)?, from.text(MAX_FRAME)?, from.flag()?));
    }
    let variables = Variables::from_parts(parts).map_err(|_| Malformed)?;
    let mut json = || -> Result<Option<Box<str>>, Malformed> {
        Ok(if from.flag()? { Some(from.text(MAX_FRAME)?.into()) } else { None })
    };
    let injection = Injection::from_parts(json()?, json()?);
    let launched = Arc::new(Launched { variables, injection });
    Ok(ParkedLaunch { persona, session, launched, until })
}

fn jar(one: &KeptJar, out: &mut Vec<u8>) {
    out.extend_from_slice(&one.session.0);
    out.extend_from_slice(&one.until.0.to_be_bytes());
    out.extend_from_slice(&(one.cookies.len() as u64).to_be_bytes());
    for cookie in &one.cookies {
        write_bytes(cookie.name.as_bytes(), out);
        write_bytes(cookie.value.as_bytes(), out);
        write_bytes(cookie.path.as_bytes(), out);
        out.extend_from_slice(&cookie.expires.0.to_be_bytes());
    }
}

fn read_jar(from: &mut Reader<'_>) -> Result<KeptJar, Malformed> {
    let (session, until) = (from.session()?, from.moment()?);
    let mut cookies = Vec::new();
    for _ in 0..from.long()? {
        let (name, value, path) = (cookie_text(from)?, cookie_text(from)?, cookie_text(from)?);
        cookies.push(KeptCookie { name, value, path, expires: from.moment()? });
    }
    Ok(KeptJar { session, until, cookies })
}

/// A field line is made of it.
fn cookie_text(from: &mut Reader<'_>) -> Result<Box<str>, Malformed> {
    let text = from.text(MAX_FRAME)?;
    let is_clean = |byte: u8| byte == b'\t' || !byte.is_ascii_control();
    if text.bytes().all(is_clean) { Ok(text.into()) } else { Err(Malformed) }
}

fn bucket(bucket: Bucket, out: &mut Vec<u8>) {
    for part in bucket.to_nanos() {
        out.extend_from_slice(&part.to_be_bytes());
    }
}

fn read_bucket(from: &mut Reader<'_>) -> Result<Bucket, Malformed> {
    Ok(Bucket::from_nanos([from.long()?, from.long()?]))
}
