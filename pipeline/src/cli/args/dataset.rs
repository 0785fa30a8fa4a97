//! The verb `dataset`: what is in a corpus.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::value;
use super::{Override, ProgressMode, ReportFile, Shares};
use crate::stages::source_folder::LinkPolicy;

/// What help says of a scan, short and long.
macro_rules! about_scan {
    () => {
        "\
Examples:
  ajepa-pipe dataset scan recordings/ -o scan.parquet
  ajepa-pipe dataset scan clips.csv -o scan.parquet --report scan.html      a page with pictures
  ajepa-pipe dataset scan fsd/train-000.tar fsd/train-001.tar -o fsd.parquet
  ajepa-pipe dataset scan esc50/data --id-column filename --label-column category -o esc50.parquet

PATHS are audio files, folders of them, tables (.csv, .tsv, .jsonl, .parquet with a column `path`),
WebDataset tars, folders of tars, and Parquet files with audio in a column, as dataset hubs ship them.

Stopped or killed, the same command goes on where it was. Run again over changed files, it decodes
from the first 512 clips on that differ: name what is new last. What is measured lies in
SCAN.parquet.parts until you delete it.

The table has a row for each clip, those that cannot be used among them:
  status         ok, silent, too_short, or why not: missing, empty, truncated, corrupt, ...
  content_hash   of the decoded samples: equal for WAV and FLAC of one recording
  fingerprint    eight numbers a second, alike for copies in MP3, AAC, Opus, Vorbis
  detail         begins with wrong_extension: where a file is not what its name says
`ajepa-pipe stages measure` says more. Ask it anything:
  duckdb -c \"select status, count(*) from 'scan.parquet' group by 1\"
  polars:  pl.read_parquet('scan.parquet').filter(pl.col('status') == 'ok')"
    };
}

/// How to bring HDF5 here.
macro_rules! hdf5 {
    () => {
        "\
HDF5 is not read. This makes a Parquet file of it that is, with MP3 (or any other file) in the rows
of the dataset `mp3` and names in `audio_name` (pip install h5py pyarrow):
  import h5py, pyarrow as pa, pyarrow.parquet as pq
  schema = pa.schema([('clip_id', pa.string()), ('audio', pa.struct([('bytes', pa.binary())]))])
  with h5py.File('train.h5') as h5, pq.ParquetWriter('train.parquet', schema, compression='none') as out:
      for at in range(0, len(h5['mp3']), 256):
          names = [name.decode() for name in h5['audio_name'][at:at + 256]]
          audio = [{'bytes': row.tobytes()} for row in h5['mp3'][at:at + 256]]
          out.write_table(pa.table([names, audio], schema=schema))
Rows of 16-bit samples at 32 kHz (`waveform`) become WAV on the way; the last lines are then:
          audio = []
          for row in h5['waveform'][at:at + 256]:
              with wave.open(file := io.BytesIO(), 'wb') as wav:      # import io, wave
                  wav.setparams((1, 2, 32000, 0, 'NONE', None)), wav.writeframes(row.tobytes())
              audio.append({'bytes': file.getvalue()})
          out.write_table(pa.table([names, audio], schema=schema))"
    };
}

/// What to do with symbolic links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Links {
    /// Stop and name them
    #[default]
    Refuse,
    /// Leave them out
    Skip,
    /// Follow them, also out of the folder
    Follow,
}

impl From<Links> for LinkPolicy {
    fn from(links: Links) -> Self {
        match links {
            Links::Refuse => Self::Refuse,
            Links::Skip => Self::Skip,
            Links::Follow => Self::Follow,
        }
    }
}

/// `dataset KIND ...`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe dataset audioset lists/ --audio audio/ -o audioset.parquet --report audioset.html
  ajepa-pipe dataset folder birds/ --label-part 1 --into train=0.9,valid=0.1 -o birds.parquet
  ajepa-pipe dataset show audioset.all.parquet
  ajepa-pipe dataset scan recordings/ -o scan.parquet        no lists: what is there, and what it is like

A manifest is a table with a row per clip: `source_manifest` runs it, `ajepa-pipe query` asks it. One command
from a publisher's layout to verified shards: --then datasets/recipes/esc50.yaml and the like.")]
pub struct DatasetArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: DatasetVerb,
}

/// What is done with a corpus.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum DatasetVerb {
    /// Decode every clip once, and write a table of what it is: length, loudness, hash, fingerprint, fault
    Scan(ScanArgs),
    /// Make a manifest of AudioSet: the segment lists, and the audio as people hold it
    Audioset(AudiosetArgs),
    /// Make a manifest of FSD50K
    Fsd50k(Fsd50kArgs),
    /// Make a manifest of ESC-50
    Esc50(Esc50Args),
    /// Make a manifest of a task of X-ARES from its tars
    Xares(XaresArgs),
    /// Make a manifest of a folder, with labels from paths or from files beside the clips
    Folder(FolderArgs),
    /// Leave clips of a manifest out, sample, balance and split it
    Refine(RefineArgs),
    /// Show what a manifest holds
    Show(ShowManifestArgs),
}

/// What a manifest is, in all helps.
macro_rules! about_manifest {
    () => {
        "\
Two tables are written. NAME.parquet has the clips that can be used, and is run as it is:
  source_manifest: { path: NAME.parquet }
NAME.all.parquet has every clip that was wanted, with the reason why it cannot be used:
  clip_id, path, member, row     the file; a member of a tar, a row of a Parquet file
  start_s, duration_s            the clip in that file
  labels, label_names, split, group
  status, reason, detail         ok, missing, corrupt, silent, too_short, excluded
  duplicate_of, near_duplicate_of, content_hash, rate_hz, channels, codec, peak_db, rms_db
Ask it anything: ajepa-pipe query --at NAME.all.parquet \"SELECT reason, count(*) ...\"

The audio is scanned first (`ajepa-pipe dataset scan --help`), into NAME.scan.parquet: stopped or
killed, the same command goes on; run again, it decodes nothing."
    };
}

/// What manifests are made from, and what is done to them.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(group = ArgGroup::new("how").args(["scan", "unchecked"]))]
pub struct MakeArgs {
    /// The manifest to write: .parquet
    #[arg(long, short, value_name = "FILE", value_parser = value::parquet_file)]
    pub out: PathBuf,

    /// Where the audio is: files, folders, tars, Parquet files; may be given several times [default: the corpus' folder]
    #[arg(long = "audio", value_name = "PATH")]
    pub audio: Vec<PathBuf>,

    /// Take this table of an earlier `dataset scan` instead of scanning
    #[arg(long, value_name = "FILE")]
    pub scan: Option<PathBuf>,

    /// Go by names alone and decode nothing: clips are `unchecked`, lengths and duplicates unknown
    #[arg(long)]
    pub unchecked: bool,

    /// What to do with symbolic links in folders: stop and name them, leave them out, follow them
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub links: Links,

    /// A clip whose peak stays below this is silent, in dB of full scale
    #[arg(long, value_name = "DB", default_value_t = -70.0, value_parser = value::decibels, allow_negative_numbers = true)]
    pub silent_below: f32,

    /// A clip shorter than this is too short
    #[arg(long, value_name = "S", default_value_t = 0.1, value_parser = value::seconds)]
    pub min_seconds: f64,

    /// Share of a fingerprint's bits in which near duplicates may differ; 0 looks for none
    #[arg(long, value_name = "SHARE", default_value_t = 0.25, value_parser = value::bit_error)]
    pub near: f64,

    /// Worker threads [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = value::at_least_one)]
    pub jobs: Option<NonZeroUsize>,

    /// Write what was found as a page (.html) or as data (.json); may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<ReportFile>,

    /// Then run this graph over the manifest, and verify what it wrote; its source has the id `clips`
    #[arg(long, value_name = "FILE.yaml")]
    pub then: Option<PathBuf>,

    /// Change one value of that graph, as `run --set` does; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "then")]
    pub overrides: Vec<Override>,

    /// How to show progress on stderr
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressMode,

    /// What is done to the manifest.
    #[command(flatten)]
    pub refine: RefineOptions,
}

/// What is done to a manifest, in this order.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "What is done to it, in this order")]
pub struct RefineOptions {
    /// Leave out the clips of this table, such as a rejects.parquet; may be given several times
    #[arg(long, value_name = "FILE")]
    pub exclude: Vec<PathBuf>,

    /// Leave out clips with the samples of another
    #[arg(long)]
    pub drop_duplicates: bool,

    /// Leave out clips that sound like another, too
    #[arg(long)]
    pub drop_near_duplicates: bool,

    /// Keep so many of the usable clips, the others are excluded: a larger sample has a smaller one in it
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub sample: Option<NonZeroUsize>,

    /// Weigh rare labels up: a clip's `weight` is the sum of 1/n over its labels, n the clips that have the label; also the chances
    /// of --sample
    #[arg(long)]
    pub balanced: bool,

    /// New splits by share, such as train=0.9,valid=0.1: stratified by label, and no group, content or near duplicate is in two
    #[arg(long, value_name = "NAME=SHARE,...", conflicts_with = "folds")]
    pub into: Option<Shares>,

    /// The same as folds of equal size, fold1 to foldN
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub folds: Option<NonZeroUsize>,

    /// Share out the clips of this split alone, and leave the others as they are; may be given several times
    #[arg(long = "of", value_name = "SPLIT")]
    pub of: Vec<String>,

    /// Another seed, another sample and another split
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// `dataset audioset LISTS --audio DIR --out FILE`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = concat!("\
Examples:
  ajepa-pipe dataset audioset lists/ --audio audio/ -o audioset.parquet --report audioset.html
  ajepa-pipe dataset audioset lists/ --audio audio/ --split eval -o eval.parquet
  ajepa-pipe dataset audioset lists/ --audio tars/ -o bal.parquet --split balanced_train
    --then datasets/recipes/audioset_base-2026.yaml --set stages.shards.path=out/bal

LISTS holds balanced_train_segments.csv, unbalanced_train_segments.csv, eval_segments.csv (those
that are there), and ontology.json or class_labels_indices.csv, as their publisher ships them.
Audio is found by the video's identifier: YTID.m4a, YTID_30.wav, YTID_30.000.flac, YTID_30000.mp3,
YTID_30000_40000.ogg, YYTID.wav, \"some title [YTID].m4a\", \"some title-YTID.m4a\". A file of
the whole video is cut where the list says.

", about_manifest!()))]
pub struct AudiosetArgs {
    /// The folder of the publisher's lists
    #[arg(value_name = "LISTS")]
    pub lists: PathBuf,

    /// Only this split: balanced_train, unbalanced_train, eval; may be given several times
    #[arg(long = "split", value_name = "SPLIT")]
    pub splits: Vec<String>,

    /// How.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `dataset fsd50k DIR --out FILE`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = concat!("\
Examples:
  ajepa-pipe dataset fsd50k FSD50K/ -o fsd50k.parquet --report fsd50k.html
  ajepa-pipe dataset fsd50k FSD50K/ --split train -o train.parquet --then datasets/recipes/fsd50k.yaml

DIR holds FSD50K.ground_truth, FSD50K.metadata and the folders of audio, as their publisher ships
them. Splits are train, val and eval; the group of a clip is who uploaded it.

", about_manifest!()))]
pub struct Fsd50kArgs {
    /// The corpus' folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Only this split: train, val, eval; may be given several times
    #[arg(long = "split", value_name = "SPLIT")]
    pub splits: Vec<String>,

    /// How.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `dataset esc50 DIR --out FILE`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = concat!("\
Examples:
  ajepa-pipe dataset esc50 ESC-50-master/ -o esc50.parquet --report esc50.html
  ajepa-pipe dataset esc50 ESC-50-master/ -o esc50.parquet --then datasets/recipes/esc50.yaml

DIR holds meta/esc50.csv and audio/. Splits are fold1 to fold5; the group of a clip is the recording
it was cut from.

", about_manifest!()))]
pub struct Esc50Args {
    /// The corpus' folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// How.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `dataset xares TASK TARS... --out FILE`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = concat!("\
Examples:
  ajepa-pipe dataset xares esc50 env/esc50/ -o esc50.parquet
  ajepa-pipe dataset xares speechcommandsv1 env/speechcommandsv1/*.tar -o commands.parquet

TASK is the name of the task or of its folder under `env`. Splits are told by the names of the tars,
labels by the field of the JSON that the task asks for.

", about_manifest!()))]
pub struct XaresArgs {
    /// The task
    #[arg(value_name = "TASK")]
    pub task: String,

    /// Its tars, or the folder of them
    #[arg(value_name = "TAR", required = true)]
    pub tars: Vec<PathBuf>,

    /// How.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `dataset folder DIR --out FILE`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = concat!("\
Examples:
  ajepa-pipe dataset folder birds/ --label-part 1 -o birds.parquet        birds/robin/rex-1.wav is a robin
  ajepa-pipe dataset folder speech/ --split-part 1 --group-part 2 -o speech.parquet
                                                                 speech/train/anna/1.wav: anna in train
  ajepa-pipe dataset folder calls/ --side-files --into train=0.8,valid=0.1,test=0.1 -o calls.parquet
  ajepa-pipe dataset folder audio/ -o audio.parquet --then datasets/recipes/folder.yaml

Parts of a path are folders under DIR, counted from 1. With --side-files, 1.txt beside 1.wav holds a
label a line, and 1.json {\"labels\": [...], \"split\": ..., \"group\": ...}.

", about_manifest!()))]
pub struct FolderArgs {
    /// The folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// The part of the path that is a label; may be given several times
    #[arg(long = "label-part", value_name = "N", value_parser = value::at_least_one)]
    pub labels: Vec<NonZeroUsize>,

    /// The part of the path that is the split
    #[arg(long = "split-part", value_name = "N", value_parser = value::at_least_one)]
    pub split: Option<NonZeroUsize>,

    /// The part that must not be on two sides of a split: a speaker, a recording
    #[arg(long = "group-part", value_name = "N", value_parser = value::at_least_one)]
    pub group: Option<NonZeroUsize>,

    /// Read labels, split and group from .txt and .json beside the clips
    #[arg(long)]
    pub side_files: bool,

    /// How.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `dataset refine MANIFEST --out FILE`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe dataset refine audioset.all.parquet --exclude out/mel/rejects.parquet -o clean.parquet
  ajepa-pipe dataset refine fsd50k.all.parquet --of train --into train=0.95,probe=0.05 -o split.parquet
  ajepa-pipe dataset refine audioset.parquet --balanced --sample 20000 --seed 1 -o small.parquet

What SQL can say, SQL says: `ajepa-pipe query --at audioset.parquet --out music.parquet \"SELECT * FROM
audioset WHERE array_has_any(labels, under('Music'))\"`, or `where:` of a source.")]
pub struct RefineArgs {
    /// The manifest: NAME.all.parquet, or NAME.parquet
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,

    /// The manifest to write: .parquet
    #[arg(long, short, value_name = "FILE", value_parser = value::parquet_file)]
    pub out: PathBuf,

    /// What is done.
    #[command(flatten)]
    pub refine: RefineOptions,

    /// Write what it holds then as a page (.html) or as data (.json); may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<ReportFile>,
}

/// `dataset show MANIFEST`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe dataset show audioset.all.parquet
  ajepa-pipe dataset show audioset.all.parquet --report audioset.html")]
pub struct ShowManifestArgs {
    /// The manifest: NAME.all.parquet has all that was wanted
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,

    /// Write it as a page (.html) or as data (.json); may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<ReportFile>,
}

/// `dataset scan PATHS... --out scan.parquet`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = concat!(about_scan!(), "\n\n`--help` shows how to bring HDF5 here."))]
#[command(after_long_help = concat!(about_scan!(), "\n\n", hdf5!()))]
pub struct ScanArgs {
    /// Audio files, folders, tables of clips, tars, Parquet files with audio
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// The table to write: .parquet
    #[arg(long, short, value_name = "FILE", value_parser = value::parquet_file)]
    pub out: PathBuf,

    /// What to do with symbolic links in folders: stop and name them, leave them out, follow them
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub links: Links,

    /// A clip whose peak stays below this is silent, in dB of full scale
    #[arg(long, value_name = "DB", default_value_t = -70.0, value_parser = value::decibels, allow_negative_numbers = true)]
    pub silent_below: f32,

    /// A clip shorter than this is too short
    #[arg(long, value_name = "S", default_value_t = 0.1, value_parser = value::seconds)]
    pub min_seconds: f64,

    /// The column of a Parquet file with audio that names its clips [default: `clip_id`, else the file and the row]
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,

    /// The column of a Parquet file with audio that has their labels [default: `labels`, else `label`]
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,

    /// Worker threads [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = value::at_least_one)]
    pub jobs: Option<NonZeroUsize>,

    /// Write what the scan found as a page (.html) or as data (.json); may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<ReportFile>,

    /// How to show progress on stderr
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressMode,

    /// Count nothing as done: decode every clip anew
    #[arg(long)]
    pub fresh: bool,
}
