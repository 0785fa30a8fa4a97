//! What a head learns from: a vector a clip, a vector a frame, or several vectors a clip.

use nalgebra::DMatrix;

use super::super::{Features, Labelled, Labels, ProbeError};
use super::truth::Truth;
use super::{Sets, normalise, same};

/// What a head learns from, or is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Examples<'a> {
    /// A vector a clip.
    Clips(Labelled<'a>),
    /// A vector a frame.
    Frames(Frames<'a>),
    /// Several vectors a clip, of which a [`Pool`](super::Pool) makes one.
    Sets(Sets<'a>),
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

    /// Normalised frames [width, frames] of the clips `which`, each filled up to the longest, and what they are.
    pub(super) fn batch(&self, which: &[u32]) -> (DMatrix<f32>, Truth) {
        let (width, n) = (self.features.width(), self.longest(which));
        let mut rows = vec![0.0; which.len() * n * width];
        for (slot, &clip) in rows.chunks_exact_mut((n * width).max(1)).zip(which) {
            let own = self.rows(clip);
            slot[..own.len()].copy_from_slice(own);
            // Zeros stay zeros: their mean and variance are 0.
            for frame in slot[..own.len()].chunks_exact_mut(width) {
                normalise(frame);
            }
        }
        let truth = which.iter().flat_map(|&clip| self.truth(clip, n)).collect();
        (DMatrix::from_vec(width, which.len() * n, rows), Truth::Several(truth))
    }

    /// Vectors of a clip.
    fn rows(&self, clip: u32) -> &'a [f32] {
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
            Self::Sets(sets) => sets.n_clips(),
        }
    }

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        match self {
            Self::Clips(clips) => clips.features.width(),
            Self::Frames(frames) => frames.features.width(),
            Self::Sets(sets) => sets.features.width(),
        }
    }

    /// What clips are; `None` where frames are labelled each for itself.
    pub fn labels(&self) -> Option<&Labels> {
        match self {
            Self::Clips(Labelled { labels, .. }) | Self::Sets(Sets { labels, .. }) => Some(labels),
            Self::Frames(_) => None,
        }
    }

    /// One more than the largest class.
    pub fn n_classes(&self) -> usize {
        match self {
            Self::Clips(clips) => clips.labels.n_classes(),
            Self::Frames(frames) => frames.labels.n_classes(),
            Self::Sets(sets) => sets.labels.n_classes(),
        }
    }
}

/// Normalised vectors [width, clips] of the clips `which`.
pub(super) fn vectors(features: &Features<'_>, which: &[u32]) -> DMatrix<f32> {
    let width = features.width();
    let mut rows = DMatrix::zeros(width, which.len());
    for (mut row, &clip) in rows.column_iter_mut().zip(which) {
        row.copy_from_slice(&features.values()[clip as usize * width..][..width]);
        normalise(row.as_mut_slice());
    }
    rows
}
