//! The versions of a tenant's file: read, compiled, or taken as they were.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::allow::Trust;
use super::super::compile::{self, Compiler};
use super::super::error::{Problems, Wrong};
use super::super::file::{self, File, Role, unreadable};
use super::super::history::Version;
use super::super::source::{SourceText, Sources, Spot};
use super::{Candidate, Parties};

impl Parties<'_, '_> {
    /// A version that need not be compiled again.
    pub(super) fn again(&mut self, version: Arc<Version>) -> Candidate {
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

    /// What the file says now. In a broken text one who serves wants the hosts.
    pub(super) fn compile(
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

    /// What it said once.
    pub(super) fn compile_text(
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
}
