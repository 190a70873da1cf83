//! Which version of each tenant serves.
//!
//! A tenant of the main file has one version, and its errors are the main file's. A tenant with a
//! file of its own has up to two: what the file says now, and what served last. The new one serves
//! where nothing is wrong with it, else the last one, else none, and the tenant is held back. No
//! tenant's error reaches another's: only where nothing of a tenant has changed, and it can serve
//! no longer, is that an error of the main file, which then is refused as a whole.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::allow::{Allowed, Trust};
use super::compile::claims::{Bid, Bidder, Choice, Claims};
use super::compile::{self, Common, Compiler, Part, Signers, hosts};
use super::error::{Found, Problems, Wrong};
use super::file::{self, File, Role, unreadable};
use super::history::{History, Kept, Version};
use super::include::Included;
use super::load::Loader;
use super::raw::{self, Root};
use super::reader::{Entry, Section as _};
use super::snapshot::{HeldBack, Serves, Tenant};
use super::source::{SourceText, Sources, Spot};
use crate::route::{RouteTable, Target};

/// What an earlier process has kept, by tenant.
pub type KeptTexts = HashMap<Box<str>, Arc<SourceText>>;

/// All tenants, those of the main file first.
pub struct Parties<'l, 'a> {
    loader: &'l mut Loader<'a>,
    root: &'l Root,
    base: &'l Path,
    common: &'l Common,
    all: Vec<Party>,
    by_name: HashMap<Arc<str>, usize>,
    /// What the main file says of tenants.
    in_main: HashMap<&'l str, &'l Entry<raw::Tenant>>,
    /// Files that are in nobody's place: of tenants that have another.
    superfluous: Vec<(Arc<str>, Found)>,
}

/// One tenant.
struct Party {
    name: Arc<str>,
    is_main: bool,
    new: Option<Candidate>,
    last: Option<Candidate>,
    /// What was good last, also where it is no longer.
    good: Option<Arc<SourceText>>,
    choice: Option<Choice>,
    /// Why the new version does not serve.
    wrong: Vec<Found>,
}

/// A version that may serve.
struct Candidate {
    version: Arc<Version>,
    /// The number of its file in this load.
    file: u32,
    /// Its problems, as they stand in this load.
    found: Vec<Found>,
}

/// What can serve.
pub struct Chosen {
    pub tenants: HashMap<Arc<str>, Arc<Tenant>>,
    pub routes: RouteTable,
    pub held_back: Vec<HeldBack>,
    /// Of tenants' files.
    pub problems: Problems,
    pub history: History,
}

impl Candidate {
    fn is_good(&self) -> bool {
        self.version.part.is_some() && !self.found.iter().any(Found::is_error)
    }

    fn bid(&self) -> Option<Bid<'_>> {
        Some(Bid { part: self.version.part.as_ref()?, file: self.file })
    }
}

impl Party {
    fn chosen(&self) -> Option<&Candidate> {
        match self.choice? {
            Choice::New => self.new.as_ref(),
            Choice::Last => self.last.as_ref(),
        }
    }
}

impl<'l, 'a> Parties<'l, 'a> {
    pub fn new(
        loader: &'l mut Loader<'a>,
        (root, base): (&'l Root, &'l Path),
        common: &'l Common,
    ) -> Self {
        let entries = || root.tenants.iter().flat_map(|at| at.value.iter());
        Self {
            loader,
            root,
            base,
            common,
            all: Vec::new(),
            by_name: HashMap::new(),
            in_main: entries().map(|entry| (&*entry.name, entry)).collect(),
            superfluous: Vec::new(),
        }
    }

    /// Compiles every tenant; with a history, what served last too.
    pub fn add_all(
        &mut self,
        included: Vec<Included>,
        past: Option<(&History, Option<&KeptTexts>)>,
    ) {
        let files: HashSet<&str> = included.iter().map(|file| &*file.stem).collect();
        for entry in self.root.tenants.iter().flat_map(|at| at.value.iter()) {
            self.check_allow(entry, files.contains(&*entry.name));
            if entry.value.written() != ["allow"] {
                self.add_main(entry);
            }
        }
        for file in included {
            self.add_file(file, past);
        }
    }

    fn add(&mut self, party: Party) {
        self.by_name.insert(party.name.clone(), self.all.len());
        self.all.push(party);
    }

    fn check_allow(&mut self, entry: &Entry<raw::Tenant>, has_file: bool) {
        let Some(allow) = &entry.value.allow else { return };
        let key = format!("tenants.{}.allow", entry.name);
        if !has_file {
            let what = "the tenant has no file of its own, so that the key has no effect";
            let remedy = format!("include a file {}.toml, or leave the key out", entry.name);
            self.loader.problems.warning(allow.spot, key.clone(), Wrong::new(what, remedy));
        }
        for name in allow.value.upstreams.iter().flat_map(|list| &list.value) {
            if !self.common.upstreams.contains_key(&*name.value.0) {
                let known = self.common.upstreams.keys().map(|name| &**name);
                let wrong = compile::dangling("upstream", &name.value.0, known);
                self.loader.problems.error(name.spot, format!("{key}.upstreams"), wrong);
            }
        }
    }

    fn add_main(&mut self, entry: &Entry<raw::Tenant>) {
        let mut compiler = Compiler {
            problems: &mut self.loader.problems,
            texts: &self.loader.texts,
            sources: &mut self.loader.sources,
            environment: self.loader.environment,
            trust: &Trust::Operator,
            base: self.base,
            now: SystemTime::now(),
        };
        let part = compile::part(entry, &self.common.surroundings(), &mut compiler);
        self.common.uncovered(&part, &mut self.loader.problems);
        let version = Arc::new(Version {
            text: self.loader.texts.get(entry.spot.file),
            file: entry.spot.file,
            part: Some(part),
            found: Vec::new(),
            sources: Sources::default(),
            trust: Trust::Operator,
            facts: self.common.facts.clone(),
        });
        self.add(Party {
            name: entry.name.clone(),
            is_main: true,
            new: Some(Candidate { version, file: entry.spot.file, found: Vec::new() }),
            last: None,
            good: None,
            choice: Some(Choice::New),
            wrong: Vec::new(),
        });
    }

    fn add_file(&mut self, file: Included, past: Option<(&History, Option<&KeptTexts>)>) {
        let Included { path, spot, stem, bytes } = file;
        let name = path.display().to_string();
        if let Some(&known) = self.by_name.get(&*stem) {
            self.refuse_second(known, (&name, bytes));
            return;
        }
        let entry = self.in_main.get(&*stem);
        let allow = entry.and_then(|entry| entry.value.allow.as_ref()).map(|at| &*at.value);
        let trust = Trust::Tenant(Allowed::new(&stem, allow, self.base));
        let kept = past.and_then(|(history, _)| history.tenants.get(&*stem));
        let of_disk = past.and_then(|(_, texts)| texts?.get(&*stem));
        let serving = kept.and_then(|kept| kept.serving.as_ref());
        let good = kept.and_then(|kept| kept.good.as_ref()).or(of_disk);
        let is_lenient = past.is_some();

        let reads = bytes.as_ref().ok().map(Vec::as_slice);
        let is_equal = |text: &SourceText| reads == Some(text.text.as_bytes());
        let (is_serving, is_good) =
            (serving.is_some_and(|it| is_equal(&it.text)), good.is_some_and(|it| is_equal(it)));
        let still = |it: &&Arc<Version>| it.fits(&trust, self.common) && it.sources.still();
        let new = match serving.filter(|_| is_serving).filter(still) {
            Some(version) => self.again(version.clone()),
            None => self.compile((&name, bytes, spot), (&stem, &trust), is_lenient),
        };
        let last = match (serving, good) {
            // What has not changed has the rights of an incumbent.
            _ if is_good && new.is_good() => Some(new.again()),
            // In memory it serves on, whatever has become of the files that it names.
            (Some(version), _) if version.fits(&trust, self.common) => {
                Some(self.again(version.clone()))
            }
            (_, Some(text)) if !is_good => {
                Some(self.compile_text(text.clone(), (&stem, &trust), is_lenient))
            }
            _ => None,
        };
        let last = last.filter(Candidate::is_good);
        let choice = match new.is_good() || !is_lenient {
            true => Some(Choice::New),
            false => last.as_ref().map(|_| Choice::Last),
        };
        let wrong = if new.is_good() { Vec::new() } else { new.errors() };
        let (name, good) = (Arc::from(stem), good.cloned());
        self.add(Party { name, is_main: false, new: Some(new), last, good, choice, wrong });
    }

    /// A file of a tenant that stands elsewhere too.
    fn refuse_second(&mut self, known: usize, (name, bytes): (&str, io::Result<Vec<u8>>)) {
        let party = &self.all[known];
        let tenant = party.name.clone();
        let first = match self.in_main.get(&*tenant).filter(|_| party.is_main) {
            Some(entry) => Some(entry.spot),
            None => party.new.as_ref().map(|it| Spot { file: it.file, offset: 0 }),
        };
        let first = first.filter(|spot| spot.file != u32::MAX);
        let mut problems = Problems::default();
        let (spot, key) = match file::text(name, bytes, &mut self.loader.texts) {
            Ok((text, number)) => {
                // What else is wrong with it does not matter.
                let mut file = File {
                    problems: &mut Problems::default(),
                    texts: &mut self.loader.texts,
                    environment: &|_| None,
                    trust: &Trust::Tenant(Allowed::new(&tenant, None, self.base)),
                    role: Role::Tenant,
                };
                let parsed = file.parse(&text.text, number);
                let entry = file.tenant(parsed, &tenant, number);
                let start = Spot { file: number, offset: 0 };
                (entry.map_or(start, |entry| entry.spot), format!("tenants.{tenant}"))
            }
            Err((spot, _)) => (spot, String::new()),
        };
        let place = first.map_or("another".into(), |spot| self.loader.texts.place(spot));
        let what = format!("the tenant `{tenant}` is also at {place}");
        problems.error(spot, key, Wrong::new(what, "keep it in one file"));
        let found = problems.into_found();
        self.superfluous.extend(found.into_iter().map(|found| (tenant.clone(), found)));
    }

    /// A version that need not be compiled again.
    fn again(&mut self, version: Arc<Version>) -> Candidate {
        let file = self.loader.texts.add(version.text.clone());
        self.candidate(version, file)
    }

    fn candidate(&mut self, version: Arc<Version>, file: u32) -> Candidate {
        self.loader.sources.absorb(&version.sources);
        let mut uncovered = Problems::default();
        if let Some(part) = &version.part {
            self.common.uncovered(part, &mut uncovered);
        }
        let all = version.found.iter().chain(uncovered.found());
        let found = all.map(|found| found.moved(version.file, file)).collect();
        Candidate { version, file, found }
    }

    fn compile(
        &mut self,
        (name, bytes, included): (&str, io::Result<Vec<u8>>, Spot),
        (stem, trust): (&str, &Trust),
        is_lenient: bool,
    ) -> Candidate {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                let text = SourceText::new(name, "".into());
                let wrong = unreadable(name, &error);
                return self.unusable(text, u32::MAX, (included, "include", wrong), trust);
            }
        };
        match file::text(name, Ok(bytes), &mut self.loader.texts) {
            Ok((text, number)) => self.compile_at(text, number, (stem, trust), is_lenient),
            Err((spot, wrong)) => {
                let text = self.loader.texts.get(spot.file);
                self.unusable(text, spot.file, (spot, "", wrong), trust)
            }
        }
    }

    fn unusable(
        &mut self,
        text: Arc<SourceText>,
        file: u32,
        (spot, key, wrong): (Spot, &str, Wrong),
        trust: &Trust,
    ) -> Candidate {
        let mut problems = Problems::default();
        problems.error(spot, key, wrong);
        let version = Version {
            text,
            file,
            part: None,
            found: problems.into_found(),
            sources: Sources::default(),
            trust: trust.clone(),
            facts: self.common.facts.clone(),
        };
        self.candidate(Arc::new(version), file)
    }

    fn compile_text(
        &mut self,
        text: Arc<SourceText>,
        of: (&str, &Trust),
        is_lenient: bool,
    ) -> Candidate {
        let number = self.loader.texts.add(text.clone());
        self.compile_at(text, number, of, is_lenient)
    }

    fn compile_at(
        &mut self,
        text: Arc<SourceText>,
        number: u32,
        (stem, trust): (&str, &Trust),
        is_lenient: bool,
    ) -> Candidate {
        let (mut problems, mut sources) = (Problems::default(), Sources::of_tenant());
        let mut file = File {
            problems: &mut problems,
            texts: &mut self.loader.texts,
            environment: self.loader.environment,
            trust,
            role: Role::Tenant,
        };
        let parsed = file.parse(&text.text, number);
        let is_complete = parsed.is_complete;
        let entry = file.tenant(parsed, stem, number);
        // Of a broken text only the hosts count, and what else is wrong with it would be noise.
        let mut noise = Problems::default();
        let mut compiler = Compiler {
            problems: if is_complete { &mut problems } else { &mut noise },
            texts: &self.loader.texts,
            sources: &mut sources,
            environment: self.loader.environment,
            trust,
            base: self.base,
            now: SystemTime::now(),
        };
        let entry = entry.filter(|_| is_complete || is_lenient);
        let around = self.common.surroundings();
        let part = entry.map(|entry| compile::part(&entry, &around, &mut compiler));
        let version = Version {
            text,
            file: number,
            part,
            found: problems.into_found(),
            sources,
            trust: trust.clone(),
            facts: self.common.facts.clone(),
        };
        self.candidate(Arc::new(version), number)
    }

    /// Every problem, and what would serve if there was no error.
    pub fn judge(self) -> (HashMap<Arc<str>, Arc<Tenant>>, RouteTable) {
        let Self { loader, common, all, superfluous, .. } = self;
        for candidate in all.iter().filter_map(|party| party.new.as_ref()) {
            loader.problems.extend(candidate.found.iter().cloned());
        }
        loader.problems.extend(superfluous.into_iter().map(|(_, found)| found));
        let claims = Claims::new(bidders(&all), &common.shared_hosts);
        claims.report(&loader.texts, &mut loader.problems);
        serving(&all, &mut loader.problems)
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
        let (tenants, mut routes) = serving(&self.all, &mut problems);
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
        let mut claims = Claims::new(bidders, &self.common.shared_hosts);
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
            self.all[loss.bidder].wrong.extend(loss.problems.into_found());
        }
        held
    }

    /// A tenant of which nothing has changed, and that served, cannot serve because of the main
    /// file.
    fn blame(&mut self, history: &History) {
        if !history.has_served {
            return;
        }
        for party in self.all.iter().filter(|party| party.choice.is_none()) {
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

impl Candidate {
    /// The same, as what served last.
    fn again(&self) -> Self {
        Self { version: self.version.clone(), file: self.file, found: Vec::new() }
    }

    fn errors(&self) -> Vec<Found> {
        self.found.iter().filter(|found| found.is_error()).cloned().collect()
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
fn serving(all: &[Party], problems: &mut Problems) -> (HashMap<Arc<str>, Arc<Tenant>>, RouteTable) {
    let (mut tenants, mut routes) = (HashMap::new(), RouteTable::default());
    let mut signers = Signers::default();
    for party in all {
        let Some(bid) = party.chosen().and_then(Candidate::bid) else { continue };
        let Part { tenant, signers: own, .. } = bid.part;
        signers.add(own, bid.file);
        hosts::add(&mut routes, bid.part);
        tenants.insert(party.name.clone(), tenant.clone());
    }
    signers.report(problems);
    (tenants, routes)
}
