//! Reads the main file and its includes, and puts problems in order.
//!
//! Decides which files make up a configuration and who may say what in which file: a tenant's file
//! holds that one tenant and nothing else. It must not look at what a key means.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use toml::de::DeTable;

use super::compile::{self, Compiler};
use super::error::{Problem, Problems, Severity, Wrong};
use super::raw::Root;
use super::reader::{Lookup, Reading, Section, read_section};
use super::snapshot::{AdminSettings, Snapshot};
use super::source::{SourceTexts, Sources, Spot};

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// None if and only if at least one problem is an error.
    pub snapshot: Option<Snapshot>,
    /// Errors and warnings, by file and position.
    pub problems: Vec<Problem>,
    /// Every file that was read, so that a change to any of them can be noticed.
    pub sources: Sources,
    /// Where the keys stand that only a restart can change.
    pub places: HashMap<&'static str, Place>,
}

/// A position, for problems that are found after loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

/// Loads the configuration at `path` with the process's environment.
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

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// [`load`] and [`load_str`] with an environment of one's own.
pub struct Loader<'a> {
    environment: Lookup<'a>,
    problems: Problems,
    texts: SourceTexts,
    sources: Sources,
}

/// What a file may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Tenant,
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

    pub fn load(mut self, path: &Path) -> Loaded {
        let name = path.display().to_string();
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        let bytes = self.sources.read(path);
        let main = self.file(&name, bytes, Role::Main);
        self.finish(main, path, &base)
    }

    pub fn load_str(mut self, name: &str, text: &str, base: &Path) -> Loaded {
        let main = self.file(name, Ok(text.into()), Role::Main);
        self.finish(main, Path::new(name), base)
    }

    /// `[admin]` of the main file alone: whoever asks a running server to reload needs its address
    /// also where the rest of the file is wrong.
    pub fn load_admin(mut self, path: &Path) -> Result<AdminSettings, Vec<Problem>> {
        let bytes = self.sources.read(path);
        let main = self.file(&path.display().to_string(), bytes, Role::Main);
        let settings = main.map(|root| {
            let mut compiler = Compiler {
                problems: &mut self.problems,
                texts: &self.texts,
                sources: &mut self.sources,
                environment: self.environment,
                base: path.parent().unwrap_or(Path::new("")),
                now: SystemTime::now(),
            };
            compile::admin(&root, &mut compiler)
        });
        let is_meant = |problem: &Problem| settings.is_none() || problem.key.starts_with("admin");
        let mut problems = self.problems.finish(&self.texts);
        problems.retain(|problem| problem.severity == Severity::Error && is_meant(problem));
        settings.filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn finish(mut self, main: Option<Root>, path: &Path, base: &Path) -> Loaded {
        let Some(mut root) = main else { return self.report(None, HashMap::new()) };
        self.includes(&mut root, path, base);
        let places = self.places(&root);
        let mut compiler = Compiler {
            problems: &mut self.problems,
            texts: &self.texts,
            sources: &mut self.sources,
            environment: self.environment,
            base,
            now: SystemTime::now(),
        };
        let snapshot = compile::compile(&root, &mut compiler);
        self.report(Some(snapshot), places)
    }

    fn report(self, snapshot: Option<Snapshot>, places: HashMap<&'static str, Place>) -> Loaded {
        let snapshot = snapshot.filter(|_| !self.problems.has_errors());
        let problems = self.problems.finish(&self.texts);
        Loaded { snapshot, problems, sources: self.sources, places }
    }

    fn places(&self, root: &Root) -> HashMap<&'static str, Place> {
        let places = compile::restart_spots(root).into_iter().map(|(key, spot)| {
            let (line, column) = self.texts.position(spot);
            (key, Place { file: self.texts.name(spot.file), line, column })
        });
        places.collect()
    }

    /// Reads one file; None where there is nothing to build on.
    fn file(&mut self, name: &str, bytes: io::Result<Vec<u8>>, role: Role) -> Option<Root> {
        let text = match bytes.map(String::from_utf8) {
            Ok(Ok(text)) => Arc::<str>::from(text),
            Ok(Err(error)) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let file = self.texts.add(name, String::from_utf8_lossy(valid).into());
                let offset = valid.len() as u32;
                let wrong = Wrong::new("the file is not UTF-8", "save it as UTF-8");
                self.problems.error(Spot { file, offset }, "", wrong);
                return None;
            }
            Err(error) => {
                let file = self.texts.add(name, "".into());
                let wrong = unreadable("the file", &error);
                self.problems.error(Spot { file, offset: 0 }, "", wrong);
                return None;
            }
        };
        let file = self.texts.add(name, text.clone());
        if u32::try_from(text.len()).is_err() {
            let wrong = Wrong::new("the file is larger than 4 GiB", "split it with include");
            self.problems.error(Spot { file, offset: 0 }, "", wrong);
            return None;
        }
        self.text(file, &text, role)
    }

    fn text(&mut self, file: u32, text: &str, role: Role) -> Option<Root> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let complete = errors.is_empty();
        let mut table = table.into_inner();
        if role == Role::Tenant {
            self.refuse_foreign(&mut table, file);
        }
        let mut root = Root::default();
        let mut reading = Reading::new(&mut self.problems, file, self.environment, complete);
        read_section(&mut root, table, Spot { file, offset: 0 }, &mut reading);
        if complete {
            return Some(root);
        }
        self.syntax(file, text, &errors);
        None
    }

    /// Reports what is not TOML, and forgets what was concluded from the same lines.
    fn syntax(&mut self, file: u32, text: &str, errors: &[toml::de::Error]) {
        let spot = |error: &toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start) as u32;
            Spot { file, offset }
        };
        let lines: Vec<_> = errors.iter().map(|error| self.texts.position(spot(error)).0).collect();
        self.problems.forget_lines(file, &lines, &self.texts);
        for (index, error) in errors.iter().enumerate() {
            // One mistake often breaks the rest of its line; the first message is the useful one.
            if !lines[..index].contains(&lines[index]) {
                let span = error.span().and_then(|span| text.get(span)).unwrap_or_default();
                self.problems.error(spot(error), "", syntax_error(error.message(), span));
            }
        }
    }

    /// A tenant's file must not speak about anything but its tenant.
    fn refuse_foreign(&mut self, table: &mut DeTable<'_>, file: u32) {
        let known = |name: &str| Root::INFO.keys.iter().any(|key| key.name == name);
        for (key, value) in std::mem::take(table) {
            if key.get_ref() == "tenants" || !known(key.get_ref()) {
                table.insert(key, value);
                continue;
            }
            let what = format!("`{}` belongs in the main file", key.get_ref());
            let wrong = Wrong::new(what, "an included file holds one [tenants.NAME], nothing else");
            let spot = Spot { file, offset: key.span().start as u32 };
            self.problems.error(spot, key.into_inner(), wrong);
        }
    }

    fn includes(&mut self, root: &mut Root, main: &Path, base: &Path) {
        let Some(include) = root.include.take() else { return };
        let mut read = HashSet::from([base.join(main.file_name().unwrap_or_default())]);
        for pattern in &include.value {
            for path in self.matching(pattern.spot, &pattern.value.0, base) {
                if !read.insert(path.clone()) {
                    let what = format!("{} is included twice, or includes itself", path.display());
                    let wrong = Wrong::new(what, "let each file match once");
                    self.problems.error(pattern.spot, "include", wrong);
                    continue;
                }
                let bytes = self.sources.read(&path);
                if let Err(error) = &bytes {
                    let wrong = unreadable(&path.display().to_string(), error);
                    self.problems.error(pattern.spot, "include", wrong);
                    continue;
                }
                if let Some(file) = self.file(&path.display().to_string(), bytes, Role::Tenant) {
                    self.adopt(root, file, &path);
                }
            }
        }
    }

    /// The files that an include names.
    fn matching(&mut self, spot: Spot, pattern: &Path, base: &Path) -> Vec<PathBuf> {
        let folder = base.join(pattern.parent().unwrap_or(Path::new("")));
        let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if folder.to_string_lossy().contains('*') || name.is_empty() {
            let what = format!("{:?} cannot be matched", pattern.display().to_string());
            let wrong = Wrong::new(what, "use `*` in the last part only: \"tenants/*.toml\"");
            self.problems.error(spot, "include", wrong);
            return Vec::new();
        }
        if !name.contains('*') {
            return vec![folder.join(name)];
        }
        match self.sources.list(&folder, name) {
            Err(error) => {
                let wrong = unreadable(&format!("the folder {}", folder.display()), &error);
                self.problems.error(spot, "include", wrong);
                Vec::new()
            }
            Ok(names) => {
                if names.is_empty() {
                    let what = format!("no file matches {:?}", pattern.display().to_string());
                    let wrong = Wrong::new(what, "tenants that are added later will be noticed");
                    self.problems.warning(spot, "include", wrong);
                }
                names.into_iter().map(|name| folder.join(name)).collect()
            }
        }
    }

    /// Takes the tenant of an included file.
    fn adopt(&mut self, root: &mut Root, file: Root, path: &Path) {
        let start = Spot { file: self.texts.last(), offset: 0 };
        let spot = file.tenants.as_ref().map_or(start, |tenants| tenants.spot);
        let found = file.tenants.map_or_else(Vec::new, |tenants| tenants.value.0);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if found.is_empty() {
            let what = "the file holds no tenant";
            let wrong = Wrong::new(what, format!("write [tenants.{stem}]"));
            self.problems.error(spot, "tenants", wrong);
        }
        for tenant in found {
            let key = format!("tenants.{}", tenant.name);
            if *tenant.name != *stem {
                let what = format!("the file may hold only [tenants.{stem}], after its name");
                let remedy = format!("move [tenants.{0}] to {0}.toml", tenant.name);
                self.problems.error(tenant.spot, key, Wrong::new(what, remedy));
                continue;
            }
            let tenants = root
                .tenants
                .get_or_insert_with(|| super::source::At { spot, value: Default::default() });
            match tenants.value.iter().find(|known| known.name == tenant.name) {
                Some(known) => {
                    let what = format!(
                        "the tenant `{}` is also at {}",
                        tenant.name,
                        self.texts.place(known.spot)
                    );
                    let wrong = Wrong::new(what, "keep it in one file");
                    self.problems.error(tenant.spot, key, wrong);
                }
                None => tenants.value.0.push(tenant),
            }
        }
    }
}

/// Says why a file cannot be read.
pub(super) fn unreadable(file: &str, error: &io::Error) -> Wrong {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "write the path of a file that exists",
        io::ErrorKind::PermissionDenied => "let the user that runs Vestibule read it",
        io::ErrorKind::IsADirectory => "write the path of a file, not of a folder",
        _ => "make it readable",
    };
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or(&reason).to_lowercase();
    Wrong::new(format!("{file} cannot be read: {reason}"), remedy)
}

/// The parser's words, with what to write. `span` is shown only where it is a key.
fn syntax_error(message: &str, span: &str) -> Wrong {
    let first = message.lines().next().unwrap_or(message);
    let first = first.trim_end_matches(", expected literal string");
    if first.contains("duplicate key") {
        let what = format!("`{}` is here for the second time", span.trim());
        return Wrong::new(what, "keep one of the two");
    }
    let remedy = match first {
        text if text.contains("must be quoted") => {
            "write one value: text in double quotes, a number, true or false"
        }
        text if text.contains("unclosed array") => "close the list with `]`",
        text if text.contains("missing comma") => {
            "put a comma between the values, or close the list with `]` before this"
        }
        text if text.contains("missing value") => "write a value after `=`",
        text if text.contains("unclosed table") => "close the section's name with `]`",
        text if text.contains("unclosed inline table") => "close the table with `}`",
        text if text.contains("no value") => "write KEY = VALUE, without spaces in KEY",
        _ => "see https://toml.io for how TOML is written",
    };
    Wrong::new(format!("this is not TOML: {first}"), remedy)
}
