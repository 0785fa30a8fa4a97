//! The verb `dataset`: what is in a corpus.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::value;
use super::{ProgressMode, ReportFile};

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

/// `dataset KIND ...`.
#[derive(Debug, Clone, PartialEq, Args)]
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
