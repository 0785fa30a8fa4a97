//! One process at a time in a folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::StoreError;

/// Held as long as it lives; the system lets go of it however the process ends.
#[derive(Debug)]
pub struct FolderLock(#[allow(dead_code, reason = "the lock is the open file")] File);

impl FolderLock {
    /// Takes the lock file `path`, which is made if it is not there; `None` when another process has it.
    ///
    /// # Errors
    /// [`StoreError`] when there cannot be such a file. A file system without locks locks nothing.
    pub fn take(path: &Path) -> Result<Option<Self>, StoreError> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file = open.map_err(|error| StoreError::io("open", path, error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Self(file))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_by_one_and_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FolderLock::take(&path).unwrap();
        assert!(held.is_some());
        assert!(FolderLock::take(&path).unwrap().is_none());
        drop(held);
        assert!(FolderLock::take(&path).unwrap().is_some());
    }
}
