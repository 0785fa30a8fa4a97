//! Our own AAC-LC: one channel and two, a stream joined in the middle, and 2,000 damaged ones.
//!
//! `decode_golden.rs` compares all these files with ffmpeg; here it is compared with itself.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use ajepa_ops::decode::{Channels, DecodeConfig};
use ajepa_ops::seed::{below, derive, rng};
use ajepa_ops::{AudioRead, OpError};

fn is_adts(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "aac")
}

/// Every file of AAC among the fixtures.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode");
    let names = ["stereo.m4a", "mono.m4a", "fragmented.m4a", "low_rate.m4a", "aac.mka"].map(str::to_owned);
    let adts = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = adts.filter(|name| is_adts(name)).chain(names).collect();
    names.sort();
    assert!(names.len() >= 9, "{names:?}");
    names.into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

/// Samples, channels and damaged packets.
fn decode(bytes: Vec<u8>, hint: &str, channels: Channels) -> Result<(Vec<f32>, usize, u64), OpError> {
    let config = DecodeConfig { channels, max_bad_packets: 1.0, max_seconds: 30.0 };
    let mut audio = config.build().unwrap().open(Box::new(Cursor::new(bytes)), hint)?;
    let mut samples = Vec::new();
    audio.read_to_end(&mut samples, 1 << 22)?;
    Ok((samples, audio.channels(), audio.bad_packets()))
}

/// Where the frames of an ADTS file begin, and the end of the last.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let next = |&at: &usize| {
        let header = bytes.get(at..at + 7)?;
        assert_eq!((header[0], header[1] & 0xF6), (0xFF, 0xF0), "no frame at {at}");
        Some(at + (usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5] >> 5)))
    };
    std::iter::successors(Some(0), next).collect()
}

fn adts() -> Vec<(String, Vec<u8>)> {
    let files: Vec<_> = files().into_iter().filter(|(name, _)| is_adts(name)).collect();
    assert!(files.len() >= 4);
    files
}

#[test]
fn mono_is_the_mean_however_the_channels_are_coded() {
    for (name, bytes) in files() {
        let (mono, _, bad) = decode(bytes.clone(), "", Channels::Mono).unwrap();
        let (all, channels, _) = decode(bytes, "", Channels::All).unwrap();
        assert_eq!((mono.len() * channels, bad), (all.len(), 0), "{name}");
        let means = all.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32);
        let sum: f64 = mono.iter().zip(means).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let db = 10.0 * (sum / mono.len() as f64 + 1e-30).log10();
        println!("{name}: {db:.1} dB");
        assert!(db < -140.0, "{name}: {db:.1} dB");
    }
}

#[test]
fn a_stream_joined_in_the_middle_is_the_same_after_one_frame() {
    for name in ["clicks.aac", "mid_side.aac"] {
        let (_, bytes) = adts().into_iter().find(|(file, _)| file == name).unwrap();
        let starts = frames(&bytes);
        let (whole, channels, _) = decode(bytes.clone(), "aac", Channels::All).unwrap();
        for cut in 1..6 {
            let (rest, _, bad) = decode(bytes[starts[cut]..].to_vec(), "aac", Channels::All).unwrap();
            let frame = 1024 * channels;
            assert_eq!((rest.len(), bad), (whole.len() - cut * frame, 0), "{name} cut by {cut}");
            // The first frame lacks what it overlaps; nothing else is carried over where there is no noise.
            assert!(rest[frame..] == whole[(cut + 1) * frame..], "{name} cut by {cut}");
            assert!(rest[..frame] != whole[cut * frame..(cut + 1) * frame], "{name} cut by {cut}");
        }
    }
}

/// Bits anywhere in frames whose headers stay, so that the demuxer keeps handing them over.
fn damage(bytes: &mut [u8], starts: &[usize], seed: u64) {
    let mut rng = rng(seed);
    let mut at = |n: usize| below(&mut rng, n.max(1) as u64) as usize;
    for _ in 0..=at(6) {
        let frame = at(starts.len() - 1);
        let body = starts[frame] + 7..starts[frame + 1];
        let len = body.len();
        match at(4) {
            // Windows, sections, scale factors and filters come first.
            0 => (0..=at(8)).for_each(|_| bytes[body.start + at(len.min(40))] ^= 1 << at(8)),
            1 => {
                let from = body.start + at(len);
                bytes[from..body.end].fill([0, 0xFF][at(2)]);
            }
            2 => (0..=at(64)).for_each(|_| bytes[body.start + at(len)] ^= 1 << at(8)),
            // Bits of another frame: valid, but not here.
            _ => {
                let other = starts[at(starts.len() - 1)] + 7;
                let (to, n) = (body.start + at(len), at(len));
                let n = n.min(body.end - to).min(bytes.len() - other);
                bytes.copy_within(other..other + n, to);
            }
        }
    }
}

#[test]
fn damaged_frames_are_silence_or_sound_and_never_a_panic() {
    let files = adts();
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    let mut n_bad = 0;
    for i in 0..2_000_u64 {
        let (name, original) = &files[(i % files.len() as u64) as usize];
        let starts = frames(original);
        let mut bytes = original.clone();
        damage(&mut bytes, &starts, derive(&[i, 79]));
        let channels = if derive(&[i, 80]).is_multiple_of(3) { Channels::All } else { Channels::Mono };
        let outcome = match decode(bytes, "aac", channels) {
            Ok((samples, channels, bad)) => {
                assert!(samples.iter().all(|x| x.abs() <= 4.0), "mutant {i} of {name}: out of bounds");
                // A frame that is lost before the first good one has no length yet.
                let (n, all) = (samples.len() / channels, 1024 * (starts.len() - 1));
                assert!(n <= all && n + 1024 * bad as usize >= all, "mutant {i} of {name}: {n} of {all} frames");
                n_bad += bad;
                "decoded".into()
            }
            Err(error) => {
                assert_ne!(error.code(), "panicked", "mutant {i} of {name}: {error}");
                error.code().to_owned()
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}, {n_bad} damaged packets");
    // The damage must be seen, and borne.
    assert!(n_bad > 500 && outcomes["decoded"] > 1_000, "{outcomes:?}, {n_bad} damaged packets");
}
