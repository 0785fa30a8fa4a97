//! What the table of a scan, or a manifest, says in sum.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use serde::Serialize;

use crate::corpus::{first_repeated, open_columns};

/// Edges of the bars of lengths, in seconds.
const SECONDS: [f64; 14] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 9.5, 10.5, 20.0, 60.0, 120.0, 300.0, 900.0, 3_600.0];
/// Edges of the bars of loudness, in dB of full scale.
const DECIBELS: [f64; 14] =
    [-90.0, -80.0, -70.0, -60.0, -50.0, -40.0, -35.0, -30.0, -25.0, -20.0, -15.0, -10.0, -5.0, 0.0];
/// Clips that are named: of those that cannot be used, and of duplicates.
const NAMED: usize = 100;

/// A bar of a picture: what it counts, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// What is counted.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// A clip that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clip {
    /// Its name.
    pub clip_id: String,
    /// Its file.
    pub source: String,
    /// Why.
    pub status: String,
    /// In words.
    pub detail: String,
}

/// A clip with the samples of one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// Its name.
    pub clip_id: String,
    /// The first clip with these samples.
    pub of: String,
}

/// A scan or a manifest in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Rows of the table: clips that were found or should have been.
    pub clips: u64,
    /// How they ended: `ok`, `silent`, `too_short`, or the reason they cannot be used for; the commonest first.
    pub statuses: Vec<Bar>,
    /// Clips that can be used, and are of another kind than their file's name says.
    pub wrong_extension: u64,
    /// Clips that can be used, with the samples of one before them.
    pub duplicates: u64,
    /// Clips that can be used, and sound like one before them, where somebody has looked.
    pub near_duplicates: u64,
    /// Hours of sound that can be used, duplicates among them.
    pub hours: f64,
    /// Encoded bytes of all clips that decode.
    pub content_bytes: u64,
    /// Lengths of usable clips.
    pub durations: Vec<Bar>,
    /// Loudness of usable clips (root mean square).
    pub loudness: Vec<Bar>,
    /// Peaks of usable clips.
    pub peaks: Vec<Bar>,
    /// Rates of usable clips.
    pub rates: Vec<Bar>,
    /// Channels of usable clips.
    pub channels: Vec<Bar>,
    /// Codecs of usable clips.
    pub codecs: Vec<Bar>,
    /// Usable clips of each label, the commonest first.
    pub labels: Vec<Bar>,
    /// How many labels usable clips have.
    pub labels_per_clip: Vec<Bar>,
    /// The first clips that cannot be used, or are not what their name says.
    pub first: Vec<Clip>,
    /// The first duplicates.
    pub first_duplicates: Vec<Duplicate>,
    /// A name that two clips have, where there is one.
    pub repeated_name: Option<String>,
}

/// Columns that the sums are made of. A scan has `source`, and a manifest `path`; who is a copy a manifest says itself.
const COLUMNS: [&str; 17] = [
    "clip_id",
    "source",
    "path",
    "duplicate_of",
    "near_duplicate_of",
    "label_names",
    "status",
    "detail",
    "duration_s",
    "rate_hz",
    "channels",
    "codec",
    "content_hash",
    "peak_db",
    "rms_db",
    "labels",
    "content_bytes",
];

/// Sums under way.
#[derive(Default)]
struct Sums {
    summary: Summary,
    statuses: BTreeMap<String, u64>,
    durations: Edges<14>,
    loudness: Edges<14>,
    peaks: Edges<14>,
    rates: BTreeMap<u32, u64>,
    channels: BTreeMap<u32, u64>,
    codecs: BTreeMap<String, u64>,
    labels: BTreeMap<String, u64>,
    labels_per_clip: BTreeMap<u32, u64>,
    /// Hash of the samples and number of the clip, of those that can be used.
    hashes: Vec<([u8; 16], u32)>,
    ids: Vec<StringArray>,
}

/// Counts between edges.
struct Edges<const N: usize> {
    counts: [u64; N],
    above: u64,
}

impl<const N: usize> Default for Edges<N> {
    fn default() -> Self {
        Self { counts: [0; N], above: 0 }
    }
}

impl<const N: usize> Edges<N> {
    fn add(&mut self, edges: &[f64; N], value: f64) {
        match edges.iter().position(|edge| value < *edge) {
            Some(at) => self.counts[at] += 1,
            None => self.above += 1,
        }
    }

    fn bars(&self, edges: &[f64; N], unit: &str) -> Vec<Bar> {
        let mut bars = Vec::new();
        for (at, &count) in self.counts.iter().enumerate() {
            let name = match at {
                0 => format!("< {} {unit}", edges[0]),
                at => format!("{} to {} {unit}", edges[at - 1], edges[at]),
            };
            bars.push(Bar { name, count });
        }
        bars.push(Bar { name: format!("from {} {unit}", edges[N - 1]), count: self.above });
        // What lies outside of all that there is says nothing.
        let first = bars.iter().position(|bar| bar.count > 0).unwrap_or(bars.len());
        let last = bars.iter().rposition(|bar| bar.count > 0).map_or(first, |last| last + 1);
        bars.drain(first..last).collect()
    }
}

/// The commonest first; of equals the first by name.
fn by_count<K: ToString + Ord>(counts: BTreeMap<K, u64>, unit: &str) -> Vec<Bar> {
    let bar = |(key, count): (K, u64)| Bar { name: format!("{}{unit}", key.to_string()), count };
    let mut bars: Vec<Bar> = counts.into_iter().map(bar).collect();
    bars.sort_by_key(|bar| std::cmp::Reverse(bar.count));
    bars
}

fn in_order<K: ToString + Ord>(counts: BTreeMap<K, u64>, unit: &str) -> Vec<Bar> {
    counts.into_iter().map(|(key, count)| Bar { name: format!("{}{unit}", key.to_string()), count }).collect()
}

impl Summary {
    /// Reads a table batch by batch. Held are the clips' names and sixteen bytes of each.
    ///
    /// # Errors
    /// In words, for a file that is no table of a scan and no manifest.
    pub fn read(path: &Path) -> Result<Self, String> {
        let table = open_columns(path, &COLUMNS).map_err(|error| error.problem)?;
        let mut sums = Sums::default();
        for rows in table {
            let rows = rows.map_err(|error| error.problem)?;
            let lacks = || format!("{}: it lacks columns that every table of a scan has", path.display());
            sums.add(&rows).ok_or_else(lacks)?;
        }
        Ok(sums.finish())
    }

    /// Clips that can be used.
    pub fn usable(&self) -> u64 {
        self.statuses.iter().filter(|bar| is_usable(&bar.name)).map(|bar| bar.count).sum()
    }
}

/// Whether clips of a status can be used; an `unchecked` one is known by its name alone.
pub fn is_usable(status: &str) -> bool {
    matches!(status, "ok" | "unchecked")
}

impl Sums {
    fn add(&mut self, rows: &RecordBatch) -> Option<()> {
        let texts = |name: &str| rows.column_by_name(name)?.as_string_opt::<i32>();
        let (ids, statuses, details) = (texts("clip_id")?, texts("status")?, texts("detail")?);
        let sources = texts("source").or_else(|| texts("path"))?;
        let firsts = ["duplicate_of", "near_duplicate_of"].map(texts);
        let codecs = texts("codec")?;
        let durations = rows.column_by_name("duration_s")?.as_primitive_opt::<Float64Type>()?;
        let loudness = rows.column_by_name("rms_db")?.as_primitive_opt::<Float32Type>()?;
        let peaks = rows.column_by_name("peak_db")?.as_primitive_opt::<Float32Type>()?;
        let rates = rows.column_by_name("rate_hz")?.as_primitive_opt::<UInt32Type>()?;
        let channels = rows.column_by_name("channels")?.as_primitive_opt::<UInt32Type>()?;
        let bytes = rows.column_by_name("content_bytes")?.as_primitive_opt::<UInt64Type>()?;
        let hashes = rows.column_by_name("content_hash").and_then(|hashes| hashes.as_fixed_size_binary_opt());
        let names = rows.column_by_name("label_names").or_else(|| rows.column_by_name("labels"));
        let labels = names?.as_list_opt::<i32>()?;
        self.summary.content_bytes += bytes.iter().flatten().sum::<u64>();
        for row in 0..rows.num_rows() {
            let status = statuses.value(row);
            let detail = if details.is_valid(row) { details.value(row) } else { "" };
            count(&mut self.statuses, status);
            let misnamed = is_usable(status) && detail.starts_with("wrong_extension");
            self.summary.wrong_extension += u64::from(misnamed);
            if (!is_usable(status) || misnamed) && self.summary.first.len() < NAMED {
                let [clip_id, source] = [ids, sources].map(|texts| texts.value(row).to_owned());
                let clip = Clip { clip_id, source, status: status.to_owned(), detail: detail.to_owned() };
                self.summary.first.push(clip);
            }
            if is_usable(status) {
                if durations.is_valid(row) {
                    self.summary.hours += durations.value(row) / 3_600.0;
                    self.durations.add(&SECONDS, durations.value(row));
                }
                if peaks.is_valid(row) {
                    self.loudness.add(&DECIBELS, loudness.value(row).into());
                    self.peaks.add(&DECIBELS, peaks.value(row).into());
                    *self.rates.entry(rates.value(row)).or_default() += 1;
                }
                if channels.is_valid(row) {
                    *self.channels.entry(channels.value(row)).or_default() += 1;
                    count(&mut self.codecs, codecs.value(row));
                }
                if let Some(Ok(hash)) = hashes.map(|hashes| hashes.value(row).try_into()) {
                    self.hashes.push((hash, (self.summary.clips + row as u64) as u32));
                }
                let [exact, near] = firsts.map(|of| of.filter(|of| of.is_valid(row)).map(|of| of.value(row)));
                self.summary.duplicates += u64::from(exact.is_some());
                self.summary.near_duplicates += u64::from(near.is_some());
                if let Some(of) = exact.or(near).filter(|_| self.summary.first_duplicates.len() < NAMED) {
                    let [clip_id, of] = [ids.value(row), of].map(str::to_owned);
                    self.summary.first_duplicates.push(Duplicate { clip_id, of });
                }
                self.count_labels(labels.is_valid(row).then(|| labels.value(row)).as_deref());
            }
        }
        self.summary.clips += rows.num_rows() as u64;
        self.ids.push(ids.clone());
        Some(())
    }

    fn count_labels(&mut self, labels: Option<&dyn Array>) {
        let texts = labels.and_then(|labels| labels.as_string_opt::<i32>());
        let n = texts.map_or(0, Array::len);
        *self.labels_per_clip.entry(n as u32).or_default() += 1;
        texts.into_iter().flatten().flatten().for_each(|label| count(&mut self.labels, label));
    }

    fn finish(mut self) -> Summary {
        let id = |clip: u32| {
            let mut at = clip as usize;
            let column = self.ids.iter().find(|ids| {
                at < ids.len() || {
                    at -= ids.len();
                    false
                }
            });
            column.map_or_else(String::new, |ids| ids.value(at).to_owned())
        };
        self.hashes.sort_unstable();
        let mut duplicates: Vec<(u32, u32)> = Vec::new();
        for alike in self.hashes.chunk_by(|a, b| a.0 == b.0) {
            duplicates.extend(alike[1..].iter().map(|other| (other.1, alike[0].1)));
        }
        duplicates.sort_unstable();
        let names = |&(clip, of): &(u32, u32)| Duplicate { clip_id: id(clip), of: id(of) };
        self.summary.first_duplicates.extend(duplicates.iter().take(NAMED).map(names));
        let all: Vec<&dyn Array> = self.ids.iter().map(|ids| ids as &dyn Array).collect();
        let all = arrow::compute::concat(&all).ok();
        let all = all.as_ref().and_then(|all| all.as_string_opt::<i32>());
        let repeated = all.and_then(|all| first_repeated(all).map(|(_, again)| all.value(again).to_owned()));
        Summary {
            statuses: by_count(self.statuses, ""),
            duplicates: self.summary.duplicates + duplicates.len() as u64,
            durations: self.durations.bars(&SECONDS, "s"),
            loudness: self.loudness.bars(&DECIBELS, "dB"),
            peaks: self.peaks.bars(&DECIBELS, "dB"),
            rates: in_order(self.rates, " Hz"),
            channels: in_order(self.channels, ""),
            codecs: by_count(self.codecs, ""),
            labels: by_count(self.labels, ""),
            labels_per_clip: in_order(self.labels_per_clip, ""),
            repeated_name: repeated,
            ..self.summary
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(n) => *n += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}
