//! Clips inside Parquet files: encoded audio in a column, read page by page when its unit is read.

mod chunks;
mod columns;
mod file;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use arrow::array::{Array, RecordBatch, StringArray};
use blake3::Hasher;

use super::clip_table::first_repeated;
use super::stamps::Stamps;
use crate::stage::{BuildError, Source, StageError, Unit};
use columns::Roles;
use file::{AudioFile, Rows};

pub use columns::{ParquetColumns, has_audio};

/// Clips of one list: as many as any source may have.
const MAX_CLIPS: u64 = u32::MAX as u64;

/// A [`Source`] over the rows of Parquet files, in their order.
pub struct ParquetClips {
    files: Vec<AudioFile>,
    roles: Roles,
    /// Names of all clips, where a column has them.
    ids: Option<StringArray>,
    /// First row of each unit over all files, and the end of the last.
    bounds: Vec<u64>,
    units: Vec<Unit>,
}

impl ParquetClips {
    /// Reads the footers of `files`, and the names of the clips where a column has them.
    ///
    /// # Errors
    /// [`BuildError`] for a file that is no Parquet, has no column of audio, or other columns than the first; for names
    /// that are null or come twice.
    pub fn open(
        paths: Vec<PathBuf>,
        columns: &ParquetColumns,
        limit: Option<u64>,
        clips_per_unit: usize,
    ) -> Result<Self, BuildError> {
        let files = paths.into_iter().map(AudioFile::open).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = files.first() else {
            return Err(BuildError::new("no Parquet file is named", "name one or more"));
        };
        let roles = Roles::new(&first.shown(), first.schema(), columns)?;
        for file in &files[1..] {
            roles.fit(&file.shown(), file.schema())?;
        }
        let n_rows = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.n_rows()));
        let n_clips = limit.unwrap_or(u64::MAX).min(n_rows);
        if n_clips == 0 || n_clips > MAX_CLIPS {
            let problem = format!("{}: {n_clips} rows", first.shown());
            return Err(BuildError::new(problem, format!("1 to {MAX_CLIPS} clips are read at once")));
        }
        let ids = roles.id().map(|name| ids(&files, name, n_clips as usize)).transpose()?;
        let mut bounds: Vec<u64> = (0..n_clips).step_by(clips_per_unit.max(1)).collect();
        bounds.push(n_clips);
        let mut clips = Self { files, roles, ids, bounds, units: Vec::new() };
        clips.units = clips.keys()?;
        Ok(clips)
    }

    fn keys(&self) -> Result<Vec<Unit>, BuildError> {
        let mut stamps = Stamps::default();
        let places = self.files.iter().map(|file| PathBuf::from(file.shown()));
        let learnt = stamps.learn(&places);
        learnt.map_err(|e| BuildError::new(e.to_string(), "check the address, the credentials and the network"))?;
        let key = |bounds: &[u64]| {
            let mut hasher = Hasher::new();
            for (file, start, n) in self.pieces(bounds[0], bounds[1]) {
                let file = &self.files[file];
                let name = file.name();
                hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
                hasher.update(&start.to_le_bytes()).update(&n.to_le_bytes());
                stamps.hash(std::path::Path::new(""), &file.shown(), &mut hasher);
            }
            Unit::new(bounds[1] - bounds[0], &hasher)
        };
        Ok(self.bounds.windows(2).map(key).collect())
    }

    /// The rows `start..end` over all files as (file, first row in it, number of rows).
    fn pieces(&self, start: u64, end: u64) -> Vec<(usize, u64, u64)> {
        let (mut pieces, mut before) = (Vec::new(), 0);
        for (number, file) in self.files.iter().enumerate() {
            let (from, to) = (start.max(before), end.min(before + file.n_rows()));
            if from < to {
                pieces.push((number, from - before, to - from));
            }
            before += file.n_rows();
        }
        pieces
    }
}

/// All names, of which no two are alike.
fn ids(files: &[AudioFile], name: &str, n_clips: usize) -> Result<StringArray, BuildError> {
    let mut ids: Vec<Option<String>> = Vec::new();
    for file in files {
        if ids.len() < n_clips {
            file.texts(name, n_clips - ids.len(), &mut ids)?;
        }
    }
    let ids = StringArray::from(ids);
    let help = "name another column: columns: { clip_id: NAME }; without one, clips are named by file and row";
    if let Some(row) = (0..ids.len()).find(|&row| ids.is_null(row) || ids.value(row).is_empty()) {
        return Err(BuildError::new(format!("row {row} has no {name}"), help));
    }
    if let Some((first, again)) = first_repeated(&ids) {
        let problem = format!("rows {first} and {again} have one {name}, {:?}", ids.value(again));
        return Err(BuildError::new(problem, help));
    }
    Ok(ids)
}

impl Source for ParquetClips {
    fn units(&self) -> &[Unit] {
        &self.units
    }

    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let no_such = || StageError::Other(format!("there is no unit {unit} of {}", self.units.len()));
        let bounds = self.bounds.get(unit..unit + 2).ok_or_else(no_such)?;
        let mut first = bounds[0];
        for (file, start, n) in self.pieces(bounds[0], bounds[1]) {
            let ids = self.ids.as_ref().map(|ids| ids.slice(first as usize, n as usize));
            let rows = Rows { roles: &self.roles, ids, start, n };
            self.files[file].read(&rows, emit)?;
            first += n;
        }
        Ok(())
    }
}
