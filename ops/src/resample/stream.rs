//! The resampler of one clip after another: windows are filled, converted, and handed on.

use std::sync::Arc;

use super::Quality;
use super::plan::{Buffers, Plan};
use crate::OpError;

/// Converts clips of one rate to another, whole or in pieces. [`super::ResampleConfig::build`] makes one.
///
/// The plan is made once; [`Resampler::reset`] readies it for the next clip without allocating.
/// A NaN or infinity in the input spoils its whole block and the one beside it: check samples before.
pub struct Resampler {
    rate_in_hz: u32,
    rate_out_hz: u32,
    channels: usize,
    /// `None` when the rates are equal.
    kernel: Option<Kernel>,
    /// Frames of the clip taken so far.
    taken: u64,
    /// Frames of the clip given so far.
    given: u64,
}

/// A plan with the window that is being filled.
struct Kernel {
    plan: Arc<Plan>,
    buffers: Buffers,
    /// Interleaved, all that one conversion sees; the first `filled` frames hold the clip or the silence before it.
    window: Vec<f32>,
    filled: usize,
    /// One channel of the window, where there are more.
    channel: Vec<f32>,
    /// Blocks of the next conversion.
    goal: usize,
    /// Blocks of the last one, which [`Resampler::aim`] doubles.
    last: usize,
    block: u64,
}

impl Resampler {
    /// Both rates are checked by the config.
    pub(super) fn new(rate_in_hz: u32, rate_out_hz: u32, quality: Quality) -> Self {
        let kernel = (rate_in_hz != rate_out_hz).then(|| {
            let plan = Plan::new(rate_in_hz, rate_out_hz, quality);
            let (buffers, window) = (plan.buffers(), vec![0.0; plan.span_in(plan.max_blocks)]);
            let (filled, goal) = (plan.lead_in, plan.max_blocks);
            Kernel { plan: Arc::new(plan), buffers, window, filled, channel: Vec::new(), goal, last: 0, block: 0 }
        });
        Self { rate_in_hz, rate_out_hz, channels: 1, kernel, taken: 0, given: 0 }
    }

    /// Frames per second that go in.
    pub fn rate_in_hz(&self) -> u32 {
        self.rate_in_hz
    }

    /// Frames per second that come out.
    pub fn rate_out_hz(&self) -> u32 {
        self.rate_out_hz
    }

    /// Interleaved channels of the clip in progress.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Frames that a clip of `n_in` frames becomes: `ceil(n_in * rate_out / rate_in)`.
    pub fn n_frames_out(&self, n_in: u64) -> u64 {
        self.kernel.as_ref().map_or(n_in, |kernel| kernel.plan.n_frames_out(n_in))
    }

    /// Most frames that the next clip's first output waits for: the latency of a stream, in input frames.
    pub fn latency_in_frames(&self) -> usize {
        self.kernel.as_ref().map_or(0, |kernel| kernel.plan.span_in(kernel.plan.max_blocks) - kernel.plan.lead_in)
    }

    /// Forgets the clip in progress; the next one has `channels` (at least 1) interleaved channels.
    pub fn reset(&mut self, channels: usize) {
        self.channels = channels.max(1);
        (self.taken, self.given) = (0, 0);
        if let Some(kernel) = &mut self.kernel {
            let span = kernel.plan.span_in(kernel.plan.max_blocks);
            kernel.window.resize(span * self.channels, 0.0);
            kernel.channel.resize(if self.channels == 1 { 0 } else { span }, 0.0);
            (kernel.filled, kernel.goal) = (kernel.plan.lead_in, kernel.plan.max_blocks);
            kernel.window[..kernel.filled * self.channels].fill(0.0);
            (kernel.last, kernel.block) = (0, 0);
        }
    }

    /// Converts a whole clip: `out` is replaced by `n_frames_out` frames. Whatever was in progress is forgotten.
    ///
    /// # Errors
    /// [`OpError::Shape`] when `samples` is no whole number of frames.
    pub fn process(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), OpError> {
        out.clear();
        self.reset(self.channels);
        out.reserve(self.n_frames_out((samples.len() / self.channels) as u64) as usize * self.channels);
        self.push(samples, out)?;
        self.finish(out);
        Ok(())
    }

    /// Takes the clip's next samples and appends to `out` what they complete.
    ///
    /// # Errors
    /// [`OpError::Shape`] when `samples` is no whole number of frames.
    pub fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) -> Result<(), OpError> {
        let n_whole = samples.len() / self.channels * self.channels;
        if n_whole != samples.len() {
            return Err(OpError::Shape { what: "interleaved samples", expected: n_whole, got: samples.len() });
        }
        if self.kernel.is_none() {
            out.extend_from_slice(samples);
            self.taken += (samples.len() / self.channels) as u64;
            self.given = self.taken;
            return Ok(());
        }
        while !samples.is_empty() {
            let space = self.space();
            let n = samples.len().min(space.len());
            space[..n].copy_from_slice(&samples[..n]);
            samples = &samples[n..];
            self.advance(n / self.channels, out);
        }
        Ok(())
    }

    /// Ends the clip: appends what silence behind it completes, and readies for the next clip of as many channels.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        while self.drain(out) {}
        self.reset(self.channels);
    }

    /// The room left in the window, interleaved; never empty. Only when the rates differ.
    pub(super) fn space(&mut self) -> &mut [f32] {
        match &mut self.kernel {
            Some(kernel) => {
                let end = kernel.plan.span_in(kernel.goal);
                &mut kernel.window[kernel.filled * self.channels..end * self.channels]
            }
            None => &mut [],
        }
    }

    /// Lets the next conversion wait for no more input than `n_frames` of output ask for, rather than for as much as it can
    /// do at once; where this goes on, for twice as much as the last, lest small pieces leave most lanes empty. It changes no
    /// digit.
    pub(super) fn aim(&mut self, n_frames: u64) {
        let Some(kernel) = &mut self.kernel else { return };
        let plan = &kernel.plan;
        let head = if kernel.block == 0 { plan.head_out as u64 } else { 0 };
        kernel.goal = plan.n_blocks(head.saturating_add(n_frames)).max(2 * kernel.last).min(plan.max_blocks);
        while plan.span_in(kernel.goal) <= kernel.filled {
            kernel.goal += plan.unit;
        }
    }

    /// `n_frames` were written to the front of [`Resampler::space`]; converts the window once it is full.
    pub(super) fn advance(&mut self, n_frames: usize, out: &mut Vec<f32>) {
        let Some(kernel) = &mut self.kernel else { return };
        self.taken += n_frames as u64;
        kernel.filled += n_frames;
        if kernel.filled == kernel.plan.span_in(kernel.goal) {
            // The kernel's reach keeps the window ahead of the output, so no frame is beyond the clip's end.
            self.given += kernel.convert(self.channels, kernel.goal, u64::MAX, out);
        }
    }

    /// Converts what is left, or as much of it as one conversion can, with silence behind the clip; false when all its frames are given.
    pub(super) fn drain(&mut self, out: &mut Vec<f32>) -> bool {
        // A seek may have gone beyond the end.
        let left = self.n_frames_out(self.taken).saturating_sub(self.given);
        if left == 0 {
            return false;
        }
        let Some(kernel) = &mut self.kernel else { return false };
        kernel.last = 0;
        self.aim(left);
        let Some(kernel) = &mut self.kernel else { return false };
        let end = kernel.plan.span_in(kernel.goal);
        kernel.window[kernel.filled * self.channels..end * self.channels].fill(0.0);
        kernel.filled = end;
        self.given += kernel.convert(self.channels, kernel.goal, left, out);
        true
    }

    /// Frames given so far, and frames that `n_more` further input frames will have made in all.
    pub(super) fn progress(&self, n_more: u64) -> (u64, u64) {
        (self.given, self.n_frames_out(self.taken.saturating_add(n_more)))
    }

    /// Moves the window to the block that holds output frame `target`, if that is a later one. Returns how many frames of
    /// input lie between the window's fill and its new start: the caller skips them and tells [`Resampler::skipped`].
    pub(super) fn seek(&mut self, target: u64) -> u64 {
        let Some(kernel) = &mut self.kernel else { return 0 };
        let plan = &kernel.plan;
        let block = (target + plan.head_out as u64) / plan.hop_out as u64;
        // Blocks of a pair are converted together, as they are when nothing is skipped.
        let block = block / plan.unit as u64 * plan.unit as u64;
        if block <= kernel.block {
            return 0;
        }
        let shift = (block - kernel.block) * plan.hop_in as u64;
        let kept = (kernel.filled as u64).saturating_sub(shift) as usize;
        let channels = self.channels;
        kernel.window.copy_within((kernel.filled - kept) * channels..kernel.filled * channels, 0);
        let missing = shift.saturating_sub(kernel.filled as u64);
        kernel.filled = kept;
        (kernel.last, kernel.block) = (0, block);
        self.given = block * plan.hop_out as u64 - plan.head_out as u64;
        missing
    }

    /// Counts `n_frames` of input that were skipped at the wish of [`Resampler::seek`].
    pub(super) fn skipped(&mut self, n_frames: u64) {
        self.taken += n_frames;
    }
}

impl Kernel {
    /// Converts `n_blocks`, whose windows are full, appends at most `limit` frames to `out`, moves on; returns the frames
    /// appended.
    fn convert(&mut self, channels: usize, n_blocks: usize, limit: u64, out: &mut Vec<f32>) -> u64 {
        let skip = if self.block == 0 { self.plan.head_out } else { 0 };
        let n = ((n_blocks * self.plan.hop_out - skip) as u64).min(limit) as usize;
        if channels == 1 {
            out.extend_from_slice(&self.plan.convert(&self.window, n_blocks, &mut self.buffers)[skip..skip + n]);
        } else {
            let at = out.len();
            out.resize(at + n * channels, 0.0);
            for channel in 0..channels {
                for (sample, frame) in self.channel.iter_mut().zip(self.window.chunks_exact(channels)) {
                    *sample = frame[channel];
                }
                let converted = &self.plan.convert(&self.channel, n_blocks, &mut self.buffers)[skip..skip + n];
                for (frame, &sample) in out[at..].chunks_exact_mut(channels).zip(converted) {
                    frame[channel] = sample;
                }
            }
        }
        let shift = n_blocks * self.plan.hop_in;
        self.window.copy_within(shift * channels..self.filled * channels, 0);
        self.filled -= shift;
        self.block += n_blocks as u64;
        self.last = n_blocks;
        n as u64
    }
}
