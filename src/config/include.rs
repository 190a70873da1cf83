//! Which files `include` names.
//!
//! It reads folders, and files without understanding them. A file that is not there is told where
//! it is included.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{Problems, Wrong};
use super::file::unreadable;
use super::raw::Root;
use super::source::{Sources, Spot};

/// A file that is included.
pub struct Included {
    pub path: PathBuf,
    /// Where that is said.
    pub spot: Spot,
    /// After which its tenant is called.
    pub stem: String,
    pub bytes: io::Result<Vec<u8>>,
}

/// Reads the files that `root` includes, in their order.
pub fn read(
    root: &mut Root,
    (main, base): (&Path, &Path),
    problems: &mut Problems,
    sources: &mut Sources,
) -> Vec<Included> {
    let Some(include) = root.include.take() else { return Vec::new() };
    let mut read = HashSet::from([base.join(main.file_name().unwrap_or_default())]);
    let mut included = Vec::new();
    // What a tenant has put there must not be waited for.
    let mut of_tenants = Sources::of_tenant();
    for pattern in &include.value {
        for path in matching(pattern.spot, &pattern.value.0, base, problems, &mut of_tenants) {
            if !read.insert(path.clone()) {
                let what = format!("{} is included twice, or includes itself", path.display());
                let wrong = Wrong::new(what, "let each file match once");
                problems.error(pattern.spot, "include", wrong);
                continue;
            }
            let bytes = of_tenants.read(&path);
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().into();
            included.push(Included { path, spot: pattern.spot, stem, bytes });
        }
    }
    sources.absorb(&of_tenants);
    included
}

/// The files that an include names.
fn matching(
    spot: Spot,
    pattern: &Path,
    base: &Path,
    problems: &mut Problems,
    sources: &mut Sources,
) -> Vec<PathBuf> {
    let folder = base.join(pattern.parent().unwrap_or(Path::new("")));
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if folder.to_string_lossy().contains('*') || name.is_empty() {
        let what = format!("{:?} cannot be matched", pattern.display().to_string());
        let wrong = Wrong::new(what, "use `*` in the last part only: \"tenants/*.toml\"");
        problems.error(spot, "include", wrong);
        return Vec::new();
    }
    if !name.contains('*') {
        return vec![folder.join(name)];
    }
    match sources.list(&folder, name) {
        Err(error) => {
            let wrong = unreadable(&format!("the folder {}", folder.display()), &error);
            problems.error(spot, "include", wrong);
            Vec::new()
        }
        Ok(names) => {
            if names.is_empty() {
                let what = format!("no file matches {:?}", pattern.display().to_string());
                let wrong = Wrong::new(what, "tenants that are added later will be noticed");
                problems.warning(spot, "include", wrong);
            }
            names.into_iter().map(|name| folder.join(name)).collect()
        }
    }
}
