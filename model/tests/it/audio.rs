//! Batches of real audio: windows of the shipped clips as log-mel pictures, with random masks.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ajepa_model::{Pictures, TrainBatch};
use ajepa_ops::decode::DecodeConfig;
use ajepa_ops::mel::{Extent, LogMelConfig};
use ajepa_ops::resample::ResampleConfig;
use ajepa_ops::{AudioRead, seed};

const RATE_HZ: u32 = 16_000;

/// Frames (of 20 ms) and mels of a picture.
pub const PICTURE: [usize; 2] = [128, 64];

/// Patches of 16 x 16.
const N_TOKENS: u32 = 32;

/// Every shipped clip as frames of mels, all together of mean 0 and variance 1.
static CLIPS: LazyLock<Vec<Vec<f32>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/sample");
    let mut clips: Vec<Vec<f32>> = files(&folder).iter().map(|path| log_mel(path)).collect();
    let n = clips.iter().map(Vec::len).sum::<usize>() as f64;
    let all = || clips.iter().flatten().map(|&x| f64::from(x));
    let mean = all().sum::<f64>() / n;
    let spread = (all().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    clips.iter_mut().flatten().for_each(|x| *x = ((f64::from(*x) - mean) / spread) as f32);
    clips
});

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries(folder).filter(|path| path.is_dir()).flat_map(|path| entries(&path)).collect();
    found.sort();
    found
}

/// Frames of a clip, the clip repeated until it fills a picture.
fn log_mel(path: &Path) -> Vec<f32> {
    let hint = path.extension().unwrap().to_string_lossy().into_owned();
    let file = Box::new(BufReader::new(File::open(path).unwrap()));
    let clip = DecodeConfig::default().build().unwrap().open(file, &hint).unwrap();
    let mut clip = ResampleConfig::new(RATE_HZ).build_cache().unwrap().wrap(clip).unwrap();
    let mut samples = Vec::new();
    clip.read_to_end(&mut samples, 600 * u64::from(RATE_HZ)).unwrap();
    let channels = clip.channels();
    let mut mono: Vec<f32> = samples.chunks_exact(channels).map(|x| x.iter().sum::<f32>() / channels as f32).collect();
    while mono.len() < 3 * RATE_HZ as usize {
        mono.extend_from_within(..);
    }
    let config = LogMelConfig {
        rate_hz: Some(RATE_HZ),
        n_mels: Some(PICTURE[1]),
        frame_shift_ms: Some(20.0),
        frame_length_ms: Some(50.0),
        extent: Some(Extent::Clip),
        ..LogMelConfig::default()
    };
    let mut mel = config.build().unwrap();
    let [n_frames, n_mels] = mel.shape(mono.len());
    let mut frames = vec![0.0; n_frames * n_mels];
    mel.process(&mono, &mut frames).unwrap();
    frames
}

/// What a [`TrainBatch`] borrows.
pub struct Owned {
    pictures: Vec<f32>,
    context: Vec<u32>,
    target: Vec<u32>,
    n_clips: usize,
    n_masks: usize,
}

impl Owned {
    /// The same masks over silence.
    pub fn silenced(mut self) -> Self {
        self.pictures.fill(-15.9);
        self
    }

    /// The same masks over the first picture again and again.
    pub fn copied(mut self) -> Self {
        let len = PICTURE[0] * PICTURE[1];
        let first = self.pictures[..len].to_vec();
        self.pictures.chunks_exact_mut(len).for_each(|picture| picture.copy_from_slice(&first));
        self
    }

    /// `n_clips` windows of clips drawn for (`run`, `step`), each with `n_masks` permutations of its tokens, one half seen.
    pub fn draw(run: u64, step: u64, n_clips: usize, n_masks: usize) -> Self {
        let [rows, cols] = PICTURE;
        let (mut pictures, mut context, mut target) = (Vec::new(), Vec::new(), Vec::new());
        for place in 0..n_clips as u64 {
            let rng = &mut seed::rng(seed::derive(&[run, seed::hash_str("batch"), step, place]));
            let clip = &CLIPS[seed::below(rng, CLIPS.len() as u64) as usize];
            let first = seed::below(rng, (clip.len() / cols - rows + 1) as u64) as usize;
            pictures.extend_from_slice(&clip[first * cols..][..rows * cols]);
            for _ in 0..n_masks {
                let mut order: Vec<u32> = (0..N_TOKENS).collect();
                seed::shuffle(rng, &mut order);
                context.extend_from_slice(&order[..N_TOKENS as usize / 2]);
                target.extend_from_slice(&order[N_TOKENS as usize / 2..]);
            }
        }
        Self { pictures, context, target, n_clips, n_masks }
    }

    /// The same masks, and every picture as still as silence.
    pub fn silent(mut self) -> Self {
        self.pictures.fill(-1.0);
        self
    }

    pub fn batch(&self) -> TrainBatch<'_> {
        let Self { pictures, context, target, n_clips, n_masks } = self;
        TrainBatch {
            pictures: Pictures::F32(pictures),
            context,
            target,
            n_clips: *n_clips,
            n_masks: *n_masks,
            n_blocks: 1,
        }
    }
}
