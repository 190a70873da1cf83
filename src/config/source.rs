//! Where the configuration's words stand, and which files it was made from.
//!
//! [`SourceTexts`] turns byte offsets into lines and columns, only for problems and with one scan
//! a file. [`Sources`] remembers every file that was read (the main file, includes, certificates,
//! keys, private CAs) so that a reload can tell whether anything has changed. It must not decide
//! what a change means: that is `reload`'s business.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// A byte offset in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Spot {
    pub file: u32,
    pub offset: u32,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub spot: Spot,
    pub value: T,
}

/// The texts of one load, by file number.
#[derive(Debug, Default)]
pub struct SourceTexts(Vec<Arc<SourceText>>);

/// One file's text; kept over loads as long as something that was made from it serves.
#[derive(Debug)]
pub struct SourceText {
    name: Arc<str>,
    pub text: Arc<str>,
    line_starts: OnceLock<Vec<u32>>,
}

impl SourceText {
    pub fn new(name: &str, text: Arc<str>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text, line_starts: OnceLock::new() })
    }
}

impl SourceTexts {
    pub fn add(&mut self, text: Arc<SourceText>) -> u32 {
        self.0.push(text);
        u32::try_from(self.0.len() - 1).expect("fewer files than would fit on a disk")
    }

    /// The texts, in the order of reading.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|source| &*source.text)
    }

    pub fn all(&self) -> &[Arc<SourceText>] {
        &self.0
    }

    pub fn get(&self, file: u32) -> Arc<SourceText> {
        self.0[file as usize].clone()
    }

    pub fn name(&self, file: u32) -> Arc<str> {
        self.0[file as usize].name.clone()
    }

    /// Line and column, both from one; the column counts characters.
    pub fn position(&self, spot: Spot) -> (u32, u32) {
        let source = &self.0[spot.file as usize];
        let starts = source.line_starts.get_or_init(|| line_starts(&source.text));
        let line = starts.partition_point(|&start| start <= spot.offset).max(1);
        let start = starts[line - 1] as usize;
        let before = source.text.get(start..spot.offset as usize).unwrap_or_default();
        let column = before.chars().count() + 1;
        (line as u32, column as u32)
    }

    /// `FILE:LINE:COLUMN`, to point from one problem at another place.
    pub fn place(&self, spot: Spot) -> String {
        let (line, column) = self.position(spot);
        format!("{}:{line}:{column}", self.name(spot.file))
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes());
    std::iter::once(0).chain(ends.map(|at| at as u32 + 1)).collect()
}

/// Every file and folder listing that a configuration was made from, as it was then.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
    folders: Vec<Listing>,
    /// How large a file may be that a tenant names; it must be a regular one, too.
    most: Option<u64>,
}

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// None where the file could not be read.
    content: Option<u64>,
    most: Option<u64>,
    /// False while a later change could leave the same stamp: file clocks tick slowly, so that a
    /// file written just before it was read may be written again within the same tick.
    settled: bool,
}

#[derive(Debug, Clone)]
struct Listing {
    folder: PathBuf,
    pattern: String,
    names: Vec<PathBuf>,
}

/// What `stat` says about a file, symbolic links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    mode: u32,
}

/// Longer than the clock tick of any file system that configurations live on (FAT has two seconds).
const SETTLES_AFTER: Duration = Duration::from_secs(3);

impl Sources {
    /// For files that a tenant names: large ones, pipes and devices are not read.
    pub(super) fn of_tenant() -> Self {
        const MOST: u64 = 64 << 20;
        Self { most: Some(MOST), ..Self::default() }
    }

    /// Reads a whole file and remembers it.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // The stamp is taken first: a change while reading then shows as a change later.
        let stamp = Stamp::of(path);
        let bytes = read(path, self.most);
        let content = bytes.as_deref().ok().map(hash);
        let settled = stamp.is_none_or(|stamp| stamp.is_old(SystemTime::now()));
        let most = self.most;
        self.files.push(Source { path: path.into(), stamp, content, most, settled });
        bytes
    }

    /// The files of `folder` whose names match `pattern`, sorted, remembered.
    pub(super) fn list(&mut self, folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let names = list(folder, pattern);
        self.folders.push(Listing {
            folder: folder.into(),
            pattern: pattern.into(),
            names: names.as_deref().unwrap_or_default().to_vec(),
        });
        names
    }

    /// Remembers what `other` does, too.
    pub(super) fn absorb(&mut self, other: &Sources) {
        self.files.extend_from_slice(&other.files);
        self.folders.extend_from_slice(&other.folders);
    }

    /// Whether everything is as it was read; [`Sources::changed`] without learning from it.
    pub(super) fn still(&self) -> bool {
        !self.clone().changed()
    }

    /// The files, in the order of reading.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|source| &*source.path)
    }

    /// Whether any file's content or any folder's listing differs from what was read. Costs one
    /// `stat` a file; a file is read again only where its stamp has changed.
    pub fn changed(&mut self) -> bool {
        let listings = self.folders.iter();
        let mut changed = listings.into_iter().any(|listing| {
            list(&listing.folder, &listing.pattern).unwrap_or_default() != listing.names
        });
        for source in &mut self.files {
            changed |= source.look_again();
        }
        changed
    }
}

impl Source {
    fn look_again(&mut self) -> bool {
        let stamp = Stamp::of(&self.path);
        if stamp == self.stamp && self.settled {
            return false;
        }
        // Mode and owner are part of the stamp: a private key made readable by others is news.
        let mode_changed = stamp.map(|stamp| stamp.mode) != self.stamp.map(|stamp| stamp.mode);
        self.settled = stamp.is_none_or(|stamp| stamp.is_old(SystemTime::now()));
        self.stamp = stamp;
        let content = read(&self.path, self.most).ok().as_deref().map(hash);
        let content_changed = content != self.content;
        self.content = content;
        content_changed || mode_changed
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            mode: meta.mode(),
        })
    }

    fn is_old(self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.modified.0.max(self.changed.0)).unwrap_or(0);
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        now.duration_since(written).is_ok_and(|age| age > SETTLES_AFTER)
    }
}

fn read(path: &Path, most: Option<u64>) -> io::Result<Vec<u8>> {
    let Some(most) = most else { return std::fs::read(path) };
    let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    // A pipe would be waited for, and some devices never end.
    if !std::fs::metadata(path)?.is_file() {
        return wrong("it is not a regular file");
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return wrong("it is larger than 64 MiB");
    }
    Ok(bytes)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn list(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    // A file named without a folder lies in the current one.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        // Dot files are editors' and Kubernetes' own (`..data`), never a tenant.
        let matches = |name: &str| !name.starts_with('.') && matches(pattern, name);
        if name.to_str().is_some_and(matches) {
            names.push(PathBuf::from(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Whether `name` matches `pattern`, in which `*` stands for any run of characters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, mut rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(before) else { return false };
    while let Some((middle, after)) = rest.split_once('*') {
        let Some(at) = name.find(middle) else { return false };
        (name, rest) = (&name[at + middle.len()..], after);
    }
    name.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("*.toml", "shop.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "shop.toml.bak", false),
            ("shop.toml", "shop.toml", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "anything", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn positions_count_characters_from_one() {
        let mut texts = SourceTexts::default();
        let file = texts.add(SourceText::new("x.toml", "a\nä = 1\n".into()));
        for (offset, expected) in [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (5, (2, 3)), (9, (3, 1))]
        {
            assert_eq!(texts.position(Spot { file, offset }), expected, "{offset}");
        }
    }
}
