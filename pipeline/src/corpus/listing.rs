//! From a list of clips to a source: order, units, their keys, batches of sixteen.

use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ajepa_ops::seed;
use arrow::array::RecordBatch;
use blake3::Hasher;

use super::condition::Condition;
use crate::stage::{BuildCx, BuildError, Source, StageError, Unit};

/// Rows that a source gives at once: few enough that all workers get work from the first unit on.
const BATCH_ROWS: usize = 16;

/// Clips that are known by number, in one order for ever.
pub trait Listing: Send {
    /// How many clips there are.
    fn n_clips(&self) -> usize;

    /// Feeds all that decides what these clips will be read as: ids, places, columns, size and time of files.
    ///
    /// # Errors
    /// [`StageError`] when a column cannot be put into bytes; a missing file is hashed as missing.
    fn hash(&mut self, clips: &[u32], into: &mut Hasher) -> Result<(), StageError>;

    /// The rows of these clips.
    ///
    /// # Errors
    /// [`StageError`] when the list itself cannot be read.
    fn rows(&mut self, clips: &[u32]) -> Result<RecordBatch, StageError>;

    /// The same without where the audio lies: what a condition may ask.
    ///
    /// # Errors
    /// As [`Listing::rows`].
    fn columns(&mut self, clips: &[u32]) -> Result<RecordBatch, StageError> {
        let rows = self.rows(clips)?;
        let schema = rows.schema();
        let columns: Vec<usize> = (0..schema.fields().len()).filter(|&i| schema.field(i).name() != "media").collect();
        Ok(rows.project(&columns)?)
    }

    /// Another reader of the same clips that costs little; `None` where there is none.
    fn fork(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// Which clips of a list are taken, and in which order.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only those of which it is true.
    pub condition: Option<Condition>,
    /// One permutation of all these, drawn from the run's seed and the stage's id.
    pub shuffle: bool,
    /// At most so many clips, counted after the shuffle.
    pub limit: Option<u64>,
}

/// A [`Source`] over a [`Listing`].
pub struct Listed<L> {
    listing: L,
    order: Arc<[u32]>,
    units: Arc<[Unit]>,
    clips_per_unit: usize,
}

impl<L: Listing> Listed<L> {
    /// Orders the clips, cuts them into units of `cx.clips_per_unit`, and takes the key of each.
    ///
    /// # Errors
    /// [`BuildError`] for more than 2^32 clips, or a column that cannot be hashed.
    pub fn new(mut listing: L, selection: &Selection, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        let too_many =
            |_| BuildError::new("more than 4,294,967,295 clips in one source", "split the list into several sources");
        let n_clips = u32::try_from(listing.n_clips()).map_err(too_many)?;
        let mut order: Vec<u32> = match &selection.condition {
            Some(condition) => condition.choose(&mut listing)?,
            None => (0..n_clips).collect(),
        };
        if selection.shuffle {
            seed::shuffle(&mut seed::rng(seed::derive(&[cx.seed, seed::hash_str(cx.id)])), &mut order);
        }
        if let Some(limit) = selection.limit {
            order.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        let clips_per_unit = cx.clips_per_unit.max(1);
        let mut units = Vec::with_capacity(order.len().div_ceil(clips_per_unit));
        for clips in order.chunks(clips_per_unit) {
            let mut hasher = Hasher::new();
            let unhashable =
                |error: StageError| BuildError::new(error.to_string(), "leave that column out of the list");
            listing.hash(clips, &mut hasher).map_err(unhashable)?;
            units.push(Unit::new(clips.len() as u64, &hasher));
        }
        Ok(Self { listing, order: order.into(), units: units.into(), clips_per_unit })
    }
}

impl<L: Listing + 'static> Source for Listed<L> {
    fn units(&self) -> &[Unit] {
        &self.units
    }

    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let no_such = || StageError::Other(format!("there is no unit {unit} of {}", self.units.len()));
        let clips = self.order.chunks(self.clips_per_unit).nth(unit).ok_or_else(no_such)?;
        for batch in clips.chunks(BATCH_ROWS) {
            emit(self.listing.rows(batch)?)?;
        }
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Source>> {
        let (order, units, clips_per_unit) = (self.order.clone(), self.units.clone(), self.clips_per_unit);
        Some(Box::new(Self { listing: self.listing.fork()?, order, units, clips_per_unit }))
    }
}

/// Size and time of files as hash input; the last file is remembered, for windows of one recording follow each other.
///
/// An edit that keeps both the size and the time of last change (to the nanosecond) is not seen.
#[derive(Debug, Clone, Default)]
pub struct Stamps {
    last: Option<(String, [u8; 25])>,
}

impl Stamps {
    /// Feeds the stamp of `path`, joined to `root`.
    pub fn hash(&mut self, root: &Path, path: &str, into: &mut Hasher) {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let stamp = std::fs::metadata(root.join(path)).map_or([0; 25], |metadata| stamp(&metadata));
            self.last = Some((path.to_owned(), stamp));
        }
        if let Some((_, stamp)) = &self.last {
            into.update(stamp);
        }
    }
}

/// 1, size, nanoseconds since 1970. All zero is the stamp of a file that is not there.
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
