//! What has happened just now, for people: the last refusals and the last reloads.
//!
//! It must cost a flood of refusals next to nothing, and never make a request wait: where somebody
//! else is writing or reading, a refusal is not noted, and counted instead. It keeps no path, no
//! query and no user id: nothing that a stranger has sent but the request's own name.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::request_id::RequestId;
use super::trace::TraceId;
use crate::config::{Problem, Severity};
use crate::pipeline::Owner;
use crate::rejection::{Code, Rejection};
use crate::reload::ReloadOutcome;
use crate::state::streams::Role;

/// Refusals that are kept.
const REFUSALS: usize = 256;
/// Reloads that are kept.
const RELOADS: usize = 10;
/// Problems that are kept of one reload; the first ones.
const PROBLEMS: usize = 20;
/// Bytes of a reload's text.
const TEXT: usize = 4096;

/// One of it outlives every snapshot.
#[derive(Debug, Default)]
pub struct Recent {
    refusals: Mutex<VecDeque<Refusal>>,
    missed: AtomicU64,
    reloads: Mutex<VecDeque<Reload>>,
}

/// One request that was refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub time: SystemTime,
    /// Tenant, and persona or site; None where nobody's could be said.
    pub owner: Option<(Arc<str>, Role, Arc<str>)>,
    pub code: Code,
    /// As in the access log.
    pub reason: &'static str,
    pub request_id: RequestId,
    pub trace_id: Option<TraceId>,
}

/// One attempt to reload.
#[derive(Debug, Clone)]
pub struct Reload {
    pub time: SystemTime,
    /// "applied", "refused" or "unchanged".
    pub outcome: &'static str,
    /// Of one that was applied.
    pub took: Option<Duration>,
    pub text: String,
    /// The first ones.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problem_count: usize,
}

impl Recent {
    /// A request was refused.
    pub fn refused(
        &self,
        rejection: &Rejection,
        owner: Option<&Owner>,
        (request_id, trace_id): (&RequestId, Option<TraceId>),
    ) {
        let Ok(mut refusals) = self.refusals.try_lock() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if refusals.len() == REFUSALS {
            refusals.pop_front();
        }
        let owner = owner.map(|owner| {
            let role = owner.persona().map_or(Role::Site, |_| Role::Persona);
            (Arc::clone(owner.tenant()), role, Arc::clone(owner.name()))
        });
        refusals.push_back(Refusal {
            time: SystemTime::now(),
            owner,
            code: rejection.code,
            reason: rejection.reason,
            request_id: *request_id,
            trace_id,
        });
    }

    /// The configuration was looked at.
    pub fn reloaded(&self, outcome: &ReloadOutcome, time: SystemTime) {
        let reload = Reload::of(outcome, time);
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        if reloads.len() == RELOADS {
            reloads.pop_front();
        }
        reloads.push_back(reload);
    }

    /// The last ones, newest first, at most so many.
    pub fn refusals(&self, most: usize) -> Vec<Refusal> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().rev().take(most).cloned().collect()
    }

    /// Refusals that could not be noted.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Newest first.
    pub fn reloads(&self) -> Vec<Reload> {
        let reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.iter().rev().cloned().collect()
    }
}

impl Reload {
    fn of(outcome: &ReloadOutcome, time: SystemTime) -> Self {
        let none = Vec::new();
        let (word, took, problems) = match outcome {
            ReloadOutcome::Unchanged => ("unchanged", None, &none),
            ReloadOutcome::Applied { warnings, took, .. } => ("applied", Some(*took), warnings),
            ReloadOutcome::Refused { problems } => ("refused", None, problems),
        };
        let mut text = outcome.to_string();
        text.truncate(text.floor_char_boundary(TEXT));
        // Errors first: they are what somebody looks for.
        let (errors, warnings): (Vec<_>, Vec<_>) =
            problems.iter().partition(|problem| problem.severity == Severity::Error);
        let kept = errors.into_iter().chain(warnings).take(PROBLEMS).cloned().collect();
        Self { time, outcome: word, took, text, problems: kept, problem_count: problems.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::request_id::Generator;

    fn name() -> RequestId {
        RequestId::new(Generator::seeded([1; 16]).next())
    }

    #[test]
    fn the_last_refusals_are_kept_newest_first() {
        let recent = Recent::default();
        for _ in 0..REFUSALS {
            recent.refused(&Rejection::new(Code::NotFound, "old"), None, (&name(), None));
        }
        recent.refused(&Rejection::new(Code::RateLimited, "new"), None, (&name(), None));
        let told = recent.refusals(usize::MAX);
        assert_eq!((told.len(), told[0].reason, told[1].reason), (REFUSALS, "new", "old"));
        assert_eq!(recent.refusals(50).len(), 50);
    }

    #[test]
    fn a_refusal_waits_for_nobody() {
        let recent = Recent::default();
        let reading = recent.refusals.lock();
        recent.refused(&Rejection::new(Code::NotFound, "missed"), None, (&name(), None));
        drop(reading);
        assert_eq!((recent.refusals(9).len(), recent.missed()), (0, 1));
    }

    #[test]
    fn of_a_reload_with_many_problems_the_first_errors_are_kept() {
        let problem = |severity, what: String| Problem {
            severity,
            file: "a.toml".into(),
            line: 1,
            column: 1,
            key: "a".into(),
            what: what.into(),
            remedy: "".into(),
        };
        let mut problems: Vec<_> =
            (0..900).map(|it| problem(Severity::Warning, format!("warning {it}"))).collect();
        problems.push(problem(Severity::Error, "the error".into()));
        let recent = Recent::default();
        for _ in 0..RELOADS + 1 {
            let outcome = ReloadOutcome::Refused { problems: problems.clone() };
            recent.reloaded(&outcome, SystemTime::UNIX_EPOCH);
        }
        recent.reloaded(&ReloadOutcome::Unchanged, SystemTime::UNIX_EPOCH);
        let told = recent.reloads();
        assert_eq!(
            (told.len(), told[0].outcome, told[1].outcome),
            (RELOADS, "unchanged", "refused")
        );
        assert_eq!((told[1].problems.len(), told[1].problem_count), (PROBLEMS, 901));
        assert_eq!(told[1].problems[0].severity, Severity::Error);
        assert!(told[1].text.len() <= TEXT);
    }
}
