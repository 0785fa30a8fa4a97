//! Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use twox_hash::XxHash3_64;

use crate::error::StoreError;
use crate::fs::{Fs, FsFile, Upload};

/// Bytes collected before they are handed to the system.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// A file on its way to its name. Dropped before [`PendingFile::commit`], it is taken away again.
pub struct PendingFile {
    fs: Arc<dyn Fs>,
    target: PathBuf,
    way: Way,
}

/// How it gets there.
enum Way {
    /// Under a temporary name, by a rename.
    Renamed { temp: PathBuf, out: Option<BufWriter<Box<dyn FsFile>>>, left_over: bool },
    /// By an upload that is complete.
    Uploaded(Option<BufWriter<Box<dyn Upload>>>),
}

impl PendingFile {
    /// Starts a file that will be `target`.
    ///
    /// # Errors
    /// [`StoreError`]; the file is then absent, or as it was.
    pub fn create(fs: &Arc<dyn Fs>, target: PathBuf) -> Result<Self, StoreError> {
        let way = match fs.upload(&target) {
            Some(upload) => {
                let upload = upload.map_err(|e| StoreError::io("create", &target, e))?;
                Way::Uploaded(Some(BufWriter::with_capacity(WRITE_BUFFER_BYTES, upload)))
            }
            None => renamed(fs, &target)?,
        };
        Ok(Self { fs: fs.clone(), target, way })
    }

    /// Puts `bytes` in the place of the file's first ones: the last thing before it is committed.
    ///
    /// # Errors
    /// [`StoreError`]; the file is not to be committed then.
    pub fn rewrite_head(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = match &mut self.way {
            Way::Renamed { out: Some(out), .. } => out.flush().and_then(|()| out.get_mut().rewrite_head(bytes)),
            Way::Renamed { .. } => Ok(()),
            Way::Uploaded(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        written.map_err(|e| StoreError::io("write", &self.target, e))
    }

    /// Makes the file durable and gives it its name, in the place of what had it.
    ///
    /// # Errors
    /// [`StoreError`]; the file is then absent, or as it was.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let Self { fs, target, way } = &mut self;
        let Way::Renamed { temp, out, left_over } = way else { return self.complete(false).map(|_| ()) };
        sync(out, target)?;
        fs.rename(temp, target).map_err(|e| StoreError::io("rename to", target, e))?;
        *left_over = false;
        sync_dir(fs.as_ref(), target)
    }

    /// Makes the file durable and gives it its name if that is free; `false` when it is not.
    ///
    /// # Errors
    /// [`StoreError`]; the file is then absent, or as it was.
    pub fn commit_new(mut self) -> Result<bool, StoreError> {
        let Self { fs, target, way } = &mut self;
        let Way::Renamed { temp, out, left_over } = way else { return self.complete(true) };
        sync(out, target)?;
        match fs.hard_link(temp, target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            // File systems without hard links: the check and the rename are two steps, the best they offer.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
                if fs.len(target).is_ok() {
                    return Ok(false);
                }
                fs.rename(temp, target).map_err(|e| StoreError::io("rename to", target, e))?;
                *left_over = false;
            }
            Err(error) => return Err(StoreError::io("create", target, error)),
        }
        sync_dir(fs.as_ref(), target)?;
        Ok(true)
    }

    fn complete(mut self, new_only: bool) -> Result<bool, StoreError> {
        let Way::Uploaded(out) = &mut self.way else { return Ok(false) };
        let Some(out) = out.take() else { return Ok(false) };
        let done =
            out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|upload| upload.complete(new_only));
        done.map_err(|e| StoreError::io("write", &self.target, e))
    }
}

fn renamed(fs: &Arc<dyn Fs>, target: &Path) -> Result<Way, StoreError> {
    loop {
        let temp = temp_name(target);
        match fs.create_new(&temp) {
            Ok(file) => {
                let out = Some(BufWriter::with_capacity(WRITE_BUFFER_BYTES, file));
                return Ok(Way::Renamed { temp, out, left_over: true });
            }
            // A dead process of the same number left it; it is not ours to judge here.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create", &temp, error)),
        }
    }
}

fn sync(out: &mut Option<BufWriter<Box<dyn FsFile>>>, target: &Path) -> Result<(), StoreError> {
    let Some(mut out) = out.take() else { return Ok(()) };
    out.flush().map_err(|e| StoreError::io("write", target, e))?;
    out.get_mut().sync().map_err(|e| StoreError::io("write", target, e))
}

fn sync_dir(fs: &dyn Fs, target: &Path) -> Result<(), StoreError> {
    let dir = folder_of(target);
    fs.sync_dir(dir).map_err(|e| StoreError::io("sync", dir, e))
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.way {
            Way::Renamed { out: Some(out), .. } => out.write(bytes),
            Way::Uploaded(Some(out)) => out.write(bytes),
            _ => Err(io::Error::other("the file is closed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Flushed once, by the commit: the writers above flush more often than a file needs.
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        // What is buffered is of a file that nobody wants any more.
        match &mut self.way {
            Way::Uploaded(out) => drop(out.take().map(BufWriter::into_parts)),
            Way::Renamed { temp, out, left_over } => {
                drop(out.take().map(BufWriter::into_parts));
                if *left_over {
                    let _ = self.fs.remove(temp);
                }
            }
        }
    }
}

/// A folder on its way to its name, for files that belong together. Dropped before [`PendingFolder::commit_new`], it is
/// taken away again.
pub struct PendingFolder {
    fs: Arc<dyn Fs>,
    temp: PathBuf,
    target: PathBuf,
    left_over: bool,
}

impl PendingFolder {
    /// Starts a folder that will be `target`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be made.
    pub fn create(fs: &Arc<dyn Fs>, target: PathBuf) -> Result<Self, StoreError> {
        let temp = temp_name(&target);
        fs.create_dir_all(&temp).map_err(|e| StoreError::io("create", &temp, e))?;
        Ok(Self { fs: fs.clone(), temp, target, left_over: true })
    }

    /// Where its files are to be committed meanwhile.
    pub fn path(&self) -> &Path {
        &self.temp
    }

    /// Gives the folder its name if that is free, `false` when it is not; every file in it must have been committed.
    ///
    /// # Errors
    /// [`StoreError`]; the folder is then absent.
    pub fn commit_new(mut self) -> Result<bool, StoreError> {
        let parent = folder_of(&self.target).to_owned();
        self.fs.sync_dir(&self.temp).map_err(|e| StoreError::io("sync", &self.temp, e))?;
        // A folder takes the place of an empty one only; in front of any other a rename stops by itself.
        match self.fs.rename(&self.temp, &self.target) {
            Ok(()) => self.left_over = false,
            Err(_) if self.fs.list(&self.target).is_ok() => return Ok(false),
            Err(error) => return Err(StoreError::io("rename to", &self.target, error)),
        }
        self.fs.sync_dir(&parent).map_err(|e| StoreError::io("sync", &parent, e))?;
        Ok(true)
    }
}

impl Drop for PendingFolder {
    fn drop(&mut self) {
        if self.left_over {
            let _ = self.fs.remove_folder(&self.temp);
        }
    }
}

/// The folder that `target` is in; the parent of a bare name is no folder that could be opened.
fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."))
}

/// A name beside `target` that says who made it, and when: see [`sweep`].
fn temp_name(target: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.tmp-{:08x}-{}-{n}", scope(), std::process::id()))
}

/// Commits `bytes` as `target`.
///
/// # Errors
/// [`StoreError`]; the file is then absent, or as it was.
pub fn commit_bytes(fs: &Arc<dyn Fs>, target: PathBuf, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = PendingFile::create(fs, target)?;
    file.write_all(bytes).map_err(|e| StoreError::io("write", &file.target, e))?;
    file.commit()
}

/// Commits `bytes` as `target` unless that exists; `false` when it does.
///
/// # Errors
/// [`StoreError`]; the file is then absent, or as it was.
pub fn commit_bytes_new(fs: &Arc<dyn Fs>, target: PathBuf, bytes: &[u8]) -> Result<bool, StoreError> {
    let mut file = PendingFile::create(fs, target)?;
    file.write_all(bytes).map_err(|e| StoreError::io("write", &file.target, e))?;
    file.commit_new()
}

/// Takes a folder away at once: under its name it is whole or gone, wherever the removal stops. [`sweep`] ends what a kill left.
///
/// # Errors
/// [`StoreError`]; the folder is then as it was, or out of the way.
pub fn discard_folder(fs: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
    let temp = temp_name(dir);
    fs.rename(dir, &temp).map_err(|e| StoreError::io("rename to", &temp, e))?;
    fs.remove_folder(&temp).map_err(|e| StoreError::io("remove", &temp, e))
}

/// Takes away temporary files and folders of processes that are provably dead; returns how many there are that prove nothing either way.
///
/// Proof: the name says which boot, host and process namespace made it, that is this one, and no process of that number runs.
pub fn sweep(fs: &dyn Fs, dir: &Path) -> u64 {
    let mut kept = 0;
    for name in fs.list(dir).unwrap_or_default() {
        let Some((owner_scope, pid)) = parse_temp(&name) else { continue };
        let dead =
            owner_scope == scope() && Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{pid}")).exists();
        // Those of a process that runs here are nothing to speak of: another part of the same job is at work.
        let path = dir.join(&name);
        let removed = dead && (fs.remove(&path).is_ok() || fs.remove_folder(&path).is_ok());
        kept += u64::from(!removed && (dead || owner_scope != scope()));
    }
    kept
}

/// Scope and process of a temporary file's name.
fn parse_temp(name: &str) -> Option<(u32, u32)> {
    let (_, owner) = name.strip_prefix('.')?.rsplit_once(".tmp-")?;
    let mut words = owner.split('-');
    let scope = u32::from_str_radix(words.next()?, 16).ok()?;
    let pid = words.next()?.parse().ok()?;
    words.next()?.parse::<u64>().ok()?;
    words.next().is_none().then_some((scope, pid))
}

/// Names this boot of this host and this process namespace: only inside it do process numbers mean anything.
fn scope() -> u32 {
    static SCOPE: OnceLock<u32> = OnceLock::new();
    *SCOPE.get_or_init(|| {
        let mut words = Vec::new();
        for path in ["/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/hostname"] {
            words.extend(std::fs::read(path).unwrap_or_default());
        }
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        words.extend(namespace.to_string_lossy().bytes());
        XxHash3_64::oneshot(&words) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn sweeps_only_what_is_provably_dead() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let here = scope();
        let names = [
            (format!(".part-00000.arrow.tmp-{here:08x}-{dead}-0"), false),
            (format!(".part-00001.arrow.tmp-{here:08x}-{}-0", std::process::id()), true),
            (format!(".part-00002.arrow.tmp-{here:08x}-1-0"), true),
            (format!(".part-00003.arrow.tmp-{:08x}-{dead}-0", here ^ 1), true),
            (format!(".notes.tmp-{dead}"), true),
            ("part-00000.arrow".to_owned(), true),
        ];
        for (name, _) in &names {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        assert_eq!(sweep(&RealFs, dir.path()), 1);
        for (name, stays) in &names {
            assert_eq!(dir.path().join(name).exists(), *stays, "{name}");
        }
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let target = dir.path().join("step-7");
        for (content, first) in [(b"one", true), (b"two", false)] {
            let folder = PendingFolder::create(&fs, target.clone()).unwrap();
            commit_bytes(&fs, folder.path().join("a"), content).unwrap();
            assert_eq!(target.exists(), !first);
            assert_eq!(folder.commit_new().unwrap(), first);
            assert_eq!(std::fs::read(target.join("a")).unwrap(), b"one");
        }
        drop(PendingFolder::create(&fs, target).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_head_is_written_last() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let target = dir.path().join("rows.npy");
        let mut file = PendingFile::create(&fs, target.clone()).unwrap();
        file.write_all(b"?????").unwrap();
        file.write_all(b" and two more").unwrap();
        file.rewrite_head(b"seven").unwrap();
        assert!(file.commit_new().unwrap());
        assert_eq!(std::fs::read(&target).unwrap(), b"seven and two more");
    }

    #[test]
    fn a_bare_name_is_in_the_folder_that_one_is_in() {
        let folders = ["a", "b/c", "/d"].map(|name| folder_of(Path::new(name)));
        assert_eq!(folders, [".", "b", "/"].map(Path::new));
    }

    #[test]
    fn the_second_claim_finds_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let target = dir.path().join("job.json");
        assert!(commit_bytes_new(&fs, target.clone(), b"one").unwrap());
        assert!(!commit_bytes_new(&fs, target.clone(), b"two").unwrap());
        assert_eq!(std::fs::read(&target).unwrap(), b"one");
        assert_eq!(RealFs.list(dir.path()).unwrap(), ["job.json"]);
    }
}
