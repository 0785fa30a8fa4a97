//! `query`: SQL over what is named.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::value;

/// `query "SELECT ..." --at PATH`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe query --at out/mel                      tables, columns and types; no SQL needed
  ajepa-pipe query --at out/mel 'SELECT unnest(labels) AS label, count(*) AS clips FROM mel
    GROUP BY label ORDER BY clips DESC'
  ajepa-pipe query --at out/mel 'SELECT clip_id, mel_mean_all(mel, n_frames) AS level FROM mel
    ORDER BY level LIMIT 10'                         the quietest
  ajepa-pipe query --at clips.parquet --at out/mel 'SELECT c.clip_id FROM clips c
    LEFT ANTI JOIN mel m ON c.clip_id = m.clip_id'   what is not made yet
  ajepa-pipe query --at birds.parquet \"SELECT b.clip_id, cosine(a.embedding, b.embedding) AS near
    FROM birds a, birds b WHERE a.clip_id = 'x' ORDER BY near DESC LIMIT 10\"
  ajepa-pipe query --at audioset.parquet --ontology ontology.json --out music.parquet
    \"SELECT * FROM audioset WHERE array_has_any(labels, under('Music'))\"
  ajepa-pipe query --at out/model \"SELECT step, loss, health['rank_me'] FROM model
    WHERE health IS NOT NULL\"

Tables:
  a folder of shards; a training's folder (NAME is its log, and NAME_checkpoints); a checkpoint;
  a file: .parquet (.pq), .csv, .tsv, .jsonl (.ndjson), .arrow (.ipc, .feather), .json (a run
  report is NAME, NAME_stages and NAME_rejects).
  A table is named by the last part of its path in lower case, without the extension, with _ for
  what is no letter or digit: out/Mel-2.v1.parquet is mel_2_v1. NAME=PATH names it otherwise.
  Columns of CSV and TSV are texts: cast(year AS int).

Only SELECT, EXPLAIN, DESCRIBE and SHOW: nothing is read that --at does not name, and nothing
written but --out. --functions lists cosine, mel_mean, under and all others.")]
pub struct QueryArgs {
    /// The statement; `-` reads it from stdin; without it, what there is: tables, columns, types
    #[arg(value_name = "SQL")]
    pub sql: Option<String>,

    /// What to read; may be given several times
    #[arg(long = "at", value_name = "[NAME=]PATH")]
    pub tables: Vec<TableArg>,

    /// Form of the answer [default: by the extension of --out, else table]
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub format: Option<AnswerFormat>,

    /// Write the answer to this file, which appears whole or not at all; one that is there is replaced
    #[arg(long, short, value_name = "FILE", requires = "sql")]
    pub out: Option<PathBuf>,

    /// Rows of a table that are shown; 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub rows: usize,

    /// Memory that sorts, joins and groups may take before they spill, such as 4GiB [default: half of what is free]
    #[arg(long, value_name = "SIZE", value_parser = value::size_bytes)]
    pub memory: Option<u64>,

    /// Threads [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = value::at_least_one)]
    pub jobs: Option<std::num::NonZeroUsize>,

    /// Do not verify the checksums of what is read of shards: faster, where `verify` has been through them
    #[arg(long)]
    pub unverified: bool,

    /// AudioSet's ontology.json, for under() and label_name() [default: what lies beside a table]
    #[arg(long, value_name = "FILE")]
    pub ontology: Option<PathBuf>,

    /// List the functions
    #[arg(long, conflicts_with_all = ["sql", "out"])]
    pub functions: bool,
}

/// Forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnswerFormat {
    /// For reading in a terminal: aligned, long values cut
    Table,
    /// With a header; lists as JSON
    Csv,
    /// An object a line
    Json,
    /// A Parquet file, with --out
    Parquet,
}

/// `--at mel=out/mel` or `--at out/mel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableArg {
    /// The name, where one is given.
    pub name: Option<String>,
    /// Where it lies.
    pub path: PathBuf,
}

impl FromStr for TableArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            let mut letters = name.chars();
            letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match text.split_once('=') {
            // `./a=b` is a path with such a sign in it.
            Some((name, path)) if is_name(name) && !path.is_empty() => {
                Ok(Self { name: Some(name.to_lowercase()), path: PathBuf::from(path) })
            }
            Some((_, "")) => Err("there is no path behind the `=`: write it like mel=out/mel".to_owned()),
            _ if text.is_empty() => Err("it names no path".to_owned()),
            _ => Ok(Self { name: None, path: PathBuf::from(text) }),
        }
    }
}
