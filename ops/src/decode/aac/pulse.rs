//! Pulses: up to four lines that are larger than their code words say. Source: ISO/IEC 14496-3, 4.6.3.3.

use super::super::bits::Bits;
use super::huffman::{Lines, power};
use super::ics::{Info, NOISE, ZERO};

#[derive(Debug, Clone, Copy)]
pub(super) struct Pulses {
    n: usize,
    start_sfb: usize,
    /// Lines from the one before, and what is added.
    steps: [(usize, u8); 4],
}

impl Pulses {
    pub(super) fn read(bits: &mut Bits<'_>) -> Option<Self> {
        if bits.take(1) == 0 {
            return None;
        }
        let (n, start_sfb) = (bits.take(2) as usize + 1, bits.take(6) as usize);
        let mut steps = [(0, 0); 4];
        for step in &mut steps[..n] {
            *step = (bits.take(5) as usize, bits.take(4) as u8);
        }
        Some(Self { n, start_sfb, steps })
    }

    /// Adds the pulses to lines that have `gains` already, where code words gave them.
    pub(super) fn add(&self, info: &Info, books: &[u8; 128], gains: &[f32; 128], lines: &mut Lines) {
        let Some(&start) = info.edges.get(self.start_sfb) else { return };
        let mut at = usize::from(start);
        for &(step, amplitude) in &self.steps[..self.n] {
            at += step;
            let sfb = info.edges.partition_point(|&edge| usize::from(edge) <= at) - 1;
            if sfb < info.max_sfb && (ZERO + 1..NOISE).contains(&books[sfb]) && gains[sfb] > 0.0 {
                // Back to the integer that was coded; a zero grows downwards.
                let coded = (f64::from(lines[at].abs() / gains[sfb])).powf(0.75).round();
                let whole = if lines[at] > 0.0 { coded + f64::from(amplitude) } else { -coded - f64::from(amplitude) };
                lines[at] = power(whole) * gains[sfb];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulses_by_hand() {
        // Present, two of them, from band 1 on: 2 lines further by 3, 1 line further by 1.
        // In bits: 1, 01, 000001, 00010, 0011, 00001, 0001.
        let bytes = [0b1010_0000, 0b1000_1000, 0b1100_0010, 0b0010_0000];
        let pulses = Pulses::read(&mut Bits::new(&bytes, 0)).unwrap();
        let info = Info { max_sfb: 2, edges: &[0, 4, 8], ..Info::default() };
        let (mut books, mut gains, mut lines) = ([0; 128], [0.5; 128], [0.0; 1024]);
        books[1] = 5;
        gains[1] = 0.25;
        lines[6] = 0.25 * power(5.0);
        pulses.add(&info, &books, &gains, &mut lines);
        assert_eq!(lines[5..9], [0.0, 0.25 * power(8.0), -0.25, 0.0]);
        // Bands without code words, and lines behind the last band, are left alone.
        books[1] = NOISE;
        let before = lines;
        pulses.add(&info, &books, &gains, &mut lines);
        Pulses { n: 4, start_sfb: 2, steps: [(31, 15); 4] }.add(&info, &books, &gains, &mut lines);
        assert_eq!(lines, before);
        assert!(Pulses::read(&mut Bits::new(&[0], 0)).is_none());
    }
}
