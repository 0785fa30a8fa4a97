//! Every container and codec against the PCM that went in (lossless) or ffmpeg's decode (lossy).
//!
//! The references are FLAC and WAV files, read by the same crate: the first test anchors that path in numbers that are
//! computed here from the bytes.

#![allow(clippy::unwrap_used)]

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
    let by_hand =
        bytes[data..].chunks_exact(3).map(|b| (i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8) as f32 / 8_388_608.0);
    assert_eq!(decode("pcm24.wav").2, by_hand.collect::<Vec<_>>());
}

#[test]
fn lossless_is_exact() {
    let cases = [
        ("pcm16.wav", &["flac16.flac", "alac16.m4a", "alac16.caf", "aiff16.aiff"][..]),
        ("pcm24.wav", &["flac24.flac", "alac24.m4a"]),
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

/// Where the container tells the length, ours is that of the PCM that went in: 18,011 and 22,861 frames, at 48 kHz
/// 19,604, at 16 kHz 7,620. ffmpeg 5.1 misses it for MP4 and Ogg Vorbis; elsewhere both keep what the container hides.
const SOURCE_FRAMES: [(&str, usize); 14] = [
    ("stereo.mp3", 18_011),
    ("mono.mp3", 22_861),
    ("stereo.ogg", 18_011),
    ("mono.ogg", 22_861),
    ("stereo.m4a", 18_011),
    ("mono.m4a", 22_861),
    ("low_rate.m4a", 7_620),
    ("opus.mp4", 22_861),
    ("stereo.opus", 19_604),
    ("mono.opus", 22_861),
    ("short_frames.opus", 22_861),
    ("opus.webm", 19_604),
    ("opus_mono.webm", 22_861),
    ("mulaw.wav", 22_861),
];

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
        // Twenty dB below the bound that is asked for; a shift by one sample is some 50 dB above it.
        assert!(db < -95.0, "{file}: {db:.1} dB");
        let source = SOURCE_FRAMES.iter().find(|(name, _)| *name == file).map(|(_, n)| *n);
        assert_eq!(ours.len() / channels, source.unwrap_or(wanted.len() / channels), "{file}");
        n += 1;
    }
    assert!(n >= 20, "{n} references");
}

fn decode_mono(name: &str) -> Vec<f32> {
    let decode_config = DecodeConfig::default().build().unwrap();
    let mut audio = decode_config.open(Box::new(File::open(fixtures().join(name)).unwrap()), "").unwrap();
    let mut mono = Vec::new();
    audio.read_to_end(&mut mono, 1 << 24).unwrap();
    assert_eq!(audio.channels(), 1, "{name}");
    mono
}

fn means(name: &str) -> Vec<f32> {
    let (_, channels, all) = decode(name);
    all.chunks_exact(channels).map(|x| x.iter().sum::<f32>() / channels as f32).collect()
}

#[test]
fn mono_is_the_mean() {
    for name in ["pcm16.wav", "pcm24.wav", "flac16.flac", "mono.m4a", "stereo.mp2"] {
        assert!(decode_mono(name) == means(name), "{name}");
    }
    // Vorbis and AAC are mixed before the inverse transform: the same but for the order in which sums are rounded to 24 bits.
    for name in ["stereo.ogg", "mono.ogg", "stereo.m4a"] {
        let (mono, means) = (decode_mono(name), means(name));
        assert_eq!(mono.len(), means.len(), "{name}");
        let db = difference_db(&mono, &means);
        println!("{name}: {db:.1} dB, level {:.1} dB", difference_db(&mono, &vec![0.0; mono.len()]));
        assert!(db < -140.0, "{name}: {db:.1} dB");
    }
}

/// Opus is mixed down inside the decoder, in every mode it has: SILK, hybrid, CELT, and at the change from one to another.
#[test]
fn mono_opus_is_the_mean() {
    let mut modes = [0; 3];
    for name in ["silk.opus", "stereo.opus", "out_of_phase.opus", "opus.webm", "mono.opus", "short_frames.opus"] {
        let (mono, means) = (decode_mono(name), means(name));
        assert_eq!(mono.len(), means.len(), "{name}");
        let db = difference_db(&mono, &means);
        println!("{name}: {db:.1} dB, level {:.1} dB", difference_db(&mono, &vec![0.0; mono.len()]));
        assert!(db < -75.0, "{name}: {db:.1} dB");
        if let Some(first) = first_opus_packet(name) {
            modes[match first >> 3 {
                0..12 => 0,
                12..16 => 1,
                _ => 2,
            }] += usize::from(first & 4 != 0);
        }
    }
    assert!(modes.iter().all(|&n| n > 0), "stereo streams that start in SILK, hybrid, CELT: {modes:?}");
}

/// The first byte of the first audio packet in an Ogg file: configuration and channels. It follows the head and the tags.
fn first_opus_packet(name: &str) -> Option<u8> {
    let bytes = fs::read(fixtures().join(name)).unwrap();
    let mut pages = bytes.windows(4).enumerate().filter(|(_, w)| w == b"OggS").map(|(at, _)| at);
    let third = pages.nth(2)?;
    Some(bytes[third + 27 + usize::from(bytes[third + 26])])
}

#[test]
fn skipping_is_reading_without_keeping() {
    for name in ["pcm16.wav", "flac16.flac", "golden/mono.m4a.flac", "stereo.ogg", "mono.mp3", "alac16.m4a"] {
        let (_, channels, whole) = decode(name);
        for skip in [1_usize, 4_000, 4_608, 17_000] {
            let mut audio = open(&fixtures().join(name)).unwrap();
            let mut head = vec![0.0; 100 * channels];
            assert_eq!(audio.read(&mut head).unwrap(), 100);
            assert_eq!(audio.skip(skip as u64).unwrap(), skip as u64, "{name}");
            let mut rest = Vec::new();
            audio.read_to_end(&mut rest, 1 << 24).unwrap();
            assert!(rest == whole[(100 + skip) * channels..], "{name} after {skip}");
        }
        let mut audio = open(&fixtures().join(name)).unwrap();
        assert_eq!(audio.skip(u64::MAX).unwrap(), (whole.len() / channels) as u64, "{name}");
    }
}

#[test]
fn refuses_by_name() {
    let cases = [
        ("he_aac.m4a", "HE-AAC"),
        ("he_aac_v2.m4a", "HE-AAC"),
        ("he_aac.aac", "HE-AAC"),
        ("aac51.m4a", "AAC with"),
        ("vorbis51.ogg", "Vorbis with 6"),
        ("ac3.ac3", "AC-3"),
        ("ac3.mp4", "AC-3"),
        ("eac3.mkv", "E-AC-3"),
        ("wma.wma", "WMA"),
        ("wavpack.wv", "WavPack"),
        ("au.au", "AU"),
        ("w64.w64", "W64"),
        ("rf64.wav", "RF64"),
        ("g722.wav", "G.722"),
        ("gsm.wav", "GSM"),
        ("speex.spx", "Speex"),
        ("mp3_in_wav.wav", "MP3 in WAV"),
    ];
    for (file, name) in cases {
        let error = open(&fixtures().join("refused").join(file)).unwrap_err();
        assert!(error.code().starts_with("unsupported_"), "{file}: {error}");
        assert!(error.to_string().contains(name), "{file}: {error}");
    }
}

#[test]
fn says_what_a_file_is() {
    let info = open(&fixtures().join("flac24.flac")).unwrap().info().clone();
    assert_eq!((info.container, info.codec, info.rate_hz, info.channels), ("FLAC", "FLAC", 44_100, 2));
    assert_eq!((info.n_frames, info.bits), (Some(18_011), Some(24)));
    let info = open(&fixtures().join("opus.webm")).unwrap().info().clone();
    assert_eq!((info.container, info.codec, info.rate_hz, info.n_frames), ("Matroska", "Opus", 48_000, None));
}
