//! Reads the main file and its includes, and puts problems in order.
//!
//! Two readers of one configuration: whoever checks it wants every problem, and no snapshot where
//! there is an error ([`Loader::load`]); whoever serves wants all tenants whose files are good, and
//! the last good version of the others ([`Loader::follow`]). An error in the main file is everybody's
//! either way. Which files there are is `include`'s business, what they say `file`'s, and which
//! version of a tenant serves is decided in `parties`.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::allow::Trust;
use super::compile::{self, Common, Compiler};
use super::error::{Problem, Problems, Severity};
use super::file::{self, File, Parsed, Role};
use super::history::History;
use super::include;
use super::keep;
use super::parties::Parties;
use super::raw::Root;
use super::reader::Lookup;
use super::shown::Written;
use super::snapshot::{AdminSettings, Snapshot};
use super::source::{SourceTexts, Sources};

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// None where the configuration cannot be used: for [`Loader::load`] exactly where a problem is
    /// an error, for [`Loader::follow`] exactly where the main file has one.
    pub snapshot: Option<Snapshot>,
    /// Errors and warnings, by file and position; with those of tenants that are held back.
    pub problems: Vec<Problem>,
    /// Every file that was read, so that a change to any of them can be noticed.
    pub sources: Sources,
    /// Where the keys stand that only a restart can change.
    pub places: HashMap<&'static str, Place>,
    /// For the next load, if this one is used.
    pub history: History,
    /// What was read, the main file first.
    pub texts: SourceTexts,
}

/// A position, for problems that are found after loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

/// Loads the configuration at `path` with the process's environment, to judge it.
pub fn load(path: &Path) -> Loaded {
    Loader::new(&environment).load(path)
}

/// Loads a configuration from `text`; `name` stands in problems, `base` is where relative paths
/// start.
pub fn load_str(name: &str, text: &str, base: &Path) -> Loaded {
    Loader::new(&environment).load_str(name, text, base)
}

/// The address and the token of a running server's operators, from the file that it runs with.
pub fn load_admin(path: &Path) -> Result<AdminSettings, Vec<Problem>> {
    Loader::new(&environment).load_admin(path)
}

/// Loads the configuration at `path` with the process's environment, to serve it.
pub fn follow(path: &Path, history: &History) -> Loaded {
    Loader::new(&environment).follow(path, history)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// [`load`], [`load_str`] and [`follow`] with an environment of one's own.
pub struct Loader<'a> {
    pub(super) environment: Lookup<'a>,
    /// Of the main file.
    pub(super) problems: Problems,
    pub(super) texts: SourceTexts,
    pub(super) sources: Sources,
}

impl<'a> Loader<'a> {
    /// `environment` is asked for each `${NAME}` and each secret `env:NAME`.
    pub fn new(environment: Lookup<'a>) -> Self {
        Self {
            environment,
            problems: Problems::default(),
            texts: SourceTexts::default(),
            sources: Sources::default(),
        }
    }

    /// Judges every file as it is now; no error is forgiven.
    pub fn load(mut self, path: &Path) -> Loaded {
        let name = path.display().to_string();
        let bytes = self.sources.read(path);
        self.run((&name, bytes), path, None)
    }

    /// [`Loader::load`] for a main file that is not on disk.
    pub fn load_str(self, name: &str, text: &str, base: &Path) -> Loaded {
        let path = base.join(name);
        self.run((name, Ok(text.into())), &path, None)
    }

    /// `[admin]` of the main file alone: whoever asks a running server to reload needs its address
    /// also where the rest of the file is wrong.
    pub fn load_admin(mut self, path: &Path) -> Result<AdminSettings, Vec<Problem>> {
        let bytes = self.sources.read(path);
        let main = self.main(&path.display().to_string(), bytes);
        let settings = main.map(|parsed| {
            let base = path.parent().unwrap_or(Path::new(""));
            compile::admin(&parsed.root, &mut self.compiler(base))
        });
        let is_meant = |problem: &Problem| settings.is_none() || problem.key.starts_with("admin");
        let mut problems = self.problems.finish(&self.texts);
        problems.retain(|problem| problem.severity == Severity::Error && is_meant(problem));
        settings.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// Loads what can serve. A tenant whose file has an error, or claims what is another's, is held
    /// back: what served last goes on, or what an earlier process has kept.
    pub fn follow(mut self, path: &Path, history: &History) -> Loaded {
        let name = path.display().to_string();
        let bytes = self.sources.read(path);
        self.run((&name, bytes), path, Some(history))
    }

    fn run(
        mut self,
        (name, bytes): (&str, io::Result<Vec<u8>>),
        path: &Path,
        history: Option<&History>,
    ) -> Loaded {
        let base = path.parent().unwrap_or(Path::new(""));
        let Some(Parsed { mut root, upstreams, .. }) = self.main(name, bytes) else {
            return self.report(None, HashMap::new(), History::default());
        };
        let included =
            include::read(&mut root, (path, base), &mut self.problems, &mut self.sources);
        let places = self.places(&root);
        let mut common = self.common(&root, base, !included.is_empty());
        if let Some(history) = history {
            history.keep_upstreams(&upstreams, &mut common);
        }
        let folder = keep::folder(&root, base);
        let mut parties = Parties::new(&mut self, (&root, base), &common);
        match history {
            None => {
                parties.add_all(included, None);
                let (tenants, routes) = parties.judge();
                let mut snapshot = common.snapshot(tenants, routes, Vec::new());
                snapshot.written = Written::new(self.texts.all().to_vec());
                self.report(Some(snapshot), places, History::default())
            }
            Some(history) => {
                let kept = if history.has_served { None } else { Some(keep::read(&folder)) };
                parties.add_all(included, Some((history, kept.as_ref())));
                let mut chosen = parties.choose(history);
                let images = upstreams.iter().filter_map(|(name, image)| {
                    let (name, upstream) = common.upstreams.get_key_value(&**name)?;
                    Some((name.clone(), (*image, upstream.clone())))
                });
                chosen.history.upstreams = images.collect();
                chosen.history.upstream_sources = common.upstream_sources.clone();
                chosen.history.folder = Some(folder);
                let mut snapshot = common.snapshot(chosen.tenants, chosen.routes, chosen.held_back);
                // The main file is read first. Of tenants what serves counts, not what was read.
                let main = self.texts.all().first().cloned();
                snapshot.written =
                    Written::new(main.into_iter().chain(chosen.history.serving()).collect());
                self.serve(snapshot, places, chosen.problems, chosen.history)
            }
        }
    }

    fn main(&mut self, name: &str, bytes: io::Result<Vec<u8>>) -> Option<Parsed> {
        match file::text(name, bytes, &mut self.texts) {
            Ok((text, number)) => {
                let mut file = File {
                    problems: &mut self.problems,
                    texts: &mut self.texts,
                    environment: self.environment,
                    trust: &Trust::Operator,
                    role: Role::Main,
                };
                let parsed = file.parse(&text.text, number);
                parsed.is_complete.then_some(parsed)
            }
            Err((spot, wrong)) => {
                self.problems.error(spot, "", wrong);
                None
            }
        }
    }

    fn common(&mut self, root: &Root, base: &Path, has_files: bool) -> Common {
        compile::common(root, has_files, &mut self.compiler(base))
    }

    /// For what the operator has written.
    pub(super) fn compiler<'c>(&'c mut self, base: &'c Path) -> Compiler<'c> {
        Compiler {
            problems: &mut self.problems,
            texts: &self.texts,
            sources: &mut self.sources,
            environment: self.environment,
            trust: &Trust::Operator,
            base,
            now: SystemTime::now(),
        }
    }

    fn report(
        self,
        snapshot: Option<Snapshot>,
        places: HashMap<&'static str, Place>,
        history: History,
    ) -> Loaded {
        let snapshot = snapshot.filter(|_| !self.problems.has_errors());
        let problems = self.problems.finish(&self.texts);
        Loaded { snapshot, problems, sources: self.sources, places, history, texts: self.texts }
    }

    /// [`Loader::report`], in which the errors of tenants' files are no obstacle.
    fn serve(
        mut self,
        snapshot: Snapshot,
        places: HashMap<&'static str, Place>,
        of_tenants: Problems,
        history: History,
    ) -> Loaded {
        let snapshot = Some(snapshot).filter(|_| !self.problems.has_errors());
        self.problems.extend(of_tenants.into_found());
        let problems = self.problems.finish(&self.texts);
        Loaded { snapshot, problems, sources: self.sources, places, history, texts: self.texts }
    }

    fn places(&self, root: &Root) -> HashMap<&'static str, Place> {
        let places = compile::restart_spots(root).into_iter().map(|(key, spot)| {
            let (line, column) = self.texts.position(spot);
            (key, Place { file: self.texts.name(spot.file), line, column })
        });
        places.collect()
    }
}
