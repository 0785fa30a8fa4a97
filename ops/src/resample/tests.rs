//! The promises of the module page, each measured.

use std::f64::consts::TAU;
use std::path::Path;

use proptest::prelude::*;

use super::{Quality, ResampleConfig, Resampled, Resampler};
use crate::{AudioRead, MemoryAudio, OpError};

const PAIRS: [(u32, u32); 14] = [
    (44_100, 32_000),
    (48_000, 32_000),
    (44_100, 16_000),
    (48_000, 16_000),
    (22_050, 32_000),
    (16_000, 32_000),
    (8_000, 32_000),
    (96_000, 32_000),
    (11_025, 32_000),
    (12_345, 32_000),
    (32_000, 44_100),
    (47_999, 32_000),
    (192_000, 8_000),
    (24_000, 32_000),
];

fn resampler(rate_in: u32, rate_out: u32) -> Resampler {
    ResampleConfig::new(rate_out).build(rate_in).unwrap()
}

fn convert(rate_in: u32, rate_out: u32, samples: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    resampler(rate_in, rate_out).process(samples, &mut out).unwrap();
    out
}

fn tone(freq_hz: f64, rate_hz: u32, n: usize) -> Vec<f32> {
    (0..n).map(|i| (TAU * freq_hz * i as f64 / f64::from(rate_hz)).sin() as f32).collect()
}

fn db(power_ratio: f64) -> f64 {
    10.0 * power_ratio.log10()
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / samples.len() as f64
}

/// Level of what is left of `samples` after the best-fitting sine of `freq_hz` is taken out, and that sine's level.
fn residual_and_gain_db(samples: &[f32], freq_hz: f64, rate_hz: u32) -> (f64, f64) {
    let phase = |i: usize| TAU * freq_hz * i as f64 / f64::from(rate_hz);
    let (mut ss, mut cc, mut sc, mut xs, mut xc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (i, &x) in samples.iter().enumerate() {
        let (s, c) = phase(i).sin_cos();
        (ss, cc, sc) = (ss + s * s, cc + c * c, sc + s * c);
        (xs, xc) = (xs + f64::from(x) * s, xc + f64::from(x) * c);
    }
    let det = ss * cc - sc * sc;
    let (a, b) = ((xs * cc - xc * sc) / det, (xc * ss - xs * sc) / det);
    let left: f64 = samples
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let (s, c) = phase(i).sin_cos();
            (f64::from(x) - a * s - b * c).powi(2)
        })
        .sum();
    (db(left / samples.len() as f64 / 0.5), db(a * a + b * b))
}

#[test]
fn lengths_are_rounded_up() {
    for (rate_in, rate_out) in PAIRS {
        for n in [0, 1, 2, 441, 1_000, 20_011] {
            let expected = (n as u64 * u64::from(rate_out)).div_ceil(u64::from(rate_in));
            assert_eq!(convert(rate_in, rate_out, &vec![0.1; n]).len() as u64, expected, "{rate_in} {n}");
        }
    }
}

#[test]
fn an_impulse_lands_on_its_time_with_no_fraction_left() {
    for (rate_in, rate_out) in PAIRS {
        let at = 5_000;
        let mut samples = vec![0.0; 12_000];
        samples[at] = 1.0;
        let out = convert(rate_in, rate_out, &samples);
        // The centre of gravity of a symmetric kernel is its centre; squares, so that ripples do not matter.
        let (mut moment, mut total) = (0.0, 0.0);
        for (i, &x) in out.iter().enumerate() {
            let t = i as f64 / f64::from(rate_out) * f64::from(rate_in) - at as f64;
            moment += t * f64::from(x).powi(2);
            total += f64::from(x).powi(2);
        }
        assert!((moment / total).abs() < 2e-3, "{rate_in} -> {rate_out}: {} input frames late", moment / total);
        let peak = (0..out.len()).max_by(|&a, &b| out[a].total_cmp(&out[b])).unwrap();
        let exact = at as f64 * f64::from(rate_out) / f64::from(rate_in);
        assert!((peak as f64 - exact).abs() <= 1.0, "{rate_in} -> {rate_out}: peak at {peak}, expected {exact}");
    }
}

#[test]
fn tones_pass_with_their_level_and_phase_and_nothing_beside_them() {
    for (rate_in, rate_out) in PAIRS {
        let nyquist_hz = f64::from(rate_in.min(rate_out)) / 2.0;
        let n = (rate_in as usize / 2).max(16_000);
        for fraction in [0.01, 0.31, 0.77, 0.9, 0.913] {
            let freq_hz = fraction * nyquist_hz;
            let out = convert(rate_in, rate_out, &tone(freq_hz, rate_in, n));
            let edge = (400.0 * f64::from(rate_out) / (2.0 * nyquist_hz)) as usize;
            let (residual_db, gain_db) = residual_and_gain_db(&out[edge..out.len() - edge], freq_hz, rate_out);
            assert!(residual_db < -120.0, "{rate_in} -> {rate_out} at {fraction}: {residual_db} dB beside the tone");
            assert!(gain_db.abs() < 0.1, "{rate_in} -> {rate_out} at {fraction}: {gain_db} dB");
        }
    }
}

#[test]
fn beyond_the_lower_nyquist_frequency_nothing_is_left() {
    for (rate_in, rate_out) in PAIRS.into_iter().filter(|(rate_in, rate_out)| rate_in > rate_out) {
        let n = rate_in as usize / 2;
        for fraction in [1.0, 1.0005, 1.002, 1.02, 1.2, 1.499] {
            let freq_hz = (fraction * f64::from(rate_out) / 2.0).min(0.499 * f64::from(rate_in));
            if freq_hz < f64::from(rate_out) / 2.0 {
                continue;
            }
            let out = convert(rate_in, rate_out, &tone(freq_hz, rate_in, n));
            let edge = 400.min(out.len() / 4);
            let level_db = db(power(&out[edge..out.len() - edge]) / 0.5);
            assert!(level_db < -120.0, "{rate_in} -> {rate_out} at {fraction}: {level_db} dB");
        }
    }
}

#[test]
fn equal_rates_change_nothing() {
    let samples = tone(100.0, 16_000, 999);
    assert_eq!(convert(16_000, 16_000, &samples), samples);
}

#[test]
fn steep_and_gentle_keep_their_bands() {
    for (quality, pass) in [(Quality::Steep, 0.97), (Quality::Gentle, 0.80)] {
        let config = ResampleConfig { rate_hz: 32_000, quality };
        let mut out = Vec::new();
        let mut resampler = config.build(44_100).unwrap();
        resampler.process(&tone(pass * 16_000.0, 44_100, 44_100), &mut out).unwrap();
        let (residual_db, gain_db) = residual_and_gain_db(&out[2_000..30_000], pass * 16_000.0, 32_000);
        assert!(residual_db < -120.0 && gain_db.abs() < 0.1, "{quality:?}: {residual_db} dB, {gain_db} dB");
        resampler.process(&tone(16_010.0, 44_100, 44_100), &mut out).unwrap();
        let level_db = db(power(&out[2_000..30_000]) / 0.5);
        assert!(level_db < -120.0, "{quality:?}: {level_db} dB");
    }
}

/// A row of `resample.csv`, which `make_resample.py` wrote.
struct Fixture {
    name: String,
    rate_in: u32,
    rate_out: u32,
    input: Vec<f32>,
    /// What soxr HQ made of it.
    expected: Vec<f32>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signal");
    let table = std::fs::read_to_string(folder.join("resample.csv")).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    rows.map(|row| {
        let input = std::fs::read(folder.join(format!("{}.in.i16", row[0]))).unwrap();
        let expected = std::fs::read(folder.join(format!("{}.out.f32", row[0]))).unwrap();
        let fixture = Fixture {
            name: row[0].to_owned(),
            rate_in: row[1].parse().unwrap(),
            rate_out: row[2].parse().unwrap(),
            input: input.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect(),
            expected: expected.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        };
        let lengths = (row[3].parse().unwrap(), row[4].parse().unwrap());
        assert_eq!((fixture.input.len(), fixture.expected.len()), lengths);
        fixture
    })
    .collect()
}

/// Frames at a clip's start that soxr spoils in its two-stage ratios, when the clip starts with a step: it throws away what
/// its first stage makes of the silence before the clip, which its second stage would need. Single-stage ratios agree there.
const SOXR_START: usize = 8;

#[test]
fn real_recordings_agree_with_soxr_hq_from_end_to_end() {
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 9);
    for Fixture { name, rate_in, rate_out, input, expected } in fixtures {
        let out = convert(rate_in, rate_out, &input);
        // soxr rounds the length, we round it up.
        assert!(out.len() - expected.len() <= 1, "{name}");
        let signal = power(&expected);
        let error = |range: std::ops::Range<usize>| {
            let difference: Vec<f32> = range.map(|i| out[i] - expected[i]).collect();
            db(signal / power(&difference))
        };
        let n = expected.len();
        let (body, head, tail) = (error(SOXR_START..n), error(SOXR_START..200), error(n - 200..n));
        let start = (0..SOXR_START).map(|i| (out[i] - expected[i]).abs()).fold(0.0, f32::max);
        println!("{name}: {body:.1} dB, head {head:.1} dB, tail {tail:.1} dB, first frames off by {start:.1e}");
        assert!(body >= 65.0 && head >= 60.0 && tail >= 65.0, "{name}: {body}, {head}, {tail} dB");
        assert!(start <= 0.05 * input[0].abs() + 1e-3, "{name}: {start}");
    }
}

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = crate::seed::rng(seed);
    (0..n).map(|_| crate::seed::unit(&mut rng) as f32 - 0.5).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_any_size_give_the_same_bits(
        pair in 0..PAIRS.len(),
        n in 0_usize..30_000,
        channels in 1_usize..3,
        pieces in proptest::collection::vec(1_usize..9_000, 1..12),
        seed: u64,
    ) {
        let (rate_in, rate_out) = PAIRS[pair];
        let samples = noise(n * channels, seed);
        let mut resampler = resampler(rate_in, rate_out);
        resampler.reset(channels);
        let mut whole = Vec::new();
        resampler.process(&samples, &mut whole).unwrap();
        let (mut pushed, mut rest, mut turn) = (Vec::new(), samples.as_slice(), 0);
        while !rest.is_empty() {
            let take = (pieces[turn % pieces.len()] * channels).min(rest.len());
            resampler.push(&rest[..take], &mut pushed).unwrap();
            rest = &rest[take..];
            turn += 1;
        }
        resampler.finish(&mut pushed);
        prop_assert!(pushed == whole);
        // The same through the stream, pulled in pieces.
        let mut stream = Resampled::new(MemoryAudio::new(samples, rate_in, channels), resampler);
        prop_assert_eq!(stream.n_frames_left(), Some((whole.len() / channels) as u64));
        let (mut pulled, mut block) = (Vec::new(), vec![0.0; pieces[0] * channels]);
        loop {
            let got = stream.read(&mut block).unwrap();
            pulled.extend_from_slice(&block[..got * channels]);
            let left = (whole.len() - pulled.len()) / channels;
            prop_assert_eq!(stream.n_frames_left(), Some(left as u64));
            if got < pieces[0] { break; }
        }
        prop_assert!(pulled == whole);
    }

    #[test]
    fn skipping_lands_on_the_same_bits(
        pair in 0..PAIRS.len(),
        n in 0_usize..60_000,
        steps in proptest::collection::vec((0_u64..40_000, 0_usize..3_000), 1..6),
        seed: u64,
    ) {
        let (rate_in, rate_out) = PAIRS[pair];
        let samples = noise(n, seed);
        let whole = convert(rate_in, rate_out, &samples);
        let mut stream = Resampled::new(MemoryAudio::new(samples, rate_in, 1), resampler(rate_in, rate_out));
        let mut at = 0_usize;
        for (skip, read) in steps {
            let expected = (skip as usize).min(whole.len() - at);
            prop_assert_eq!(stream.skip(skip).unwrap(), expected as u64);
            at += expected;
            let mut block = vec![0.0; read];
            let got = stream.read(&mut block).unwrap();
            prop_assert_eq!(got, read.min(whole.len() - at));
            prop_assert!(block[..got] == whole[at..at + got]);
            at += got;
            prop_assert_eq!(stream.n_frames_left(), Some((whole.len() - at) as u64));
        }
    }
}

#[test]
fn channels_do_not_mix() {
    let (left, right) = (noise(5_000, 1), noise(5_000, 2));
    let both: Vec<f32> = left.iter().zip(&right).flat_map(|(&l, &r)| [l, r]).collect();
    let mut resampler = resampler(44_100, 32_000);
    resampler.reset(2);
    let mut out = Vec::new();
    resampler.process(&both, &mut out).unwrap();
    let (expected_left, expected_right) = (convert(44_100, 32_000, &left), convert(44_100, 32_000, &right));
    assert!(out.chunks_exact(2).map(|frame| frame[0]).eq(expected_left));
    assert!(out.chunks_exact(2).map(|frame| frame[1]).eq(expected_right));
    assert!(matches!(resampler.push(&[0.0; 3], &mut out), Err(OpError::Shape { .. })));
}

#[test]
fn a_resampler_carries_nothing_from_clip_to_clip() {
    let clip = noise(10_000, 5);
    let expected = convert(44_100, 32_000, &clip);
    let mut used = resampler(44_100, 32_000);
    used.push(&noise(7_777, 6), &mut Vec::new()).unwrap();
    let mut stream = Resampled::new(MemoryAudio::new(noise(900, 7), 44_100, 2), used);
    stream.read(&mut [0.0; 64]).unwrap();
    let (_, used) = stream.into_parts();
    let mut stream = Resampled::new(MemoryAudio::new(clip, 44_100, 1), used);
    let mut out = Vec::new();
    stream.read_to_end(&mut out, 100_000).unwrap();
    assert_eq!(out, expected);
}

#[test]
fn rates_out_of_range_are_refused() {
    assert_eq!(ResampleConfig::new(0).build(44_100).err().map(|e| e.field), Some("rate_hz"));
    assert_eq!(ResampleConfig::new(32_000).build(u32::MAX).err().map(|e| e.field), Some("rate_in_hz"));
    assert!(serde_json::from_str::<ResampleConfig>(r#"{"rate_hz": 32000, "qualty": "steep"}"#).is_err());
}

#[test]
fn skipping_everything_says_how_much_there_was() {
    for skip in [22_000, u64::MAX] {
        let inner: Box<dyn AudioRead> = Box::new(MemoryAudio::new(noise(30_000, 3), 44_100, 1));
        let mut stream = Resampled::new(inner, resampler(44_100, 32_000));
        assert_eq!(stream.skip(skip).unwrap(), 21_769);
        assert_eq!((stream.n_frames_left(), stream.skip(skip).unwrap()), (Some(0), 0));
        assert_eq!(stream.read(&mut [0.0; 8]).unwrap(), 0);
    }
}

#[test]
fn a_short_read_waits_for_little_input() {
    let mut stream = Resampled::new(MemoryAudio::new(noise(441_000, 4), 44_100, 1), resampler(44_100, 32_000));
    assert_eq!(stream.read(&mut [0.0; 1_000]).unwrap(), 1_000);
    let (inner, _) = stream.into_parts();
    let left = inner.n_frames_left().unwrap();
    assert!(left > 431_000, "{left}");
}
