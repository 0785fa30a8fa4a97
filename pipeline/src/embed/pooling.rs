//! From tokens to rows: the mean over frequency is a vector per frame, the mean over the frames that hold sound one per window.

use ajepa_ops::patch::{Patchify, TimeAxis};

/// Where the tokens of a picture lie in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    n_times: usize,
    n_bands: usize,
    time_axis: TimeAxis,
    width: usize,
}

impl Pooling {
    /// For tokens of `patchify`, `width` numbers each.
    pub fn new(patchify: &Patchify, width: usize) -> Self {
        let (grid, time_axis) = (patchify.grid(), patchify.time_axis());
        let [n_times, n_bands] = time_axis.time_mel([grid.rows, grid.cols]);
        Self { n_times, n_bands, time_axis, width }
    }

    /// Frames of tokens in a window.
    pub fn n_times(&self) -> usize {
        self.n_times
    }

    /// How many frames of a window hold sound, when `share` of the window does: X-ARES' ceil(valid / 10 s * 16), at least 1.
    pub fn n_valid(&self, share: f64) -> usize {
        // A clip that fills its window exactly must not be a frame longer by what a division rounds.
        let n = (share * self.n_times as f64 - 1e-6).ceil();
        if n.is_finite() { (n.max(1.0) as usize).min(self.n_times) } else { self.n_times }
    }

    /// The mean over frequency.
    ///
    /// # Shapes
    /// `tokens` [tokens, width], row-major over the grid -> [frames, width].
    pub fn frames(&self, tokens: &[f32]) -> Vec<f32> {
        let mut frames = vec![0.0; self.n_times * self.width];
        for (token, values) in tokens.chunks_exact(self.width).enumerate() {
            let time = match self.time_axis {
                TimeAxis::Rows => token / self.n_bands,
                TimeAxis::Cols => token % self.n_times,
            };
            let frame = &mut frames[time * self.width..(time + 1) * self.width];
            frame.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        let share = 1.0 / self.n_bands as f32;
        for sum in &mut frames {
            *sum *= share;
        }
        frames
    }
}

/// The mean of rows `width` wide.
pub fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; width];
    for row in rows.chunks_exact(width) {
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let n = (rows.len() / width).max(1) as f64;
    sum.into_iter().map(|sum| (sum / n) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ajepa_ops::patch::PatchifyConfig;

    fn pooling(picture: [usize; 2], time_axis: TimeAxis) -> Pooling {
        Pooling::new(&PatchifyConfig::default().build(picture, time_axis).unwrap(), 1)
    }

    #[test]
    fn frequency_is_averaged_on_whichever_axis_it_lies() {
        // Tokens in reading order; 3 frames of 2 bands, and the same turned.
        assert_eq!(pooling([48, 32], TimeAxis::Rows).frames(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), [0.5, 2.5, 4.5]);
        assert_eq!(pooling([32, 48], TimeAxis::Cols).frames(&[0.0, 2.0, 4.0, 1.0, 3.0, 5.0]), [0.5, 2.5, 4.5]);
        assert_eq!(mean(&[1.0, 10.0, 3.0, 30.0], 2), [2.0, 20.0]);
    }

    #[test]
    fn frames_are_kept_as_xares_counts_them() {
        let of_ten_s = pooling([128, 256], TimeAxis::Cols);
        let kept =
            [0.0, 0.1, 0.624, 0.625, 0.626, 1.0, 9.9, 10.0, 12.0].map(|valid_s| of_ten_s.n_valid(valid_s / 10.0));
        assert_eq!(kept, [1, 1, 1, 1, 2, 2, 16, 16, 16]);
        assert_eq!(of_ten_s.n_valid(f64::NAN), 16);
    }
}
