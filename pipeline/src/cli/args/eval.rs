//! `eval`: which models are judged on which tasks, and how.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(feature = "train")]
use ajepa_model::DeviceChoice;
use clap::{Args, ValueEnum};

use super::{Encoder, ProgressMode, ReportFile, value};

/// `eval -c C TASK...`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe eval -c out/model env/ --mode xares                     every task of X-ARES that is there
  ajepa-pipe eval -c out/model env/esc50 birds.parquet               a task of X-ARES, a task of your own
  ajepa-pipe eval -c a=runs/a -c b=runs/b env/ --report judged.html  two checkpoints side by side
  ajepa-pipe eval --embeddings wav2vec2=w2v2/ -c out/model env/      beside embeddings made elsewhere
  ajepa-pipe eval -c out/model env/esc50 --format json | jq .models[0].averages
  ajepa-pipe eval -c out/model env/ --probe mlp,attentive,layers     what mean and last layer lose

A TASK is a folder of tars named as X-ARES names it (env/esc50), a folder of such folders, or a table
of clips (.csv, .parquet, ...) with `path`, `labels` and `split` (train, valid, test) or `fold`.
Labels are a list of texts, or one text that `;` parts. Where every clip has exactly one, a task of
your own asks which, and accuracy is scored. Where any clip has none or several, it asks of each
label whether it is there, and mAP is scored: the mean over labels of the average precision (over
those that some clip asked about has; in mode xares over all, where knn is not asked).

Embeddings made elsewhere are a file a task, named as the task (esc50.parquet, or esc50.npy beside
esc50.csv), with the columns clip_id, embedding, labels, and split or fold. Where TASKs are named,
files of others are not judged; clips that the TASK does not have are left out, and what is missing,
in another split or named otherwise throughout is said in a note. Several rows of a clip,
one after another, are its frames: knn and mlp take their mean, attentive looks at each. Tasks about
frames (desed, maestro) need them, and to know how far apart they are: a column hop_s, in seconds,
or offset_s. Their labels are the events of the TASK of that name where it is given, and clips are
named as there (TAR/KEY); else the labels of each row.

--mode clean takes clips at their true length, neighbours by cosine, every crop, and chooses no epoch
on what is scored. --mode xares repeats X-ARES 0.1.3, quirks and all: only its numbers may be set
beside published ones, and none of one mode beside the other's.

--probe attentive pools the frames of a clip by learnt queries in place of their mean; layers mixes
what all blocks of the encoder say of a clip, in shares that are learnt (--format json has them), in
place of the last: each brought to one length, the last behind the encoder's final norm. Behind both
is the layer that mlp trains, trained as mlp is. Both embed the clips once more, in no mode with
silence that fills them up, and enter no average. They ask about clips, not frames.

Embeddings are kept in --cache, named after the encoder's numbers, the clips (size and time of their
files too) and what is done to them: a second run only probes, and one that was stopped goes on with
the next split.")]
pub struct EvalArgs {
    /// Tasks: folders of tars, and tables of clips
    #[arg(value_name = "TASK")]
    pub tasks: Vec<PathBuf>,

    /// A checkpoint to judge, with a name for the table where it should have one; may be given several times
    #[arg(long = "checkpoint", short, value_name = "[NAME=]DIR", required_unless_present = "embeddings")]
    pub checkpoints: Vec<ModelArg>,

    /// Embeddings made elsewhere: a file, or a folder with one a task; may be given several times
    #[arg(long, value_name = "[NAME=]PATH")]
    pub embeddings: Vec<ModelArg>,

    /// Whose rules hold
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    pub mode: EvalMode,

    /// What asks: may be given several times, or parted by commas [default: knn,mlp]
    #[arg(long = "probe", value_enum, value_name = "PROBE", value_delimiter = ',')]
    pub probes: Vec<ProbeName>,

    /// How many trainings a score of what is trained (all but knn) is the mean of
    #[arg(long, value_name = "N", default_value = "3", value_parser = value::at_least_one)]
    pub seeds: NonZeroUsize,

    /// Another seed, other trainings; with the same, the same digits
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// In mode xares: how many clips are filled up with silence together [default: what the task asks, 16 or 1]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub together: Option<NonZeroUsize>,

    /// Where embeddings are kept
    #[arg(long, value_name = "DIR", default_value = "eval-cache")]
    pub cache: PathBuf,

    /// Form of the answer
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t)]
    pub format: ScoresFormat,

    /// Write it as a page (.html) or as data (.json) too; may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<ReportFile>,

    /// Which encoder [default: the target where there is one]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub encoder: Option<Encoder>,

    /// Where to compute: cpu, cuda, cuda:1, vulkan; auto is the first CUDA device where there is one, else the CPU
    #[cfg(feature = "train")]
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,

    /// Worker threads [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = value::at_least_one)]
    pub jobs: Option<NonZeroUsize>,

    /// How to show progress on stderr
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressMode,
}

/// Whose rules hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum EvalMode {
    /// True lengths, cosine, every crop, no epoch chosen on what is scored
    #[default]
    Clean,
    /// As X-ARES 0.1.3 runs, quirks and all
    Xares,
}

/// What asks embeddings what they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProbeName {
    /// Ten nearest neighbours
    Knn,
    /// One linear layer behind a layer normalisation: what X-ARES calls MLP
    Mlp,
    /// The same behind attention over a clip's frames
    Attentive,
    /// The same behind a learnt mix of the encoder's layers
    Layers,
}

/// Forms of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ScoresFormat {
    /// For reading in a terminal
    #[default]
    Table,
    /// Everything, every round of every probe
    Json,
    /// A line for each model, task and probe
    Csv,
}

/// `[NAME=]PATH`: a model, and what it is called in tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelArg {
    /// The name, where one is given.
    pub name: Option<String>,
    /// Where it lies.
    pub path: PathBuf,
}

impl FromStr for ModelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !name.contains('/') && !path.is_empty() => {
                Ok(Self { name: Some(name.to_owned()), path: PathBuf::from(path) })
            }
            Some((_, "")) => Err("there is no path behind the `=`: write it like base=out/model".to_owned()),
            _ if text.is_empty() => Err("it names no path".to_owned()),
            _ => Ok(Self { name: None, path: PathBuf::from(text) }),
        }
    }
}

impl ModelArg {
    /// What it is called in tables: its name, else its path.
    pub fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.path.to_string_lossy().trim_end_matches('/').to_owned())
    }
}
