//! Bits of a FLAC frame, the most significant first, and the Rice codes that nearly all of them are.

/// What a frame that ends early, or holds what no encoder writes, leads to.
pub(super) type Damage = &'static str;

const ENDS: Damage = "flac: the frame ends early";

/// Bits of [`Bits::word`] that are sure to lie in the frame or behind its end: a byte may be used up but for one bit.
const SURE: u32 = 57;

/// A reader over the bytes of a frame.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Where the next bit lies.
    at: usize,
    /// How many there are.
    end: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len() * 8 }
    }

    /// The next bits on top, at least [`SURE`] of them, with zeros behind the end.
    #[inline(always)]
    fn word(&self) -> u64 {
        let rest = self.bytes.get(self.at >> 3..).unwrap_or_default();
        let eight = rest.first_chunk::<8>().copied().unwrap_or_else(|| {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        });
        u64::from_be_bytes(eight) << (self.at & 7)
    }

    #[inline(always)]
    fn skip(&mut self, n: u32) -> Result<(), Damage> {
        self.at += n as usize;
        if self.at > self.end { Err(ENDS) } else { Ok(()) }
    }

    /// A number of `n` bits, at most 32.
    #[inline(always)]
    pub(super) fn take(&mut self, n: u32) -> Result<u32, Damage> {
        // Two shifts, because one by 64 is none.
        let value = (self.word() >> 1 >> (63 - n)) as u32;
        self.skip(n)?;
        Ok(value)
    }

    /// A number of `n` bits with a sign, at most 32.
    #[inline(always)]
    pub(super) fn signed(&mut self, n: u32) -> Result<i32, Damage> {
        let value = self.take(n)?;
        Ok(if n == 0 { 0 } else { (value << (32 - n)) as i32 >> (32 - n) })
    }

    /// The zeros before the next one, which is taken too.
    #[inline(always)]
    pub(super) fn unary(&mut self) -> Result<u32, Damage> {
        let mut zeros = 0;
        loop {
            let here = self.word().leading_zeros().min(SURE);
            zeros += here;
            self.skip(here)?;
            if here < SURE {
                self.skip(1)?;
                return Ok(zeros);
            }
        }
    }

    /// Fills `out` with Rice codes of parameter `k`, below 31.
    #[inline(always)]
    pub(super) fn rice(&mut self, k: u32, out: &mut [i32]) -> Result<(), Damage> {
        // As many at a time as one word holds where the quotients are what they are expected to be.
        match k {
            0..=8 => self.groups::<4>(k, out),
            9..=13 => self.groups::<3>(k, out),
            14..=21 => self.groups::<2>(k, out),
            _ => self.one_by_one(k, out),
        }
    }

    /// `N` codes from a word. Whether they all lay in it is seen when they have been read.
    #[inline(always)]
    fn groups<const N: usize>(&mut self, k: u32, out: &mut [i32]) -> Result<(), Damage> {
        let (bytes, mut at) = (self.bytes, self.at);
        let mut groups = out.chunks_exact_mut(N);
        for group in &mut groups {
            let word = bytes.get(at >> 3..(at >> 3) + 8).and_then(<[u8]>::first_chunk::<8>);
            if let Some(&eight) = word {
                let mut word = u64::from_be_bytes(eight) << (at & 7);
                let mut used = (k + 1) * N as u32;
                for slot in group.iter_mut() {
                    let zeros = word.leading_zeros();
                    word = word.wrapping_shl(zeros);
                    // The one that ends the zeros is on top of the k bits.
                    let tail = (word >> (63 - k)) as u32;
                    word <<= k + 1;
                    used += zeros;
                    *slot = unfold((zeros << k).wrapping_add(tail).wrapping_sub(1 << k));
                }
                if used <= SURE {
                    at += used as usize;
                    continue;
                }
            }
            self.at = at;
            self.one_by_one(k, group)?;
            at = self.at;
        }
        self.at = at;
        self.one_by_one(k, groups.into_remainder())
    }

    #[inline(never)]
    fn one_by_one(&mut self, k: u32, out: &mut [i32]) -> Result<(), Damage> {
        for slot in out {
            let zeros = self.unary()?;
            *slot = unfold(zeros.wrapping_shl(k) | self.take(k)?);
        }
        Ok(())
    }
}

/// 0 1 2 3 4 stand for 0 -1 1 -2 2.
#[inline(always)]
fn unfold(folded: u32) -> i32 {
    (folded >> 1) as i32 ^ -((folded & 1) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_significant_first() {
        let mut bits = Bits::new(&[0b1010_0001, 0xFF, 0x00, 0x01]);
        assert_eq!((bits.take(3), bits.signed(5), bits.signed(4)), (Ok(0b101), Ok(1), Ok(-1)));
        assert_eq!((bits.take(4), bits.unary(), bits.take(0)), (Ok(15), Ok(15), Ok(0)));
        assert_eq!((bits.take(1), bits.unary()), (Err(ENDS), Err(ENDS)));
        assert_eq!(Bits::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).take(32), Ok(0x0102_0304));
    }

    #[test]
    fn rice_by_hand() {
        // k = 2: 1|00 1|01 1|10 1|11 01|00 001|01 are 0 -1 1 -2 2 -5, as 0 1 2 3 4 9 folded.
        let mut out = [0; 6];
        let bits = 0b1001_0111_0111_0100_0010_1000_u32 << 8;
        Bits::new(&bits.to_be_bytes()).rice(2, &mut out).unwrap();
        assert_eq!(out, [0, -1, 1, -2, 2, -5]);
        // A run of zeros that is longer than a word.
        let mut long = vec![0; 20];
        long[12] = 1;
        let mut out = [0; 1];
        Bits::new(&long).rice(0, &mut out).unwrap();
        assert_eq!(out, [-52]);
        assert_eq!(Bits::new(&[0; 20]).rice(0, &mut out), Err(ENDS));
    }

    #[test]
    fn groups_give_what_single_codes_give() {
        // Any bits are codes. Runs of zeros make some of them longer than a word.
        let mut state = 1_u32;
        let bytes: Vec<u8> = (0..4000)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i % 97 < 9 { 0 } else { (state >> 24) as u8 }
            })
            .collect();
        for k in 0..31 {
            let (mut got, mut want) = (vec![0; 901], vec![0; 901]);
            let (mut fast, mut slow) = (Bits::new(&bytes), Bits::new(&bytes));
            fast.rice(k, &mut got).unwrap();
            slow.one_by_one(k, &mut want).unwrap();
            assert_eq!((got, fast.at), (want, slow.at), "{k}");
            let mut endless = vec![0; 40_000];
            assert_eq!(fast.rice(k, &mut endless), Err(ENDS), "{k}");
        }
    }
}
