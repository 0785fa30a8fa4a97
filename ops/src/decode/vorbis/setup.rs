//! The three headers, of which two matter. Source: Vorbis I specification, 4.2.

use super::bits::{Bits, ilog};
use super::codebook::{BUDGET, Codebook};
use super::floor::Floor;
use super::plan::Plan;
use super::residue::Residue;

/// A pair of channels that are coded as magnitude and angle.
pub(super) struct Coupling {
    pub(super) magnitude: usize,
    pub(super) angle: usize,
}

pub(super) struct Submap {
    pub(super) floor: usize,
    pub(super) residue: usize,
}

pub(super) struct Mapping {
    pub(super) couplings: Vec<Coupling>,
    /// The submap of each channel.
    pub(super) mux: Vec<usize>,
    pub(super) submaps: Vec<Submap>,
}

pub(super) struct Mode {
    pub(super) long: bool,
    pub(super) mapping: usize,
}

pub(super) struct Setup {
    pub(super) rate_hz: u32,
    pub(super) channels: usize,
    /// Of short and long blocks.
    pub(super) plans: [&'static Plan; 2],
    pub(super) books: Vec<Codebook>,
    pub(super) floors: Vec<Floor>,
    pub(super) residues: Vec<Residue>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) modes: Vec<Mode>,
}

impl Setup {
    /// From a demuxer's private data: laced packets (Matroska), or the first and the third in sequence (Ogg). `None` for
    /// what is damaged or has floors of type 0, which no encoder since 2002 makes.
    pub(super) fn read(private: &[u8]) -> Option<Self> {
        let (ident, setup) =
            if private.first() == Some(&2) { unlace(private)? } else { private.split_at_checked(30)? };
        let ident = ident.strip_prefix(b"\x01vorbis\0\0\0\0")?;
        let rate_hz = u32::from_le_bytes(*ident.get(1..5)?.first_chunk()?);
        let (channels, exponents) = (usize::from(*ident.first()?), u32::from(*ident.get(17)?));
        let (short, long) = (exponents & 15, exponents >> 4);
        if !(1..=2).contains(&channels) || short > long {
            return None;
        }
        let bits = &mut Bits::new(setup.strip_prefix(b"\x05vorbis")?);
        let mut budget = BUDGET;
        let n = bits.index(8)? + 1;
        let books: Vec<Codebook> = (0..n).map(|_| Codebook::read(bits, &mut budget)).collect::<Option<_>>()?;
        // Transforms in the time domain were never specified.
        for _ in 0..=bits.take(6)? {
            bits.take(16).filter(|&kind| kind == 0)?;
        }
        let floor = |bits: &mut Bits<'_>| match bits.take(16)? {
            1 => Floor::read(bits, books.len()),
            _ => None,
        };
        let floors = list(bits, floor)?;
        let residue = |bits: &mut Bits<'_>| bits.take(16).and_then(|kind| Residue::read(bits, kind, &books));
        let residues = list(bits, residue)?;
        let mappings = list(bits, |bits| Mapping::read(bits, channels, floors.len(), residues.len()))?;
        let modes = list(bits, |bits| Mode::read(bits, mappings.len()))?;
        bits.flag().filter(|&framing| framing)?;
        let plans = [Plan::of(short)?, Plan::of(long)?];
        Some(Self { rate_hz, channels, plans, books, floors, residues, mappings, modes })
    }
}

/// A list behind its length less one in six bits.
fn list<T>(bits: &mut Bits<'_>, mut item: impl FnMut(&mut Bits<'_>) -> Option<T>) -> Option<Vec<T>> {
    (0..=bits.take(6)?).map(|_| item(bits)).collect()
}

/// The first and the third of three packets behind their Xiph lacing.
fn unlace(private: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = &private[1..];
    let mut len = || {
        let mut len = 0;
        loop {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            len += usize::from(byte);
            if byte < 255 {
                return Some(len);
            }
        }
    };
    let (ident, comment) = (len()?, len()?);
    let (ident, rest) = rest.split_at_checked(ident)?;
    Some((ident, rest.get(comment..)?))
}

impl Mapping {
    fn read(bits: &mut Bits<'_>, channels: usize, n_floors: usize, n_residues: usize) -> Option<Self> {
        bits.take(16).filter(|&kind| kind == 0)?;
        let n_submaps = if bits.flag()? { bits.index(4)? + 1 } else { 1 };
        let n_couplings = if bits.flag()? { bits.index(8)? + 1 } else { 0 };
        let n_bits = ilog(channels - 1);
        let coupling = |bits: &mut Bits<'_>| {
            let (magnitude, angle) = (bits.index(n_bits)?, bits.index(n_bits)?);
            (magnitude != angle && magnitude.max(angle) < channels).then_some(Coupling { magnitude, angle })
        };
        let couplings = (0..n_couplings).map(|_| coupling(bits)).collect::<Option<_>>()?;
        bits.take(2).filter(|&reserved| reserved == 0)?;
        let mux = |bits: &mut Bits<'_>| if n_submaps > 1 { bits.index(4).filter(|&i| i < n_submaps) } else { Some(0) };
        let mux = (0..channels).map(|_| mux(bits)).collect::<Option<_>>()?;
        let submap = |bits: &mut Bits<'_>| {
            bits.take(8)?;
            let (floor, residue) = (bits.index(8)?, bits.index(8)?);
            (floor < n_floors && residue < n_residues).then_some(Submap { floor, residue })
        };
        let submaps = (0..n_submaps).map(|_| submap(bits)).collect::<Option<_>>()?;
        Some(Self { couplings, mux, submaps })
    }
}

impl Mode {
    fn read(bits: &mut Bits<'_>, n_mappings: usize) -> Option<Self> {
        let long = bits.flag()?;
        bits.take(32).filter(|&kinds| kinds == 0)?;
        let mapping = bits.index(8).filter(|&mapping| mapping < n_mappings)?;
        Some(Self { long, mapping })
    }
}
