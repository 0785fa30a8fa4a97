//! Files that appear whole or not at all, and know when they rotted: what shards and checkpoints are written with.
//!
//! [`PendingFile`] is a file on its way to its name: temporary name, fsync, rename, fsync of the folder; [`PendingFolder`] several
//! that belong together. [`PageWriter`] takes
//! the checksum of each page of what passes through it. [`seal`] makes JSON that notices every change. [`Fs`] stands between
//! all of them and the disk, so that tests can fail each operation in turn, and so that the same files lie in an object store as well
//! ([`fs_of`]), where an upload that is complete is what a rename is on a disk.

mod commit;
mod error;
mod fs;
mod lock;
#[cfg(feature = "objects")]
mod object;
#[cfg(not(feature = "objects"))]
#[path = "object/absent.rs"]
mod object;
mod page;
mod place;
mod sealed;

pub use commit::{PendingFile, PendingFolder, commit_bytes, commit_bytes_new, discard_folder, sweep};
pub use error::StoreError;
pub use fs::{Fs, FsFile, RealFs, Upload, open_regular};
pub use lock::FolderLock;
#[cfg(feature = "objects")]
pub use object::{ObjectFs, register};
#[cfg(feature = "objects")]
pub use object_store;
pub use page::{Checksums, PAGE_BYTES, PageWriter};
pub use place::{
    About, Fetch, Opened, ReadSeek, Wanted, about, check, fs_of, is_misspelt, is_url, join, list, open, open_local,
    plain, scheme, walk,
};
pub use sealed::{checksum, seal, to_hex, unseal, words_from_hex, words_to_hex};
