//! Weights that balance labels, and samples that are functions of a seed and of names.

use polars::prelude::*;

use crate::error::DatasetError;
use crate::manifest::Manifest;
use crate::seed::chance_of;

/// How often each clip is to be drawn, so that every label is heard equally often: the column `weight`.
///
/// The weight of a clip is the sum of `1 / n` over its labels, where `n` is the number of usable clips with the label
/// (Gong, Chung and Glass, *PSLA*, 2021, section IV, without their smoothing). So the weights of all clips sum to the
/// number of labels that any usable clip has. A clip that cannot be used, or has no label, has the weight 0.
///
/// # Errors
/// [`DatasetError`] when polars refuses.
pub fn balanced_weights(manifest: &Manifest) -> Result<Column, DatasetError> {
    let lists = manifest.label_lists()?;
    let (labels, usable) = (lists.index(), manifest.usable_rows()?);
    let mut n_clips = vec![0_u64; labels.names.len()];
    for row in (0..labels.n_rows()).filter(|&row| usable[row]) {
        labels.row(row).iter().for_each(|&label| n_clips[label as usize] += 1);
    }
    let weight = |row: usize| -> f64 {
        if !usable[row] {
            return 0.0;
        }
        labels.row(row).iter().map(|&label| 1.0 / n_clips[label as usize] as f64).sum()
    };
    Ok(Float64Chunked::from_iter_values("weight".into(), (0..labels.n_rows()).map(weight)).into_column())
}

/// At most `n` of the usable clips, each once, in the manifest's order.
///
/// Which ones is a function of the seed and of their names alone: a larger sample has the smaller one in it, and clips
/// that are added to a corpus displace some and reshuffle nothing. With `weights` (a number a row, 0 or more), a clip's
/// chance grows with its weight and clips of weight 0 are never drawn (Efraimidis and Spirakis, 2006).
///
/// # Errors
/// [`DatasetError`] for weights that are not one a row, below 0 or not finite.
pub fn sample(manifest: &Manifest, n: usize, seed: u64, weights: Option<&Column>) -> Result<Manifest, DatasetError> {
    let n_rows = manifest.frame().height();
    let weights: Vec<f64> = match weights {
        Some(column) => column.f64()?.iter().map(|weight| weight.unwrap_or(f64::NAN)).collect(),
        None => vec![1.0; n_rows],
    };
    if weights.len() != n_rows {
        return Err(DatasetError::argument("weights", weights.len(), format!("one for each of {n_rows} rows")));
    }
    if let Some(bad) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        return Err(DatasetError::argument("weights", bad, "0 or more"));
    }
    let usable = manifest.usable_rows()?;
    let mut drawn: Vec<(f64, usize)> = manifest
        .texts("clip_id")?
        .iter()
        .enumerate()
        .filter(|(row, _)| usable[*row] && weights[*row] > 0.0)
        .map(|(row, id)| (-chance_of(seed, id.unwrap_or_default()).ln() / weights[row], row))
        .collect();
    drawn.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut keep = vec![false; n_rows];
    drawn.iter().take(n).for_each(|&(_, row)| keep[row] = true);
    manifest.keeping(&keep.into_iter().collect())
}

/// The clips that have any of `labels`: with [`crate::Ontology::under`], all that is music.
///
/// # Errors
/// [`DatasetError`] when polars refuses.
pub fn having_any(manifest: &Manifest, labels: &[&str]) -> Result<Manifest, DatasetError> {
    let wanted: PlHashSet<&str> = labels.iter().copied().collect();
    let lists = manifest.label_lists()?;
    let has = |row: usize| lists.row(row).any(|label| wanted.contains(label));
    manifest.keeping(&(0..lists.n_rows()).map(has).collect())
}
