//! Which held file is which wanted clip.

use std::path::Path;

use polars::prelude::*;

use crate::error::DatasetError;
use crate::index::TextIndex;
use crate::names::{NameRule, Source, last_part, stem, youtube};
use crate::scan::{OK, Scan, UNCHECKED};
use crate::wanted::Wanted;

/// The row of a scan that a wanted clip is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub row: IdxSize,
    /// Whether the file's name says the start, so that it holds the segment and not the recording.
    pub named_start: bool,
}

#[derive(Debug, Default)]
pub(super) struct Matches {
    /// For each wanted row.
    pub of_wanted: Vec<Option<Match>>,
    /// Rows of the scan for whose clip another file was taken.
    pub again: usize,
    /// A wanted row, and a row of the scan that is of its recording but names another start.
    pub other_start: Vec<(usize, usize)>,
    /// Rows of the scan that nobody wanted.
    pub unwanted: Vec<usize>,
}

pub(super) fn find(wanted: &Wanted, scan: &Scan, root: Option<&Path>) -> Result<Matches, DatasetError> {
    let keys = wanted.frame.column("key")?.str()?;
    let finder = Finder {
        index: Index::of(keys),
        start_s: wanted.frame.column("start_s")?.f64()?,
        rule: wanted.rule,
        root: root.map(|root| format!("{}/", root.to_string_lossy().trim_end_matches('/'))),
    };
    let (source, clip_id, status) = (scan.texts("source")?, scan.texts("clip_id")?, scan.texts("status")?);
    let mut matches = Matches { of_wanted: vec![None; keys.len()], ..Matches::default() };
    // Whether what was taken decodes.
    let mut sound = vec![false; keys.len()];
    let mut taken: Vec<bool> = vec![false; scan.n_rows()];
    let mut replaced: Vec<usize> = Vec::new();
    for (row, source) in source.iter().enumerate() {
        let source = source.unwrap_or_default();
        let decodes = matches!(status.get(row), Some(OK | UNCHECKED));
        match finder.look_up(source, clip_id.get(row)) {
            Found::Rows(rows, named_start) => {
                let mut used = false;
                for &wanted in rows.as_slice() {
                    let before = matches.of_wanted[wanted];
                    if before.is_none() || (decodes && !sound[wanted]) {
                        replaced.extend(before.map(|before| before.row as usize));
                        matches.of_wanted[wanted] = Some(Match { row: row as IdxSize, named_start });
                        sound[wanted] = decodes;
                        used = true;
                    }
                }
                taken[row] = used;
                matches.again += usize::from(!used);
            }
            Found::OtherStart(wanted) => matches.other_start.push((wanted, row)),
            Found::Nothing => matches.unwanted.push(row),
        }
    }
    replaced.sort_unstable();
    replaced.dedup();
    // A recording may still be that of another segment.
    let kept: PlHashSet<IdxSize> = if replaced.is_empty() {
        PlHashSet::default()
    } else {
        matches.of_wanted.iter().flatten().map(|found| found.row).collect()
    };
    matches.again += replaced.iter().filter(|&&row| taken[row] && !kept.contains(&(row as IdxSize))).count();
    Ok(matches)
}

/// Rows by key. Nearly every key has one row; the others of those that have more stand aside.
struct Index<'a> {
    keys: &'a StringChunked,
    first: TextIndex,
    all: PlHashMap<&'a str, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn of(keys: &'a StringChunked) -> Self {
        let mut index = Self { keys, first: TextIndex::with_capacity(keys.len()), all: PlHashMap::default() };
        for (row, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            if let Some(first) = index.first.insert(row as IdxSize, key_of(keys)) {
                index.all.entry(key).or_insert_with(|| vec![first as usize]).push(row);
            }
        }
        index
    }

    fn get(&self, key: &str) -> Option<RowsOf<'_>> {
        let first = self.first.get(key, key_of(self.keys))?;
        if self.all.is_empty() {
            return Some(RowsOf::One([first as usize]));
        }
        Some(self.all.get(key).map_or(RowsOf::One([first as usize]), |rows| RowsOf::Many(rows)))
    }
}

fn key_of<'a>(keys: &'a StringChunked) -> impl Fn(IdxSize) -> &'a str {
    |row| keys.get(row as usize).unwrap_or_default()
}

enum RowsOf<'a> {
    One([usize; 1]),
    Many(&'a [usize]),
}

impl RowsOf<'_> {
    fn as_slice(&self) -> &[usize] {
        match self {
            Self::One(row) => row,
            Self::Many(rows) => rows,
        }
    }
}

enum Found<'a> {
    /// These rows, and whether the name says their start.
    Rows(RowsOf<'a>, bool),
    /// The recording of this row, under another start.
    OtherStart(usize),
    Nothing,
}

struct Finder<'a> {
    index: Index<'a>,
    start_s: &'a Float64Chunked,
    rule: NameRule,
    root: Option<String>,
}

impl Finder<'_> {
    fn look_up(&self, source: &str, clip_id: Option<&str>) -> Found<'_> {
        let parts = Source::of(source);
        // A row of a table has no file's name; its clip has one.
        let name = match (parts.row, clip_id) {
            (Some(_), Some(clip_id)) => last_part(clip_id),
            _ => parts.file_name(),
        };
        let rows = match self.rule {
            NameRule::YouTube => return self.youtube(stem(name)),
            NameRule::Stem => self.index.get(stem(name)),
            NameRule::Path => {
                let root = self.root.as_deref().unwrap_or_default();
                self.index.get(source.strip_prefix(root).unwrap_or(source))
            }
            NameRule::Member => {
                let member = parts.member.map(|member| format!("{}!{member}", last_part(parts.path)));
                member.and_then(|key| self.index.get(&key))
            }
        };
        rows.map_or(Found::Nothing, |rows| Found::Rows(rows, false))
    }

    fn youtube(&self, name: &str) -> Found<'_> {
        let mut other = None;
        for held in youtube(name) {
            let Some(rows) = self.index.get(held.id) else { continue };
            let Some(start) = held.start else { return Found::Rows(rows, false) };
            let fits = |&row: &usize| self.start_s.get(row).is_none_or(|start_s| start.fits(start_s));
            match rows.as_slice().iter().copied().find(fits) {
                Some(row) => return Found::Rows(RowsOf::One([row]), true),
                None => other = rows.as_slice().first().copied(),
            }
        }
        other.map_or(Found::Nothing, Found::OtherStart)
    }
}
