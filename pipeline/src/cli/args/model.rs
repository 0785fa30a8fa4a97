//! The verbs that need a model: `embed` and `checkpoint`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

#[cfg(feature = "train")]
use ajepa_model::DeviceChoice;
use clap::{Args, Subcommand, ValueEnum};

use super::value;
use super::{ProgressMode, ReportFile};

/// `embed --checkpoint C --out FILE AUDIO...`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe embed -c out/model -o birds.parquet recordings/
  ajepa-pipe embed -c out/model -o esc50.parquet esc50.csv         labels and folds travel along
  ajepa-pipe embed -c out/model -o long.npy --frames night.flac    a vector per frame of tokens
  ajepa-pipe embed -c out/model -o dense.parquet --windows --hop 1 *.wav
  ajepa-pipe embed -c out/model -o layers.npy --layers birds/      a vector per block of the encoder

The front end of the checkpoint is replayed: resampling, level and log-mel as in training, without
what varied or chose clips. Long recordings are cut into windows as long as a training picture; the
last is filled up with silence, which is left out of every mean. The file says what made it.

  polars:  pl.read_parquet('birds.parquet')['embedding'].to_numpy()
  numpy:   np.load('long.npy'), with a row of long.csv for each of its rows

All or nothing: a run that is stopped begins again. Files that cannot be read are in NAME.rejects.parquet.")]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line, of which at most one is given")]
pub struct EmbedArgs {
    /// The folder of a checkpoint, or of a run: its best checkpoint by probe, else its newest
    #[arg(long, short, value_name = "DIR")]
    pub checkpoint: PathBuf,

    /// The file to write: .parquet, or .npy with a .csv and a .json beside it
    #[arg(long, short, value_name = "FILE", value_parser = value::embeddings_file)]
    pub out: PathBuf,

    /// Audio files, folders of them, and tables of clips (.csv, .tsv, .jsonl, .parquet with a column `path`)
    #[arg(value_name = "AUDIO", required = true)]
    pub audio: Vec<PathBuf>,

    /// Which encoder [default: the target where there is one]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub encoder: Option<Encoder>,

    /// A row per window instead of one per clip
    #[arg(long, conflicts_with_all = ["frames", "tokens", "layers"])]
    pub windows: bool,

    /// A row per clip with a vector for each block of the encoder, the last behind the final norm
    #[arg(long, conflicts_with_all = ["frames", "tokens"])]
    pub layers: bool,

    /// A row per frame of tokens, the mean over frequency: what X-ARES takes
    #[arg(long, conflicts_with = "tokens")]
    pub frames: bool,

    /// A row per window with all its tokens
    #[arg(long)]
    pub tokens: bool,

    /// Seconds from the start of one window to the start of the next [default: the length of a window]
    #[arg(long, value_name = "S", value_parser = value::seconds)]
    pub hop: Option<f64>,

    /// Where to compute: cpu, cuda, cuda:1, vulkan; auto is the first CUDA device where there is one, else the CPU
    #[cfg(feature = "train")]
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,

    /// Worker threads [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = value::at_least_one)]
    pub jobs: Option<NonZeroUsize>,

    /// Write the run report as a page (.html) or as data (.json); may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<ReportFile>,

    /// How to show progress on stderr
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressMode,
}

/// Which encoder of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encoder {
    /// The moving average, which training aimed at
    Target,
    /// The one that was trained
    Context,
}

/// `checkpoint show|diff|import|export`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe checkpoint show out/model
  ajepa-pipe checkpoint diff step-00010000 step-00020000
  ajepa-pipe checkpoint import jepa.ckpt --out published    the weights that PyTorch trained
  ajepa-pipe checkpoint export out/model --out encoder      for PyTorch: safetensors, a module, a card")]
pub struct CheckpointArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: CheckpointVerb,
}

/// What to do with checkpoints.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum CheckpointVerb {
    /// Say what a checkpoint is: model, front end, step, scores, files
    Show(ShowArgs),
    /// Say where two checkpoints differ: recipe, and each tensor
    Diff(DiffArgs),
    /// Make a checkpoint of a published file of PyTorch's (.ckpt, .pt, .safetensors), or of an export
    Import(ImportArgs),
    /// Write one encoder for other programs: model.safetensors, config.json, audio_jepa.py, README.md
    Export(ExportArgs),
}

/// `checkpoint show C`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe checkpoint show out/model
  ajepa-pipe checkpoint show out/model --verify            every checksum; exit 1 when one does not match
  ajepa-pipe checkpoint show out/model --json | jq .recipe.encoder")]
pub struct ShowArgs {
    /// The folder of a checkpoint, or of a run: its best checkpoint by probe, else its newest
    #[arg(value_name = "DIR")]
    pub path: PathBuf,

    /// Print everything that it says of itself as JSON
    #[arg(long)]
    pub json: bool,

    /// Check every checksum too
    #[arg(long)]
    pub verify: bool,
}

/// `checkpoint diff A B`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe checkpoint diff step-00010000 step-00020000
  ajepa-pipe checkpoint diff a b --top 1000           every tensor

Relative is the length of the difference over the length of the first. Exit 0, whether they differ or not.")]
pub struct DiffArgs {
    /// The one
    #[arg(value_name = "A")]
    pub one: PathBuf,

    /// The other
    #[arg(value_name = "B")]
    pub other: PathBuf,

    /// How many tensors to list, those that differ most first
    #[arg(long, value_name = "N", default_value = "20", value_parser = value::at_least_one)]
    pub top: NonZeroUsize,
}

/// `checkpoint import FILE --out DIR`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe checkpoint import jepa.ckpt --out published
  ajepa-pipe checkpoint import audio-jepa-base.safetensors --out base
  ajepa-pipe checkpoint import encoder --out again                     what `checkpoint export` wrote
  ajepa-pipe embed -c published -o birds.parquet recordings/

Read are the layouts of the code of 2025 (encoder, target_encoder; attn.Wqkv or attn.qkv) and of 2026
(student, teacher), with _orig_mod. or without. Which preset it is follows from them and the positions;
every name and shape is compared, and what does not fit is refused by its name. Nothing that is in a
file is executed: a pickle is parsed, and of its classes only tensors are known. There is no optimiser
in the checkpoint: `from_checkpoint` begins with fresh moments. An export is told by its config.json,
which must lie beside its model.safetensors.")]
pub struct ImportArgs {
    /// The file: an archive of torch.save (.ckpt, .pt), or .safetensors; or the folder of an export
    #[arg(value_name = "FILE")]
    pub path: PathBuf,

    /// The folder to make
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,

    /// Which preset [default: what layout and positions say]
    #[arg(long, value_enum, value_name = "NAME")]
    pub preset: Option<PublishedPreset>,

    /// Attention heads [default: what the file says, else the width over 64]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub heads: Option<NonZeroUsize>,

    /// Leave out tensors that nothing is known of, where they would be refused
    #[arg(long)]
    pub skip_unexpected: bool,
}

/// A published preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PublishedPreset {
    /// As the paper prints it: 256 frames x 128 mels
    #[value(name = "paper-2025")]
    Paper2025,
    /// The authors' code: 512 frames x 96 mels
    #[value(name = "code-225b816")]
    Code225b816,
    /// The re-implementation behind Audio-JEPA-base: 128 mels x 256 frames
    #[value(name = "base-2026")]
    Base2026,
}

/// `checkpoint export C --out DIR`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe checkpoint export out/model --out encoder
  ajepa-pipe checkpoint export out/model --out encoder --encoder context --license CC-BY-4.0

  python:  from audio_jepa import AudioJepaEncoder        # encoder/audio_jepa.py, needs torch alone
           AudioJepaEncoder.from_pretrained('encoder').embed(audio)

Names and shapes are those of a PyTorch ViT; config.json has sizes and front end, README.md is a model
card. ONNX is not written: nothing in Rust exports it, and torch.onnx.export takes the module that is.")]
pub struct ExportArgs {
    /// The folder of a checkpoint, or of a run: its best checkpoint by probe, else its newest
    #[arg(value_name = "DIR")]
    pub path: PathBuf,

    /// The folder to make
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,

    /// Which encoder [default: the target where there is one]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub encoder: Option<Encoder>,

    /// Licence of the weights, for the model card [default: the card says that none is stated]
    #[arg(long, value_name = "NAME")]
    pub license: Option<String>,
}
