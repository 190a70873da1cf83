//! The servers of one upstream, and everything about them that outlives a snapshot.
//!
//! A request reads what is in atomics and behind an `ArcSwap`, and takes no lock. Whatever changes
//! (a check, a failure, a new address, a reload) goes through one lock a group, and leaves behind
//! the weights that requests read.
//!
//! What must not happen: every server is out. Where fewer are usable than `panic_threshold` says,
//! and always where none is, all of them are used: what we know of them is then worth less than
//! trying.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::affinity::{Affinity, Key, Stay};
use super::circuit::{Load, may_begin, may_retry, may_wait};
use super::condition::{Condition, Failed, State};
use super::member::{Lease, Member, MemberId};
use super::policy::{Balance, HealthPolicy, Policy};
use super::select::{FULL, least_connections, rendezvous, round_robin};
use crate::config::snapshot::{Server, ServerAddress, ServerId, Upstream};

#[derive(Debug)]
pub struct Group {
    /// Names its turn in a worker.
    pub number: usize,
    upstream: ArcSwap<Upstream>,
    members: ArcSwap<Members>,
    /// Too few are usable to be choosy.
    panics: AtomicBool,
    pending: AtomicU32,
    retrying: AtomicU32,
    affinity: Arc<Affinity>,
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Members {
    list: Vec<Arc<Member>>,
    /// No members any more, but still busy: they count.
    leaving: Vec<Arc<Member>>,
}

/// Why no server is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is none that was not tried.
    NoServer,
    /// The retry budget is spent, or the request has tried enough.
    NoRetry,
    /// `max_connections` or `max_pending`.
    Overloaded,
}

/// One server, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    pub address: String,
    pub state: State,
    /// Percent of its share.
    pub weight: u8,
    pub active: u32,
}

impl Group {
    pub fn new(number: usize, upstream: &Arc<Upstream>, now: Instant) -> Self {
        let group = Self {
            number,
            upstream: ArcSwap::from(Arc::clone(upstream)),
            members: ArcSwap::default(),
            panics: AtomicBool::new(false),
            pending: AtomicU32::new(0),
            retrying: AtomicU32::new(0),
            affinity: Arc::default(),
            changing: Mutex::default(),
        };
        group.members.store(Arc::new(Members::default().following(upstream, None)));
        group.weigh(&group.change(), now);
        group
    }

    pub fn upstream(&self) -> Arc<Upstream> {
        self.upstream.load_full()
    }

    pub fn members(&self) -> Vec<Arc<Member>> {
        self.members.load().list.clone()
    }

    /// What was remembered, and not asked for, is forgotten.
    pub fn tidy(&self, now: Instant) {
        self.affinity.tidy(now);
    }
}

/// For requests.
impl Group {
    /// A server for a request that has tried these. `turn` is the caller's own.
    pub fn pick(
        &self,
        policy: &Policy,
        key: &Key,
        turn: u64,
        tried: &[MemberId],
    ) -> Result<Lease, Refused> {
        let members = self.members.load();
        if !tried.is_empty() && !may_retry(&policy.retries, self.load(&members), tried.len()) {
            return Err(Refused::NoRetry);
        }
        let at =
            self.choose(&members, policy.balance, key, turn, tried).ok_or(Refused::NoServer)?;
        let lease = Lease::new(&members.list[at]);
        // Counted first, so that two that come at once cannot both be the last.
        if policy.limits.max_connections.is_some()
            && !may_begin(&policy.limits, self.load(&members).active)
        {
            return Err(Refused::Overloaded);
        }
        Ok(lease)
    }

    fn choose(
        &self,
        members: &Members,
        balance: Balance,
        key: &Key,
        turn: u64,
        tried: &[MemberId],
    ) -> Option<usize> {
        let list = &members.list;
        let panics = self.panics();
        let is_new = |at: usize| tried.is_empty() || !tried.contains(&list[at].id);
        let weight = |at: usize| match is_new(at) {
            true if panics => FULL,
            true => list[at].weight(),
            false => 0,
        };
        let choose = |weight: &dyn Fn(usize) -> u8| match balance {
            Balance::RoundRobin => round_robin(turn, list.len(), weight),
            Balance::LeastConnections => {
                least_connections(turn, list.len(), weight, |at| list[at].active())
            }
            Balance::HashUserId => by_hash(list, key, weight),
            Balance::Sticky => self.stay_or(list, key, weight),
        };
        // After the usable ones, those that are out: nothing was sent, and they may be back.
        choose(&weight).or_else(|| choose(&|at| if is_new(at) { FULL } else { 0 }))
    }

    /// Where it is remembered, while that can be used; else by hash, remembered where that is not
    /// the first of its order.
    fn stay_or(
        &self,
        list: &[Arc<Member>],
        key: &Key,
        weight: &dyn Fn(usize) -> u8,
    ) -> Option<usize> {
        let now = Instant::now();
        let kept = self.affinity.find(key, now);
        let stays = kept.and_then(|id| list.iter().position(|member| member.id == id));
        if let Some(at) = stays.filter(|&at| weight(at) > 0) {
            return Some(at);
        }
        let at = by_hash(list, key, weight)?;
        if kept.is_some() || by_hash(list, key, &|_| FULL) != Some(at) {
            self.affinity.remember(key, list[at].id, now);
        }
        Some(at)
    }

    fn load(&self, members: &Members) -> Load {
        let all = members.list.iter().chain(&members.leaving);
        Load {
            active: all.map(|member| member.active()).fold(0, u32::saturating_add),
            pending: self.pending.load(Ordering::SeqCst),
            retrying: self.retrying.load(Ordering::SeqCst),
        }
    }

    /// Counts a request while it waits for a connection.
    pub fn wait(self: &Arc<Self>, policy: &Policy, retries: bool) -> Result<Waiting, Refused> {
        let before = self.pending.fetch_add(1, Ordering::SeqCst);
        self.retrying.fetch_add(u32::from(retries), Ordering::SeqCst);
        let waiting = Waiting { group: Arc::clone(self), retries };
        if may_wait(&policy.limits, before) { Ok(waiting) } else { Err(Refused::Overloaded) }
    }

    /// The server could not be reached, or gave no valid answer.
    pub fn failed(&self, member: &Member, how: Failed, now: Instant) {
        let change = self.change();
        let policy = &self.upstream.load().policy;
        let members = self.members.load();
        let out = |other: &&Arc<Member>| other.with_condition(|it| it.is_ejected(now));
        let ejected = members.list.iter().filter(out).count();
        let most = members.list.len() * usize::from(policy.ejection.max_percent) / 100;
        member.with_condition(|it| it.failed(how, &policy.ejection, ejected < most, now));
        self.weigh(&change, now);
    }

    /// The server has answered.
    pub fn succeeded(&self, member: &Member) {
        if member.is_troubled() {
            member.with_condition(Condition::succeeded);
        }
    }

    /// A stream of that session has opened there.
    pub fn stream(&self, balance: Balance, key: &Key, member: &Member) -> Option<Stay> {
        let is_sticky = balance == Balance::Sticky;
        is_sticky.then(|| self.affinity.open(key, member.id, Instant::now()))
    }

    /// An Engine.IO connection was begun there.
    pub fn begun(&self, key: &Key, sid: &[u8], member: &Member) {
        self.affinity.begun(key, sid, member.id, Instant::now());
    }
}

/// For those who watch servers, and for reloads.
impl Group {
    /// The configuration says this of it now. Servers that stay what they were keep their condition.
    pub fn follow(&self, upstream: &Arc<Upstream>, now: Instant) {
        let change = self.change();
        self.upstream.store(Arc::clone(upstream));
        let members = self.members.load().following(upstream, Some(now));
        if upstream.policy.health.is_none() {
            members.list.iter().for_each(|member| member.with_condition(Condition::unchecked));
        }
        self.members.store(Arc::new(members));
        self.weigh(&change, now);
    }

    /// The name of that server stands for these addresses now.
    pub fn resolved(&self, server: ServerId, addresses: &[SocketAddr], now: Instant) {
        let change = self.change();
        let upstream = self.upstream.load();
        let Some(named) = upstream.servers.iter().find(|it| it.id == server) else { return };
        let members = self.members.load();
        if let Some(members) = members.resolving(named, addresses, now) {
            self.members.store(Arc::new(members));
            self.weigh(&change, now);
        }
    }

    /// A check has found that server well, or not.
    pub fn checked(&self, member: &Member, is_well: bool, policy: &HealthPolicy, now: Instant) {
        let change = self.change();
        member.with_condition(|it| it.checked(is_well, policy, now));
        self.weigh(&change, now);
    }

    /// Time has passed: ejections end, and slow starts go on.
    pub fn tick(&self, now: Instant) {
        let members = self.members.load();
        if members.leaving.is_empty() && members.list.iter().all(|it| it.weight() == FULL) {
            return;
        }
        let change = self.change();
        let members = self.members.load();
        for member in members.list.iter().filter(|member| member.weight() < FULL) {
            member.with_condition(|it| it.tick(now));
        }
        self.weigh(&change, now);
        if members.leaving.iter().any(|member| member.active() == 0) {
            let leaving = members.leaving.iter().filter(|member| member.active() > 0).cloned();
            let members = Members { list: members.list.clone(), leaving: leaving.collect() };
            self.members.store(Arc::new(members));
        }
    }

    /// All servers are used, whatever is known of them.
    pub fn panics(&self) -> bool {
        self.panics.load(Ordering::Relaxed)
    }

    pub fn status(&self, now: Instant) -> Vec<ServerStatus> {
        self.tick(now);
        let slow_start = self.upstream.load().policy.slow_start;
        let status = |member: &Arc<Member>| ServerStatus {
            address: member.server.address.to_string(),
            state: member.with_condition(|it| it.state(slow_start, now)),
            weight: member.weight(),
            active: member.active(),
        };
        self.members.load().list.iter().map(status).collect()
    }

    /// What it is asked to bear now.
    pub fn bears(&self) -> Load {
        self.load(&self.members.load())
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what requests read out of what is known.
    fn weigh(&self, _: &MutexGuard<'_, ()>, now: Instant) {
        let upstream = self.upstream.load();
        let members = self.members.load();
        let mut usable = 0;
        for member in &members.list {
            let weight = member.with_condition(|it| it.weight(upstream.policy.slow_start, now));
            member.set_weight(weight);
            usable += usize::from(weight > 0);
        }
        let least = members.list.len() * usize::from(upstream.policy.panic_threshold);
        let panics = usable == 0 || usable * 100 < least;
        self.panics.store(panics, Ordering::Relaxed);
    }
}

fn by_hash(list: &[Arc<Member>], key: &Key, weight: &dyn Fn(usize) -> u8) -> Option<usize> {
    rendezvous(key.hash(), list.len(), weight, |at| list[at].identity)
}

impl Members {
    /// These servers; one that is new since `joined` begins slowly.
    fn following(&self, upstream: &Upstream, joined: Option<Instant>) -> Self {
        let mut list: Vec<Arc<Member>> = Vec::with_capacity(upstream.servers.len());
        for server in &upstream.servers {
            if list.iter().any(|member| member.server.id == server.id) {
                continue;
            }
            let known: Vec<_> = self.of(server.id).cloned().collect();
            if known.is_empty() {
                list.push(Arc::new(Member::new(server.clone(), Condition::new(joined))));
            } else {
                list.extend(known);
            }
        }
        self.replaced_by(list)
    }

    /// That server at these addresses; None where nothing changes.
    fn resolving(&self, named: &Server, addresses: &[SocketAddr], now: Instant) -> Option<Self> {
        let is_same = self.of(named.id).count() == addresses.len()
            && addresses.iter().all(|&it| self.of(named.id).any(|m| m.is(named.id, Some(it))));
        if addresses.is_empty() || is_same {
            return None;
        }
        // The first addresses of a name are no newcomers.
        let is_first = self.of(named.id).any(|member| member.is(named.id, None));
        let joined = (!is_first).then_some(now);
        let resolved = addresses.iter().map(|&address| {
            let known = self.of(named.id).find(|member| member.is(named.id, Some(address)));
            known.cloned().unwrap_or_else(|| {
                let server = Server { address: ServerAddress::Ip(address), ..named.clone() };
                Arc::new(Member::new(server, Condition::new(joined)))
            })
        });
        let mut list: Vec<_> =
            self.list.iter().filter(|m| m.server.id != named.id).cloned().collect();
        list.extend(resolved);
        Some(self.replaced_by(list))
    }

    fn of(&self, server: ServerId) -> impl Iterator<Item = &Arc<Member>> {
        self.list.iter().filter(move |member| member.server.id == server)
    }

    fn replaced_by(&self, list: Vec<Arc<Member>>) -> Self {
        let is_gone = |member: &&Arc<Member>| {
            member.active() > 0 && !list.iter().any(|kept| kept.id == member.id)
        };
        let leaving = self.list.iter().chain(&self.leaving).filter(is_gone).cloned().collect();
        Self { list, leaving }
    }
}

/// A request that waits for a connection.
#[derive(Debug)]
pub struct Waiting {
    group: Arc<Group>,
    retries: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.group.pending.fetch_sub(1, Ordering::SeqCst);
        self.group.retrying.fetch_sub(u32::from(self.retries), Ordering::SeqCst);
    }
}

#[cfg(test)]
pub mod tests;
