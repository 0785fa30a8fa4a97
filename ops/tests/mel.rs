//! Log-mel against torchaudio in f64. `fixtures/mel/make_mel_fixtures.py` made the pictures and says how.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ajepa_ops::mel::{Axes, LogMelConfig};
use serde::Deserialize;

/// One line of `cases.jsonl`.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    config: LogMelConfig,
    input: Input,
    normalise: bool,
    frames: Vec<usize>,
    expected: PathBuf,
    /// The recording, where it is one.
    source: Option<PathBuf>,
    /// How far torchaudio's own f32 is from its f64.
    torchaudio_f32: Peer,
}

#[derive(Debug, Deserialize)]
struct Peer {
    max: f64,
    mean: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Input {
    /// Samples as little-endian i16.
    File(PathBuf),
    /// Length and seed of full-scale noise.
    Noise(usize, u32),
}

/// Differences in units of the natural logarithm, whatever the picture's unit.
#[derive(Debug, Default, Clone, Copy)]
struct Differences {
    max: f64,
    sum: f64,
    n: usize,
}

impl Differences {
    fn add(&mut self, difference: f64) {
        assert!(difference.is_finite());
        self.max = self.max.max(difference.abs());
        self.sum += difference.abs();
        self.n += 1;
    }

    fn merge(&mut self, other: Self) {
        *self = Self { max: self.max.max(other.max), sum: self.sum + other.sum, n: self.n + other.n };
    }

    fn mean(&self) -> f64 {
        self.sum / self.n as f64
    }
}

fn cases(dir: &Path) -> Vec<Case> {
    let text = fs::read_to_string(dir.join("cases.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn noise(n: usize, seed: u32) -> Vec<i16> {
    let mut state = seed;
    let draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) as i32 - 32_768) as i16
    };
    std::iter::repeat_with(draw).take(n).collect()
}

/// The clip as f32; where the reference normalises, `(x - mean) / max|x - mean| + 1e-6` in f64 first.
fn samples(dir: &Path, case: &Case) -> Vec<f32> {
    let raw = match &case.input {
        Input::File(file) => {
            let bytes = fs::read(dir.join(file)).unwrap();
            bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
        }
        Input::Noise(n, seed) => noise(*n, *seed),
    };
    let clip: Vec<f64> = raw.iter().map(|&x| f64::from(x) / 32_768.0).collect();
    if !case.normalise {
        return clip.iter().map(|&x| x as f32).collect();
    }
    let mean = clip.iter().sum::<f64>() / clip.len() as f64;
    let peak = clip.iter().map(|x| (x - mean).abs()).fold(0.0, f64::max);
    clip.iter().map(|x| ((x - mean) / peak + 1e-6) as f32).collect()
}

fn compare(dir: &Path, case: &Case) -> Differences {
    let mut mel = case.config.build().unwrap();
    let clip = samples(dir, case);
    let [rows, columns] = mel.shape(clip.len());
    let mut picture = vec![f32::NAN; rows * columns];
    mel.process(&clip, &mut picture).unwrap();
    let bytes = fs::read(dir.join(&case.expected)).unwrap();
    let expected: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    assert_eq!(expected.len(), case.frames.len() * mel.n_mels(), "{}", case.name);
    // -100 dB is ln(1e-10): decibels are 10 / ln 10 to the unit.
    let unit = if mel.floor() == -100.0 { 10.0 / std::f64::consts::LN_10 } else { 1.0 };
    let mut differences = Differences::default();
    for (row, &t) in expected.chunks_exact(mel.n_mels()).zip(&case.frames) {
        for (m, &want) in row.iter().enumerate() {
            let at = if mel.axes() == Axes::TimeMel { t * columns + m } else { m * columns + t };
            differences.add((f64::from(picture[at]) - f64::from(want)) / unit);
        }
    }
    differences
}

/// Bounds on real clips pooled by preset, and on each signal by itself. A pure tone has bands 130 dB below it, where f32
/// ends: there torchaudio's own f32 is the bound, on average one and a half times it (whitening favours bass over treble: a
/// lone tone near Nyquist is the one signal that comes out worse).
fn judge(results: &[(&Case, Differences)]) {
    let mut pooled = BTreeMap::<String, Differences>::new();
    for (case, d) in results {
        let peer = &case.torchaudio_f32;
        println!("{:28} max {:.1e} mean {:.1e}  (f32 {:.1e} {:.1e})", case.name, d.max, d.mean(), peer.max, peer.mean);
        if case.source.is_some() {
            pooled.entry(format!("{:?}", case.config.preset)).or_default().merge(*d);
        }
    }
    for (preset, d) in &pooled {
        println!("{preset:22} {:9} cells  max {:.2e} mean {:.2e}", d.n, d.max, d.mean());
        assert!(d.max <= 5e-3 && d.mean() <= 2e-5, "{preset}: {d:?}");
    }
    for (case, d) in results {
        let peer = &case.torchaudio_f32;
        assert!(d.max <= f64::max(5e-3, peer.max), "{}: {d:?} {peer:?}", case.name);
        assert!(d.mean() <= f64::max(2e-5, 1.5 * peer.mean), "{}: mean {:e} {peer:?}", case.name, d.mean());
    }
}

#[test]
fn torchaudio_in_f64() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mel");
    let cases = cases(&dir);
    assert!(cases.len() > 30);
    let results: Vec<_> = cases.iter().map(|case| (case, compare(&dir, case))).collect();
    judge(&results);
    for (case, d) in results.iter().filter(|(case, _)| case.name.ends_with("silence")) {
        assert_eq!(d.max, 0.0, "{}", case.name);
    }
}

/// The same over a corpus: `AJEPA_MEL_CASES` names a folder that the script filled.
#[test]
#[ignore = "needs a folder of cases made from a corpus"]
fn corpus() {
    let dir = PathBuf::from(std::env::var_os("AJEPA_MEL_CASES").expect("AJEPA_MEL_CASES names the folder"));
    let cases = cases(&dir);
    judge(&cases.iter().map(|case| (case, compare(&dir, case))).collect::<Vec<_>>());
}
