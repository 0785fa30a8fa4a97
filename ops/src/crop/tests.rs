use proptest::prelude::*;

use super::*;
use crate::{AudioRead, MemoryAudio, OpError};

/// A stream that does not know its length, and hands out at most what is asked.
struct Unknown(MemoryAudio);

impl AudioRead for Unknown {
    fn rate_hz(&self) -> u32 {
        self.0.rate_hz()
    }

    fn channels(&self) -> usize {
        self.0.channels()
    }

    fn n_frames_left(&self) -> Option<u64> {
        None
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        self.0.read(out)
    }
}

/// A stream that says it is longer than it is.
struct Boastful(MemoryAudio);

impl AudioRead for Boastful {
    fn rate_hz(&self) -> u32 {
        self.0.rate_hz()
    }

    fn channels(&self) -> usize {
        self.0.channels()
    }

    fn n_frames_left(&self) -> Option<u64> {
        Some(1_000_000)
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        self.0.read(out)
    }
}

fn crop(samples: u64, position: CropPosition, hop_seconds: Option<f64>, pad: CropPad, tail: CropTail) -> Crop {
    CropConfig { seconds: None, samples: Some(samples), position, hop_seconds, pad, tail }.build(1).unwrap()
}

fn ramp(n: usize, channels: usize) -> Vec<f32> {
    (0..n * channels).map(|i| i as f32 + 1.0).collect()
}

fn single() -> impl Strategy<Value = (Crop, u64)> {
    use CropPosition::{Centre, Head, Random};
    let position = prop_oneof![Just(Head), Just(Centre), Just(Random)];
    (1..60_u64, position, any::<bool>()).prop_map(|(n, position, zero)| {
        let pad = if zero { CropPad::Zero } else { CropPad::None };
        (crop(n, position, None, pad, CropTail::Keep), n)
    })
}

fn sliding() -> impl Strategy<Value = Crop> {
    let tail = prop_oneof![Just(CropTail::Drop), Just(CropTail::Keep), Just(CropTail::Pad)];
    (1..40_u64, 1..60_u32, tail)
        .prop_map(|(n, hop, tail)| crop(n, CropPosition::Sliding, Some(f64::from(hop)), CropPad::None, tail))
}

proptest! {
    #[test]
    fn a_single_window_lies_inside_and_has_its_length((crop, len) in single(), n in 1_u64..200, seed: u64) {
        let windows: Vec<Window> = crop.windows(n, seed).collect();
        prop_assert_eq!(windows.len(), 1);
        let window = windows[0];
        prop_assert_eq!(window.n_frames, len.min(n));
        prop_assert!(window.start + window.n_frames <= n);
        prop_assert_eq!(window.n_padding, if crop.pad == CropPad::Zero { len - window.n_frames } else { 0 });
    }

    #[test]
    fn sliding_windows_are_full_but_the_last_and_reach_the_end(crop in sliding(), n in 0_u64..300) {
        let windows: Vec<Window> = crop.windows(n, 0).collect();
        for (i, window) in windows.iter().enumerate() {
            prop_assert_eq!(window.start, i as u64 * crop.hop);
            prop_assert!(window.n_frames >= 1 && window.start + window.n_frames <= n);
            let full = window.n_frames == crop.n_frames;
            prop_assert!(full || (i + 1 == windows.len() && crop.tail != CropTail::Drop));
            prop_assert_eq!(window.n_padding, if crop.tail == CropTail::Pad { crop.n_frames - window.n_frames } else { 0 });
        }
        // No window starts behind one that reached the end.
        let ends = windows.iter().filter(|window| window.start + window.n_frames == n).count();
        prop_assert!(ends <= 1);
        if crop.tail == CropTail::Drop {
            // One more would not fit.
            prop_assert!(windows.len() as u64 * crop.hop + crop.n_frames > n);
        } else if crop.hop <= crop.n_frames {
            // Overlapping or touching windows leave no frame out.
            prop_assert!(n == 0 || ends == 1);
        } else {
            // Windows with gaps: each start inside the clip has its window.
            prop_assert_eq!(windows.len() as u64, n.div_ceil(crop.hop));
        }
    }

    #[test]
    fn sliding_over_a_stream_is_sliding_over_the_whole(crop in sliding(), n in 0_usize..300, channels in 1_usize..3) {
        let samples = ramp(n, channels);
        let mut stream = SlidingWindows::new(&crop, Unknown(MemoryAudio::new(samples.clone(), 1, channels)));
        let mut expected = Vec::new();
        for window in crop.windows(n as u64, 0) {
            Crop::cut(&samples, channels, window, &mut expected);
            let got = stream.next_window().unwrap();
            prop_assert_eq!(got, Some((window, expected.as_slice())));
        }
        prop_assert_eq!(stream.next_window().unwrap(), None);
        prop_assert_eq!(stream.next_window().unwrap(), None);
    }

    #[test]
    fn reading_a_stream_is_cutting_the_whole((crop, _) in single(), n in 1_usize..200, channels in 1_usize..3, seed: u64) {
        let samples = ramp(n, channels);
        let window = crop.windows(n as u64, seed).next().unwrap();
        let (mut expected, mut out) = (Vec::new(), Vec::new());
        Crop::cut(&samples, channels, window, &mut expected);
        let mut known = MemoryAudio::new(samples.clone(), 1, channels);
        prop_assert_eq!(crop.read(&mut known, seed, 1000, &mut out).unwrap(), window);
        prop_assert_eq!(&out, &expected);
        let audio: &mut dyn AudioRead = &mut Unknown(MemoryAudio::new(samples, 1, channels));
        prop_assert_eq!(crop.read(audio, seed, 1000, &mut out).unwrap(), window);
        prop_assert_eq!(&out, &expected);
    }
}

#[test]
fn random_starts_reach_both_ends_and_follow_the_seed() {
    let crop = crop(8, CropPosition::Random, None, CropPad::None, CropTail::Keep);
    let start = |seed| crop.windows(11, seed).next().unwrap().start;
    let starts: Vec<u64> = (0..200).map(start).collect();
    assert!((0..=3).all(|s| starts.contains(&s)) && starts.iter().all(|&s| s <= 3));
    assert_eq!(starts, (0..200).map(start).collect::<Vec<_>>());
}

#[test]
fn streams_that_cannot_be_cropped_say_why() {
    let mut out = Vec::new();
    let centre = crop(4, CropPosition::Centre, None, CropPad::Zero, CropTail::Keep);
    let code = |result: Result<Window, OpError>| result.err().map(|error| error.code());
    assert_eq!(code(centre.read(&mut MemoryAudio::new(vec![], 1, 1), 0, 9, &mut out)), Some("empty"));
    assert_eq!(code(centre.read(&mut Unknown(MemoryAudio::new(ramp(10, 1), 1, 1)), 0, 9, &mut out)), Some("too_long"));
    assert_eq!(
        code(centre.read(&mut Boastful(MemoryAudio::new(ramp(10, 1), 1, 1)), 0, 9, &mut out)),
        Some("truncated")
    );
    let drop = crop(4, CropPosition::Sliding, None, CropPad::None, CropTail::Drop);
    assert_eq!(code(drop.read(&mut MemoryAudio::new(ramp(3, 1), 1, 1), 0, 9, &mut out)), Some("too_short"));
}

#[test]
fn contradictions_are_refused() {
    let ok = CropConfig::new(10.0, CropPosition::Head);
    assert_eq!(ok.build(32_000).unwrap().n_frames(), 320_000);
    let field = |config: CropConfig| config.build(32_000).err().map(|error| error.field);
    assert_eq!(field(CropConfig { samples: Some(3), ..ok.clone() }), Some("seconds"));
    assert_eq!(field(CropConfig { seconds: None, ..ok.clone() }), Some("seconds"));
    assert_eq!(field(CropConfig { seconds: Some(f64::NAN), ..ok.clone() }), Some("seconds"));
    assert_eq!(field(CropConfig { seconds: Some(1e-9), ..ok.clone() }), Some("seconds"));
    assert_eq!(field(CropConfig { seconds: None, samples: Some(0), ..ok.clone() }), Some("samples"));
    assert_eq!(field(CropConfig { hop_seconds: Some(1.0), ..ok.clone() }), Some("hop_seconds"));
    assert_eq!(field(CropConfig { tail: CropTail::Pad, ..ok.clone() }), Some("tail"));
    let sliding = CropConfig { position: CropPosition::Sliding, ..ok };
    assert_eq!(field(CropConfig { pad: CropPad::Zero, ..sliding.clone() }), Some("pad"));
    assert_eq!(field(CropConfig { hop_seconds: Some(0.0), ..sliding }), Some("hop_seconds"));
}
