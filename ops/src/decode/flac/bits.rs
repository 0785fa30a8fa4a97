//! Bits of a FLAC frame, the most significant first, and the Rice codes that nearly all of them are.

/// What a frame that ends early, or holds what no encoder writes, leads to.
pub(super) type Damage = &'static str;

const ENDS: Damage = "flac: the frame ends early";

/// A reader over the bytes of a frame.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    /// The next `n` bits, on top; what lies below them is taken again or is zero.
    word: u64,
    n: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, word: 0, n: 0 }
    }

    /// Gets at least 56 bits ready, or all that there are.
    #[inline]
    fn refill(&mut self) {
        if let Some(eight) = self.rest.first_chunk::<8>() {
            self.word |= u64::from_be_bytes(*eight) >> self.n;
            let n_bytes = (63 - self.n) >> 3;
            self.rest = &self.rest[n_bytes as usize..];
            self.n += n_bytes * 8;
        } else {
            while self.n <= 56
                && let Some((&byte, rest)) = self.rest.split_first()
            {
                self.word |= u64::from(byte) << (56 - self.n);
                self.n += 8;
                self.rest = rest;
            }
        }
    }

    /// A number of `n` bits, at most 32.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> Result<u32, Damage> {
        if self.n < n {
            self.refill();
            if self.n < n {
                return Err(ENDS);
            }
        }
        // Two shifts, because one by 64 is none.
        let value = (self.word >> 1 >> (63 - n)) as u32;
        self.word <<= n;
        self.n -= n;
        Ok(value)
    }

    /// A number of `n` bits with a sign, at most 32.
    #[inline]
    pub(super) fn signed(&mut self, n: u32) -> Result<i32, Damage> {
        let value = self.take(n)?;
        Ok(if n == 0 { 0 } else { (value << (32 - n)) as i32 >> (32 - n) })
    }

    /// The zeros before the next one, which is taken too.
    pub(super) fn unary(&mut self) -> Result<u32, Damage> {
        let mut zeros = 0;
        loop {
            self.refill();
            let here = self.word.leading_zeros().min(self.n);
            zeros += here;
            if here < self.n {
                self.word = self.word << here << 1;
                self.n -= here + 1;
                return Ok(zeros);
            }
            if self.rest.is_empty() {
                return Err(ENDS);
            }
            self.word = 0;
            self.n = 0;
        }
    }

    /// Fills `out` with Rice codes of parameter `k`, below 32.
    pub(super) fn rice(&mut self, k: u32, out: &mut [i32]) -> Result<(), Damage> {
        // In registers: a word lasts for several codes.
        let (mut word, mut n) = (self.word, self.n);
        for slot in out {
            let mut zeros = word.leading_zeros();
            if zeros + 1 + k > n {
                (self.word, self.n) = (word, n);
                self.refill();
                (word, n) = (self.word, self.n);
                zeros = word.leading_zeros();
            }
            let folded = if zeros + 1 + k <= n {
                let tail = word << zeros << 1;
                word = tail << k;
                n -= zeros + 1 + k;
                zeros << k | (tail >> 1 >> (63 - k)) as u32
            } else {
                let zeros = self.unary()?;
                let low = self.take(k)?;
                (word, n) = (self.word, self.n);
                zeros.wrapping_shl(k) | low
            };
            *slot = (folded >> 1) as i32 ^ -((folded & 1) as i32);
        }
        (self.word, self.n) = (word, n);
        Ok(())
    }
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
}
