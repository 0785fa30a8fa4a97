//! What a head learns from: a vector a clip, or a vector a frame.

use nalgebra::DMatrix;

use super::super::{Features, Labelled, Labels, ProbeError};
use super::normalise;
use super::truth::Truth;

/// What a head learns from, or is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Examples<'a> {
    /// A vector a clip.
    Clips(Labelled<'a>),
    /// A vector a frame.
    Frames(Frames<'a>),
}

/// Clips of frames, the labels of each frame for itself.
///
/// Where clips of a step differ in length, they are filled up with frames of zeros that have no label, and these count as X-ARES
/// counts them: frames that are there. Labels beyond the longest clip of the step are left out.
#[derive(Debug, Clone, Copy)]
pub struct Frames<'a> {
    /// [frames of all clips, width].
    pub features: Features<'a>,
    /// Where each clip's frames begin, and where the last one's end.
    pub starts: &'a [usize],
    /// Classes of the frames of all clips.
    pub labels: &'a Labels,
    /// Where each clip's labels begin, and where the last one's end.
    pub label_starts: &'a [usize],
}

impl<'a> Frames<'a> {
    /// Checks that both say something of the same clips.
    ///
    /// # Errors
    /// [`ProbeError::Shape`].
    pub fn new(
        features: Features<'a>,
        starts: &'a [usize],
        labels: &'a Labels,
        label_starts: &'a [usize],
    ) -> Result<Self, ProbeError> {
        let same = |what: &'static str, expected: usize, got: usize| {
            if expected == got { Ok(()) } else { Err(ProbeError::Shape { what, expected, got }) }
        };
        same("clips with labels", starts.len(), label_starts.len())?;
        same("frames", features.n_rows(), starts.last().copied().unwrap_or(0))?;
        same("labels of frames", labels.n_rows(), label_starts.last().copied().unwrap_or(0))?;
        Ok(Self { features, starts, labels, label_starts })
    }

    /// Clips.
    pub fn n_clips(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Frames of the longest of `which`.
    pub(super) fn longest(&self, which: &[u32]) -> usize {
        which.iter().map(|&clip| self.starts[clip as usize + 1] - self.starts[clip as usize]).max().unwrap_or(0)
    }

    /// Classes of the first `n` frames of a clip; none where it has no more labels.
    pub(super) fn truth(&self, clip: u32, n: usize) -> Vec<Vec<u32>> {
        let [first, end] = [self.label_starts[clip as usize], self.label_starts[clip as usize + 1]];
        let of = |frame: usize| if first + frame < end { self.labels.of(first + frame).to_vec() } else { Vec::new() };
        (0..n).map(of).collect()
    }

    /// Vectors of a clip.
    pub(super) fn rows(&self, clip: u32) -> &'a [f32] {
        let width = self.features.width();
        &self.features.values()[self.starts[clip as usize] * width..self.starts[clip as usize + 1] * width]
    }
}

impl Examples<'_> {
    /// Clips.
    pub fn n_clips(&self) -> usize {
        match self {
            Self::Clips(clips) => clips.features.n_rows(),
            Self::Frames(frames) => frames.n_clips(),
        }
    }

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        match self {
            Self::Clips(clips) => clips.features.width(),
            Self::Frames(frames) => frames.features.width(),
        }
    }

    /// One more than the largest class.
    pub fn n_classes(&self) -> usize {
        match self {
            Self::Clips(clips) => clips.labels.n_classes(),
            Self::Frames(frames) => frames.labels.n_classes(),
        }
    }

    /// Normalised rows [width, rows] of the clips `which`, and what they are.
    pub(super) fn batch(&self, which: &[u32], n_classes: usize) -> (DMatrix<f32>, Truth) {
        debug_assert!(self.n_classes() <= n_classes);
        let width = self.width();
        match self {
            Self::Clips(clips) => {
                let mut rows = DMatrix::zeros(width, which.len());
                for (mut row, &clip) in rows.column_iter_mut().zip(which) {
                    row.copy_from_slice(&clips.features.values()[clip as usize * width..][..width]);
                    normalise(row.as_mut_slice());
                }
                let labels = |clip: &u32| clips.labels.of(*clip as usize);
                let truth = match clips.labels {
                    Labels::One(_) => Truth::One(which.iter().map(|clip| labels(clip)[0]).collect()),
                    Labels::Several(_) => Truth::Several(which.iter().map(|clip| labels(clip).to_vec()).collect()),
                };
                (rows, truth)
            }
            Self::Frames(frames) => {
                let n = frames.longest(which);
                let mut rows = vec![0.0; which.len() * n * width];
                for (slot, &clip) in rows.chunks_exact_mut((n * width).max(1)).zip(which) {
                    let own = frames.rows(clip);
                    slot[..own.len()].copy_from_slice(own);
                    // Zeros stay zeros: their mean and variance are 0.
                    slot[..own.len()].chunks_exact_mut(width).for_each(normalise);
                }
                let truth = which.iter().flat_map(|&clip| frames.truth(clip, n)).collect();
                (DMatrix::from_vec(width, which.len() * n, rows), Truth::Several(truth))
            }
        }
    }
}
