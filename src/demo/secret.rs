//! The secret that signs the demo's sessions: made once, kept beside its certificates.
//!
//! With it an open chat goes on after a restart. It must not be readable by others: whoever has it
//! can write sessions.

use std::io;
use std::path::{Path, PathBuf};

use crate::tls::dev::{DevError, write_private};

/// Hexadecimal digits of 32 random bytes.
const DIGITS: usize = 64;

/// The file, made where it is missing or is no secret. The directory is there.
pub fn kept(directory: &Path) -> Result<PathBuf, DevError> {
    let path = directory.join("session.key");
    match std::fs::read_to_string(&path) {
        Ok(text) if is_secret(&text) => return Ok(path),
        Ok(_) => {}
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
        Err(error) => return Err(DevError::Io(path, error)),
    }
    let mut bytes = [0; DIGITS / 2];
    getrandom::fill(&mut bytes)
        .map_err(|error| DevError::Io(path.clone(), io::Error::other(error.to_string())))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&path, &text)?;
    Ok(path)
}

fn is_secret(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_a_broken_one_anew() {
        let directory = tempfile::tempdir().unwrap();
        let read = || std::fs::read(kept(directory.path()).unwrap()).unwrap();
        let first = read();
        assert_eq!((first.len(), read()), (DIGITS, first.clone()));
        for broken in [b"" as &[u8], b"short", &[0xff; DIGITS]] {
            std::fs::write(directory.path().join("session.key"), broken).unwrap();
            let next = read();
            assert!(next.len() == DIGITS && next != first);
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let mode = kept(directory.path()).unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
