//! What files look like from outside, so that a change of one is a change of its unit: size and time, or size and entity tag.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ajepa_store::{About, is_url, join};
use blake3::Hasher;
use twox_hash::XxHash3_64;

/// From so many clips in one folder of an object store on, its objects are listed, a thousand with one request, and not asked for one
/// by one.
const LIST_FROM: usize = 64;

/// A folder is not listed further than to this many times the clips that are wanted of it.
const LIST_TIMES: usize = 8;

/// Objects that are asked for together.
const ASKED_AT_ONCE: usize = 4096;

/// Size and time of files as hash input; the last file is remembered, for windows of one recording follow each other. Of objects in a
/// store it is known before ([`Stamps::learn`]).
///
/// An edit of a file that keeps both the size and the time of last change (to the nanosecond) is not seen.
#[derive(Debug, Clone, Default)]
pub struct Stamps {
    last: Option<(String, [u8; 25])>,
    /// Sorted by place.
    far: Arc<Vec<Far>>,
}

/// An object, in 24 bytes: lists have millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Far {
    place: u64,
    len: u64,
    version: u64,
}

impl Far {
    fn new(place: &str, about: About) -> Self {
        Self { place: hash(place), len: about.len, version: about.version as u64 }
    }
}

fn hash(place: &str) -> u64 {
    XxHash3_64::oneshot(place.as_bytes())
}

fn find(sorted: &[Far], place: u64) -> Option<&Far> {
    sorted.binary_search_by_key(&place, |far| far.place).ok().map(|at| &sorted[at])
}

impl Stamps {
    /// Of objects under `root` that were listed.
    pub fn of_objects(root: &Path, found: &[(String, About)]) -> Self {
        let place = |path: &str| join(root, path).to_string_lossy().into_owned();
        let mut far: Vec<Far> = found.iter().map(|(path, about)| Far::new(&place(path), *about)).collect();
        far.sort_unstable();
        Self { last: None, far: Arc::new(far) }
    }

    /// What several know together.
    pub fn merged<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut far: Vec<Far> = all.flat_map(|stamps| stamps.far.iter().copied()).collect();
        far.sort_unstable();
        Self { last: None, far: Arc::new(far) }
    }

    /// Asks object stores about those of `places` that lie there and are not known yet.
    ///
    /// # Errors
    /// When a store cannot be reached, or none of its objects may be read; an object that is not there stays unknown.
    pub fn learn(&mut self, places: &(impl Iterator<Item = PathBuf> + Clone)) -> io::Result<()> {
        let known = self.far.clone();
        let far_texts = || {
            let texts = places.clone().filter(|place| is_url(place)).map(|place| place.to_string_lossy().into_owned());
            texts.filter(|text| find(&known, hash(text)).is_none())
        };
        let (mut folders, mut wanted): (BTreeMap<String, usize>, HashSet<u64>) = Default::default();
        for text in far_texts().filter(|text| wanted.insert(hash(text))) {
            let (folder, _) = text.rsplit_once('/').unwrap_or_default();
            *folders.entry(folder.to_owned()).or_default() += 1;
        }
        let mut far = known.as_ref().clone();
        for (folder, n) in folders.into_iter().filter(|(_, n)| *n >= LIST_FROM) {
            let found = match ajepa_store::list(Path::new(&folder), n * LIST_TIMES) {
                // Some may read and not list, and a name that cannot be read is one clip's fault.
                Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => {
                    Vec::new()
                }
                found => found?,
            };
            let found = found.iter().map(|(name, about)| Far::new(&format!("{folder}/{name}"), *about));
            far.extend(found.filter(|far| wanted.remove(&far.place)));
        }
        let mut left = far_texts().filter(|text| wanted.remove(&hash(text))).peekable();
        let mut denied = None;
        while left.peek().is_some() {
            let asked: Vec<String> = left.by_ref().take(ASKED_AT_ONCE).collect();
            for (place, about) in asked.iter().zip(ajepa_store::about(&asked)) {
                match about {
                    Ok(about) => far.push(Far::new(place, about)),
                    // Its clip will say so.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {}
                    Err(error) => {
                        let told = io::Error::new(error.kind(), format!("{place}: {error}"));
                        if error.kind() != ErrorKind::PermissionDenied {
                            return Err(told);
                        }
                        denied = denied.or(Some(told));
                    }
                }
            }
        }
        // One that may not be read is its clip's fault; none that may is a matter of credentials.
        if let Some(denied) = denied.filter(|_| far.len() == known.len()) {
            return Err(denied);
        }
        far.sort_unstable();
        self.far = Arc::new(far);
        Ok(())
    }

    /// Whether it knows of no object at all: all is on this machine, or is not there.
    pub fn knows_nothing(&self) -> bool {
        self.far.is_empty()
    }

    fn get(&self, place: &str) -> Option<&Far> {
        find(&self.far, hash(place))
    }

    /// Bytes of an object in a store; 0 where it is not there, `None` for a file of this machine.
    pub fn far_bytes(&self, place: &Path) -> Option<u64> {
        is_url(place).then(|| self.get(&place.to_string_lossy()).map_or(0, |far| far.len))
    }

    /// Feeds the stamp of `path` under `root`.
    pub fn hash(&mut self, root: &Path, path: &str, into: &mut Hasher) {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let stamp = self.stamp(&join(root, path));
            self.last = Some((path.to_owned(), stamp));
        }
        if let Some((_, stamp)) = &self.last {
            into.update(stamp);
        }
    }

    /// Size of what was fed last; 0 where it is not there.
    pub fn size(&self) -> u64 {
        let stamp = self.last.as_ref().map_or([0; 25], |(_, stamp)| *stamp);
        stamp[1..9].iter().rev().fold(0, |size, &byte| size << 8 | u64::from(byte))
    }

    /// All zero where there is no such file.
    fn stamp(&self, place: &Path) -> [u8; 25] {
        if !is_url(place) {
            return std::fs::metadata(place).map_or([0; 25], |metadata| stamp(&metadata));
        }
        let mut stamp = [0; 25];
        if let Some(far) = self.get(&place.to_string_lossy()) {
            stamp[0] = 2;
            stamp[1..9].copy_from_slice(&far.len.to_le_bytes());
            stamp[9..17].copy_from_slice(&far.version.to_le_bytes());
        }
        stamp
    }
}

/// 1, size, nanoseconds since 1970.
fn stamp(metadata: &Metadata) -> [u8; 25] {
    let time_ns = metadata.modified().map_or(0, |time| match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    });
    let mut stamp = [0; 25];
    stamp[0] = 1;
    stamp[1..9].copy_from_slice(&metadata.len().to_le_bytes());
    stamp[9..].copy_from_slice(&time_ns.to_le_bytes());
    stamp
}
