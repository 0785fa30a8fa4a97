//! The spectrum: Huffman codes to scaled lines, each stored where the transforms want it.
//!
//! A look-up of at most ten bits gives both values of a pair with their signs. Codes that do not fit, and values with
//! extra bits, take the slow way. The last granule's bits may be too many or too few: reading stops where they end.
//! Source: ISO/IEC 11172-3, 2.4.2.7 and table B.7.

use super::super::bits::Bits;
use super::codes::{BOOKS, Book, QUADS_A, QUADS_B, SELECT};
use super::header::Side;
use super::layout::{LEN, Layout, Spectrum};

/// Bits of the first look-up.
const WIDTH: u32 = 10;
/// The largest value: 15 and 13 extra bits.
const MAX_VALUE: usize = 15 + (1 << 13) - 1;

/// An entry of a tree: length in bits 0 to 7; then, by kind in bits 24 and up:
/// a pair (x and y as 16 + value in bits 8 and 16), a pair whose signs follow (x and y), or a second look-up (its
/// offset in bits 8 to 23, its width as length).
type Entry = u32;
const SIGNED: Entry = 0;
const BARE: Entry = 1;
const FURTHER: Entry = 2;

fn entry(kind: Entry, len: u32, x: u32, y: u32) -> Entry {
    kind << 24 | y << 16 | x << 8 | len
}

/// The look-ups of one code book.
#[derive(Debug)]
struct Tree {
    entries: Vec<Entry>,
}

/// Everything the spectrum is read with.
#[derive(Debug)]
pub(super) struct Codes {
    trees: Vec<Tree>,
    /// Ten bits of the count1 region: length, then four fields of two bits (0: none, 1: plus, 2: minus).
    quads: [Vec<u16>; 2],
    /// `x^(4/3)`.
    powers: Vec<f32>,
    /// The same with sign, of -16 to 15.
    signed_powers: [f32; 32],
}

impl Codes {
    pub(super) fn new() -> Self {
        let power = |x: usize| (x as f64).powf(4.0 / 3.0) as f32;
        Self {
            trees: BOOKS.iter().map(Tree::new).collect(),
            quads: [&QUADS_A, &QUADS_B].map(quads),
            powers: (0..=MAX_VALUE).map(power).collect(),
            signed_powers: std::array::from_fn(|i| if i < 16 { -power(16 - i) } else { power(i - 16) }),
        }
    }
}

impl Tree {
    fn new(book: &Book) -> Self {
        let mut entries = vec![0; 1 << WIDTH];
        for (i, (&len, &code)) in book.lens.iter().zip(book.codes).enumerate() {
            let (len, code) = (u32::from(len), u32::from(code));
            let (x, y) = ((i / book.size) as u32, (i % book.size) as u32);
            let n_signs = u32::from(x > 0) + u32::from(y > 0);
            // With extra bits the signs are further off.
            let escapes = book.size == 16 && x.max(y) == 15;
            if len + n_signs <= WIDTH && !escapes {
                for signs in 0..1 << n_signs {
                    let sign = |value, bit: u32| if signs >> bit & 1 == 1 { 16 - value } else { 16 + value };
                    // The sign of x comes first.
                    let (x, y) = (sign(x, n_signs.saturating_sub(1)), sign(y, 0));
                    let x = if i / book.size == 0 { 16 } else { x };
                    let y = if i % book.size == 0 { 16 } else { y };
                    let whole = len + n_signs;
                    fill(&mut entries, code << n_signs | signs, whole, WIDTH, entry(SIGNED, whole, x, y));
                }
            } else if len <= WIDTH {
                fill(&mut entries, code, len, WIDTH, entry(BARE, len, x, y));
            }
        }
        add_long(&mut entries, book);
        Self { entries }
    }
}

/// Writes `value` wherever the first `len` of `width` bits are `code`.
fn fill<T: Copy>(entries: &mut [T], code: u32, len: u32, width: u32, value: T) {
    let first = (code << (width - len)) as usize;
    entries[first..first + (1 << (width - len))].fill(value);
}

/// Adds a second look-up for each beginning that codes longer than the first one share.
fn add_long(entries: &mut Vec<Entry>, book: &Book) {
    let codes = book.lens.iter().zip(book.codes).enumerate();
    let long: Vec<_> = codes
        .filter(|(_, (len, _))| u32::from(**len) > WIDTH)
        .map(|(i, (&len, &code))| (i, u32::from(len) - WIDTH, u32::from(code)))
        .collect();
    let mut beginnings: Vec<_> = long.iter().map(|(_, rest, code)| code >> rest).collect();
    beginnings.sort_unstable();
    beginnings.dedup();
    for beginning in beginnings {
        let members = || long.iter().filter(|(_, rest, code)| code >> rest == beginning);
        let width = members().map(|(_, rest, _)| *rest).max().unwrap_or(0);
        let offset = entries.len();
        entries[beginning as usize] = FURTHER << 24 | (offset as u32) << 8 | width;
        entries.resize(offset + (1 << width), 0);
        for &(i, rest, code) in members() {
            let bare = entry(BARE, rest, (i / book.size) as u32, (i % book.size) as u32);
            fill(&mut entries[offset..], code & ((1 << rest) - 1), rest, width, bare);
        }
    }
}

fn quads((lens, codes): &([u8; 16], [u8; 16])) -> Vec<u16> {
    let mut entries = vec![0; 1 << WIDTH];
    for (values, (&len, &code)) in (0_u32..).zip(lens.iter().zip(codes)) {
        let n_signs = values.count_ones();
        let len = u32::from(len) + n_signs;
        for signs in 0..1 << n_signs {
            let mut left = n_signs;
            let mut fields = 0;
            for line in 0..4 {
                if values >> (3 - line) & 1 == 1 {
                    left -= 1;
                    fields |= (1 + (signs >> left & 1)) << (2 * line);
                }
            }
            fill(&mut entries, u32::from(code) << n_signs | signs, len, WIDTH, (fields << 8 | len) as u16);
        }
    }
    entries
}

/// Where lines go, and what they are multiplied by.
pub(super) struct Target<'a> {
    pub(super) layout: &'a Layout,
    pub(super) gains: &'a [f32; 64],
    pub(super) lines: &'a mut Spectrum,
}

impl Target<'_> {
    /// Stores a pair, or adds it to what is there.
    #[inline(always)]
    fn put<const ADD: bool>(&mut self, pair: usize, x: f32, y: f32) {
        let (at_x, at_y, band) = self.layout.pair(pair);
        let gain = self.gains[band];
        let (x, y) = (x * gain, y * gain);
        const { assert!(LEN == 1024) };
        if ADD {
            self.lines[at_x] += x;
            self.lines[at_y] += y;
        } else {
            self.lines[at_x] = x;
            self.lines[at_y] = y;
        }
    }
}

impl Codes {
    /// Reads the lines of one channel up to bit `end`; returns how many pairs there are before the zeros.
    ///
    /// `ADD` adds to the lines; else they must be zero before.
    #[inline(always)]
    pub(super) fn read<const ADD: bool>(
        &self,
        bits: &mut Bits<'_>,
        end: usize,
        side: &Side,
        target: &mut Target<'_>,
    ) -> usize {
        let mut pair = 0;
        for (region, &table) in side.tables.iter().enumerate() {
            let region_end = side.regions.get(region).map_or(side.n_pairs, |&end| end.min(side.n_pairs));
            let (Some(book), extra_bits) = SELECT[table & 31] else {
                pair = pair.max(region_end);
                continue;
            };
            let entries = &self.trees[book].entries[..];
            while pair < region_end && bits.at() < end {
                bits.refill();
                let entry = entries[bits.peek(WIDTH)];
                let (x, y) = if entry >> 24 == SIGNED {
                    bits.skip(entry & 0xFF);
                    let power = |shift| self.signed_powers[(entry >> shift) as usize & 31];
                    (power(8), power(16))
                } else {
                    self.slow_pair(bits, entries, entry, extra_bits)
                };
                target.put::<ADD>(pair, x, y);
                pair += 1;
            }
        }
        self.read_quads::<ADD>(bits, end, side.quads, pair, target)
    }

    /// A pair whose code, signs or extra bits reach beyond the first look-up.
    #[inline(never)]
    fn slow_pair(&self, bits: &mut Bits<'_>, entries: &[Entry], first: Entry, extra_bits: u32) -> (f32, f32) {
        let mut entry = first;
        if entry >> 24 == FURTHER {
            bits.skip(WIDTH);
            entry = entries[(entry >> 8 & 0xFFFF) as usize + bits.peek(entry & 0xFF)];
        }
        bits.skip(entry & 0xFF);
        // A code and one value are at most 33 bits, the second value 14: all of them are held.
        let mut value = |magnitude: u32| {
            let extra = if magnitude == 15 { bits.take_held(extra_bits) } else { 0 };
            let negative = magnitude > 0 && bits.take_held(1) == 1;
            let power = self.powers[(magnitude + extra) as usize];
            if negative { -power } else { power }
        };
        (value(entry >> 8 & 0xFF), value(entry >> 16 & 0xFF))
    }

    /// The count1 region, from `pair` on: values of at most one, by fours.
    #[inline(always)]
    fn read_quads<const ADD: bool>(
        &self,
        bits: &mut Bits<'_>,
        end: usize,
        table: usize,
        mut pair: usize,
        target: &mut Target<'_>,
    ) -> usize {
        const VALUES: [f32; 4] = [0.0, 1.0, -1.0, 0.0];
        let entries = &self.quads[table & 1][..];
        while pair + 2 <= 288 && bits.at() < end {
            bits.refill();
            let entry = usize::from(entries[bits.peek(WIDTH)]);
            bits.skip(entry as u32 & 0xFF);
            // Some encoders state too many bits: what reaches beyond them was never a value.
            if bits.at() > end {
                break;
            }
            let value = |line: usize| VALUES[entry >> (8 + 2 * line) & 3];
            target.put::<ADD>(pair, value(0), value(1));
            target.put::<ADD>(pair + 1, value(2), value(3));
            pair += 2;
        }
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one pair with the tree of `table` from bits written as text.
    fn pair(codes: &Codes, layout: &Layout, table: usize, text: &str) -> (f32, f32, usize) {
        let text = format!("{text:0<80}");
        let bytes: Vec<u8> = (0..10).map(|i| u8::from_str_radix(&text[8 * i..8 * i + 8], 2).unwrap()).collect();
        let mut lines = [0.0; LEN];
        let mut target = Target { layout, gains: &[1.0; 64], lines: &mut lines };
        let mut bits = Bits::new(&bytes, 0);
        let side = Side { n_pairs: 1, tables: [table; 3], regions: [288, 288], ..Side::default() };
        assert!(codes.read::<false>(&mut bits, 1, &side, &mut target) <= 1);
        let (x, y, _) = layout.pair(0);
        (lines[x], lines[y], bits.at())
    }

    #[test]
    fn every_code_gives_its_pair_with_both_signs() {
        let (codes, layouts) = (Codes::new(), Layout::all());
        for (table, &(book, extra_bits)) in SELECT.iter().enumerate() {
            let Some(book) = book.map(|book| &BOOKS[book]) else { continue };
            for (i, (&len, &code)) in book.lens.iter().zip(book.codes).enumerate() {
                let mut text = format!("{code:0width$b}", width = usize::from(len));
                let mut wanted = [0.0; 2];
                for (slot, (value, sign)) in wanted.iter_mut().zip([(i / book.size, i % 2), (i % book.size, i / 2 % 2)])
                {
                    let escapes = value == 15 && extra_bits > 0;
                    let extra = if escapes { (i * 37) & ((1 << extra_bits) - 1) } else { 0 };
                    for bit in (0..extra_bits).rev().filter(|_| escapes) {
                        text += if extra >> bit & 1 == 1 { "1" } else { "0" };
                    }
                    if value > 0 {
                        text += if sign == 1 { "1" } else { "0" };
                    }
                    let power = codes.powers[value + extra];
                    *slot = if sign == 1 { -power } else { power };
                }
                let n = text.len();
                let got = pair(&codes, &layouts[0][0], table, &text);
                assert_eq!(got, (wanted[0], wanted[1], n), "table {table}, pair {i}");
            }
        }
    }

    #[test]
    fn fours_that_reach_beyond_the_end_are_dropped() {
        // Table A: 1 is four zeros; 0101 and a sign is (0, 0, 0, +-1).
        let bytes = [0b1010_1100, 0, 0, 0, 0, 0, 0, 0, 0];
        let layouts = Layout::all();
        for (end, wanted, value) in [(1, 2, 0.0), (5, 2, 0.0), (6, 4, -1.0)] {
            let mut lines = [0.0; LEN];
            let mut target = Target { layout: &layouts[0][0], gains: &[1.0; 64], lines: &mut lines };
            let mut bits = Bits::new(&bytes, 0);
            let n = Codes::new().read::<false>(&mut bits, end, &Side::default(), &mut target);
            assert_eq!((n, lines[layouts[0][0].pair(3).1]), (wanted, value), "end {end}");
        }
    }
}
