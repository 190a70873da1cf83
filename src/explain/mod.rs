//! What would become of a request, stage by stage, without sending any.
//!
//! The request goes through the same [`admit`](crate::pipeline::admit) that serves, with limits and
//! sessions of its own, as a browser would send it: it keeps our cookie (or, if asked, refuses it) and
//! follows our redirects. Nothing is sent anywhere, and no token is printed.
//!
//! [`question`] is what is asked, `world` finds out, [`verdict`] says what it comes to, and `print` is
//! how `vestibule explain` shows it. The same data is what the admin listener answers.

mod print;
pub mod question;
pub mod verdict;
mod world;

use http::Method;

use crate::config::snapshot::Snapshot;
pub use question::{Cookies, Place, Question};
use question::{Request, Url};
pub use verdict::{State, Verdict};
use world::World;

/// Redirects that are followed.
const STEPS: usize = 6;

/// What would become of a request, and of those that follow from it. Its `Display` is what
/// `vestibule explain` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// At least one.
    pub steps: Vec<Step>,
    /// Nobody has followed all of its redirects.
    pub goes_on: bool,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// From one.
    pub number: usize,
    pub method: Method,
    /// The canonical target, without what whoever reads it could use.
    pub target: String,
    pub notes: Vec<Note>,
    pub verdict: Verdict,
}

/// Something to tell of a step, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// What a stage decided.
    Stage(&'static str, String),
    /// A line that the upstream would receive.
    Sent(String),
}

impl Explanation {
    /// What it comes to in the end.
    pub fn verdict(&self) -> &Verdict {
        static NOTHING: Verdict = Verdict::nothing();
        self.steps.last().map_or(&NOTHING, |step| &step.verdict)
    }
}

impl Step {
    fn new(number: usize, method: &Method, target: String) -> Self {
        let (method, verdict) = (method.clone(), Verdict::nothing());
        Self { number, method, target, notes: Vec::new(), verdict }
    }

    fn note(&mut self, stage: &'static str, text: String) {
        self.notes.push(Note::Stage(stage, text));
    }

    fn send(&mut self, line: &str) {
        self.notes.push(Note::Sent(line.to_owned()));
    }
}

/// The explanation, or why the question makes no sense.
pub fn explain(snapshot: &Snapshot, question: &Question) -> Result<Explanation, String> {
    let url = Url::parse(&question.url)?;
    let mut world = World::new(snapshot, &url, question.client);
    let mut request = Request::of(question, &url)?;
    if let Some(launched) = &question.launched {
        let cookie = world.launched(launched)?;
        request.set("Cookie", &cookie);
    }
    let mut steps = Vec::new();
    for number in 1..=STEPS {
        let (step, next) = world.step(number, &request);
        steps.push(step);
        if question.cookies == Cookies::Kept
            && let Some(cookie) = next.cookie
        {
            request.set("Cookie", &cookie);
        }
        let Some(location) = next.location else {
            return Ok(Explanation { steps, goes_on: false });
        };
        request = request.following(location);
    }
    Ok(Explanation { steps, goes_on: true })
}
