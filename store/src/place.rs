//! Where a file is: a path of this machine, or an address in an object store (`s3://bucket/key`). Both travel as paths.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;

use crate::error::StoreError;
use crate::fs::{Fs, RealFs, open_regular};
use crate::object;

/// What is read anywhere and jumped about in.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// A file that is open for reading.
pub struct Opened {
    /// Its length in bytes.
    pub len: u64,
    /// Its bytes. In an object store megabytes are fetched at once, and those behind them ahead.
    pub reader: Box<dyn ReadSeek>,
}

/// Length of a file, and what changes when its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Its length in bytes.
    pub len: u64,
    /// A hash of its entity tag, or of the time of its last change where the store has no tags.
    pub version: u128,
}

/// An object that is wanted, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its address.
    pub url: String,
    /// Offset and length of the part; all of it when `None`.
    pub range: Option<(u64, u64)>,
}

/// Objects that are on their way.
pub struct Fetch(io::Result<Receiver<Vec<io::Result<Bytes>>>>);

impl Fetch {
    /// Begins to fetch objects, some dozens at once; returns at once.
    pub fn start(wanted: Vec<Wanted>) -> Self {
        object::fetch(wanted)
    }

    pub(crate) fn of(answers: io::Result<Receiver<Vec<io::Result<Bytes>>>>) -> Self {
        Self(answers)
    }

    /// What came of each, in order; waits for it.
    ///
    /// # Errors
    /// When nothing came of any, for there are no threads that fetch.
    pub fn wait(self) -> io::Result<Vec<io::Result<Bytes>>> {
        self.0?.recv().map_err(|_| io::Error::other("the threads that read from object stores have ended"))
    }
}

/// The part of `place` that says how it is reached: `s3` of `s3://bucket/key`; `None` for a path of this machine.
pub fn scheme(place: &Path) -> Option<&str> {
    let (scheme, _) = place.to_str()?.split_once("://")?;
    let mut letters = scheme.bytes();
    let is_word =
        letters.next()?.is_ascii_alphabetic() && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    is_word.then_some(scheme)
}

/// Whether `place` is an address and no path of this machine.
pub fn is_url(place: &Path) -> bool {
    scheme(place).is_some()
}

/// Whether `place` would be a path and is surely meant as an address: `s3:/bucket/key`.
pub fn is_misspelt(place: &Path) -> bool {
    let text = place.as_os_str().as_encoded_bytes();
    !is_url(place) && [&b"s3:"[..], b"gs:", b"file:/"].iter().any(|scheme| text.starts_with(scheme))
}

/// `path` as it is meant under `root`: addresses and absolute paths stay as they are.
pub fn join(root: &Path, path: &str) -> PathBuf {
    if is_url(Path::new(path)) { PathBuf::from(path) } else { root.join(path) }
}

/// Whether a program that was built like this one can reach `place` at all; asks nobody.
///
/// # Errors
/// `Unsupported` or `InvalidInput`, with the cure.
pub fn check(place: &Path) -> io::Result<()> {
    if is_url(place) { object::check(place) } else { Ok(()) }
}

/// The file operations for what lies at `place` and under it.
///
/// # Errors
/// [`StoreError`] for an address that this program cannot reach; no store is asked.
pub fn fs_of(place: &Path) -> Result<Arc<dyn Fs>, StoreError> {
    if !is_url(place) {
        return Ok(Arc::new(RealFs));
    }
    object::fs(place).map_err(|error| StoreError::io("use", place, error))
}

/// Opens a file for reading; refuses pipes and devices, which would be waited for without end.
///
/// # Errors
/// The system's or the store's, `NotFound` among them.
pub fn open(place: &Path) -> io::Result<Opened> {
    if is_url(place) {
        return object::open(place);
    }
    let file = open_regular(place)?;
    Ok(Opened { len: file.metadata()?.len(), reader: Box::new(file) })
}

/// Opens a file of this machine, or a copy of an object in a file without a name, which is gone when it is closed. The copy lies in
/// the folder for temporary files (`TMPDIR`).
///
/// # Errors
/// As [`open`]; `StorageFull` where the copy has no room.
pub fn open_local(place: &Path) -> io::Result<File> {
    if is_url(place) { object::copy_to_temporary(place) } else { open_regular(place) }
}

/// The path of this machine that a `file://` address means; any other place as it is.
///
/// # Errors
/// `InvalidInput` for one that names another host.
pub fn plain(place: &Path) -> io::Result<PathBuf> {
    if scheme(place) == Some("file") { object::plain(place) } else { Ok(place.to_owned()) }
}

/// Objects under the address `folder` with their paths under it, those of folders inside too, in the byte order of these paths.
///
/// # Errors
/// The store's.
pub fn walk(folder: &Path) -> io::Result<Vec<(String, About)>> {
    object::list(folder, true, usize::MAX)
}

/// Objects right in the address `folder` by name, at least `n` of them where there are so many.
///
/// # Errors
/// The store's.
pub fn list(folder: &Path, n: usize) -> io::Result<Vec<(String, About)>> {
    object::list(folder, false, n)
}

/// What is known of each of these objects; they are asked for some dozens at once.
pub fn about(urls: &[String]) -> Vec<io::Result<About>> {
    object::about(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for url in ["s3://b/k", "gs://b", "file:///a", "mem://x/y"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in ["a/b", "/a", "s3:/b", "://x", "3s://b", "a b://c", ""] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
        assert!(is_misspelt(Path::new("s3:/b/k")) && is_misspelt(Path::new("gs:b")));
        assert!(!is_misspelt(Path::new("s3://b")) && !is_misspelt(Path::new("./s3:/b")));
        let join = |root: &str, path: &str| join(Path::new(root), path).display().to_string();
        assert_eq!(join("s3://b/audio", "x/y.flac"), "s3://b/audio/x/y.flac");
        assert_eq!(join("s3://b/audio/", "y.flac"), "s3://b/audio/y.flac");
        assert_eq!(join("/data", "gs://b/y.flac"), "gs://b/y.flac");
        assert_eq!(join("s3://b", "/data/y.flac"), "/data/y.flac");
    }
}
