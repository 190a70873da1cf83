//! The last good files of tenants, on disk, for the next process.
//!
//! Each is the text of a file that has served, byte for byte, and one line more with its digest. It
//! is written beside its place, flushed, and renamed: whenever the process or the machine stops,
//! there is the old one or the new one. What has no right digest does not count: a file that is cut
//! short could be good TOML too. The folder is this user's alone; whoever may write there could
//! bring an old file of a tenant back.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use sha2::{Digest as _, Sha256};

use super::history::History;
use super::parties::KeptTexts;
use super::raw::Root;
use super::source::SourceText;

/// Where they are, unless `[state] folder` says otherwise.
const DEFAULT: &str = "var";
const MARK: &str = "\n# kept by vestibule as the last good version, sha256 ";

/// The folder that the main file names.
pub fn folder(root: &Root, base: &Path) -> PathBuf {
    let state = root.state.as_ref().and_then(|at| at.value.folder.as_ref());
    let folder = state.map_or(Path::new(DEFAULT), |at| &at.value.0);
    base.join(folder).join("tenants")
}

/// What an earlier process has kept. Nothing where nothing can be read: it is a spare.
pub fn read(folder: &Path) -> KeptTexts {
    let Ok(entries) = fs::read_dir(folder) else { return HashMap::new() };
    let kept = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        let name = path.file_name()?.to_str()?.strip_suffix(".toml")?;
        let text = verified(fs::read(&path).ok()?)?;
        Some((name.into(), SourceText::new(&path.display().to_string(), text.into())))
    });
    kept.collect()
}

fn verified(bytes: Vec<u8>) -> Option<String> {
    let mut text = String::from_utf8(bytes).ok()?;
    let at = text.rfind(MARK)?;
    let digest = text[at + MARK.len()..].strip_suffix('\n')?.to_owned();
    text.truncate(at);
    (digest == self::digest(&text)).then_some(text)
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is on disk, as far as this process has written or read it.
#[derive(Debug, Default)]
pub struct Keeper {
    folder: PathBuf,
    on_disk: HashMap<Box<str>, Arc<str>>,
}

impl Keeper {
    /// Makes the disk hold exactly what was good last. The first error of many comes back; what
    /// could be written is.
    pub fn keep(&mut self, history: &History) -> io::Result<()> {
        let Some(folder) = &history.folder else { return Ok(()) };
        self.hold(folder, history.good())
    }

    fn hold<'t>(
        &mut self,
        folder: &Path,
        good: impl Iterator<Item = (&'t Arc<str>, &'t Arc<str>)>,
    ) -> io::Result<()> {
        if self.folder != folder {
            *self = Self { folder: folder.to_owned(), on_disk: HashMap::new() };
            remove_leftovers(folder);
            let found = read(folder).into_iter();
            self.on_disk.extend(found.map(|(name, text)| (name, text.text.clone())));
        }
        let good: HashMap<&str, &Arc<str>> = good.map(|(name, text)| (&**name, text)).collect();
        let is_new = |name: &str, text: &Arc<str>| self.on_disk.get(name) != Some(text);
        let new: Vec<_> = good.iter().filter(|(name, text)| is_new(name, text)).collect();
        let gone = self.on_disk.keys().filter(|name| !good.contains_key(&***name));
        let gone: Vec<_> = gone.cloned().collect();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let mut outcome = make_folder(folder);
        for (name, text) in new {
            let written = write(folder, name, text, |_| Ok(()));
            if written.is_ok() {
                self.on_disk.insert((*name).into(), Arc::clone(text));
            }
            outcome = outcome.and(written);
        }
        for name in gone {
            outcome = outcome.and(fs::remove_file(place(folder, &name)));
            self.on_disk.remove(&name);
        }
        outcome.and_then(|()| File::open(folder)?.sync_all())
    }
}

/// Removes what processes that are gone have begun to write.
fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let writer = name.to_str().filter(|name| name.starts_with('.'));
        let writer = writer.and_then(|name| name.rsplit_once('.')?.1.parse().ok());
        let Some(writer) = writer.and_then(Pid::from_raw) else { continue };
        if test_kill_process(writer) == Err(Errno::SRCH) {
            // Where that fails it stays, and is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn place(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.toml"))
}

/// A moment at which a process may be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begun,
    /// So many bytes are written.
    Written(usize),
    Flushed,
    Renamed,
}

/// `at` hears every step, and may stop there as a kill would.
fn write(
    folder: &Path,
    name: &str,
    text: &str,
    mut at: impl FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    /// Few enough for a kill in between, many enough to be quick.
    const CHUNK: usize = 64 * 1024;
    // Two processes, one taking over from the other, do not write the same file.
    let next = folder.join(format!(".{name}.{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    at(Step::Begun)?;
    let text = format!("{text}{MARK}{}\n", digest(text));
    let mut written = 0;
    for chunk in text.as_bytes().chunks(CHUNK) {
        file.write_all(chunk)?;
        written += chunk.len();
        at(Step::Written(written))?;
    }
    file.sync_all()?;
    at(Step::Flushed)?;
    fs::rename(&next, place(folder, name))?;
    at(Step::Renamed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEPS: [Step; 5] =
        [Step::Begun, Step::Written(0), Step::Written(70_000), Step::Flushed, Step::Renamed];

    fn stop_at(last: Step) -> impl FnMut(Step) -> io::Result<()> {
        move |step| {
            let is_last = match (step, last) {
                (Step::Written(bytes), Step::Written(most)) => bytes > most,
                (step, last) => step == last,
            };
            if is_last { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        }
    }

    fn kept(folder: &Path) -> Option<String> {
        let kept = read(folder);
        assert!(kept.len() <= 1, "{kept:?}");
        kept.get("shop").map(|text| text.text.to_string())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whenever_a_write_stops_the_old_text_or_the_new_one_is_there(
            texts in proptest::collection::vec(("\\PC{0,20}\n{0,2}", 0..5_usize, any::<bool>()), 1..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            let mut last = None;
            for (text, step, is_long) in texts {
                let text = if is_long { text.repeat(20_000) + "." } else { text };
                let stopped = write(folder, "shop", &text, stop_at(STEPS[step]));
                if stopped.is_ok() || STEPS[step] == Step::Renamed {
                    last = Some(text);
                }
                prop_assert_eq!(kept(folder), last.clone());
            }
        }

        #[test]
        fn what_is_cut_or_changed_does_not_count(
            text in "[a-z =\"\n]{0,60}",
            cut in 0..150_usize,
            flip in any::<Option<prop::sample::Index>>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "shop", &text, |_| Ok(())).unwrap();
            let path = place(folder.path(), "shop");
            let whole = fs::read(&path).unwrap();
            let mut bytes = whole[..whole.len().saturating_sub(cut)].to_vec();
            if let Some(flip) = flip.filter(|_| !bytes.is_empty()) {
                let at = flip.index(bytes.len());
                bytes[at] ^= 1;
            }
            fs::write(&path, &bytes).unwrap();
            prop_assert_eq!(kept(folder.path()), (bytes == whole).then_some(text));
        }
    }

    #[test]
    fn leftovers_of_processes_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        // Larger than any process id.
        let gone = folder.join(".shop.1073741824");
        let own = folder.join(format!(".shop.{}", std::process::id()));
        fs::write(&gone, "x").unwrap();
        fs::write(&own, "x").unwrap();
        Keeper::default().hold(folder, std::iter::empty()).unwrap();
        assert!(!gone.exists());
        assert!(own.exists());
    }
}
