//! The few file operations that commits are made of, behind a trait: tests fail each of them in turn.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is being written.
pub trait FsFile: Write + Send {
    /// Returns when the bytes are on the medium.
    ///
    /// # Errors
    /// The system's; the file's content is then unknown.
    fn sync(&mut self) -> io::Result<()>;

    /// Puts `bytes` in the place of the file's first ones: a header that only the end knows. Nothing is written after it.
    ///
    /// # Errors
    /// The system's; `Unsupported` where a file is only ever appended to.
    fn rewrite_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _ = bytes;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A file on its way into a store that has no temporary names: it appears when it is complete. Dropped before, it never does.
pub trait Upload: Write + Send {
    /// Makes the file appear; `new_only`: unless there is one of this name, `false` then.
    ///
    /// # Errors
    /// The store's; the file is then absent, or as it was.
    fn complete(self: Box<Self>, new_only: bool) -> io::Result<bool>;
}

/// The file operations that commits need. Each is atomic or leaves only a temporary file behind.
pub trait Fs: Debug + Send + Sync {
    /// Creates a folder and what is missing above it.
    ///
    /// # Errors
    /// The system's.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates a file that is not there yet.
    ///
    /// # Errors
    /// `AlreadyExists`, or the system's.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;

    /// Starts a file that will be `target` in a store without temporary names; `None` where files are renamed into place.
    ///
    /// # Errors
    /// The store's.
    fn upload(&self, target: &Path) -> Option<io::Result<Box<dyn Upload>>> {
        let _ = target;
        None
    }

    /// Opens a file to write behind its first `keep_bytes`, and lets go what lies there; creates it if it is not there.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, path: &Path, keep_bytes: u64) -> io::Result<Box<dyn FsFile>>;

    /// Puts `from` in the place of `to`, at once.
    ///
    /// # Errors
    /// The system's; `to` is then as before.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives `from` the second name `to`, which must be free.
    ///
    /// # Errors
    /// `AlreadyExists`, or the system's.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in `dir` are on the medium.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all that is in it.
    ///
    /// # Errors
    /// The system's.
    fn remove_folder(&self, dir: &Path) -> io::Result<()>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// The system's, `NotFound` among them.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Reads a whole file of at most `cap_bytes`.
    ///
    /// # Errors
    /// `InvalidData` when it is longer, or the system's.
    fn read(&self, path: &Path, cap_bytes: u64) -> io::Result<Vec<u8>>;

    /// Reads several whole files, each of at most `cap_bytes`; where they lie far away, many at once.
    fn read_all(&self, paths: &[PathBuf], cap_bytes: u64) -> Vec<io::Result<Vec<u8>>> {
        paths.iter().map(|path| self.read(path, cap_bytes)).collect()
    }

    /// Lengths of several files, likewise.
    fn len_all(&self, paths: &[PathBuf]) -> Vec<io::Result<u64>> {
        paths.iter().map(|path| self.len(path)).collect()
    }

    /// Names in a folder, sorted.
    ///
    /// # Errors
    /// The system's. A store that knows no folders says of one that is not there that it is empty.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
}

/// The files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl FsFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn rewrite_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(0))?;
        self.write_all(bytes)
    }
}

impl Fs for RealFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = parent_of(dir);
        self.create_dir_all(&parent)?;
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            other => other?,
        }
        self.sync_dir(&parent)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path, keep_bytes: u64) -> io::Result<Box<dyn FsFile>> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        if file.metadata()?.len() > keep_bytes {
            file.set_len(keep_bytes)?;
        }
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Windows opens no folders as files, and needs no such step: NTFS journals names.
        if cfg!(windows) {
            return Ok(());
        }
        match File::open(dir)?.sync_all() {
            // Some network file systems have no fsync of folders; their renames are durable when they return.
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            other => other,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let meta = std::fs::metadata(path)?;
        if meta.is_file() { Ok(meta.len()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file")) }
    }

    fn read(&self, path: &Path, cap_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_regular(path)?.take(cap_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > cap_bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {cap_bytes} bytes")));
        }
        Ok(bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Opens a file to read it; refuses pipes and devices, which would be waited for without end.
///
/// # Errors
/// The system's, or `InvalidInput` for what is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
