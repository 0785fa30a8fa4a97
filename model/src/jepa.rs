//! The model: encoder, its moving average, predictor, and the objective between them.

use ajepa_ops::patch::{PatchGrid, Patchify};
use ajepa_ops::{ConfigError, seed};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::ModelError;
use crate::batch::{Counts, Pictures, TrainBatch};
use crate::config::Recipe;
use crate::encoder::{Encoder, Tokens};
use crate::frozen;
use crate::objective::{CodeBook, TargetConfig, Targets};
use crate::params::{Compute, Layout, Params};
use crate::positions::PositionTable;
use crate::predictor::Predictor;

/// Parameters that are trained; also their gradients' and moments' home.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The context encoder's.
    pub encoder: Params,
    /// The predictor's.
    pub predictor: Params,
}

impl Weights {
    /// The same with gradients recorded.
    pub(crate) fn recorded(&self) -> Self {
        Self { encoder: self.encoder.recorded(), predictor: self.predictor.recorded() }
    }

    /// All tensors, the encoder's first.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Tensor<2>> {
        self.encoder.values().iter().chain(self.predictor.values())
    }

    /// Numbers in all parameters.
    pub fn n_numbers(&self) -> usize {
        self.encoder.n_numbers() + self.predictor.n_numbers()
    }
}

/// Layers, tables and parameters of one recipe on one device.
#[derive(Debug, Clone)]
pub struct Jepa {
    recipe: Recipe,
    uploader: Uploader,
    encoder: Encoder,
    predictor: Predictor,
    encoder_places: PositionTable,
    predictor_places: PositionTable,
    device: Device,
    /// What is trained.
    pub weights: Weights,
    /// The moving average of the encoder; none where targets are codes.
    pub average: Option<Params>,
}

/// What one forward pass gives.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    pub context: Tensor<2>,
    pub predictions: Tensor<2>,
}

impl Jepa {
    /// A model with parameters drawn from `run_seed`.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a recipe that does not prove, or that the device cannot compute.
    pub fn new(recipe: Recipe, run_seed: u64, device: &Device) -> Result<Self, ModelError> {
        recipe.check()?;
        if recipe.compute == Compute::Bf16 && !device.supports_dtype(DType::BF16) {
            let fault = ConfigError::new("compute", "this device does not compute in bf16", "compute: f32");
            return Err(ModelError::Config { faults: vec![fault] });
        }
        let patchify = recipe.patchify()?;
        let (encoder, layout) = encoder_of(&recipe, patchify.patch_shape());
        let encoder_params =
            layout.build(recipe.init, recipe.compute, seed::derive(&[run_seed, seed::hash_str("encoder")]), device);
        let (predictor, layout) = predictor_of(&recipe);
        let predictor_params =
            layout.build(recipe.init, recipe.compute, seed::derive(&[run_seed, seed::hash_str("predictor")]), device);
        let (average, codes) = match recipe.target {
            TargetConfig::MovingAverage(_) => (Some(encoder_params.detached()), None),
            TargetConfig::RandomProjection(codes) => (None, Some(codes.build(patchify.token_len(), run_seed))),
        };
        Ok(Self {
            encoder_places: encoder.positions(patchify.grid(), device),
            predictor_places: predictor.positions(patchify.grid(), device),
            weights: Weights { encoder: encoder_params, predictor: predictor_params },
            average,
            uploader: Uploader { patchify, codes, device: device.clone() },
            encoder,
            predictor,
            recipe,
            device: device.clone(),
        })
    }

    /// The recipe it was built from.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Patch geometry of a training picture.
    pub fn patchify(&self) -> &Patchify {
        &self.uploader.patchify
    }

    /// What brings batches to the device.
    pub fn uploader(&self) -> &Uploader {
        &self.uploader
    }

    /// The encoder's layers, to be run with [`Jepa::weights`] or [`Jepa::average`].
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Every named list of parameters with the word that stands before its names in files.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Params)> {
        let Weights { encoder, predictor } = &self.weights;
        [("encoder", Some(encoder)), ("target_encoder", self.average.as_ref()), ("predictor", Some(predictor))]
            .into_iter()
            .filter_map(|(name, part)| Some((name, part?)))
    }

    /// [`Jepa::parts`], to be written to.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Params)> {
        let Weights { encoder, predictor } = &mut self.weights;
        [("encoder", Some(encoder)), ("target_encoder", self.average.as_mut()), ("predictor", Some(predictor))]
            .into_iter()
            .filter_map(|(name, part)| Some((name, part?)))
    }

    /// Replaces the numbers of one parameter by its full name, such as `target_encoder.norm.weight`.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] for an unknown name or another length.
    pub fn write(&mut self, name: &str, data: &[f32]) -> Result<(), ModelError> {
        write(self.parts_mut(), name, data)
    }

    /// What the encoder with `params` ([`Jepa::weights`] or [`Jepa::average`]) makes of whole pictures of any size that divides into
    /// the recipe's patches: ten seconds or two, whatever it was trained on.
    ///
    /// # Shapes
    /// `pictures` [clips, rows, cols], `picture` = [rows, cols] -> [clips * tokens, width] and the grid of tokens.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a picture that does not divide, [`ModelError::Shape`] for pictures that are not whole.
    ///
    /// # Example: half the frames
    /// ```
    /// use ajepa_model::{Jepa, ModelConfig};
    /// let model = Jepa::new(ModelConfig::default().recipe()?, 0, &Default::default())?;
    /// let (latents, grid) = model.latents(&model.weights.encoder, &[0.5; 128 * 128], [128, 128])?;
    /// assert_eq!((latents.dims(), grid.rows, grid.cols), ([64, 192], 8, 8));
    /// # Ok::<(), ajepa_model::ModelError>(())
    /// ```
    pub fn latents(
        &self,
        params: &Params,
        pictures: &[f32],
        picture: [usize; 2],
    ) -> Result<(Tensor<2>, PatchGrid), ModelError> {
        let fault = |fault| ModelError::Config { faults: vec![fault] };
        let patchify = self.recipe.patch.build(picture, self.recipe.time_axis).map_err(fault)?;
        let table = self.encoder.positions(patchify.grid(), &self.device);
        let pictures = Pictures::F32(pictures);
        let tokens = frozen::whole(&patchify, pictures, &self.device)?;
        let latents = self.encoder.forward(params, &table, tokens);
        Ok((latents, patchify.grid()))
    }

    /// What is to be predicted, row by row: clips, their masks, the masks' blocks, the blocks' tokens.
    pub(crate) fn targets(&self, batch: &TrainBatch<'_>, counts: Counts, patches: &Patches) -> Targets {
        let rows = counts.rows(batch.target, &self.device);
        match (&self.recipe.target, &self.average) {
            (TargetConfig::MovingAverage(latent), Some(average)) => {
                let places = counts.all_places(&self.device);
                let tokens = Tokens { patches: patches.tensor.clone(), places, n_tokens: counts.n_tokens };
                let layers = match latent.mean_of_last {
                    Some(n) => self.encoder.layers(average, &self.encoder_places, tokens, n),
                    None => vec![self.encoder.forward(average, &self.encoder_places, tokens)],
                };
                Targets::Latents(
                    latent.combine(layers.into_iter().map(|layer| layer.select(0, rows.clone())).collect()),
                )
            }
            _ => Targets::Codes(patches.codes.clone().expect("cut with codes where the target is one").select(0, rows)),
        }
    }

    /// Context latents and predictions for a batch, by `weights`.
    pub(crate) fn forward(
        &self,
        weights: &Weights,
        batch: &TrainBatch<'_>,
        counts: Counts,
        patches: &Patches,
        step_seed: u64,
    ) -> Forward {
        let seen = patches.tensor.clone().select(0, counts.rows(batch.context, &self.device));
        let places = crate::batch::indices(batch.context.iter().map(|&token| token as usize), &self.device);
        let tokens = Tokens { patches: seen, places, n_tokens: counts.n_context };
        let context = self.encoder.forward_train(&weights.encoder, &self.encoder_places, tokens, step_seed);
        let question = counts.question(batch.context, batch.target, &self.device);
        let predictions = self.predictor.forward(&weights.predictor, &self.predictor_places, context.clone(), question);
        Forward { context, predictions }
    }
}

/// The encoder of a recipe, and what parameters it has.
pub(crate) fn encoder_of(recipe: &Recipe, patch_shape: [usize; 2]) -> (Encoder, Layout) {
    let mut layout = Layout::default();
    (Encoder::new(&mut layout, &recipe.encoder, recipe.positions, patch_shape), layout)
}

pub(crate) fn predictor_of(recipe: &Recipe) -> (Predictor, Layout) {
    let mut layout = Layout::default();
    let width = recipe.encoder.width;
    let answer = recipe.target.answer_width(width);
    (Predictor::new(&mut layout, &recipe.predictor, recipe.positions, width, answer), layout)
}

impl Recipe {
    /// Numbers in the parameters of the encoder and of the predictor; nothing is drawn.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a recipe that does not prove.
    pub fn n_parameters(&self) -> Result<[usize; 2], ModelError> {
        self.check()?;
        let patch_shape = self.patchify()?.patch_shape();
        Ok([encoder_of(self, patch_shape).1, predictor_of(self).1].map(|layout| layout.n_numbers()))
    }
}

/// Cuts batches into patches and brings them to the device. Apart from the model, so that it can be done while a step runs.
#[derive(Debug, Clone)]
pub struct Uploader {
    patchify: Patchify,
    codes: Option<CodeBook>,
    device: Device,
}

/// A batch on the device.
pub struct Uploaded {
    pub(crate) counts: Counts,
    pub(crate) patches: Patches,
}

impl Uploader {
    /// Proves that a batch fits and brings it to the device, with the codes of its patches where these are predicted.
    ///
    /// # Errors
    /// A batch that does not fit the model or itself, or holds a number that is not finite.
    pub fn upload(&self, batch: &TrainBatch<'_>) -> Result<Uploaded, ModelError> {
        let counts = batch.counts(&self.patchify)?;
        let cut = batch.patches(&self.patchify)?;
        let rows = counts.n_clips * counts.n_tokens;
        let codes = self.codes.as_ref().map(|codes| {
            let labels = codes.label(&cut, counts.n_tokens);
            let books = labels.len() / rows;
            Tensor::from_data(TensorData::new(labels, [rows, books]), &self.device)
        });
        let tensor = Tensor::from_data(TensorData::new(cut, [rows, self.patchify.token_len()]), &self.device);
        Ok(Uploaded { counts, patches: Patches { tensor, codes } })
    }
}

/// All patches of a batch on the device.
pub(crate) struct Patches {
    /// [clips * tokens, numbers in a patch].
    pub tensor: Tensor<2>,
    /// [clips * tokens, books].
    pub codes: Option<Tensor<2, Int>>,
}

/// Writes to the list whose word `name` begins with.
pub(crate) fn write<'a>(
    mut lists: impl Iterator<Item = (&'static str, &'a mut Params)>,
    name: &str,
    data: &[f32],
) -> Result<(), ModelError> {
    let found = lists.find_map(|(word, params)| Some((params, name.strip_prefix(word)?.strip_prefix('.')?)));
    let problem = match found.map(|(params, rest)| params.write(rest, data)) {
        Some(Err(ModelError::Parameter { problem, .. })) => problem,
        Some(written) => return written,
        None => "there is no such part".to_owned(),
    };
    Err(ModelError::Parameter { name: name.to_owned(), problem })
}
