//! Where frames lie over a clip, and the samples each one sees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens at the two ends of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edges {
    /// Frame `t` starts at `t * hop_len`; only frames that lie wholly inside count (Kaldi's `snip_edges`).
    #[default]
    Snip,
    /// Frame `t` is centred at `t * hop_len`; beyond the ends the clip is mirrored (`torch.stft`'s `center`, `reflect`).
    Reflect,
}

/// The lattice of frames: pure arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Framing {
    pub hop_len: usize,
    pub window_len: usize,
    pub n_fft: usize,
    pub edges: Edges,
}

impl Framing {
    /// The fewest samples that have a frame.
    pub fn min_samples(&self) -> usize {
        match self.edges {
            Edges::Snip => self.window_len,
            // The mirror needs one sample more than it shows.
            Edges::Reflect => self.n_fft / 2 + 1,
        }
    }

    /// Frames of a clip of `n_samples`.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        if n_samples < self.min_samples() {
            return 0;
        }
        match self.edges {
            Edges::Snip => 1 + (n_samples - self.window_len) / self.hop_len,
            Edges::Reflect => 1 + n_samples / self.hop_len,
        }
    }

    /// Frames among the first `n_frames(extent_len)` that see at least one of the first `n_samples`.
    pub fn n_touched(&self, n_samples: usize, extent_len: usize) -> usize {
        let reach = n_samples.saturating_add(self.lead());
        reach.div_ceil(self.hop_len).min(self.n_frames(extent_len))
    }

    /// Samples by which frame 0 starts before the clip.
    fn lead(&self) -> usize {
        match self.edges {
            Edges::Snip => 0,
            // A window shorter than the FFT sits in its middle.
            Edges::Reflect => self.n_fft / 2 - (self.n_fft - self.window_len) / 2,
        }
    }

    /// The first `scratch.len()` samples of frame `t` of a clip that is `samples`, then zeros up to `extent_len`; the frame
    /// may be thought longer than its window.
    ///
    /// What lies wholly inside is a slice of the clip; anything else is put together in `scratch`.
    pub fn frame<'a>(&self, samples: &'a [f32], extent_len: usize, t: usize, scratch: &'a mut [f32]) -> &'a [f32] {
        let start = (t * self.hop_len) as isize - self.lead() as isize;
        let end = start + scratch.len() as isize;
        if start >= 0 && end as usize <= samples.len() {
            return &samples[start as usize..end as usize];
        }
        let last = extent_len as isize - 1;
        for (i, slot) in scratch.iter_mut().enumerate() {
            let at = (start + i as isize).abs();
            let at = if at > last { 2 * last - at } else { at };
            *slot = usize::try_from(at).ok().and_then(|at| samples.get(at)).copied().unwrap_or(0.0);
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framing(edges: Edges) -> Framing {
        Framing { hop_len: 2, window_len: 4, n_fft: 4, edges }
    }

    #[test]
    fn snipped_frames_by_hand() {
        let (f, clip) = (framing(Edges::Snip), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!((0..8).map(|n| f.n_frames(n)).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 2, 2]);
        assert_eq!(f.frame(&clip, 7, 1, &mut [0.0; 4]), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!(f.frame(&clip, 8, 2, &mut [0.0; 4]), [5.0, 6.0, 7.0, 0.0]);
        assert_eq!((f.n_touched(7, 12), f.n_touched(0, 12), f.n_touched(99, 12)), (4, 0, 5));
    }

    #[test]
    fn reflected_frames_by_hand() {
        let (f, clip) = (framing(Edges::Reflect), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(f.n_frames(6), 4);
        assert_eq!(f.frame(&clip, 6, 0, &mut [0.0; 4]), [3.0, 2.0, 1.0, 2.0]);
        assert_eq!(f.frame(&clip, 6, 3, &mut [0.0; 4]), [5.0, 6.0, 5.0, 4.0]);
        // The mirror stands at the end of the extent, not at the end of the samples.
        assert_eq!(f.frame(&clip[..5], 6, 3, &mut [0.0; 4]), [5.0, 0.0, 5.0, 4.0]);
    }

    proptest! {
        #[test]
        fn snipped_frames_fill_the_clip_and_one_more_would_not_fit(hop in 1_usize..700, window in 1_usize..900, n in 0_usize..9000) {
            let f = Framing { hop_len: hop, window_len: window, n_fft: 1024, edges: Edges::Snip };
            let frames = f.n_frames(n);
            prop_assert!(frames * hop + window > n);
            prop_assert!(frames == 0 || (frames - 1) * hop + window <= n);
        }

        #[test]
        fn touched_frames_see_samples_and_the_next_sees_none(hop in 1_usize..40, n in 1_usize..400, reflect: bool) {
            let edges = if reflect { Edges::Reflect } else { Edges::Snip };
            let f = Framing { hop_len: hop, window_len: 30, n_fft: 32, edges };
            let (clip, extent) = (vec![1.0; n], 400);
            let touched = f.n_touched(n, extent);
            let mut scratch = vec![0.0; 30];
            for t in 0..touched {
                prop_assert!(f.frame(&clip, extent, t, &mut scratch).contains(&1.0));
            }
            // One frame that the mirror alone feeds may follow (see `Kernel`).
            for t in touched + 1..f.n_frames(extent) {
                prop_assert!(!f.frame(&clip, extent, t, &mut scratch).contains(&1.0));
            }
        }
    }
}
