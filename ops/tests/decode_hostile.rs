//! Files made to hurt, by hand: bombs, lies, floods, chains.

#![allow(clippy::unwrap_used)]

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use ajepa_ops::decode::{Channels, DecodeConfig, Decoder};
use ajepa_ops::{AudioRead, OpError};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode").join(name)).unwrap()
}

fn open(bytes: Vec<u8>) -> Result<Decoder, OpError> {
    DecodeConfig::default().build().unwrap().open(Box::new(Cursor::new(bytes)), "")
}

fn read_all(bytes: Vec<u8>) -> Result<Vec<f32>, OpError> {
    let mut out = Vec::new();
    open(bytes)?.read_to_end(&mut out, 1 << 24)?;
    Ok(out)
}

fn code(bytes: Vec<u8>) -> &'static str {
    read_all(bytes).unwrap_err().code()
}

/// A FLAC stream of silence, made as it is read: 44.1 kHz, mono, 16 bit, constant subframes of 4096 frames.
struct SilentFlac {
    n_blocks: u64,
    at: u64,
}

const HEADER_BYTES: u64 = 42;
/// Sync and codes (4), block number in seven bytes of UTF-8 (7), CRC-8 (1), subframe (3), CRC-16 (2).
const FRAME_BYTES: u64 = 17;
const BLOCK: u64 = 4096;

impl SilentFlac {
    fn len(&self) -> u64 {
        HEADER_BYTES + self.n_blocks * FRAME_BYTES
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"fLaC\x80\0\0\x22\x10\x00\x10\x00\0\0\0\0\0\0".to_vec();
        // 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of frames.
        let word = 44_100_u64 << 44 | 15 << 36 | (self.n_blocks * BLOCK);
        bytes.extend(word.to_be_bytes());
        bytes.extend([0; 16]);
        bytes
    }

    fn frame(number: u64) -> Vec<u8> {
        // Fixed block size, 4096 frames, 44.1 kHz; mono, 16 bit.
        let mut bytes = vec![0xFF, 0xF8, 0xC9, 0x08];
        bytes.extend(utf8_of_seven(number));
        bytes.push(crc(&bytes, 0x07, 8) as u8);
        bytes.extend([0, 0, 0]);
        let crc16 = crc(&bytes, 0x8005, 16);
        bytes.extend((crc16 as u16).to_be_bytes());
        bytes
    }
}

/// A number in FLAC's longest UTF-8 form: one lead byte, six bytes of six bits. Overlong, so that frames have one size.
fn utf8_of_seven(number: u64) -> [u8; 7] {
    let mut bytes = [0xFE; 7];
    for (i, byte) in bytes.iter_mut().enumerate().skip(1) {
        *byte = 0x80 | (number >> (6 * (6 - i)) & 0x3F) as u8;
    }
    bytes
}

fn crc(bytes: &[u8], polynomial: u32, width: u32) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << (width - 8), |crc, _| {
            let shifted = crc << 1;
            (if crc >> (width - 1) & 1 == 1 { shifted ^ polynomial } else { shifted }) & ((1 << width) - 1)
        })
    })
}

impl Read for SilentFlac {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut n = 0;
        while n < buf.len() && self.at < self.len() {
            let (part, offset) = match self.at.checked_sub(HEADER_BYTES) {
                None => (self.header(), self.at),
                Some(at) => (Self::frame(at / FRAME_BYTES), at % FRAME_BYTES),
            };
            let part = &part[offset as usize..];
            let take = part.len().min(buf.len() - n);
            buf[n..n + take].copy_from_slice(&part[..take]);
            n += take;
            self.at += take as u64;
        }
        Ok(n)
    }
}

impl Seek for SilentFlac {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.len().saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

/// Resident kilobytes of this process.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_hours_of_silence_stream_through_flat_memory() {
    let n_blocks = 10 * 3600 * 44_100 / BLOCK;
    let decode = DecodeConfig::default().build().unwrap();
    let mut audio = decode.open(Box::new(SilentFlac { n_blocks, at: 0 }), "flac").unwrap();
    assert_eq!(audio.n_frames_left(), Some(n_blocks * BLOCK));
    let mut block = vec![1.0; 16_384];
    let mut n = audio.read(&mut block).unwrap() as u64;
    let before = cfg!(target_os = "linux").then(resident_kb);
    loop {
        let got = audio.read(&mut block).unwrap();
        assert!(block[..got].iter().all(|&x| x == 0.0));
        if got == 0 {
            break;
        }
        n += got as u64;
    }
    assert_eq!(n, n_blocks * BLOCK);
    if let Some(before) = before {
        // The samples are 6.3 GB; other tests of this binary may hold a few files meanwhile.
        let grown = resident_kb().saturating_sub(before);
        assert!(grown < 32 * 1024, "{grown} kB more");
    }
}

#[test]
fn the_budget_of_seconds_holds() {
    let decode = DecodeConfig { max_seconds: 60.0, ..Default::default() }.build().unwrap();
    let long = SilentFlac { n_blocks: 1000, at: 0 };
    assert_eq!(decode.open(Box::new(long), "").unwrap_err().code(), "too_long");
    // A header that says "unknown" promises nothing: then the samples themselves are counted.
    let mut bytes = Vec::new();
    SilentFlac { n_blocks: 1000, at: 0 }.read_to_end(&mut bytes).unwrap();
    bytes[21] &= 0xF0;
    bytes[22..26].fill(0);
    let mut audio = decode.open(Box::new(Cursor::new(bytes)), "").unwrap();
    assert_eq!(audio.n_frames_left(), None);
    let error = loop {
        match audio.read(&mut [0.0; 4096]) {
            Ok(n) => assert!(n > 0, "came to an end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "too_long");
    assert_eq!(audio.read(&mut [0.0; 4096]).unwrap(), 0);
}

#[test]
fn seeking_in_flac_reaches_the_frame() {
    let decode = DecodeConfig::default().build().unwrap();
    let mut audio = decode.open(Box::new(SilentFlac { n_blocks: 100_000, at: 0 }), "").unwrap();
    assert_eq!(audio.skip(300_000_001).unwrap(), 300_000_001);
    let left = 100_000 * BLOCK - 300_000_001;
    assert_eq!(audio.n_frames_left(), Some(left));
    let mut n = 0;
    let mut block = vec![0.0; 1 << 16];
    loop {
        match audio.read(&mut block).unwrap() {
            0 => break,
            got => n += got as u64,
        }
    }
    assert_eq!(n, left);
}

#[test]
fn headers_that_lie_about_the_length() {
    // FLAC: the low word of the 36-bit count of frames ends at byte 26.
    let count = |n: u32| {
        let mut bytes = fixture("mono.flac");
        bytes[22..26].copy_from_slice(&n.to_be_bytes());
        bytes
    };
    assert_eq!(read_all(count(22_861)).unwrap().len(), 22_861);
    assert_eq!(code(count(22_862)), "truncated");
    assert_eq!(code(count(22_860)), "corrupt");
}

#[test]
fn cut_files_are_not_silently_short() {
    for name in ["pcm16.wav", "flac16.flac", "alac16.m4a", "stereo.m4a", "stereo.ogg", "stereo.opus", "stereo.mp3"] {
        let mut bytes = fixture(name);
        bytes.truncate(bytes.len() * 2 / 3);
        let code = code(bytes);
        assert!(matches!(code, "truncated" | "corrupt"), "{name}: {code}");
    }
}

#[test]
fn chained_ogg_streams_follow_one_another_or_are_refused() {
    let one = read_all(fixture("mono.ogg")).unwrap();
    let two = read_all([fixture("mono.ogg"), fixture("mono.ogg")].concat()).unwrap();
    assert_eq!(two.len(), 2 * one.len());
    assert!(two[one.len()..] == one);
    assert_eq!(code([fixture("mono.ogg"), fixture("stereo.ogg")].concat()), "corrupt");
    assert_eq!(code([fixture("mono.ogg"), fixture("mono.opus")].concat()), "corrupt");
}

#[test]
fn damaged_packets_become_silence_up_to_their_share() {
    // One MP3 frame in the middle loses its side information; what follows stays in its place.
    let clean = read_all(fixture("no_xing.mp3")).unwrap();
    let mut bytes = fixture("no_xing.mp3");
    let len = bytes.len();
    let middle = (len / 2..len).find(|&i| bytes[i] == 0xFF && bytes[i + 1] == 0xFB).unwrap();
    bytes[middle + 4..middle + 60].fill(0xFF);
    let lenient = DecodeConfig { max_bad_packets: 0.2, channels: Channels::Mono, ..Default::default() };
    let mut audio = lenient.build().unwrap().open(Box::new(Cursor::new(bytes.clone())), "").unwrap();
    let mut out = Vec::new();
    audio.read_to_end(&mut out, 1 << 20).unwrap();
    assert!(audio.bad_packets() >= 1);
    assert_eq!(out.len(), clean.len());
    let tail = clean.len() - 3000;
    assert!(out[tail..].iter().zip(&clean[tail..]).all(|(a, b)| (a - b).abs() < 1e-4), "the end has moved");
    assert_eq!(code(bytes), "corrupt");
}

#[test]
fn not_audio_at_all() {
    assert_eq!(code(Vec::new()), "empty");
    assert_eq!(code(vec![0; 100_000]), "unsupported_container");
    assert_eq!(code(b"<!DOCTYPE html><html>".to_vec()), "unsupported_container");
    assert_eq!(code(b"RIFF\0\0\0\0WAVE".to_vec()), "truncated");
    assert_eq!(code(fixture("mono.flac")[..42].to_vec()), "truncated");
}
