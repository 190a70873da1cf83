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

use super::allow::{Allowed, Trust};
use super::compile::claims::{Bid, Choice};
use super::compile::{self, Common};
use super::error::{Found, Problems, Wrong};
use super::file::{self, File, Role};
use super::history::{History, Version};
use super::include::Included;
use super::load::Loader;
use super::raw::{self, Root};
use super::reader::{Entry, Section as _};
use super::source::{SourceText, Sources, Spot};

mod choose;
mod versions;

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
    /// Another tenant has what it claims.
    is_outdone: bool,
}

/// A version that may serve.
struct Candidate {
    version: Arc<Version>,
    /// The number of its file in this load.
    file: u32,
    /// Its problems, as they stand in this load.
    found: Vec<Found>,
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
        let mut compiler = self.loader.compiler(self.base);
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
            is_outdone: false,
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
        let (new, is_main, is_outdone) = (Some(new), false, false);
        self.add(Party { name, is_main, new, last, good, choice, wrong, is_outdone });
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
