//! A batch as the pipeline hands it over, and the index lists that a step needs of it.

use ajepa_ops::patch::Patchify;
use burn::tensor::{Device, Int, Tensor, TensorData, f16};
use rayon::prelude::*;

use crate::ModelError;
use crate::predictor::Question;

/// Pictures end to end, in the type they are stored in.
#[derive(Debug, Clone, Copy)]
pub enum Pictures<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision, as shards have it.
    F16(&'a [f16]),
}

impl Pictures<'_> {
    /// Numbers of all pictures.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F16(data) => data.len(),
        }
    }
}

/// Pictures with masks.
///
/// # Shapes
/// `pictures` [clips, rows, cols], `context` [clips, masks, n_context], `target` [clips, masks, blocks, n_target]: every mask has one
/// context and one or several blocks of targets to predict from it, as [`ajepa_ops::mask`] draws them.
#[derive(Debug, Clone, Copy)]
pub struct TrainBatch<'a> {
    /// Log-mel pictures.
    pub pictures: Pictures<'a>,
    /// Tokens that the context encoder sees.
    pub context: &'a [u32],
    /// Tokens that the predictor must guess.
    pub target: &'a [u32],
    /// Clips in the batch.
    pub n_clips: usize,
    /// Masks of a clip.
    pub n_masks: usize,
    /// Target blocks of a mask.
    pub n_blocks: usize,
}

/// Sizes of a batch.
#[allow(clippy::struct_field_names, reason = "`n_` says of each that it is a number of something")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub n_clips: usize,
    pub n_blocks: usize,
    pub n_context: usize,
    pub n_target: usize,
    /// Tokens of a picture.
    pub n_tokens: usize,
}

impl TrainBatch<'_> {
    /// Proves that the batch fits itself and the picture.
    pub(crate) fn counts(&self, patchify: &Patchify) -> Result<Counts, ModelError> {
        let &Self { n_clips, n_masks, n_blocks, .. } = self;
        let n_tokens = patchify.n_tokens();
        same("numbers in the pictures", n_clips * n_tokens * patchify.token_len(), self.pictures.len())?;
        for (what, n) in [("clips", n_clips), ("masks", n_masks), ("target blocks", n_blocks)] {
            if n == 0 {
                return Err(ModelError::Shape { what, expected: 1, got: 0 });
            }
        }
        let n_context = per("context tokens", self.context, n_clips * n_masks)?;
        let n_target = per("target tokens", self.target, n_clips * n_masks * n_blocks)?;
        for tokens in [self.context, self.target] {
            if let Some(at) = tokens.iter().position(|&token| token as usize >= n_tokens) {
                return Err(ModelError::Token { token: tokens[at], clip: at * n_clips / tokens.len(), n_tokens });
            }
        }
        Ok(Counts { n_clips, n_blocks, n_context, n_target, n_tokens })
    }

    /// All patches of all clips, [clips * tokens, numbers in a patch].
    pub(crate) fn patches(&self, patchify: &Patchify) -> Result<Vec<f32>, ModelError> {
        let len = patchify.n_tokens() * patchify.token_len();
        let mut patches = vec![0.0; self.n_clips * len];
        patches.par_chunks_mut(len).enumerate().try_for_each(|(clip, out)| {
            let range = clip * len..(clip + 1) * len;
            let cut = match self.pictures {
                Pictures::F32(data) => patchify.patchify(&data[range], out),
                Pictures::F16(data) => {
                    let wide: Vec<f32> = data[range].iter().map(|x| x.to_f32()).collect();
                    patchify.patchify(&wide, out)
                }
            };
            cut.map_err(|_| ModelError::Shape { what: "numbers in a picture", expected: len, got: out.len() })?;
            if out.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(ModelError::Picture { clip }) }
        })?;
        Ok(patches)
    }
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), ModelError> {
    if expected == got { Ok(()) } else { Err(ModelError::Shape { what, expected, got }) }
}

/// How many of `tokens` each of `n` lists has.
fn per(what: &'static str, tokens: &[u32], n: usize) -> Result<usize, ModelError> {
    let each = (tokens.len() / n).max(1);
    same(what, each * n, tokens.len())?;
    Ok(each)
}

impl Counts {
    /// Rows, among all patches of the batch, of the tokens in `lists`, which are `per_clip` long for each clip.
    pub fn rows(&self, tokens: &[u32], device: &Device) -> Tensor<1, Int> {
        let per_clip = tokens.len() / self.n_clips;
        let rows = tokens.chunks_exact(per_clip).enumerate();
        let rows =
            rows.flat_map(|(clip, tokens)| tokens.iter().map(move |&token| clip * self.n_tokens + token as usize));
        indices(rows, device)
    }

    /// Places of all tokens of all clips.
    pub fn all_places(&self, device: &Device) -> Tensor<1, Int> {
        indices((0..self.n_clips).flat_map(|_| 0..self.n_tokens), device)
    }

    /// What the predictor is asked: for each target block a sequence of its mask's context and as many mask tokens as it has targets.
    pub fn question(&self, context: &[u32], target: &[u32], device: &Device) -> Question {
        let n_tokens = self.n_context + self.n_target;
        let nobody = context.len();
        let mut sources = Vec::with_capacity(target.len() / self.n_target * n_tokens);
        let mut places = Vec::with_capacity(sources.capacity());
        let mut asked = Vec::with_capacity(target.len());
        for (sequence, block) in target.chunks_exact(self.n_target).enumerate() {
            let first = sequence / self.n_blocks * self.n_context;
            sources.extend(first..first + self.n_context);
            places.extend(context[first..first + self.n_context].iter().map(|&token| token as usize));
            asked.extend(sources.len()..sources.len() + self.n_target);
            sources.extend(std::iter::repeat_n(nobody, self.n_target));
            places.extend(block.iter().map(|&token| token as usize));
        }
        let [sources, places, asked] = [sources, places, asked].map(|list| indices(list.into_iter(), device));
        Question { sources, places, asked, n_tokens }
    }
}

/// An index list on the device.
pub(crate) fn indices(list: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let list: Vec<i32> = list.map(|index| index as i32).collect();
    let n = list.len();
    Tensor::from_data(TensorData::new(list, [n]), device)
}
