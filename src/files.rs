//! Files on disk: opened without leaving their folder, read in pieces. Everything here blocks.
//!
//! A file is opened below its folder by the kernel's own rule (`openat2`, RESOLVE_BENEATH): no
//! symlink and no `..` leads out, whoever makes one, and whenever. A kernel without it gets no
//! symlinks at all. The folder is opened anew for each file, so that a deployment may swap it; the
//! way to a folder that a tenant named has no symlinks either, and needs `openat2`.
//!
//! Must not: be called on a worker's thread; serve anything but a regular file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::policy::front::compression::Coding;
use crate::policy::front::files::Facts;
use crate::policy::front::folders::{Folder, Links};

/// Bytes that one look at the disk brings.
pub const PIECE: usize = 128 * 1024;

/// A file that is there.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub facts: Facts,
    /// Other clients may get another form of it.
    pub varies: bool,
}

/// What is there instead of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFile {
    Missing,
    /// A folder, which has a trailing slash.
    Folder,
    /// It is there, and cannot be opened.
    Closed,
}

/// Opens a file, or what lies beside it in one of these codings: `a.css.br` for `a.css`.
pub fn open(folder: &Folder, file: &str, accepted: &[Coding]) -> Result<Opened, NoFile> {
    let folder = directory(folder).map_err(|_| NoFile::Missing)?;
    let plain = opened(&folder, file, None)?;
    let mut varies = false;
    for coding in [Coding::Zstd, Coding::Brotli, Coding::Gzip] {
        let Ok(coded) = opened(&folder, &[file, suffix(coding)].concat(), Some(coding)) else {
            continue;
        };
        // What is older than its file was made from another one.
        if coded.facts.modified < plain.facts.modified {
            continue;
        }
        varies = true;
        if accepted.contains(&coding) {
            return Ok(Opened { varies, ..coded });
        }
    }
    Ok(Opened { varies, ..plain })
}

/// The next piece of a file; empty at its end.
pub fn read(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(most).unwrap_or(PIECE).min(PIECE);
    let mut piece = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match file.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

/// Goes to a byte.
pub fn skip(file: &mut File, to: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(to)).map(|_| ())
}

const fn suffix(coding: Coding) -> &'static str {
    match coding {
        Coding::Zstd => ".zst",
        Coding::Brotli => ".br",
        Coding::Gzip => ".gz",
    }
}

fn directory(folder: &Folder) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    match folder.links {
        Links::Followed => rustix::fs::open(&*folder.path, flags, Mode::empty()),
        Links::Refused => {
            let (path, how) = (&*folder.path, ResolveFlags::NO_SYMLINKS);
            rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), how)
        }
    }
}

fn opened(folder: &OwnedFd, file: &str, coding: Option<Coding>) -> Result<Opened, NoFile> {
    let missing = |error| match error {
        Errno::ACCESS | Errno::PERM => NoFile::Closed,
        _ => NoFile::Missing,
    };
    // A pipe must not make us wait for whoever writes it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = beneath(folder, if file.is_empty() { "." } else { file }, flags).map_err(missing)?;
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|_| NoFile::Missing)?;
    if metadata.is_dir() {
        return Err(NoFile::Folder);
    }
    if !metadata.is_file() {
        return Err(NoFile::Missing);
    }
    let modified = metadata.modified().map_err(|_| NoFile::Missing)?;
    let facts = Facts { length: metadata.len(), modified, coding };
    Ok(Opened { file, facts, varies: false })
}

fn beneath(folder: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(folder, path, flags, Mode::empty(), how) {
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(folder, path, flags),
        other => other,
    }
}

/// Without openat2: segment by segment, and no symlink anywhere.
fn step_by_step(folder: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." || segment.is_empty() {
            return Err(Errno::NOENT);
        }
        let is_last = segments.peek().is_none();
        let flags = if is_last { flags } else { OFlags::DIRECTORY | OFlags::CLOEXEC };
        let from = at.as_ref().unwrap_or(folder);
        let flags = flags | OFlags::NOFOLLOW;
        at = Some(rustix::fs::openat(from, segment, flags, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn followed(path: &Path) -> Folder {
        Folder { path: path.into(), links: Links::Followed }
    }

    fn text(folder: &Path, file: &str, accepted: &[Coding]) -> Result<String, NoFile> {
        let mut opened = open(&followed(folder), file, accepted)?;
        let bytes = read(&mut opened.file, u64::MAX).unwrap();
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("secret"), "secret").unwrap();
        std::fs::create_dir_all(at("public/sub")).unwrap();
        for file in ["public/a.css", "public/sub/b.css"] {
            std::fs::write(at(file), file).unwrap();
        }
        symlink("a.css", at("public/inside")).unwrap();
        symlink("../secret", at("public/outside")).unwrap();
        symlink(at("secret"), at("public/absolute")).unwrap();
        symlink("..", at("public/up")).unwrap();
        folder
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let folder = tree();
        let public = folder.path().join("public");
        assert_eq!(text(&public, "a.css", &[]), Ok("public/a.css".into()));
        assert_eq!(text(&public, "sub/b.css", &[]), Ok("public/sub/b.css".into()));
        assert_eq!(text(&public, "inside", &[]), Ok("public/a.css".into()));
        for path in
            ["outside", "absolute", "up/secret", "../secret", "/etc/hostname", "sub/../../secret"]
        {
            assert_eq!(text(&public, path, &[]), Err(NoFile::Missing), "{path}");
        }
        assert_eq!(text(&public, "sub", &[]), Err(NoFile::Folder));
        assert_eq!(text(&public, "", &[]), Err(NoFile::Folder));
        assert_eq!(text(&public, "none", &[]), Err(NoFile::Missing));
        assert_eq!(text(&folder.path().join("none"), "a", &[]), Err(NoFile::Missing));
    }

    #[test]
    fn a_folder_that_a_tenant_named_cannot_be_swapped_for_another() {
        let folder = tree();
        let at = |name: &str| folder.path().join(name);
        symlink("public", at("current")).unwrap();
        let opens = |name: &str, links| {
            let folder = Folder { path: at(name).canonicalize().unwrap().into(), links };
            let named = Folder { path: at(name).into(), ..folder.clone() };
            (open(&folder, "a.css", &[]).is_ok(), open(&named, "a.css", &[]).is_ok())
        };
        assert_eq!(opens("current", Links::Followed), (true, true));
        assert_eq!(opens("current", Links::Refused), (true, false));
    }

    #[test]
    fn without_openat2_no_symlink_is_followed() {
        let folder = tree();
        let public = directory(&followed(&folder.path().join("public"))).unwrap();
        let opens = |path| step_by_step(&public, path, OFlags::RDONLY).is_ok();
        assert!(opens("a.css") && opens("sub/b.css"));
        for path in ["inside", "outside", "absolute", "up/secret", "../secret", "sub/../a.css"] {
            assert!(!opens(path), "{path}");
        }
    }

    #[test]
    fn what_was_compressed_before_is_taken_unless_it_is_older() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let all = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
        std::fs::write(at("a.css.gz"), "old").unwrap();
        let before = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        File::options().write(true).open(at("a.css.gz")).unwrap().set_modified(before).unwrap();
        std::fs::write(at("a.css"), "plain").unwrap();
        assert_eq!(text(folder.path(), "a.css", &all), Ok("plain".into()));
        std::fs::write(at("a.css.br"), "coded").unwrap();
        assert_eq!(text(folder.path(), "a.css", &all), Ok("coded".into()));
        let opened = open(&followed(folder.path()), "a.css", &[Coding::Gzip]).unwrap();
        assert!(opened.varies && opened.facts.coding.is_none());
        let opened = open(&followed(folder.path()), "a.css", &all).unwrap();
        assert_eq!(opened.facts.coding, Some(Coding::Brotli));
    }
}
