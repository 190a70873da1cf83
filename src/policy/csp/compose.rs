//! What one policy becomes. The rules are in the table of the module above.

use super::source::admits;
use super::syntax::{Directive, Policy, serialise};
use super::{CompiledCsp, ScriptPlace};

/// What browsers consult for a directive that is absent, in their order; the directive itself first.
const FRAME: &[&str] = &["frame-src", "child-src", "default-src"];
const CONNECT: &[&str] = &["connect-src", "default-src"];
const SCRIPT: &[&str] = &["script-src", "default-src"];
const SCRIPT_ELEMENT: &[&str] = &["script-src-elem", "script-src", "default-src"];
const REPORTING: &[&str] = &["report-uri", "report-to"];

/// Whether a script element of ours would run under the policies that are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnScript {
    /// By its address, or because nothing restricts it.
    Admitted,
    /// Only with this nonce of the page as its `nonce` attribute.
    NeedsNonce(String),
    /// No attribute helps: `'strict-dynamic'` without a nonce, or a sandbox without scripts.
    Blocked,
}

impl CompiledCsp {
    /// Each policy with what we need in it.
    pub(super) fn extended<'a>(&'a self, mut policies: Vec<Policy<'a>>) -> Vec<Policy<'a>> {
        for policy in &mut policies {
            self.extend(policy);
        }
        policies
    }

    fn extend<'a>(&'a self, policy: &mut Policy<'a>) {
        if let (Some(ancestors), Some(at)) = (&self.ancestors, policy.position("frame-ancestors")) {
            policy.directives[at].values = texts(ancestors).collect();
        }
        let additions = texts(&self.frames).collect::<Vec<_>>();
        grow(policy, FRAME, &additions, Copies::Locations);
        if let Some(at) = policy.position(SCRIPT_ELEMENT[0]) {
            let additions = self.script_for(&policy.directives[at]);
            add(&mut policy.directives[at], &additions);
        }
        if let Some(list) = policy.governing(SCRIPT) {
            let additions = self.script_for(list);
            grow(policy, SCRIPT, &additions, Copies::All);
        }
        if let Some(list) = policy.governing(CONNECT) {
            let additions = self.missing(&self.connect, list);
            grow(policy, CONNECT, &additions, Copies::Locations);
        }
    }

    /// What [`CompiledCsp::extend`] changes in a policy, by itself: for a trial.
    pub(super) fn change<'a>(&'a self, policy: &Policy<'a>) -> Option<Policy<'a>> {
        let mut changed = policy.clone();
        self.extend(&mut changed);
        changed.directives.retain(|directive| !policy.directives.contains(directive));
        if changed.directives.is_empty() {
            return None;
        }
        let reports = |directive: &&Directive<'a>| REPORTING.iter().any(|name| directive.is(name));
        changed.directives.extend(policy.directives.iter().filter(reports).cloned());
        Some(changed)
    }

    /// The policy of ours that joins the upstream's enforced ones; empty where none is needed.
    pub(super) fn own_policy(&self, enforced: &[Policy<'_>]) -> String {
        let mut own = Policy::default();
        if let Some(ancestors) = &self.ancestors
            && enforced.iter().all(|policy| policy.get("frame-ancestors").is_none())
        {
            let values = texts(ancestors).collect();
            own.directives.push(Directive { name: "frame-ancestors", values });
        }
        if enforced.is_empty() && !self.frames.is_empty() {
            let personas = texts(&self.frames).filter(|text| !text.eq_ignore_ascii_case("'self'"));
            let values = std::iter::once("'self'").chain(personas).collect();
            own.directives.push(Directive { name: "frame-src", values });
        }
        serialise([&own])
    }

    /// Those addresses of our script that a list must gain, where addresses count at all.
    fn script_for<'a>(&'a self, list: &Directive<'_>) -> Vec<&'a str> {
        if has(list, "'strict-dynamic'") { Vec::new() } else { self.missing(&self.script, list) }
    }

    fn missing<'a>(&self, ours: &'a [Box<str>], list: &Directive<'_>) -> Vec<&'a str> {
        if self.script_place == ScriptPlace::SameOrigin && has(list, "'self'") {
            return Vec::new();
        }
        texts(ours).filter(|address| !admits(&list.values, address)).collect()
    }

    /// Judges our script under policies as they are enforced.
    pub(super) fn own_script(&self, enforced: &[Policy<'_>]) -> OwnScript {
        if self.script.is_empty() {
            return OwnScript::Admitted;
        }
        let sandboxes = enforced.iter().filter_map(|policy| policy.get("sandbox"));
        if sandboxes.into_iter().any(|sandbox| !has(sandbox, "allow-scripts")) {
            return OwnScript::Blocked;
        }
        let needs_nonce = |list: &&Directive<'_>| {
            has(list, "'strict-dynamic'") || !self.missing(&self.script, list).is_empty()
        };
        let lists = enforced.iter().filter_map(|policy| policy.governing(SCRIPT_ELEMENT));
        let lists: Vec<_> = lists.filter(needs_nonce).collect();
        let Some((first, rest)) = lists.split_first() else { return OwnScript::Admitted };
        let in_all = |nonce: &&str| rest.iter().all(|list| nonces(list).any(|n| n == *nonce));
        match nonces(first).find(in_all) {
            Some(nonce) => OwnScript::NeedsNonce(nonce.to_owned()),
            None => OwnScript::Blocked,
        }
    }
}

fn texts(list: &[Box<str>]) -> impl Iterator<Item = &str> {
    list.iter().map(|text| &**text)
}

fn has(list: &Directive<'_>, keyword: &str) -> bool {
    list.values.iter().any(|value| value.eq_ignore_ascii_case(keyword))
}

/// The nonces of a list; those that could end an HTML attribute are none.
fn nonces<'a>(list: &Directive<'a>) -> impl Iterator<Item = &'a str> {
    list.values.clone().into_iter().filter_map(|value| {
        let (prefix, nonce) = value.split_at_checked("'nonce-".len())?;
        let nonce = nonce.strip_suffix('\'')?;
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
        let is_nonce = prefix.eq_ignore_ascii_case("'nonce-") && nonce.bytes().all(is_base64);
        (is_nonce && !nonce.is_empty()).then_some(nonce)
    })
}

/// What a directive that is made from its fallback takes from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copies {
    All,
    /// Schemes, hosts and `'self'`: nonces, hashes and `'unsafe-...'` say nothing about frames and
    /// connections.
    Locations,
}

/// Adds sources to what governs `names[0]`, where something does and does not admit them yet.
fn grow<'a>(
    policy: &mut Policy<'a>,
    names: &'static [&'static str],
    additions: &[&'a str],
    copies: Copies,
) {
    if let Some(at) = policy.position(names[0]) {
        add(&mut policy.directives[at], additions);
        return;
    }
    let Some(fallback) = policy.governing(names) else { return };
    if additions.iter().all(|addition| admits(&fallback.values, addition)) {
        return;
    }
    let mut directive = Directive { name: names[0], values: fallback.values.clone() };
    if copies == Copies::Locations {
        let is_location =
            |value: &str| !value.starts_with('\'') || value.eq_ignore_ascii_case("'self'");
        directive.values.retain(|value| is_location(value));
    }
    add(&mut directive, additions);
    policy.directives.push(directive);
}

fn add<'a>(directive: &mut Directive<'a>, additions: &[&'a str]) {
    for addition in additions {
        if !admits(&directive.values, addition) {
            directive.values.retain(|value| !value.eq_ignore_ascii_case("'none'"));
            directive.values.push(addition);
        }
    }
}
