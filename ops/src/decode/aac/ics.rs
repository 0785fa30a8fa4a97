//! What is sent of one channel before its lines: windows, bands, code books, scale factors.
//! Source: ISO/IEC 14496-3, tables 4.44 to 4.56; 4.6.2 and 4.6.3.

use std::ops::Range;
use std::sync::LazyLock;

use super::super::bits::Bits;
use super::bands::Bands;
use super::huffman::CODES;
use super::pulse::Pulses;
use super::tns::Tns;

/// Books that stand for no code words.
pub(super) const ZERO: u8 = 0;
const RESERVED: u8 = 12;
pub(super) const NOISE: u8 = 13;
/// Intensity with the sign of the left channel turned, and without.
pub(super) const INTENSITY_OUT: u8 = 14;
pub(super) const INTENSITY: u8 = 15;

/// Sections of a group; as many as there are bands at most, but empty ones count.
const MAX_SECTIONS: usize = 64;

/// The windows of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sequence {
    #[default]
    Long,
    Start,
    Short,
    Stop,
}

/// What both channels of a pair may share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info {
    pub(super) sequence: Sequence,
    /// Whether windows are Kaiser-Bessel derived rather than sines.
    pub(super) kaiser: bool,
    pub(super) max_sfb: usize,
    pub(super) n_groups: usize,
    /// Windows in each group.
    pub(super) group_lens: [u8; 8],
    /// First lines of all bands of a window, and the end of the last.
    pub(super) edges: &'static [u16],
}

impl Default for Info {
    fn default() -> Self {
        Self { sequence: Sequence::Long, kaiser: false, max_sfb: 0, n_groups: 1, group_lens: [1; 8], edges: &[0] }
    }
}

impl Info {
    pub(super) fn read(bits: &mut Bits<'_>, bands: &Bands) -> Result<Self, &'static str> {
        if bits.take(1) == 1 {
            return Err("aac: a reserved bit is set");
        }
        let sequence = [Sequence::Long, Sequence::Start, Sequence::Short, Sequence::Stop][bits.take(2) as usize];
        let mut info = Self { sequence, kaiser: bits.take(1) == 1, ..Self::default() };
        if sequence == Sequence::Short {
            info.edges = bands.short;
            info.max_sfb = bits.take(4) as usize;
            for _ in 1..8 {
                if bits.take(1) == 1 {
                    info.group_lens[info.n_groups - 1] += 1;
                } else {
                    info.n_groups += 1;
                }
            }
        } else {
            info.edges = bands.long;
            info.max_sfb = bits.take(6) as usize;
            if bits.take(1) == 1 {
                return Err("aac: prediction, which LC has not");
            }
        }
        if info.max_sfb >= info.edges.len() {
            return Err("aac: more bands than a window has");
        }
        Ok(info)
    }

    /// The place of the first band of each group in tables of bands, and the windows of the group.
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let lens = self.group_lens;
        let mut end = 0;
        (0..self.n_groups).map(move |group| {
            let start = end;
            end += usize::from(lens[group]);
            (16 * group, start..end)
        })
    }

    /// The lines of a band of a window.
    pub(super) fn band(&self, window: usize, sfb: usize) -> Range<usize> {
        128 * window + usize::from(self.edges[sfb])..128 * window + usize::from(self.edges[sfb + 1])
    }

    pub(super) fn n_windows(&self) -> usize {
        if self.sequence == Sequence::Short { 8 } else { 1 }
    }
}

/// One channel's side information. Tables of bands have 16 places for each group of short windows.
#[derive(Debug, Clone)]
pub(super) struct Ics {
    pub(super) info: Info,
    pub(super) books: [u8; 128],
    /// Scale factors, noise energies or intensity positions, as the book says.
    pub(super) scales: [i16; 128],
    pub(super) pulses: Option<Pulses>,
    pub(super) tns: Option<Tns>,
}

impl Default for Ics {
    fn default() -> Self {
        Self { info: Info::default(), books: [ZERO; 128], scales: [0; 128], pulses: None, tns: None }
    }
}

impl Ics {
    /// Reads all up to the code words; `common` is what a pair shares.
    pub(super) fn read(
        &mut self,
        bits: &mut Bits<'_>,
        bands: &Bands,
        common: Option<Info>,
    ) -> Result<(), &'static str> {
        let global_gain = bits.take(8) as i32;
        self.info = match common {
            Some(info) => info,
            None => Info::read(bits, bands)?,
        };
        self.read_sections(bits)?;
        self.read_scales(bits, global_gain)?;
        let short = self.info.sequence == Sequence::Short;
        self.pulses = Pulses::read(bits);
        if self.pulses.is_some() && short {
            return Err("aac: pulses in short windows");
        }
        self.tns = Tns::read(bits, &self.info, bands)?;
        if bits.take(1) == 1 {
            return Err("aac: gain control, which LC has not");
        }
        Ok(())
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        self.info.groups()
    }

    fn read_sections(&mut self, bits: &mut Bits<'_>) -> Result<(), &'static str> {
        let max_sfb = self.info.max_sfb;
        let n_bits = if self.info.sequence == Sequence::Short { 3 } else { 5 };
        let more = (1 << n_bits) - 1;
        for (row, _) in self.groups() {
            let (mut sfb, mut n_sections) = (0, 0);
            while sfb < max_sfb {
                let book = bits.take(4) as u8;
                let mut end = sfb;
                // A length of all ones goes on, but not beyond the bands.
                while end <= max_sfb {
                    let len = bits.take(n_bits) as usize;
                    end += len;
                    if len < more {
                        break;
                    }
                }
                n_sections += 1;
                if book == RESERVED || end > max_sfb || n_sections > MAX_SECTIONS {
                    return Err("aac: sections that are none");
                }
                self.books[row + sfb..row + end].fill(book);
                sfb = end;
            }
        }
        Ok(())
    }

    fn read_scales(&mut self, bits: &mut Bits<'_>, global_gain: i32) -> Result<(), &'static str> {
        let codes = &*CODES;
        let (mut scale, mut position, mut energy) = (global_gain, 0, global_gain - 90);
        let mut first_noise = true;
        let mut fine = true;
        for (row, _) in self.groups() {
            let bands = row..row + self.info.max_sfb;
            for (&book, slot) in self.books[bands.clone()].iter().zip(&mut self.scales[bands]) {
                let value = match book {
                    ZERO => 0,
                    INTENSITY | INTENSITY_OUT => {
                        position += codes.scale(bits);
                        fine &= (-155..=100).contains(&position);
                        position
                    }
                    NOISE => {
                        energy += if first_noise { bits.take(9) as i32 - 256 } else { codes.scale(bits) };
                        first_noise = false;
                        fine &= (-100..=155).contains(&energy);
                        energy
                    }
                    _ => {
                        scale += codes.scale(bits);
                        fine &= (0..=255).contains(&scale);
                        scale
                    }
                };
                *slot = value as i16;
            }
        }
        if fine { Ok(()) } else { Err("aac: a scale factor out of range") }
    }

    /// What the lines of each band are multiplied by, with `quarters` quarters of an octave on top. Full scale is 1 behind
    /// the transform, which adds lines up as they are: 2/N of a window of N samples, and 2^-15, are in here.
    pub(super) fn gains(&self, quarters: i32) -> [f32; 128] {
        let transform = if self.info.sequence == Sequence::Short { -4 * 22 } else { -4 * 25 };
        let mut gains = [0.0; 128];
        for (row, _) in self.groups() {
            let bands = row..row + self.info.max_sfb;
            let known = self.books[bands.clone()].iter().zip(&self.scales[bands.clone()]);
            for (gain, (&book, &scale)) in gains[bands].iter_mut().zip(known) {
                let scale = i32::from(scale) + transform + quarters;
                *gain = match book {
                    ZERO | INTENSITY | INTENSITY_OUT => 0.0,
                    NOISE => octave_quarters(scale),
                    _ => octave_quarters(scale - 100),
                };
            }
        }
        gains
    }
}

/// `2^(n/4)` for any n that scale factors can give, -256 to 255.
pub(super) fn octave_quarters(n: i32) -> f32 {
    static POWERS: LazyLock<[f32; 512]> =
        LazyLock::new(|| std::array::from_fn(|i| ((i as f64 - 256.0) / 4.0).exp2() as f32));
    POWERS[(n + 256).clamp(0, 511) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads from bits written as text.
    fn bits(text: &str) -> Vec<u8> {
        let text = format!("{:0<200}", text.replace(' ', ""));
        (0..25).map(|i| u8::from_str_radix(&text[8 * i..8 * i + 8], 2).unwrap()).collect()
    }

    #[test]
    fn groups_of_short_windows() {
        // Eight short, Kaiser, three bands; windows 0, 1 and 2 together, 3 alone, the rest together.
        let bytes = bits("0 10 1 0011 1100111");
        let info = Info::read(&mut Bits::new(&bytes, 0), Bands::of(44_100)).unwrap();
        assert_eq!((info.sequence, info.kaiser, info.max_sfb), (Sequence::Short, true, 3));
        let groups: Vec<_> = info.groups().collect();
        assert_eq!(groups, [(0, 0..3), (16, 3..4), (32, 4..8)]);
        assert_eq!(info.band(3, 2), 392..396);
    }

    #[test]
    fn what_a_window_cannot_be() {
        let read = |text: &str| Info::read(&mut Bits::new(&bits(text), 0), Bands::of(44_100)).map(|info| info.max_sfb);
        assert!(read("1").unwrap_err().contains("reserved"));
        assert_eq!(read("0 00 0 110001 0"), Ok(49));
        assert!(read("0 00 0 110010 0").unwrap_err().contains("bands"));
        assert!(read("0 00 0 110001 1").unwrap_err().contains("prediction"));
    }

    #[test]
    fn sections_and_scale_factors_by_hand() {
        let info = Info { max_sfb: 5, edges: Bands::of(44_100).long, ..Info::default() };
        let mut ics = Ics { info, ..Ics::default() };
        // Two bands of book 1, one of noise, one of intensity, one of nothing.
        let bytes = bits("0001 00010 1101 00001 1111 00001 0000 00001");
        ics.read_sections(&mut Bits::new(&bytes, 0)).unwrap();
        assert_eq!(ics.books[..5], [1, 1, NOISE, INTENSITY, ZERO]);
        // Differences of 0 (code 0), +1 (1010), then the energy in nine bits, then -1 (100).
        let bytes = bits("0 1010 100000010 100");
        ics.read_scales(&mut Bits::new(&bytes, 0), 120).unwrap();
        assert_eq!(ics.scales[..5], [120, 121, 32, -1, 0]);
        let gains = ics.gains(-4);
        assert_eq!(gains[0], 2_f32.powi(5 - 25 - 1));
        assert_eq!((gains[2], gains[3], gains[4]), (2_f32.powi(8 - 25 - 1), 0.0, 0.0));
        // Below zero is out of range; sections of no bands come to an end.
        assert!(ics.read_scales(&mut Bits::new(&bits("100"), 0), 0).is_err());
        assert!(ics.read_sections(&mut Bits::new(&[], 0)).is_err());
    }

    #[test]
    fn quarters_of_octaves() {
        assert_eq!((octave_quarters(0), octave_quarters(-8), octave_quarters(4)), (1.0, 0.25, 2.0));
        assert!((octave_quarters(2) - 2_f32.sqrt()).abs() < 1e-6);
    }
}
