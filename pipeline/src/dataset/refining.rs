//! What is done to a manifest once it is there: lists of clips left out, copies, samples, splits, weights.

use std::collections::HashSet;
use std::path::PathBuf;

use ajepa_datasets::{Manifest, SplitConfig, balanced_weights, leaks, read_rejects, sample, split};

use crate::stage::BuildError;

/// Leaks that are named; the rest is counted.
const SHOWN_LEAKS: usize = 3;

/// What is done, in this order; nothing by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refining {
    /// Tables with a column `clip_id` of clips to leave out, such as a `rejects.parquet`.
    pub exclude: Vec<PathBuf>,
    /// Leave out clips with the samples of another.
    pub drop_duplicates: bool,
    /// Leave out clips that sound like another as well.
    pub drop_near_duplicates: bool,
    /// At most so many usable clips.
    pub sample: Option<usize>,
    /// Every label as often as every other: the column `weight`, and the chances of `sample`.
    pub balanced: bool,
    /// New splits that share no group, content or near duplicate.
    pub split: Option<Vec<(String, f64)>>,
    /// Folds of equal size in the same way.
    pub folds: Option<usize>,
    /// The splits whose clips are shared out; all where none is named.
    pub of: Vec<String>,
    /// Another seed, another sample and another split.
    pub seed: u64,
}

impl Refining {
    /// Whether nothing is asked for.
    pub fn is_nothing(&self) -> bool {
        Self { seed: 0, of: Vec::new(), ..self.clone() } == Self::default()
    }

    /// Does it.
    ///
    /// # Errors
    /// [`BuildError`] for a list that cannot be read, and for shares without a meaning.
    pub fn refine(&self, mut manifest: Manifest) -> Result<Manifest, BuildError> {
        for list in &self.exclude {
            manifest = manifest.excluding(&read_rejects(list)?)?;
        }
        if self.drop_duplicates || self.drop_near_duplicates {
            manifest = manifest.without_duplicates(self.drop_near_duplicates)?;
        }
        if let Some(n) = self.sample {
            let weights = if self.balanced { Some(balanced_weights(&manifest)?) } else { None };
            manifest = only(&manifest, &sample(&manifest, n, self.seed, weights.as_ref())?)?;
        }
        let config = match (&self.split, self.folds) {
            (Some(shares), _) => Some(SplitConfig { parts: shares.clone(), seed: self.seed, of: None }),
            (None, Some(n)) => Some(SplitConfig::folds(n, self.seed)),
            (None, None) => None,
        };
        if let Some(mut config) = config {
            config.of = (!self.of.is_empty()).then(|| self.of.clone());
            manifest = split(&manifest, &config)?;
        }
        if self.balanced {
            manifest = manifest.with_weights()?;
        }
        Ok(manifest)
    }

    /// Clips that are on two sides of a split though they belong together, in words.
    ///
    /// # Errors
    /// [`BuildError`] when the manifest has not the columns it should have.
    pub fn leaks(manifest: &Manifest) -> Result<Vec<String>, BuildError> {
        let leaks = leaks(manifest)?;
        let clip = |(id, split): &(String, String)| format!("{id} ({split})");
        let mut words: Vec<String> = leaks
            .iter()
            .take(SHOWN_LEAKS)
            .map(|leak| {
                format!("on both sides of a split: {}", leak.clips.iter().map(clip).collect::<Vec<_>>().join(", "))
            })
            .collect();
        if leaks.len() > SHOWN_LEAKS {
            words.push(format!("{} sets of clips are on both sides of a split", leaks.len()));
        }
        Ok(words)
    }
}

/// The same rows with those usable ones left out that are not in `sample`.
fn only(manifest: &Manifest, sample: &Manifest) -> Result<Manifest, BuildError> {
    let drawn = sample.clip_ids()?;
    let drawn: HashSet<&str> = drawn.iter().map(String::as_str).collect();
    let others = manifest.clip_ids()?.into_iter().filter(|id| !drawn.contains(id.as_str()));
    let reasons: Vec<(String, String)> = others.map(|id| (id, "not_sampled".to_owned())).collect();
    Ok(manifest.clone().excluding(&reasons)?)
}
