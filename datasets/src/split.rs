//! Splits without leakage: what belongs together stays together, and every label is shared out as the clips are.

use polars::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::LabelIndex;
use crate::error::DatasetError;
use crate::manifest::Manifest;
use crate::seed::number_of;

/// Where the split was that a new one stands in the place of.
const BEFORE: &str = "publisher_split";

/// How a corpus is split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// Names of the parts and their shares of the usable clips, above 0; only their ratios count.
    pub parts: Vec<(String, f64)>,
    /// Another seed, another split.
    pub seed: u64,
    /// The splits whose clips are shared out; all others keep theirs. Default: all clips are.
    #[serde(default)]
    pub of: Option<Vec<String>>,
}

impl SplitConfig {
    /// Parts by name and share.
    pub fn new(parts: &[(&str, f64)], seed: u64) -> Self {
        Self { parts: parts.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect(), seed, of: None }
    }

    /// `n` equal parts, `fold1` to `foldN`.
    pub fn folds(n: usize, seed: u64) -> Self {
        Self { parts: (1..=n).map(|fold| (format!("fold{fold}"), 1.0)).collect(), seed, of: None }
    }

    fn check(&self) -> Result<(), DatasetError> {
        let mut names = std::collections::HashSet::new();
        if self.parts.is_empty() || !self.parts.iter().all(|(name, _)| !name.is_empty() && names.insert(name)) {
            let got: Vec<&str> = self.parts.iter().map(|(name, _)| name.as_str()).collect();
            return Err(DatasetError::argument("parts", format!("{got:?}"), "one name or more, no two alike"));
        }
        match self.parts.iter().find(|(_, share)| !(share.is_finite() && *share > 0.0)) {
            Some((name, share)) => {
                Err(DatasetError::argument("parts", format!("a share of {share} for {name}"), "a share above 0"))
            }
            None => Ok(()),
        }
    }
}

/// Gives every clip a part: the column `split`; what was there goes to `publisher_split`, once.
///
/// Clips that share a `group`, a content hash, `duplicate_of` or `near_duplicate_of`, directly or through others, get
/// one part. These sets of clips are shared out label by label, the rarest first, the largest sets of a label first,
/// each to the part that lacks most of the label (Sechidis, Tsoumakas and Vlahavas, *On the Stratification of
/// Multi-Label Data*, 2011). The result is a function of the clips and the seed, not of the order of rows. Clips that
/// cannot be used come along and do not count.
///
/// # Errors
/// [`DatasetError`] for shares without a meaning, and when a clip that is to be shared out belongs to one that is not:
/// it would be on two sides wherever it goes. [`leaks`] names them.
///
/// # Example: a tenth for validation
/// ```
/// use ajepa_datasets::{FolderRules, JoinConfig, Scan, SplitConfig, folder, join, leaks, split};
///
/// let files: Vec<String> = (0..100).map(|n| format!("dog/speaker{}/{n}.wav", n / 4)).collect();
/// let rules = FolderRules { labels: vec![0], group: Some(1), ..FolderRules::default() };
/// let wanted = folder(".".as_ref(), files.iter().map(String::as_str), &rules)?;
/// let joined = join(&wanted, &Scan::of_listing(files.iter().map(String::as_str))?, &JoinConfig::default())?;
///
/// let parted = split(&joined.manifest, &SplitConfig::new(&[("train", 0.9), ("valid", 0.1)], 7))?;
/// assert!(leaks(&parted)?.is_empty());
/// let valid = parted.frame().column("split")?.str()?.iter().filter(|split| *split == Some("valid")).count();
/// assert_eq!(valid % 4, 0);
/// # Ok::<(), ajepa_datasets::DatasetError>(())
/// ```
pub fn split(manifest: &Manifest, config: &SplitConfig) -> Result<Manifest, DatasetError> {
    config.check()?;
    let before = manifest.texts("split")?.clone();
    let known: std::collections::BTreeSet<&str> = before.iter().flatten().collect();
    if let Some(other) = config.of.iter().flatten().find(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        return Err(DatasetError::argument("of", format!("{other:?}"), format!("among {}", known.join(", "))));
    }
    let mine = |split: Option<&str>| match &config.of {
        Some(of) => split.is_some_and(|split| of.iter().any(|name| name == split)),
        None => true,
    };
    let mine: Vec<bool> = before.iter().map(mine).collect();
    let sets = Sets::of(manifest, &mine, config.seed)?;
    let lists = manifest.label_lists()?;
    let labels = lists.index();
    let parts = Sharing::new(&sets, &labels, manifest.usable_rows()?, config).share_out();
    let named = before.iter().zip(&sets.of_row).map(|(before, set)| match set {
        Some(set) => Some(config.parts[parts[*set as usize]].0.as_str()),
        None => before,
    });
    let named = StringChunked::from_iter_options("split".into(), named);
    let manifest = manifest.clone();
    let manifest = match manifest.frame().column(BEFORE) {
        Ok(_) => manifest,
        Err(_) => manifest.with_texts(BEFORE, before)?,
    };
    manifest.with_texts("split", named)
}

/// Clips that belong together, as sets.
struct Sets {
    /// The set of each row that is shared out.
    of_row: Vec<Option<u32>>,
    /// The rows of each set.
    rows: Vec<Vec<u32>>,
    /// A number of each set that depends on the seed and on its first name.
    chance: Vec<u64>,
}

impl Sets {
    fn of(manifest: &Manifest, mine: &[bool], seed: u64) -> Result<Self, DatasetError> {
        let mut groups = manifest.leak_groups()?;
        let ids = manifest.texts("clip_id")?;
        let mut numbers: PlHashMap<u32, u32> = PlHashMap::default();
        let mut sets = Self { of_row: vec![None; mine.len()], rows: Vec::new(), chance: Vec::new() };
        let mut names: Vec<&str> = Vec::new();
        for row in (0..mine.len()).filter(|&row| mine[row]) {
            let next = sets.rows.len() as u32;
            let set = *numbers.entry(groups.first(row as u32)).or_insert(next);
            let id = ids.get(row).unwrap_or_default();
            if set == next {
                sets.rows.push(Vec::new());
                names.push(id);
            }
            sets.rows[set as usize].push(row as u32);
            sets.of_row[row] = Some(set);
            names[set as usize] = names[set as usize].min(id);
        }
        // What cannot be used leaks nothing.
        let usable = manifest.usable_rows()?;
        let shared: PlHashSet<u32> =
            (0..mine.len()).filter(|&row| mine[row] && usable[row]).map(|row| groups.first(row as u32)).collect();
        let mut kept = (0..mine.len()).filter(|&row| !mine[row] && usable[row]);
        if let Some(row) = kept.find(|&row| shared.contains(&groups.first(row as u32))) {
            let id = ids.get(row).unwrap_or_default();
            let problem = format!("the clip {id:?} keeps its split, and belongs to one that is to be shared out");
            let help = "share out both splits, or leave duplicates out: --drop-duplicates --drop-near-duplicates";
            return Err(DatasetError::unusable("split", problem, help));
        }
        sets.chance = names.iter().map(|name| number_of(seed, name)).collect();
        Ok(sets)
    }
}

/// What each part still lacks, while sets are shared out.
struct Sharing<'a> {
    sets: &'a Sets,
    labels: &'a LabelIndex<'a>,
    usable: Vec<bool>,
    seed: u64,
    shares: Vec<f64>,
    /// Clips that each part lacks.
    lacks: Vec<f64>,
    /// Clips of each label that each part lacks: `[label][part]`.
    lacks_of: Vec<Vec<f64>>,
    part_of: Vec<Option<usize>>,
}

impl<'a> Sharing<'a> {
    fn new(sets: &'a Sets, labels: &'a LabelIndex<'a>, usable: Vec<bool>, config: &SplitConfig) -> Self {
        let whole: f64 = config.parts.iter().map(|(_, share)| share).sum();
        let shares: Vec<f64> = config.parts.iter().map(|(_, share)| share / whole).collect();
        let mut n_of = vec![0_u32; labels.names.len()];
        let mut n_clips = 0_u32;
        for row in sets.rows.iter().flatten().map(|&row| row as usize).filter(|&row| usable[row]) {
            n_clips += 1;
            labels.row(row).iter().for_each(|&label| n_of[label as usize] += 1);
        }
        let of = |n: u32| -> Vec<f64> { shares.iter().map(|share| share * f64::from(n)).collect() };
        let (lacks, lacks_of) = (of(n_clips), n_of.iter().map(|&n| of(n)).collect());
        let part_of = vec![None; sets.rows.len()];
        Self { sets, labels, usable, seed: config.seed, shares, lacks, lacks_of, part_of }
    }

    fn share_out(mut self) -> Vec<usize> {
        let sets_of = self.sets_of_labels();
        let mut order: Vec<usize> = (0..sets_of.len()).collect();
        let total = |label: usize| sets_of[label].iter().map(|(n, _)| u64::from(*n)).sum::<u64>();
        order.sort_by_cached_key(|&label| (total(label), self.labels.names[label]));
        for label in order {
            let mut open: Vec<(u32, u32)> =
                sets_of[label].iter().copied().filter(|(_, set)| self.part_of[*set as usize].is_none()).collect();
            open.sort_unstable_by_key(|&(n, set)| (std::cmp::Reverse(n), self.sets.chance[set as usize]));
            for (_, set) in open {
                self.give(set as usize, Some(label));
            }
        }
        let mut rest: Vec<usize> = (0..self.part_of.len()).filter(|&set| self.part_of[set].is_none()).collect();
        rest.sort_unstable_by_key(|&set| (std::cmp::Reverse(self.n_usable(set)), self.sets.chance[set]));
        for set in rest {
            self.give(set, None);
        }
        self.part_of.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// For each label, the sets that have usable clips of it, and how many.
    fn sets_of_labels(&self) -> Vec<Vec<(u32, u32)>> {
        let mut sets_of: Vec<Vec<(u32, u32)>> = vec![Vec::new(); self.labels.names.len()];
        for (set, rows) in self.sets.rows.iter().enumerate() {
            for &row in rows.iter().filter(|&&row| self.usable[row as usize]) {
                for &label in self.labels.row(row as usize) {
                    match sets_of[label as usize].last_mut() {
                        Some((n, last)) if *last == set as u32 => *n += 1,
                        _ => sets_of[label as usize].push((1, set as u32)),
                    }
                }
            }
        }
        sets_of
    }

    fn n_usable(&self, set: usize) -> usize {
        self.sets.rows[set].iter().filter(|&&row| self.usable[row as usize]).count()
    }

    /// Gives a set to the part that lacks most: of the label, then of clips; where that is equal, chance decides by the
    /// shares.
    fn give(&mut self, set: usize, label: Option<usize>) {
        let n_usable = self.n_usable(set);
        let part = if n_usable == 0 {
            self.by_chance(set)
        } else {
            let of_label = |part: usize| label.map_or(0.0, |label| self.lacks_of[label][part]);
            let turn = |part: usize| number_of(self.seed ^ self.sets.chance[set], &part.to_string());
            let lacking = |a: &usize, b: &usize| {
                let by_label = of_label(*a).total_cmp(&of_label(*b));
                by_label.then(self.lacks[*a].total_cmp(&self.lacks[*b])).then_with(|| turn(*a).cmp(&turn(*b)))
            };
            (0..self.shares.len()).max_by(lacking).unwrap_or_default()
        };
        self.part_of[set] = Some(part);
        self.lacks[part] -= n_usable as f64;
        for &row in self.sets.rows[set].iter().filter(|&&row| self.usable[row as usize]) {
            self.labels.row(row as usize).iter().for_each(|&label| self.lacks_of[label as usize][part] -= 1.0);
        }
    }

    fn by_chance(&self, set: usize) -> usize {
        let mut left = self.sets.chance[set] as f64 / u64::MAX as f64;
        let at = self.shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        at.unwrap_or(self.shares.len() - 1)
    }
}

/// Clips that belong together and are in several splits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// The first clip of each split, with the split: two or more.
    pub clips: Vec<(String, String)>,
    /// All usable clips that belong together.
    pub n_clips: usize,
}

/// Every set of usable clips that belong together (one group, one content, or sounding the same) and are not all in one
/// split.
///
/// # Errors
/// [`DatasetError`] when polars refuses.
pub fn leaks(manifest: &Manifest) -> Result<Vec<Leak>, DatasetError> {
    let mut groups = manifest.leak_groups()?;
    let (ids, splits) = (manifest.texts("clip_id")?, manifest.texts("split")?);
    let mut sets: PlHashMap<u32, Leak> = PlHashMap::default();
    let mut firsts = Vec::new();
    for (row, _) in manifest.usable_rows()?.into_iter().enumerate().filter(|(_, usable)| *usable) {
        let first = groups.first(row as u32);
        let set = sets.entry(first).or_insert_with(|| {
            firsts.push(first);
            Leak { clips: Vec::new(), n_clips: 0 }
        });
        set.n_clips += 1;
        let split = splits.get(row).unwrap_or_default();
        if set.clips.iter().all(|(_, other)| other != split) {
            set.clips.push((ids.get(row).unwrap_or_default().to_owned(), split.to_owned()));
        }
    }
    Ok(firsts.into_iter().filter_map(|first| sets.remove(&first)).filter(|leak| leak.clips.len() > 1).collect())
}

#[cfg(test)]
mod tests;
