//! Overlap-save on many blocks at once: two blocks are the parts of a complex number, and each lane holds two of its own.
//!
//! The filter's response is real, so that it leaves the parts of a number apart: a pair of blocks needs no more than a
//! complex transform there and one back, and nothing takes their spectra asunder. Which two blocks are a pair is settled by
//! their place in the clip, and lanes know nothing of each other, so digits depend neither on how many lanes there are nor on
//! which pairs stand side by side.

use super::fft::{MixedFft, Take};
use crate::butterfly::Complex;
use crate::simd::{Buffer, Instructions, Kernel, Lanes, MAX_LANES, transpose4};

/// Blocks that are converted at once, at most.
pub(super) const MAX_BLOCKS: usize = 2 * MAX_LANES;

/// Says of a bin that it is cut off.
const NOWHERE: u32 = u32::MAX;

/// The transforms of one pair of rates and what happens between them.
pub(super) struct LaneFilter {
    forward: MixedFft,
    backward: MixedFft,
    /// For each row that the forward transform gives: the row of the backward one that takes it, and the filter's gain.
    moves: Vec<(u32, f32)>,
    /// Rows of the backward transform that take nothing.
    silent: Vec<u32>,
    geometry: Geometry,
    /// Instructions by the number of their lanes, fewest first.
    sets: Vec<(usize, Instructions)>,
}

/// Lengths and hops of the blocks, in frames.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub n_in: usize,
    pub hop_in: usize,
    pub n_out: usize,
    pub hop_out: usize,
    /// Index of a block's first valid frame after the inverse transform.
    pub first_valid: usize,
}

/// What [`LaneFilter::convert`] writes into.
pub(super) struct LaneBuffers {
    input: Buffer,
    output: Buffer,
}

struct CountLanes;

impl Kernel for CountLanes {
    type Output = usize;

    #[inline(always)]
    fn run<V: Lanes>(self) -> usize {
        V::N
    }
}

impl LaneFilter {
    /// `response` is the gain of bins 0 to half of the shorter transform; `None` where a length has no transform.
    pub fn new(geometry: Geometry, response: &[f32]) -> Option<Self> {
        let Geometry { n_in, n_out, .. } = geometry;
        let (forward, backward) = (MixedFft::new(n_in)?, MixedFft::new(n_out)?);
        let (mut moves, mut takes) = (vec![(NOWHERE, 0.0); n_in], vec![false; n_out]);
        for (bin, &gain) in response.iter().enumerate().filter(|&(_, &gain)| gain != 0.0) {
            let mirrored = (n_in - bin) % n_in;
            for (from, to) in [(bin, bin), (mirrored, (n_out - bin) % n_out)] {
                let to = backward.place(to);
                moves[forward.place(from)] = (to as u32, gain);
                takes[to] = true;
            }
        }
        let silent = (0..n_out).filter(|&row| !takes[row]).map(|row| row as u32).collect();
        let mut sets: Vec<_> = Instructions::available().map(|set| (set.run(CountLanes), set)).collect();
        sets.reverse();
        if sets.len() > 1 {
            // The portable set multiplies and adds in software.
            sets.remove(0);
        }
        Some(Self { forward, backward, moves, silent, geometry, sets })
    }

    pub fn buffers(&self) -> LaneBuffers {
        LaneBuffers { input: Buffer::new(2 * self.geometry.n_in), output: Buffer::new(2 * self.geometry.n_out) }
    }

    /// Converts the `output.len() / hop_out` blocks, an even number, that follow each other in `input`.
    pub fn convert(&self, mut input: &[f32], mut output: &mut [f32], buffers: &mut LaneBuffers) {
        while !output.is_empty() {
            let n_pairs = output.len() / self.geometry.hop_out / 2;
            let widest = self.sets[self.sets.len() - 1];
            let (n_lanes, set) = self.sets.iter().find(|set| set.0 >= n_pairs).copied().unwrap_or(widest);
            let n_blocks = 2 * n_pairs.min(n_lanes);
            let (now, later) = output.split_at_mut(n_blocks * self.geometry.hop_out);
            set.run(Conversion { filter: self, input, output: now, buffers });
            output = later;
            input = &input[n_blocks * self.geometry.hop_in..];
        }
    }

    /// Both transforms and the move between them.
    #[inline(always)]
    fn filter<V: Lanes>(&self, input: &mut [Complex<V>], output: &mut [Complex<V>]) {
        for &row in &self.silent {
            output[row as usize] = [V::splat(0.0); 2];
        }
        self.forward.forward(input, &mut Mover { moves: &self.moves, output });
        self.backward.backward(output);
    }
}

/// Multiplies each bin by the filter's gain and brings it to its row of the backward transform.
struct Mover<'a, V> {
    moves: &'a [(u32, f32)],
    output: &'a mut [Complex<V>],
}

impl<V: Lanes> Take<V> for Mover<'_, V> {
    #[inline(always)]
    fn take(&mut self, place: usize, [re, im]: Complex<V>) {
        let (to, gain) = self.moves[place];
        if to != NOWHERE {
            let gain = V::splat(gain);
            // Exchanged, which turns the transform that follows into the inverse.
            self.output[to as usize] = [im * gain, re * gain];
        }
    }
}

/// As many pairs as there are lanes, or fewer.
struct Conversion<'a> {
    filter: &'a LaneFilter,
    input: &'a [f32],
    output: &'a mut [f32],
    buffers: &'a mut LaneBuffers,
}

impl Kernel for Conversion<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { filter, input, output, buffers } = self;
        let Geometry { n_in, hop_in, hop_out, first_valid, .. } = filter.geometry;
        let n_blocks = output.len() / hop_out;
        gather(input, hop_in, n_in, n_blocks, V::N, buffers.input.flat());
        filter.filter(buffers.input.rows::<V>().as_chunks_mut().0, buffers.output.rows::<V>().as_chunks_mut().0);
        scatter(&buffers.output.flat()[first_valid * 2 * V::N..], output, hop_out, V::N);
    }
}

/// Frames that are transposed at once: a tile of them in all lanes stays in the first cache.
const TILE_LEN: usize = 64;

/// Sample i of block `2 l` becomes the real part of row i in lane l, and that of block `2 l + 1` the imaginary one. Lanes
/// without a pair repeat the last.
#[inline(always)]
fn gather(input: &[f32], hop_len: usize, block_len: usize, n_blocks: usize, n_lanes: usize, rows: &mut [f32]) {
    let width = 2 * n_lanes;
    for (tile, rows) in rows[..block_len * width].chunks_mut(TILE_LEN * width).enumerate() {
        for at in (0..width).step_by(4) {
            let (part, lane) = (at / n_lanes, at % n_lanes);
            let blocks: [&[f32]; 4] = std::array::from_fn(|i| {
                let block = (2 * (lane + i)).min(n_blocks - 2) + part;
                &input[block * hop_len + tile * TILE_LEN..][..rows.len() / width]
            });
            gather_four(blocks, &mut rows[at..], width);
        }
    }
}

/// Four blocks into the first four columns of `rows`.
#[inline(always)]
fn gather_four(blocks: [&[f32]; 4], rows: &mut [f32], width: usize) {
    let [a, b, c, d] = blocks.map(|block| block.as_chunks::<4>());
    let mut rows = rows.chunks_mut(width);
    for (((qa, qb), qc), qd) in a.0.iter().zip(b.0).zip(c.0).zip(d.0) {
        let columns = transpose4([*qa, *qb, *qc, *qd]);
        for column in &columns {
            if let Some(row) = rows.next() {
                row[..4].copy_from_slice(column);
            }
        }
    }
    for ((((xa, xb), xc), xd), row) in a.1.iter().zip(b.1).zip(c.1).zip(d.1).zip(rows) {
        row[..4].copy_from_slice(&[*xa, *xb, *xc, *xd]);
    }
}

/// The way back, with the parts exchanged: blocks of `hop_len`, one after the other.
#[inline(always)]
fn scatter(rows: &[f32], output: &mut [f32], hop_len: usize, n_lanes: usize) {
    let width = 2 * n_lanes;
    for (tile, rows) in rows[..hop_len * width].chunks(TILE_LEN * width).enumerate() {
        for (group, blocks) in output.chunks_mut(8 * hop_len).enumerate() {
            for part in 0..2 {
                let columns = &rows[(1 - part) * n_lanes + 4 * group..];
                scatter_four(columns, width, blocks, hop_len, part * hop_len + tile * TILE_LEN);
            }
        }
    }
}

/// The first four columns of `rows` to `blocks`, from `start` on and two hops apart; fewer where there are fewer blocks.
#[inline(always)]
fn scatter_four(rows: &[f32], width: usize, blocks: &mut [f32], hop_len: usize, start: usize) {
    let n = rows.len().div_ceil(width);
    let row = |i: usize| rows[i * width..].first_chunk::<4>().copied().unwrap_or_default();
    for i in (0..n / 4 * 4).step_by(4) {
        for (lane, column) in transpose4([row(i), row(i + 1), row(i + 2), row(i + 3)]).into_iter().enumerate() {
            let at = start + 2 * lane * hop_len + i;
            if let Some(to) = blocks.get_mut(at..at + 4) {
                to.copy_from_slice(&column);
            }
        }
    }
    for i in n / 4 * 4..n {
        for (lane, x) in row(i).into_iter().enumerate() {
            if let Some(to) = blocks.get_mut(start + 2 * lane * hop_len + i) {
                *to = x;
            }
        }
    }
}
