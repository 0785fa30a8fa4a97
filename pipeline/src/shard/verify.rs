//! Every checksum of a shard set in one pass, and the clips that damage touches.

use std::fmt;
use std::io::Read;
use std::path::Path;

use ajepa_store::{Checksums, Opened};
use arrow::array::{Array, AsArray, RecordBatch};
use serde::{Deserialize, Serialize};

use super::decode::{column_buffers, read_batch};
use super::error::ShardError;
use super::manifest::{Manifest, PartInfo};
use super::map::Access;
use super::reader::{Part, ReadOptions, ShardSet};

/// Clips that a line about damage names; the report has them all.
const SHOWN_CLIPS: usize = 20;

/// What [`verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Parts looked at.
    pub parts: u64,
    /// Rows they should have.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damaged parts; none when the set is whole.
    pub damaged: Vec<Damage>,
}

/// One damaged part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// File name.
    pub part: String,
    /// Number of its unit: what to do again.
    pub unit: u64,
    /// What is wrong, in a clause.
    pub problem: String,
    /// First and last-plus-one byte of each damaged page.
    pub pages: Vec<(u64, u64)>,
    /// First and last-plus-one row of the part, of each range that may be damaged.
    pub rows: Vec<(u64, u64)>,
    /// `clip_id` of these rows, as far as they can still be read.
    pub clip_ids: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty()
    }
}

impl fmt::Display for Damage {
    /// `part-00003.arrow (unit 3): 1 of 9 pages are damaged; rows 86..172: a, b, c and 83 more`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.rows.iter().map(|(first, end)| format!("{first}..{end}")).collect();
        write!(f, "{} (unit {}): {}; rows {}", self.part, self.unit, self.problem, ranges.join(", "))?;
        let shown = self.clip_ids.len().min(SHOWN_CLIPS);
        if shown > 0 {
            write!(f, ": {}", self.clip_ids[..shown].join(", "))?;
        }
        match self.clip_ids.len() - shown {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Reads every byte of the set in `dir` once and compares it with its checksum; decodes every batch of whole parts too.
///
/// # Errors
/// Only when there is no readable manifest: damage of parts is in the report.
pub fn verify(dir: impl AsRef<Path>) -> Result<VerifyReport, ShardError> {
    let dir = dir.as_ref();
    let manifest = Manifest::read(dir)?;
    let mut report = VerifyReport { rows: manifest.rows, ..VerifyReport::default() };
    // Without checksums: `read_pages` has taken them, and what is left of a damaged part is wanted all the same.
    let options = ReadOptions { verify: false, access: Access::Copied, max_open: 1 };
    let set = ShardSet::open_with(dir, options)?;
    for (number, info) in manifest.parts.iter().enumerate() {
        report.parts += 1;
        match read_pages(dir, info, manifest.page_bytes, &mut report.bytes) {
            Ok(bad) if bad.is_empty() => report.damaged.extend(undecodable(&set, number)),
            Ok(bad) => report.damaged.push(damage(&set, number, bad)),
            Err(problem) => report.damaged.push(whole_part(info, problem)),
        }
    }
    Ok(report)
}

/// Ranges of the pages that do not have their checksum.
fn read_pages(dir: &Path, info: &PartInfo, page_bytes: u64, n_read: &mut u64) -> Result<Vec<(u64, u64)>, String> {
    let opened = ajepa_store::open(&dir.join(&info.file)).map_err(|error| error.to_string())?;
    let Opened { len, reader: mut file } = opened;
    if len != info.bytes {
        return Err(format!("{len} bytes instead of {}", info.bytes));
    }
    let mut page = vec![0; page_bytes as usize];
    let mut bad = Vec::new();
    for (number, expected) in info.pages.0.iter().enumerate() {
        let start = number as u64 * page_bytes;
        let page = &mut page[..(info.bytes - start).min(page_bytes) as usize];
        let end = start + page.len() as u64;
        match file.read_exact(page) {
            Ok(()) if Checksums::of(page) == *expected => {}
            Ok(()) => bad.push((start, end)),
            Err(error) => return Err(format!("bytes {start}..{end}: {error}")),
        }
        *n_read += page.len() as u64;
    }
    Ok(bad)
}

/// A part whose checksums are right and which is malformed all the same.
fn undecodable(set: &ShardSet, number: usize) -> Option<Damage> {
    let failed = match set.part(number) {
        Ok(part) => part.batches().find_map(Result::err),
        Err(error) => Some(error),
    };
    failed.map(|error| whole_part(&set.parts()[number], error.to_string()))
}

fn whole_part(info: &PartInfo, problem: String) -> Damage {
    Damage {
        part: info.file.clone(),
        unit: info.unit,
        problem,
        pages: Vec::new(),
        rows: vec![(0, info.rows)],
        clip_ids: Vec::new(),
    }
}

fn damage(set: &ShardSet, number: usize, pages: Vec<(u64, u64)>) -> Damage {
    let info = &set.parts()[number];
    let problem = format!("{} of {} pages are damaged", pages.len(), info.pages.0.len());
    let mut damage = Damage { rows: Vec::new(), pages, ..whole_part(info, problem) };
    match set.part(number) {
        Ok(part) => {
            for batch in 0..part.n_batches() {
                damage_in_batch(&part, batch, &mut damage);
            }
        }
        // The footer is hit: which rows are behind the damage cannot be known.
        Err(_) => damage.rows.push((0, info.rows)),
    }
    damage
}

fn damage_in_batch(part: &Part, batch: usize, damage: &mut Damage) {
    let info = part.info();
    let first_row = batch as u64 * info.batch_rows;
    let n_rows = info.rows_of_batch(batch as u64);
    let Ok((block, bytes)) = part.block(batch) else { return };
    let pages = damage.pages.clone();
    let hit = |start: u64, end: u64| {
        let within = |(a, b): &(u64, u64)| (start.max(*a) < end.min(*b)).then(|| (start.max(*a), end.min(*b)));
        pages.iter().filter_map(within).collect::<Vec<_>>()
    };
    if hit(block.start, block.end()).is_empty() {
        return;
    }
    let columns = column_buffers(&part.schema(), &block, &bytes, n_rows);
    let decoded = read_batch(&info.file, &part.schema(), &block, &bytes, n_rows, false);
    let (Ok(columns), Ok(rows)) = (columns, decoded) else {
        damage.rows.push((first_row, first_row + n_rows));
        return;
    };
    // The one large column, whose bytes tell which rows are hit; damage anywhere else may be in any row.
    let widest = (0..columns.len()).max_by_key(|i| columns[*i].1 - columns[*i].0).unwrap_or(0);
    let (wide_start, wide_end) = columns.get(widest).map_or((0, 0), |(a, b)| (block.start + a, block.start + b));
    let row_bytes = row_bytes(&rows, widest).filter(|bytes| *bytes * n_rows == wide_end - wide_start);
    let elsewhere = !hit(block.start, wide_start).is_empty() || !hit(wide_end, block.end()).is_empty();
    let ranges = match row_bytes {
        Some(row_bytes) if !elsewhere => hit(wide_start, wide_end)
            .into_iter()
            .map(|(start, end)| ((start - wide_start) / row_bytes, (end - wide_start).div_ceil(row_bytes).min(n_rows)))
            .collect(),
        _ => vec![(0, n_rows)],
    };
    for (start, end) in ranges {
        damage.rows.push((first_row + start, first_row + end));
        damage.clip_ids.extend(clip_ids(&rows, start as usize, end as usize));
    }
}

/// Bytes of one row of a tensor column without padding between rows.
fn row_bytes(rows: &RecordBatch, column: usize) -> Option<u64> {
    let list = rows.columns().get(column)?.as_fixed_size_list_opt()?;
    let width = list.values().data_type().primitive_width()?;
    Some(list.value_length() as u64 * width as u64).filter(|bytes| *bytes > 0)
}

fn clip_ids(rows: &RecordBatch, start: usize, end: usize) -> Vec<String> {
    let Some(ids) = rows.column_by_name("clip_id").and_then(|column| column.as_string_opt::<i32>()) else {
        return Vec::new();
    };
    (start..end.min(ids.len())).filter(|i| ids.is_valid(*i)).map(|i| ids.value(i).to_owned()).collect()
}
