//! What a recording sounds like in eight words a second: alike for copies that were encoded again, unlike for others.
//!
//! After J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002. The signal is brought to six to
//! eight kilohertz, cut into overlapping frames, and each frame's power gathered in 33 bands, evenly spaced in pitch between
//! 300 and 2000 Hz. Bit m of word n says whether the ratio of bands m and m + 1 is larger in frame n + 1 than in frame n, by
//! three parts in a hundred at least. What lies 40 dB below the loudest band of its frame is drowned: there codecs put what
//! they like, and the bits are 0. A gain and the loss of high frequencies leave all bits as they are, a fixed equaliser nearly
//! all; so, mostly, do codecs.
//!
//! ```text
//! F[n][m] = E[n][m] + 0.0001 max over m of E[n]
//! bit m of word n  =  F[n+1][m] F[n][m+1] > 1.03 F[n+1][m+1] F[n][m]
//! ```
//!
//! Of the shipped clips, copies in MP3 and AAC at 64 kbit/s, Opus at 48, Vorbis and mu-law differ from the original in 3 to
//! 10 % of the bits in the mean, and 25 % at most (a plucked string, all partials and silence between); two unlike clips in 47 %,
//! and 26 % at least (two steady tones).
//!
//! Times do not depend on the rate of the file: frame n begins n / 8 s after the first sample, whatever the rate, to a
//! millisecond. [`compare`] finds out whether two fingerprints are of one recording.

mod compare;
mod decimate;
#[cfg(test)]
mod tests;

pub use compare::{Likeness, bit_error_rate, compare};

use crate::stft::{Edges, Stft, StftConfig, Window};
use crate::{ConfigError, OpError};
use decimate::Decimator;

/// Words for each second of sound.
pub const WORDS_PER_S: usize = 8;

/// Seconds that a frame sees.
const FRAME_S: f64 = 0.375;
/// The rate is brought down to this at least; twice as much is the most for files of 12 kHz and more.
const LOW_HZ: u32 = 6_000;
/// Edges of the lowest and the highest band.
const BAND_HZ: [f64; 2] = [300.0, 2_000.0];
/// One more than there are bits in a word.
const N_BANDS: usize = 33;
/// What drowns a band, as a part of the loudest in its frame: 40 dB below.
const FLOOR: f32 = 1e-4;
/// How much a ratio must rise to count.
const RISE: f64 = 1.03;
/// Frames that are transformed at once: as many as the widest vectors hold.
const AT_ONCE: usize = 16;

/// Takes the fingerprint of one recording after another, each pushed block by block.
///
/// # Example: twice as loud is the same recording
/// ```
/// use ajepa_ops::fingerprint::{Fingerprinter, bit_error_rate};
/// let mut maker = Fingerprinter::new(16_000)?;
/// let mut of = |gain: f32| -> Result<Vec<u32>, ajepa_ops::OpError> {
///     let sound: Vec<f32> = (0..48_000).map(|i| gain * ((i as f32).powi(2) * 1e-5).sin()).collect();
///     sound.chunks(1000).try_for_each(|block| maker.push(block))?;
///     maker.finish()
/// };
/// let (soft, loud) = (of(0.1)?, of(0.2)?);
/// assert_eq!(soft.len(), 21);
/// assert!(bit_error_rate(&soft, &loud) < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Fingerprinter {
    rate_hz: u32,
    decimator: Decimator,
    stft: Stft,
    /// Bins of each band: `edges[m]..edges[m + 1]`.
    edges: Vec<usize>,
    low_hz: f64,
    /// Decimated samples from `taken` on.
    low: Vec<f32>,
    /// Decimated samples that are behind.
    taken: u64,
    /// Blocks of frames that are done.
    n_blocks: u64,
    powers: Vec<f32>,
    last: Option<[f32; N_BANDS]>,
    words: Vec<u32>,
}

impl Fingerprinter {
    /// For recordings of `rate_hz`; of a rate below 4 kHz the upper bands are empty, and their bits 0.
    ///
    /// # Errors
    /// [`ConfigError`] for a rate outside 1,000 to 768,000 Hz.
    pub fn new(rate_hz: u32) -> Result<Self, ConfigError> {
        if !(1_000..=768_000).contains(&rate_hz) {
            return Err(ConfigError::new("rate_hz", format!("{rate_hz} Hz"), "1000 to 768000"));
        }
        let factor = (rate_hz / LOW_HZ).max(1) as usize;
        let low_hz = f64::from(rate_hz) / factor as f64;
        let config = StftConfig {
            window_len: (FRAME_S * low_hz).round() as usize,
            hop_len: (low_hz / WORDS_PER_S as f64).round() as usize,
            n_fft: None,
            window: Window::Hann,
            edges: Edges::Snip,
            remove_dc: false,
            preemphasis: 0.0,
            normalize_window: false,
        };
        let stft = config.build()?;
        Ok(Self {
            rate_hz,
            decimator: Decimator::new(factor),
            edges: band_edges(low_hz, stft.n_fft()),
            powers: vec![0.0; AT_ONCE * stft.n_bins()],
            stft,
            low_hz,
            low: Vec::new(),
            taken: 0,
            n_blocks: 0,
            last: None,
            words: Vec::new(),
        })
    }

    /// The rate it was made for.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Takes the next mono samples of the recording.
    ///
    /// # Errors
    /// [`OpError::NonFinite`] for samples that are no numbers, or whose square is none.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), OpError> {
        self.decimator.push(samples, &mut self.low);
        let block_len = self.block_len();
        while self.low.len() >= block_len {
            self.block(AT_ONCE)?;
        }
        Ok(())
    }

    /// The words of all that was pushed; none for a recording without a sample. What is next pushed is another recording.
    ///
    /// A recording too short for two frames is thought to go on in silence; at the end of a longer one, what does not fill a
    /// frame is left out.
    ///
    /// # Errors
    /// As [`Fingerprinter::push`].
    pub fn finish(&mut self) -> Result<Vec<u32>, OpError> {
        self.decimator.finish(&mut self.low);
        let is_empty = self.low.is_empty() && self.taken == 0;
        let least = self.frame_len(if self.last.is_some() { 1 } else { 2 });
        if self.n_blocks == 0 && !is_empty && self.low.len() < least {
            self.low.resize(least, 0.0);
        }
        let n = self.stft.n_frames(self.low.len());
        let done = if n > 0 { self.block(n.min(AT_ONCE)) } else { Ok(()) };
        self.low.clear();
        self.last = None;
        (self.taken, self.n_blocks) = (0, 0);
        let words = std::mem::take(&mut self.words);
        done.map(|()| words)
    }

    /// Samples under `n` frames.
    fn frame_len(&self, n: usize) -> usize {
        let framing = self.stft.framing();
        (n - 1) * framing.hop_len + framing.window_len
    }

    /// Samples that must be there for a whole block: its frames, and the begin of the next.
    fn block_len(&self) -> usize {
        self.frame_len(AT_ONCE).max(self.next_block() as usize)
    }

    /// Where the next block begins, from where this one does: exact over any length, for it is not summed up.
    fn next_block(&self) -> u64 {
        let blocks_per_s = WORDS_PER_S as f64 / AT_ONCE as f64;
        let start = ((self.n_blocks + 1) as f64 / blocks_per_s * self.low_hz).round() as u64;
        start - self.taken
    }

    /// Turns the first `n` frames of `low` into words.
    fn block(&mut self, n: usize) -> Result<(), OpError> {
        let n_bins = self.stft.n_bins();
        let len = self.frame_len(n);
        self.stft.process(&self.low[..len], &mut self.powers[..n * n_bins])?;
        for frame in self.powers[..n * n_bins].chunks_exact(n_bins) {
            let bands = bands(frame, &self.edges);
            if let Some(before) = self.last.replace(bands) {
                self.words.push(word(&before, &bands));
            }
        }
        let next = (self.next_block() as usize).min(self.low.len());
        self.low.drain(..next);
        self.taken += next as u64;
        self.n_blocks += 1;
        Ok(())
    }
}

impl std::fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprinter").field("rate_hz", &self.rate_hz).finish_non_exhaustive()
    }
}

/// Bands evenly spaced in pitch; those above the spectrum are empty.
fn band_edges(low_hz: f64, n_fft: usize) -> Vec<usize> {
    let [first, last] = BAND_HZ;
    let hz = |edge: usize| first * (last / first).powf(edge as f64 / N_BANDS as f64);
    (0..=N_BANDS).map(|edge| ((hz(edge) / low_hz * n_fft as f64).round() as usize).min(n_fft / 2)).collect()
}

/// The power of each band, none of it below the floor.
fn bands(frame: &[f32], edges: &[usize]) -> [f32; N_BANDS] {
    let bands: [f32; N_BANDS] = std::array::from_fn(|m| frame[edges[m]..edges[m + 1]].iter().sum());
    let floor = FLOOR * bands.iter().copied().fold(0.0, f32::max);
    bands.map(|power| power + floor)
}

/// In double precision, where no product of two f32 overflows or vanishes.
fn word(before: &[f32; N_BANDS], now: &[f32; N_BANDS]) -> u32 {
    let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
    (0..N_BANDS - 1).fold(0, |word, m| {
        let rises = product(now[m], before[m + 1]) > RISE * product(now[m + 1], before[m]);
        word | u32::from(rises) << m
    })
}
