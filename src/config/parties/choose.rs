//! Chooses between versions, and says which tenants are held back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::compile::claims::{Bidder, Claims};
use super::super::compile::{self, Common, Part, Signers, hosts};
use super::super::error::{Found, Problems, Wrong};
use super::super::history::{History, Kept};
use super::super::raw::Root;
use super::super::snapshot::{HeldBack, Serves, Tenant};
use super::super::source::Spot;
use super::{Candidate, Choice, Parties, Party};
use crate::route::{RouteTable, Target};

/// What can serve.
pub struct Chosen {
    pub tenants: HashMap<Arc<str>, Arc<Tenant>>,
    pub routes: RouteTable,
    pub held_back: Vec<HeldBack>,
    /// Of tenants' files.
    pub problems: Problems,
    pub history: History,
}

impl Parties<'_, '_> {
    /// Every problem, and what would serve if there was no error.
    pub fn judge(self) -> (HashMap<Arc<str>, Arc<Tenant>>, RouteTable) {
        let Self { loader, root, common, all, superfluous, .. } = self;
        for candidate in all.iter().filter_map(|party| party.new.as_ref()) {
            loader.problems.extend(candidate.found.iter().cloned());
        }
        loader.problems.extend(superfluous.into_iter().map(|(_, found)| found));
        let claims = Claims::new(bidders(&all), &common.facts.shared_hosts);
        claims.report(&loader.texts, &mut loader.problems);
        serving(&all, (root, common), &mut loader.problems)
    }

    /// What can serve; errors that are everybody's go to the loader.
    pub fn choose(mut self, history: &History) -> Chosen {
        let held = self.settle();
        let mut problems = Problems::default();
        for party in &self.all {
            if let Some(candidate) = party.chosen() {
                let warnings = candidate.found.iter().filter(|found| !found.is_error());
                problems.extend(warnings.cloned());
            }
        }
        self.blame(history);
        let (tenants, mut routes) = serving(&self.all, (self.root, self.common), &mut problems);
        for (party, host, path) in held {
            // Whoever is there already comes first.
            let _ = routes.insert(&host, &path, Target::HeldBack(self.all[party].name.clone()));
        }
        let (held_back, next) = self.outcome(history, &mut problems);
        Chosen { tenants, routes, held_back, problems, history: next }
    }

    /// Decides between tenants. Returns the addresses of those that cannot serve.
    fn settle(&mut self) -> Vec<(usize, String, String)> {
        let bidders = bidders(&self.all);
        let mut claims = Claims::new(bidders, &self.common.facts.shared_hosts);
        claims.report_main(&self.loader.texts, &mut self.loader.problems);
        let losses = claims.settle(&self.loader.texts);
        let held = claims.held().into_iter();
        let held = held.map(|it| (it.bidder, it.host.to_owned(), it.path.into_owned())).collect();
        let choices: Vec<_> = (0..self.all.len()).map(|number| claims.choice(number)).collect();
        drop(claims);
        for (party, choice) in self.all.iter_mut().zip(choices) {
            party.choice = choice;
        }
        for loss in losses {
            let party = &mut self.all[loss.bidder];
            party.is_outdone |= !loss.is_to_main;
            party.wrong.extend(loss.problems.into_found());
        }
        held
    }

    /// A tenant of which nothing has changed, and that served, cannot serve because of the main
    /// file.
    fn blame(&mut self, history: &History) {
        if !history.has_served {
            return;
        }
        // What tenants have with each other is no fault of the main file.
        let is_blameless = |party: &&Party| party.choice.is_none() && !party.is_outdone;
        for party in self.all.iter().filter(is_blameless) {
            let kept = history.tenants.get(&party.name);
            let Some(version) = kept.and_then(|kept| kept.serving.as_ref()) else { continue };
            if version.sources.still() {
                let what = "nothing of this tenant has changed, and it could serve no longer";
                let remedy = "put back what it uses, or change its file first; its errors follow";
                let key = format!("tenants.{}", party.name);
                let spot = Spot::default();
                self.loader.problems.error(spot, key, Wrong::new(what, remedy));
            }
        }
    }

    fn outcome(self, history: &History, problems: &mut Problems) -> (Vec<HeldBack>, History) {
        let now = SystemTime::now();
        let mut next = History { has_served: true, ..History::default() };
        let mut held_back = Vec::new();
        let since = |name: &Arc<str>| {
            history.tenants.get(name).and_then(|kept| kept.held_since).unwrap_or(now)
        };
        let mut hold = |tenant: Arc<str>, wrong: Vec<Found>, serves| {
            problems.extend(wrong.iter().cloned());
            let mut own = Problems::default();
            own.extend(wrong);
            let problems = own.finish(&self.loader.texts);
            held_back.push(HeldBack { since: since(&tenant), tenant, problems, serves });
        };
        for (tenant, found) in self.superfluous {
            hold(tenant, vec![found], Serves::LastGood);
        }
        for party in self.all.into_iter().filter(|party| !party.is_main) {
            let version = party.chosen().map(|candidate| candidate.version.clone());
            let good = version.as_ref().map(|version| version.text.clone()).or(party.good);
            let is_held = party.choice != Some(Choice::New);
            let held_since = is_held.then(|| since(&party.name));
            if is_held {
                let serves = if version.is_some() { Serves::LastGood } else { Serves::Nothing };
                hold(party.name.clone(), party.wrong, serves);
            }
            next.tenants.insert(party.name, Kept { serving: version, good, held_since });
        }
        held_back.sort_by(|one, other| one.tenant.cmp(&other.tenant));
        (held_back, next)
    }
}

fn bidders(all: &[Party]) -> Vec<Bidder<'_>> {
    let bidders = all.iter().map(|party| Bidder {
        is_main: party.is_main,
        new: party.new.as_ref().and_then(Candidate::bid),
        last: party.last.as_ref().and_then(Candidate::bid),
        choice: party.choice,
    });
    bidders.collect()
}

/// What serves of every tenant, side by side.
fn serving(
    all: &[Party],
    (root, common): (&Root, &Common),
    problems: &mut Problems,
) -> (HashMap<Arc<str>, Arc<Tenant>>, RouteTable) {
    let (mut tenants, mut routes) = (HashMap::new(), RouteTable::default());
    let mut signers = Signers::default();
    let shared = &common.facts.shared_hosts;
    let bids = all.iter().filter_map(|party| party.chosen()?.bid());
    for bid in bids.clone() {
        let Part { tenant, signers: own, .. } = bid.part;
        signers.add(own, bid.file);
        hosts::add(&mut routes, bid.part, shared);
        tenants.insert(tenant.id.clone(), tenant.clone());
    }
    shared.iter().for_each(|host| routes.share(host));
    signers.report(problems);
    compile::review(root, bids.map(|bid| bid.part), problems);
    (tenants, routes)
}
