//! Codebooks: prefix codes, and the vectors they stand for. Source: Vorbis I specification, 3.

use super::bits::{Bits, ilog};

/// Bits that are looked up at once; longer codes are searched for, and are rare by construction.
const FIRST_BITS: u32 = 10;
/// Numbers that all codebooks of a stream may hold together; an encoder's take some 30,000.
pub(super) const BUDGET: usize = 1 << 21;

pub(super) struct Codebook {
    pub(super) dims: usize,
    /// By the next bits: the length of the code in the upper eight bits and the entry below, 0 where the code is longer.
    first: Vec<u32>,
    /// Codes that are longer, by the code.
    long: Vec<LongCode>,
    /// The vector of each entry; empty when the book gives scalars alone.
    vectors: Vec<f32>,
}

struct LongCode {
    /// Left-aligned, the first bit on top.
    code: u32,
    len: u32,
    entry: u32,
}

impl Codebook {
    /// Reads one from the setup header and takes its size from `budget`.
    pub(super) fn read(bits: &mut Bits<'_>, budget: &mut usize) -> Option<Self> {
        if bits.take(24)? != 0x0056_4342 {
            return None;
        }
        let (dims, n_entries) = (bits.index(16)?, bits.index(24)?);
        *budget = budget.checked_sub(n_entries.checked_mul(dims.max(1))?)?;
        let lens = lengths(bits, n_entries)?;
        let vectors = vectors(bits, dims, n_entries)?;
        let (first, long) = codes(&lens)?;
        Some(Self { dims, first, long, vectors })
    }

    /// Whether entries stand for vectors.
    pub(super) fn has_vectors(&self) -> bool {
        !self.vectors.is_empty()
    }

    /// The next entry; `None` at the end of the packet, and for bits that are no code.
    #[inline]
    pub(super) fn scalar(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let word = bits.peek();
        let slot = self.first[word as usize & (self.first.len() - 1)];
        if slot != 0 {
            bits.drop(slot >> 24)?;
            return Some((slot & 0x00FF_FFFF) as usize);
        }
        let word = word.reverse_bits();
        let after = self.long.partition_point(|long| long.code <= word);
        let long = &self.long[after.checked_sub(1)?];
        if u64::from(word ^ long.code) >> (32 - long.len) != 0 {
            return None;
        }
        bits.drop(long.len)?;
        Some(long.entry as usize)
    }

    /// The vector of the next entry.
    #[inline]
    pub(super) fn vector(&self, bits: &mut Bits<'_>) -> Option<&[f32]> {
        let entry = self.scalar(bits)?;
        self.vectors.get(entry * self.dims..(entry + 1) * self.dims)
    }
}

/// The length of the code of each entry, 0 for an unused one.
fn lengths(bits: &mut Bits<'_>, n_entries: usize) -> Option<Vec<u32>> {
    let mut lens = Vec::with_capacity(n_entries);
    if bits.flag()? {
        let mut len = bits.take(5)? + 1;
        while lens.len() < n_entries {
            let n = bits.index(ilog(n_entries - lens.len()))?;
            if n > n_entries - lens.len() || len > 32 {
                return None;
            }
            lens.resize(lens.len() + n, len);
            len += 1;
        }
    } else {
        let sparse = bits.flag()?;
        for _ in 0..n_entries {
            lens.push(if sparse && !bits.flag()? { 0 } else { bits.take(5)? + 1 });
        }
    }
    Some(lens)
}

/// Gives every entry the first free code of its length, in order, and lays the codes out for [`Codebook::scalar`].
fn codes(lens: &[u32]) -> Option<(Vec<u32>, Vec<LongCode>)> {
    let used = || lens.iter().enumerate().filter(|&(_, &len)| len > 0);
    let max_len = lens.iter().copied().max().filter(|&len| len > 0)?;
    if used().count() == 1 {
        // A book of one entry spends one bit on it, whichever.
        let (entry, _) = used().next()?;
        return Some((vec![1 << 24 | entry as u32; 2], Vec::new()));
    }
    let mut first = vec![0; 1 << max_len.min(FIRST_BITS)];
    let mut long = Vec::new();
    // `free[l]` is the root of the free subtree at depth `l`, left-aligned; `None` where that depth has none.
    let mut free = [None; 33];
    free[0] = Some(0_u32);
    for (entry, &len) in used() {
        let depth = (0..=len as usize).rev().find(|&depth| free[depth].is_some())?;
        let code = free[depth].take()?;
        for (below, slot) in free.iter_mut().enumerate().take(len as usize + 1).skip(depth + 1) {
            // The right half of what is split stays free.
            *slot = Some(code | 1 << (32 - below));
        }
        let entry = entry as u32;
        if len <= FIRST_BITS {
            let slots = first.iter_mut().skip(code.reverse_bits() as usize).step_by(1 << len);
            slots.for_each(|slot| *slot = len << 24 | entry);
        } else {
            long.push(LongCode { code, len, entry });
        }
    }
    long.sort_unstable_by_key(|long| long.code);
    Some((first, long))
}

/// The vectors of all entries, one after the other.
fn vectors(bits: &mut Bits<'_>, dims: usize, n_entries: usize) -> Option<Vec<f32>> {
    let kind = bits.take(4)?;
    if kind == 0 {
        return Some(Vec::new());
    }
    if kind > 2 || dims == 0 {
        return None;
    }
    let (min, step) = (float(bits.take(32)?), float(bits.take(32)?));
    let n_bits = bits.take(4)? + 1;
    let running = bits.flag()?;
    let n_values = if kind == 1 { lattice(n_entries, dims) } else { n_entries * dims };
    let values: Vec<f64> =
        (0..n_values).map(|_| bits.take(n_bits).map(|x| f64::from(x) * step + min)).collect::<Option<_>>()?;
    let mut vectors = Vec::with_capacity(n_entries * dims);
    for entry in 0..n_entries {
        let (mut last, mut digits) = (0.0, entry);
        for i in 0..dims {
            let value = if kind == 1 { values[digits % n_values] } else { values[entry * dims + i] };
            digits /= n_values.max(1);
            vectors.push((value + last) as f32);
            last = if running { value + last } else { 0.0 };
        }
    }
    Some(vectors)
}

/// The largest number whose power `dims` is at most `n_entries`.
fn lattice(n_entries: usize, dims: usize) -> usize {
    let fits = |side: usize| {
        let power = (0..dims).try_fold(1_usize, |power, _| power.checked_mul(side).filter(|&p| p <= n_entries));
        power.is_some()
    };
    (1..=n_entries).take_while(|&side| fits(side)).last().unwrap_or(0)
}

/// A float of 21 bits of mantissa, 10 of exponent and a sign.
fn float(word: u32) -> f64 {
    let mantissa = f64::from(word & 0x001F_FFFF);
    let exponent = (word >> 21 & 0x3FF) as i32 - 788;
    let sign = if word >> 31 == 0 { 1.0 } else { -1.0 };
    sign * mantissa * 2_f64.powi(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_by_hand() {
        // The example of the specification, 3.2.1: lengths 2 4 4 4 4 2 3 3.
        let (first, long) = codes(&[2, 4, 4, 4, 4, 2, 3, 3]).unwrap();
        let book = Codebook { dims: 1, first, long, vectors: Vec::new() };
        let words = ["00", "0100", "0101", "0110", "0111", "10", "110", "111"];
        for (entry, word) in words.iter().enumerate() {
            let byte = word.chars().rev().fold(0, |byte, c| byte << 1 | u8::from(c == '1'));
            assert_eq!(book.scalar(&mut Bits::new(&[byte])), Some(entry), "{word}");
        }
        // More codes than there is room for; a code of one entry; a long code, and bits that are none.
        assert!(codes(&[1, 1, 1]).is_none() && codes(&[0, 0]).is_none());
        assert_eq!(codes(&[0, 3]).unwrap().0, [1 << 24 | 1; 2]);
        let (first, long) = codes(&[1, 12, 12]).unwrap();
        let book = Codebook { dims: 1, first, long, vectors: Vec::new() };
        assert_eq!(book.scalar(&mut Bits::new(&[0b0000_0001, 0b1000])), Some(2));
        assert_eq!(book.scalar(&mut Bits::new(&[0xFF, 0xFF])), None);
    }

    #[test]
    fn floats_and_lattices() {
        // 1.0 is a mantissa of 1 and an exponent of 0, biased by 788.
        assert_eq!((float(1 | 788 << 21), float(1 << 31 | 3 | 787 << 21)), (1.0, -1.5));
        assert_eq!((lattice(81, 4), lattice(80, 4), lattice(1, 2), lattice(0, 2)), (3, 2, 1, 0));
    }
}
