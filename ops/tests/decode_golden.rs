//! Every container and codec against the PCM that went in (lossless) or ffmpeg's decode (lossy).
//!
//! The references are FLAC and WAV files, read by the same crate: the first test anchors that path in numbers that are
//! computed here from the bytes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ajepa_ops::decode::{Channels, DecodeConfig, Decoder};
use ajepa_ops::{AudioRead, OpError};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode")
}

fn open(path: &Path) -> Result<Decoder, OpError> {
    let config = DecodeConfig { channels: Channels::All, max_bad_packets: 0.0, ..Default::default() };
    let hint = path.extension().unwrap().to_str().unwrap().to_owned();
    config.build().unwrap().open(Box::new(File::open(path)?), &hint)
}

fn decode(name: &str) -> (u32, usize, Vec<f32>) {
    let mut audio = open(&fixtures().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut samples = Vec::new();
    let promised = audio.n_frames_left();
    let n = audio.read_to_end(&mut samples, 1 << 24).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(promised.is_none_or(|promised| promised == n as u64), "{name}: promised {promised:?}, gave {n}");
    assert_eq!((audio.read(&mut [0.0; 8]).unwrap(), audio.bad_packets()), (0, 0), "{name}");
    (audio.rate_hz(), audio.channels(), samples)
}

/// The samples of a 16-bit WAV whose data chunk is the last, by hand.
fn pcm16_by_hand(name: &str) -> Vec<f32> {
    let bytes = fs::read(fixtures().join(name)).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    bytes[data..].chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0).collect()
}

#[test]
fn wav_is_what_the_bytes_say() {
    for name in ["pcm16.wav", "mono16.wav"] {
        assert_eq!(decode(name).2, pcm16_by_hand(name), "{name}");
    }
    let bytes = fs::read(fixtures().join("pcm24.wav")).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    let by_hand = bytes[data..].chunks_exact(3).map(|b| (i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8) as f32 / 8_388_608.0);
    assert_eq!(decode("pcm24.wav").2, by_hand.collect::<Vec<_>>());
}

#[test]
fn lossless_is_exact() {
    let cases = [
        ("pcm16.wav", &["flac16.flac", "alac16.m4a", "alac16.caf", "aiff16.aiff"][..]),
        ("pcm24.wav", &["flac24.flac", "alac24.m4a", "aiff24.aiff"]),
        ("mono16.wav", &["mono.flac", "caf16.caf", "float32.wav", "flac.mka", "flac.oga", "flac.mp4"]),
    ];
    for (source, files) in cases {
        let wanted = decode(source);
        for file in files {
            let got = decode(file);
            assert_eq!((got.0, got.1, got.2.len()), (wanted.0, wanted.1, wanted.2.len()), "{file}");
            assert!(got.2 == wanted.2, "{file} differs from {source}");
        }
    }
}

/// Root mean square of the difference, in dB below full scale.
fn difference_db(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    10.0 * (sum / a.len() as f64 + 1e-30).log10()
}

#[test]
fn lossy_agrees_with_ffmpeg_in_place_and_length() {
    let mut n = 0;
    for golden in fs::read_dir(fixtures().join("golden")).unwrap() {
        let golden = golden.unwrap().file_name().into_string().unwrap();
        let file = golden.strip_suffix(".flac").unwrap();
        let (rate_hz, channels, ours) = decode(file);
        let (wanted_hz, wanted_channels, wanted) = decode(&format!("golden/{golden}"));
        assert_eq!((rate_hz, channels), (wanted_hz, wanted_channels), "{file}");
        let db = difference_db(&ours, &wanted);
        println!("{file}: {} - {} frames, {db:.1} dB", ours.len() / channels, wanted.len() / channels);
        n += 1;
    }
    assert!(n >= 20);
}
