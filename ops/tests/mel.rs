//! Log-mel against torchaudio in f64. `fixtures/mel/make_mel_fixtures.py` made the pictures and says how.

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

#[test]
fn torchaudio_in_f64() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mel");
    let cases = cases(&dir);
    assert!(cases.len() > 30);
    for case in &cases {
        let d = compare(&dir, case);
        println!("{:28} max {:.2e} mean {:.2e}", case.name, d.max, d.mean());
        assert!(d.max <= 5e-3 && d.mean() <= 2e-5, "{}: max {:.2e} mean {:.2e}", case.name, d.max, d.mean());
        if case.name.ends_with("silence") {
            assert_eq!(d.max, 0.0, "{}", case.name);
        }
    }
}

/// The same over a corpus: `AJEPA_MEL_CASES` names a folder that the script filled.
#[test]
#[ignore = "needs a folder of cases made from a corpus"]
fn corpus() {
    let dir = PathBuf::from(std::env::var_os("AJEPA_MEL_CASES").expect("AJEPA_MEL_CASES names the folder"));
    let mut presets = std::collections::BTreeMap::<String, Differences>::new();
    for case in cases(&dir) {
        let d = compare(&dir, &case);
        assert!(d.max <= 5e-3, "{}: {d:?}", case.name);
        presets.entry(format!("{:?}", case.config.preset)).or_default().merge(d);
    }
    for (preset, d) in &presets {
        println!("{preset:22} cells {:9} max {:.2e} mean {:.2e}", d.n, d.max, d.mean());
        assert!(d.mean() <= 2e-5);
    }
}
