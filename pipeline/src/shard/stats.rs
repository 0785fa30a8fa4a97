//! Mean and variance per mel bin, exactly the same however the run was cut into processes.

use ajepa_store::{words_from_hex, words_to_hex};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float16Type, Float32Type, UInt32Type};
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::TensorType;

/// Exponent of a single float.
const EXPONENT: u32 = 0x7f80_0000;

/// Mean and variance of each bin (last axis) over frames (first axis) of many clips, in `f64`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// Frames counted: those before padding, with finite values only.
    pub n_frames: u64,
    /// Frames left out because a value is not finite.
    pub n_non_finite: u64,
    /// Mean of each bin; bits of the doubles in hex, so that reading back is exact.
    #[serde(serialize_with = "doubles_to_hex", deserialize_with = "doubles_from_hex")]
    pub mean: Vec<f64>,
    /// Sum of squared differences from the mean, of each bin.
    #[serde(serialize_with = "doubles_to_hex", deserialize_with = "doubles_from_hex")]
    pub m2: Vec<f64>,
}

impl Moments {
    /// Both sets of frames together (Chan, Golub, `LeVeque` 1979). Not associative in the last bit: merge in the order of units.
    pub fn merge(&mut self, other: &Self) {
        self.n_non_finite += other.n_non_finite;
        if other.n_frames == 0 || other.mean.len() != other.m2.len() {
            return;
        }
        if self.n_frames == 0 || self.mean.len() != other.mean.len() {
            let n_non_finite = self.n_non_finite;
            *self = Self { n_non_finite, ..other.clone() };
            return;
        }
        let (n_a, n_b) = (self.n_frames as f64, other.n_frames as f64);
        let n = n_a + n_b;
        for (i, (mean, m2)) in self.mean.iter_mut().zip(&mut self.m2).enumerate() {
            let delta = other.mean[i] - *mean;
            *mean += delta * n_b / n;
            *m2 += other.m2[i] + delta * delta * n_a * n_b / n;
        }
        self.n_frames += other.n_frames;
    }

    /// Population variance of each bin.
    pub fn variance(&self) -> Vec<f64> {
        self.m2.iter().map(|m2| m2 / self.n_frames.max(1) as f64).collect()
    }
}

/// Collects the [`Moments`] of one tensor column over the rows of a unit.
pub struct MomentsBuilder {
    column: String,
    n_bins: usize,
    n_frames_in_row: usize,
    /// Whether a row is stored bin by bin; it is turned before it is counted.
    bins_first: bool,
    sum: Vec<f64>,
    sum_sq: Vec<f64>,
    n_frames: u64,
    n_non_finite: u64,
    row: Vec<f32>,
    turned: Vec<f32>,
}

impl MomentsBuilder {
    /// For a picture one of whose two axes is named `frames`; `None` for any other tensor.
    pub fn new(column: &str, tensor: &TensorType) -> Option<Self> {
        let [outer, inner] = tensor.shape[..] else { return None };
        let at = tensor.axes.iter().position(|axis| axis == "frames")?;
        let (n_frames_in_row, n_bins) = if at == 0 { (outer, inner) } else { (inner, outer) };
        let row = vec![0.0; outer * inner];
        let zeros = vec![0.0; n_bins];
        Some(Self {
            column: column.to_owned(),
            n_bins,
            n_frames_in_row,
            bins_first: at == 1,
            turned: if at == 1 { row.clone() } else { Vec::new() },
            sum: zeros.clone(),
            sum_sq: zeros,
            n_frames: 0,
            n_non_finite: 0,
            row,
        })
    }

    /// The column it counts.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Counts the valid frames of every row: `n_frames` of them (`n_frames_x` for `mel_x`), all where that is absent or null.
    pub fn push(&mut self, batch: &RecordBatch) {
        let Some(list) = batch.column_by_name(&self.column).and_then(|c| c.as_fixed_size_list_opt()) else { return };
        let width = self.row.len();
        let suffix = self.column.strip_prefix("mel").unwrap_or_default();
        let valid = batch.column_by_name(&format!("n_frames{suffix}"));
        let valid = valid.and_then(|column| column.as_primitive_opt::<UInt32Type>());
        let values = list.values();
        for i in 0..list.len() {
            let at = (list.value_offset(i)) as usize;
            if let Some(halves) = values.as_primitive_opt::<Float16Type>() {
                let halves: &[f16] = &halves.values()[at..at + width];
                halves.convert_to_f32_slice(&mut self.row);
            } else if let Some(singles) = values.as_primitive_opt::<Float32Type>() {
                self.row.copy_from_slice(&singles.values()[at..at + width]);
            }
            let n_frames = valid.filter(|valid| valid.is_valid(i)).map_or(usize::MAX, |valid| valid.value(i) as usize);
            self.count_row(n_frames);
        }
    }

    fn count_row(&mut self, n_frames: usize) {
        if self.bins_first {
            for (bin, values) in self.row.chunks_exact(self.n_frames_in_row.max(1)).enumerate() {
                for (frame, value) in values.iter().enumerate() {
                    self.turned[frame * self.n_bins + bin] = *value;
                }
            }
        }
        let row = if self.bins_first { &self.turned } else { &self.row };
        for frame in row.chunks_exact(self.n_bins.max(1)).take(n_frames) {
            // All bits of the exponent are set in infinities and NaNs only; without a branch, so that it runs in lanes.
            let n_bad = frame.iter().map(|x| u32::from(x.to_bits() & EXPONENT == EXPONENT)).sum::<u32>();
            if n_bad > 0 {
                self.n_non_finite += 1;
                continue;
            }
            self.n_frames += 1;
            for ((sum, sum_sq), x) in self.sum.iter_mut().zip(&mut self.sum_sq).zip(frame) {
                let x = f64::from(*x);
                *sum += x;
                *sum_sq += x * x;
            }
        }
    }

    /// The moments of what was counted.
    pub fn finish(self) -> Moments {
        let Self { n_frames, n_non_finite, .. } = self;
        if n_frames == 0 {
            return Moments { n_non_finite, ..Moments::default() };
        }
        let n = n_frames as f64;
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / n).collect();
        let m2 = self.sum_sq.iter().zip(&self.sum).map(|(sum_sq, sum)| (sum_sq - sum * sum / n).max(0.0)).collect();
        Moments { n_frames, n_non_finite, mean, m2 }
    }
}

fn doubles_to_hex<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
    let words: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
    to.serialize_str(&words_to_hex(&words))
}

fn doubles_from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let hex = String::deserialize(from)?;
    let words = words_from_hex(&hex).ok_or_else(|| serde::de::Error::custom("doubles must be 16 hex digits each"))?;
    Ok(words.into_iter().map(f64::from_bits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_the_axes_count_the_same() {
        let tensor = |shape: [usize; 2], axes: [&str; 2]| TensorType {
            dtype: crate::schema::Dtype::F32,
            shape: shape.to_vec(),
            axes: axes.map(str::to_owned).to_vec(),
            front_end: serde_json::Value::Null,
        };
        let mut by_frame = MomentsBuilder::new("mel", &tensor([3, 2], ["frames", "mels"])).unwrap();
        by_frame.row = vec![1.0, 10.0, 2.0, 20.0, 3.0, f32::NAN];
        by_frame.count_row(3);
        let mut by_bin = MomentsBuilder::new("mel", &tensor([2, 3], ["mels", "frames"])).unwrap();
        by_bin.row = vec![1.0, 2.0, 3.0, 10.0, 20.0, f32::NAN];
        by_bin.count_row(3);
        let moments = by_bin.finish();
        assert_eq!(moments, by_frame.finish());
        assert_eq!((moments.n_frames, moments.n_non_finite), (2, 1));
        assert_eq!((moments.mean.clone(), moments.variance()), (vec![1.5, 15.0], vec![0.25, 25.0]));
        assert!(MomentsBuilder::new("tokens", &tensor([3, 2], ["tokens", "values"])).is_none());
    }

    #[test]
    fn merging_gives_the_moments_of_the_whole() {
        let of = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let m2 = values.iter().map(|x| (x - mean).powi(2)).sum();
            Moments { n_frames: values.len() as u64, n_non_finite: 1, mean: vec![mean], m2: vec![m2] }
        };
        let mut both = of(&[1.0, 2.0, 6.0]);
        both.merge(&Moments::default());
        both.merge(&of(&[-4.0, 5.0]));
        let whole = of(&[1.0, 2.0, 6.0, -4.0, 5.0]);
        assert_eq!((both.n_frames, both.n_non_finite), (5, 2));
        assert!((both.mean[0] - 2.0).abs() < 1e-12 && (both.m2[0] - whole.m2[0]).abs() < 1e-12);
        assert!((both.variance()[0] - 62.0 / 5.0).abs() < 1e-12);
        let json = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Moments>(&json).unwrap(), both);
    }
}
