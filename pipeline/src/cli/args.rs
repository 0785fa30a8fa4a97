//! The command line: verbs, options, and what is refused before anything is opened.

mod addresses;
mod cluster;
mod dataset;
mod eval;
mod model;
mod query;
mod value;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use cluster::{ClusterArgs, ClusterPart, ExecutorArgs, SchedulerArgs};
pub use dataset::{
    AudiosetArgs, DatasetArgs, DatasetVerb, Esc50Args, FolderArgs, Fsd50kArgs, Links, MakeArgs, RefineArgs,
    RefineOptions, ScanArgs, ShowManifestArgs, XaresArgs,
};
pub use eval::{EvalArgs, EvalMode, ModelArg, ProbeName, ScoresFormat};
pub use model::{
    CheckpointArgs, CheckpointVerb, DiffArgs, EmbedArgs, Encoder, ExportArgs, ImportArgs, PublishedPreset, ShowArgs,
};
pub use query::{AnswerFormat, QueryArgs, TableArg};
pub use value::{Override, Part, PatchSize, ReportFile, ReportFormat, Shares};

use super::progress::ProgressMode;

/// Streaming audio pipelines: from a YAML graph to memory-mapped log-mel shards.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(name = "ajepa-pipe", version, arg_required_else_help = true)]
#[command(after_help = "\
A first run:
  ajepa-pipe check pipeline.yaml          is it sound? touches no audio
  ajepa-pipe explain pipeline.yaml        what will flow where, and how much memory it takes
  ajepa-pipe run pipeline.yaml            do it; run it again to go on after a stop
  ajepa-pipe inspect out/mel --png look   what came out, with pictures

Exit codes: 0 done, 1 the run failed or damage was found, 2 bad config or usage,
129, 130 or 143 stopped by a signal (the same command goes on from there).
Results go to stdout, everything else to stderr.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Reads the command line of this process; ends it with a word where that is not as it should be.
    pub fn read() -> Self {
        Self::of(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// The same of other words.
    ///
    /// # Errors
    /// What is wrong, as the user is told.
    pub fn of<Word: Into<OsString> + Clone>(words: impl IntoIterator<Item = Word>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let mut matches = command.try_get_matches_from_mut(words)?;
        addresses::refuse_strays(&mut command, &matches)?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

/// The verbs.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Verb {
    /// Run a graph: read, transform, write shards
    Run(RunArgs),
    /// Check a graph without touching any audio
    Check(CheckArgs),
    /// Show what flows on every edge, what runs fused, and what it costs
    Explain(ExplainArgs),
    /// List the stages, or show one with its fields, units, ranges and defaults
    Stages(StagesArgs),
    /// Print the JSON Schema of the YAML, for editors
    Schema(SchemaArgs),
    /// Show what is in shards, a checkpoint or a file of embeddings; draw clips with their masks
    Inspect(InspectArgs),
    /// Check every checksum of a folder of shards or of a checkpoint
    Verify(VerifyArgs),
    /// Copy a folder of shards, to an object store or back, checked on its way
    Copy(CopyArgs),
    /// Know a corpus: scan its clips, make manifests of AudioSet, FSD50K, ESC-50, X-ARES and folders
    Dataset(Box<DatasetArgs>),
    /// Share runs out to several machines
    Cluster(ClusterArgs),
    /// Measure each stage alone and the fused graph
    Bench(BenchArgs),
    /// Ask manifests, shards, embeddings, reports and trainings in SQL
    Query(QueryArgs),
    /// Embed audio by a trained encoder: files, folders, manifests to Parquet or .npy
    Embed(EmbedArgs),
    /// Judge frozen embeddings by probes: tasks of X-ARES, tasks of your own, several models in one table
    Eval(EvalArgs),
    /// Show, compare and export checkpoints
    Checkpoint(CheckpointArgs),
}

/// A graph and what to change in it: shared by the verbs that read YAML.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GraphArgs {
    /// The graph, in YAML
    #[arg(value_name = "FILE.yaml")]
    pub file: PathBuf,

    /// Change one value of the graph before it is checked; may be given several times
    ///
    /// The key is a path through the YAML, where a stage is named by its id (or its type); the value is YAML.
    /// The fingerprint covers it: shards made with another value are not mixed with these.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,
}

/// `run FILE.yaml`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe run audioset.yaml
  ajepa-pipe run audioset.yaml --set stages.mel.n_mels=96 --set seed=7
  ajepa-pipe run audioset.yaml --jobs 8 --report run.html --report run.json
  ajepa-pipe run audioset.yaml --part 3/8          one of eight machines, all writing to one folder
  sbatch --array=1-8 --wrap 'ajepa-pipe run audioset.yaml --part $SLURM_ARRAY_TASK_ID/8'
  ajepa-pipe run audioset.yaml --cluster df://10.0.0.1:50050 --token-file ~/ajepa.token

A run that was stopped, killed or cut off is finished by running it again: whole shards are kept.")]
pub struct RunArgs {
    /// The graph.
    #[command(flatten)]
    pub graph: GraphArgs,

    /// Worker threads [default: `resources.jobs` of the graph, else one per core]
    #[arg(long, short, value_name = "N", value_parser = value::at_least_one)]
    pub jobs: Option<NonZeroUsize>,

    /// Do only part I of N, counted from 1; the parts can run on different machines at once
    #[arg(long, value_name = "I/N", allow_hyphen_values = true)]
    pub part: Option<Part>,

    /// Have the executors of this scheduler do it, as df://host:50050 (see `ajepa-pipe cluster --help`)
    #[arg(long, value_name = "URL", conflicts_with_all = ["part", "jobs"])]
    pub cluster: Option<String>,

    /// The file with the scheduler's secret
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub token_file: Option<PathBuf>,

    /// Write the run report as a page (.html) or as data (.json); may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<ReportFile>,

    /// How to show progress on stderr
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressMode,

    /// Count nothing as done: make every shard anew
    #[arg(long)]
    pub fresh: bool,
}

/// `check FILE.yaml`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe check audioset.yaml
  ajepa-pipe check audioset.yaml --set stages.resample.rate_hz=16000

Every fault is reported at once, each with its line, its column and what would fit.")]
pub struct CheckArgs {
    /// The graph.
    #[command(flatten)]
    pub graph: GraphArgs,
}

/// `explain FILE.yaml`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe explain audioset.yaml
  ajepa-pipe explain audioset.yaml --format svg > graph.svg
  ajepa-pipe explain audioset.yaml --format json | jq '.edges[].schema'
  ajepa-pipe explain audioset.yaml --format dot | dot -Tpdf > graph.pdf")]
pub struct ExplainArgs {
    /// The graph.
    #[command(flatten)]
    pub graph: GraphArgs,

    /// Form of the answer
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t)]
    pub format: ExplainFormat,
}

/// In which form `explain` answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For reading in a terminal
    #[default]
    Text,
    /// For programs
    Json,
    /// A flow chart for Markdown pages
    Mermaid,
    /// For Graphviz
    Dot,
    /// A drawing for the browser
    Svg,
}

/// `stages [NAME]`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe stages                  one line per stage
  ajepa-pipe stages log_mel          its fields, units, ranges and defaults, and an example")]
pub struct StagesArgs {
    /// One stage, by its `type` in the YAML
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// `schema`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe schema > ajepa-pipe.schema.json

Then, as the first line of a graph, for editors with the YAML language server:
  # yaml-language-server: $schema=ajepa-pipe.schema.json")]
pub struct SchemaArgs {}

/// `inspect PATH`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe inspect out/mel                       rows, columns, front end, labels, sizes
  ajepa-pipe inspect out/mel --png look            and a picture of each of the first 12 clips
  ajepa-pipe inspect out/mel --png look --clip Y1a2b3c --clip Yx9y8z7
  ajepa-pipe inspect out/mel --png look --clips 4 --mask 'ratio: [0.4, 0.6]' --seed 7
  ajepa-pipe inspect out/mel --unused              parts nobody reads; xargs -d '\\n' rm deletes them
  ajepa-pipe inspect birds.parquet                 what made these embeddings
  ajepa-pipe inspect out/model                     as `checkpoint show`")]
pub struct InspectArgs {
    /// A folder of shards, also s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, a checkpoint, or a file of embeddings
    #[arg(value_name = "PATH", value_parser = value::place)]
    pub path: PathBuf,

    /// Draw clips as PNG files into this folder
    #[arg(long, value_name = "DIR")]
    pub png: Option<PathBuf>,

    /// Print the parts of earlier generations that the present one does not use, one a line, and nothing else: no run deletes them,
    /// and nothing reads them
    #[arg(long, conflicts_with = "png")]
    pub unused: bool,

    /// How many clips to draw, from the first
    #[arg(long, value_name = "N", default_value = "12", value_parser = value::at_least_one, requires = "png", conflicts_with = "clip_ids")]
    pub clips: NonZeroUsize,

    /// Draw this clip; may be given several times
    #[arg(long = "clip", value_name = "CLIP_ID", requires = "png")]
    pub clip_ids: Vec<String>,

    /// Draw a mask over each clip: the fields of a `mask` stage, in YAML
    #[arg(long, value_name = "FIELDS", requires = "png")]
    pub mask: Option<String>,

    /// Draw the grid of patches of this size, frames x mels
    #[arg(long, value_name = "FxM", requires = "png")]
    pub patch: Option<PatchSize>,

    /// Seed of the masks
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "mask")]
    pub seed: u64,
}

/// `verify PATH`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe verify out/mel
  ajepa-pipe verify out/mel && rsync -a out/mel cluster:data/

One pass over every byte. Each damaged shard and clip is named on stdout; the exit code is then 1.")]
pub struct VerifyArgs {
    /// A folder of shards, also s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, or a checkpoint
    #[arg(value_name = "PATH", value_parser = value::place)]
    pub path: PathBuf,
}

/// `copy FROM TO`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe copy s3://bucket/mel /scratch/mel      to train on: random batches are read from a disk
  ajepa-pipe copy out/mel gs://bucket/mel

Every page is checked against its checksum as it passes. A copy that was cut off goes on when the command is given again: parts that
are there are kept, and the manifest comes last.")]
pub struct CopyArgs {
    /// A finished set: a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER
    #[arg(value_name = "FROM", value_parser = value::place)]
    pub from: PathBuf,

    /// Where it is to be: likewise; without files of another set
    #[arg(value_name = "TO", value_parser = value::place)]
    pub to: PathBuf,

    /// How to show progress on stderr
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressMode,
}

/// `bench FILE.yaml`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe bench audioset.yaml
  ajepa-pipe bench audioset.yaml --clips 1000 --jobs 1
  ajepa-pipe bench audioset.yaml --set stages.resample.quality=gentle
  ajepa-pipe bench out/mel                     how fast these shards feed a trainer

Sinks write into a folder beside their own, which is removed at the end; nothing else is written.")]
pub struct BenchArgs {
    /// The graph.
    #[command(flatten)]
    pub graph: GraphArgs,

    /// How many clips to run, from the first
    #[arg(long, value_name = "N", default_value = "256", value_parser = value::at_least_one)]
    pub clips: NonZeroUsize,

    /// Worker threads for the fused graph [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = value::at_least_one)]
    pub jobs: Option<NonZeroUsize>,
}

#[cfg(test)]
mod tests;
