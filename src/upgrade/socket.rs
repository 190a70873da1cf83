//! Where a successor finds the process that serves: a private socket in the file system.
//!
//! It is bound beside its place, made private, and moved there in one step: whoever looks finds the
//! socket of the process before or of this one, never none and never one that others may use. A
//! socket that a dead process has left is replaced; one that answers is somebody's.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes of a path: a socket's address holds 107, and ours has a process's number beside its place.
pub const LONGEST_PATH: usize = 96;

/// What to do where a process answers at the place already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Living {
    /// It is another server.
    Refuse,
    /// This process has taken over from it.
    Replace,
}

/// The bound socket; it is removed when it is dropped, unless a successor has replaced it.
#[derive(Debug)]
pub struct Private {
    pub listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Why there is no socket.
pub fn bind(path: &Path, living: Living) -> Result<Private, String> {
    let failed = |what: &str, error: &io::Error| {
        format!("cannot {what} the upgrade socket {}: {error}", path.display())
    };
    if path.as_os_str().as_bytes().len() > LONGEST_PATH {
        return Err(format!(
            "the path of the upgrade socket is too long for one: {}",
            path.display()
        ));
    }
    clear(path, living)?;
    let beside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside).map_err(|error| failed("bind", &error))?;
    let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| fs::symlink_metadata(path));
    match placed {
        Ok(meta) => {
            let identity = (meta.dev(), meta.ino());
            Ok(Private { listener, path: path.to_owned(), identity })
        }
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(failed("place", &error))
        }
    }
}

/// Makes sure that nothing is lost when the place is taken.
fn clear(path: &Path, living: Living) -> Result<(), String> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let shown = path.display();
    if !meta.file_type().is_socket() {
        return Err(format!("{shown} is no socket, and in the way: name another upgrade_socket"));
    }
    if living == Living::Refuse && UnixStream::connect(path).is_ok() {
        return Err(format!(
            "another process serves at the upgrade socket {shown}: take over from it with \
             --upgrade, or name another upgrade_socket"
        ));
    }
    Ok(())
}

impl Drop for Private {
    fn drop(&mut self) {
        let meta = fs::symlink_metadata(&self.path);
        if meta.is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_private_and_goes_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade.sock");
        let socket = bind(&path, Living::Refuse).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        let error = bind(&path, Living::Refuse).unwrap_err();
        assert!(error.contains("another process serves"), "{error}");
        let successor = bind(&path, Living::Replace).unwrap();
        drop(socket);
        assert!(UnixStream::connect(&path).is_ok(), "the successor's");
        drop(successor);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_process_left_is_replaced_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && UnixStream::connect(&path).is_err());
        drop(bind(&path, Living::Refuse).unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(bind(&path, Living::Replace).unwrap_err().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let missing = folder.path().join("missing/upgrade.sock");
        assert!(bind(&missing, Living::Refuse).unwrap_err().contains("cannot bind"));
        let long = folder.path().join("x".repeat(100));
        assert!(bind(&long, Living::Refuse).unwrap_err().contains("too long"));
    }
}
