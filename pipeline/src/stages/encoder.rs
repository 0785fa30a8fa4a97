//! `encoder`: what a trained encoder makes of a picture.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_model::checkpoint::Card;
use ajepa_model::train::find_checkpoint;
use ajepa_model::{DeviceChoice, EncoderChoice, FrozenEncoder, Pictures};
use ajepa_ops::patch::PatchifyConfig;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::picture::{Picture, picture};
use crate::columns::RowBuilder;
use crate::embed::{Pooling, digest, mean};
use crate::engine::FoldCx;
use crate::front_end::{FrontEnd, frame_s};
use crate::row::{Cell, Row};
use crate::schema::{ColumnType, Dtype, Schema, TensorType};
use crate::stage::{
    BuildCx, BuildError, ClipError, Fold, PlanError, Stage, StageConfig, StageError, StageKind, StagePlan,
};

/// Tokens that are encoded together, at most: with more, products gain nothing 192 wide, and 3 % 768 wide (measured). What a pass
/// holds at a time is some ten numbers of a token's width (the MLP's hidden layer twice, the residual): 7.5 MiB for 192 wide,
/// 30 MiB for 768 wide.
const TOKENS_TOGETHER: usize = 1024;

/// The same on a GPU, where a pass costs hundreds of launches, whatever is in it.
const TOKENS_TOGETHER_THERE: usize = 16 * 1024;

/// Bytes of rows from which on they are given on: all tokens of a large batch would be a large batch.
const EMIT_BYTES: usize = 4 << 20;

/// The picture becomes what a trained encoder makes of it: a tensor column `embedding` in its place.
///
/// The plan of a graph opens no file, so the encoder's width is said here; `ajepa-pipe checkpoint show` prints the whole
/// stage. Before the first row is read, the checkpoint is compared with it, and its front end with the one before this stage.
/// `n_frames` becomes the number of frames of tokens that hold sound; the others are padding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncoderStageConfig {
    /// The folder of a checkpoint, or of a run: its best checkpoint by probe, else its newest.
    pub checkpoint: PathBuf,
    /// Numbers in a vector, as `checkpoint show` has it; 4 or more.
    pub width: usize,
    /// Which encoder: `target` is the moving average, `context` the one that was trained. Default: target where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderChoice>,
    /// What a row holds: `clip` one vector, the mean over the frames that hold sound; `layers` the same after every block of the encoder,
    /// the last behind the final norm (needs `depth`); `frames` a vector per frame of tokens, the mean over frequency; `tokens` all
    /// of them. Default: clip.
    #[serde(default)]
    pub output: EncoderOutput,
    /// Blocks of the encoder, as `checkpoint show` has it. Active only if `output: layers`, which it is needed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Patches of the encoder; they decide how many frames and tokens there are. Default: 16 frames x 16 mels.
    #[serde(default)]
    pub patch: PatchifyConfig,
    /// The checkpoint's digest, as `checkpoint show` has it: another checkpoint in that place is refused, and enters
    /// the graph's fingerprint. Default: whatever is there is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where to compute: `cpu`; `cuda`, `cuda:1`, `vulkan`, ... in a program built with GPUs; `auto` is the first CUDA device where there
    /// is one, else the CPU. It is no part of the fingerprint, and devices differ: on one CPU a vector is the same to the last bit
    /// whenever it is made, on a GPU to three digits or so (products there may be rounded as TF32). Default: auto.
    #[serde(default, skip_serializing_if = "DeviceChoice::is_auto")]
    pub device: DeviceChoice,
}

/// What a row holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncoderOutput {
    /// One vector: `width` numbers.
    #[default]
    Clip,
    /// [layers, width].
    Layers,
    /// [frames, width].
    Frames,
    /// [tokens, width].
    Tokens,
}

impl EncoderStageConfig {
    /// What is made, wherever it is.
    fn placeless(&self) -> Self {
        Self { device: DeviceChoice::Auto, ..self.clone() }
    }

    fn embedding(&self, picture: &Picture) -> Result<TensorType, PlanError> {
        let patchify = self.patch.build(picture.shape(), picture.time_axis())?;
        let pooling = Pooling::new(&patchify, self.width);
        let (shape, axes) = match self.output {
            EncoderOutput::Clip => (vec![self.width], vec!["width"]),
            EncoderOutput::Layers => (vec![self.depth.unwrap_or(1), self.width], vec!["layers", "width"]),
            EncoderOutput::Frames => (vec![pooling.n_times(), self.width], vec!["frames", "width"]),
            EncoderOutput::Tokens => (vec![patchify.n_tokens(), self.width], vec!["tokens", "width"]),
        };
        let [n_frames, _] = picture.time_axis().time_mel(picture.shape());
        let window_s = frame_s(&picture.tensor.front_end).map(|frame_s| frame_s * n_frames as f64);
        let front_end = json!({
            "encoder": self.placeless(),
            "window_s": window_s,
            "hop_s": window_s.map(|window_s| window_s / pooling.n_times() as f64),
            "picture": picture.tensor.front_end,
            "picture_shape": picture.shape(),
            "picture_axes": picture.tensor.axes,
        });
        let axes = axes.into_iter().map(str::to_owned).collect();
        Ok(TensorType { dtype: Dtype::F32, shape, axes, front_end })
    }

    /// Compares what the config says of the checkpoint with what lies there.
    fn check(&self, card: &Card, picture: &Picture) -> Result<(), BuildError> {
        let shown = self.checkpoint.display();
        let there = digest(card);
        let recipe = &card.recipe;
        let help = stage_words(&self.checkpoint, card);
        let fault = |problem: String| Err(BuildError::new(problem, help.clone()));
        if recipe.encoder.width != self.width {
            return fault(format!("{shown}: its encoder is {} wide, not {}", recipe.encoder.width, self.width));
        }
        if let Some(depth) = self.depth.filter(|depth| *depth != recipe.encoder.depth) {
            return fault(format!("{shown}: its encoder is {} deep, not {depth}", recipe.encoder.depth));
        }
        if recipe.patch != self.patch {
            let words = |patch: &PatchifyConfig| format!("{} x {}", patch.patch_frames, patch.patch_mels);
            return fault(format!("{shown}: its patches are {}, not {}", words(&recipe.patch), words(&self.patch)));
        }
        if let Some(wanted) = self.digest.as_ref().filter(|wanted| **wanted != there) {
            return fault(format!("{shown}: its digest is {there}, not {wanted}: it is another checkpoint"));
        }
        if recipe.time_axis != picture.time_axis() {
            let problem = format!("{shown}: time is another axis of its pictures than of {}", picture.tensor);
            return Err(BuildError::new(
                problem,
                "make them by the checkpoint's front end: `checkpoint show` prints it",
            ));
        }
        let Ok(front_end) = serde_json::from_value::<FrontEnd>(card.front_end.clone()) else { return Ok(()) };
        let differences = front_end.differences(&picture.tensor);
        if differences.is_empty() {
            return Ok(());
        }
        let problem = format!("{shown} was trained on other pictures: {}", differences.join("; "));
        Err(BuildError::new(problem, "use the checkpoint's front end: `checkpoint show` prints it, `embed` replays it"))
    }
}

/// The stage that fits a checkpoint, as a graph has it.
pub fn stage_words(path: &Path, card: &Card) -> String {
    let patch = &card.recipe.patch;
    let patch = if *patch == PatchifyConfig::default() {
        String::new()
    } else {
        format!("patch: {{ patch_frames: {}, patch_mels: {} }}, ", patch.patch_frames, patch.patch_mels)
    };
    let (path, width, digest) = (path.display(), card.recipe.encoder.width, digest(card));
    format!("{{ type: encoder, checkpoint: {path}, width: {width}, {patch}digest: \"{digest}\" }}")
}

impl StageConfig for EncoderStageConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        self.validate()?;
        let picture = picture(inputs)?;
        let embedding = self.embedding(&picture)?;
        let output = inputs[0]
            .clone()
            .without(&picture.column)
            .with("n_frames", ColumnType::Plain(DataType::UInt32))
            .with("embedding", ColumnType::Tensor(embedding));
        Ok(StagePlan::new(StageKind::Fold, output))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if self.checkpoint.as_os_str().is_empty() {
            return Err(PlanError::field("checkpoint", "it is empty", "name a folder, such as out/model"));
        }
        match (self.output, self.depth) {
            (EncoderOutput::Layers, None) => {
                let help = "say `depth`: `ajepa-pipe checkpoint show` prints how many blocks the encoder has";
                return Err(PlanError::field("output", "how many layers there are is not known", help));
            }
            (_, Some(depth)) => super::checks::at_least_one("depth", depth)?,
            _ => {}
        }
        super::checks::at_least_one("width", self.width)
    }

    fn content(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self.placeless()).ok()
    }

    fn device(&self) -> Option<DeviceChoice> {
        Some(self.device)
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let picture = picture(cx.inputs)?;
        let unusable = |error: ajepa_model::checkpoint::CheckpointError| {
            let help = "name the folder of a whole checkpoint; `ajepa-pipe checkpoint show --verify` checks one";
            BuildError::new(error.to_string(), help)
        };
        let checkpoint = find_checkpoint(&self.checkpoint).map_err(unusable)?;
        self.check(checkpoint.card(), &picture)?;
        let choice = self.encoder.unwrap_or_else(|| EncoderChoice::usual(&checkpoint));
        let on = self.device.open().map_err(|error| BuildError::new(error.problem, error.help))?;
        let encoder = FrozenEncoder::load(&checkpoint, choice, picture.shape(), &on.device);
        let encoder = encoder.map_err(|error| {
            if checkpoint.has(choice.file()) {
                return unusable(error);
            }
            BuildError::new(error.to_string(), "leave `encoder` out: the one that is there is taken then")
        })?;
        let [n_frames, _] = picture.time_axis().time_mel(picture.shape());
        Ok(Stage::Fold(Box::new(EncoderFold {
            pooling: Pooling::new(encoder.patchify(), encoder.width()),
            together: clips_together(&encoder),
            encoder,
            window_s: frame_s(&picture.tensor.front_end).map(|frame_s| frame_s * n_frames as f64),
            column: picture.column,
            n_frames,
            output: self.output,
            builder: RowBuilder::new(&cx.inputs[0], cx.output),
        })))
    }
}

/// Pictures of a batch are encoded some together, for products of many rows take a third less time than those of a picture's few.
/// A row's vector is a function of its picture alone all the same, to the last bit ([`FrozenEncoder::embed`]).
///
/// Nothing is held from one batch to the next, so that branches of one source may meet behind this stage. Batches arrive that are
/// large enough: sources give 16 clips or more at a time, each one window or several, and eight pictures have all of the gain.
struct EncoderFold {
    encoder: FrozenEncoder,
    pooling: Pooling,
    /// Pictures that are encoded together, at most.
    together: usize,
    column: String,
    /// Seconds that fill a picture, where the front end says it.
    window_s: Option<f64>,
    /// Frames of a picture.
    n_frames: usize,
    output: EncoderOutput,
    builder: RowBuilder,
}

impl EncoderFold {
    /// The share of the window that holds sound; all of it when nothing says.
    fn share(&self, row: &Row) -> f64 {
        let by_time = self.window_s.and_then(|window_s| Some(row.f64("duration_s")? / window_s));
        let by_frames = || row.u32("n_frames").map(|n| f64::from(n) / self.n_frames as f64);
        by_time.or_else(by_frames).unwrap_or(1.0)
    }

    /// The pictures of `range`, end to end, and whose they are; those that cannot be used are refused.
    fn gather(&self, rows: &Arc<RecordBatch>, range: Range<usize>, cx: &mut FoldCx<'_>) -> (Vec<f32>, Vec<Row>) {
        let (mut pictures, mut whose) = (Vec::new(), Vec::with_capacity(range.len()));
        for index in range {
            let mut row = Row::new(rows.clone(), index);
            match usable(row.take_tensor(&self.column)) {
                Ok(picture) => {
                    pictures.extend_from_slice(&picture);
                    whose.push(row);
                }
                Err(error) => cx.reject(rows, index, error),
            }
        }
        (pictures, whose)
    }

    /// Encodes the pictures of `range` together; the rows are in `builder` then.
    fn encode(&mut self, rows: &Arc<RecordBatch>, range: Range<usize>, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let (pictures, whose) = self.gather(rows, range, cx);
        if whose.is_empty() {
            return Ok(());
        }
        let pictures = Pictures::F32(&pictures);
        let layers = match self.output {
            EncoderOutput::Layers => self.encoder.embed_layers(pictures),
            _ => self.encoder.embed(pictures).map(|tokens| vec![tokens]),
        };
        let layers = layers.map_err(|error| StageError::Other(error.to_string()))?;
        let each = self.encoder.patchify().n_tokens() * self.encoder.width();
        for (at, mut row) in whose.into_iter().enumerate() {
            let index = row.origin().1;
            let own: Vec<&[f32]> = layers.iter().map(|tokens| &tokens[at * each..(at + 1) * each]).collect();
            self.lay(&mut row, &own);
            if let Err(error) = self.builder.push(row, u64::MAX, &mut |_| ()) {
                cx.reject(rows, index, error);
            }
        }
        Ok(())
    }

    /// Lays over `row` what it holds of its tokens, which are those of every layer, or of the last.
    fn lay(&self, row: &mut Row, layers: &[&[f32]]) {
        let n_valid = self.pooling.n_valid(self.share(row));
        let width = self.encoder.width();
        let of_layer = |tokens: &&[f32]| match self.output {
            EncoderOutput::Tokens => tokens.to_vec(),
            EncoderOutput::Frames => self.pooling.frames(tokens),
            EncoderOutput::Clip | EncoderOutput::Layers => mean(&self.pooling.frames(tokens)[..n_valid * width], width),
        };
        let embedding = layers.iter().flat_map(of_layer).collect();
        row.set("n_frames", Cell::U32(n_valid as u32));
        row.set("embedding", Cell::Tensor(embedding));
    }
}

/// Pictures that are encoded together, at most.
pub fn clips_together(encoder: &FrozenEncoder) -> usize {
    let n_tokens = if encoder.is_on_cpu() { TOKENS_TOGETHER } else { TOKENS_TOGETHER_THERE };
    (n_tokens / encoder.patchify().n_tokens().max(1)).max(1)
}

/// `0..n` in ranges of up to `most`, as even as can be: what is left over would be encoded by itself.
pub fn even_parts(n: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let n_parts = n.div_ceil(most).max(1);
    (0..n_parts).map(move |part| part * n / n_parts..(part + 1) * n / n_parts)
}

/// A picture, unless a number of it is not finite: in company it would spoil the others' encoding as well as its own.
fn usable(picture: Result<Vec<f32>, ClipError>) -> Result<Vec<f32>, ClipError> {
    let picture = picture?;
    if picture.iter().all(|x| x.is_finite()) {
        return Ok(picture);
    }
    Err(ClipError::new("non_finite", "the picture holds a number that is not finite"))
}

impl Fold for EncoderFold {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let rows = Arc::new(rows);
        let n_rows = rows.num_rows();
        for range in even_parts(n_rows, self.together) {
            self.encode(&rows, range, cx)?;
            if self.builder.bytes() >= EMIT_BYTES {
                cx.emit(self.builder.finish(&rows)?)?;
            }
        }
        if self.builder.n_rows() > 0 { cx.emit(self.builder.finish(&rows)?) } else { Ok(()) }
    }

    fn end_unit(&mut self, _unit: usize, _cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        Ok(())
    }
}
