//! An encoder alone, as a checkpoint has it: for embeddings of new pictures. No predictor, no moments, nothing to train.

use ajepa_ops::patch::Patchify;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::batch::{Pictures, TrainBatch};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::encoder::{Encoder, Tokens};
use crate::jepa::{Jepa, encoder_of};
use crate::params::{Compute, Params};
use crate::positions::PositionTable;

/// Tokens of a part of pictures that is encoded beside others, at least: its products still take most of the time.
const TOKENS_OF_A_PART: usize = 384;

/// Which of a checkpoint's encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncoderChoice {
    /// The moving average of the context encoder, which training aimed at.
    Target,
    /// The encoder that was trained.
    Context,
}

impl EncoderChoice {
    /// Its file in a checkpoint.
    pub fn file(self) -> &'static str {
        match self {
            Self::Target => "target.safetensors",
            Self::Context => "encoder.safetensors",
        }
    }

    /// What is taken when nobody says: the moving average where there is one.
    pub fn usual(checkpoint: &Checkpoint) -> Self {
        if checkpoint.has(Self::Target.file()) { Self::Target } else { Self::Context }
    }
}

/// An encoder with its parameters, ready for pictures of one shape. Clones share the parameters.
///
/// Products are computed in f32, whatever they were in training.
#[derive(Debug, Clone)]
pub struct FrozenEncoder {
    encoder: Encoder,
    params: Params,
    patchify: Patchify,
    table: PositionTable,
    device: Device,
}

impl FrozenEncoder {
    /// Loads one encoder of `checkpoint`, for pictures of [rows, cols] = `picture`: any that divides into the recipe's patches.
    ///
    /// Only the file of that encoder is read, every page verified first.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] naming file and bytes; [`CheckpointError::Mismatch`] for tensors of another model, for
    /// numbers that are not finite, and for an encoder that the checkpoint does not have.
    pub fn load(
        checkpoint: &Checkpoint,
        which: EncoderChoice,
        picture: [usize; 2],
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let recipe = &checkpoint.card().recipe;
        recipe.check()?;
        let fault = |fault| ModelError::Config { faults: vec![fault] };
        let patchify = recipe.patch.build(picture, recipe.time_axis).map_err(fault)?;
        let (encoder, layout) = encoder_of(recipe, patchify.patch_shape());
        let tensors = checkpoint.tensors(which.file())?;
        let path = checkpoint.dir().join(which.file());
        let (n_there, n_wanted) = (tensors.names()?.len(), layout.n_tensors());
        if n_there != n_wanted {
            let problem = format!("it has {n_there} tensors, the encoder of its checkpoint's recipe {n_wanted}");
            return Err(CheckpointError::mismatch(&path, problem));
        }
        let params = layout.fill(Compute::F32, device, |spec| {
            let numbers = tensors.numbers(&spec.name, &spec.shape)?;
            if numbers.iter().all(|x| x.is_finite()) {
                return Ok(numbers);
            }
            let problem = format!(
                "{} holds a number that is not finite: the training had diverged; take an earlier checkpoint",
                spec.name
            );
            Err(CheckpointError::mismatch(&path, problem))
        })?;
        let table = encoder.positions(patchify.grid(), device);
        Ok(Self { encoder, params, patchify, table, device: device.clone() })
    }

    /// One encoder of a model as it stands, for pictures of [rows, cols] = `picture`; the parameters are shared until training changes them.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a picture that does not divide, [`ModelError::Parameter`] where there is no moving average.
    pub fn of(model: &Jepa, which: EncoderChoice, picture: [usize; 2]) -> Result<Self, ModelError> {
        let recipe = model.recipe();
        let fault = |fault| ModelError::Config { faults: vec![fault] };
        let patchify = recipe.patch.build(picture, recipe.time_axis).map_err(fault)?;
        let params = match which {
            EncoderChoice::Context => Some(&model.weights.encoder),
            EncoderChoice::Target => model.average.as_ref(),
        };
        let missing = || ModelError::Parameter {
            name: "target_encoder".to_owned(),
            problem: "a model whose targets are codes has no moving average".to_owned(),
        };
        let (encoder, device) = (model.encoder().clone(), model.device().clone());
        let table = encoder.positions(patchify.grid(), &device);
        Ok(Self { params: params.ok_or_else(missing)?.clone(), encoder, patchify, table, device })
    }

    /// Numbers in a token's vector.
    pub fn width(&self) -> usize {
        self.encoder.width()
    }

    /// Its blocks.
    pub fn depth(&self) -> usize {
        self.encoder.depth()
    }

    /// How pictures are cut: the grid of tokens, and which of its axes is time.
    pub fn patchify(&self) -> &Patchify {
        &self.patchify
    }

    /// Whether it computes on the CPU.
    pub fn is_on_cpu(&self) -> bool {
        crate::ops::is_cpu(&self.device)
    }

    /// Names, shapes and numbers.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What the encoder makes of whole pictures, end to end: as [`Jepa::latents`](crate::Jepa::latents).
    ///
    /// On a CPU the vectors of a picture are a function of it alone, to the last bit: whatever stands beside it, wherever it stands,
    /// however many threads there are. Another processor may give other last bits.
    ///
    /// # Shapes
    /// `pictures` [clips, rows, cols] -> [clips, tokens, width], tokens row-major over the grid.
    ///
    /// # Errors
    /// [`ModelError::Shape`] for pictures that are not whole, [`ModelError::Picture`] for a number that is not finite,
    /// [`ModelError::Device`] when the device fails.
    ///
    /// # Panics
    /// When the blocks give another type than f32, which they do not.
    pub fn embed(&self, pictures: Pictures<'_>) -> Result<Vec<f32>, ModelError> {
        let all = self.in_company(pictures, |pictures| {
            let tokens = whole(&self.patchify, pictures, &self.device)?;
            Ok(vec![numbers(self.encoder.forward(&self.params, &self.table, tokens))?])
        });
        all.map(|mut all| all.pop().unwrap_or_default())
    }

    /// The same after every block, the first first: what each hands on to the next, and of the last what [`FrozenEncoder::embed`] gives,
    /// behind the final norm. Nothing of one layer is another's: as many numbers as [`FrozenEncoder::embed`] gives are held for each.
    ///
    /// # Errors
    /// As [`FrozenEncoder::embed`].
    ///
    /// # Panics
    /// As [`FrozenEncoder::embed`].
    pub fn embed_layers(&self, pictures: Pictures<'_>) -> Result<Vec<Vec<f32>>, ModelError> {
        self.in_company(pictures, |pictures| {
            let tokens = whole(&self.patchify, pictures, &self.device)?;
            self.encoder.all_layers(&self.params, &self.table, tokens).into_iter().map(numbers).collect()
        })
    }

    /// Gives `all` copies of the pictures where there are few, so that products sum each number's terms in the order that they have among
    /// many; the copies are forgotten again.
    fn in_company(
        &self,
        pictures: Pictures<'_>,
        all: impl Fn(Pictures<'_>) -> Result<Vec<Vec<f32>>, ModelError> + Sync,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let each = self.patchify.picture_shape().into_iter().product::<usize>();
        let (n_clips, least) = (pictures.len() / each, self.least_clips());
        if n_clips >= least {
            return beside(pictures, each, self.n_parts(n_clips, least), &all);
        }
        if n_clips == 0 {
            return all(pictures);
        }
        let copies = least.div_ceil(n_clips);
        let mut filled = match pictures {
            Pictures::F32(data) => all(Pictures::F32(&data.repeat(copies)))?,
            Pictures::F16(data) => all(Pictures::F16(&data.repeat(copies)))?,
        };
        for vectors in &mut filled {
            vectors.truncate(n_clips * self.patchify.n_tokens() * self.width());
        }
        Ok(filled)
    }

    /// Into how many parts the pictures go that are encoded beside each other: between its products a pass has much that one thread does
    /// alone, and while one part is there another's products keep the other threads busy. Each part reads all weights, so it is not small.
    fn n_parts(&self, n_clips: usize, least: usize) -> usize {
        if !self.is_on_cpu() {
            return 1;
        }
        let n_large = n_clips * self.patchify.n_tokens() / TOKENS_OF_A_PART;
        rayon::current_num_threads().min(n_large).min(n_clips / least.max(1)).max(1)
    }

    /// Clips from which on a product sums each number's terms in one and the same order, however many more there are. `gemm` has other
    /// ways for outputs of one row, of up to 256 numbers, and of up to 64 x 64; attention multiplies clip by clip, and all else
    /// goes row by row.
    fn least_clips(&self) -> usize {
        let width = self.width().max(1);
        let least_rows = if width <= 64 { 65 } else { 2 };
        least_rows.max(256 / width + 1).div_ceil(self.patchify.n_tokens().max(1))
    }
}

/// What `all` makes of `n_parts` parts of the pictures at once, each of `each` numbers, put together again.
fn beside(
    pictures: Pictures<'_>,
    each: usize,
    n_parts: usize,
    all: &(impl Fn(Pictures<'_>) -> Result<Vec<Vec<f32>>, ModelError> + Sync),
) -> Result<Vec<Vec<f32>>, ModelError> {
    if n_parts < 2 {
        return all(pictures);
    }
    let n_clips = pictures.len() / each;
    let part = |at: usize| {
        let range = at * n_clips / n_parts * each..(at + 1) * n_clips / n_parts * each;
        match pictures {
            Pictures::F32(data) => all(Pictures::F32(&data[range])),
            Pictures::F16(data) => all(Pictures::F16(&data[range])),
        }
    };
    let parts: Vec<Vec<Vec<f32>>> = (0..n_parts).into_par_iter().map(part).collect::<Result<_, _>>()?;
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        whole.iter_mut().zip(part).for_each(|(whole, part)| whole.extend(part));
    }
    Ok(whole)
}

fn numbers(latents: Tensor<2>) -> Result<Vec<f32>, ModelError> {
    let data = latents.try_into_data().map_err(ModelError::device)?;
    Ok(data.try_into_vec::<f32>().expect("blocks and the final norm give f32"))
}

/// All tokens of whole pictures, end to end.
pub(crate) fn whole(patchify: &Patchify, pictures: Pictures<'_>, device: &Device) -> Result<Tokens, ModelError> {
    let n_clips = pictures.len() / patchify.picture_shape().into_iter().product::<usize>();
    // One token stands in for the masks that a batch of training has.
    let nobody = vec![0; n_clips];
    let batch = TrainBatch { pictures, context: &nobody, target: &nobody, n_clips, n_masks: 1, n_blocks: 1 };
    let counts = batch.counts(patchify)?;
    let cut = TensorData::new(batch.patches(patchify)?, [n_clips * counts.n_tokens, patchify.token_len()]);
    let patches = Tensor::from_data(cut, device);
    Ok(Tokens { patches, places: counts.all_places(device), n_tokens: counts.n_tokens })
}
