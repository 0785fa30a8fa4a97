//! Every single write, fsync, link and rename fails in turn (R1, R9).

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::shard::{Manifest, verify};
use ajepa_store::{Fs, FsFile, RealFs};

/// The files of this machine, with one operation that fails, and perhaps all after it.
#[derive(Debug, Clone)]
pub struct FaultyFs {
    count: Arc<AtomicU64>,
    fail_at: u64,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct How {
    errno: i32,
    /// The disk stays as it is: everything after the fault fails too.
    for_good: bool,
    /// Half of the bytes of the failing write arrive.
    short: bool,
}

struct FaultyFile {
    inner: Box<dyn FsFile>,
    fs: FaultyFs,
}

impl FaultyFs {
    /// A disk that is full from operation `fail_at` on.
    pub fn full_from(fail_at: u64) -> Self {
        let how = How { errno: libc::ENOSPC, for_good: true, short: false };
        Self { count: Arc::default(), fail_at, how }
    }

    fn step(&self) -> io::Result<()> {
        let n = self.count.fetch_add(1, Ordering::SeqCst);
        let fails = n == self.fail_at || (self.how.for_good && n > self.fail_at);
        if fails { Err(io::Error::from_raw_os_error(self.how.errno)) } else { Ok(()) }
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.fs.step() {
            Ok(()) => self.inner.write(bytes),
            Err(error) => {
                if self.fs.how.short {
                    self.inner.write_all(&bytes[..bytes.len() / 2])?;
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl FsFile for FaultyFile {
    fn rewrite_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fs.step().and_then(|()| self.inner.rewrite_head(bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.fs.step()?;
        self.inner.sync()
    }
}

impl Fs for FaultyFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.create_dir_all(dir)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.step()?;
        Ok(Box::new(FaultyFile { inner: RealFs.create_new(path)?, fs: self.clone() }))
    }
    fn append(&self, path: &Path, keep_bytes: u64) -> io::Result<Box<dyn FsFile>> {
        self.step()?;
        Ok(Box::new(FaultyFile { inner: RealFs.append(path, keep_bytes)?, fs: self.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.hard_link(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.remove(path)
    }
    fn remove_folder(&self, dir: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.remove_folder(dir)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFs.len(path)
    }
    fn read(&self, path: &Path, cap_bytes: u64) -> io::Result<Vec<u8>> {
        RealFs.read(path, cap_bytes)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }
}

fn drive_with(
    dir: &Path,
    run: &RunInfo,
    fail_at: u64,
    how: How,
) -> (Result<SinkReport, crate::stage::StageError>, u64) {
    let count = Arc::new(AtomicU64::new(0));
    let fs = FaultyFs { count: count.clone(), fail_at, how };
    let mut sink = ShardWriter::with_fs(dir, stored(Dtype::F16), Compression::None, Arc::new(fs)).unwrap();
    let result = drive(&mut sink, run, 64, Dtype::F16);
    drop(sink);
    (result, count.load(Ordering::SeqCst))
}

/// Files under their final names are those of the uninterrupted run, byte for byte; the others are temporary.
fn nothing_is_torn(dir: &Path, expected: &BTreeMap<String, Vec<u8>>, old: &BTreeMap<String, Vec<u8>>, when: &str) {
    for (name, bytes) in files(dir) {
        if !name.contains(".tmp-") {
            assert!(expected.get(&name) == Some(&bytes) || old.get(&name) == Some(&bytes), "{when}: {name}");
        }
    }
}

#[test]
fn any_single_fault_leaves_nothing_torn_and_the_next_run_completes() {
    // A first generation is there already, so that the manifest is replaced and the old one kept.
    let first = tempfile::tempdir().unwrap();
    write_set(first.path(), &job(&[9]));
    let old = files(first.path());
    let mut run = job(&[70, 0, 20]);
    run.fingerprint = "f-2".into();
    let whole = tempfile::tempdir().unwrap();
    copy_set(first.path(), whole.path());
    write_set(whole.path(), &run);
    let expected = files(whole.path());
    let hows = [
        How { errno: libc::ENOSPC, for_good: true, short: true },
        How { errno: libc::EIO, for_good: false, short: false },
        How { errno: libc::EMFILE, for_good: false, short: false },
        How { errno: libc::EROFS, for_good: true, short: false },
    ];
    let mut n_faults = 0;
    for how in hows {
        for fail_at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            copy_set(first.path(), dir.path());
            let (result, n_steps) = drive_with(dir.path(), &run, fail_at, how);
            if fail_at >= n_steps {
                assert!(result.unwrap().complete);
                break;
            }
            n_faults += 1;
            let when = format!("step {fail_at} of {how:?}");
            nothing_is_torn(dir.path(), &expected, &old, &when);
            match &result {
                // Only the removal of a temporary name may fail without a word.
                Ok(report) => assert!(report.complete, "{when}"),
                Err(error) => {
                    let text = error.to_string();
                    let word = io::Error::from_raw_os_error(how.errno).to_string();
                    assert!(
                        text.contains(&word) && text.contains(&*dir.path().to_string_lossy()) || text.contains("part-"),
                        "{when}: {text}"
                    );
                    let advised = text.contains("finished shards are kept");
                    assert_eq!(advised, matches!(how.errno, libc::ENOSPC | libc::EROFS), "{when}: {text}");
                }
            }
            let manifest = Manifest::read(dir.path()).unwrap();
            assert_eq!(verify(dir.path()).unwrap().damaged, [], "{when}: generation {}", manifest.generation);
            let report = write_set(dir.path(), &run);
            assert!(report.complete, "{when}");
            let mut now = files(dir.path());
            now.retain(|name, _| !name.contains(".tmp-"));
            assert!(now == expected, "{when}: {:?} instead of {:?}", now.keys(), expected.keys());
        }
    }
    assert!(n_faults > 4 * 30, "{n_faults} faults were injected");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("taken");
    std::fs::write(&file, b"").unwrap();
    let mut sink = ShardWriter::new(PathBuf::from(&file), stored(Dtype::F16), Compression::None).unwrap();
    let error = sink.open(&job(&[1])).unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}

#[test]
fn a_disk_that_is_really_full_leaves_nothing_torn() {
    let Some(disk) = std::env::var_os("AJEPA_SMALL_DISK") else {
        println!("skipped: AJEPA_SMALL_DISK names no folder on a file system of 2 MB (mount -t tmpfs -o size=2m ...)");
        return;
    };
    let disk = PathBuf::from(disk);
    let run = job(&[70, 0, 20]);
    let whole = tempfile::tempdir().unwrap();
    write_set(whole.path(), &run);
    let expected = files(whole.path());
    let (mut n_full, mut n_fit) = (0, 0);
    for ballast_kb in (0..2000).step_by(40) {
        let dir = tempfile::tempdir_in(&disk).unwrap();
        let ballast = disk.join("ballast");
        let filled = std::fs::write(&ballast, vec![1u8; ballast_kb << 10]);
        let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
        match drive(&mut sink, &run, 64, Dtype::F16) {
            Ok(report) => {
                assert!(report.complete);
                n_fit += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("free space, then run again"), "{error}");
                n_full += 1;
            }
        }
        drop(sink);
        nothing_is_torn(dir.path(), &expected, &BTreeMap::new(), &format!("{ballast_kb} kB of ballast, {filled:?}"));
        std::fs::remove_file(&ballast).unwrap();
        assert!(write_set(dir.path(), &run).complete);
        assert!(files(dir.path()) == expected, "{ballast_kb} kB of ballast");
    }
    assert!(n_full > 5 && n_fit > 5, "{n_full} runs met a full disk, {n_fit} did not");
}
