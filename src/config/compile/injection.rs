//! What launches of a persona may bring to its app: instructions and messages, and variables.
//!
//! Whether somebody must vouch for a launch that injects is decided in `identity`.

use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::{Entry, Table};
use super::super::snapshot::AppKind;
use super::super::source::{At, Spot};
use super::super::values::{InjectionPersona, Size, VariableSource};
use super::Compiler;
use super::identity::RESERVED;
use crate::policy::injection::InjectionPolicy;
use crate::policy::variables::{MAX_HEADER, MAX_NAME, Source, Variable, VariablesPolicy};

/// Of a variable, where nothing else is configured.
const DEFAULT_MAX: usize = 2 * 1024;
/// What a session keeps stays small beside what can be injected.
const LARGEST_MAX: usize = 64 * 1024;
const MOST_VARIABLES: usize = 64;

/// Where the persona stands.
#[derive(Clone, Copy)]
pub struct Around<'c> {
    pub tenant: &'c str,
    /// Apps can ask what a session was launched with.
    pub has_internal: bool,
}

/// The keys of one persona.
struct Part<'c, 'r> {
    around: Around<'c>,
    one: &'r Entry<raw::Persona>,
    name: &'static str,
}

impl Part<'_, '_> {
    fn key(&self) -> String {
        format!("tenants.{}.personas.{}.{}", self.around.tenant, self.one.name, self.name)
    }

    fn error(&self, compiler: &mut Compiler<'_>, spot: Spot, wrong: Wrong) {
        compiler.problems.error(spot, self.key(), wrong);
    }

    fn warning(&self, compiler: &mut Compiler<'_>, spot: Spot, wrong: Wrong) {
        compiler.problems.warning(spot, self.key(), wrong);
    }

    /// Apps without documents are not launched by query or form.
    fn refuse_without_documents(&self, spot: Spot, compiler: &mut Compiler<'_>) {
        let app = self.one.value.app.as_ref().map(|at| at.value);
        if matches!(app, Some(AppKind::Rasa | AppKind::SocketIo | AppKind::Sse)) {
            let what = "apps of this kind serve no documents, so that the key has no effect";
            let remedy = "leave it out, or write app = \"streamlit\" or \"generic\"";
            self.error(compiler, spot, Wrong::new(what, remedy));
        }
    }

    /// What a form brought is nowhere but here.
    fn warn_without_internal(&self, spot: Spot, what: &'static str, compiler: &mut Compiler<'_>) {
        if !self.around.has_internal {
            let remedy = "add [internal] with listen = \"127.0.0.1:9181\"";
            self.warning(compiler, spot, Wrong::new(what, remedy));
        }
    }
}

/// Whether launches may inject.
pub fn compile(
    one: &Entry<raw::Persona>,
    around: Around<'_>,
    compiler: &mut Compiler<'_>,
) -> Option<InjectionPolicy> {
    let at = one.value.injection.as_ref()?;
    let part = Part { around, one, name: "injection" };
    if !at.value.enabled.as_ref().is_some_and(|at| at.value) {
        let is_broken = compiler.problems.has_error_below(&format!("{}.enabled", part.key()));
        if let Some(at) = at.value.persona.as_ref().filter(|_| !is_broken) {
            let what = "injection is not enabled, so that `persona` has no effect";
            part.error(compiler, at.spot, Wrong::new(what, "add enabled = true"));
        }
        return None;
    }
    part.refuse_without_documents(at.spot, compiler);
    if at.value.persona.as_ref().is_some_and(|at| at.value == InjectionPersona::Preset) {
        let what = "a preset takes no instructions: a launch that injects anything is refused";
        let remedy = "write persona = \"custom\" once the app takes them";
        part.warning(compiler, at.spot, Wrong::new(what, remedy));
        return Some(InjectionPolicy::Preset);
    }
    let what = "what a form injects cannot reach the app, which has no listener to ask for it";
    part.warn_without_internal(at.spot, what, compiler);
    Some(InjectionPolicy::Custom)
}

/// What launches may bring besides.
pub fn variables(
    one: &Entry<raw::Persona>,
    around: Around<'_>,
    compiler: &mut Compiler<'_>,
) -> VariablesPolicy {
    let Some(list) = &one.value.variables else { return VariablesPolicy::default() };
    let part = Part { around, one, name: "variables" };
    if !list.value.is_empty() {
        part.refuse_without_documents(list.spot, compiler);
    }
    if list.value.len() > MOST_VARIABLES {
        let what = format!("there are more than {MOST_VARIABLES}");
        let remedy = "send several in one, as JSON";
        part.error(compiler, list.spot, Wrong::new(what, remedy));
    }
    let mut variables: Vec<Variable> = Vec::new();
    for at in &list.value {
        let Some(variable) = variable(at, &part, compiler) else { continue };
        let spot = at.value.name.as_ref().map_or(at.spot, |name| name.spot);
        let name = variable.name();
        if let Some(other) = variables.iter().find(|other| other.shares_header(&variable)) {
            let wrong = if other.name() == name {
                Wrong::new(format!("`{name}` is declared twice"), "keep one of the two")
            } else {
                let what = format!("`{name}` and `{}` would be the same header", other.name());
                Wrong::new(what, "give one of them another name; `_`, `-` and case do not count")
            };
            part.error(compiler, spot, wrong);
        }
        variables.push(variable);
    }
    VariablesPolicy::new(variables)
}

fn variable(
    at: &At<Table<raw::Variable>>,
    part: &Part<'_, '_>,
    compiler: &mut Compiler<'_>,
) -> Option<Variable> {
    let raw = &at.value;
    let name = raw.name.as_ref()?;
    let text = &*name.value.0;
    if RESERVED.contains(&text) {
        let what = format!("`{text}` has a meaning of its own in every launch");
        part.error(compiler, name.spot, Wrong::new(what, "give the variable another name"));
    }
    let source = match raw.source.as_ref().map(|at| at.value) {
        Some(VariableSource::Body) => Source::Body,
        Some(VariableSource::Query) | None => Source::Query,
    };
    let max = raw.max.as_ref().map_or(DEFAULT_MAX, |at| max(at, part, compiler));
    if source == Source::Body && max > MAX_HEADER {
        let what = "values over 256 bytes that a form brings cannot reach the app, which has no \
                    listener to ask for them";
        part.warn_without_internal(name.spot, what, compiler);
    }
    let variable = Variable::new(text, source, max);
    if variable.is_err() {
        let what = format!("`{text}` cannot be a variable, whose name is part of a header's");
        let remedy = format!(
            "write at most {MAX_NAME} letters, digits, `-` and `_`, beginning with a letter or digit"
        );
        part.error(compiler, name.spot, Wrong::new(what, remedy));
    }
    variable.ok()
}

fn max(at: &At<Size>, part: &Part<'_, '_>, compiler: &mut Compiler<'_>) -> usize {
    let max = usize::try_from(at.value.0).unwrap_or(usize::MAX);
    if !(1..=LARGEST_MAX).contains(&max) {
        let wrong = Wrong::new("a variable has from 1B to 64KiB", "write max = \"2KiB\"");
        part.error(compiler, at.spot, wrong);
    }
    max
}
