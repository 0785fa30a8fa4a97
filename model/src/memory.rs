//! What training takes in memory, told before it begins: from the recipe and the sizes of a batch alone.
//!
//! Counted are the numbers that must be there at the same time, in f32 on the CPU: what the parameters need as long as training goes
//! on, and what one step keeps from its forward pass until its backward pass has used it. The second is by far the larger for small
//! models and large batches, the first for large models.

use crate::ModelError;
use crate::config::Recipe;
use crate::objective::{RegulariserConfig, TargetConfig};
use crate::positions::Positions;

/// Sizes of a batch, as masks and clips make it.
///
/// # Example: 16 clips of 128 tokens, half of them hidden
/// ```
/// use ajepa_model::{BatchSizes, ModelConfig};
/// let recipe = ModelConfig::default().recipe()?;
/// let of = |n_clips| recipe.memory(BatchSizes { n_clips, n_masks: 1, n_blocks: 1, n_context: 64, n_target: 64 }, 1);
/// let (some, twice) = (of(16)?, of(32)?);
/// assert_eq!(some.lasting_bytes, twice.lasting_bytes);
/// assert!(twice.total_bytes() > 3 * some.total_bytes() / 2);
/// # Ok::<(), ajepa_model::ModelError>(())
/// ```
#[allow(clippy::struct_field_names, reason = "`n_` says of each that it is a number of something")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSizes {
    /// Clips.
    pub n_clips: usize,
    /// Masks of a clip.
    pub n_masks: usize,
    /// Target blocks of a mask.
    pub n_blocks: usize,
    /// Tokens that are seen under one mask.
    pub n_context: usize,
    /// Tokens of one target block.
    pub n_target: usize,
}

/// Bytes that training takes, of anonymous memory: shards that are mapped come and go as the system likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainMemory {
    /// Parameters, their two moments, the moving average.
    pub lasting_bytes: u64,
    /// What a step needs beside them when it needs most.
    pub step_bytes: u64,
}

impl TrainMemory {
    /// All of it.
    pub fn total_bytes(&self) -> u64 {
        self.lasting_bytes.saturating_add(self.step_bytes)
    }
}

/// What a stack of blocks keeps and needs, in numbers.
struct Stack {
    rows: f64,
    n_tokens: f64,
    width: f64,
    n_heads: f64,
    mlp_ratio: f64,
    depth: f64,
    rope: bool,
    drops: bool,
}

impl Stack {
    /// What backward needs of one row of one block. Every operation keeps its input: both norms and the four linear layers one
    /// width each (the last one the MLP's), attention queries, keys, values and its weights, GELU the MLP's width.
    fn kept_by_row(&self) -> f64 {
        let turned = if self.rope { 3.0 } else { 0.0 };
        let dropped = if self.drops { 2.0 } else { 0.0 };
        self.width * (8.0 + turned + dropped + 2.0 * self.mlp_ratio) + self.n_heads * self.n_tokens
    }

    /// All blocks, the norm behind them, and the positions of the rows.
    fn kept(&self) -> f64 {
        self.rows * (self.depth * self.kept_by_row() + 3.0 * self.width)
    }

    /// Beside that while one block goes backward: gradients of the MLP's two sides and of the residual stream.
    fn passing(&self) -> f64 {
        self.rows * self.width * (2.0 + 2.0 * self.mlp_ratio)
    }
}

impl Recipe {
    /// What a training by this recipe takes, with steps of `accumulate` batches of `batch`.
    ///
    /// On the CPU it was 0.94 to 1.0 of the most that a process was seen to take, for 6 to 100 million parameters and 2 to 64 clips.
    /// Not counted are what the program takes anyway, the feed's buffers, and a probe's pictures.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a recipe that does not prove.
    pub fn memory(&self, batch: BatchSizes, accumulate: usize) -> Result<TrainMemory, ModelError> {
        const BYTES: f64 = 4.0;
        let [in_encoder, in_predictor] = self.n_parameters()?.map(|n| n as f64);
        let patchify = self.patchify()?;
        let (n_tokens, token_len) = (patchify.n_tokens() as f64, patchify.token_len() as f64);
        let has_average = matches!(self.target, TargetConfig::MovingAverage(_));
        let average = if has_average { in_encoder } else { 0.0 };
        let lasting = 3.0 * (in_encoder + in_predictor) + average;

        let masks = (batch.n_clips * batch.n_masks) as f64;
        let blocks = masks * batch.n_blocks as f64;
        let (encoder, predictor) = (self.encoder_stack(batch, masks), self.predictor_stack(batch, blocks));
        let (seen, asked) = (encoder.rows, blocks * batch.n_target as f64);
        let everything = batch.n_clips as f64 * n_tokens;
        // Of its last block the predictor follows the hidden rows alone, behind attention.
        let unfollowed = (predictor.rows - asked) * predictor.width * (3.0 + 2.0 * predictor.mlp_ratio);
        let answers = asked * self.target.answer_width(self.encoder.width) as f64;
        let regularised = match self.regulariser {
            RegulariserConfig::None => 0.0,
            RegulariserConfig::VarianceCovariance(_) => 3.0 * seen * encoder.width,
            // A cosine and a sine at each of eight knots, and what they are of.
            RegulariserConfig::Sigreg(sigreg) => 24.0 * seen * sigreg.n_directions as f64,
        };
        // There from the first to the last: patches and what was seen of them, targets, latents and predictions for telemetry.
        let input = everything * token_len + seen * (token_len + encoder.width) + 2.0 * answers;
        let kept_by_encoder = encoder.kept() + regularised;
        let kept_by_predictor = predictor.kept() - unfollowed;
        let targets = if has_average { everything * encoder.width * (2.0 + 2.0 * encoder.mlp_ratio) } else { 0.0 };
        // Four times a step may need most: at the targets, at the turn from forward to backward, between the two models, at the end.
        let turn = kept_by_encoder + kept_by_predictor + f64::max(2.0 * answers, predictor.passing());
        let between = kept_by_encoder + encoder.passing() + in_predictor;
        let end = in_encoder + in_predictor + encoder.passing();
        let most = [targets, turn, between, end].into_iter().fold(0.0, f64::max);
        let summed = if accumulate > 1 { in_encoder + in_predictor } else { 0.0 };
        let bytes = |numbers: f64| (BYTES * numbers) as u64;
        Ok(TrainMemory { lasting_bytes: bytes(lasting), step_bytes: bytes(input + most + summed) })
    }

    fn encoder_stack(&self, batch: BatchSizes, masks: f64) -> Stack {
        Stack {
            rows: masks * batch.n_context as f64,
            n_tokens: batch.n_context as f64,
            width: self.encoder.width as f64,
            n_heads: self.encoder.n_heads as f64,
            mlp_ratio: self.encoder.mlp_ratio as f64,
            depth: self.encoder.depth as f64,
            rope: self.positions == Positions::Rope2d,
            drops: self.encoder.drop_path > 0.0,
        }
    }

    fn predictor_stack(&self, batch: BatchSizes, blocks: f64) -> Stack {
        let n_tokens = (batch.n_context + batch.n_target) as f64;
        Stack {
            rows: blocks * n_tokens,
            n_tokens,
            width: self.predictor.width as f64,
            n_heads: self.predictor.n_heads as f64,
            mlp_ratio: self.predictor.mlp_ratio as f64,
            depth: self.predictor.depth as f64,
            rope: self.positions == Positions::Rope2d,
            drops: false,
        }
    }
}
