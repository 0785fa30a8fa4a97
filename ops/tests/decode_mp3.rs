//! Our own Layer III: one channel and two, cut streams, and 2,000 damaged ones.
//!
//! `decode_golden.rs` compares all these files with other decoders; here it is compared with itself.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use ajepa_ops::decode::{Channels, DecodeConfig};
use ajepa_ops::seed::{below, derive, rng};
use ajepa_ops::{AudioRead, OpError};

/// Every MP3 among the fixtures.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mp3"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 13);
    files
}

fn fixture(name: &str) -> Vec<u8> {
    files().into_iter().find(|(file, _)| file == name).unwrap().1
}

/// Samples, channels and damaged packets.
fn decode(bytes: Vec<u8>, channels: Channels) -> Result<(Vec<f32>, usize, u64), OpError> {
    let config = DecodeConfig { channels, max_bad_packets: 1.0, max_seconds: 30.0 };
    let mut audio = config.build().unwrap().open(Box::new(Cursor::new(bytes)), "mp3")?;
    let mut samples = Vec::new();
    audio.read_to_end(&mut samples, 1 << 22)?;
    Ok((samples, audio.channels(), audio.bad_packets()))
}

/// Bytes of the frame whose header begins `bytes`, if it is a header of Layer III.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    const KBIT: [[usize; 15]; 2] = [
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let &[0xFF, b, c, _] = bytes.first_chunk()? else { return None };
    let (quarter, factor) = [(4, 72_000), (0, 0), (2, 72_000), (1, 144_000)][usize::from(b >> 3 & 3)];
    if b & 0xE6 != 0xE2 || quarter == 0 {
        return None;
    }
    let rate_hz = [44_100, 48_000, 32_000].get(usize::from(c >> 2 & 3))? / quarter;
    let kbit = KBIT[usize::from(quarter > 1)].get(usize::from(c >> 4))?;
    Some(factor * kbit / rate_hz + usize::from(c >> 1 & 1))
}

/// Where the frames of an undamaged file begin, and the end of the last.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let first = (0..bytes.len()).find(|&at| frame_len(&bytes[at..]).is_some()).unwrap();
    let next = |&at: &usize| frame_len(bytes.get(at..)?).map(|len| at + len).filter(|&at| at <= bytes.len());
    std::iter::successors(Some(first), next).collect()
}

#[test]
fn mono_is_the_mean_however_the_channels_are_coded() {
    for (name, bytes) in files() {
        let (mono, _, bad) = decode(bytes.clone(), Channels::Mono).unwrap();
        let (all, channels, _) = decode(bytes, Channels::All).unwrap();
        assert_eq!((mono.len() * channels, bad), (all.len(), 0), "{name}");
        let means = all.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32);
        let sum: f64 = mono.iter().zip(means).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let db = 10.0 * (sum / mono.len() as f64 + 1e-30).log10();
        println!("{name}: {db:.1} dB");
        assert!(db < -130.0, "{name}: {db:.1} dB");
    }
}

#[test]
fn a_cut_start_is_silent_until_its_bits_are_there() {
    for name in ["no_xing.mp3", "synthetic_ms.mp3", "synthetic_22050.mp3"] {
        let bytes = fixture(name);
        let starts = frames(&bytes);
        let (whole, channels, _) = decode(bytes.clone(), Channels::All).unwrap();
        let frame = whole.len() / (starts.len() - 1);
        for cut in 1..3 {
            let (rest, _, bad) = decode(bytes[starts[cut]..].to_vec(), Channels::All).unwrap();
            assert_eq!((rest.len(), bad), (whole.len() - cut * frame, 0), "{name} cut by {cut}");
            // Two frames bring back the reservoir; the overlap and the filter bank's memory need two granules more.
            let settled = 4 * frame;
            assert!(rest[settled..] == whole[cut * frame + settled..], "{name} cut by {cut}, {channels} channels");
        }
    }
}

/// What a frame's side information can say that is wrong, and bits anywhere.
fn damage(bytes: &mut Vec<u8>, starts: &[usize], seed: u64) {
    let mut rng = rng(seed);
    let mut at = |n: usize| below(&mut rng, n.max(1) as u64) as usize;
    for _ in 0..=at(6) {
        let frame = at(starts.len() - 1);
        let (start, end) = (starts[frame], starts[frame + 1]);
        match at(6) {
            // The header stays, so that the demuxer keeps handing frames over.
            0..=2 => (0..=at(8)).for_each(|_| bytes[start + 4 + at(36)] ^= 1 << at(8)),
            3 => {
                let i = start + 4 + at(end - start - 4);
                bytes[i..end].fill([0, 0xFF][at(2)]);
            }
            4 => (0..=at(64)).for_each(|_| bytes[start + 4 + at(end - start - 4)] ^= 1 << at(8)),
            // Joint stereo, CRC and emphasis; the length of the frame stays.
            _ => {
                bytes[start + 3] ^= (at(4) << 4) as u8;
                bytes[start + 1] ^= at(2) as u8;
            }
        }
    }
    if at(8) == 0 {
        let (from, to) = (at(bytes.len()), at(bytes.len()));
        bytes.drain(from.min(to)..from.max(to));
    }
}

#[test]
fn damaged_frames_are_silence_or_sound_and_never_a_panic() {
    let files = files();
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    let mut n_bad = 0;
    for i in 0..2_000_u64 {
        let (name, original) = &files[(i % files.len() as u64) as usize];
        let starts = frames(original);
        let mut bytes = original.clone();
        damage(&mut bytes, &starts, derive(&[i, 77]));
        let channels = if derive(&[i, 78]).is_multiple_of(3) { Channels::All } else { Channels::Mono };
        let outcome = match decode(bytes, channels) {
            Ok((samples, _, bad)) => {
                assert!(samples.iter().all(|x| x.abs() <= 4.0), "mutant {i} of {name}: out of bounds");
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
