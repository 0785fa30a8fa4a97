//! How healthy a representation is, from what one step left behind.

use ajepa_ops::seed;
use burn::tensor::{Int, Tensor};

use super::Health;
use super::explained::{Answers, codes, latents};
use super::pictures::dull;
use super::table::{Table, mean_of};
use crate::batch::{TrainBatch, indices};
use crate::config::Recipe;
use crate::objective::{LossConfig, Targets};
use crate::step::StepReport;

/// Rows of the context latents, and of targets with their predictions, that are looked at: drawn once and for all where there are more.
const MAX_ROWS: usize = 2048;

/// Measures the health of what a step left behind.
///
/// `report` is the step's, `batch` the last of the batches it was given, `recipe` the model's. All sums are in double precision and in
/// one order: the digits do not depend on the number of threads. Of more than 2048 rows a fixed random choice is looked at. What it
/// costs is a few per cent of a step on a CPU; measure every 10 to 100 steps.
///
/// # Panics
/// When `batch` is not the one that `report` speaks of.
///
/// # Example: one step, measured
/// ```
/// use ajepa_model::telemetry::health;
/// use ajepa_model::{Learner, ModelConfig, Pictures, TrainBatch};
/// let config = ModelConfig { picture: Some([32, 32]), ..ModelConfig::default() };
/// let mut learner = Learner::new(config.recipe()?, 0, &Default::default())?;
/// let pictures: Vec<f32> = (0..2 * 32 * 32).map(|i| (i as f32 * 0.7).sin()).collect();
/// let pictures = Pictures::F32(&pictures);
/// let batch =
///     TrainBatch { pictures, context: &[0, 1, 1, 2], target: &[2, 3, 0, 3], n_clips: 2, n_masks: 1, n_blocks: 1 };
/// let report = learner.step(&[batch])?;
/// let health = health(learner.model.recipe(), &report, &batch);
/// assert!(health.context_spread > 0.0 && health.rank_me <= 4.0);
/// # Ok::<(), ajepa_model::ModelError>(())
/// ```
pub fn health(recipe: &Recipe, report: &StepReport, batch: &TrainBatch<'_>) -> Health {
    let n_rows = report.context.dims()[0];
    assert!(n_rows == batch.context.len(), "the batch is the last one of the step");
    let rows = Rows::of(n_rows);
    let context = Table::of(rows.pick(&report.context));
    let spreads = context.spreads();
    let usual = mean_of(&spreads);
    let dead = spreads.iter().filter(|spread| **spread < 0.01 * usual || **spread < 1e-5).count();
    let per_clip = n_rows / batch.n_clips;
    let clips: Vec<usize> = rows.indices().map(|row| row / per_clip).collect();
    let positions: Vec<usize> = rows.indices().map(|row| batch.context[row] as usize).collect();
    let shares = context.shares(&clips, &positions);
    let answers = answers(recipe, report);
    let dull = dull(batch.pictures, recipe.picture, recipe.time_axis);
    Health {
        target_spread: answers.target_spread,
        prediction_spread: answers.prediction_spread,
        context_spread: usual,
        dead_dimensions: dead as f64 / spreads.len().max(1) as f64,
        rank_me: context.rank_me(),
        participation_ratio: context.participation_ratio(),
        between_clips: shares.clips,
        between_positions: shares.positions,
        r2: answers.r2,
        flat_pictures: dull.flat,
        repeated_pictures: dull.repeated,
        codes: answers.codes,
    }
}

fn answers(recipe: &Recipe, report: &StepReport) -> Answers {
    let rows = Rows::of(report.predictions.dims()[0]);
    let predictions = rows.pick(&report.predictions);
    match &report.targets {
        Targets::Latents(targets) => latents(predictions, rows.pick(targets), recipe.loss == LossConfig::Cosine),
        Targets::Codes(targets) => codes(predictions, rows.pick_codes(targets)),
    }
}

/// Which rows of a matrix are looked at.
enum Rows {
    All(usize),
    /// In ascending order.
    Some(Vec<usize>),
}

impl Rows {
    fn of(n_rows: usize) -> Self {
        if n_rows <= MAX_ROWS {
            return Self::All(n_rows);
        }
        // The same rows at each step of a run, whatever the seed: a curve is not to wander because the choice did.
        let rng = &mut seed::rng(seed::hash_str("rows for health"));
        let mut all: Vec<usize> = (0..n_rows).collect();
        for i in 0..MAX_ROWS {
            all.swap(i, i + seed::below(rng, (n_rows - i) as u64) as usize);
        }
        all.truncate(MAX_ROWS);
        all.sort_unstable();
        Self::Some(all)
    }

    fn indices(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::All(n_rows) => Box::new(0..*n_rows),
            Self::Some(rows) => Box::new(rows.iter().copied()),
        }
    }

    fn pick(&self, tensor: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::All(_) => tensor.clone(),
            Self::Some(_) => tensor.clone().select(0, indices(self.indices(), &tensor.device())),
        }
    }

    fn pick_codes(&self, tensor: &Tensor<2, Int>) -> Tensor<2, Int> {
        match self {
            Self::All(_) => tensor.clone(),
            Self::Some(_) => tensor.clone().select(0, indices(self.indices(), &tensor.device())),
        }
    }
}
