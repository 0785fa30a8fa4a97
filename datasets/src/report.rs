//! [`Report`]: what is there of a corpus, by label and split; for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use polars::prelude::*;
use serde::Serialize;

use crate::error::DatasetError;
use crate::join::{Held, Joined};
use crate::manifest::{EXCLUDED, MISSING, Manifest};
use crate::scan::{OK, UNCHECKED};

/// Labels that are shown when a report is printed: those of which least can be used.
const SHOWN_LABELS: usize = 12;
/// Bars of a histogram.
const BARS: usize = 20;

/// Clips by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows of the manifest.
    pub wanted: usize,
    /// Those that are held, whatever their state.
    pub found: usize,
    /// Those that can be used.
    pub usable: usize,
    /// Not held.
    pub missing: usize,
    /// Held, and do not decode, or not to their end.
    pub corrupt: usize,
    /// Held, and nothing can be heard.
    pub silent: usize,
    /// Held, and too little of it.
    pub too_short: usize,
    /// Left out by a list.
    pub excluded: usize,
    /// Usable, with the samples of a clip before them.
    pub duplicate: usize,
    /// Usable, and sound as a clip before them.
    pub near_duplicate: usize,
}

impl Counts {
    /// What the numbers of [`Counts::all`] count, in their order.
    pub const HEADS: [&str; 10] =
        ["wanted", "found", "usable", "missing", "corrupt", "silent", "short", "excluded", "dup", "near dup"];

    fn add(&mut self, fate: Fate, duplicate: bool, near_duplicate: bool) {
        self.wanted += 1;
        self.found += usize::from(fate != Fate::Missing);
        match fate {
            Fate::Usable => self.usable += 1,
            Fate::Missing => self.missing += 1,
            Fate::Corrupt => self.corrupt += 1,
            Fate::Silent => self.silent += 1,
            Fate::TooShort => self.too_short += 1,
            Fate::Excluded => self.excluded += 1,
        }
        self.duplicate += usize::from(duplicate && fate == Fate::Usable);
        self.near_duplicate += usize::from(near_duplicate && fate == Fate::Usable);
    }

    /// All numbers, side by side.
    pub fn all(&self) -> [usize; 10] {
        let Self { wanted, found, usable, missing, corrupt, silent, too_short, excluded, duplicate, near_duplicate } =
            *self;
        [wanted, found, usable, missing, corrupt, silent, too_short, excluded, duplicate, near_duplicate]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Usable,
    Missing,
    Corrupt,
    Silent,
    TooShort,
    Excluded,
}

impl Fate {
    fn of(status: Option<&str>) -> Self {
        match status {
            Some(OK | UNCHECKED) => Self::Usable,
            Some(MISSING) => Self::Missing,
            Some("silent") => Self::Silent,
            Some("too_short") => Self::TooShort,
            Some(EXCLUDED) => Self::Excluded,
            _ => Self::Corrupt,
        }
    }
}

/// The clips of one label in one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelCounts {
    /// The label, as in `labels`.
    pub label: String,
    /// Its name.
    pub name: String,
    /// The split; empty for clips without one.
    pub split: String,
    /// Its clips.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How often values lie where.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// The smallest value.
    pub from: f64,
    /// The largest value.
    pub to: f64,
    /// Values in bars of equal width between the two.
    pub bars: Vec<usize>,
}

/// What the usable clips are like.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sound {
    /// All of them together.
    pub hours: f64,
    /// Their lengths in seconds.
    pub duration_s: Histogram,
    /// Their loudness, dB below full scale.
    pub rms_db: Histogram,
    /// Clips by rate in Hz.
    pub rates: BTreeMap<u32, usize>,
    /// Clips by channels.
    pub channels: BTreeMap<u32, usize>,
    /// Clips by codec.
    pub codecs: BTreeMap<String, usize>,
}

/// What is there of a corpus. Printed, it is a table; as JSON it has everything.
///
/// # Example: a corpus of which nothing is held
/// ```
/// use ajepa_datasets::{FolderRules, JoinConfig, Report, Scan, folder, join};
///
/// let wanted = folder(".".as_ref(), ["dog/1.wav"], &FolderRules { labels: vec![0], ..FolderRules::default() })?;
/// let joined = join(&wanted, &Scan::of_listing([])?, &JoinConfig::default())?;
/// let report = Report::of(&joined.manifest)?;
/// assert_eq!((report.total.wanted, report.total.missing), (1, 1));
/// assert!(report.to_string().contains("missing"));
/// # Ok::<(), ajepa_datasets::DatasetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`Manifest::hash`].
    pub dataset_hash: String,
    /// All clips.
    pub total: Counts,
    /// The clips of each split.
    pub splits: BTreeMap<String, Counts>,
    /// Why clips cannot be used: reasons and how many clips each cost.
    pub reasons: BTreeMap<String, usize>,
    /// What the usable clips are like.
    pub sound: Sound,
    /// What became of the files, where the report is of a join.
    pub held: Option<Held>,
    /// What was odd in the publisher's files.
    pub notes: Vec<String>,
    /// The clips of each label in each split, sorted by both.
    pub labels: Vec<LabelCounts>,
}

impl Report {
    /// Counts the rows of a manifest.
    ///
    /// # Errors
    /// [`DatasetError`] when a column has not the type it should have.
    pub fn of(manifest: &Manifest) -> Result<Self, DatasetError> {
        let status = manifest.texts("status")?;
        let split = manifest.texts("split")?;
        let lists = manifest.label_lists()?;
        let labels = lists.index();
        let duplicate = marks(manifest, "duplicate_of");
        let near = marks(manifest, "near_duplicate_of");
        let (mut total, mut splits) = (Counts::default(), BTreeMap::<&str, Counts>::new());
        let mut by_label: PlHashMap<(u32, &str), Counts> = PlHashMap::default();
        for (row, (status, split)) in status.iter().zip(split.iter()).enumerate() {
            let (fate, split) = (Fate::of(status), split.unwrap_or_default());
            let add = |counts: &mut Counts| counts.add(fate, duplicate[row], near[row]);
            add(&mut total);
            add(splits.entry(split).or_default());
            labels.row(row).iter().for_each(|&label| add(by_label.entry((label, split)).or_default()));
        }
        let names = names(manifest)?;
        let mut labels: Vec<LabelCounts> = by_label
            .into_iter()
            .map(|((label, split), counts)| {
                let label = labels.names[label as usize];
                let name = names.get(label).map_or(label, String::as_str);
                LabelCounts { label: label.to_owned(), name: name.to_owned(), split: split.to_owned(), counts }
            })
            .collect();
        labels.sort_unstable_by(|a, b| (&a.label, &a.split).cmp(&(&b.label, &b.split)));
        Ok(Self {
            dataset_hash: manifest.hash()?,
            total,
            splits: splits.into_iter().map(|(split, counts)| (split.to_owned(), counts)).collect(),
            reasons: reasons(manifest)?,
            sound: sound(&manifest.usable()?)?,
            held: None,
            notes: Vec::new(),
            labels,
        })
    }

    /// The labels, first those of whose clips the smallest share can be used.
    pub fn least_usable(&self) -> Vec<&LabelCounts> {
        let mut least: Vec<&LabelCounts> = self.labels.iter().collect();
        let share = |label: &LabelCounts| label.counts.usable as f64 / label.counts.wanted.max(1) as f64;
        least.sort_by(|a, b| share(a).total_cmp(&share(b)).then(a.counts.usable.cmp(&b.counts.usable)));
        least
    }

    /// The report of a join: with what became of the files, and with the publisher's oddities.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_join(joined: &Joined, notes: &[String]) -> Result<Self, DatasetError> {
        Ok(Self { held: Some(joined.held.clone()), notes: notes.to_vec(), ..Self::of(&joined.manifest)? })
    }
}

/// Whether each row has a value in that column.
fn marks(manifest: &Manifest, name: &str) -> Vec<bool> {
    match manifest.frame().column(name) {
        Ok(column) => column.is_not_null().iter().map(|is| is == Some(true)).collect(),
        Err(_) => vec![false; manifest.frame().height()],
    }
}

/// The name of each label.
fn names(manifest: &Manifest) -> Result<PlHashMap<String, String>, DatasetError> {
    let mut names = PlHashMap::default();
    let Ok(column) = manifest.frame().column("label_names") else { return Ok(names) };
    let (labels, called) = (manifest.label_lists()?, crate::columns::TextLists::of(column)?);
    for row in 0..labels.n_rows() {
        for (label, name) in labels.row(row).zip(called.row(row)) {
            if !names.contains_key(label) {
                names.insert(label.to_owned(), name.to_owned());
            }
        }
    }
    Ok(names)
}

fn reasons(manifest: &Manifest) -> Result<BTreeMap<String, usize>, DatasetError> {
    let mut reasons = BTreeMap::new();
    let Ok(column) = manifest.frame().column("reason") else { return Ok(reasons) };
    for reason in column.str()?.iter().flatten() {
        match reasons.get_mut(reason) {
            Some(n) => *n += 1,
            None => {
                reasons.insert(reason.to_owned(), 1);
            }
        }
    }
    Ok(reasons)
}

fn sound(usable: &Manifest) -> Result<Sound, DatasetError> {
    let numbers = |name: &str| -> Result<Vec<f64>, DatasetError> {
        let Ok(column) = usable.frame().column(name) else { return Ok(Vec::new()) };
        let column = column.cast(&DataType::Float64)?;
        Ok(column.f64()?.iter().flatten().filter(|value| value.is_finite()).collect())
    };
    let tally = |name: &str| -> Result<BTreeMap<u32, usize>, DatasetError> {
        let mut tally = BTreeMap::new();
        numbers(name)?.into_iter().for_each(|value| *tally.entry(value as u32).or_default() += 1);
        Ok(tally)
    };
    let mut codecs: BTreeMap<String, usize> = BTreeMap::new();
    if let Ok(column) = usable.frame().column("codec") {
        column.str()?.iter().flatten().for_each(|codec| *codecs.entry(codec.to_owned()).or_default() += 1);
    }
    let duration_s = numbers("duration_s")?;
    Ok(Sound {
        hours: duration_s.iter().fold(0.0, |sum, s| sum + s) / 3600.0,
        duration_s: histogram(&duration_s),
        rms_db: histogram(&numbers("rms_db")?),
        rates: tally("rate_hz")?,
        channels: tally("channels")?,
        codecs,
    })
}

fn histogram(values: &[f64]) -> Histogram {
    let (from, to) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), &value| (from.min(value), to.max(value)));
    if values.is_empty() {
        return Histogram::default();
    }
    let mut bars = vec![0; BARS];
    let width = (to - from) / BARS as f64;
    for value in values {
        let bar = if width > 0.0 { ((value - from) / width) as usize } else { 0 };
        bars[bar.min(BARS - 1)] += 1;
    }
    Histogram { from, to, bars }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<(String, Counts)> =
            self.splits.iter().map(|(split, counts)| (shown_split(split).to_owned(), *counts)).collect();
        rows.push(("all".to_owned(), self.total));
        table(f, "split", &rows)?;
        writeln!(
            f,
            "\n{:.1} h can be used; dataset {}",
            self.sound.hours,
            self.dataset_hash.get(..16).unwrap_or_default()
        )?;
        if !self.reasons.is_empty() {
            let told: Vec<String> = self.reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
            writeln!(f, "why not: {}", told.join(", "))?;
        }
        if let Some(held) = &self.held {
            writeln!(
                f,
                "of {} files {} are of wanted clips, {} of clips held twice, {} name another start, {} were not wanted",
                held.files, held.matched, held.again, held.other_start, held.unwanted
            )?;
            if !held.unwanted_first.is_empty() {
                writeln!(
                    f,
                    "not wanted: {}{}",
                    held.unwanted_first.join(", "),
                    if held.unwanted > held.unwanted_first.len() { ", ..." } else { "" }
                )?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        let least = self.least_usable();
        if least.is_empty() {
            return Ok(());
        }
        let rows: Vec<(String, Counts)> = least
            .iter()
            .take(SHOWN_LABELS)
            .map(|label| (format!("{} / {}", label.name, shown_split(&label.split)), label.counts))
            .collect();
        writeln!(f, "\nlabels of which least can be used ({} of {}):", rows.len(), least.len())?;
        table(f, "label / split", &rows)
    }
}

fn shown_split(split: &str) -> &str {
    if split.is_empty() { "(none)" } else { split }
}

fn table(f: &mut fmt::Formatter<'_>, head: &str, rows: &[(String, Counts)]) -> fmt::Result {
    let width = rows.iter().map(|(name, _)| name.chars().count()).chain([head.len()]).max().unwrap_or_default();
    let digits =
        |at: usize| rows.iter().map(|(_, counts)| counts.all()[at].to_string().len()).max().unwrap_or_default();
    let widths: Vec<usize> = Counts::HEADS.iter().enumerate().map(|(at, head)| head.len().max(digits(at))).collect();
    write!(f, "{head:width$}")?;
    Counts::HEADS.iter().zip(&widths).try_for_each(|(head, width)| write!(f, "  {head:>width$}"))?;
    writeln!(f)?;
    for (name, counts) in rows {
        write!(f, "{name:width$}")?;
        counts.all().iter().zip(&widths).try_for_each(|(n, width)| write!(f, "  {n:>width$}"))?;
        writeln!(f)?;
    }
    Ok(())
}
