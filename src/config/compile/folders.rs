//! What a site answers from the disk.
//!
//! A tenant with a file of its own may name what lies in the folders that `allow` names, and nothing
//! else ([`Compiler::path`]): the folder of the main file holds keys and secrets, which it must not
//! publish.

use super::super::error::Wrong;
use super::super::raw;
use super::super::reader::Entry;
use super::super::source::At;
use super::super::values::FilePath;
use super::Compiler;
use crate::config::addresses::RoutePath;
use crate::config::allow::Trust;
use crate::config::reader::Text;
use crate::policy::front::folders::{Folder, Folders, Links};

/// A site's; `key` is its own.
pub fn compile(one: &Entry<raw::Site>, key: &str, compiler: &mut Compiler<'_>) -> Folders {
    let raw = &*one.value;
    let mut folders = Folders::default();
    if let Some(at) = &raw.root {
        add("/", at, &format!("{key}.root"), &mut folders, compiler);
    }
    for pair in raw.folders.iter().flat_map(|at| &at.value.0) {
        let key = format!("{key}.folders.{}", pair.name);
        match RoutePath::parse(&pair.name) {
            Ok(_) if &*pair.name == "/" => {
                let wrong = Wrong::new("`/` is everything", "write root = \"public\"");
                compiler.problems.error(pair.spot, key, wrong);
            }
            Ok(_) => {
                let at = At { spot: pair.spot, value: pair.value.clone() };
                add(&pair.name, &at, &key, &mut folders, compiler);
            }
            Err(wrong) => compiler.problems.error(pair.spot, key, wrong),
        }
    }
    match (&raw.upstream, &raw.root) {
        (Some(_), Some(at)) => {
            let what = "the upstream has every path already";
            let remedy = "leave one of the two out, or write folders = { \"/assets\" = \"dist\" }";
            compiler.problems.error(at.spot, format!("{key}.root"), Wrong::new(what, remedy));
        }
        (None, None) if !compiler.problems.has_error_below(&format!("{key}.")) => {
            let what = "there is neither an upstream nor a folder";
            let remedy = "add upstream = \"chat-app\", or root = \"public\"";
            compiler.problems.error(one.spot, key, Wrong::new(what, remedy));
        }
        _ => {}
    }
    folders
}

fn add(
    path: &str,
    at: &At<FilePath>,
    key: &str,
    folders: &mut Folders,
    compiler: &mut Compiler<'_>,
) {
    let Some(folder) = compiler.path(at, key) else { return };
    if !folder.is_dir() {
        let what = format!("{} is no folder now: its files are missing", at.value.0.display());
        let wrong = Wrong::new(what, "make it, or write the path of a folder that is there");
        compiler.problems.warning(at.spot, key, wrong);
    }
    let (folder, links) = match compiler.trust {
        Trust::Operator => (folder, Links::Followed),
        // Where it leads now was judged; where it leads later is not.
        Trust::Tenant(_) => (folder.canonicalize().unwrap_or(folder), Links::Refused),
    };
    folders.insert(path, Folder { path: folder.into(), links });
}
