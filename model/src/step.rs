//! One training step, top to bottom.

use ajepa_ops::seed;
use burn::tensor::{Device, Tensor};

use crate::ModelError;
use crate::batch::TrainBatch;
use crate::config::Recipe;
use crate::jepa::{self, Jepa, Uploaded, Weights};
use crate::objective::Targets;
use crate::optim::{AdamW, GlobalNorm, Rates};
use crate::params::Params;

const MOMENTS: [&str; 4] =
    ["first_moment.encoder", "first_moment.predictor", "second_moment.encoder", "second_moment.predictor"];

/// A model with all that training it needs: moments, and how far it has come.
#[derive(Debug, Clone)]
pub struct Learner {
    /// The model.
    pub model: Jepa,
    /// Moments of the encoder's parameters.
    pub encoder_moments: AdamW,
    /// Moments of the predictor's parameters.
    pub predictor_moments: AdamW,
    /// Steps done.
    pub steps: u64,
    run_seed: u64,
}

/// What a step says about itself.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// The step, counted from 0.
    pub step: u64,
    /// What was minimised: loss and regulariser, mean over the batches.
    pub loss: f32,
    /// The regulariser's share of it.
    pub regulariser: f32,
    /// Length of the gradient before it was clipped.
    pub grad_norm: f64,
    /// Learning rate as applied.
    pub lr: f64,
    /// Weight decay as applied.
    pub weight_decay: f64,
    /// Share of the moving average that stayed.
    pub tau: f64,
    /// Context latents of the last batch, [clips * masks * n_context, width].
    pub context: Tensor<2>,
    /// Predictions for the last batch, [clips * masks * blocks * n_target, answer width].
    pub predictions: Tensor<2>,
    /// What they should have been.
    pub targets: Targets,
}

/// What one batch gives to a step; the device may still be computing it.
struct Pass {
    loss: Tensor<1>,
    regulariser: Option<Tensor<1>>,
    grads: Vec<Tensor<2>>,
    context: Tensor<2>,
    predictions: Tensor<2>,
    targets: Targets,
}

impl Learner {
    /// A model at step 0.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a recipe that does not prove.
    pub fn new(recipe: Recipe, run_seed: u64, device: &Device) -> Result<Self, ModelError> {
        let model = Jepa::new(recipe, run_seed, device)?;
        let encoder_moments = AdamW::new(&model.weights.encoder);
        let predictor_moments = AdamW::new(&model.weights.predictor);
        Ok(Self { model, encoder_moments, predictor_moments, steps: 0, run_seed })
    }

    /// The seed that everything random in training derives from.
    pub fn run_seed(&self) -> u64 {
        self.run_seed
    }

    /// All numbers that training goes on from, in named lists: `encoder`, `target_encoder`, `predictor`, and the moments of the
    /// trained two as `first_moment.encoder` and so on. With the recipe, [`Learner::run_seed`] and [`Learner::steps`] they are the
    /// whole state.
    pub fn lists(&self) -> impl Iterator<Item = (&'static str, &Params)> {
        let AdamW { first: encoder1, second: encoder2 } = &self.encoder_moments;
        let AdamW { first: predictor1, second: predictor2 } = &self.predictor_moments;
        self.model.parts().chain(MOMENTS.into_iter().zip([encoder1, predictor1, encoder2, predictor2]))
    }

    /// Replaces the numbers of one tensor by its full name, such as `second_moment.predictor.mask_token`.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] for an unknown name or another length.
    pub fn write(&mut self, name: &str, data: &[f32]) -> Result<(), ModelError> {
        let AdamW { first: encoder1, second: encoder2 } = &mut self.encoder_moments;
        let AdamW { first: predictor1, second: predictor2 } = &mut self.predictor_moments;
        let moments = MOMENTS.into_iter().zip([encoder1, predictor1, encoder2, predictor2]);
        jepa::write(self.model.parts_mut().chain(moments), name, data)
    }

    /// One update from one batch, or from several whose gradients are averaged.
    ///
    /// # Errors
    /// A batch that does not fit; a loss or gradient that is not finite; a device that fails. Nothing is changed then.
    pub fn step(&mut self, batches: &[TrainBatch<'_>]) -> Result<StepReport, ModelError> {
        let first = batches.first().ok_or(ModelError::Shape { what: "batches", expected: 1, got: 0 })?;
        let first = self.model.uploader().upload(first)?;
        self.step_from(first, batches, || ())
    }

    /// The same with the first batch on the device already. `meanwhile` is called while the device works: the place to bring the next
    /// step's first batch to it. On a CPU all work is done by then.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn step_from(
        &mut self,
        first: Uploaded,
        batches: &[TrainBatch<'_>],
        meanwhile: impl FnOnce(),
    ) -> Result<StepReport, ModelError> {
        let [head, rest @ ..] = batches else {
            return Err(ModelError::Shape { what: "batches", expected: 1, got: 0 });
        };
        let step_seed = seed::derive(&[self.run_seed, seed::hash_str("step"), self.steps]);
        let seed_of = |part: usize| seed::derive(&[step_seed, part as u64]);
        let mut sum = self.pass(head, first, seed_of(0));
        for (part, batch) in rest.iter().enumerate() {
            sum = sum.then(self.pass(batch, self.model.uploader().upload(batch)?, seed_of(part + 1)));
        }
        let mean = 1.0 / batches.len() as f32;
        let Pass { loss, regulariser, grads, context, predictions, targets } = sum;
        let norm = GlobalNorm::of(&grads);
        // What is wrong with the device shows where a number is read.
        let _ = self.model.device().flush();
        meanwhile();
        let loss = read(loss)? * mean;
        let regulariser = regulariser.map_or(Ok(0.0), read)? * mean;
        let grad_norm = norm.read()? * f64::from(mean);
        if !(loss.is_finite() && grad_norm.is_finite()) {
            return Err(ModelError::Diverged { step: self.steps, loss, grad_norm: grad_norm as f32 });
        }
        let rates = self.rates(grad_norm, f64::from(mean));
        self.update(grads, rates);
        let Rates { lr, weight_decay, tau, .. } = rates;
        let step = self.steps;
        self.steps += 1;
        Ok(StepReport { step, loss, regulariser, grad_norm, lr, weight_decay, tau, context, predictions, targets })
    }

    /// Loss and gradients of one batch.
    fn pass(&self, batch: &TrainBatch<'_>, on_device: Uploaded, seed: u64) -> Pass {
        let Uploaded { counts, patches } = on_device;
        let recipe = self.model.recipe();
        let targets = self.model.targets(batch, counts, &patches);

        let weights = self.model.weights.recorded();
        let forward = self.model.forward(&weights, batch, counts, &patches, seed);
        let loss = recipe.loss.of(forward.predictions.clone(), &targets);
        let regulariser = recipe.regulariser.of(&forward.context, &forward.predictions, seed);
        let loss = regulariser.clone().map_or(loss.clone(), |extra| loss + extra);

        let grads = gradients(&loss, &weights);
        let [context, predictions] = [forward.context, forward.predictions].map(Tensor::inner);
        Pass { loss: loss.inner(), regulariser: regulariser.map(Tensor::inner), grads, context, predictions, targets }
    }

    fn rates(&self, grad_norm: f64, mean: f64) -> Rates {
        let recipe = self.model.recipe();
        Rates {
            lr: recipe.learning_rate.at(self.steps),
            weight_decay: recipe.weight_decay.at(self.steps),
            tau: recipe.tau.at(self.steps),
            grad_factor: mean * recipe.optimiser.clip_factor(grad_norm),
        }
    }

    /// AdamW on all parameters, the moving average behind it.
    fn update(&mut self, mut grads: Vec<Tensor<2>>, rates: Rates) {
        let optimiser = self.model.recipe().optimiser;
        let Weights { encoder, predictor } = &mut self.model.weights;
        let for_predictor = grads.split_off(encoder.specs().len());
        let average = self.model.average.as_mut();
        self.encoder_moments.update(&optimiser, rates, self.steps, encoder, grads, average);
        self.predictor_moments.update(&optimiser, rates, self.steps, predictor, for_predictor, None);
    }
}

impl Pass {
    /// Adds a further batch.
    fn then(self, next: Self) -> Self {
        let grads = self.grads.into_iter().zip(next.grads).map(|(sum, grad)| sum + grad).collect();
        let regulariser = self.regulariser.zip(next.regulariser).map(|(sum, extra)| sum + extra);
        Self { loss: self.loss + next.loss, regulariser, grads, ..next }
    }
}

/// Gradients in the order of the parameters; 0 for one that had no part in the loss.
fn gradients(loss: &Tensor<1>, weights: &Weights) -> Vec<Tensor<2>> {
    let mut grads = loss.backward();
    let grad =
        |value: &Tensor<2>| value.grad_remove(&mut grads).unwrap_or_else(|| Tensor::zeros_like(&value.clone().inner()));
    weights.values().map(grad).collect()
}

/// A number from the device.
pub(crate) fn read(number: Tensor<1>) -> Result<f32, ModelError> {
    number.try_into_scalar::<f32>().map_err(ModelError::device)
}
