//! One pair of rates, planned: block sizes, FFTs and the filter's transfer function.

use super::Quality;
use super::fft;
use super::filter::Prototype;
use super::lanes::{Geometry, LaneBuffers, LaneFilter, MAX_BLOCKS};
use super::single::{SingleBuffers, SingleFilter};

/// Longer blocks save little overlap, leave the nearer caches, and cost a short clip more padding.
const MAX_BLOCK: usize = 1 << 13;

/// The longest blocks side by side in lanes: those at both rates together fill a second cache of 1 MiB.
const MAX_LANE_ROWS: usize = 1 << 13;

/// Everything about a pair of rates that does not change from clip to clip.
///
/// Overlap-save: a window of `n_in` input frames is transformed, its spectrum multiplied by the filter and cut (or
/// zero-extended) to the bins of `n_out` frames, and transformed back. The middle `hop_out` frames are free of the
/// circular wrap; windows follow each other `hop_in` frames apart. Windows start at input time `block * hop_in - lead_in`,
/// and output frame `block * hop_out - head_out` is the first of a block.
pub(super) struct Plan {
    /// Output rate over input rate, in lowest terms.
    pub(super) num: usize,
    pub(super) den: usize,
    pub(super) n_in: usize,
    pub(super) hop_in: usize,
    /// Zeros that stand before the clip in the first window.
    pub(super) lead_in: usize,
    pub(super) hop_out: usize,
    /// Frames at the front of the first block that lie before time zero.
    pub(super) head_out: usize,
    /// Blocks that are converted together: every conversion is of whole pairs, or of one.
    pub(super) unit: usize,
    /// Most blocks of one conversion.
    pub(super) max_blocks: usize,
    /// Index of a block's first valid frame after the inverse transform.
    first_valid: usize,
    filter: Filter,
}

/// How blocks are filtered.
enum Filter {
    /// Many side by side.
    Lanes(LaneFilter),
    /// One by one.
    Single(SingleFilter),
}

/// What [`Plan::convert`] writes into; one per running conversion.
pub(super) struct Buffers {
    output: Vec<f32>,
    filter: FilterBuffers,
}

enum FilterBuffers {
    Lanes(LaneBuffers),
    Single(SingleBuffers),
}

impl Plan {
    /// Plans `rate_in_hz -> rate_out_hz`; both positive and different.
    pub(super) fn new(rate_in_hz: u32, rate_out_hz: u32, quality: Quality) -> Self {
        let divisor = gcd(rate_in_hz, rate_out_hz);
        let (num, den) = ((rate_out_hz / divisor) as usize, (rate_in_hz / divisor) as usize);
        let (low, high) = (num.min(den), num.max(den));
        let prototype = Prototype::new(quality, num, den);
        // The kernel's reach on one side, in frames of each rate.
        let reach_in = prototype.half_len * den as f64 / low as f64;
        let reach_out = (prototype.half_len * num as f64 / low as f64).ceil() as usize;
        // Windows and hops are whole multiples of (den, num), so that block boundaries fall on frames at both rates.
        let overlap = (2 * reach_out).div_ceil(num);
        let lead = (reach_in / den as f64).ceil() as usize;
        let in_lanes = best_lane_multiple(num, den, overlap);
        let multiple = in_lanes.unwrap_or_else(|| best_multiple(num, den, overlap));
        let (n_in, n_out) = (multiple * den, multiple * num);
        let (hop_in, hop_out) = ((multiple - overlap) * den, (multiple - overlap) * num);
        let n_bins = multiple * low / 2 + 1;
        // The inverse transform is unscaled; the forward one saw `n_in` frames.
        let mut response = prototype.response(multiple * high, high as f64 / low as f64, n_bins, 1.0 / n_in as f64);
        // At the lower Nyquist frequency both spectra are real; the filter is at its floor there, so nothing is lost.
        response[n_bins - 1] = 0.0;
        let geometry = Geometry { n_in, hop_in, n_out, hop_out, first_valid: reach_out };
        let lanes = in_lanes.and_then(|_| LaneFilter::new(geometry, &response));
        let (unit, max_blocks) = if lanes.is_some() { (2, MAX_BLOCKS) } else { (1, 1) };
        Self {
            num,
            den,
            n_in,
            hop_in,
            lead_in: lead * den,
            hop_out,
            head_out: lead * num - reach_out,
            unit,
            max_blocks,
            first_valid: reach_out,
            filter: lanes.map_or_else(|| Filter::Single(SingleFilter::new(n_in, n_out, response)), Filter::Lanes),
        }
    }

    /// Input frames that `n_blocks` see together.
    pub(super) fn span_in(&self, n_blocks: usize) -> usize {
        self.n_in + (n_blocks - 1) * self.hop_in
    }

    /// The blocks of the conversion that gives `n_frames` from the first block on, or as many of them as it can.
    pub(super) fn n_blocks(&self, n_frames: u64) -> usize {
        let n_blocks = n_frames.div_ceil(self.hop_out as u64).clamp(1, self.max_blocks as u64);
        (n_blocks as usize).next_multiple_of(self.unit)
    }

    /// Frames that `n_in` input frames become: `ceil(n_in * num / den)`.
    pub(super) fn n_frames_out(&self, n_in: u64) -> u64 {
        (u128::from(n_in) * self.num as u128).div_ceil(self.den as u128) as u64
    }

    pub(super) fn buffers(&self) -> Buffers {
        Buffers {
            output: vec![0.0; self.max_blocks * self.hop_out],
            filter: match &self.filter {
                Filter::Lanes(filter) => FilterBuffers::Lanes(filter.buffers()),
                Filter::Single(filter) => FilterBuffers::Single(filter.buffers()),
            },
        }
    }

    /// Converts the `n_blocks` whose windows lie in `input`; returns their `n_blocks * hop_out` valid frames.
    pub(super) fn convert<'a>(&self, input: &[f32], n_blocks: usize, buffers: &'a mut Buffers) -> &'a [f32] {
        match (&self.filter, &mut buffers.filter) {
            (Filter::Lanes(filter), FilterBuffers::Lanes(lanes)) => {
                let output = &mut buffers.output[..n_blocks * self.hop_out];
                filter.convert(input, output, lanes);
                output
            }
            (Filter::Single(filter), FilterBuffers::Single(single)) => {
                let output = filter.convert(&input[..self.n_in], single);
                &output[self.first_valid..self.first_valid + self.hop_out]
            }
            _ => unreachable!("buffers come from this plan"),
        }
    }
}

/// The even block multiple that costs least per output frame with blocks side by side in lanes, by a fixed formula as in
/// [`best_multiple`]; `None` where no such block has transforms at both rates.
fn best_lane_multiple(num: usize, den: usize, overlap: usize) -> Option<usize> {
    /// Filling a row and emptying it.
    const MOVE_COST: f64 = 8.0;
    let cost = |k: usize| {
        let rows = |n: usize| Some(n as f64 * (fft::cost_of_row(n)? + MOVE_COST));
        Some((rows(k * num)? + rows(k * den)?) / ((k - overlap) * num) as f64)
    };
    let multiples = (overlap + 1).next_multiple_of(2)..=MAX_LANE_ROWS / (num + den);
    let costs = multiples.step_by(2).filter_map(|k| Some((k, cost(k)?)));
    costs.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(k, _)| k)
}

/// The even block multiple that costs least per output frame. A fixed formula rather than a measurement: the choice
/// decides the rounding of every sample, so it may not differ from run to run.
fn best_multiple(num: usize, den: usize, overlap: usize) -> usize {
    let first = (overlap + 1).next_multiple_of(2);
    let cost = |k: usize| (fft_cost(k * num) + fft_cost(k * den)) / ((k - overlap) * num) as f64;
    let fits = |k: usize| k == first || k == first + 2 || k * num.max(den) <= MAX_BLOCK;
    (first..).step_by(2).take_while(|&k| fits(k)).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(first)
}

/// Relative cost of a real FFT of `n` points: `RustFFT` is fast on factors 2 and 3, good up to 11, slow beyond.
fn fft_cost(n: usize) -> f64 {
    let mut rest = n;
    let mut factor_cost = 0.0;
    for (prime, cost) in [(2, 1.0), (3, 1.7), (5, 2.8), (7, 3.6), (11, 6.0)] {
        while rest.is_multiple_of(prime) {
            rest /= prime;
            factor_cost += cost;
        }
    }
    // What is left goes through Bluestein's or Rader's algorithm: two more transforms of about twice the length.
    if rest > 1 {
        factor_cost += 5.0 * (rest as f64).log2() + 10.0;
    }
    n as f64 * (factor_cost + 4.0)
}

pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_the_kernel_and_boundaries_fall_on_frames() {
        for (rate_in, rate_out) in
            [(44_100, 32_000), (48_000, 32_000), (16_000, 32_000), (12_345, 32_000), (96_000, 7_999)]
        {
            let plan = Plan::new(rate_in, rate_out, Quality::SoxrHq);
            let reach = plan.first_valid;
            assert_eq!(plan.hop_in * plan.num, plan.hop_out * plan.den, "{rate_in}");
            let n_out = plan.n_in * plan.num / plan.den;
            assert!(reach + plan.hop_out + reach <= n_out, "{rate_in}");
            assert!(plan.head_out < plan.hop_out && plan.lead_in < plan.n_in, "{rate_in}");
            assert_eq!(plan.lead_in * plan.num / plan.den, plan.head_out + reach, "{rate_in}");
        }
    }

    #[test]
    fn coprime_rates_stay_within_a_few_megabytes() {
        let plan = Plan::new(44_101, 32_000, Quality::SoxrHq);
        assert!(plan.n_in <= 4 * 44_101, "{}", plan.n_in);
    }
}
