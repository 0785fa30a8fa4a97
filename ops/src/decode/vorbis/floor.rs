//! Floors of type 1: the envelope of a spectrum as lines between points. Source: Vorbis I specification, 7.

use std::sync::LazyLock;

use super::bits::{Bits, ilog};
use super::codebook::Codebook;

/// Levels 0 to 255 as factors: 140 dB in steps of 7/256 of a decade, which is the table of the specification to 1e-6.
static LEVELS: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|i| 10_f64.powf((i as f64 - 255.0) * 7.0 / 256.0) as f32));

struct Class {
    dims: usize,
    n_sub_bits: u32,
    master: usize,
    /// The book of each subclass; `None` gives 0 without reading.
    books: Vec<Option<usize>>,
}

/// A point of the envelope.
struct Point {
    x: usize,
    /// The nearest points to both sides among those before it in the packet.
    below: usize,
    above: usize,
}

pub(super) struct Floor {
    /// The class of each partition.
    partitions: Vec<usize>,
    classes: Vec<Class>,
    multiplier: usize,
    points: Vec<Point>,
    /// The points from left to right.
    order: Vec<usize>,
    /// Heights of the points in the current packet, and whether each is a corner.
    heights: Vec<(i32, bool)>,
}

impl Floor {
    pub(super) fn read(bits: &mut Bits<'_>, n_books: usize) -> Option<Self> {
        let n_partitions = bits.index(5)?;
        let partitions: Vec<usize> = (0..n_partitions).map(|_| bits.index(4)).collect::<Option<_>>()?;
        let n_classes = partitions.iter().max().map_or(0, |max| max + 1);
        let classes: Vec<Class> = (0..n_classes).map(|_| Class::read(bits, n_books)).collect::<Option<_>>()?;
        let multiplier = bits.index(2)? + 1;
        let n_bits = bits.take(4)?;
        let mut xs = vec![0, 1 << n_bits];
        for &class in &partitions {
            for _ in 0..classes[class].dims {
                xs.push(bits.index(n_bits)?);
            }
        }
        let mut order: Vec<usize> = (0..xs.len()).collect();
        order.sort_by_key(|&i| xs[i]);
        // Two points in one place would be a line of no length.
        if order.windows(2).any(|pair| xs[pair[0]] == xs[pair[1]]) {
            return None;
        }
        let nearest = |i: usize| {
            let before = || (0..i).filter(|&j| j != i);
            let below = before().filter(|&j| xs[j] < xs[i]).max_by_key(|&j| xs[j]).unwrap_or(0);
            let above = before().filter(|&j| xs[j] > xs[i]).min_by_key(|&j| xs[j]).unwrap_or(0);
            Point { x: xs[i], below, above }
        };
        let points: Vec<Point> = (0..xs.len()).map(nearest).collect();
        let heights = vec![(0, false); points.len()];
        Some(Self { partitions, classes, multiplier, points, order, heights })
    }

    /// Reads the envelope of one channel and draws it into `curve`; `None` where the channel is silent.
    pub(super) fn draw(&mut self, bits: &mut Bits<'_>, books: &[Codebook], curve: &mut [f32]) -> Option<()> {
        self.read_heights(bits, books)?;
        self.unfold();
        let (mut x, mut y) = (0, self.heights[0].0 * self.multiplier as i32);
        for &i in &self.order[1..] {
            let (height, corner) = self.heights[i];
            if corner {
                let (to_x, to_y) = (self.points[i].x, height * self.multiplier as i32);
                line(curve, [x, to_x], [y, to_y]);
                (x, y) = (to_x, to_y);
            }
        }
        let end = curve.len().max(x);
        line(curve, [x, end], [y, y]);
        Some(())
    }

    fn range(&self) -> i32 {
        [256, 128, 86, 64][self.multiplier - 1]
    }

    fn read_heights(&mut self, bits: &mut Bits<'_>, books: &[Codebook]) -> Option<()> {
        if !bits.flag()? {
            return None;
        }
        let n_bits = ilog(self.range() as usize - 1);
        self.heights[0].0 = bits.take(n_bits)? as i32;
        self.heights[1].0 = bits.take(n_bits)? as i32;
        let mut at = 2;
        for &class in &self.partitions {
            let class = &self.classes[class];
            let mut choice = if class.n_sub_bits > 0 { books[class.master].scalar(bits)? } else { 0 };
            for slot in &mut self.heights[at..at + class.dims] {
                let book = class.books[choice & (class.books.len() - 1)];
                choice >>= class.n_sub_bits;
                slot.0 = match book {
                    Some(book) => books[book].scalar(bits)? as i32,
                    None => 0,
                };
            }
            at += class.dims;
        }
        Some(())
    }

    /// Turns differences from the line between the neighbours into heights.
    fn unfold(&mut self) {
        let range = self.range();
        self.heights[0].1 = true;
        self.heights[1].1 = true;
        for i in 2..self.points.len() {
            let Point { x, below, above } = self.points[i];
            let (from, to) = (&self.points[below], &self.points[above]);
            let guess = between([from.x, to.x], [self.heights[below].0, self.heights[above].0], x);
            let room = 2 * guess.min(range - guess);
            let coded = self.heights[i].0;
            let height = if coded == 0 {
                guess
            } else if coded >= room {
                // One side is used up: what is left goes to the other.
                if range - guess > guess { coded } else { range - 1 - coded }
            } else if coded % 2 == 1 {
                guess - (coded + 1) / 2
            } else {
                guess + coded / 2
            };
            self.heights[i] = (height.clamp(0, range - 1), coded != 0);
            if coded != 0 {
                self.heights[below].1 = true;
                self.heights[above].1 = true;
            }
        }
    }
}

impl Class {
    fn read(bits: &mut Bits<'_>, n_books: usize) -> Option<Self> {
        let dims = bits.index(3)? + 1;
        let n_sub_bits = bits.take(2)?;
        let master = if n_sub_bits > 0 { bits.index(8)? } else { 0 };
        let books: Vec<Option<usize>> =
            (0..1 << n_sub_bits).map(|_| bits.index(8).map(|book| book.checked_sub(1))).collect::<Option<_>>()?;
        let known = master < n_books && books.iter().flatten().all(|&book| book < n_books);
        known.then_some(Self { dims, n_sub_bits, master, books })
    }
}

/// The height at `x` of the line through two points, rounded towards the first.
fn between([x0, x1]: [usize; 2], [y0, y1]: [i32; 2], x: usize) -> i32 {
    let off = (y1 - y0).abs() * (x - x0) as i32 / (x1 - x0) as i32;
    if y1 < y0 { y0 - off } else { y0 + off }
}

/// Draws the line from `xs[0]` up to but not including `xs[1]`, cut to `curve`.
fn line(curve: &mut [f32], [x0, x1]: [usize; 2], [y0, y1]: [i32; 2]) {
    let end = x1.min(curve.len());
    let Some(part) = curve.get_mut(x0..end) else { return };
    let levels = &*LEVELS;
    let [y0, y1] = [y0, y1].map(|y| y.clamp(0, 255) as u64);
    if y0 == y1 {
        part.fill(levels[y0 as usize]);
        return;
    }
    // The quotient of [`between`] without a division, in 32.32 bits: the step is rounded up by less than 2^-32, which over
    // 2^13 samples does not reach the 2^-13 that an exact quotient is from the next integer.
    let step = (y0.abs_diff(y1) << 32).div_ceil((x1 - x0) as u64);
    let (mut at, step) = if y1 > y0 { (y0 << 32, step) } else { (y0 << 32 | 0xFFFF_FFFF, step.wrapping_neg()) };
    for slot in part {
        *slot = levels[usize::from((at >> 32) as u8)];
        at = at.wrapping_add(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_integers() {
        for (n, y0, y1) in [(1, 3, 200), (7, 0, 255), (513, 255, 0), (8192, 0, 255), (8191, 254, 1), (4099, 9, 11)] {
            let mut curve = vec![0.0; n];
            line(&mut curve, [0, n], [y0, y1]);
            for (x, &level) in curve.iter().enumerate() {
                assert_eq!(level, LEVELS[between([0, n], [y0, y1], x) as usize], "{x} of {n}: {y0} to {y1}");
            }
        }
    }

    #[test]
    fn levels_of_the_specification() {
        // Entries of floor1_inverse_dB_table.
        for (i, level) in [(0, 1.064_986_3e-7), (1, 1.134_195_1e-7), (252, 0.827_882_6), (255, 1.0)] {
            assert!((LEVELS[i] - level).abs() < 1e-6 * level, "{i}");
        }
    }
}
