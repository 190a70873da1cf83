//! Who may frame a persona's documents, and what a site's pages may frame.
//!
//! Embed origins, and the sites that embed a persona, become sources of the Content-Security-Policy
//! here, once. What could smuggle a directive into it does not compile.

use super::super::addresses::Host;
use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::Entry;
use super::super::source::At;
use super::super::values::CspMode;
use super::Compiler;
use crate::policy::csp::{CompiledCsp, Mode, Needs, ScriptPlace};
use crate::policy::origin::AllowedOrigin;

/// One tenant, and the port at which browsers reach us where it is not the usual one.
pub struct Framing<'r> {
    tenant: &'r Entry<raw::Tenant>,
    port: Option<u16>,
}

impl<'r> Framing<'r> {
    /// `port` is that of the first TLS listener.
    pub fn new(port: Option<u16>, tenant: &'r Entry<raw::Tenant>) -> Self {
        Self { tenant, port: port.filter(|port| !matches!(port, 0 | 443)) }
    }

    /// The origins that may embed a persona: the tenant's list, and its sites that say so; each
    /// once, because they stand in every document.
    pub fn embedders(&self, persona: &str, compiler: &mut Compiler<'_>) -> Vec<AllowedOrigin> {
        let key = format!("tenants.{}.embed_origins", self.tenant.name);
        let listed = self.tenant.value.embed_origins.iter().flat_map(|list| &list.value);
        let mut origins = Vec::new();
        let mut add = |origin: AllowedOrigin| {
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        };
        for at in listed {
            match AllowedOrigin::parse(&at.value.0) {
                Ok(origin) => add(origin),
                Err(why) => compiler.problems.error(at.spot, key.clone(), Wrong::new(why, "")),
            }
        }
        for site in self.tenant.value.sites.iter().flat_map(|at| at.value.iter()) {
            let embeds = site.value.embeds.iter().flat_map(|list| &list.value);
            if embeds.into_iter().any(|name| &*name.value.0 == persona) {
                let own = self.origins(site.value.hosts.as_ref());
                // A host that is no origin was told where it stands.
                own.filter_map(|text| AllowedOrigin::parse(&text).ok()).for_each(&mut add);
            }
        }
        origins
    }

    pub fn persona(
        &self,
        one: &Entry<raw::Persona>,
        embedders: &[AllowedOrigin],
        compiler: &mut Compiler<'_>,
    ) -> CompiledCsp {
        let csp = one.value.csp.as_ref();
        let mode = match csp.and_then(|at| at.value.mode.as_ref()).map(|at| at.value) {
            Some(CspMode::Replace) => Mode::Replace,
            Some(CspMode::ReportOnly) => Mode::ReportOnly,
            Some(CspMode::Merge) | None => Mode::Merge,
        };
        let ancestors: Vec<&str> = embedders.iter().map(AllowedOrigin::as_str).collect();
        // The bridge is a script of the document's own origin, and talks to nobody else.
        let has_bridge = one.value.bridge.as_ref().is_some_and(|at| at.value);
        let own: &[&str] = if has_bridge { &["'self'"] } else { &[] };
        let needs = Needs {
            ancestors: Some(&ancestors),
            script: own,
            connect: own,
            script_place: ScriptPlace::SameOrigin,
            ..Needs::default()
        };
        self.compile(mode, &needs, compiler)
    }

    /// Of the pages around a persona's chat: they frame it, and may be framed by whom it may.
    pub fn shells(
        &self,
        one: &Entry<raw::Persona>,
        embedders: &[AllowedOrigin],
        compiler: &mut Compiler<'_>,
    ) -> CompiledCsp {
        let ancestors: Vec<&str> = embedders.iter().map(AllowedOrigin::as_str).collect();
        let frames: Vec<_> = self.origins(one.value.hosts.as_ref()).collect();
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let needs = Needs { ancestors: Some(&ancestors), frames: &frames, ..Needs::default() };
        self.compile(Mode::Merge, &needs, compiler)
    }

    pub fn site(&self, one: &Entry<raw::Site>, compiler: &mut Compiler<'_>) -> CompiledCsp {
        let mut frames = Vec::new();
        for name in one.value.embeds.iter().flat_map(|list| &list.value) {
            let mut personas = self.tenant.value.personas.iter().flat_map(|at| at.value.iter());
            if let Some(persona) = personas.find(|persona| *persona.name == *name.value.0) {
                frames.extend(self.origins(persona.value.hosts.as_ref()));
            }
        }
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        self.compile(Mode::Merge, &Needs { frames: &frames, ..Needs::default() }, compiler)
    }

    fn compile(&self, mode: Mode, needs: &Needs<'_>, compiler: &mut Compiler<'_>) -> CompiledCsp {
        CompiledCsp::new(mode, needs).unwrap_or_else(|why| {
            let origins = self.tenant.value.embed_origins.as_ref();
            let spot = origins.map_or_else(Default::default, |list| list.spot);
            let key = format!("tenants.{}.embed_origins", self.tenant.name);
            compiler.problems.error(spot, key, Wrong::new(why, ""));
            CompiledCsp::none()
        })
    }

    fn origins(
        &self,
        hosts: Option<&'r At<Vec<At<Host>>>>,
    ) -> impl Iterator<Item = String> + use<'r> {
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        let hosts = hosts.into_iter().flat_map(|list| &list.value);
        hosts.map(move |at| format!("https://{}{port}", at.value.0))
    }
}
