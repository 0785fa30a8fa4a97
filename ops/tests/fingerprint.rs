//! Fingerprints of the shipped clips: copies that went through codecs stay near, other clips stay away.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ajepa_ops::AudioRead;
use ajepa_ops::decode::DecodeConfig;
use ajepa_ops::fingerprint::{Fingerprinter, compare};
use ajepa_ops::resample::ResampleConfig;

/// A copy of a clip in the mean over clips, and any one copy of a clip of speech or music: share of bits that differ.
const COPY_MEAN: f32 = 0.12;
const COPY_MOST: f32 = 0.29;
/// Any two clips that have nothing to do with each other, begin upon begin or a little shifted.
const OTHER_LEAST: f32 = 0.22;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("datasets/sample")
}

fn decoded(path: &Path) -> (Vec<f32>, u32) {
    let file = std::fs::File::open(path).expect("opens");
    let hint = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let mut audio = DecodeConfig::default().build().expect("builds").open(Box::new(file), &hint).expect("decodes");
    let mut samples = Vec::new();
    audio.read_to_end(&mut samples, 48_000 * 60).expect("decodes to its end");
    (samples, audio.rate_hz())
}

fn words(samples: &[f32], rate_hz: u32) -> Vec<u32> {
    let mut maker = Fingerprinter::new(rate_hz).expect("a rate");
    samples.chunks(4_096).for_each(|block| maker.push(block).expect("numbers"));
    maker.finish().expect("numbers")
}

/// Clips of a second and more, by name: where there is less, there are too few bits for shares of them.
fn clips() -> Vec<(String, Vec<f32>, u32)> {
    let mut clips = Vec::new();
    for folder in ["animals", "music", "notes", "speech", "textures"] {
        for entry in std::fs::read_dir(sample().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let (samples, rate_hz) = decoded(&path);
            let name = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            if samples.len() as f64 / f64::from(rate_hz) >= 1.3 {
                clips.push((name, samples, rate_hz));
            }
        }
    }
    clips.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(clips.len() >= 30, "{}", clips.len());
    clips
}

/// Holds copies of all clips against them; `what` names how they came to be.
fn assert_near(clips: &[(String, Vec<f32>, u32)], what: &str, copy: impl Fn(usize) -> Option<(Vec<f32>, u32)>) {
    let mut rates = Vec::new();
    for (at, (name, samples, rate_hz)) in clips.iter().enumerate() {
        let Some((copied, copied_hz)) = copy(at) else { continue };
        let found = compare(&words(samples, *rate_hz), &words(&copied, copied_hz), 2).expect("both have words");
        rates.push((found.bit_error_rate, name.as_str()));
    }
    rates.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mean = rates.iter().map(|(rate, _)| rate).sum::<f32>() / rates.len() as f32;
    println!("{what}: mean {mean:.3}, worst {:?}", &rates[..4]);
    assert!(mean < COPY_MEAN, "{what}: {mean} in the mean, {:?}", &rates[..3]);
    assert!(rates[0].0 < COPY_MOST, "{what}: {:?}", &rates[..3]);
}

#[test]
fn other_clips_are_far_away() {
    let all: Vec<(String, Vec<u32>)> =
        clips().into_iter().map(|(name, samples, rate_hz)| (name, words(&samples, rate_hz))).collect();
    let mut rates = Vec::new();
    for (at, (name, a)) in all.iter().enumerate() {
        for (other, b) in &all[..at] {
            let found = compare(a, b, 2).expect("both have words");
            rates.push((found.bit_error_rate, name, other, found.n_words));
        }
    }
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!("nearest of {}: {:?}", rates.len(), &rates[..8]);
    assert!(rates[0].0 > OTHER_LEAST, "{:?}", &rates[..4]);
    assert!(rates[rates.len() / 20].0 > 0.38, "{:?}", rates[rates.len() / 20]);
    assert!(rates[rates.len() / 2].0 > 0.42, "{:?}", rates[rates.len() / 2]);
}

/// G.711 mu-law there and back: 14 bits in 8.
fn mu_law(x: f32) -> f32 {
    let coded = (255.0 * x.abs().min(1.0)).ln_1p() / 256.0_f32.ln();
    let coded = (coded * 127.0).round() / 127.0;
    ((256.0_f32.powf(coded) - 1.0) / 255.0).copysign(x)
}

#[test]
fn telephone_quality_at_another_rate_and_level_stays_near() {
    let clips = clips();
    assert_near(&clips, "mu-law, half as loud, other rate", |at| {
        let (_, samples, rate_hz) = &clips[at];
        let other_hz = if *rate_hz == 16_000 { 22_050 } else { 16_000 };
        let mut resampler = ResampleConfig::new(other_hz).build(*rate_hz).expect("builds");
        let soft: Vec<f32> = samples.iter().map(|x| mu_law(0.5 * x)).collect();
        let mut copy = Vec::new();
        resampler.process(&soft, &mut copy).expect("numbers");
        Some((copy, other_hz))
    });
}

/// Whether ffmpeg is here and has this encoder.
fn encodes(encoder: &str) -> bool {
    let known = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).stderr(Stdio::null()).output();
    known.is_ok_and(|known| String::from_utf8_lossy(&known.stdout).contains(&format!(" {encoder} ")))
}

#[test]
fn copies_that_were_encoded_again_stay_near() {
    let clips = clips();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fingerprint");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (encoder, name, extra) in [
        ("libmp3lame", "mp3", "-b:a 64k"),
        ("libopus", "opus", "-b:a 48k"),
        ("aac", "m4a", "-b:a 64k"),
        ("libvorbis", "ogg", "-q:a 2"),
    ] {
        if !encodes(encoder) {
            println!("no {encoder} on this machine: nothing is encoded by it");
            continue;
        }
        assert_near(&clips, encoder, |at| {
            let from = sample().join(&clips[at].0);
            let to = folder.join(format!("{at}.{name}"));
            let mut command = Command::new("ffmpeg");
            command.args(["-v", "error", "-y", "-i"]).arg(from).args(["-vn", "-c:a", encoder]);
            let made =
                command.args(extra.split(' ')).args(["-af", "volume=-6dB"]).arg(&to).status().expect("ffmpeg runs");
            assert!(made.success(), "{}", clips[at].0);
            Some(decoded(&to))
        });
    }
}
