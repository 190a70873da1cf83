//! The pages around a persona's chat: where they answer, which template they show, and whether it
//! may run as a page of its host.
//!
//! | address | what | tokens |
//! | --- | --- | --- |
//! | `embed` | the persona's `template`, or a plain page | an empty slug, the persona's name |
//! | `embed/DEVICE` | the device's template, the persona's, or a plain page | the device's |
//! | `/embed/ID` of `preview` | its template, the persona's, or the only one that there is | `preview`, `Preview` |
//!
//! A template lies in the folder of the main file or below it, or in one that `allow` names; what a
//! tenant's own file names lies in one that `allow` names. A tenant must not read the server's other
//! files into a page.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::allow::Trust;
use super::super::error::Wrong;
use super::super::file::unreadable;
use super::super::raw;
use super::super::reader::Entry;
use super::super::snapshot::{AppKind, Shell, Shells};
use super::super::source::At;
use super::super::values::FilePath;
use super::hosts::isolation;
use super::{Compiler, Surroundings, secrets};
use crate::embed::template::{Isolation, MAX_BYTES, Named, PLAIN, Script, Template};
use crate::policy::csp::CompiledCsp;
use crate::policy::origin::AllowedOrigin;

/// What the pages of a persona are made from, besides its own section.
pub struct Around<'a, 'r> {
    pub tenant: &'r Entry<raw::Tenant>,
    pub persona: &'r Entry<raw::Persona>,
    pub path: &'a str,
    pub app: AppKind,
    pub embedders: &'a [AllowedOrigin],
    pub framing: CompiledCsp,
}

/// Every page of the persona; none where it has no `embed` and no `preview`.
pub fn compile(
    around: Around<'_, '_>,
    surroundings: &Surroundings<'_>,
    compiler: &mut Compiler<'_>,
) -> Shells {
    let raw = &*around.persona.value;
    if raw.embed.is_none() {
        check_is_shown(&around, compiler);
    }
    if raw.embed.is_none() && raw.preview.is_none() {
        return Shells::default();
    }
    check_has_pages(&around, compiler);
    let mut templates = Templates { around: &around, read: HashMap::new() };
    let own = templates.of(raw.template.as_ref(), "template", compiler);
    let mut pages = Pages {
        isolations: isolations(&around, surroundings),
        chat: around.path.trim_end_matches('/'),
        origins: around.embedders.iter().map(AllowedOrigin::as_str).collect::<Vec<_>>().join(" "),
        shells: Vec::new(),
    };
    let plain = Template::parse(PLAIN).0.expect("the plain template is a template");
    let mut of_devices = Vec::new();
    for (index, device) in raw.devices.iter().flat_map(|at| at.value.iter()).enumerate() {
        let key = format!("devices.{}.template", device.name);
        let template = templates.of(device.value.template.as_ref(), &key, compiler);
        if let Some(at) = &device.value.template {
            of_devices.push(at);
        }
        let name = device.value.name.as_ref().map_or(&*device.name, |at| &*at.value.0);
        let named = Named { slug: &device.name, name };
        if let Some(embed) = &raw.embed {
            let path = below(&embed.value.0, &device.name);
            let template = template.or_else(|| own.clone()).unwrap_or_else(|| plain.clone());
            pages.add(path, Some((index, &device.name)), &template, named);
        }
    }
    if let Some(embed) = &raw.embed {
        let named = Named { slug: "", name: &around.persona.name };
        pages.add(embed.value.0.clone(), None, own.as_ref().unwrap_or(&plain), named);
    }
    if let Some(preview) = &raw.preview {
        let template = match &preview.value.template {
            Some(at) => templates.of(Some(at), "preview.template", compiler),
            None if own.is_some() => own,
            None => templates.only(&of_devices, compiler),
        };
        let key = format!("{}.preview.token", around.key());
        let token = preview.value.token.as_ref().and_then(|at| secrets::agreed(at, &key, compiler));
        if let (Some(id), Some(token)) = (&preview.value.id, token) {
            let named = Named { slug: "preview", name: "Preview" };
            let first = pages.shells.len();
            let template = template.unwrap_or(plain);
            pages.add(below("/embed", &id.value.0), None, &template, named);
            pages.shells[first..].iter_mut().for_each(|shell| shell.token = Some(token.clone()));
        }
    }
    Shells { pages: pages.shells, framing: around.framing }
}

impl Around<'_, '_> {
    fn key(&self) -> String {
        format!("tenants.{}.personas.{}", self.tenant.name, self.persona.name)
    }
}

/// Both kinds of page, where the persona has hosts of both kinds.
fn isolations(around: &Around<'_, '_>, surroundings: &Surroundings<'_>) -> Vec<Isolation> {
    let hosts = around.persona.value.hosts.iter().flat_map(|list| &list.value);
    let mut isolations = Vec::new();
    for host in hosts {
        let isolation = isolation::of(&surroundings.facts.shared_hosts, &host.value.0);
        if !isolations.contains(&isolation) {
            isolations.push(isolation);
        }
    }
    isolations
}

struct Pages<'a> {
    isolations: Vec<Isolation>,
    /// The persona's path without its last slash.
    chat: &'a str,
    origins: String,
    shells: Vec<Shell>,
}

impl Pages<'_> {
    fn add(
        &mut self,
        path: Box<str>,
        device: Option<(usize, &str)>,
        template: &Template,
        named: Named<'_>,
    ) {
        let script = Script { base: self.chat, origins: &self.origins };
        let chat = match device {
            Some((_, slug)) => format!("{}/{slug}/", self.chat),
            None => format!("{}/", self.chat),
        };
        for &isolation in &self.isolations {
            self.shells.push(Shell {
                path: path.clone(),
                device: device.map(|(index, _)| index),
                token: None,
                page: template.shell(named, isolation, &script),
                chat: chat.as_str().into(),
                isolation,
            });
        }
    }
}

fn below(path: &str, segment: &str) -> Box<str> {
    [path.trim_end_matches('/'), "/", segment].concat().into()
}

/// A template that no address shows has no effect.
fn check_is_shown(around: &Around<'_, '_>, compiler: &mut Compiler<'_>) {
    let raw = &*around.persona.value;
    let key = around.key();
    let own = raw.template.iter().map(|at| (at.spot, format!("{key}.template")));
    let devices = raw.devices.iter().flat_map(|at| at.value.iter()).filter_map(|device| {
        let at = device.value.template.as_ref()?;
        Some((at.spot, format!("{key}.devices.{}.template", device.name)))
    });
    for (spot, key) in own.chain(devices) {
        let what = "nothing shows this template: the persona has no `embed`";
        let wrong = Wrong::new(what, "write embed = \"/embed/TENANT/PERSONA\" beside `path`");
        compiler.problems.error(spot, key, wrong);
    }
}

/// A page around a chat needs a chat that is a page.
fn check_has_pages(around: &Around<'_, '_>, compiler: &mut Compiler<'_>) {
    if matches!(around.app, AppKind::Streamlit | AppKind::Generic) {
        return;
    }
    let raw = &*around.persona.value;
    let embed = raw.embed.iter().map(|at| (at.spot, "embed"));
    let preview = raw.preview.iter().map(|at| (at.spot, "preview"));
    for (spot, key) in embed.chain(preview) {
        let what = "an app of this kind has no page of its own to put a page around";
        let remedy = "leave it out, or put the persona of the page here (streamlit, generic)";
        compiler.problems.error(spot, format!("{}.{key}", around.key()), Wrong::new(what, remedy));
    }
}

/// The templates of a persona: several devices may show one, which is read and reported once.
struct Templates<'a, 'r> {
    around: &'a Around<'a, 'r>,
    read: HashMap<PathBuf, Option<Template>>,
}

impl Templates<'_, '_> {
    fn of(
        &mut self,
        at: Option<&At<FilePath>>,
        key: &str,
        compiler: &mut Compiler<'_>,
    ) -> Option<Template> {
        let at = at?;
        if let Some(read) = self.read.get(&at.value.0) {
            return read.clone();
        }
        let template = self.read(at, &format!("{}.{key}", self.around.key()), compiler);
        self.read.insert(at.value.0.clone(), template.clone());
        template
    }

    /// The one that all devices with a template show.
    fn only(&mut self, all: &[&At<FilePath>], compiler: &mut Compiler<'_>) -> Option<Template> {
        let (first, others) = all.split_first()?;
        if others.iter().all(|other| other.value == first.value) {
            return self.read.get(&first.value.0).cloned().flatten();
        }
        let spot = self.around.persona.value.preview.as_ref().map(|at| at.spot).unwrap_or_default();
        let what = "the devices have several templates, and which of them is previewed is not said";
        let wrong = Wrong::new(what, "write preview = { …, template = \"FILE\" }");
        compiler.problems.error(spot, format!("{}.preview", self.around.key()), wrong);
        None
    }

    fn read(&self, at: &At<FilePath>, key: &str, compiler: &mut Compiler<'_>) -> Option<Template> {
        let path = compiler.path(at, key)?;
        let shown = path.display().to_string();
        let mut refuse = |wrong: Wrong| compiler.problems.error(at.spot, key, wrong);
        if *compiler.trust == Trust::Operator
            && let Err(wrong) = self.check_folder(&path, compiler.base)
        {
            refuse(wrong);
            // It is watched all the same: who mends a link expects that to be noticed.
            return compiler.sources.read(&path).ok().and(None);
        }
        let bytes = match compiler.sources.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                refuse(unreadable(&shown, &error));
                return None;
            }
        };
        if bytes.len() > MAX_BYTES {
            let what = format!("{shown} is larger than {} KiB", MAX_BYTES / 1024);
            refuse(Wrong::new(what, "keep pictures and scripts in files of their own"));
            return None;
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            refuse(Wrong::new(format!("{shown} is not UTF-8"), "save it as UTF-8"));
            return None;
        };
        let (template, faults) = Template::parse(text.trim_start_matches('\u{feff}'));
        for fault in faults {
            let what = format!("{shown}:{}:{}: {}", fault.line, fault.column, fault.what);
            let wrong = Wrong::new(what, fault.remedy);
            match fault.is_warning {
                true => compiler.problems.warning(at.spot, key, wrong),
                false => compiler.problems.error(at.spot, key, wrong),
            }
        }
        template
    }

    /// Symbolic links count as where they lead.
    fn check_folder(&self, path: &Path, base: &Path) -> Result<(), Wrong> {
        let Ok(real) = path.canonicalize() else { return Ok(()) };
        let allowed =
            self.around.tenant.value.allow.iter().filter_map(|at| at.value.folders.as_ref());
        let allowed = allowed.flat_map(|list| &list.value).map(|at| base.join(&at.value.0));
        let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
        let mut folders = std::iter::once(base.to_owned()).chain(allowed);
        if folders.any(|folder| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder)))
        {
            return Ok(());
        }
        let what = format!(
            "{} leads out of the configuration's folder, to {}",
            path.display(),
            real.display()
        );
        Err(Wrong::new(what, "put the template there, or name its folder in `allow.folders`"))
    }
}
