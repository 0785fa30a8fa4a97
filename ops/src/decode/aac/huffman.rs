//! Code words to lines.
//!
//! A look-up of ten bits gives the tuple of values and the length with all signs; longer codes take a second one. Signs are
//! never branched on: which values are not zero and the next bits together select a tuple of factors.
//! Source: ISO/IEC 14496-3, 4.6.3.

use std::sync::LazyLock;

use super::super::bits::Bits;
use super::codes::{BOOKS, SCALE_CODES, SCALE_LENS};
use super::ics::{INTENSITY, INTENSITY_OUT, Ics, NOISE, Sequence, ZERO};
use super::noise::Noise;

/// Bits of the first look-up.
const WIDTH: u32 = 10;
/// The largest value: an escape of twelve bits behind the leading one.
const MAX_VALUE: usize = (1 << 13) - 1;
/// The value that stands for an escape.
const ESCAPE: usize = 16;

/// The lines of one channel of a frame.
pub(super) type Lines = [f32; 1024];

/// Length with the signs in bits 0 to 5, without them in bits 6 to 10, the values that are not zero in bits 11 to 14 (the
/// first one highest), whether a value escapes in bit 15, the tuple from bit 16 on. For a code that is longer than the first
/// look-up: zero, the width of the second one, and from bit 16 on where it begins.
type Entry = u32;

/// The look-ups of one code book.
struct Tree {
    first: Box<[Entry; 1 << WIDTH]>,
    second: Vec<Entry>,
}

impl Tree {
    /// `describe` gives the values that are not zero, whether they have signs, and whether one escapes, of tuple `i`.
    fn new(lens: &[u8], codes: impl Iterator<Item = u32>, describe: impl Fn(usize) -> (u32, bool, bool)) -> Self {
        let mut tree = Self { first: Box::new([0; 1 << WIDTH]), second: Vec::new() };
        let words: Vec<(usize, u32, u32)> =
            lens.iter().zip(codes).enumerate().map(|(i, (&len, code))| (i, u32::from(len), code)).collect();
        let entry = |i: usize, len: u32| {
            let (pattern, signed, escapes) = describe(i);
            let n_signs = if signed { pattern.count_ones() } else { 0 };
            (i as u32) << 16 | u32::from(escapes) << 15 | pattern << 11 | len << 6 | (len + n_signs)
        };
        for &(i, len, code) in words.iter().filter(|(_, len, _)| *len <= WIDTH) {
            fill(&mut tree.first[..], code, len, WIDTH, entry(i, len));
        }
        let long = || words.iter().filter(|(_, len, _)| *len > WIDTH);
        let mut beginnings: Vec<u32> = long().map(|(_, len, code)| code >> (len - WIDTH)).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        for beginning in beginnings {
            let members = || long().filter(|(_, len, code)| code >> (len - WIDTH) == beginning);
            let width = members().map(|(_, len, _)| len - WIDTH).max().unwrap_or(0);
            let offset = tree.second.len();
            tree.first[beginning as usize] = (offset as u32) << 16 | width << 6;
            tree.second.resize(offset + (1 << width), 0);
            for &(i, len, code) in members() {
                let rest = len - WIDTH;
                fill(&mut tree.second[offset..], code & ((1 << rest) - 1), rest, width, entry(i, len));
            }
        }
        tree
    }

    /// The entry of the code word at the front of `held`.
    #[inline(always)]
    fn find(&self, held: u64) -> Entry {
        let entry = self.first[(held >> (64 - WIDTH)) as usize];
        if entry & 63 != 0 { entry } else { self.find_long(held, entry) }
    }

    #[cold]
    fn find_long(&self, held: u64, entry: Entry) -> Entry {
        self.second[(entry >> 16) as usize + (held << WIDTH >> (64 - (entry >> 6 & 31))) as usize]
    }
}

/// Writes `value` wherever the first `len` of `width` bits are `code`.
fn fill(entries: &mut [Entry], code: u32, len: u32, width: u32, value: Entry) {
    let first = (code << (width - len)) as usize;
    entries[first..first + (1 << (width - len))].fill(value);
}

/// How the values of a book are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SignedQuads,
    Quads,
    SignedPairs,
    Pairs,
    Escaping,
}

/// Of books 1 to 11: how values are sent, and how many different ones there are.
const SHAPES: [(Kind, usize); 11] = [
    (Kind::SignedQuads, 3),
    (Kind::SignedQuads, 3),
    (Kind::Quads, 3),
    (Kind::Quads, 3),
    (Kind::SignedPairs, 9),
    (Kind::SignedPairs, 9),
    (Kind::Pairs, 8),
    (Kind::Pairs, 8),
    (Kind::Pairs, 13),
    (Kind::Pairs, 13),
    (Kind::Escaping, 17),
];

impl Kind {
    fn dims(self) -> usize {
        if matches!(self, Self::SignedQuads | Self::Quads) { 4 } else { 2 }
    }

    fn has_sign_bits(self) -> bool {
        !matches!(self, Self::SignedQuads | Self::SignedPairs)
    }
}

/// One book for the spectrum.
struct Tuples {
    tree: Tree,
    kind: Kind,
    /// The values of each tuple to the power of 4/3; pairs lie in the first two places. As long as an index may be.
    values: Box<[[f32; 4]; 512]>,
}

/// What code words are read with.
pub(super) struct Codes {
    books: Vec<Tuples>,
    scales: Tree,
    /// By the values that are not zero and the next four bits.
    quad_signs: [[f32; 4]; 256],
    /// By the values that are not zero and the next two bits.
    pair_signs: [[f32; 2]; 16],
    /// `x^(4/3)`.
    powers: Vec<f32>,
}

pub(super) static CODES: LazyLock<Codes> = LazyLock::new(Codes::new);

/// `x^(4/3)` with the sign of x.
pub(super) fn power(x: f64) -> f32 {
    x.abs().powf(4.0 / 3.0).copysign(x) as f32
}

impl Codes {
    fn new() -> Self {
        Self {
            books: (0..11).map(Tuples::new).collect(),
            scales: Tree::new(&SCALE_LENS, SCALE_CODES.iter().copied(), |_| (0, false, false)),
            quad_signs: std::array::from_fn(|i| signs(i >> 4, i & 15)),
            pair_signs: std::array::from_fn(|i| signs(i >> 2, i & 3)),
            powers: (0..=MAX_VALUE).map(|x| power(x as f64)).collect(),
        }
    }

    /// A difference of scale factors.
    #[inline(always)]
    pub(super) fn scale(&self, bits: &mut Bits<'_>) -> i32 {
        bits.refill();
        let entry = self.scales.find(bits.held());
        bits.skip(entry & 63);
        (entry >> 16) as i32 - 60
    }
}

/// The factors of `N` values: `pattern` has those that have signs, the first one highest, `bits` their signs.
fn signs<const N: usize>(pattern: usize, bits: usize) -> [f32; N] {
    let mut next = N;
    std::array::from_fn(|i| {
        if pattern >> (N - 1 - i) & 1 == 0 {
            return 1.0;
        }
        next -= 1;
        if bits >> next & 1 == 1 { -1.0 } else { 1.0 }
    })
}

impl Tuples {
    /// Book `i + 1`.
    fn new(i: usize) -> Self {
        let (book, (kind, size)) = (&BOOKS[i], SHAPES[i]);
        let dims = kind.dims();
        let digits = move |i: usize, place: usize| i / size.pow((dims - 1 - place) as u32) % size;
        let describe = |i: usize| {
            let pattern = (0..dims).fold(0, |pattern, place| pattern << 1 | u32::from(digits(i, place) > 0));
            let escapes = kind == Kind::Escaping && (0..dims).any(|place| digits(i, place) == ESCAPE);
            (pattern, kind.has_sign_bits(), escapes)
        };
        let middle = if kind.has_sign_bits() { 0.0 } else { (size / 2) as f64 };
        let value = |i: usize, place: usize| {
            if i < book.lens.len() && place < dims { power(digits(i, place) as f64 - middle) } else { 0.0 }
        };
        Self {
            tree: Tree::new(book.lens, book.codes.iter().map(|&code| u32::from(code)), describe),
            kind,
            values: Box::new(std::array::from_fn(|i| std::array::from_fn(|place| value(i, place)))),
        }
    }
}

/// The lines of bands next to one another that share a book, in the order in which they are sent, and what each four of them
/// are multiplied by.
struct Run<'a> {
    lines: &'a mut [f32],
    gains: &'a [f32],
}

impl Run<'_> {
    fn fours(&mut self) -> impl Iterator<Item = (&mut [f32; 4], f32)> {
        self.lines.as_chunks_mut::<4>().0.iter_mut().zip(self.gains.iter().copied())
    }
}

impl Codes {
    /// Reads the spectrum of a channel, times the gain of each band, and adds it to `lines`. What has no code words is left
    /// alone, but for noise. `None` where a value has no end.
    pub(super) fn read(
        &self,
        bits: &mut Bits<'_>,
        ics: &Ics,
        gains: &[f32; 128],
        noise: &mut Noise,
        lines: &mut Lines,
    ) -> Option<()> {
        if ics.info.sequence != Sequence::Short {
            return self.read_group(bits, ics, 0, 1, gains, noise, lines);
        }
        // Short windows of a group are sent band by band, all windows of each.
        let mut sent = [0.0; 1024];
        for (row, windows) in ics.groups() {
            let sent = &mut sent[128 * windows.start..128 * windows.end];
            self.read_group(bits, ics, row, windows.len(), gains, noise, sent)?;
            let mut rest = &sent[..];
            for sfb in 0..ics.info.max_sfb {
                for window in windows.clone() {
                    let to = &mut lines[ics.info.band(window, sfb)];
                    let (from, behind) = rest.split_at(to.len());
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                    rest = behind;
                }
            }
        }
        Some(())
    }

    /// Reads the lines of a group of `n_windows`, whose bands begin at `row` in tables, in the order in which they are sent.
    #[expect(clippy::too_many_arguments, reason = "the state of the decoder, taken apart")]
    fn read_group(
        &self,
        bits: &mut Bits<'_>,
        ics: &Ics,
        row: usize,
        n_windows: usize,
        gains: &[f32; 128],
        noise: &mut Noise,
        lines: &mut [f32],
    ) -> Option<()> {
        let (max_sfb, edges) = (ics.info.max_sfb, ics.info.edges);
        let (books, gains) = (&ics.books[row..row + max_sfb], &gains[row..row + max_sfb]);
        let place = |sfb: usize| usize::from(edges[sfb]) * n_windows;
        let mut of_fours = [0.0; 256 + 8];
        for (sfb, &gain) in gains.iter().enumerate() {
            let (from, to) = (place(sfb) / 4, place(sfb + 1) / 4);
            // Mostly eight at once, of which the next bands write over what is theirs.
            of_fours[from..from + 8].fill(gain);
            if to > from + 8 {
                of_fours[from + 8..to].fill(gain);
            }
        }
        let mut sfb = 0;
        while sfb < max_sfb {
            let book = books[sfb];
            let end = sfb + books[sfb..].iter().take_while(|&&other| other == book).count();
            let range = place(sfb)..place(end);
            match book {
                ZERO | INTENSITY | INTENSITY_OUT => {}
                NOISE => {
                    for band in sfb..end {
                        let width = usize::from(edges[band + 1] - edges[band]);
                        let windows = lines[place(band)..place(band + 1)].chunks_exact_mut(width);
                        windows.for_each(|lines| noise.add(lines, gains[band]));
                    }
                }
                _ => {
                    let gains = &of_fours[range.start / 4..range.end / 4];
                    self.read_run(bits, book, Run { lines: &mut lines[range], gains })?;
                }
            }
            sfb = end;
        }
        Some(())
    }

    fn read_run(&self, bits: &mut Bits<'_>, book: u8, run: Run<'_>) -> Option<()> {
        let book = &self.books[usize::from(book) - 1];
        // A reader of its own stays in registers.
        let mut own = bits.clone();
        match book.kind {
            Kind::SignedQuads => self.quads::<false>(&mut own, book, run),
            Kind::Quads => self.quads::<true>(&mut own, book, run),
            Kind::SignedPairs => self.pairs::<false>(&mut own, book, run),
            Kind::Pairs => self.pairs::<true>(&mut own, book, run),
            Kind::Escaping => self.escaping(&mut own, book, run)?,
        }
        *bits = own;
        Some(())
    }

    #[inline(always)]
    fn quads<const SIGNS: bool>(&self, bits: &mut Bits<'_>, book: &Tuples, mut run: Run<'_>) {
        for (out, gain) in run.fours() {
            bits.refill();
            let held = bits.held();
            let entry = book.tree.find(held);
            let values = book.values[entry as usize >> 16 & 511];
            bits.skip(entry & 63);
            let signs = if SIGNS {
                let next = held << (entry >> 6 & 31) >> 60;
                self.quad_signs[(entry >> 7 & 0xF0) as usize | next as usize]
            } else {
                [1.0; 4]
            };
            for ((out, value), sign) in out.iter_mut().zip(values).zip(signs) {
                *out += value * sign * gain;
            }
        }
    }

    #[inline(always)]
    fn pairs<const SIGNS: bool>(&self, bits: &mut Bits<'_>, book: &Tuples, mut run: Run<'_>) {
        for (four, gain) in run.fours() {
            bits.refill();
            // Two pairs are 34 bits at most.
            for out in four.as_chunks_mut::<2>().0 {
                let held = bits.held();
                let entry = book.tree.find(held);
                bits.skip(entry & 63);
                let [x, y] = self.pair::<SIGNS>(book, held, entry);
                out[0] += x * gain;
                out[1] += y * gain;
            }
        }
    }

    /// The values of `entry`, found at the front of `held`.
    #[inline(always)]
    fn pair<const SIGNS: bool>(&self, book: &Tuples, held: u64, entry: Entry) -> [f32; 2] {
        let [x, y, ..] = book.values[entry as usize >> 16 & 511];
        if !SIGNS {
            return [x, y];
        }
        let next = held << (entry >> 6 & 31) >> 62;
        let signs = self.pair_signs[(entry >> 9 & 0xC) as usize | next as usize];
        [x * signs[0], y * signs[1]]
    }

    #[inline(always)]
    fn escaping(&self, bits: &mut Bits<'_>, book: &Tuples, mut run: Run<'_>) -> Option<()> {
        let mut endless = false;
        for (four, gain) in run.fours() {
            for out in four.as_chunks_mut::<2>().0 {
                bits.refill();
                let held = bits.held();
                let entry = book.tree.find(held);
                bits.skip(entry & 63);
                let [mut x, mut y] = self.pair::<true>(book, held, entry);
                if entry >> 15 & 1 == 1 {
                    // The code and its signs are 14 bits at most, an escape 21: both are held.
                    let tuple = entry as usize >> 16;
                    for (value, digit) in [(&mut x, tuple / 17), (&mut y, tuple % 17)] {
                        if digit == ESCAPE {
                            let n = (!bits.held()).leading_zeros();
                            endless |= n > 8;
                            bits.skip(n.min(8) + 1);
                            let magnitude = (1 << (n.min(8) + 4)) + bits.take_held(n.min(8) + 4);
                            *value = self.powers[magnitude as usize].copysign(*value);
                        }
                    }
                }
                out[0] += x * gain;
                out[1] += y * gain;
            }
        }
        (!endless).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ics::Info;
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let text = format!("{text:0<160}");
        (0..text.len() / 8).map(|i| u8::from_str_radix(&text[8 * i..8 * i + 8], 2).unwrap()).collect()
    }

    /// Reads one band of four lines with `book`; the lines and the bits that were read.
    fn four(book: u8, text: &str) -> (Option<[f32; 4]>, usize) {
        let info = Info { max_sfb: 1, edges: &[0, 4], ..Info::default() };
        let mut ics = Ics { info, ..Ics::default() };
        ics.books[0] = book;
        let bytes = bytes(text);
        let (mut bits, mut lines) = (Bits::new(&bytes, 0), [0.0; 1024]);
        let read = CODES.read(&mut bits, &ics, &[2.0; 128], &mut Noise::default(), &mut lines);
        (read.map(|()| [lines[0], lines[1], lines[2], lines[3]]), bits.at())
    }

    /// A code word with its signs and escapes, and the values it stands for; `salt` chooses what is free.
    fn word(book: usize, i: usize, salt: usize) -> (String, Vec<f32>) {
        let (kind, size) = SHAPES[book - 1];
        let (len, code) = (BOOKS[book - 1].lens[i], BOOKS[book - 1].codes[i]);
        let mut text = format!("{code:0width$b}", width = usize::from(len));
        let (mut escapes, mut values) = (String::new(), Vec::new());
        for place in (0..kind.dims()).rev() {
            let digit = i / size.pow(place as u32) % size;
            if !kind.has_sign_bits() {
                values.push(power(digit as f64 - (size / 2) as f64));
                continue;
            }
            let negative = (salt >> place) % 2 == 1;
            if digit > 0 {
                text += if negative { "1" } else { "0" };
            }
            let mut value = digit;
            if kind == Kind::Escaping && digit == 16 {
                let n = (salt + place) % 9;
                let low = (salt * 2_654_435_761) % (1 << (n + 4));
                value = (1 << (n + 4)) + low;
                escapes = [escapes, "1".repeat(n), format!("0{low:0width$b}", width = n + 4)].concat();
            }
            values.push(power(if negative { -(value as f64) } else { value as f64 }));
        }
        (text + &escapes, values)
    }

    #[test]
    fn every_code_gives_its_values_with_all_signs() {
        for book in 1..=11 {
            for i in 0..BOOKS[book - 1].lens.len() {
                for salt in 0..16 {
                    let (mut text, mut values) = word(book, i, salt);
                    if values.len() == 2 {
                        let (second, more) = word(book, (i * 7 + salt) % BOOKS[book - 1].lens.len(), salt / 3);
                        text += &second;
                        values.extend(more);
                    }
                    let wanted: Vec<f32> = values.iter().map(|x| 2.0 * x).collect();
                    let (got, n) = four(book as u8, &text);
                    assert_eq!((got.unwrap().to_vec(), n), (wanted, text.len()), "book {book}, word {i}");
                }
            }
        }
    }

    #[test]
    fn every_difference_of_scale_factors() {
        for (i, (&len, &code)) in SCALE_LENS.iter().zip(&SCALE_CODES).enumerate() {
            let bytes = bytes(&format!("{code:0width$b}", width = usize::from(len)));
            let mut bits = Bits::new(&bytes, 0);
            assert_eq!((CODES.scale(&mut bits), bits.at()), (i as i32 - 60, usize::from(len)));
        }
    }

    #[test]
    fn an_escape_without_an_end_is_damage() {
        // The longest escape has eight ones.
        let escape = BOOKS[10].lens.len() - 17;
        let (len, code) = (BOOKS[10].lens[escape], BOOKS[10].codes[escape]);
        let start = format!("{code:0width$b}0", width = usize::from(len));
        assert!(four(11, &format!("{start}1111111100")).0.is_some());
        assert!(four(11, &format!("{start}1111111110")).0.is_none());
    }
}
