//! `log_mel`: the waveform as a picture of time and frequency.

use ajepa_ops::mel::{Axes, LogMel, LogMelConfig};
use arrow::datatypes::DataType;

use super::waveform::mono;
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{ColumnType, Dtype, Schema, TensorType};
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

impl StageConfig for LogMelConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        self.validate()?;
        let mel = LogMelConfig::build(self)?;
        check_rate(&mel, inputs)?;
        let output = inputs[0]
            .clone()
            .without("audio")
            .with("mel", ColumnType::Tensor(tensor(&mel, self)))
            .with("n_frames", ColumnType::Plain(DataType::UInt32));
        Ok(StagePlan::new(StageKind::Map, output))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if LogMelConfig::build(self)?.n_frames_out().is_some() {
            return Ok(());
        }
        Err(PlanError::field(
            "extent",
            "pictures of a graph have one shape, and `clip` gives each clip its own",
            "leave it out, and cut longer clips with `crop: { position: sliding }` before this stage",
        ))
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(LogMelMap { mel: LogMelConfig::build(self)? })))
    }
}

fn check_rate(mel: &LogMel, inputs: &[Schema]) -> Result<(), PlanError> {
    let audio = mono(inputs)?;
    let needed = mel.rate_hz();
    let resample = format!("{{ type: resample, rate_hz: {needed} }}");
    match audio.rate_hz {
        Some(rate_hz) if rate_hz == needed => Ok(()),
        Some(rate_hz) => {
            let help = format!("bring clips to that rate with {resample}, or give `rate_hz: {rate_hz}` here");
            Err(PlanError::new(format!("it works at {needed} Hz, and is given {rate_hz} Hz"), help))
        }
        None => {
            let problem = format!("it works at {needed} Hz, and clips come at the rate of their files");
            Err(PlanError::new(problem, format!("put {resample} before it")))
        }
    }
}

fn tensor(mel: &LogMel, config: &LogMelConfig) -> TensorType {
    let axes = match mel.axes() {
        Axes::TimeMel => ["frames", "mels"],
        Axes::MelTime => ["mels", "frames"],
    };
    TensorType {
        dtype: Dtype::F32,
        shape: mel.shape(0).to_vec(),
        axes: axes.map(str::to_owned).to_vec(),
        front_end: serde_json::json!({
            "log_mel": config,
            "rate_hz": mel.rate_hz(),
            "frame_s": mel.frame_s(),
            "floor": mel.floor(),
            "mel_centres_hz": mel.mel_centres_hz(),
        }),
    }
}

#[derive(Clone)]
struct LogMelMap {
    mel: LogMel,
}

impl Map for LogMelMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let samples = cx.samples(&mut row)?;
        let mut picture = cx.buffer();
        picture.resize(self.mel.shape(samples.values.len()).iter().product(), 0.0);
        let n_valid = self.mel.process(&samples.values, &mut picture)?;
        row.set("duration_s", Cell::F64(samples.duration_s()));
        row.set("n_frames", Cell::U32(n_valid as u32));
        row.set("mel", Cell::Tensor(picture));
        cx.recycle(samples.values);
        cx.emit(row)
    }
}
