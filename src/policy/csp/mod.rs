//! Content-Security-Policy: what the answer to a document says about framing and about our script.
//!
//! Decides how the upstream's policies and ours become one set of policies. Only what restricts is
//! extended, in each of the upstream's policies by itself: a second policy could only narrow.
//!
//! | we want | a policy that restricts it | a policy that does not | no enforced policy at all |
//! | --- | --- | --- | --- |
//! | `frame-ancestors 'self' ORIGINS` | its directive is replaced | stays; where none has one, a policy with it alone joins | that policy |
//! | personas in `frame-src` | they join its effective list | stays | `frame-src 'self' PERSONAS` |
//! | our script in `script-src` | it joins | stays | nothing |
//! | our endpoints in `connect-src` | they join | stays | nothing |
//!
//! The effective list is the first that is present of `frame-src`, `child-src`, `default-src`; of
//! `script-src`, `default-src`; of `connect-src`, `default-src`. Where that is a fallback, the
//! directive is made from a copy of it, so that everything else goes on being restricted by the
//! fallback. `script-src-elem` is extended wherever it stands, because it then decides about
//! script elements; `script-src` beside it serves browsers that do not know it. `'none'` is
//! dropped from a list that grows. A list that already admits an addition does not change.
//!
//! **Nonces, hashes, `'strict-dynamic'`.** Beside nonces and hashes an address still counts: it is
//! added. Under `'strict-dynamic'` browsers ignore addresses, so none is added: our script then
//! needs the page's own nonce, and [`Edit::own_script`] says which, or that nothing can admit it.
//! It is made for one who writes our script element into the page.
//!
//! **Report-only policies** of the upstream are extended in the same way, so that they do not report
//! us; none of ours is added to them. `frame-ancestors` in them is replaced.
//!
//! **Modes.** `merge` is the above. `replace`: the upstream's policies, report-only ones too, give
//! way to ours, if we have one. `report-only`: the upstream's stay in force, unchanged; what `merge` would change in
//! each is sent as report-only, with the upstream's reporting directives and nothing else.
//!
//! What must not happen: a policy of the upstream loses a restriction that is not named here; a value
//! of the configuration begins another directive ([`check_source`]); what we send is no valid header.

mod compose;
mod source;
pub mod syntax;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use compose::OwnScript;
pub use source::check_source;
use syntax::Policy;

/// How our policies and the upstream's meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Merge,
    Replace,
    ReportOnly,
}

/// Which header field a policy came in, or goes out in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Enforce,
    Report,
}

impl Disposition {
    /// For the name of a header field, in any case.
    pub fn of(name: &[u8]) -> Option<Self> {
        [Self::Enforce, Self::Report]
            .into_iter()
            .find(|disposition| name.eq_ignore_ascii_case(disposition.field_name().as_bytes()))
    }

    pub fn field_name(self) -> &'static str {
        match self {
            Self::Enforce => "Content-Security-Policy",
            Self::Report => "Content-Security-Policy-Report-Only",
        }
    }
}

/// What a document needs, as source expressions. Each is checked with [`check_source`].
///
/// | document | `ancestors` | `frames` | `script`, `connect` |
/// | --- | --- | --- | --- |
/// | chat | the persona's embed origins | none | the bridge, if it is injected |
/// | site | `None` | its personas | `embed.js` and where it reports |
/// | shell | the persona's embed origins | the persona | as for a chat |
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs<'n> {
    /// Who may frame the document, besides itself; `None` where that is not ours to say.
    pub ancestors: Option<&'n [&'n str]>,
    /// What the document frames.
    pub frames: &'n [&'n str],
    /// Where our script in it comes from.
    pub script: &'n [&'n str],
    /// Where our script in it connects to.
    pub connect: &'n [&'n str],
    pub script_place: ScriptPlace,
}

/// Whether `'self'` in a page's policy means our script too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScriptPlace {
    /// Served from the page's own origin: a chat document.
    SameOrigin,
    /// Served from another: a site.
    #[default]
    Elsewhere,
}

/// The policy work of one kind of document, made once for a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledCsp {
    mode: Mode,
    /// `'self'` and the origins.
    ancestors: Option<Box<[Box<str>]>>,
    frames: Box<[Box<str>]>,
    script: Box<[Box<str>]>,
    connect: Box<[Box<str>]>,
    script_place: ScriptPlace,
    /// Our policy where the upstream has none; empty where we have nothing to say.
    alone: Box<str>,
}

/// What changes in the header of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit<'a> {
    pub enforce: FieldEdit<'a>,
    pub report: FieldEdit<'a>,
    /// The upstream's X-Frame-Options goes: it knows no list of origins, and old browsers obey it.
    pub drops_frame_options: bool,
    pub own_script: OwnScript,
}

/// What becomes of all header fields of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldEdit<'a> {
    /// The upstream's pass as they are.
    Keep,
    /// One field with this value stands for them.
    Set(Cow<'a, str>),
    /// They are removed and none is set.
    Remove,
}

impl CompiledCsp {
    /// Refuses a source that could smuggle a directive, with a sentence for whoever wrote it.
    pub fn new(mode: Mode, needs: &Needs<'_>) -> Result<Self, String> {
        let ancestors = needs.ancestors.unwrap_or_default();
        for text in [ancestors, needs.frames, needs.script, needs.connect].concat() {
            check_source(text)?;
        }
        let own = |list: &[&str]| list.iter().map(|&text| text.into()).collect::<Box<[Box<str>]>>();
        let with_self = |list: &[&str]| {
            let others = list.iter().filter(|text| !text.eq_ignore_ascii_case("'self'"));
            std::iter::once("'self'").chain(others.copied()).map(Into::into).collect()
        };
        let mut compiled = Self {
            mode,
            ancestors: needs.ancestors.map(with_self),
            frames: own(needs.frames),
            script: own(needs.script),
            connect: own(needs.connect),
            script_place: needs.script_place,
            alone: "".into(),
        };
        compiled.alone = compiled.own_policy(&[]).into();
        Ok(compiled)
    }

    /// Nothing is asked of anybody.
    pub fn none() -> Self {
        Self {
            mode: Mode::Merge,
            ancestors: None,
            frames: Box::default(),
            script: Box::default(),
            connect: Box::default(),
            script_place: ScriptPlace::Elsewhere,
            alone: Box::default(),
        }
    }

    /// What to do about an answer whose policies are these, field by field in their order.
    ///
    /// Meant for every answer of the document's paths, 304 among them: a cache takes the fields of
    /// a 304 over.
    pub fn edit<'a>(
        &'a self,
        upstream: impl IntoIterator<Item = (Disposition, &'a [u8])>,
    ) -> Edit<'a> {
        let mut upstream = upstream.into_iter().peekable();
        if upstream.peek().is_none() {
            return self.untouched();
        }
        let (mut enforced, mut reported): (Vec<Policy<'a>>, Vec<Policy<'a>>) = Default::default();
        for (disposition, field) in upstream {
            match disposition {
                Disposition::Enforce => enforced.extend(syntax::policies(field)),
                Disposition::Report => reported.extend(syntax::policies(field)),
            }
        }
        match self.mode {
            Mode::Merge => self.merged(enforced, reported),
            Mode::Replace if self.alone.is_empty() => self.untouched(),
            Mode::Replace => Edit { report: FieldEdit::Remove, ..self.untouched() },
            Mode::ReportOnly => self.tried(&enforced, reported),
        }
    }

    /// The answer to a document without policies: nothing is parsed, nothing allocated.
    fn untouched(&self) -> Edit<'_> {
        let own = match &*self.alone {
            "" => FieldEdit::Keep,
            alone => FieldEdit::Set(Cow::Borrowed(alone)),
        };
        let (enforce, report) = match self.mode {
            Mode::Merge | Mode::Replace => (own, FieldEdit::Keep),
            Mode::ReportOnly => (FieldEdit::Keep, own),
        };
        let drops_frame_options = self.ancestors.is_some() && self.mode != Mode::ReportOnly;
        Edit { enforce, report, drops_frame_options, own_script: OwnScript::Admitted }
    }

    fn merged<'a>(&'a self, enforced: Vec<Policy<'a>>, reported: Vec<Policy<'a>>) -> Edit<'a> {
        let own = self.own_policy(&enforced);
        let enforced = self.extended(enforced);
        Edit {
            enforce: set(&enforced, &own),
            report: set(&self.extended(reported), ""),
            own_script: self.own_script(&enforced),
            ..self.untouched()
        }
    }

    fn tried<'a>(&'a self, enforced: &[Policy<'a>], reported: Vec<Policy<'a>>) -> Edit<'a> {
        let mut trial = self.extended(reported);
        trial.extend(enforced.iter().filter_map(|policy| self.change(policy)));
        Edit {
            report: set(&trial, &self.own_policy(enforced)),
            own_script: self.own_script(enforced),
            ..self.untouched()
        }
    }
}

fn set<'a>(policies: &[Policy<'_>], own: &str) -> FieldEdit<'a> {
    let mut text = syntax::serialise(policies);
    if !own.is_empty() && !text.is_empty() {
        text.push_str(", ");
    }
    text.push_str(own);
    if text.is_empty() { FieldEdit::Remove } else { FieldEdit::Set(text.into()) }
}
