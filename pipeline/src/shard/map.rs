//! Part files as memory: mapped, or copied; and what happens when somebody cuts a mapped file short.
//!
//! # Why this module may be unsafe
//! A map of a file is memory that other processes can change. Four things keep that from doing harm:
//!
//! * Parts are write-once: this program renames them into place and never writes to them again. A change is therefore a
//!   fault or an attack, never normal work.
//! * Only the numbers of tensor columns are handed out in place, and any bits are a number. Messages, offsets, texts and
//!   bitmaps, by which readers find their way, are copied before they are checked (`decode`).
//! * Every access to a batch first compares size and time of the open file with those at opening ([`PartFile::check`]);
//!   a file that differs is a typed error before its memory is touched.
//! * Between that check and the last read of a batch, the file may still be cut short; the kernel then raises SIGBUS at
//!   the touched page. The handler in `guard` puts zero pages there, marks the map as hit and returns, so the process
//!   lives on; the next check says [`ShardError::Changed`]. Where there is no such handler, parts are copied, not mapped.
//!
//! What remains: a reader that is in the middle of a batch while its file is rewritten in place sees old and new bytes
//! mixed, as numbers, until its next check; and a file that is rewritten to the same length within one tick of its file
//! system's clock (some milliseconds) after it was made looks unchanged. Those who cannot have that read with
//! [`Access::Copied`], which takes checksums of its own copy.
#![allow(unsafe_code, reason = "maps are unsafe by nature; the module's documentation says why they are sound here")]

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use ajepa_store::open_local;
use arrow::buffer::{Buffer, MutableBuffer};
use memmap2::Mmap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ShardError;

/// How the bytes of a part come into memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Mapped: batches are read in place from the page cache; pages are verified when first touched.
    #[default]
    Mapped,
    /// Copied into memory of this process batch by batch, and verified there every time.
    Copied,
}

/// An open part file. Whatever it hands out stays valid when it is dropped, or when the file loses its name.
#[derive(Debug)]
pub struct PartFile {
    name: String,
    file: File,
    stamp: Stamp,
    map: Option<(Buffer, Arc<GuardedMap>)>,
}

/// What must not change while a part is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    bytes: u64,
    modified_ns: i128,
    place: (u64, u64),
}

#[derive(Debug)]
struct GuardedMap {
    map: Mmap,
    guard: guard::Slot,
}

impl Drop for GuardedMap {
    fn drop(&mut self) {
        self.guard.release();
    }
}

impl PartFile {
    /// Opens the part `name` of `dir`, which must be `bytes` long.
    pub fn open(dir: &Path, name: &str, bytes: u64, access: Access) -> Result<Self, ShardError> {
        let path: PathBuf = dir.join(name);
        let failed = |what: &'static str| move |error: io::Error| (what, error);
        let opened = (|| {
            let file = open_local(&path).map_err(failed("open"))?;
            let stamp = Stamp::of(&file.metadata().map_err(failed("open"))?);
            Ok((file, stamp))
        })();
        let (file, stamp) = opened.map_err(|(what, error)| ShardError::io(what, &path, error))?;
        if stamp.bytes != bytes {
            return Err(ShardError::Size { part: name.to_owned(), expected: bytes, found: stamp.bytes });
        }
        let map = match access {
            Access::Mapped if bytes > 0 => map_guarded(&file, bytes).map_err(|error| {
                // Cut between the look at its length and the map of it: the same fault as before the look.
                match file.metadata().map(|now| now.len()) {
                    Ok(found) if found != bytes => ShardError::Size { part: name.to_owned(), expected: bytes, found },
                    _ => ShardError::io("map", &path, error),
                }
            })?,
            _ => None,
        };
        Ok(Self { name: name.to_owned(), file, stamp, map })
    }

    /// Size, time and place of the file at opening.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether the part is mapped.
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Whether the file is still what it was when it was opened.
    ///
    /// # Errors
    /// [`ShardError::Changed`] when it is not.
    pub fn check(&self) -> Result<(), ShardError> {
        let changed = |problem: String| ShardError::Changed { part: self.name.clone(), problem };
        if self.map.as_ref().is_some_and(|(_, map)| map.guard.was_hit()) {
            return Err(changed("it was cut short".to_owned()));
        }
        let now = self.file.metadata().map_err(|e| changed(format!("its state cannot be read: {e}")))?;
        let now = Stamp::of(&now);
        if now.bytes != self.stamp.bytes {
            return Err(changed(format!("it had {} bytes, now it has {}", self.stamp.bytes, now.bytes)));
        }
        if now != self.stamp {
            return Err(changed("it was written to".to_owned()));
        }
        Ok(())
    }

    /// Asks the system to read `start..end` soon, without waiting for it. Only advice: nothing happens where it is not taken.
    pub fn will_need(&self, start: u64, end: u64) {
        #[cfg(unix)]
        if let Some((_, map)) = &self.map
            && start < end
            && end <= self.stamp.bytes
        {
            // An error means that the advice was not taken: the read itself will say what is wrong, if anything is.
            let _ = map.map.advise_range(memmap2::Advice::WillNeed, start as usize, (end - start) as usize);
        }
        #[cfg(not(unix))]
        let _ = (start, end);
    }

    /// Tells the system whether reads will be few and far between, so that it reads no more than is touched; else it reads
    /// megabytes ahead. Only advice.
    pub fn will_jump(&self, jumps: bool) {
        #[cfg(unix)]
        if let Some((_, map)) = &self.map {
            // An error means that the advice was not taken.
            let _ = map.map.advise(if jumps { memmap2::Advice::Random } else { memmap2::Advice::Normal });
        }
        #[cfg(not(unix))]
        let _ = jumps;
    }

    /// The bytes `start..end` (`start` a multiple of 64): in place when mapped, else a copy of their own.
    pub fn bytes(&self, start: u64, end: u64) -> Result<Buffer, ShardError> {
        let len = end.saturating_sub(start) as usize;
        if end > self.stamp.bytes || start > end {
            return Err(ShardError::format(&self.name, format!("bytes {start}..{end} of {}", self.stamp.bytes)));
        }
        if let Some((buffer, _)) = &self.map {
            return Ok(buffer.slice_with_length(start as usize, len));
        }
        let mut copy = MutableBuffer::from_len_zeroed(len);
        read_exact_at(&self.file, &mut copy, start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                ShardError::Changed { part: self.name.clone(), problem: "it was cut short".to_owned() }
            }
            _ => ShardError::Io { what: format!("cannot read {}", self.name), source: error },
        })?;
        Ok(copy.into())
    }
}

impl Stamp {
    #[cfg(unix)]
    fn of(meta: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Self { bytes: meta.len(), modified_ns, place: (meta.dev(), meta.ino()) }
    }

    #[cfg(not(unix))]
    fn of(meta: &Metadata) -> Self {
        let modified = meta.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Self { bytes: meta.len(), modified_ns: modified.map_or(0, |age| age.as_nanos() as i128), place: (0, 0) }
    }
}

/// Lets this process open `wanted` files if the system's hard limit allows it; returns how many it may open now.
#[cfg(target_os = "linux")]
pub fn allow_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write one plain struct of this frame.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 0;
        }
        if limit.rlim_cur < wanted {
            let raised = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), ..limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
                return raised.rlim_cur;
            }
        }
    }
    limit.rlim_cur
}

/// Systems where parts are copied: the usual limit is taken as it is.
#[cfg(not(target_os = "linux"))]
pub fn allow_open_files(_wanted: u64) -> u64 {
    1024
}

#[cfg(unix)]
fn read_exact_at(file: &File, out: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut out: &mut [u8], mut at: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !out.is_empty() {
        match file.seek_read(out, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                out = &mut out[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Maps the file, if this system can survive its being cut short; `None` when it cannot, or the guard has no room left.
fn map_guarded(file: &File, bytes: u64) -> io::Result<Option<(Buffer, Arc<GuardedMap>)>> {
    let Some(vacant) = guard::Slot::vacant() else { return Ok(None) };
    // SAFETY: the map is read-only and of a write-once file; what happens if it is changed all the same is in the
    // module's documentation.
    let map = match unsafe { Mmap::map(file) } {
        Ok(map) if map.len() as u64 == bytes => map,
        Ok(_) => {
            vacant.release();
            return Err(io::Error::other("the file changed its length while it was opened"));
        }
        Err(error) => {
            vacant.release();
            return Err(error);
        }
    };
    vacant.protect(map.as_ptr() as usize, map.len());
    let map = Arc::new(GuardedMap { map, guard: vacant });
    let start = NonNull::from(&map.map[..]).cast::<u8>();
    let len = map.map.len();
    // SAFETY: `start` and `len` are those of the map, which is page-aligned, never written by this process, and kept by
    // the buffer's owner until the last slice of the buffer is gone.
    let buffer = unsafe { Buffer::from_custom_allocation(start, len, map.clone()) };
    Ok(Some((buffer, map)))
}

/// Survives reads behind the end of a mapped file.
#[cfg(target_os = "linux")]
mod guard {
    use std::ptr;
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

    /// Maps that can be guarded at once.
    const N_SLOTS: usize = 4096;
    const FREE: usize = 0;
    /// No map begins there: a slot that is taken, but not in force.
    const TAKEN: usize = 1;

    struct Entry {
        start: AtomicUsize,
        end: AtomicUsize,
        hit: AtomicBool,
    }

    static ENTRIES: [Entry; N_SLOTS] =
        [const { Entry { start: AtomicUsize::new(FREE), end: AtomicUsize::new(0), hit: AtomicBool::new(false) } };
            N_SLOTS];

    /// The handler that was there before; leaked, so that it can be read inside a handler.
    static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

    /// A place in the table of guarded maps.
    #[derive(Debug)]
    pub struct Slot(usize);

    impl Slot {
        /// Takes a free place; `None` when there is none, or the handler cannot be installed.
        pub fn vacant() -> Option<Self> {
            static INSTALL: Once = Once::new();
            INSTALL.call_once(install);
            if PREVIOUS.load(Ordering::Acquire).is_null() {
                return None;
            }
            let take =
                |entry: &Entry| entry.start.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            ENTRIES.iter().position(take).map(Slot)
        }

        /// Guards `len` bytes from `start`.
        pub fn protect(&self, start: usize, len: usize) {
            let entry = &ENTRIES[self.0];
            entry.hit.store(false, Ordering::Relaxed);
            entry.end.store(start + len, Ordering::Relaxed);
            entry.start.store(start, Ordering::Release);
        }

        /// Whether a read went behind the end of the file.
        pub fn was_hit(&self) -> bool {
            ENTRIES[self.0].hit.load(Ordering::Acquire)
        }

        /// Gives the place back; before the map goes.
        pub fn release(&self) {
            ENTRIES[self.0].start.store(FREE, Ordering::Release);
        }
    }

    fn install() {
        // SAFETY: both structs are plain C data for which zero is a valid value; the handler below keeps to what may be
        // done in one; `previous` is leaked on purpose, so that the pointer stays valid for the handler.
        unsafe {
            let previous = Box::leak(Box::new(std::mem::zeroed::<libc::sigaction>()));
            if libc::sigaction(libc::SIGBUS, ptr::null(), previous) != 0 {
                return;
            }
            PREVIOUS.store(previous, Ordering::Release);
            let mut ours = std::mem::zeroed::<libc::sigaction>();
            ours.sa_sigaction = on_bus_error as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            if libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) != 0 {
                PREVIOUS.store(ptr::null_mut(), Ordering::Release);
            }
        }
    }

    /// Runs in the thread that touched the page. Uses atomics and system calls only: no allocation, no lock.
    extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the kernel hands a valid `siginfo_t` to handlers installed with SA_SIGINFO; `errno` of this thread is
        // put back, because the interrupted code may be about to read it.
        unsafe {
            let errno = *libc::__errno_location();
            let saved = (*info).si_code == libc::BUS_ADRERR && put_zero_pages((*info).si_addr() as usize);
            *libc::__errno_location() = errno;
            if !saved {
                hand_on(signal, info, context);
            }
        }
    }

    /// Replaces the rest of the guarded map from `address` on by zero pages; `false` when no map of ours is there.
    fn put_zero_pages(address: usize) -> bool {
        for entry in &ENTRIES {
            let start = entry.start.load(Ordering::Acquire);
            let end = entry.end.load(Ordering::Relaxed);
            if start <= TAKEN || !(start..end).contains(&address) || entry.start.load(Ordering::Acquire) != start {
                continue;
            }
            // SAFETY: the range lies inside one of our own read-only maps, which somebody is reading right now and which
            // therefore exists; anonymous pages in its place are as readable as it was.
            let mapped = unsafe {
                let page_bytes = libc::sysconf(libc::_SC_PAGESIZE) as usize;
                let from = address & !(page_bytes - 1);
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                libc::mmap(from as *mut libc::c_void, end - from, libc::PROT_READ, flags, -1, 0)
            };
            if mapped == libc::MAP_FAILED {
                return false;
            }
            entry.hit.store(true, Ordering::Release);
            return true;
        }
        false
    }

    /// Does what would have been done without us.
    ///
    /// # Safety
    /// Inside a handler only, with its arguments.
    unsafe fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: `PREVIOUS` is set before the handler is installed and never freed; the address in it is of a function
        // of the type that its flags say.
        unsafe {
            let previous = &*PREVIOUS.load(Ordering::Acquire);
            match previous.sa_sigaction {
                libc::SIG_DFL | libc::SIG_IGN => {
                    // The instruction runs again when this returns, and ends the process as it would have.
                    let mut default = std::mem::zeroed::<libc::sigaction>();
                    default.sa_sigaction = libc::SIG_DFL;
                    libc::sigaction(signal, &raw const default, ptr::null_mut());
                }
                handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                    std::mem::transmute::<usize, Handler>(handler)(signal, info, context);
                }
                handler => std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal),
            }
        }
    }
}

/// Systems without the handler: nothing is guarded, so nothing is mapped.
#[cfg(not(target_os = "linux"))]
mod guard {
    #[derive(Debug)]
    pub struct Slot;

    impl Slot {
        pub fn vacant() -> Option<Self> {
            None
        }

        pub fn protect(&self, _start: usize, _len: usize) {}

        pub fn was_hit(&self) -> bool {
            false
        }

        pub fn release(&self) {}
    }
}
