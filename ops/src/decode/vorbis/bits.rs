//! Bits of a Vorbis packet, the least significant first. Source: Vorbis I specification, 2.

/// A reader that gives `None` beyond the end, and from then on: in Vorbis that ends a packet and is no damage.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    /// Bits that are taken from `rest` and not yet read, and how many.
    word: u64,
    n: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, word: 0, n: 0 }
    }

    /// The next 32 bits, zeros where there are none.
    #[inline]
    pub(super) fn peek(&mut self) -> u32 {
        if self.n < 32 {
            if let Some((four, rest)) = self.rest.split_first_chunk::<4>() {
                self.word |= u64::from(u32::from_le_bytes(*four)) << self.n;
                self.n += 32;
                self.rest = rest;
            } else {
                for &byte in std::mem::take(&mut self.rest) {
                    self.word |= u64::from(byte) << self.n;
                    self.n += 8;
                }
            }
        }
        self.word as u32
    }

    /// Drops `n` of the bits that [`Bits::peek`] showed.
    #[inline]
    pub(super) fn drop(&mut self, n: u32) -> Option<()> {
        if n > self.n {
            *self = Self::new(&[]);
            return None;
        }
        self.word >>= n;
        self.n -= n;
        Some(())
    }

    /// A number of `n` bits, at most 32.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> Option<u32> {
        let value = self.peek() & (((1_u64 << n) - 1) as u32);
        self.drop(n)?;
        Some(value)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// A small number as an index or a count.
    pub(super) fn index(&mut self, n: u32) -> Option<usize> {
        self.take(n).map(|value| value as usize)
    }
}

/// Bits that it takes to write `value`.
pub(super) fn ilog(value: usize) -> u32 {
    usize::BITS - value.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_significant_first() {
        let mut bits = Bits::new(&[0b1010_0110, 0xFF, 1, 0, 0, 0x80]);
        assert_eq!((bits.take(3), bits.take(5), bits.take(9)), (Some(0b110), Some(0b10100), Some(0x1FF)));
        assert_eq!((bits.take(31), bits.take(1), bits.take(0)), (Some(1 << 30), None, Some(0)));
        assert_eq!((ilog(0), ilog(1), ilog(7), ilog(8)), (0, 1, 3, 4));
    }
}
