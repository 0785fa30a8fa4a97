//! `measure`: what a clip is, from its samples: a hash, a fingerprint, its level, its length.

use std::path::Path;
use std::sync::Arc;

use ajepa_ops::AudioRead;
use ajepa_ops::fingerprint::Fingerprinter;
use ajepa_ops::level::Level;
use arrow::datatypes::{DataType, Field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;
use zerocopy::IntoBytes;

use super::waveform::mono;
use crate::columns::MediaPlace;
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{ColumnType, Schema};
use crate::stage::{
    BuildCx, BuildError, ClipError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan,
};

/// Frames that are looked at together: they stay in the nearest cache but one.
const BLOCK: usize = 16_384;
/// Rates of which a worker keeps what was planned.
const KEPT_RATES: usize = 8;

/// Takes the place of the waveform: what can be said of a clip once all of it is decoded. A clip is heard block by block,
/// however long it is.
///
/// `content_hash` is XXH3-128 over the rate (u32) and then every sample of the mono waveform as `decode` gives it, in f32,
/// both little-endian: the mean of all channels at the rate of the file. So the same recording in WAV, FLAC and ALAC is
/// equal, whatever its tags; a lossy copy, another rate or another bit depth is not. `fingerprint` has eight u32 a second that
/// stay mostly as they are when a clip is encoded again or made louder.
///
/// `status` is `ok`, `too_short` or `silent`; `detail` says more, and begins with `wrong_extension:` where a file is of another
/// kind than its name says. `rate_hz`, `channels` and `codec` are those of the file. `duration_s` is what was decoded;
/// `peak_db` and `rms_db` are of the mono waveform, in dB of full scale, -200 for digital silence; `content_bytes` is the size
/// as it is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureConfig {
    /// A clip whose peak stays below this is `silent`: dB of full scale, -200 to 0. Default: -70.
    pub silent_below_db: f32,
    /// A clip shorter than this is `too_short`: seconds, 0 or more. Default: 0.1.
    pub min_seconds: f64,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self { silent_below_db: -70.0, min_seconds: 0.1 }
    }
}

impl StageConfig for MeasureConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        self.validate()?;
        mono(inputs)?;
        let plain = ColumnType::Plain;
        let words = DataType::List(Arc::new(Field::new("item", DataType::UInt32, true)));
        let output = inputs[0]
            .clone()
            .without("audio")
            .with("duration_s", plain(DataType::Float64))
            .with("rate_hz", plain(DataType::UInt32))
            .with("channels", plain(DataType::UInt32))
            .with("codec", plain(DataType::Utf8))
            .with("content_hash", plain(DataType::FixedSizeBinary(16)))
            .with("fingerprint", plain(words))
            .with("peak_db", plain(DataType::Float32))
            .with("rms_db", plain(DataType::Float32))
            .with("status", plain(DataType::Utf8))
            .with("detail", plain(DataType::Utf8))
            .with("content_bytes", plain(DataType::UInt64));
        Ok(StagePlan::new(StageKind::Map, output))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if !(-200.0..=0.0).contains(&self.silent_below_db) {
            let problem = format!("{} dB", self.silent_below_db);
            return Err(PlanError::field("silent_below_db", problem, "-200 to 0"));
        }
        if !(self.min_seconds >= 0.0 && self.min_seconds.is_finite()) {
            return Err(PlanError::field("min_seconds", format!("{} s", self.min_seconds), "0 or more"));
        }
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(MeasureMap { config: self.clone(), makers: Vec::new() })))
    }
}

struct MeasureMap {
    config: MeasureConfig,
    /// One for each rate, the one used last at the end.
    makers: Vec<Fingerprinter>,
}

/// What the samples say.
struct Heard {
    n_frames: u64,
    hash: [u8; 16],
    level: Level,
    words: Vec<u32>,
}

impl MeasureMap {
    /// Takes the maker out: one that a bad clip or a panic left half full is not put back.
    fn maker(&mut self, rate_hz: u32) -> Result<Fingerprinter, ClipError> {
        if let Some(at) = self.makers.iter().position(|maker| maker.rate_hz() == rate_hz) {
            return Ok(self.makers.remove(at));
        }
        Fingerprinter::new(rate_hz).map_err(|error| ClipError::new("corrupt", error.to_string()))
    }

    fn hear(&mut self, audio: &mut dyn AudioRead, buffer: &mut Vec<f32>) -> Result<Heard, ClipError> {
        let mut maker = self.maker(audio.rate_hz())?;
        let (mut hasher, mut level, mut n_frames) = (XxHash3_128::new(), Level::default(), 0);
        hasher.write(&audio.rate_hz().to_le_bytes());
        buffer.resize(BLOCK, 0.0);
        loop {
            let n = audio.read(buffer)?;
            if n == 0 {
                break;
            }
            let samples = &buffer[..n];
            write_samples(&mut hasher, samples);
            level.push(samples);
            maker.push(samples)?;
            n_frames += n as u64;
        }
        let words = maker.finish()?;
        if self.makers.len() == KEPT_RATES {
            self.makers.remove(0);
        }
        self.makers.push(maker);
        Ok(Heard { n_frames, hash: hasher.finish_128().to_be_bytes(), level, words })
    }

    fn status(&self, duration_s: f64, peak_db: f32) -> &'static str {
        match () {
            () if duration_s < self.config.min_seconds => "too_short",
            () if peak_db < self.config.silent_below_db => "silent",
            () => "ok",
        }
    }
}

impl Map for MeasureMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(Self { config: self.config.clone(), makers: Vec::new() })
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let mut audio = row.take_audio()?.into_stream();
        let mut buffer = cx.buffer();
        let heard = self.hear(audio.as_mut(), &mut buffer)?;
        cx.recycle(buffer);
        let duration_s = heard.n_frames as f64 / f64::from(audio.rate_hz());
        let status = self.status(duration_s, heard.level.peak_db());
        let place = MediaPlace::of(&row);
        let mut detail = match status {
            "too_short" => format!("{duration_s:.3} s; {} s is the least", self.config.min_seconds),
            "silent" => format!("its peak is {:.1} dB", heard.level.peak_db()),
            _ => String::new(),
        };
        if let Some(about) = audio.info() {
            row.set("channels", Cell::U32(about.channels as u32));
            row.set("codec", Cell::Str(about.codec.to_owned()));
            let named = place.as_ref().and_then(|place| misnamed(name_of(&row, place), about.container));
            if let (Some(named), true) = (named, detail.is_empty()) {
                detail = named;
            }
        }
        row.set("rate_hz", Cell::U32(audio.rate_hz()));
        row.set("duration_s", Cell::F64(duration_s));
        row.set("content_hash", Cell::Hash(heard.hash));
        row.set("fingerprint", Cell::U32s(heard.words));
        row.set("peak_db", Cell::F32(heard.level.peak_db()));
        row.set("rms_db", Cell::F32(heard.level.rms_db()));
        row.set("status", Cell::Str(status.to_owned()));
        if !detail.is_empty() {
            row.set("detail", Cell::Str(detail));
        }
        if let Some(n_bytes) = place.and_then(|place| place.n_bytes(&row)) {
            row.set("content_bytes", Cell::U64(n_bytes));
        }
        cx.emit(row)
    }
}

/// Little-endian on every processor.
fn write_samples(hasher: &mut XxHash3_128, samples: &[f32]) {
    if cfg!(target_endian = "little") {
        return hasher.write(samples.as_bytes());
    }
    for x in samples {
        hasher.write(&x.to_le_bytes());
    }
}

/// The name that says of which kind the clip is: that of the member where the file is an archive.
fn name_of<'a>(row: &'a Row, place: &'a MediaPlace) -> &'a str {
    match place.bytes {
        Some(_) => row.str("source").rsplit('!').next().unwrap_or_default(),
        None => &place.path,
    }
}

/// Says so where a name is that of another container.
fn misnamed(name: &str, container: &str) -> Option<String> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    let fitting: &[&str] = match extension.as_str() {
        "wav" | "wave" => &["WAV"],
        "flac" => &["FLAC", "Ogg"],
        "mp1" | "mp2" | "mp3" => &["MPEG audio"],
        "ogg" | "oga" | "opus" => &["Ogg"],
        "m4a" | "m4b" | "mp4" => &["MP4"],
        "aac" => &["ADTS", "MP4"],
        "mka" | "mkv" | "webm" => &["Matroska"],
        "aif" | "aiff" | "aifc" => &["AIFF"],
        "caf" => &["CAF"],
        _ => return None,
    };
    (!fitting.contains(&container)).then(|| format!("wrong_extension: named .{extension}, it is {container}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lie_are_noticed() {
        assert_eq!(misnamed("a/b.MP3", "WAV").as_deref(), Some("wrong_extension: named .mp3, it is WAV"));
        for (name, container) in
            [("a.flac", "FLAC"), ("a.opus", "Ogg"), ("a.aac", "ADTS"), ("a", "WAV"), ("a.bin", "WAV")]
        {
            assert_eq!(misnamed(name, container), None, "{name}");
        }
    }

    #[test]
    fn limits_are_checked_and_sound_is_asked_for() {
        let plan = |yaml: &str| {
            let config: MeasureConfig = serde_json::from_str(yaml).unwrap();
            config.plan(&[Schema::of_media(false)]).unwrap_err()
        };
        assert_eq!(plan(r#"{"silent_below_db": 3}"#).field.as_deref(), Some("silent_below_db"));
        assert_eq!(plan(r#"{"min_seconds": -1}"#).field.as_deref(), Some("min_seconds"));
        assert!(plan("{}").help.contains("decode"));
    }
}
