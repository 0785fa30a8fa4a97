//! `crop`: a window of a clip, or all its windows one after another. Only what is needed is decoded.

use ajepa_ops::OpError;
use ajepa_ops::crop::{Crop, CropConfig, CropTail, SlidingWindows};

use super::waveform::waveform;
use crate::engine::MapCx;
use crate::row::{Audio, Cell, Row, Samples};
use crate::schema::{AudioType, ColumnType, Schema};
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// Any rate serves to check what does not depend on it.
const SOME_RATE_HZ: u32 = 48_000;

impl StageConfig for CropConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let audio = waveform(inputs)?;
        let rate_hz = audio.rate_hz.unwrap_or(SOME_RATE_HZ);
        let crop = CropConfig::build(self, rate_hz)?;
        if self.samples.is_some() && audio.rate_hz.is_none() {
            let help = "give `seconds`, or put `resample` before it";
            return Err(PlanError::field("samples", "the rate is that of each file, so samples are no length", help));
        }
        let max_s = Some(crop.n_frames() as f64 / f64::from(rate_hz));
        let audio = AudioType { max_s, ..audio.clone() };
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone().with("audio", ColumnType::Audio(audio))))
    }

    fn validate(&self) -> Result<(), PlanError> {
        CropConfig::build(self, SOME_RATE_HZ)?;
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(CropMap { config: self.clone(), built: None })))
    }
}

#[derive(Clone)]
struct CropMap {
    config: CropConfig,
    /// For the rate of the clip before.
    built: Option<(u32, Crop)>,
}

impl CropMap {
    fn crop(&mut self, rate_hz: u32) -> Result<Crop, MapError> {
        if let Some((known, crop)) = self.built
            && known == rate_hz
        {
            return Ok(crop);
        }
        let fault = |error: ajepa_ops::ConfigError| crate::stage::ClipError::new("corrupt", error.to_string());
        let crop = CropConfig::build(&self.config, rate_hz).map_err(fault)?;
        self.built = Some((rate_hz, crop));
        Ok(crop)
    }
}

/// Gives on one window after another, each before the next is decoded.
///
/// # Errors
/// [`OpError::Empty`] for a clip without samples.
fn slide(crop: &Crop, keeps_tail: bool, row: &Row, audio: Audio, cx: &mut MapCx<'_>) -> Result<(), MapError> {
    let (rate_hz, channels) = (audio.rate_hz(), audio.channels());
    let mut windows = SlidingWindows::with_buffer(crop, audio.into_stream(), cx.buffer());
    let mut n = 0;
    while let Some((window, values)) = windows.next_window()? {
        let mut copy = cx.buffer();
        copy.extend_from_slice(values);
        let mut part = row.sibling();
        lay(&mut part, row.f64("offset_s"), window.start, Samples { values: copy, rate_hz, channels });
        cx.emit(part)?;
        n += 1;
    }
    // Only a tail that is to be dropped may be all of a clip: without one, a clip without windows is one without samples.
    if n == 0 && keeps_tail {
        return Err(OpError::Empty.into());
    }
    cx.recycle(windows.into_parts().1);
    Ok(())
}

/// Lays a window of a clip over its row; its place in the recording moves along.
fn lay(row: &mut Row, clip_offset_s: Option<f64>, start: u64, samples: Samples) {
    let start_s = start as f64 / f64::from(samples.rate_hz.max(1));
    row.set("offset_s", Cell::F64(clip_offset_s.unwrap_or(0.0) + start_s));
    row.set("duration_s", Cell::F64(samples.duration_s()));
    row.set("audio", Cell::Audio(Audio::Samples(samples)));
}

/// The window of a clip that is in memory, moved to the front of its own buffer; returns where it started.
fn cut_in_place(crop: &Crop, mut samples: Samples, seed: u64) -> Result<(u64, Samples), MapError> {
    let channels = samples.channels.max(1);
    let n_frames = (samples.values.len() / channels) as u64;
    let window = crop.windows(n_frames, seed).next().ok_or(OpError::Empty)?;
    let (start, n) = (window.start as usize * channels, window.n_frames as usize * channels);
    samples.values.copy_within(start..start + n, 0);
    samples.values.truncate(n);
    samples.values.resize(n + window.n_padding as usize * channels, 0.0);
    Ok((window.start, samples))
}

impl Map for CropMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let audio = row.take_audio()?;
        let crop = self.crop(audio.rate_hz())?;
        if crop.is_sliding() {
            return slide(&crop, self.config.tail != CropTail::Drop, &row, audio, cx);
        }
        let (rate_hz, channels) = (audio.rate_hz(), audio.channels());
        let max_frames = cx.clip_cap_bytes() / 4 / channels.max(1) as u64;
        if let Audio::Samples(samples) = audio {
            let (offset_s, seed) = (row.f64("offset_s"), cx.seed(&row));
            let (start, samples) = cut_in_place(&crop, samples, seed)?;
            lay(&mut row, offset_s, start, samples);
            return cx.emit(row);
        }
        let mut values = cx.buffer();
        let window = crop.read(audio.into_stream().as_mut(), cx.seed(&row), max_frames, &mut values)?;
        let offset_s = row.f64("offset_s");
        lay(&mut row, offset_s, window.start, Samples { values, rate_hz, channels });
        cx.emit(row)
    }
}
