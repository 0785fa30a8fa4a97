//! What makes one vector of a clip's several: attention over its frames, or a mix of what an encoder's layers say of it.

use nalgebra::{DMatrix, DMatrixView, DVector};

use super::super::{Features, Labels, ProbeError};
use super::{EPS, same, softmax};

/// How much farther a layer's share moves than the number that is learnt for it: a step of Adam is about a learning rate, and the some
/// hundred steps of a probe could not tell one layer from twelve without it.
const PACE: f32 = 10.0;

/// Clips of several vectors each, and what each clip is.
///
/// Only vectors that are there are held: what fills up a clip for an encoder has no place here, and cannot be attended to.
#[derive(Debug, Clone, Copy)]
pub struct Sets<'a> {
    /// [vectors of all clips, width].
    pub features: Features<'a>,
    /// Where each clip's vectors begin, and where the last one's end.
    pub starts: &'a [usize],
    /// One entry a clip.
    pub labels: &'a Labels,
}

impl<'a> Sets<'a> {
    /// Checks that every clip has a vector and an entry.
    ///
    /// # Errors
    /// [`ProbeError::Shape`], [`ProbeError::Empty`].
    pub fn new(features: Features<'a>, starts: &'a [usize], labels: &'a Labels) -> Result<Self, ProbeError> {
        same("vectors of clips", features.n_rows(), starts.last().copied().unwrap_or(0))?;
        same("labels", starts.len().saturating_sub(1), labels.n_rows())?;
        if starts.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(ProbeError::Empty { what: "vectors of a clip" });
        }
        Ok(Self { features, starts, labels })
    }

    /// Clips.
    pub fn n_clips(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Vectors of the clip that has most.
    pub fn longest(&self) -> usize {
        self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    /// Vectors of a clip, end to end.
    fn vectors(&self, clip: u32) -> &'a [f32] {
        let [first, end] = [self.starts[clip as usize], self.starts[clip as usize + 1]];
        let width = self.features.width();
        &self.features.values()[first * width..end * width]
    }

    /// The same as columns, [width, vectors].
    fn columns(&self, clip: u32) -> DMatrixView<'a, f32> {
        let (vectors, width) = (self.vectors(clip), self.features.width());
        DMatrixView::from_slice(vectors, width, vectors.len() / width)
    }
}

/// What makes one vector of a clip's several: shares of them that add up to 1, and are learnt with the head behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    kind: Kind,
    /// All that is learnt.
    pub(super) numbers: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// A query for each head, [width, heads] column-major.
    Attention { width: usize, n_heads: usize },
    /// A number for each layer.
    Layers,
}

/// What a step keeps of a clip for its gradient.
pub(super) struct Kept {
    clip: u32,
    norms: Vec<Norm>,
    /// [vectors, heads], each column of sum 1.
    shares: DMatrix<f32>,
}

/// What brings a vector to mean 0 and variance 1: `(x - mean) * scale`. Products with such vectors are made of products with the vectors
/// as they are, of which no copy is needed so.
struct Norm {
    mean: f32,
    scale: f32,
}

/// Sums that are taken side by side, fixed, so that the order of additions is.
const LANES: usize = 8;

impl Norm {
    fn of(vector: &[f32]) -> Self {
        let n = vector.len() as f64;
        let mean = summed(vector, |x| x) / n;
        let variance = summed(vector, |x| (x - mean) * (x - mean)) / n;
        Self { mean: mean as f32, scale: (1.0 / (variance + EPS).sqrt()) as f32 }
    }
}

fn summed(vector: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (whole, rest) = vector.as_chunks::<LANES>();
    for numbers in whole {
        sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += of(f64::from(*x)));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|x| of(f64::from(*x))).sum::<f64>()
}

impl Pool {
    /// Learnt queries that attend to the vectors of a clip: head h takes its part of the vectors' numbers as
    /// `sum over t of softmax over t (query_h . norm(x_t) / sqrt(width)) x_t`. Queries begin at 0, so that the mean is where learning
    /// begins.
    ///
    /// # Panics
    /// When there are no heads, or more than numbers in a vector.
    pub fn attention(width: usize, n_heads: usize) -> Self {
        assert!((1..=width).contains(&n_heads), "{n_heads} heads of vectors {width} wide");
        Self { kind: Kind::Attention { width, n_heads }, numbers: vec![0.0; width * n_heads] }
    }

    /// A learnt mix of the layers of an encoder, `sum over l of softmax over l (10 w_l) norm(x_l)` (after SUPERB, Yang 2021,
    /// arXiv 2105.01051). Every layer's vector is brought to mean 0 and variance 1 first: vectors grow from block to block, and shares
    /// are to say how much a layer knows, not how short it is. Layers begin with equal shares.
    pub fn layers(n_layers: usize) -> Self {
        Self { kind: Kind::Layers, numbers: vec![0.0; n_layers] }
    }

    /// With other numbers than it begins with: queries one after the other, or a number a layer.
    ///
    /// # Panics
    /// When there are not as many.
    #[must_use]
    pub fn with(mut self, numbers: &[f32]) -> Self {
        self.numbers.copy_from_slice(numbers);
        self
    }

    /// All that is learnt: queries one after the other, or a number a layer.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// Shares of the layers; `None` of attention, whose shares differ from clip to clip.
    pub fn shares(&self) -> Option<Vec<f32>> {
        (self.kind == Kind::Layers).then(|| {
            let mut shares: Vec<f32> = self.numbers.iter().map(|x| PACE * x).collect();
            softmax(&mut shares);
            shares
        })
    }

    /// Checks that it fits the clips.
    pub(super) fn check(&self, sets: &Sets<'_>) -> Result<(), ProbeError> {
        match self.kind {
            Kind::Attention { width, .. } => same("width of the features", width, sets.features.width()),
            Kind::Layers => {
                let mut lens = sets.starts.windows(2).map(|pair| pair[1] - pair[0]);
                lens.try_for_each(|len| same("layers of a clip", self.numbers.len(), len))
            }
        }
    }

    /// One vector for each of `which`, [width, clips], and what the gradient needs.
    pub(super) fn pooled(&self, sets: &Sets<'_>, which: &[u32]) -> (DMatrix<f32>, Vec<Kept>) {
        let mut rows = DMatrix::zeros(sets.features.width(), which.len());
        let kept = which.iter().zip(rows.column_iter_mut()).map(|(&clip, mut row)| {
            let own = sets.columns(clip);
            let norms: Vec<Norm> = sets.vectors(clip).chunks_exact(own.nrows()).map(Norm::of).collect();
            let shares = self.shares_of(&own, &norms);
            for (head, share) in shares.column_iter().enumerate() {
                let [first, n] = self.part(head, own.nrows());
                let share = share.into_owned();
                let (share, shift) = if self.kind == Kind::Layers { scaled(&share, &norms) } else { (share, 0.0) };
                let mut part = row.rows_mut(first, n);
                part.gemv(1.0, &own.rows(first, n), &share, 0.0);
                part.add_scalar_mut(-shift);
            }
            Kept { clip, norms, shares }
        });
        let kept = kept.collect();
        (rows, kept)
    }

    /// The gradient where `slope` [width, clips] is the loss's slope along the vectors that were made.
    pub(super) fn gradient(&self, sets: &Sets<'_>, kept: &[Kept], slope: &DMatrix<f32>) -> Vec<f32> {
        let mut gradient = DMatrix::zeros(self.numbers.len() / self.n_heads(), self.n_heads());
        for (Kept { clip, norms, shares }, slope) in kept.iter().zip(slope.column_iter()) {
            let own = sets.columns(*clip);
            for (head, share) in shares.column_iter().enumerate() {
                let [first, n] = self.part(head, own.nrows());
                let slope = slope.rows(first, n);
                let mut bent = own.rows(first, n).tr_mul(&slope);
                if self.kind == Kind::Layers {
                    let sum = slope.sum();
                    bent.iter_mut().zip(norms).for_each(|(x, norm)| *x = norm.scale * (*x - norm.mean * sum));
                }
                let mean = bent.dot(&share);
                bent.iter_mut().zip(share.iter()).for_each(|(x, share)| *x = share * (*x - mean));
                let mut of_head = gradient.column_mut(head);
                match self.kind {
                    Kind::Attention { width, .. } => {
                        let root = (width as f32).sqrt();
                        let (bent, shift) = scaled(&bent, norms);
                        of_head.gemv(1.0 / root, &own, &bent, 1.0);
                        of_head.add_scalar_mut(-shift / root);
                    }
                    Kind::Layers => of_head.axpy(PACE, &bent, 1.0),
                }
            }
        }
        gradient.as_slice().to_vec()
    }

    /// Shares of a clip's vectors, [vectors, heads].
    fn shares_of(&self, own: &DMatrixView<'_, f32>, norms: &[Norm]) -> DMatrix<f32> {
        let mut scores = match self.kind {
            Kind::Attention { width, n_heads } => {
                let queries = DMatrixView::from_slice(&self.numbers, width, n_heads);
                let mut scores = own.tr_mul(&queries) / (width as f32).sqrt();
                for (mut scores, query) in scores.column_iter_mut().zip(queries.column_iter()) {
                    let sum = query.sum() / (width as f32).sqrt();
                    scores.iter_mut().zip(norms).for_each(|(x, norm)| *x = norm.scale * (*x - norm.mean * sum));
                }
                scores
            }
            Kind::Layers => DMatrix::from_column_slice(self.numbers.len(), 1, &self.numbers) * PACE,
        };
        let n = scores.nrows();
        scores.as_mut_slice().chunks_exact_mut(n).for_each(softmax);
        scores
    }

    fn n_heads(&self) -> usize {
        match self.kind {
            Kind::Attention { n_heads, .. } => n_heads,
            Kind::Layers => 1,
        }
    }

    /// First and count of the numbers of a vector that a head takes.
    fn part(&self, head: usize, width: usize) -> [usize; 2] {
        let first = head * width / self.n_heads();
        [first, (head + 1) * width / self.n_heads() - first]
    }
}

/// Factors of vectors as they are, and what is to be taken off then, for these factors of the normalised ones.
fn scaled(factors: &DVector<f32>, norms: &[Norm]) -> (DVector<f32>, f32) {
    let scaled = DVector::from_iterator(norms.len(), factors.iter().zip(norms).map(|(x, norm)| x * norm.scale));
    let shift = scaled.iter().zip(norms).map(|(x, norm)| x * norm.mean).sum();
    (scaled, shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets<'a>(x: &'a [f32], starts: &'a [usize], labels: &'a Labels) -> Sets<'a> {
        Sets::new(Features::new(4, x).unwrap(), starts, labels).unwrap()
    }

    #[test]
    fn attention_begins_as_the_mean_and_looks_where_its_query_points() {
        let x = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 3.0, 0.0, 5.0, 5.0, 5.0, 9.0];
        let labels = Labels::One(vec![0, 1]);
        let sets = sets(&x, &[0, 2, 3], &labels);
        let (mean, _) = Pool::attention(4, 2).pooled(&sets, &[0, 1]);
        assert_eq!(mean.as_slice(), [0.5, 0.5, 1.5, 0.5, 5.0, 5.0, 5.0, 9.0]);
        // The first head looks at what has a large third number, the second at what has a small one.
        let pool = Pool::attention(4, 2).with(&[0.0, 0.0, 90.0, 0.0, 0.0, 0.0, -90.0, 0.0]);
        let (looked, _) = pool.pooled(&sets, &[0]);
        let expected = [0.0, 1.0, 0.0, 1.0];
        assert!(looked.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{looked}");
    }

    #[test]
    fn layers_are_of_equal_length_before_they_are_mixed() {
        let x = [1.0, -1.0, 1.0, -1.0, 900.0, 900.0, -900.0, -900.0];
        let labels = Labels::One(vec![0]);
        let sets = sets(&x, &[0, 2], &labels);
        let (mixed, _) = Pool::layers(2).pooled(&sets, &[0]);
        assert!(mixed.iter().zip([1.0, 0.0, 0.0, -1.0]).all(|(a, b)| (a - b).abs() < 1e-4), "{mixed}");
        let pool = Pool::layers(2).with(&[3.0_f32.ln() / PACE, 0.0]);
        let shares = pool.shares().unwrap();
        assert!((shares[0] - 0.75).abs() < 1e-6 && (shares[1] - 0.25).abs() < 1e-6);
        assert!(pool.check(&sets).is_ok() && Pool::layers(3).check(&sets).is_err());
        assert!(Sets::new(Features::new(4, &x).unwrap(), &[0, 2, 2], &Labels::One(vec![0, 1])).is_err());
    }
}
