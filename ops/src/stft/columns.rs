//! A run of frames, transposed: the first sample of every frame, then the second of every frame, and so on.
//!
//! Frames overlap, but the clip is transposed only once: it is cut every `hop_len` samples, and piece c becomes column c.
//! Sample i of frame t is then row `i % hop_len`, column `t + i / hop_len`: neighbouring frames stay neighbours, and a
//! vector of them is one load.

use super::framing::Framing;
use super::taps::Tilt;
use crate::simd::{Lanes, MAX_LANES, transpose4};

/// Frames of a clip that is `samples`, then zeros up to `extent_len`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub samples: &'a [f32],
    pub extent_len: usize,
    pub first_frame: usize,
    /// At most as many as there are lanes; the lanes left over are silent.
    pub n_frames: usize,
    /// Of the whole clip.
    pub tilt: Tilt,
}

/// The pieces of the clip under one block of frames, as columns.
#[derive(Clone)]
pub(super) struct Columns {
    window_len: usize,
    /// Rows: samples of a piece that frames see.
    len: usize,
    /// Pieces that a frame reaches into beyond its own.
    reach: usize,
    memory: Vec<f32>,
    /// Four pieces that do not lie in the clip as they are.
    scratch: Vec<f32>,
    /// Of each piece: as much as the last piece of a frame gives, and all of it.
    sums: Vec<[Sums; 2]>,
}

/// Sum and sum of squares.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    x: f64,
    squares: f64,
}

impl Columns {
    pub fn new(framing: &Framing) -> Self {
        let reach = (framing.window_len - 1) / framing.hop_len;
        let len = framing.hop_len.min(framing.window_len);
        let n_columns = (MAX_LANES + reach).next_multiple_of(4);
        Self {
            window_len: framing.window_len,
            len,
            reach,
            memory: vec![0.0; n_columns * len],
            scratch: vec![0.0; 4 * len],
            sums: vec![[Sums::default(); 2]; n_columns],
        }
    }

    #[inline(always)]
    fn stride<V: Lanes>(&self) -> usize {
        (V::N + self.reach).next_multiple_of(4)
    }

    /// Lays out the samples of `block`.
    #[inline(always)]
    pub fn fill<V: Lanes>(&mut self, framing: &Framing, block: Block<'_>) {
        let (stride, len) = (self.stride::<V>(), self.len);
        let n_columns = block.n_frames + self.reach;
        let head_len = self.window_len - self.reach * len;
        for first in (0..stride).step_by(4) {
            let mut parts = self.scratch.chunks_exact_mut(len);
            let pieces: [&[f32]; 4] = std::array::from_fn(|i| {
                let scratch = parts.next().unwrap_or_default();
                if first + i < n_columns {
                    framing.frame(block.samples, block.extent_len, block.first_frame + first + i, scratch)
                } else {
                    scratch.fill(0.0);
                    scratch
                }
            });
            for (sums, piece) in self.sums[first..n_columns.max(first)].iter_mut().zip(pieces) {
                let (head, rest) = piece.split_at(head_len);
                let (head, rest) = (Sums::of::<V>(head), Sums::of::<V>(rest));
                *sums = [head, Sums { x: head.x + rest.x, squares: head.squares + rest.squares }];
            }
            interleave(pieces, &mut self.memory[..stride * len], stride, first);
        }
    }

    /// Mean and energy (sum of squares) of the frame in each lane.
    #[inline(always)]
    pub fn mean_and_energy(&self, lane: usize) -> (f32, f32) {
        let last = self.sums[lane + self.reach][0];
        let (mut x, mut squares) = (0.0, 0.0);
        for [_, piece] in &self.sums[lane..lane + self.reach] {
            x += piece.x;
            squares += piece.squares;
        }
        (((x + last.x) / self.window_len as f64) as f32, (squares + last.squares) as f32)
    }

    /// The frames' samples by ascending position, cut where a frame passes from one piece to the next.
    #[inline(always)]
    pub fn runs<V: Lanes>(&self) -> impl Iterator<Item = impl ExactSizeIterator<Item = V>> {
        let (stride, len) = (self.stride::<V>(), self.len);
        (0..=self.reach).map(move |piece| {
            let n = len.min(self.window_len - piece * len);
            self.memory[..n * stride].chunks_exact(stride).map(move |row| V::load(&row[piece..]))
        })
    }

    /// The frames' samples at position `i`.
    #[inline(always)]
    pub fn at<V: Lanes>(&self, i: usize) -> V {
        V::load(&self.memory[i % self.len * self.stride::<V>() + i / self.len..])
    }
}

impl Sums {
    /// Sixteen running sums of at most 64 terms each, collected in f64, however many lanes there are.
    #[inline(always)]
    fn of<V: Lanes>(samples: &[f32]) -> Self {
        let mut total = Self::default();
        let mut add = |x: f32, squares: f32| {
            total.x += f64::from(x);
            total.squares += f64::from(squares);
        };
        for part in samples.chunks(1024) {
            let mut sums = [[V::splat(0.0); 2]; MAX_LANES];
            let (sixteens, rest) = part.as_chunks::<MAX_LANES>();
            for sixteen in sixteens {
                for i in 0..MAX_LANES / V::N {
                    let x = V::load(&sixteen[i * V::N..]);
                    sums[i] = [sums[i][0] + x, sums[i][1] + x * x];
                }
            }
            for [x, squares] in &sums[..MAX_LANES / V::N] {
                let mut lanes = [[0.0; MAX_LANES]; 2];
                x.store(&mut lanes[0]);
                squares.store(&mut lanes[1]);
                (0..V::N).for_each(|lane| add(lanes[0][lane], lanes[1][lane]));
            }
            for &x in rest {
                add(x, x * x);
            }
        }
        total
    }
}

/// Writes four pieces as columns `first` to `first + 3` of rows that are `stride` long.
#[inline(always)]
fn interleave([a, b, c, d]: [&[f32]; 4], memory: &mut [f32], stride: usize, first: usize) {
    let (fours, rest) = (a.as_chunks::<4>().0, a.len() / 4 * 4);
    let (head, tail) = memory.split_at_mut(rest * stride);
    let pieces = fours.iter().zip(b.as_chunks::<4>().0).zip(c.as_chunks::<4>().0).zip(d.as_chunks::<4>().0);
    for (rows, (((a, b), c), d)) in head.chunks_exact_mut(4 * stride).zip(pieces) {
        for (row, cells) in rows.chunks_exact_mut(stride).zip(transpose4([*a, *b, *c, *d])) {
            row[first..first + 4].copy_from_slice(&cells);
        }
    }
    for (i, row) in (rest..a.len()).zip(tail.chunks_exact_mut(stride)) {
        row[first..first + 4].copy_from_slice(&[a[i], b[i], c[i], d[i]]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing::Edges;
    use super::*;
    use crate::simd::{Instructions, Kernel};

    /// Every sample of every frame, and its mean, by way of the columns.
    struct Check<'a>(&'a Framing, Block<'a>);

    impl Kernel for Check<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes>(self) {
            let Self(framing, block) = self;
            let block = Block { n_frames: block.n_frames.min(V::N), ..block };
            let mut columns = Columns::new(framing);
            columns.fill::<V>(framing, block);
            let rows: Vec<V> = columns.runs().flatten().collect();
            assert_eq!(rows.len(), framing.window_len);
            for lane in 0..block.n_frames {
                let mut scratch = vec![0.0; framing.window_len];
                let frame = framing.frame(block.samples, block.extent_len, block.first_frame + lane, &mut scratch);
                let number = |row: &V| {
                    let mut lanes = [0.0; MAX_LANES];
                    row.store(&mut lanes);
                    lanes[lane]
                };
                assert!(rows.iter().map(number).eq(frame.iter().copied()), "{framing:?} {lane}");
                assert_eq!(number(&columns.at(framing.window_len - 1)), frame[framing.window_len - 1]);
                let (mean, energy) = columns.mean_and_energy(lane);
                let sum: f64 = frame.iter().map(|&x| f64::from(x)).sum();
                let squares: f64 = frame.iter().map(|&x| f64::from(x * x)).sum();
                assert!((f64::from(mean) - sum / frame.len() as f64).abs() < 1e-5);
                assert!((f64::from(energy) - squares).abs() < 1e-5 * (1.0 + squares));
            }
        }
    }

    #[test]
    fn columns_hold_the_frames() {
        let clip: Vec<f32> = (0..4000).map(|i| ((i * i) % 997) as f32 / 997.0 - 0.4).collect();
        for (hop_len, window_len) in [(1, 9), (7, 7), (13, 5), (10, 25), (62, 156), (625, 1562), (3, 2)] {
            for edges in [Edges::Snip, Edges::Reflect] {
                let framing = Framing { hop_len, window_len, n_fft: window_len.next_power_of_two(), edges };
                for first_frame in [0, framing.n_frames(4100).saturating_sub(5)] {
                    let n_frames = framing.n_frames(4100) - first_frame;
                    let block = Block { samples: &clip, extent_len: 4100, first_frame, n_frames, tilt: Tilt::Bass };
                    Instructions::available().for_each(|set| set.run(Check(&framing, block)));
                }
            }
        }
    }
}
