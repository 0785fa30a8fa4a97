//! Times one op on one file at a request, for `bench/compare.py`: requests come a line each on standard input, each is
//! answered by the CPU time of this thread in nanoseconds, or by `error` and why.
//!
//! | request (tab-separated) | what is timed |
//! |---|---|
//! | `decode FILE` | bytes in memory to mono samples |
//! | `resample HZ FILE` | the clip's mono samples to another rate |
//! | `mel PRESET FILE` | mono samples at the preset's rate to a log-mel picture |
//! | `features PRESET FILE` | bytes in memory to a picture: decode, resample, normalise, cut or pad, log-mel |
//!
//! Files are read, and what precedes the timed step is done, before the clock starts. Objects and buffers are kept from
//! request to request, as a worker of the engine keeps them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::io::{BufRead, Cursor, Write};

use ajepa_ops::AudioRead;
use ajepa_ops::decode::{Decode, DecodeConfig, Decoder};
use ajepa_ops::mel::{LogMel, LogMelConfig};
use ajepa_ops::normalize::{Normalize, NormalizeConfig, NormalizePreset};
use ajepa_ops::resample::{ResampleConfig, ResamplerCache};
use rustix::time::{ClockId, clock_gettime};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Longest clip that is decoded, in frames.
const MAX_FRAMES: u64 = 60 * 192_000;

/// The pictures of all presets cover ten seconds.
const CLIP_S: usize = 10;

fn main() -> Fallible<()> {
    let mut bench = Bench {
        decode: DecodeConfig::default().build()?,
        normalize: NormalizeConfig::new(NormalizePreset::Code225b816).build()?,
        files: HashMap::new(),
        clips: HashMap::new(),
        resamplers: HashMap::new(),
        mels: HashMap::new(),
        samples: Vec::new(),
        picture: Vec::new(),
    };
    let mut out = std::io::stdout().lock();
    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let fields: Vec<&str> = request.split('\t').collect();
        match bench.answer(&fields) {
            Ok(ns) => writeln!(out, "{ns}")?,
            Err(error) => writeln!(out, "error {error}")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// Mono samples and their rate.
struct Clip {
    samples: Vec<f32>,
    rate_hz: u32,
}

struct Bench {
    decode: Decode,
    normalize: Normalize,
    files: HashMap<String, Vec<u8>>,
    clips: HashMap<String, Clip>,
    resamplers: HashMap<u32, ResamplerCache>,
    mels: HashMap<String, LogMel>,
    samples: Vec<f32>,
    picture: Vec<f32>,
}

impl Bench {
    fn answer(&mut self, fields: &[&str]) -> Fallible<u64> {
        match *fields {
            ["decode", file] => self.time_decode(file),
            ["resample", rate_hz, file] => self.time_resample(rate_hz.parse()?, file),
            ["mel", preset, file] => self.time_mel(preset, file),
            ["features", preset, file] => self.time_features(preset, file),
            _ => Err(format!("no such request: {fields:?}").into()),
        }
    }

    fn time_decode(&mut self, file: &str) -> Fallible<u64> {
        let bytes = self.bytes(file)?;
        let started = thread_ns();
        let mut audio = open(&self.decode, bytes, file)?;
        self.samples.clear();
        audio.read_to_end(&mut self.samples, MAX_FRAMES)?;
        Ok(thread_ns() - started)
    }

    fn time_resample(&mut self, rate_hz: u32, file: &str) -> Fallible<u64> {
        self.load(file)?;
        let clip = &self.clips[file];
        let resampler = resampler(&mut self.resamplers, rate_hz)?;
        // The plan for this rate is made once for a corpus.
        let planned = resampler.take(clip.rate_hz, 1)?;
        resampler.put(planned);
        let started = thread_ns();
        resampler.process(clip.rate_hz, 1, &clip.samples, &mut self.samples)?;
        Ok(thread_ns() - started)
    }

    fn time_mel(&mut self, preset: &str, file: &str) -> Fallible<u64> {
        self.load(file)?;
        let clip = &self.clips[file];
        let mel = mel(&mut self.mels, preset)?;
        if mel.rate_hz() != clip.rate_hz {
            return Err(format!("{preset} works at {} Hz, {file} has {}", mel.rate_hz(), clip.rate_hz).into());
        }
        let [rows, columns] = mel.shape(clip.samples.len());
        self.picture.resize(rows * columns, 0.0);
        let started = thread_ns();
        mel.process(&clip.samples, &mut self.picture)?;
        Ok(thread_ns() - started)
    }

    fn time_features(&mut self, preset: &str, file: &str) -> Fallible<u64> {
        let bytes = self.bytes(file)?;
        let mel = mel(&mut self.mels, preset)?;
        let resampler = resampler(&mut self.resamplers, mel.rate_hz())?;
        let n_samples = CLIP_S * mel.rate_hz() as usize;
        let [rows, columns] = mel.shape(n_samples);
        self.picture.resize(rows * columns, 0.0);
        let started = thread_ns();
        let mut audio = open(&self.decode, bytes, file)?;
        self.samples.clear();
        if audio.rate_hz() == mel.rate_hz() {
            audio.read_to_end(&mut self.samples, MAX_FRAMES)?;
        } else {
            let mut audio = resampler.wrap(audio)?;
            audio.read_to_end(&mut self.samples, MAX_FRAMES)?;
            resampler.put(audio.into_parts().1);
        }
        self.normalize.process(&mut self.samples)?;
        self.samples.resize(n_samples, 0.0);
        mel.process(&self.samples, &mut self.picture)?;
        Ok(thread_ns() - started)
    }

    /// The bytes of `file`, from memory after the first time.
    fn bytes(&mut self, file: &str) -> Fallible<Vec<u8>> {
        if !self.files.contains_key(file) {
            self.files.insert(file.to_owned(), std::fs::read(file)?);
        }
        Ok(self.files[file].clone())
    }

    /// Has `file` among the decoded clips.
    fn load(&mut self, file: &str) -> Fallible<()> {
        if !self.clips.contains_key(file) {
            let bytes = self.bytes(file)?;
            let mut audio = open(&self.decode, bytes, file)?;
            let mut samples = Vec::new();
            audio.read_to_end(&mut samples, MAX_FRAMES)?;
            self.clips.insert(file.to_owned(), Clip { samples, rate_hz: audio.rate_hz() });
        }
        Ok(())
    }
}

fn open(decode: &Decode, bytes: Vec<u8>, file: &str) -> Fallible<Decoder> {
    let hint = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    Ok(decode.open(Box::new(Cursor::new(bytes)), hint)?)
}

fn resampler(known: &mut HashMap<u32, ResamplerCache>, rate_hz: u32) -> Fallible<&mut ResamplerCache> {
    Ok(match known.entry(rate_hz) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(ResampleConfig::new(rate_hz).build_cache()?),
    })
}

fn mel<'a>(known: &'a mut HashMap<String, LogMel>, preset: &str) -> Fallible<&'a mut LogMel> {
    Ok(match known.entry(preset.to_owned()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(LogMelConfig::preset(serde_json::from_value(preset.into())?).build()?),
    })
}

/// CPU time of this thread.
fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
