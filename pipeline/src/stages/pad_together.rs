//! `pad_together`: clips that are encoded together, filled up with silence to the longest of them.

use std::sync::Arc;

use ajepa_ops::OpError;
use ajepa_ops::resample::{HannSinc, ResampleConfig};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::waveform::{mono, waveform};
use crate::columns::RowBuilder;
use crate::engine::FoldCx;
use crate::row::{Audio, Cell, Row, Samples};
use crate::schema::{AudioType, ColumnType, Schema};
use crate::stage::{
    BuildCx, BuildError, ClipError, Fold, PlanError, Stage, StageConfig, StageError, StageKind, StagePlan,
};

/// Rows that are given on together at least: what encodes them does so more cheaply together.
const ROWS: usize = 16;

/// Samples of rows that are given on, from which on they are not kept any longer.
const MAX_HELD: usize = 8 << 20;

/// What X-ARES 0.1.3 does to clips before they are encoded, so that numbers can be set beside its own: clips are resampled as it does it,
/// cut into crops, taken some at a time in their order, and filled up with silence to the longest of these; the silence is part of what
/// is encoded then.
///
/// Of crops of one clip that are taken together only the first is given on, for X-ARES writes them under one name and reads the first.
/// With `clips: 1` nothing is filled up and no crop is lost. `clip_id` of a crop is the clip's with `@` and its second behind.
/// What is taken together is a function of the clips of a unit: let a unit hold all of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PadTogetherConfig {
    /// Clips, or crops, that are taken together: 1 or more. Default: 16.
    #[serde(default = "sixteen")]
    pub clips: usize,
    /// Seconds of a crop, more than 0: what is left at a clip's end is dropped, a clip shorter than one is filled up to it.
    /// Default: clips are not cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop_seconds: Option<f64>,
    /// Sample rate that clips are brought to first, by the filter that torchaudio has by default; 1000 to 768000. It aliases:
    /// `resample` is the better one. Default: clips keep their rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_hz: Option<u32>,
}

fn sixteen() -> usize {
    16
}

impl StageConfig for PadTogetherConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        self.validate()?;
        let given = if self.rate_hz.is_some() { mono(inputs)? } else { waveform(inputs)? };
        let audio = AudioType { max_s: self.crop_seconds, rate_hz: self.rate_hz.or(given.rate_hz), ..given.clone() };
        let output = inputs[0]
            .clone()
            .with("audio", ColumnType::Audio(audio))
            .with("offset_s", ColumnType::Plain(arrow::datatypes::DataType::Float64))
            .with("duration_s", ColumnType::Plain(arrow::datatypes::DataType::Float64));
        Ok(StagePlan::new(StageKind::Fold, output))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if let Some(seconds) = self.crop_seconds.filter(|seconds| !(*seconds > 0.0 && seconds.is_finite())) {
            return Err(PlanError::field("crop_seconds", format!("crops of {seconds} s"), "more than 0, such as 10"));
        }
        if let Some(rate_hz) = self.rate_hz {
            ResampleConfig::new(rate_hz).check()?;
        }
        super::checks::at_least_one("clips", self.clips)
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Fold(Box::new(PadTogether {
            config: self.clone(),
            builder: RowBuilder::new(&cx.inputs[0], cx.output),
            together: Vec::new(),
            ready: Vec::new(),
            n_ready: 0,
            resampler: None,
        })))
    }
}

struct PadTogether {
    config: PadTogetherConfig,
    builder: RowBuilder,
    together: Vec<Part>,
    /// Batches of one row that wait for company.
    ready: Vec<RecordBatch>,
    /// Samples in them.
    n_ready: usize,
    /// For the rate of the clip before.
    resampler: Option<(u32, HannSinc)>,
}

/// A clip, or a crop of one.
struct Part {
    /// One row, without its samples.
    row: Arc<RecordBatch>,
    start_s: Option<f64>,
    samples: Samples,
}

impl PadTogether {
    /// Cuts the clip of row `at` and takes its parts in.
    fn take(&mut self, rows: &Arc<RecordBatch>, at: usize, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let samples = match whole(rows, at).and_then(|samples| self.resampled(samples)) {
            Ok(samples) => samples,
            Err(error) => {
                cx.reject(rows, at, error);
                return Ok(());
            }
        };
        let row = Arc::new(take_record_batch(&plain(rows)?, &UInt32Array::from(vec![at as u32]))?);
        let Some(crop_s) = self.config.crop_seconds else {
            return self.add(Part { row, start_s: None, samples }, cx);
        };
        let len = (crop_s * f64::from(samples.rate_hz)).round().max(1.0) as usize * samples.channels.max(1);
        let n_crops = (samples.values.len() / len).max(1);
        for crop in 0..n_crops {
            let end = ((crop + 1) * len).min(samples.values.len());
            let mut values = samples.values[crop * len..end].to_vec();
            values.resize(len, 0.0);
            let start_s = Some(crop as f64 * crop_s);
            self.add(Part { row: row.clone(), start_s, samples: Samples { values, ..samples } }, cx)?;
        }
        Ok(())
    }

    fn resampled(&mut self, samples: Samples) -> Result<Samples, ClipError> {
        let Some(rate_hz) = self.config.rate_hz.filter(|rate_hz| *rate_hz != samples.rate_hz) else {
            return Ok(samples);
        };
        if self.resampler.as_ref().is_none_or(|(known, _)| *known != samples.rate_hz) {
            let fault = |error: ajepa_ops::ConfigError| ClipError::new("corrupt", error.to_string());
            self.resampler = Some((samples.rate_hz, HannSinc::new(samples.rate_hz, rate_hz).map_err(fault)?));
        }
        let mut values = Vec::new();
        if let Some((_, resampler)) = &self.resampler {
            resampler.process(&samples.values, &mut values);
        }
        Ok(Samples { values, rate_hz, ..samples })
    }

    fn add(&mut self, part: Part, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        self.together.push(part);
        if self.together.len() == self.config.clips { self.pad(cx) } else { Ok(()) }
    }

    /// Fills up what is held, and makes it ready.
    fn pad(&mut self, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let longest_s = self.together.iter().map(|part| part.samples.duration_s()).fold(0.0, f64::max);
        let mut before: Option<Arc<RecordBatch>> = None;
        for part in std::mem::take(&mut self.together) {
            let again = before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &part.row));
            before = Some(part.row.clone());
            if !again {
                self.give(part, longest_s)?;
                if self.ready.len() >= ROWS || self.n_ready >= MAX_HELD {
                    self.flush(cx)?;
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, part: Part, seconds: f64) -> Result<(), StageError> {
        let Part { row: origin, start_s, mut samples } = part;
        let n = (seconds * f64::from(samples.rate_hz)).round() as usize * samples.channels.max(1);
        samples.values.resize(n.max(samples.values.len()), 0.0);
        let mut row = Row::new(origin.clone(), 0);
        if let Some(start_s) = start_s {
            row.set("clip_id", Cell::Str(format!("{}@{start_s}", row.str("clip_id"))));
        }
        row.set("offset_s", Cell::F64(row.f64("offset_s").unwrap_or(0.0) + start_s.unwrap_or(0.0)));
        row.set("duration_s", Cell::F64(samples.duration_s()));
        self.n_ready += samples.values.len();
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        let lost = |error: ClipError| StageError::Other(format!("a clip that was read: {}", error.detail));
        self.builder.push(row, u64::MAX, &mut |_| ()).map_err(lost)?;
        self.ready.push(self.builder.finish(&origin)?);
        Ok(())
    }

    fn flush(&mut self, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let ready = std::mem::take(&mut self.ready);
        self.n_ready = 0;
        match ready.first() {
            Some(first) => cx.emit(concat_batches(first.schema_ref(), &ready)?),
            None => Ok(()),
        }
    }
}

/// All samples of a row.
fn whole(rows: &Arc<RecordBatch>, at: usize) -> Result<Samples, ClipError> {
    let audio = Row::new(rows.clone(), at).take_audio()?;
    let samples = Audio::into_samples(audio, Vec::new(), u64::MAX)?;
    if samples.values.is_empty() { Err(OpError::Empty.into()) } else { Ok(samples) }
}

/// The columns that are not audio.
fn plain(rows: &RecordBatch) -> Result<RecordBatch, StageError> {
    let schema = rows.schema();
    let kept: Vec<usize> = (0..rows.num_columns()).filter(|&i| schema.field(i).name() != "audio").collect();
    Ok(rows.project(&kept)?)
}

impl Fold for PadTogether {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let rows = Arc::new(rows);
        (0..rows.num_rows()).try_for_each(|at| self.take(&rows, at, cx))
    }

    fn end_unit(&mut self, _unit: usize, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        self.pad(cx)?;
        self.flush(cx)
    }
}
