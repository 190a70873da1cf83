//! What a file may use: the main file everything, a tenant's own file what the main file allows it.
//!
//! Decides about upstreams, secrets, environment variables and paths that a tenant's file names.
//! Whoever reads anything that a tenant's file can name asks here first ([`Trust::path`] for paths,
//! [`Trust::secret`] for secrets). It compares where a path really leads, symbolic links followed,
//! so that neither `..` nor a link gets out of a folder. A secret is only ever told by its
//! reference.

use std::path::{Component, Path, PathBuf};

use super::error::Wrong;
use super::raw;
use super::source::matches;
use super::values::SecretRef;

/// Who wrote what is being compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The operator, in the main file.
    Operator,
    /// A tenant, in a file of its own.
    Tenant(Allowed),
}

/// `allow` of one tenant; nothing where the main file says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    tenant: Box<str>,
    upstreams: Vec<Box<str>>,
    secrets: Vec<Box<str>>,
    folders: Vec<PathBuf>,
    /// Where relative paths start.
    base: PathBuf,
}

impl Allowed {
    pub(super) fn new(tenant: &str, allow: Option<&raw::Allow>, base: &Path) -> Self {
        let mut it = Self {
            tenant: tenant.into(),
            upstreams: Vec::new(),
            secrets: Vec::new(),
            folders: Vec::new(),
            base: base.into(),
        };
        if let Some(allow) = allow {
            let upstreams = allow.upstreams.iter().flat_map(|list| &list.value);
            it.upstreams = upstreams.map(|at| at.value.0.clone()).collect();
            let secrets = allow.secrets.iter().flat_map(|list| &list.value);
            it.secrets = secrets.map(|at| at.value.0.clone()).collect();
            let folders = allow.folders.iter().flat_map(|list| &list.value);
            it.folders = folders.map(|at| at.value.0.clone()).collect();
        }
        it
    }

    fn refused(&self, what: &str, key: &str, add: &str) -> Wrong {
        let what = format!("the main file does not allow this tenant {what}");
        let remedy = format!("add {add:?} to allow.{key} of [tenants.{}] there", self.tenant);
        Wrong::new(what, remedy)
    }

    fn allows_secret(&self, reference: &str) -> bool {
        self.secrets.iter().any(|pattern| matches(pattern, reference))
    }

    /// A secret in a file: a pattern must name it, and it must lie where the pattern says.
    fn secret_file(&self, path: &Path) -> Result<(), Wrong> {
        let reference = format!("file:{}", path.display());
        if !is_plain(path) {
            return Err(goes_up(path));
        }
        let named = self.secrets.iter().filter(|pattern| matches(pattern, &reference));
        let mut folders = named.filter_map(|it| it.strip_prefix("file:")).map(literal_folder);
        if self.secrets.iter().all(|pattern| !matches(pattern, &reference)) {
            return Err(self.refused(&format!("the secret `{reference}`"), "secrets", &reference));
        }
        let path = self.base.join(path);
        let Ok(real) = path.canonicalize() else {
            // Whoever reads it says why it cannot be read.
            return Ok(());
        };
        let is_inside = |folder: &str| {
            let folder = self.base.join(folder).canonicalize();
            folder.is_ok_and(|folder| real.starts_with(folder))
        };
        if folders.any(is_inside) {
            return Ok(());
        }
        Err(leads_out(&path, &real, "secrets"))
    }
}

impl Trust {
    pub fn upstream(&self, name: &str) -> Result<(), Wrong> {
        match self {
            Trust::Tenant(allowed) if !allowed.upstreams.iter().any(|one| &**one == name) => {
                Err(allowed.refused(&format!("the upstream `{name}`"), "upstreams", name))
            }
            _ => Ok(()),
        }
    }

    pub fn secret(&self, reference: &SecretRef) -> Result<(), Wrong> {
        let Trust::Tenant(allowed) = self else { return Ok(()) };
        match reference {
            SecretRef::File(path) => allowed.secret_file(path),
            SecretRef::Environment(name) => {
                let reference = format!("env:{name}");
                if allowed.allows_secret(&reference) {
                    return Ok(());
                }
                let what = format!("the secret `{reference}`");
                Err(allowed.refused(&what, "secrets", &reference))
            }
        }
    }

    /// `${NAME}`: what it stands for may be a secret, and would be shown.
    pub fn variable(&self, name: &str) -> Result<(), Wrong> {
        match self {
            Trust::Tenant(allowed) if !allowed.allows_secret(&format!("env:{name}")) => {
                let what = format!("the environment variable `{name}`");
                Err(allowed.refused(&what, "secrets", &format!("env:{name}")))
            }
            _ => Ok(()),
        }
    }

    /// Where a file or folder that is named in the configuration lies; `base` is where relative
    /// paths start.
    pub fn path(&self, path: &Path, base: &Path) -> Result<PathBuf, Wrong> {
        let full = base.join(path);
        let Trust::Tenant(allowed) = self else { return Ok(full) };
        if !is_plain(path) {
            return Err(goes_up(path));
        }
        let folders = || allowed.folders.iter().map(|folder| base.join(folder));
        if !folders().any(|folder| full.starts_with(folder)) {
            let folder = path.parent().unwrap_or(path).display().to_string();
            let what = format!("`{}`", path.display());
            return Err(allowed.refused(&what, "folders", &folder));
        }
        // What is not there leads nowhere; whoever reads it says so.
        let Ok(real) = full.canonicalize() else { return Ok(full) };
        let mut real_folders = folders().filter_map(|folder| folder.canonicalize().ok());
        if real_folders.any(|folder| real.starts_with(folder)) {
            return Ok(full);
        }
        Err(leads_out(&full, &real, "folders"))
    }
}

/// Without `..`, which would make any prefix meaningless.
fn is_plain(path: &Path) -> bool {
    !path.components().any(|part| part == Component::ParentDir)
}

fn goes_up(path: &Path) -> Wrong {
    let what = format!("`{}` has `..` in it, which a tenant's file may not use", path.display());
    Wrong::new(what, "write the path without it")
}

fn leads_out(path: &Path, real: &Path, key: &str) -> Wrong {
    let what = format!(
        "{} leads to {}, which is outside of what the main file allows this tenant",
        path.display(),
        real.display()
    );
    Wrong::new(what, format!("put the file there, or let allow.{key} name where it really is"))
}

/// The folder of a pattern before its first `*`.
fn literal_folder(pattern: &str) -> &str {
    let literal = pattern.split('*').next().unwrap_or_default();
    literal.rfind('/').map_or("", |slash| if slash == 0 { "/" } else { &literal[..slash] })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn allowed(base: &Path, secrets: &[&str], folders: &[&str]) -> Trust {
        Trust::Tenant(Allowed {
            tenant: "shop".into(),
            upstreams: vec!["app".into()],
            secrets: secrets.iter().map(|it| (*it).into()).collect(),
            folders: folders.iter().map(PathBuf::from).collect(),
            base: base.into(),
        })
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["templates/shop", "templates/shopping", "secrets/shop", "secrets/other"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in ["templates/shop/a.html", "templates/shopping/b.html", "secrets/other/key"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::write(folder.path().join("secrets/shop/key"), "x").unwrap();
        folder
    }

    #[test]
    fn the_operator_may_use_everything() {
        let trust = Trust::Operator;
        assert!(trust.upstream("any").is_ok());
        assert!(trust.variable("ANY").is_ok());
        assert!(trust.secret(&SecretRef::File("../x".into())).is_ok());
        assert_eq!(trust.path("../x".as_ref(), "/etc".as_ref()).unwrap(), Path::new("/etc/../x"));
    }

    #[test]
    fn a_tenant_may_use_the_upstreams_and_variables_that_are_listed() {
        let trust = allowed(Path::new(""), &["env:SHOP_*"], &[]);
        assert!(trust.upstream("app").is_ok());
        assert!(trust.upstream("ap").is_err());
        assert!(trust.variable("SHOP_HOST").is_ok());
        assert!(trust.variable("VESTIBULE_SESSION").is_err());
        assert!(trust.secret(&SecretRef::Environment("SHOP_KEY".into())).is_ok());
        assert!(trust.secret(&SecretRef::Environment("SHO_KEY".into())).is_err());
    }

    #[test]
    fn nothing_leads_out_of_a_folder() {
        let folder = folder();
        let base = folder.path();
        symlink("../shopping/b.html", base.join("templates/shop/link.html")).unwrap();
        symlink("../shopping", base.join("templates/shop/folder")).unwrap();
        symlink("a.html", base.join("templates/shop/inner.html")).unwrap();
        let trust = allowed(base, &[], &["templates/shop/"]);
        for (path, is_fine) in [
            ("templates/shop/a.html", true),
            ("templates/shop/inner.html", true),
            ("./templates/shop/a.html", true),
            ("templates/shop/not-there.html", true),
            ("templates/shop", true),
            ("templates/shopping/b.html", false),
            ("templates/shop/../shopping/b.html", false),
            ("templates/shop/link.html", false),
            ("templates/shop/folder/b.html", false),
            ("templates", false),
            ("", false),
            ("/etc/passwd", false),
        ] {
            assert_eq!(trust.path(path.as_ref(), base).is_ok(), is_fine, "{path}");
        }
    }

    #[test]
    fn a_secret_file_must_be_named_and_lie_there() {
        let folder = folder();
        let base = folder.path();
        symlink("../other/key", base.join("secrets/shop/stolen")).unwrap();
        // As Kubernetes mounts it.
        fs::create_dir(base.join("secrets/shop/..1")).unwrap();
        fs::write(base.join("secrets/shop/..1/mounted"), "x").unwrap();
        symlink("..1", base.join("secrets/shop/..data")).unwrap();
        symlink("..data/mounted", base.join("secrets/shop/mounted")).unwrap();
        let absolute = format!("file:{}/secrets/other/k*", base.display());
        let trust = allowed(base, &["file:secrets/shop/*", &absolute], &[]);
        let other = format!("{}/secrets/other/key", base.display());
        for (path, is_fine) in [
            ("secrets/shop/key", true),
            ("secrets/shop/mounted", true),
            ("secrets/shop/not-there", true),
            (&*other, true),
            ("secrets/shop/stolen", false),
            ("secrets/other/key", false),
            ("secrets/shop/../other/key", false),
        ] {
            let is_allowed = trust.secret(&SecretRef::File(path.into())).is_ok();
            assert_eq!(is_allowed, is_fine, "{path}");
        }
    }
}
