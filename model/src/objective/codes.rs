//! Frozen random-projection codes (BEST-RQ, Chiu 2022, arXiv 2202.01855): labels for patches without a teacher.

use ajepa_ops::seed;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Faults;
use crate::ops::simd::{dot, kernel};
use crate::params::normal_within;

/// Code books that are drawn once from the run's seed and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CodesConfig {
    /// Codes in a book. Default 1024.
    pub n_codes: usize,
    /// Numbers in a code: what a patch is projected onto. Default 16.
    pub code_width: usize,
    /// Books, each with a projection of its own; the loss is the mean over them. Default 1.
    pub n_codebooks: usize,
}

impl Default for CodesConfig {
    fn default() -> Self {
        Self { n_codes: 1024, code_width: 16, n_codebooks: 1 }
    }
}

impl CodesConfig {
    pub(crate) fn check(&self, faults: &mut Faults) {
        faults.positive("target.code_width", self.code_width);
        faults.positive("target.n_codebooks", self.n_codebooks);
        if !(2..=1 << 16).contains(&self.n_codes) {
            faults.add("target.n_codes", format!("{} is out of range", self.n_codes), "2 to 65536");
        }
    }

    /// Draws the books for patches of `token_len` numbers.
    pub fn build(&self, token_len: usize, run_seed: u64) -> CodeBook {
        let book = |index: u64| {
            let rng = &mut seed::rng(seed::derive(&[run_seed, seed::hash_str("codes"), index]));
            let mut draw = |n: usize| (0..n).map(|_| normal_within(rng, f64::INFINITY) as f32).collect::<Vec<f32>>();
            let projection = draw(self.code_width * token_len);
            let mut codes = draw(self.n_codes * self.code_width);
            codes.chunks_exact_mut(self.code_width).for_each(to_unit_length);
            Book { projection, codes }
        };
        CodeBook { code_width: self.code_width, token_len, books: (0..self.n_codebooks as u64).map(book).collect() }
    }
}

/// Projections and codes, ready to label patches.
#[derive(Debug, Clone)]
pub struct CodeBook {
    code_width: usize,
    token_len: usize,
    books: Vec<Book>,
}

#[derive(Debug, Clone)]
struct Book {
    /// [code width, numbers in a patch].
    projection: Vec<f32>,
    /// [codes, code width], each of unit length.
    codes: Vec<f32>,
}

impl CodeBook {
    /// Codes of patches: of the projections onto the unit sphere, the nearest.
    ///
    /// A picture is brought to mean 0 and variance 1 first, or its level would decide about most codes.
    ///
    /// # Shapes
    /// `patches` [clips * tokens, numbers in a patch] of `n_tokens` a clip -> [clips * tokens, books].
    pub fn label(&self, patches: &[f32], n_tokens: usize) -> Vec<i32> {
        let clips = patches.par_chunks(n_tokens * self.token_len);
        clips.flat_map_iter(|clip| self.label_clip(clip)).collect()
    }

    fn label_clip(&self, clip: &[f32]) -> Vec<i32> {
        let n = clip.len() as f64;
        let mean = clip.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = clip.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        let (mean, scale) = (mean as f32, (1.0 / (variance + 1e-6).sqrt()) as f32);
        let mut labels = Vec::with_capacity(clip.len() / self.token_len * self.books.len());
        let mut patch = vec![0.0; self.token_len];
        for token in clip.chunks_exact(self.token_len) {
            patch.iter_mut().zip(token).for_each(|(patch, &x)| *patch = (x - mean) * scale);
            labels.extend(self.books.iter().map(|book| nearest(book, &patch, self.code_width)));
        }
        labels
    }
}

kernel! {
    fn nearest<'a>(book: &'a Book, patch: &'a [f32], code_width: usize) -> i32 {
        let mut projected = Vec::with_capacity(code_width);
        for row in book.projection.chunks_exact(patch.len()) {
            projected.push(dot(row, patch));
        }
        // On the sphere the nearest code is the one of the largest product; the projection's length does not matter.
        let (mut best, mut largest) = (0, f32::NEG_INFINITY);
        for (index, code) in book.codes.chunks_exact(code_width).enumerate() {
            let product = dot(code, &projected);
            if product > largest {
                (best, largest) = (index as i32, product);
            }
        }
        best
    }
}

fn to_unit_length(code: &mut [f32]) {
    let length = code.iter().map(|x| x * x).sum::<f32>().sqrt();
    for x in code {
        *x /= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_the_code_it_points_to() {
        let config = CodesConfig { n_codes: 8, code_width: 4, n_codebooks: 2 };
        let book = config.build(6, 3);
        let patches: Vec<f32> = (0..2 * 5 * 6).map(|i| ((i * i) % 17) as f32).collect();
        let labels = book.label(&patches, 5);
        assert_eq!(labels.len(), 2 * 5 * 2);
        assert!(labels.iter().all(|label| (0..8).contains(label)));
        // Level and gain of a clip change nothing.
        let louder: Vec<f32> = patches.iter().map(|x| 3.0 * x + 11.0).collect();
        assert_eq!(labels, book.label(&louder, 5));
        assert_ne!(labels, config.build(6, 4).label(&patches, 5));
    }
}
