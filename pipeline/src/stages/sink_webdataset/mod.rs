//! `sink_webdataset`: one tar per unit, each committed whole.

mod members;
mod units;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{ColumnType, Schema};
use crate::stage::{
    BuildCx, BuildError, PlanError, RunInfo, Sink, SinkReport, Stage, StageConfig, StageError, StagePlan, UnitTally,
};
use members::{json_lines, npy, wav};
use units::{Record, Units};

/// Writes rows as `WebDataset` samples: `part-00000.tar`, `part-00001.tar`, ... , one per unit (one shard's worth of clips).
///
/// A sample is `key.wav`, or `key.COLUMN.npy` for each tensor, and `key.json` with the plain columns. The key is `clip_id`
/// with dots and whatever a path could be made of replaced by `_`; a second window of one clip gets `~2`. A `/` in it stays,
/// so that members lie in folders as the clips did, and the key goes on being the whole path. Tars are written
/// under a temporary name and renamed when they are complete; `_units/` says which are done, so a run can be run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkWebdatasetConfig {
    /// The folder; made when it is not there.
    pub path: PathBuf,
    /// What of a row is written beside its plain columns. Default: audio.
    #[serde(default)]
    pub content: Content,
    /// Numbers in the WAV files. Active only if `content` is audio. Default: int16.
    #[serde(default)]
    pub sample_format: SampleFormat,
}

/// What a sample holds beside its JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The waveform, as WAV.
    #[default]
    Audio,
    /// Every tensor column, as `NumPy`'s .npy in its own dtype and shape.
    Tensors,
}

/// Numbers in a WAV file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SampleFormat {
    /// 16 bits: rounded to 1/32768, clipped at full scale.
    #[default]
    Int16,
    /// 32 bits, as they are.
    Float32,
}

impl StageConfig for SinkWebdatasetConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let input = super::checks::one_input(inputs)?;
        let has_tensor = input.columns.iter().any(|column| matches!(column.kind, ColumnType::Tensor(_)));
        match self.content {
            Content::Audio if input.audio().is_none() => {
                let help = format!("`content: tensors`, or put it behind decode; what comes in: {input}");
                Err(PlanError::field("content", "no waveform comes in", help))
            }
            Content::Tensors if !has_tensor => {
                let help = format!("`content: audio`, or put it behind a front end; what comes in: {input}");
                Err(PlanError::field("content", "no tensor comes in", help))
            }
            _ if input.get("clip_id").is_none() => {
                Err(PlanError::new("rows without a clip_id have no key", format!("what comes in: {input}")))
            }
            _ => Ok(StagePlan::sink(input.clone())),
        }
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        super::checks::folder_to_write(&self.path)?;
        let units = Units::new(&self.path);
        let sink = SinkWebdataset { config: self.clone(), schema: cx.output.clone(), units, run: None, open: None };
        Ok(Stage::Sink(Box::new(sink)))
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn with_folder(&self, folder: PathBuf) -> Option<Box<dyn StageConfig>> {
        Some(Box::new(Self { path: folder, ..self.clone() }))
    }
}

struct SinkWebdataset {
    config: SinkWebdatasetConfig,
    schema: Schema,
    units: Units,
    run: Option<RunInfo>,
    open: Option<OpenTar>,
}

/// The tar that is being written, under its temporary name.
struct OpenTar {
    unit: usize,
    tar: tar::Builder<BufWriter<File>>,
    uses: HashMap<String, u32>,
    rows: u64,
}

impl OpenTar {
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), StageError> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // No time and no owner: the same rows make the same bytes.
        header.set_mtime(0);
        let io = |error| StageError::io(format!("writing {name}"), error);
        self.tar.append_data(&mut header, name, bytes).map_err(io)
    }

    fn key(&mut self, clip_id: &str) -> String {
        let key = safe_key(clip_id);
        let uses = self.uses.entry(key.clone()).or_default();
        *uses += 1;
        if *uses == 1 { key } else { format!("{key}~{uses}") }
    }
}

/// A key that is one relative path for every reader: a dot would end it, a `..` or a leading `/` would lead out of a folder.
fn safe_key(clip_id: &str) -> String {
    let safe = |letter: char| if matches!(letter, '.' | '\\' | ':') || letter.is_control() { '_' } else { letter };
    let key: Vec<String> =
        clip_id.split('/').filter(|part| !part.is_empty()).map(|p| p.chars().map(safe).collect()).collect();
    if key.is_empty() { "_".to_owned() } else { key.join("/") }
}

impl SinkWebdataset {
    fn open_tar(&mut self, unit: usize) -> Result<&mut OpenTar, StageError> {
        let open = if let Some(open) = self.open.take().filter(|open| open.unit == unit) {
            open
        } else {
            let tar = tar::Builder::new(BufWriter::new(self.units.create(unit)?));
            OpenTar { unit, tar, uses: HashMap::new(), rows: 0 }
        };
        Ok(self.open.insert(open))
    }

    fn heavy_members(&self, rows: &RecordBatch, row: usize) -> Result<Vec<(String, Vec<u8>)>, StageError> {
        let lost = |name: &str| StageError::Other(format!("a batch comes without its column {name}"));
        let mut members = Vec::new();
        for column in &self.schema.columns {
            let name = &column.name;
            match (&column.kind, self.config.content) {
                (ColumnType::Audio(_), Content::Audio) => {
                    let audio = rows.column_by_name(name).and_then(|c| c.as_struct_opt()).ok_or_else(|| lost(name))?;
                    members.push(("wav".to_owned(), wav(audio, row, self.config.sample_format)?));
                }
                (ColumnType::Tensor(tensor), Content::Tensors) => {
                    let lists = rows.column_by_name(name).and_then(|c| c.as_fixed_size_list_opt());
                    let values = lists.ok_or_else(|| lost(name))?.value(row);
                    members.push((format!("{}.npy", name.to_lowercase()), npy(tensor, values.as_ref())?));
                }
                _ => {}
            }
        }
        Ok(members)
    }
}

impl Sink for SinkWebdataset {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        self.run = Some(run.clone());
        self.units.done(run)
    }

    fn write(&mut self, unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        let ids = rows.column_by_name("clip_id").and_then(|column| column.as_string_opt::<i32>());
        let lost = || StageError::Other("a batch comes without its column clip_id".to_owned());
        let ids = ids.ok_or_else(lost)?.clone();
        let lines = json_lines(&rows, &self.schema)?;
        self.open_tar(unit)?;
        for (row, line) in lines.iter().enumerate() {
            let members = self.heavy_members(&rows, row)?;
            let tar = self.open_tar(unit)?;
            let key = tar.key(if ids.is_valid(row) { ids.value(row) } else { "" });
            for (extension, bytes) in members {
                tar.append(&format!("{key}.{extension}"), &bytes)?;
            }
            tar.append(&format!("{key}.json"), line.as_bytes())?;
            tar.rows += 1;
        }
        Ok(())
    }

    fn end_unit(&mut self, unit: usize, tally: UnitTally) -> Result<(), StageError> {
        let unopened = || StageError::Other("a unit ends before the run was opened".to_owned());
        let run = self.run.as_ref().ok_or_else(unopened)?;
        let (fingerprint, key) =
            (run.fingerprint.clone(), run.units.get(unit).map(|unit| unit.key).unwrap_or_default());
        self.open_tar(unit)?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let io = |error| StageError::io(format!("closing the tar of unit {unit}"), error);
        let file = open.tar.into_inner().map_err(io)?.into_inner().map_err(|error| io(error.into_error()))?;
        let bytes = self.units.commit(unit, file)?;
        let key = units::hex(&key);
        let UnitTally { clips, filtered, rejects } = tally;
        self.units.record(unit, &Record { fingerprint, key, rows: open.rows, bytes, clips, filtered, rejects })
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        let unopened = || StageError::Other("the run was never opened".to_owned());
        self.units.report(self.run.as_ref().ok_or_else(unopened)?)
    }
}
