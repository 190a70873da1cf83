//! Which file of a folder answers a path.
//!
//! A site's `root` covers every path, `static` those below its own paths, the longest first. A path
//! that ends with a slash means `index.html`. What begins with a dot is never served, except below
//! `/.well-known/`: editors, version control and backups leave such files.
//!
//! Paths are canonical here: no dot segments, no encoded separators, no control characters. Whether
//! a symlink leads out of the folder is found by whoever opens it ([`crate::files`]).

use std::path::Path;
use std::sync::Arc;

use crate::rejection::{Code, Rejection};

/// One site's.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    /// Longest first; without a trailing slash, empty for all.
    below: Vec<(Box<str>, Folder)>,
}

/// A folder on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub path: Arc<Path>,
    pub links: Links,
}

/// What symlinks on the way to a folder mean; inside of it none leads out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A deployment may swap the folder by one.
    Followed,
    /// Whoever may write there could swap it for a folder of somebody else.
    Refused,
}

/// A file that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub folder: Folder,
    /// Relative to the folder, decoded.
    pub file: String,
}

/// What a folder is asked for at most.
const MAX_PATH: usize = 1024;

impl Folders {
    pub fn is_empty(&self) -> bool {
        self.below.is_empty()
    }

    /// `path` is canonical; `/` covers everything.
    pub fn insert(&mut self, path: &str, folder: Folder) {
        self.below.push((path.trim_end_matches('/').into(), folder));
        self.below.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    }

    /// The file for a path; `None` where no folder covers it.
    pub fn find(&self, path: &str) -> Option<Result<Wanted, Rejection>> {
        let (rest, folder) = self.below.iter().find_map(|(own, folder)| {
            let rest = path.strip_prefix(&**own)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((rest, folder))
        })?;
        let file = file(rest);
        Some(file.map(|file| Wanted { folder: folder.clone(), file }))
    }
}

fn file(path: &str) -> Result<String, Rejection> {
    let missing = |why| Err(Rejection::new(Code::NotFound, why));
    let Some(mut file) = decoded(path.trim_start_matches('/')) else {
        return missing("the path is no file's");
    };
    if path.ends_with('/') {
        file.push_str("index.html");
    }
    if file.len() > MAX_PATH {
        return missing("the path is longer than any file's");
    }
    let mut segments = file.split('/');
    let hidden = |segment: &str| segment.starts_with('.');
    let begins_well = segments.clone().next() == Some(".well-known");
    if segments.by_ref().skip(usize::from(begins_well)).any(hidden) {
        return missing("files that begin with a dot are not served");
    }
    Ok(file)
}

fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    let decoded = String::from_utf8(bytes).ok()?;
    (!decoded.contains(['\0', '\\'])).then_some(decoded)
}

/// A folder in which an ACME client leaves its answers, and the token of such a request.
pub fn challenge(path: &str) -> Option<&str> {
    let token = path.strip_prefix("/.well-known/acme-challenge/")?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ((1..=128).contains(&token.len()) && token.bytes().all(good)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str) -> Folder {
        Folder { path: Path::new(path).into(), links: Links::Followed }
    }

    #[test]
    fn the_longest_path_has_the_file() {
        let mut folders = Folders::default();
        folders.insert("/", folder("public"));
        folders.insert("/assets", folder("dist"));
        let found = |path: &str| {
            let wanted = folders.find(path).unwrap().ok()?;
            Some(format!("{}:{}", wanted.folder.path.display(), wanted.file))
        };
        for (path, expected) in [
            ("/", Some("public:index.html")),
            ("/a.css", Some("public:a.css")),
            ("/a/", Some("public:a/index.html")),
            ("/assets/a%20b%C3%A4.css", Some("dist:a bä.css")),
            ("/assets", Some("dist:")),
            ("/assetsx", Some("public:assetsx")),
            ("/.well-known/security.txt", Some("public:.well-known/security.txt")),
            ("/.git/config", None),
            ("/a/.env", None),
            ("/.well-known/.env", None),
            ("/a/.well-known/x", None),
            ("/a%5Cb", None),
        ] {
            assert_eq!(found(path).as_deref(), expected, "{path}");
        }
        assert!(folders.find(&format!("/{}", "x".repeat(2000))).unwrap().is_err());
        let mut assets = Folders::default();
        assets.insert("/assets", folder("dist"));
        assert!(assets.find("/other").is_none());
    }

    #[test]
    fn a_challenge_is_a_token_and_nothing_else() {
        let begin = "/.well-known/acme-challenge";
        assert_eq!(challenge(&format!("{begin}/aB-_9")), Some("aB-_9"));
        let long = format!("{begin}/{}", "x".repeat(129));
        for path in ["", "/", "/a/b", "/a.b", "/%41", "/..", "x"].map(|it| format!("{begin}{it}")) {
            assert_eq!(challenge(&path), None, "{path}");
        }
        assert_eq!(challenge(&long), None);
        assert_eq!(challenge("/x"), None);
    }
}
