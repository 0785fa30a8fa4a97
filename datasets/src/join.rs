//! From what is wanted and what is held to a manifest.

mod matching;
mod place;

use std::collections::BTreeMap;
use std::path::PathBuf;

use polars::prelude::*;
use serde::Serialize;

use crate::error::DatasetError;
use crate::groups::Groups;
use crate::manifest::{MISSING, Manifest};
use crate::names::Source;
use crate::near::{NearConfig, unite_alike};
use crate::scan::{OK, Scan, UNCHECKED};
use crate::wanted::Wanted;
use matching::{Match, Matches};
use place::{Place, place_of};

/// Statuses of a scan that are told as they are; every other one is a reason for `corrupt`.
const TOLD: [&str; 5] = [OK, UNCHECKED, MISSING, "silent", "too_short"];
const CORRUPT: &str = "corrupt";
/// Files that nobody wanted, of which the first so many are named.
const NAMED: usize = 5;

/// How wanted and held rows come together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JoinConfig {
    /// The corpus' folder, which is taken off the sources of the scan. Active only for [`crate::NameRule::Path`].
    pub root: Option<PathBuf>,
    /// A clip that is shorter is `too_short`, in seconds: 0 or more. Default: 0, for the scan has judged the files.
    pub min_duration_s: f64,
    /// When two clips are near duplicates; `None` does not look for any. Default: `None`.
    pub near: Option<NearConfig>,
}

/// What became of the files that are held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Rows of the scan.
    pub files: usize,
    /// Files that a wanted clip was found in.
    pub matched: usize,
    /// Files of a clip for which another one was taken: first what decodes, then what comes first.
    pub again: usize,
    /// Files of a wanted recording, but named after another start than the one wanted.
    pub other_start: usize,
    /// Files that nobody wanted.
    pub unwanted: usize,
    /// The first of these.
    pub unwanted_first: Vec<String>,
}

/// A manifest, and what became of the files.
#[derive(Debug, Clone)]
pub struct Joined {
    /// A row per wanted clip, in their order.
    pub manifest: Manifest,
    /// What became of the files.
    pub held: Held,
}

/// Finds every wanted clip among what is held.
///
/// A file that is named without a start and is longer than the segment is taken for the whole recording, in which the
/// clip lies where the publisher says; every other file is the clip. Two clips with one content hash are duplicates,
/// unless they are different parts of one recording.
///
/// # Errors
/// [`DatasetError`] when an argument has no meaning, or a table has not the columns it should have.
pub fn join(wanted: &Wanted, scan: &Scan, config: &JoinConfig) -> Result<Joined, DatasetError> {
    if !(config.min_duration_s >= 0.0 && config.min_duration_s.is_finite()) {
        return Err(DatasetError::argument("min_duration_s", config.min_duration_s, "0 or more seconds"));
    }
    let matches = matching::find(wanted, scan, config.root.as_deref())?;
    let rows = Rows::of(wanted, scan, &matches, config)?;
    let mut columns = rows.columns(wanted, scan)?;
    let statuses = columns.iter().find(|column| column.name() == "status").map(|column| column.str().cloned());
    let statuses = statuses.transpose()?.unwrap_or_default();
    let splits = wanted.frame.column("split")?.str()?;
    let (exact, near) = duplicates(scan, &rows, (&statuses, splits), config.near.as_ref())?;
    let clip_id = wanted.frame.column("clip_id")?.str()?;
    let at = columns.iter().position(|column| column.name() == "status").unwrap_or(columns.len());
    let kept_of = |name: &str, kept: &[Option<u32>]| {
        let ids = kept.iter().map(|kept| kept.and_then(|kept| clip_id.get(kept as usize)));
        StringChunked::from_iter_options(name.into(), ids).into_column()
    };
    columns.insert(at, kept_of("near_duplicate_of", &near));
    columns.insert(at, kept_of("duplicate_of", &exact));
    let manifest = Manifest::of(DataFrame::new(wanted.frame.height(), columns)?)?;
    Ok(Joined { manifest, held: held(scan, &matches)? })
}

/// For each wanted row what was found for it.
struct Rows {
    /// The row of the scan.
    found: IdxCa,
    places: Vec<Option<Place>>,
    detail: Vec<Option<String>>,
}

impl Rows {
    fn of(wanted: &Wanted, scan: &Scan, matches: &Matches, config: &JoinConfig) -> Result<Self, DatasetError> {
        let start_s = wanted.frame.column("start_s")?.f64()?;
        let length_s = wanted.frame.column("duration_s")?.f64()?;
        let held_s = scan.frame().column("duration_s")?.f64()?;
        let offset_s = scan.frame().column("offset_s")?.f64()?;
        let mut rows = Self { found: IdxCa::default(), places: Vec::new(), detail: Vec::new() };
        let mut details: BTreeMap<usize, String> = BTreeMap::new();
        for &(row, held) in &matches.other_start {
            let source = scan.texts("source")?.get(held).unwrap_or_default();
            details.entry(row).or_insert_with(|| format!("held with another start: {source}"));
        }
        for (row, found) in matches.of_wanted.iter().enumerate() {
            let place = found.map(|Match { row: held, named_start }| {
                let segment = start_s.get(row).zip(length_s.get(row));
                let offset_s = offset_s.get(held as usize).unwrap_or(0.0);
                place_of(segment, named_start, offset_s, held_s.get(held as usize), config.min_duration_s)
            });
            rows.places.push(place);
            rows.detail.push(if found.is_none() { details.remove(&row) } else { None });
        }
        rows.found = matches.of_wanted.iter().map(|found| found.map(|found| found.row)).collect();
        Ok(rows)
    }

    fn columns(&self, wanted: &Wanted, scan: &Scan) -> Result<Vec<Column>, DatasetError> {
        let of_wanted = |name: &str| wanted.frame.column(name).cloned();
        let of_scan = |name: &str| scan.frame().column(name)?.take(&self.found);
        let mut columns = vec![of_wanted("clip_id")?];
        columns.extend(sources(scan.texts("source")?, &self.found));
        columns.extend(self.times(wanted)?);
        for name in ["rate_hz", "channels", "codec"] {
            columns.push(of_scan(name)?);
        }
        for name in ["labels", "label_names", "split", "group"] {
            columns.push(of_wanted(name)?);
        }
        for name in ["content_hash", "content_bytes", "peak_db", "rms_db"] {
            columns.push(of_scan(name)?);
        }
        columns.extend(self.verdicts(scan)?);
        for name in scan.extra() {
            if columns.iter().all(|column| column.name() != name.as_str()) {
                columns.push(of_scan(&name)?);
            }
        }
        Ok(columns)
    }

    /// `start_s` and `duration_s`: in the file, or in the publisher's recording for what is missing.
    fn times(&self, wanted: &Wanted) -> PolarsResult<[Column; 2]> {
        let wanted_start = wanted.frame.column("start_s")?.f64()?;
        let wanted_length = wanted.frame.column("duration_s")?.f64()?;
        let start = self.places.iter().zip(wanted_start.iter()).map(|(place, wanted)| match place {
            Some(place) => Some(place.start_s),
            None => wanted,
        });
        let length = self.places.iter().zip(wanted_length.iter()).map(|(place, wanted)| match place {
            Some(place) => place.duration_s,
            None => wanted,
        });
        Ok([
            Float64Chunked::from_iter_options("start_s".into(), start).into_column(),
            Float64Chunked::from_iter_options("duration_s".into(), length).into_column(),
        ])
    }

    /// `status`, `reason` and `detail`.
    fn verdicts(&self, scan: &Scan) -> Result<[Column; 3], DatasetError> {
        let n_rows = self.places.len();
        let (statuses, details) = (scan.texts("status")?, scan.texts("detail")?);
        let mut status = StringChunkedBuilder::new("status".into(), n_rows);
        let mut reason = StringChunkedBuilder::new("reason".into(), n_rows);
        let mut detail = StringChunkedBuilder::new("detail".into(), n_rows);
        for ((found, place), own) in self.found.iter().zip(&self.places).zip(&self.detail) {
            let Some(held) = found.map(|held| held as usize) else {
                status.append_value(MISSING);
                reason.append_value(if own.is_some() { "other_start" } else { "not_held" });
                detail.append_option(own.as_deref());
                continue;
            };
            let code = statuses.get(held).unwrap_or(CORRUPT);
            let short = place.as_ref().and_then(|place| place.fault.as_deref());
            if let Some(words) = short.filter(|_| code == OK || code == UNCHECKED) {
                status.append_value("too_short");
                reason.append_value("too_short");
                detail.append_value(words);
            } else {
                status.append_value(if TOLD.contains(&code) { code } else { CORRUPT });
                reason.append_option(Some(code).filter(|code| *code != OK && *code != UNCHECKED));
                detail.append_option(details.get(held));
            }
        }
        Ok([status.finish().into_column(), reason.finish().into_column(), detail.finish().into_column()])
    }
}

/// `path`, `member` and `row`.
fn sources(source: &StringChunked, found: &IdxCa) -> [Column; 3] {
    let mut path = StringChunkedBuilder::new("path".into(), found.len());
    let mut member = StringChunkedBuilder::new("member".into(), found.len());
    let mut row = PrimitiveChunkedBuilder::<UInt64Type>::new("row".into(), found.len());
    for held in found.iter() {
        let source = held.and_then(|held| source.get(held as usize)).map(Source::of);
        path.append_option(source.map(|source| source.path));
        member.append_option(source.and_then(|source| source.member));
        row.append_option(source.and_then(|source| source.row));
    }
    [path.finish().into_column(), member.finish().into_column(), row.finish().into_column()]
}

/// For each row the one of the same kind that is kept; nothing for those that are.
type Kept = Vec<Option<u32>>;

/// For each row the one of its group that is kept: the first that is in no training split, or the first of all. Whoever leaves
/// copies out must not lose what others measure on.
fn kept(groups: &mut Groups, is_training: &[bool]) -> Vec<u32> {
    let firsts: Vec<u32> = (0..is_training.len() as u32).map(|row| groups.first(row)).collect();
    let mut kept = firsts.clone();
    for (row, &first) in firsts.iter().enumerate() {
        let of_group = &mut kept[first as usize];
        if is_training[*of_group as usize] && !is_training[row] {
            *of_group = row as u32;
        }
    }
    firsts.into_iter().map(|first| kept[first as usize]).collect()
}

fn duplicates(
    scan: &Scan,
    rows: &Rows,
    (statuses, splits): (&StringChunked, &StringChunked),
    near: Option<&NearConfig>,
) -> Result<(Kept, Kept), DatasetError> {
    let n_rows = rows.places.len();
    let hashes = scan.frame().column("content_hash")?.binary()?;
    // Unusable clips are no duplicates: silence is like silence.
    let usable: Vec<Option<usize>> = rows
        .found
        .iter()
        .zip(statuses.iter())
        .map(|(held, status)| held.map(|held| held as usize).filter(|_| matches!(status, Some(OK | UNCHECKED))))
        .collect();
    // `train`, `balanced_train`, `unbalanced_train`.
    let is_training: Vec<bool> = splits.iter().map(|split| split.is_some_and(|name| name.contains("train"))).collect();
    let mut exact = Groups::new(n_rows);
    exact.unite_equal(usable.iter().zip(&rows.places).map(|(held, place)| {
        // Two segments of one recording have its hash, and are different clips.
        let start_s = place.as_ref()?.start_s.to_bits();
        Some((hashes.get((*held)?)?, start_s))
    }));
    let same = kept(&mut exact, &is_training);
    let of_same = same.iter().zip(0..).map(|(&kept, row)| Some(kept).filter(|kept| *kept != row)).collect();
    let Some(config) = near else { return Ok((of_same, vec![None; n_rows])) };
    let prints = Fingerprints::of(scan)?;
    let seen: Vec<&[u32]> = usable
        .iter()
        .enumerate()
        .map(|(row, held)| {
            // A part of a recording is not what the recording's fingerprint is of; a copy is looked up once.
            let is_whole = rows.places[row].as_ref().is_some_and(|place| place.whole);
            held.filter(|_| is_whole && same[row] == row as u32).map_or(&[][..], |held| prints.row(held))
        })
        .collect();
    let mut alike = Groups::new(n_rows);
    unite_alike(&seen, config, &mut alike)?;
    let like = kept(&mut alike, &is_training);
    // A copy sounds like whatever the one of its samples sounds like, where that is another clip.
    let of_like = same.iter().map(|&same| Some(like[same as usize]).filter(|like| *like != same)).collect();
    Ok((of_same, of_like))
}

/// The fingerprints of a scan, as they lie in it.
struct Fingerprints {
    values: Vec<u32>,
    offsets: Vec<usize>,
}

impl Fingerprints {
    fn of(scan: &Scan) -> PolarsResult<Self> {
        let lists = scan.frame().column("fingerprint")?.list()?.rechunk().into_owned();
        let offsets = lists.downcast_as_array().offsets().iter().map(|&offset| offset as usize).collect();
        let values = lists.get_inner().u32()?.iter().map(Option::unwrap_or_default).collect();
        Ok(Self { values, offsets })
    }

    fn row(&self, row: usize) -> &[u32] {
        &self.values[self.offsets[row]..self.offsets[row + 1]]
    }
}

fn held(scan: &Scan, matches: &Matches) -> Result<Held, DatasetError> {
    let source = scan.texts("source")?;
    let first = matches.unwanted.iter().take(NAMED).filter_map(|&row| source.get(row)).map(str::to_owned).collect();
    let mut other_start: Vec<usize> = matches.other_start.iter().map(|&(_, held)| held).collect();
    other_start.dedup();
    Ok(Held {
        files: scan.n_rows(),
        matched: scan.n_rows() - matches.again - other_start.len() - matches.unwanted.len(),
        again: matches.again,
        other_start: other_start.len(),
        unwanted: matches.unwanted.len(),
        unwanted_first: first,
    })
}

#[cfg(test)]
mod tests;
