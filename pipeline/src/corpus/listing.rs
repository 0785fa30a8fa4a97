//! From a list of clips to a source: order, units, their keys, batches of sixteen.

use std::sync::Arc;

use ajepa_ops::seed;
use arrow::array::{AsArray, RecordBatch};
use blake3::Hasher;

use super::ahead::{Ahead, batches};
use super::condition::Condition;
use crate::stage::{BuildCx, BuildError, Source, StageError, Unit};

/// Clips that are known by number, in one order for ever.
pub trait Listing: Send {
    /// How many clips there are.
    fn n_clips(&self) -> usize;

    /// Finds out what is to be known of these clips before they are hashed: sizes of objects in stores.
    ///
    /// # Errors
    /// When a store cannot be reached.
    fn prepare(&mut self, clips: &[u32]) -> std::io::Result<()> {
        let _ = clips;
        Ok(())
    }

    /// Bytes of a clip that have to be fetched from an object store; `None` where it lies on this machine.
    fn far_bytes(&self, clip: u32) -> Option<u64> {
        let _ = clip;
        None
    }

    /// Feeds all that decides what these clips will be read as: ids, places, columns, size and time of files. Gives the seconds of audio
    /// that they are, as far as the list or sizes of files tell.
    ///
    /// # Errors
    /// [`StageError`] when a column cannot be put into bytes; a missing file is hashed as missing.
    fn hash(&mut self, clips: &[u32], into: &mut Hasher) -> Result<f64, StageError>;

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
    /// Of each unit.
    seconds: Arc<[f64]>,
    clips_per_unit: usize,
    /// Encoded bytes that may be fetched ahead.
    ahead_bytes: u64,
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
        let unreachable = |error: std::io::Error| {
            BuildError::new(error.to_string(), "check the address, the credentials and the network")
        };
        listing.prepare(&order).map_err(unreachable)?;
        let clips_per_unit = cx.clips_per_unit.max(1);
        let mut units = Vec::with_capacity(order.len().div_ceil(clips_per_unit));
        let mut seconds = Vec::with_capacity(units.capacity());
        for clips in order.chunks(clips_per_unit) {
            let mut hasher = Hasher::new();
            let unhashable =
                |error: StageError| BuildError::new(error.to_string(), "leave that column out of the list");
            seconds.push(listing.hash(clips, &mut hasher).map_err(unhashable)?);
            units.push(Unit::new(clips.len() as u64, &hasher));
        }
        let (order, units, seconds) = (order.into(), units.into(), seconds.into());
        Ok(Self { listing, order, units, seconds, clips_per_unit, ahead_bytes: cx.clip_cap_bytes })
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
        let far_bytes = |listing: &L, clip: u32| listing.far_bytes(clip).unwrap_or(0);
        let mut ahead = Ahead::default();
        for batch in batches(clips, &|clip| far_bytes(&self.listing, clip)) {
            let sizes: Vec<u64> = batch.iter().map(|&clip| far_bytes(&self.listing, clip)).collect();
            while ahead.is_full(sizes.iter().sum(), self.ahead_bytes) {
                ahead.pop()?.map_or(Ok(()), &mut *emit)?;
            }
            ahead.push(self.listing.rows(batch)?, &sizes);
        }
        while let Some(rows) = ahead.pop()? {
            emit(rows)?;
        }
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Source>> {
        let (order, units, seconds) = (self.order.clone(), self.units.clone(), self.seconds.clone());
        let Self { clips_per_unit, ahead_bytes, .. } = *self;
        Some(Box::new(Self { listing: self.listing.fork()?, order, units, seconds, clips_per_unit, ahead_bytes }))
    }

    fn names(&mut self, unit: usize, first: usize, n: usize) -> Vec<String> {
        let clips: Vec<u32> = self.order.iter().copied().skip(unit * self.clips_per_unit + first).take(n).collect();
        let left = self.units.get(unit).map_or(0, |unit| unit.n_clips as usize).saturating_sub(first);
        let rows = self.listing.columns(&clips[..clips.len().min(left)]).ok();
        let ids = rows.as_ref().and_then(|rows| rows.column_by_name("clip_id")?.as_string_opt::<i32>());
        ids.into_iter().flatten().flatten().map(str::to_owned).collect()
    }

    fn seconds(&self, unit: usize) -> f64 {
        self.seconds[unit]
    }
}
