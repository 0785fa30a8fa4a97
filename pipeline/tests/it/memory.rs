//! Memory does not grow with the number of clips, nor with the length of one.

use crate::program::{Place, small_clips};

const MANY: &str = "
pipeline: many
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { id: mel, type: log_mel, preset: base-2026 }
  - { type: sink_shards, path: out }
resources: { memory: 64MiB, clips_per_shard: 50 }
";

/// Most resident memory of a run over `n` clips, in bytes.
fn peak_of(n: usize) -> u64 {
    let place = Place::new();
    let clips = small_clips();
    let (extension, content) = clips.iter().min_by_key(|(_, content)| content.len()).expect("a clip");
    for i in 0..n {
        place.write(&format!("audio/{:03}/{i:06}.{extension}", i / 1000), content);
    }
    place.write("graph.yaml", MANY);
    let (ended, report) = place.report("graph.yaml --jobs 2");
    assert_eq!((ended.code, report.end.clips_done), (Some(0), n as u64), "{ended:?}");
    report.peak_rss_bytes
}

/// Ten times as many clips; `AJEPA_MANY=20000` for a hundred times as many.
#[test]
fn many_clips_take_no_more_memory_than_few() {
    let many: usize = std::env::var("AJEPA_MANY").map_or(2_000, |n| n.parse().expect("a number"));
    let (few_bytes, many_bytes) = (peak_of(200), peak_of(many));
    println!("200 clips: {few_bytes} bytes; {many} clips: {many_bytes} bytes");
    // 256 bytes for the name, the path and the unit of a clip in the list. What the allocator keeps differs by 9 MiB from
    // run to run; one picture kept of each of 2,000 clips would be 260 MB.
    let allowed = few_bytes + (16 << 20) + many as u64 * 256;
    assert!(many_bytes < allowed, "200 clips: {few_bytes} bytes; {many} clips: {many_bytes} bytes");
    assert!(many_bytes < 64 << 20, "the whole process: {many_bytes} bytes, and the graph allows 64 MiB");
}

const TEN_HOURS: &str = "
pipeline: ten-hours
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: crop, seconds: 10, position: sliding }
  - { id: mel, type: log_mel, preset: base-2026 }
  - { type: sink_shards, path: out }
resources: { memory: 128MiB }
";

/// 16 kHz x 36,000 s of 16 bit would be 1.1 GB, and 2.3 GB as single floats; the shard alone is 236 MB.
#[test]
fn a_ten_hour_clip_streams_through() {
    const SECONDS: u64 = 36_000;
    let place = Place::new();
    place.write("audio/ten_hours.flac", silent_flac(SECONDS * 16_000 / 4096));
    place.write("graph.yaml", TEN_HOURS);
    let (ended, report) = place.report("graph.yaml --jobs 2");
    assert_eq!((ended.code, report.end.rejects), (Some(0), 0), "{ended:?}");
    println!("peak {} bytes", report.peak_rss_bytes);
    let sink = &report.sinks[0].1;
    assert_eq!((sink.rows, sink.units), (SECONDS / 10, 1));
    assert!(sink.bytes > 200_000_000, "{sink:?}");
    assert!(report.peak_rss_bytes < 200_000_000, "peak {} bytes", report.peak_rss_bytes);
}

/// Silence as FLAC: 16 kHz, mono, 16 bit, constant subframes of 4096 samples; 17 bytes a block.
fn silent_flac(n_blocks: u64) -> Vec<u8> {
    let mut bytes = b"fLaC\x80\0\0\x22\x10\x00\x10\x00\0\0\0\0\0\0".to_vec();
    // 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of samples; then no MD5.
    bytes.extend((16_000_u64 << 44 | 15 << 36 | (n_blocks * 4096)).to_be_bytes());
    bytes.extend([0; 16]);
    for number in 0..n_blocks {
        // Sync, fixed block size; 4096 samples at 16 kHz; mono, 16 bit.
        let mut frame = vec![0xFF, 0xF8, 0xC5, 0x08];
        // The number in the longest UTF-8 form: six bits in each of six bytes.
        frame.push(0xFE);
        frame.extend((0..6).rev().map(|i| 0x80 | (number >> (6 * i) & 0x3F) as u8));
        frame.push(crc(&frame, 0x07, 8) as u8);
        // A constant subframe of the value 0.
        frame.extend([0, 0, 0]);
        let crc16 = crc(&frame, 0x8005, 16) as u16;
        frame.extend(crc16.to_be_bytes());
        bytes.extend(frame);
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

/// A WAV of one channel of 16-bit silence.
fn silence(n_samples: u32, rate_hz: u32) -> Vec<u8> {
    let data_len = 2 * n_samples;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + data_len).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(rate_hz.to_le_bytes());
    wav.extend((2 * rate_hz).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(data_len.to_le_bytes());
    wav.resize(wav.len() + data_len as usize, 0);
    wav
}

const WHOLE: &str = "
stages:
  - { type: source_folder, path: audio }
  - { type: decode }
  - { type: normalize, preset: code-225b816 }
  - { type: sink_null }
on_error: { policy: skip, max_fraction: 1 }
resources: { memory: 64MiB }
";

/// A quarter of 64 MiB holds 4,194,304 samples: 524.288 s at 8 kHz.
#[test]
fn a_clip_that_does_not_fit_is_told_what_would() {
    let place = Place::new();
    place.write("audio/long.wav", silence(4_194_305, 8_000));
    place.write("graph.yaml", WHOLE);
    let (_, report) = place.report("graph.yaml");
    let reject = report.first_rejects.first().expect("a reject");
    assert_eq!(reject.reason, "too_long");
    let told = ["16.0 MiB", "524.3 s of 1 x 8000 Hz", "raise resources.memory"];
    assert!(told.iter().all(|words| reject.detail.contains(words)), "{}", reject.detail);
    // One sample less, and it fits.
    place.write("audio/long.wav", silence(4_194_304, 8_000));
    assert_eq!(place.report("graph.yaml").1.end.rejects, 0);
}
